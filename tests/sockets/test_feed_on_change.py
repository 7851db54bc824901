"""A load that is raised while it runs: which process makes the additional requests, and when the change begins."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.clock import NS_PER_S, LoopClock
from bench.config import RunConfig, resolve
from bench.control import ask
from bench.endpoints import encode
from bench.endpoints.interface import BodyOptions
from bench.errors import UsageError
from bench.load.assignment import Assignment
from bench.load.components import source_of, tokenizer_of
from bench.load.crew import Order
from bench.load.feed_on_change import READY_NS, FeedOnChange, lead_ns, may_need_more
from bench.load.progress_tally import ProgressTally
from bench.load.this_process import ThisProcess
from bench.load.worker import Worker
from bench.modes.share import RunLength, WorkerShare
from bench.run_files.run_directory import RunDirectory
from bench.transport.scripted import ScriptedReply, ScriptedTransport
from bench.workload import Request, Supply
from tests.support.calm import CALM
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen

OPTIONS = BodyOptions(endpoint="chat", model="m", stream=True, ignore_eos=True, extra=None)


def configured(**fields: Any) -> RunConfig:
    return resolve({"url": "http://127.0.0.1:1", "seed": "4", "input_tokens": "uniform:20..60", **fields})


def given(config: RunConfig, directory: Path = Path()) -> Assignment:
    (share,) = config.load.plan(config.length, source_of(config, tokenizer_of(config))).shares(1)
    return Assignment(config=config, share=share, run_id="run", options=OPTIONS, directory=directory)


def supply(assignment: Assignment) -> Supply:
    samples = source_of(assignment.config, tokenizer_of(assignment.config), assignment.share)
    return Supply(samples, lambda sample: encode(sample, OPTIONS), "run")


def in_loop(work: Any) -> Any:
    with asyncio.Runner() as runner:
        return runner.run(work)


async def until_ready(feed: FeedOnChange) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not feed.ready:
            await asyncio.sleep(0.005)


def test_what_the_sender_makes_until_the_feed_is_ready_comes_once() -> None:
    """13 requests are taken while the process starts. 3 of them were not made ahead, and the process makes these, too."""
    assignment = given(configured(rate="5", duration="3"))
    made = supply(assignment)

    async def raise_load() -> list[Request]:
        made.stock.make_ahead(10)
        feed = FeedOnChange(assignment, made, requests=100, most_bytes=10**6)
        try:
            feed.load_changes(200.0)
            await asyncio.sleep(0)
            assert not feed.ready
            taken = [made.take("run") for _ in range(13)]
            assert made.stock.late == 3
            await until_ready(feed)
            assert feed.stocked is None
            return [*taken, *(made.take("run") for _ in range(150))]
        finally:
            feed.close()

    alone = supply(assignment)
    assert in_loop(raise_load()) == [alone.take("run") for _ in range(163)]


def test_a_change_to_less_starts_no_process_and_one_to_more_starts_one() -> None:
    assignment = given(configured(rate="5", duration="3"))

    async def change() -> None:
        feed = FeedOnChange(assignment, supply(assignment), requests=100, most_bytes=10**6)
        try:
            for load in (4.0, 5.0):
                feed.load_changes(load)
                assert feed._feed is None
            feed.load_changes(6.0)
            started = feed._feed
            feed.load_changes(7.0)
            assert started is not None
            assert feed._feed is started
        finally:
            feed.close()
        assert started._process.returncode is not None, "the process ends with the load"

    in_loop(change())


@pytest.mark.parametrize("dies", [False, True])
def test_a_run_whose_rate_is_raised_waits_for_requests_and_then_has_them(
    dies: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assignment = given(configured(rate="5", duration="30"), tmp_path)

    async def load() -> None:
        clock = LoopClock()
        samples = source_of(assignment.config, tokenizer_of(assignment.config), assignment.share)
        worker = Worker(assignment, samples, ScriptedTransport(lambda request: ScriptedReply(ttft_ns=0), clock), clock)
        crew = ThisProcess(worker)
        try:
            await crew.prepare()
            stocked = worker.stocked
            assert stocked is not None
            assert [crew.lead_ns(load) for load in (4.0, stocked / 2, stocked)] == [0, 0, READY_NS]
            crew.begin(clock.now_ns() + 3_600 * NS_PER_S, ProgressTally({}))
            loading = asyncio.create_task(crew.load())
            await asyncio.sleep(0)
            crew.change(clock.now_ns(), float(stocked))
            feed = worker._on_change
            assert feed is not None
            if dies:
                assert feed._feed is not None
                os.kill(feed._feed._process.pid, signal.SIGKILL)
                assert feed._starting is not None
                await asyncio.wait_for(asyncio.wait([feed._starting]), PATIENCE_S)
                assert feed._starting.exception() is None
                assert worker.stocked == stocked, "requests are made in the sending process"
            else:
                await until_ready(feed)
                assert crew.lead_ns(1e6) == 0
            crew.tell(Order.STOP, "enough")
            await loading
        finally:
            crew.close()

    in_loop(load())
    assert "Traceback" not in capfd.readouterr().err


def test_how_long_a_change_waits() -> None:
    ready_s = READY_NS // NS_PER_S
    assert lead_ns([30, 50], 80 / ready_s, 10.0) == 0, "the available requests suffice"
    assert lead_ns([30, 50], 80 / ready_s + 1, 10.0) == READY_NS
    assert lead_ns([30, None], 80 / ready_s, 10.0) == READY_NS
    assert lead_ns([None, None], 1e6, 10.0) == 0, "processes make the requests"
    assert lead_ns([3], 10.0, 10.0) == 0, "this many were made before"
    assert lead_ns([3], 100.0, None) == 0


def test_a_number_of_requests_is_made_whole() -> None:
    length = RunLength(requests=100, duration_ns=None)
    by_time = RunLength(requests=None, duration_ns=NS_PER_S)
    source: Any = None
    load = configured(rate="50", duration="1").load
    assert [may_need_more(load.plan(one, source).shares(1)[0]) for one in (length, by_time)] == [False, True]
    assert [may_need_more(load.plan(one, source).shares(2)[0]) for one in (length, by_time)] == [False, True]
    assert not may_need_more(WorkerShare(requests=3, duration_ns=None, warmup_requests=0, warmup_ns=0))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_says_when_a_change_that_needs_requests_begins(workers: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (tmp_path / "calm.yaml").write_text(CALM)
    with mock_process("--ttft", "5ms", "--tpot", "1ms") as mock:
        words = ["run", "--url", mock.url, "--config", str(tmp_path / "calm.yaml"), "--out", str(run), "--rate", "4"]
        words += ["--duration", "60s", "--input-tokens", "16", "--output-tokens", "2", "--workers", workers, "--quiet"]
        process = popen([sys.executable, "-m", "bench", *words], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while True:
                before_ns = time.monotonic_ns()
                try:
                    ask(run, 150, by="terminal")
                    break
                except UsageError:
                    assert time.monotonic() < deadline, "the process never ran"
                    time.sleep(0.05)
            process.terminate()
        finally:
            process.wait(timeout=PATIENCE_S)
    changes = RunDirectory.open(run).changes()
    assert changes is not None
    (change,) = changes
    assert change.t_ns - before_ns >= READY_NS
