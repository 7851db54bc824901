"""Sessions that begin as recorded: how many at once, on which worker, and the expected load."""

from __future__ import annotations

import json
from copy import copy
from pathlib import Path
from typing import Any

import pytest

from bench.config import resolve
from bench.load.components import source_of
from bench.modes.sessions import Sessions
from bench.modes.share import BUSIEST_S
from bench.sources.recorded import RecordingSpec
from promptset.tokens import load_tokenizer

S = 1_000_000_000
BEGINS = (0, 1, 2, 2, 30, 31, 59)


def recorded(folder: Path, **flags: Any) -> tuple[Sessions, Any, Any]:
    path = folder / "rounds.jsonl"
    rows = [
        {"session_id": f"s{number}", "round_index": 0, "prefix_tokens": 0, "newly_append_tokens": 80, "output_tokens": 1,
         "timing_events": [{"event_type": "user_message", "timestamp": f"2026-03-01T10:00:{second:02d}Z"}]}
        for number, second in enumerate(BEGINS)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"url": "http://h", "mode": "sessions", "dataset": str(path), "sessions_begin": "recorded"}
    config = resolve({**given, **flags})
    assert isinstance(config.load, Sessions)
    return config.load, config, source_of(config, load_tokenizer())


def test_a_recording_is_written_with_the_tokenizer_of_the_run(tmp_path: Path) -> None:
    _, config, source = recorded(tmp_path)
    assert source.tokenizer is load_tokenizer()
    own = copy(load_tokenizer())
    assert source_of(config, own).tokenizer is own
    spec = RecordingSpec(path=Path(str(config.dataset)))
    default = spec.open(None, seed=0, salt=None, chat=True, first=0, step=1)
    assert default.tokenizer is load_tokenizer()


def test_the_busiest_seconds_of_a_recording_say_how_many_sessions_there_may_be_at_once(tmp_path: Path) -> None:
    for speed in (1.0, 10.0):
        load, config, source = recorded(tmp_path, **({} if speed == 1.0 else {"trace_speed": speed}))
        assert [*zip(range(7), (at / S for at in load._arrivals(source)), strict=False)] == [
            (number, pytest.approx(second / speed)) for number, second in enumerate(BEGINS)
        ]
        busiest = max(sum(1 for other in BEGINS if begin - BUSIEST_S * speed <= other <= begin) for begin in BEGINS)
        assert load.plan(config.length, source).at_once == busiest * source.at_once
