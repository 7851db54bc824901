"""Requests from another process: the same requests, in order, up to the memory limit; and the death of that process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from bench.clock import NS_PER_MS, NS_PER_S, LoopClock
from bench.config import RunConfig, resolve
from bench.endpoints import encode
from bench.endpoints.interface import BodyOptions
from bench.errors import BenchError, Exit, UsageError
from bench.load import feed as feed_module
from bench.load import worker as worker_module
from bench.load.assignment import Assignment
from bench.load.components import source_of, tokenizer_of
from bench.load.feed import FeedProcess, ProcessFeed
from bench.load.supervision import Defects
from bench.load.worker import Worker, needs_feed
from bench.modes.rate import Rate
from bench.modes.share import WorkerShare
from bench.sources.sessions import SessionSource
from bench.transport.scripted import ScriptedReply, ScriptedTransport
from bench.workload import Request, Supply
from bench.workload.stock import Backlog
from bench.workload.turns import Conversations, History
from promptset.samples import Sample
from promptset.sessions import Session
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import NEW_INTERPRETERS
from tests.support.run_process import flags, process, wait_for
from tests.support.stopped import stop

pytestmark = pytest.mark.long

MARK = "TRUELOAD_TESTED_BY"

OPTIONS = BodyOptions(endpoint="chat", model="m", stream=True, ignore_eos=True, extra=None)


def assignment(config: RunConfig, worker: int = 1) -> Assignment:
    share = WorkerShare(
        worker=worker, workers=3, requests=None, duration_ns=NS_PER_S, warmup_requests=0, warmup_ns=0, users=2
    )
    return Assignment(config=config, share=share, run_id="run", options=OPTIONS, directory=Path())


def supply(given: Assignment, samples: Iterator[Sample]) -> Supply:
    return Supply(samples, lambda sample: encode(sample, OPTIONS), "run", first=given.share.worker, step=3)


def configured(**fields: Any) -> RunConfig:
    return resolve({"url": "http://127.0.0.1:1", "duration": "1", "seed": "4", **fields})


def alone(given: Assignment, count: int) -> list[Request]:
    """The requests as this process makes them."""
    made = supply(given, source_of(given.config, tokenizer_of(given.config), given.share))
    return [made.take("run") for _ in range(count)]


T = TypeVar("T")


def in_loop(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner() as runner:
        return runner.run(work)


@pytest.mark.parametrize("rows", [0, 5])
def test_another_process_makes_the_requests_that_this_one_would(rows: int, tmp_path: Path) -> None:
    fields = {"input_tokens": "uniform:20..60"}
    if rows:
        path = tmp_path / "rows.jsonl"
        path.write_text(
            "".join(f'{{"prompt": "row {i}", "session": "s{i}", "output_tokens": 3}}\n' for i in range(rows))
        )
        fields = {"dataset": str(path)}
    given = assignment(configured(**fields))
    made = supply(given, source_of(given.config, tokenizer_of(given.config), given.share))

    async def feed() -> list[Request]:
        process = ProcessFeed(given, made)
        try:
            ahead = made.stock.make_ahead(10)
            await process.begin(ahead)
            made.stock.feed_from(process, requests=30, most_bytes=10**6)
            taken = [made.take("run") for _ in range(40)]
            await filled(made)
            async with asyncio.timeout(PATIENCE_S):
                while process._reading:  # Taking may have filled the stock before the loop had a turn to stop.
                    await asyncio.sleep(0.005)
            enough = len(made.stock)
            for _ in range(20):
                await asyncio.sleep(0.005)
            assert len(made.stock) == enough >= 30, "the feed continues by itself until there are enough"
            return [*taken, *(made.take("run") for _ in range(60))]
        finally:
            process.close()

    assert in_loop(feed()) == alone(given, 100)
    assert made.stock.late > 0


def test_another_process_makes_the_sessions_that_this_one_would() -> None:
    config = configured(mode="sessions", concurrency="2", input_tokens="uniform:20..60", think_time="uniform:1s..3s")
    given = assignment(config)

    def sessions() -> SessionSource:
        made = source_of(config, tokenizer_of(config), given.share)
        assert isinstance(made, SessionSource)
        return made

    made = Conversations(sessions(), lambda sample: encode(sample, OPTIONS), "run", History(real=True))

    async def feed() -> list[Session]:
        process = ProcessFeed(given, made)
        try:
            ahead = made.stock.make_ahead(10)
            await process.begin(ahead)
            made.stock.feed_from(process, requests=40, most_bytes=10**6)
            await filled(made)
            assert 40 <= made.stock.requests < 200, "the feed ends when there are enough"
            return [made.stock.take() for _ in range(60)]
        finally:
            process.close()

    alone = sessions()
    assert in_loop(feed()) == [next(alone) for _ in range(60)]
    assert next(sessions()).id == "session-1", "the worker has its own share"


def prepared_in(tmp_path: Path) -> Any:
    """A function that prepares a worker."""

    def prepared(config: RunConfig, **share: Any) -> tuple[int, int, bool]:
        """The number of prepared sessions and requests, and whether there is a companion process."""
        work = {"worker": 0, "workers": 1, "duration_ns": None, "warmup_requests": 0, "warmup_ns": 0, **share}
        given = Assignment(config=config, share=WorkerShare(**work), run_id="r", options=OPTIONS, directory=tmp_path)

        async def prepare() -> tuple[int, int, bool]:
            samples = source_of(config, tokenizer_of(config), given.share)
            clock = LoopClock()
            worker = Worker(given, samples, ScriptedTransport(lambda request: ScriptedReply(ttft_ns=0), clock), clock)
            try:
                await worker.prepare()
                stock = worker._load.backlog.stock
                assert isinstance(worker._load.backlog, Conversations)
                ready = worker._load.backlog._ready  # The sessions that begin first have left the stock.
                turns = sum(len(conversation.after) for conversation in ready)
                return len(stock) + len(ready), stock.requests + turns, worker._feed is not None
            finally:
                worker.close()

        return in_loop(prepare())

    return prepared


def test_a_long_run_of_sessions_is_fed_and_short_ones_are_ready_for_every_user(tmp_path: Path) -> None:
    shape = {"mode": "sessions", "turns": "3", "input_tokens": "30", "output_tokens": "5"}
    prepared = prepared_in(tmp_path)
    assert prepared(configured(**shape), requests=30, users=7) == (17, 51, False), (
        "10 for 30 requests, and 7 that have just begun"
    )
    sessions, requests, fed = prepared(configured(**shape), requests=None, duration_ns=9 * NS_PER_S, users=2)
    assert (fed, sessions >= 3, requests >= 9) == (True, True, True)
    path = tmp_path / "sessions.jsonl"
    path.write_text('{"turns": [{"content": "a"}]}\n')
    given = configured(mode="sessions", dataset=str(path))
    assert prepared(given, requests=None, duration_ns=9 * NS_PER_S, users=2) == (2, 2, False), (
        "the sessions come from a file"
    )


def test_every_user_has_a_session_at_the_start_however_long_sessions_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "AHEAD_BYTES", 50_000)
    agents = configured(mode="sessions", dataset="coding-agent", context_limit=4000)
    sessions, requests, fed = prepared_in(tmp_path)(agents, requests=None, duration_ns=9 * NS_PER_S, users=9)
    assert (sessions, fed) == (9, True), "about five sessions have 50,000 bytes"
    assert requests > 100


def test_a_feed_makes_nothing_beside_a_load_that_has_enough() -> None:
    given = assignment(configured())
    made = supply(given, source_of(given.config, tokenizer_of(given.config), given.share))

    async def feed() -> None:
        process = ProcessFeed(given, made)
        try:
            await process.begin(made.stock.make_ahead(300))
            made.stock.feed_from(process, requests=300, most_bytes=10**8)
            if sys.platform == "linux":
                assert os.sched_getscheduler(process._process.pid) == os.SCHED_IDLE
                before_ns = cpu_ns(process._process.pid)
                await asyncio.sleep(0.3)
                assert cpu_ns(process._process.pid) - before_ns < 100 * NS_PER_MS
            assert process._owed == 1
            for _ in range(151):
                made.take("run")
            await filled(made)
            assert made.stock.late == 0
            assert 300 <= len(made.stock) < 300 + 2 * 64
        finally:
            process.close()

    in_loop(feed())


def cpu_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def test_an_open_loop_by_time_knows_how_many_requests_it_needs(tmp_path: Path) -> None:
    def prepared(**shape: str) -> tuple[int, bool, str]:
        config = configured(input_tokens="5", output_tokens="5", **shape)
        share = WorkerShare(
            requests=None,
            duration_ns=config.length.duration_ns,
            warmup_requests=0,
            warmup_ns=config.length.warmup_ns,
            users=config.concurrency,
        )
        given = Assignment(config=config, share=share, run_id="r", options=OPTIONS, directory=tmp_path)

        async def prepare() -> tuple[int, bool, str]:
            samples = source_of(config, tokenizer_of(config), share)
            clock = LoopClock()
            worker = Worker(given, samples, ScriptedTransport(lambda request: ScriptedReply(ttft_ns=0), clock), clock)
            try:
                await worker.prepare()
                return len(worker._load.backlog.stock), worker._feed is not None, worker.preparing
            finally:
                worker.close()

        return in_loop(prepare())

    def arrivals(within_s: float) -> int:
        load = configured(rate="40").load
        assert isinstance(load, Rate)
        first = next(load.offsets())
        return len(list(takewhile(lambda at: at - first < within_s * NS_PER_S, load.offsets())))

    counted = prepared(rate="40", duration="3")
    assert counted == (arrivals(3), False, "making 10 connections"), "those of a quarter of a second"
    assert counted[0] != 120, "the drawn number, not the expected one"
    few = arrivals(0.1)
    assert 1 < few < 10
    assert prepared(rate="40", duration="0.1") == (few, False, f"making {few} connections"), (
        "never more connections than requests"
    )
    assert prepared(rate="40", duration="3", warmup="1s")[0] > counted[0]
    assert prepared(concurrency="3", duration="4") == (12, True, "making 3 connections"), (
        "the number that a closed loop needs is a guess"
    )
    assert prepared(rate="3000", duration="3") == (5000, True, "making 512 connections")


async def filled(made: Backlog) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while made.has_room:
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def full_stock() -> AsyncIterator[tuple[ProcessFeed, Supply]]:
    """A feed, and the stock that it has filled."""
    given = assignment(configured())
    made = supply(given, source_of(given.config, tokenizer_of(given.config), given.share))
    process = ProcessFeed(given, made)
    try:
        await process.begin(0)
        made.stock.feed_from(process, requests=5, most_bytes=10**6)
        await filled(made)
        yield process, made
    finally:
        process.close()


def test_a_feed_that_dies_ends_the_run_when_nothing_is_left() -> None:
    async def feed() -> None:
        async with full_stock() as (process, made):
            os.kill(process._process.pid, signal.SIGKILL)
            process._process.wait()
            defects = Defects()
            ended = asyncio.Event()
            defects.on_first = ended.set
            while not made.stock.must_wait:
                made.take("run")
                await asyncio.sleep(0)
                assert not ended.is_set(), "available requests are sent first"
            made.stock.when_made(0, lambda: None)
            await asyncio.wait_for(ended.wait(), PATIENCE_S)
            with pytest.raises(
                UsageError, match=r"that makes prompts was killed by SIGKILL \(.* memory runs out\); what"
            ):
                defects.raise_first()

    in_loop(feed())


@pytest.mark.parametrize("stopped", [True, False])
def test_a_feed_that_gives_nothing_more_ends_the_run(
    stopped: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The feed is stopped, or waits for a message that the test withholds."""
    monkeypatch.setattr(feed_module, "STALLED_S", 0.05)

    async def feed() -> None:
        async with full_stock() as (process, made):
            if stopped:
                stop(process._process.pid)
            process._owed += 1_000
            defects = Defects()
            ended = asyncio.Event()
            defects.on_first = ended.set
            while not ended.is_set():
                if not made.stock.must_wait:
                    made.take("run")
                elif not made.stock.awaited:
                    made.stock.when_made(0, lambda: None)
                await asyncio.sleep(0)
            with pytest.raises(UsageError, match="that makes prompts has made none for 0 s, while requests were due"):
                defects.raise_first()
            if not stopped:
                process._process.wait()

    in_loop(feed())
    assert ("feed_program.py" in capfd.readouterr().err) == (not stopped)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.usefixtures("work_folder")
