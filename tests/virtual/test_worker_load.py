"""The load of one worker in virtual time: its files, counts, messages and answers to orders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.clock import LoopClock
from bench.config import resolve
from bench.endpoints.interface import BodyOptions
from bench.load.active_load import ActiveLoad
from bench.load.assignment import Assignment, WorkerReport
from bench.load.components import source_of, tokenizer_of
from bench.load.crew import Order
from bench.load.replies_in_flight import Arrived, Counted
from bench.load.worker import Worker
from bench.modes.share import WorkerShare
from bench.records import Outcome, RequestRecord
from bench.transport.scripted import ScriptedReply, ScriptedTransport
from bench.workload import Request
from tests.support.virtual_time import START_NS, run_virtual

MS = 1_000_000
START = START_NS + 11
OPTIONS = BodyOptions(endpoint="chat", model="m", stream=True, ignore_eos=True, extra=None)


class Followed:
    """Records the received records."""

    def __init__(self) -> None:
        self.records: list[RequestRecord] = []

    def arrive(self, arrived: Arrived) -> None:
        """Ignored: other tests count tokens."""

    def add(self, record: RequestRecord, counted: Counted) -> None:
        self.records.append(record)


class Worked:
    """A load that has ended."""

    def __init__(
        self,
        folder: Path,
        script: Callable[[Request], ScriptedReply],
        at: tuple[tuple[int, Callable[[ActiveLoad], object]], ...] = (),
        mode: dict[str, Any] | None = None,
        **share: Any,
    ) -> None:
        """`at`: actions this many ms after the start. `mode`: flags of another mode than concurrency."""
        # The prompts come from a file, so no process makes them.
        (folder / "rows.jsonl").write_text('{"prompt": "a"}\n' * 100)
        data = {"dataset": str(folder / "rows.jsonl"), "cpu_priority": "normal"}
        config = resolve({"url": "http://127.0.0.1:1", **data, **(mode or {})})
        usual = {"requests": None, "duration_ns": None, "warmup_requests": 0, "warmup_ns": 0, "users": 2}
        given = Assignment(
            config=config, share=WorkerShare(**{**usual, **share}), run_id="r", options=OPTIONS, directory=folder
        )
        self.followed = Followed()
        self.load: ActiveLoad
        self.report: WorkerReport
        self.counts: list[dict[str, int]] = []
        run_virtual(lambda loop: self._main(given, script, at))
        name = "requests.jsonl" if given.alone else f"requests-{given.share.worker}.jsonl"
        self.lines = [orjson.loads(line) for line in (folder / name).read_bytes().splitlines()]

    async def _main(self, given: Assignment, script: Any, at: Any) -> None:
        clock = LoopClock()
        source = source_of(given.config, tokenizer_of(given.config), given.share)
        transport = ScriptedTransport(script, clock)
        worker = Worker(given, source, transport, clock)
        await worker.prepare()
        load = self.load = worker.begin(START, self.followed)
        for ms, call in at:
            clock.call_at(START + ms * MS, lambda call=call: call(load))  # type: ignore[misc]
        try:
            self.report = await load.run()
        finally:
            worker.close()


def quick(request: Request) -> ScriptedReply:
    return ScriptedReply(ttft_ns=10 * MS)


FAILS = {1: Outcome.RESET, 3: Outcome.TRUNCATED}


def failing(request: Request) -> ScriptedReply:
    return ScriptedReply(ttft_ns=10 * MS, failed=FAILS.get(request.index))


@pytest.mark.parametrize(("warmup", "failures"), [(0, 2), (2, 1), (4, 0)])
def test_failures_after_the_warm_up_count(warmup: int, failures: int, tmp_path: Path) -> None:
    worked = Worked(tmp_path, failing, requests=6, warmup_requests=warmup)
    assert worked.load.failures == failures
    assert [line["outcome"] for line in worked.lines].count("ok") == 4 + warmup
    assert len(worked.followed.records) == len(worked.lines) == 6 + warmup
    assert (worked.report.reason, worked.report.problems) == ("requests", ())
    assert (worked.report.never_sent.n, worked.report.late_requests, worked.report.repeated_rows) == (0, 0, 0)


def test_everything_at_once_waits_until_the_warm_up_has_ended(tmp_path: Path) -> None:
    mode = {"mode": "throughput", "requests": 5}

    def one_slow(request: Request) -> ScriptedReply:
        return ScriptedReply(ttft_ns=(10 if request.index else 70) * MS)

    lines = Worked(tmp_path, one_slow, mode=mode, requests=5, warmup_requests=2, users=5).lines
    sent_at = sorted((line["phase"], round(line["sent_ns"] - START) // MS) for line in lines)
    assert sent_at == [("run", 70)] * 5 + [("warmup", 0)] * 2


@pytest.mark.parametrize(("warmup", "over"), [(2, [30]), (0, [])])
def test_a_load_after_a_warm_up_of_requests_tells_when_its_time_is_over(
    warmup: int, over: list[int], tmp_path: Path
) -> None:
    told: list[int] = []

    def listen(load: ActiveLoad) -> None:
        load.on_time_over = lambda: told.append(round(load._clock.now_ns() - START) // MS)

    share = {"requests": 50, "duration_ns": 20 * MS, "warmup_requests": warmup}
    worked = Worked(tmp_path, quick, ((0, listen),), mode={"warmup": str(warmup), "duration": "20ms"}, **share)
    assert (told, worked.load.time_over) == (over, bool(over))
    assert worked.report.reason == "duration"


def test_of_several_workers_each_writes_its_own_file_and_number(tmp_path: Path) -> None:
    worked = Worked(tmp_path, quick, worker=1, workers=3, requests=4)
    assert sorted((line["index"], line["worker"]) for line in worked.lines) == [(1, 1), (4, 1), (7, 1), (10, 1)]
    assert {record.worker for record in worked.followed.records} == {0}


def test_what_is_in_flight_planned_sent_and_done_is_counted(tmp_path: Path) -> None:
    seen: list[dict[str, int]] = []

    def look(load: ActiveLoad) -> None:
        seen.append(load.counts(START + 15 * MS))
        assert load.in_flight == 2

    Worked(tmp_path, quick, ((15, look),), requests=6)
    assert seen == [{"in_flight": 2, "in_flight_ns": 30 * MS, "planned": 4, "sent": 4, "done": 2}]


@pytest.mark.parametrize(
    ("order", "reason", "outcomes"),
    [
        (lambda load: load.tell(Order.STOP, "precise enough"), "precise enough", ["ok"] * 4),
        (lambda load: load.tell(Order.INTERRUPT), "interrupted", ["ok"] * 4),
        (lambda load: load.tell(Order.CUT), "interrupted", ["ok"] * 2 + ["interrupted"] * 2),
    ],
)
def test_an_order_ends_the_sending_and_one_cuts_what_is_in_flight(
    order: Callable[[ActiveLoad], object], reason: str, outcomes: list[str], tmp_path: Path
) -> None:
    worked = Worked(tmp_path, quick, ((15, order),), requests=50)
    assert worked.report.reason == reason
    assert [line["outcome"] for line in worked.lines] == outcomes


def test_what_is_never_sent_is_what_was_due_when_the_sending_stopped_first(tmp_path: Path) -> None:
    def wait(load: ActiveLoad) -> None:
        # One request has been due for 3 ms, and one since the start. Later, after Ctrl-C, there are nine.
        due: Any = load._dispatcher
        due.unmade = lambda now_ns: [now_ns - 3 * MS, START] if now_ns < START + 20 * MS else [START] * 9

    stop = (15, lambda load: load.tell(Order.STOP, "precise enough"))
    interrupt = (25, lambda load: load.tell(Order.INTERRUPT))
    worked = Worked(tmp_path, quick, ((1, wait), stop, interrupt), requests=50)
    assert (worked.report.never_sent.n, worked.report.never_sent.waited_ns) == (2, 3 * MS + 15 * MS)


@pytest.mark.parametrize(("workers", "last_ms"), [(1, 50), (2, 40)])
def test_a_warm_up_may_be_ended_from_outside(workers: int, last_ms: int, tmp_path: Path) -> None:
    ends = (15, lambda load: load.warmup_ends(START + 25 * MS))
    worked = Worked(tmp_path, quick, (ends,), workers=workers, requests=50, duration_ns=25 * MS, warmup_ns=10**12)
    phases = [(line["phase"], (line["sent_ns"] - START) // MS) for line in worked.lines]
    assert [phase for phase, ms in phases if ms < 25] == ["warmup"] * 6
    assert {phase for phase, ms in phases if ms >= 25} == {"run"}
    assert max(ms for _, ms in phases) == last_ms


def test_a_changed_load_is_divided_among_the_workers_and_told(tmp_path: Path) -> None:
    seen: list[int] = []
    more = (15, lambda load: load.change(15 * MS, 6.0))
    look = (25, lambda load: seen.append(load.in_flight))
    Worked(tmp_path, quick, (more, look), worker=0, workers=2, requests=50)
    assert seen == [3]
