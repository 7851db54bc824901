"""A worker sends the requests that the configuration defines."""

from __future__ import annotations

import asyncio
import json
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from bench.clock import LoopClock
from bench.config import resolve
from bench.endpoints.interface import BodyOptions
from bench.load.assignment import Assignment
from bench.load.components import source_of, tokenizer_of
from bench.load.worker import Worker
from bench.modes.share import WorkerShare
from bench.transport.scripted import ScriptedReply, ScriptedTransport
from promptset.samples import Sample


def samples(count: int, share: WorkerShare | None = None, skip: int = 0, **fields: Any) -> list[Sample]:
    config = resolve({"url": "http://127.0.0.1:1", "endpoint": "completions", "input_tokens": "600", **fields})
    return list(islice(source_of(config, tokenizer_of(config), share, skip=skip), count))


def test_the_kind_of_text_and_the_share_that_repeats_are_those_asked_for() -> None:
    (plain,) = samples(1, text="json")
    (repeated,) = samples(1, text="json", repeated_text="0.5")
    assert plain.prompt is not None
    assert repeated.prompt is not None
    rows, again = json.loads(plain.prompt), json.loads(repeated.prompt)
    assert len({row.get("id") for row in rows[1:]}) == len(rows) - 1, "each row except the heading has its own id"
    assert len({row.get("id") for row in again}) < len(again) * 0.8


def test_a_share_is_every_so_manieth_sample_behind_those_that_were_made() -> None:
    whole = samples(20)
    share = WorkerShare(worker=1, workers=3, requests=9, duration_ns=None, warmup_requests=0, warmup_ns=0)
    assert samples(4, share, skip=2) == whole[7:17:3]


def test_a_process_that_was_started_ahead_and_is_not_needed_ends_before_the_load(tmp_path: Path) -> None:
    config = resolve({"url": "http://127.0.0.1:1", "input_tokens": "10", "requests": "3"})
    share = WorkerShare(worker=0, workers=1, requests=3, duration_ns=None, warmup_requests=0, warmup_ns=0, users=2)
    options = BodyOptions(endpoint="chat", model="m", stream=True, ignore_eos=True, extra=None)
    ahead = Mock()

    async def main() -> None:
        clock = LoopClock()
        transport = ScriptedTransport(lambda request: ScriptedReply(ttft_ns=0), clock)
        given = Assignment(config=config, share=share, run_id="r", options=options, directory=tmp_path)
        worker = Worker(given, source_of(config, tokenizer_of(config), share), transport, clock, ahead)
        try:
            await worker.prepare()
            assert worker.preparing == "making 2 connections"
            ahead.end.assert_called_once_with()
        finally:
            worker.close()

    asyncio.run(main())