def test_a_run_whose_feed_is_killed_ends_with_a_sentence(workers: str, tmp_path: Path) -> None:
    with mock_process("--ttft", "1ms", "--tpot", "1ms", "--output-tokens", "1") as mock:
        length = ("--duration", "600s", "--concurrency", "64", "--workers", workers, "--cpu-priority", "normal")
        mark = os.environ | NEW_INTERPRETERS | {MARK: str(tmp_path)}
        with process(flags(mock.url, tmp_path, *length, "--server-metrics", "off"), env=mark) as running:
            wait_for(lambda: any(path.stat().st_size for path in (tmp_path / "run").glob("requests*")))
            feeds = [pid for pid, line in commands_marked(tmp_path) if "bench.load.feed_program" in line]
            assert len(feeds) == int(workers)
            os.kill(feeds[0], signal.SIGKILL)
            _, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.USAGE, err
    assert "the process that makes prompts was killed by SIGKILL" in err
    assert "Traceback" not in err
    assert processes_marked(tmp_path) == []
    notes = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["manifest"]["notes"]
    assert [note for note in notes if note.startswith("the load was cut: ") and "makes prompts was killed" in note]


def test_what_a_feed_cannot_make_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a"}\n')
    given = assignment(configured(dataset=str(path)))
    made = supply(given, source_of(given.config, None, given.share))
    path.write_text('{"nothing": 1}\n')

    async def feed() -> None:
        process = ProcessFeed(given, made)
        try:
            with pytest.raises(BenchError, match="its error is above"):
                await process.begin(0)
            assert process._process.wait() == 2
        finally:
            process.close()

    in_loop(feed())
    assert "making prompts: " in capfd.readouterr().err


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.usefixtures("work_folder")
def test_a_run_by_time_sends_made_prompts_in_order_and_leaves_no_process(workers: str, tmp_path: Path) -> None:
    def ended() -> list[dict[str, Any]]:
        lines = [line for path in (tmp_path / "run").glob("requests*") for line in path.read_text().splitlines(True)]
        return [json.loads(line) for line in lines if line.endswith("\n")]

    with mock_process("--ttft", "20ms", "--tpot", "1ms") as mock:
        words = ["run", "--url", mock.url, "--duration", "600s", "--concurrency", "6", "--workers", workers, "--quiet"]
        words += ["--input-tokens", "uniform:10..30", "--output-tokens", "2", "--out", str(tmp_path / "run")]
        command, env = [sys.executable, "-m", "bench", *words], os.environ | NEW_INTERPRETERS | {MARK: str(tmp_path)}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as run:
            try:
                # Far more than were made before the run.
                wait_for(lambda: len(ended()) > 100)
                beside = commands_marked(tmp_path)
                run.send_signal(signal.SIGINT)
                _, said = run.communicate(timeout=PATIENCE_S)
            finally:
                run.kill()
    assert run.returncode == Exit.INTERRUPTED, said
    assert "Traceback" not in said
    assert processes_marked(tmp_path) == []
    records = [record for record in ended() if record["outcome"] == "ok"]
    config = configured(input_tokens="uniform:10..30", seed="0")
    most = max(record["index"] for record in records)
    asked = [sample.input_tokens for sample in islice(source_of(config, tokenizer_of(config)), most + 1)]
    for record in records:
        assert record["input_tokens"] == record["input_tokens_asked"] == asked[record["index"]]
    if sys.platform == "linux":
        assert sum("bench.load.feed_program" in line for _, line in beside) == int(workers)


