"""A tokenizer's library is loaded before the load where a text may have to be counted during it, and only there."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bench.clock import process_clock
from bench.config import RunConfig, resolve
from bench.load.components import source_of, tokenizer_of, transport_of
from bench.sources.sessions import SessionData, SessionSource
from promptset.library import Remembered
from promptset.sessions import Session, Turn
from promptset.tokenizer import LocalTokenizer
from tests.support import tiny_tokenizers


@pytest.fixture
def spec(tmp_path: Path) -> str:
    folder = tiny_tokenizers.save(tiny_tokenizers.byte_level_bpe(), tmp_path / "tokenizer")
    (folder / "chat_template.jinja").write_text("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
    return str(folder)


def in_a_new_process(config: RunConfig) -> tuple[LocalTokenizer, Remembered]:
    """The tokenizer, which knows what earlier processes asked."""
    tokenizer = tokenizer_of(config)
    assert isinstance(tokenizer, LocalTokenizer)
    assert isinstance(tokenizer._backend, Remembered)
    return tokenizer, tokenizer._backend


def asked_before(config: RunConfig) -> None:
    tokenizer, backend = in_a_new_process(config)
    source = source_of(config, tokenizer, salt="earlier")
    next(source)
    source.planned_sharing(1)
    backend.write()


PROMPTS = {"url": "http://127.0.0.1:1", "mode": "throughput", "requests": "4", "input_tokens": "60"}


@pytest.mark.parametrize(
    "more",
    [{}, {"endpoint": "completions"}, {"endpoint": "embeddings", "batch_inputs": "3"}, {"repeat": "0.5"}],
    ids=["chat", "completions", "inputs", "repeat"],
)
def test_prompts_of_plain_words_are_made_without_the_library(spec: str, more: dict[str, str]) -> None:
    # Named only to be small: without --tokenizer it is the embedded one, and replies are not counted.
    config = resolve({**PROMPTS, "tokenizer": spec, **more})
    asked_before(config)

    tokenizer, backend = in_a_new_process(config)
    source = source_of(config, tokenizer, salt="now")
    source.planned_sharing(1)
    made = [next(source) for _ in range(4)]

    assert not backend.loaded
    assert len({str(sample) for sample in made}) == 4


def test_sessions_whose_turns_are_counted_during_the_load_have_the_library_before(spec: str) -> None:
    config = resolve({**PROMPTS, "tokenizer": spec})
    asked_before(config)
    tokenizer, backend = in_a_new_process(config)
    session = Session(id="s", turns=(Turn(content="hello"),))
    SessionSource(SessionData(session_at=lambda index: session, size=1))
    assert not backend.loaded

    SessionSource(SessionData(session_at=lambda index: session, size=None, tokenizer=tokenizer))

    assert backend.loaded


def test_a_trace_whose_prompts_are_made_when_they_are_taken_has_the_library_before(spec: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text(json.dumps({"input_tokens": 60, "output_tokens": 4}) + "\n")
    of_rows = {name: value for name, value in PROMPTS.items() if name != "input_tokens"}
    config = resolve({**of_rows, "tokenizer": spec, "dataset": str(file)})
    asked_before(config)

    tokenizer, backend = in_a_new_process(config)
    source_of(config, tokenizer, salt="now")

    assert backend.loaded


def test_where_replies_are_counted_the_library_is_there_before(spec: str) -> None:
    config = resolve({**PROMPTS, "tokenizer": spec})
    asked_before(config)
    tokenizer, backend = in_a_new_process(config)
    assert not backend.loaded

    async def main() -> None:
        transport_of(config, tokenizer, process_clock())

    asyncio.run(main())
    assert backend.loaded
