"""`bench run --prompt-ids`: completions are sent as ids, in the requested number, and the server counts exactly these."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.config import resolve
from bench.endpoints import encode
from bench.endpoints.interface import BodyOptions
from bench.errors import UsageError
from bench.load.components import source_of
from promptset.tokens import load_tokenizer
from tests.support.mock_process import mock_process
from tests.support.ready_made import run_to_end
from tests.support.record_rows import record_rows

GIVEN = {"url": "http://h/v1/completions", "check_usage": True, "prompt_ids": True, "input_tokens": "uniform:20..60"}


def test_the_ids_are_those_of_the_text_that_would_be_sent() -> None:
    tokenizer = load_tokenizer()
    texts, ids = (source_of(resolve(GIVEN | {"prompt_ids": on}), tokenizer) for on in (False, True))
    for _ in range(5):
        text, made = next(texts), next(ids)
        assert made.prompt_ids == tuple(tokenizer.encode(text.prompt, add_special_tokens=True))
        assert len(made.prompt_ids) == made.input_tokens == text.input_tokens
        body = json.loads(encode(made, BodyOptions(endpoint="completions", model="m")).body)
        assert body["prompt"] == list(made.prompt_ids)


def test_what_has_no_ids_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        resolve({"url": "http://h", "prompt_ids": True})
    assert "is for --endpoint completions: chat takes only texts" in caught.value.problems[0]
    assert "needs the model's own tokenizer" in caught.value.problems[1]


def test_a_server_counts_the_ids(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with mock_process("--ttft", "5ms", "--tpot", "1ms") as mock:
        command = [sys.executable, "-m", "bench", "run", "--url", f"{mock.url}/v1/completions", "--requests", "8"]
        command += ["--prompt-ids", "--check-usage", "--input-tokens", "uniform:20..60", "--output-tokens", "3"]
        ran = run_to_end([*command, "--out", str(out), "--quiet"])
    assert ran.returncode in (0, 3), ran.stderr
    records = record_rows(out / "requests.jsonl")
    assert {record["outcome"] for record in records} == {"ok"}
    assert [record["input_tokens"] for record in records] == [record["input_tokens_asked"] for record in records]