def processes_marked(mark: Path) -> list[str]:
    """The names of processes with this mark in their environment, including their descendants."""
    return [name for _, name in marked(mark, "comm")]


def commands_marked(mark: Path) -> list[tuple[int, str]]:
    """The same processes with their ids, names and command lines."""
    lines = dict(marked(mark, "cmdline"))
    return [(pid, f"{name} {lines.get(pid, '')}") for pid, name in marked(mark, "comm")]


def marked(mark: Path, file: str) -> list[tuple[int, str]]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}\0" in (path / "environ").read_text(errors="replace"):
                found.append((int(path.name), (path / file).read_text().replace("\0", " ").strip()))
    return found


def test_a_process_that_was_started_ahead_and_is_not_needed_says_nothing_of_its_tokenizer(
    capfd: pytest.CaptureFixture[str],
) -> None:
    feed = FeedProcess(configured(tokenizer="./nowhere"))
    feed.connection.close()
    feed.socket.close()
    assert feed.process.wait(PATIENCE_S) == 0
    assert capfd.readouterr().err == "", "only the sending process reports it, once"
    feed.end()
    feed.end()


def test_a_process_whose_tokenizer_cannot_be_loaded_says_so_when_it_is_needed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = configured(tokenizer="./nowhere")

    async def feed() -> None:
        process = ProcessFeed(assignment(config), supply(assignment(config), iter(())), FeedProcess(config))
        try:
            with pytest.raises(BenchError, match="the process that makes prompts ended with status 2"):
                await process.begin(0)
        finally:
            process.close()

    in_loop(feed())
    assert "making prompts: --tokenizer: the tokenizer ./nowhere does not exist" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({"duration": "5m"}, True),
        ({"duration": None, "requests": "5000"}, False),
        ({"duration": None, "requests": "5000", "warmup": "1"}, True),
        ({"dataset": "rows.jsonl"}, False),
        ({"dataset": "chatbot"}, True),
        ({"tokenizer": "server"}, False),
        ({"tokenizer": "http://127.0.0.1:1"}, False),
        ({"tokenizer": "model"}, True),
    ],
    ids=str,
)
def test_a_process_is_started_ahead_where_more_texts_are_made_than_before_the_load(
    settings: dict[str, str | None], needed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text('{"prompt": "hello", "output_tokens": 4}\n')
    fields = {"url": "http://127.0.0.1:1", "duration": "1", **settings}
    assert needs_feed(resolve({name: value for name, value in fields.items() if value is not None})) is needed
