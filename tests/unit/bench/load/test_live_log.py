"""live.jsonl: the content of a line, and what writing it must not do."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import orjson
import pytest

from bench.clock import NS_PER_S, LoopClock, sleep_until
from bench.load.live import Live, LiveNumbers, LoadGoal
from bench.load.live_log import LIVE_FIELDS, LiveLog, live_line
from bench.load.progress_tally import ProgressTally, metrics_of
from bench.load.sampling import ClientState, worst
from bench.load.worker_health import WorkerHealth
from bench.metrics import objectives
from bench.metrics.step_histograms import representative
from bench.records import Outcome
from bench.run_files.load_change import LoadChange
from bench.run_files.run_directory import LineLog
from bench.run_files.run_state import RunState
from tests.support.changed import replace
from tests.support.made_records import made_record
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual

COUNTS = {"planned": 9, "sent": 6, "done": 4, "in_flight": 2}
SLO = objectives.parse(["ttft:p99<60ms"])
GOOD = [made_record(i, chunks_ms=(50, 60, 80)) for i in range(4)]
WARMUP = made_record(5, chunks_ms=(500, 510, 520), phase="warmup")
RESET = replace(made_record(9, outcome=Outcome.RESET), error="the connection was reset")


def lines_of(live: Live, at_s: list[float]) -> list[dict[str, object]]:
    lines = []
    for second in at_s:
        now_ns = START_NS + round(second * NS_PER_S)
        numbers = live.numbers(now_ns)
        lines.append(live_line(now_ns, numbers.state, numbers, live.second(), ClientState(1.5, 0.25, 0.0)))
    return lines


def test_a_line_tells_how_each_of_several_workers_is_the_slowest_first() -> None:
    def worker(number: int, lag_ms: float, died: str | None = None) -> WorkerHealth:
        return WorkerHealth(
            worker=number, name=f"worker {number} on n", loop_lag_ms=lag_ms, cpu=0.5, run_queue_share=None,
            in_flight=2, done=3, died=died,
        )  # fmt: skip

    async def main(loop: VirtualTimeLoop) -> list[dict[str, object]]:
        live = Live(LoopClock(), lambda at_ns: dict(COUNTS), LoadGoal(requests=10))
        live.start()
        alone = lines_of(live, [1])
        live.workers = lambda: (worker(0, 0.1), worker(1, 7.0), worker(2, 0.0, "was lost"), *(
            worker(number, 1.0) for number in range(3, 100)))  # fmt: skip
        return alone + lines_of(live, [2])

    alone, several = run_virtual(main)
    assert "workers" not in alone
    assert {*several, "server", "replicas"} == {*LIVE_FIELDS}
    told = several["workers"]
    assert isinstance(told, list)
    assert [one["worker"] for one in told[:3]] == [2, 1, 3]
    assert len(told) == 64
    assert told[1] == {
        "worker": 1, "name": "worker 1 on n", "loop_lag_ms": 7.0, "cpu": 0.5, "run_queue_share": None, "in_flight": 2,
        "done": 3, "died": None,
    }  # fmt: skip


def test_a_line_tells_the_counts_of_the_load_and_the_latencies_of_its_second() -> None:
    async def main(loop: VirtualTimeLoop) -> list[dict[str, object]]:
        live = Live(LoopClock(), lambda at_ns: dict(COUNTS), LoadGoal(requests=10, objectives=SLO))
        live.start()
        for record in (*GOOD, WARMUP, RESET):
            live.add(record)
        first = lines_of(live, [1])
        live.add(made_record(6, chunks_ms=(70, 75, 95)))
        live.add(made_record(7, chunks_ms=(), outcome=Outcome.HTTP_ERROR, status=429, error="slow down"))
        return first + lines_of(live, [2, 3])

    first, second, third = run_virtual(main)
    assert first["t_ns"] == START_NS + NS_PER_S
    assert {key: first[key] for key in ("elapsed_s", "state", "planned", "sent", "done", "in_flight", "failed")} == {
        "elapsed_s": 1.0, "state": "running", "planned": 9, "sent": 6, "done": 4, "in_flight": 2, "failed": 1,
    }  # fmt: skip
    assert first["failures"] == {"reset": 1}
    assert first["errors"] == {"reset": "the connection was reset"}
    assert first["client"] == {"loop_lag_ms": 1.5, "cpu": 0.25, "run_queue_share": 0.0, "slowest": None}
    told = first["second"]
    assert isinstance(told, dict)
    assert (told["succeeded"], told["output_tokens"]) == (5, 15)
    # The bins for the page's period: four times 50 ms, and 500 ms.
    histogram = told["ttft_ms"].pop("histogram")
    bins, counts = histogram[::2], histogram[1::2]
    assert counts == (4, 1)
    assert [representative(number) / 1e6 for number in bins] == [pytest.approx(ms, rel=0.01) for ms in (50, 500)]
    assert told["status"] == {"200": 5, "none": 1}
    assert told["ttft_ms"] == {"n": 5, "p50": pytest.approx(50, rel=1e-3), "p90": pytest.approx(320, rel=1e-3),
                               "p99": pytest.approx(482, rel=1e-3)}  # fmt: skip
    assert told["itl_ms"]["n"] == 10
    assert told["itl_ms"]["p50"] == pytest.approx(10, rel=2e-3)
    assert second["errors"] == {"http_error": "status 429: slow down"}
    objective = first["objectives"][0]  # type: ignore[index]
    assert (objective["objective"], objective["held"]) == ("ttft:p99<60ms", True)
    # Requests that end in a second are only in its line. A second without an end shows that.
    assert second["second"]["ttft_ms"] == {"n": 1, "p50": 70.0, "p90": 70.0, "p99": 70.0, "histogram": (6122, 1)}  # type: ignore[index]
    assert third["second"] == {
        "succeeded": 0, "input_tokens": 0, "output_tokens": 0, "bytes_sent": 0, "bytes_received": 0, "status": {},
    }  # fmt: skip
    assert second["objectives"][0]["value"] == pytest.approx(69.2, rel=1e-3)  # type: ignore[index]


def test_a_line_has_each_replica_of_the_last_seconds_and_its_failures_since_the_warmup() -> None:
    async def main(loop: VirtualTimeLoop) -> list[dict[str, object]]:
        live = Live(LoopClock(), lambda at_ns: dict(COUNTS), LoadGoal(requests=10))
        live.start()
        alone = lines_of(live, [1])
        for record in (*GOOD, WARMUP):
            live.add(replace(record, target="http://b"))
        live.add(replace(made_record(7, chunks_ms=(70, 75, 95)), target="http://a"))
        live.add(replace(RESET, target="http://a"))
        live.add(replace(made_record(8, chunks_ms=(), outcome=Outcome.CANCELLED), target="http://a"))
        return alone + lines_of(live, [2, 20])

    alone, now, later = run_virtual(main)
    assert "replicas" not in alone
    assert now["replicas"] == [
        {"replica": "http://a", "requests_per_s": 1.0, "latency_ms": 70.0, "failed": 1},
        {"replica": "http://b", "requests_per_s": 2.5, "latency_ms": pytest.approx((4 * 50 + 500) / 5), "failed": 0},
    ]
    assert later["replicas"] == [
        {"replica": "http://a", "requests_per_s": 0.0, "latency_ms": None, "failed": 1},
        {"replica": "http://b", "requests_per_s": 0.0, "latency_ms": None, "failed": 0},
    ]


def test_replies_without_tokens_have_their_whole_time_by_replica() -> None:
    async def main(loop: VirtualTimeLoop) -> dict[str, object]:
        live = Live(LoopClock(), lambda at_ns: dict(COUNTS), LoadGoal(requests=10, inputs_are="texts"))
        live.start()
        live.add(replace(made_record(1, chunks_ms=()), target="http://a"))
        return lines_of(live, [1])[0]

    assert [one["latency_ms"] for one in run_virtual(main)["replicas"]] == [1.0]  # type: ignore[attr-defined]


def test_tallies_of_workers_give_the_same_line() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        goal = LoadGoal(requests=10, objectives=SLO)
        alone, merged = (Live(LoopClock(), lambda at_ns: dict(COUNTS), goal) for _ in range(2))
        tallies = [ProgressTally(metrics_of(SLO)) for _ in range(2)]
        alone.start()
        merged.start()
        named = (replace(record, target=f"http://{i % 3}") for i, record in enumerate((*GOOD, WARMUP, RESET)))
        for i, record in enumerate(named):
            alone.add(record)
            tallies[i % 2].add(record)
        for tally in tallies:
            merged.merge(tally)
        return lines_of(alone, [1]), lines_of(merged, [1])

    alone, merged = run_virtual(main)
    assert alone == merged


def test_the_state_follows_the_goal() -> None:
    async def main(loop: VirtualTimeLoop) -> list[RunState]:
        counts = {"planned": 2, "sent": 2, "done": 0, "in_flight": 2}
        live = Live(LoopClock(), lambda at_ns: dict(counts), LoadGoal(requests=3, warmup_requests=2))
        live.start()
        states = [live.numbers(START_NS + NS_PER_S).state]
        for sent in (3, 5):
            counts["sent"] = sent
            states.append(live.numbers(START_NS + 2 * NS_PER_S).state)
        return states

    assert run_virtual(main) == [RunState.WARMING_UP, RunState.RUNNING, RunState.DRAINING]


@pytest.mark.parametrize(
    ("goal", "at_s", "state", "left_s"),
    [
        (LoadGoal(duration_s=60), 20, RunState.RUNNING, 40.0),
        (LoadGoal(duration_s=60), 20, RunState.DRAINING, None),
        (LoadGoal(duration_s=60), 61, RunState.DRAINING, 0.0),
    ],
)
def test_a_load_that_drains_early_does_not_say_what_its_plan_had_left(
    goal: LoadGoal, at_s: int, state: RunState, left_s: float | None
) -> None:
    async def main(loop: VirtualTimeLoop) -> dict[str, object]:
        live = Live(LoopClock(), lambda at_ns: dict(COUNTS), goal)
        live.start()
        now_ns = START_NS + at_s * NS_PER_S
        return live_line(now_ns, state, live.numbers(now_ns), live.second(), ClientState())

    assert run_virtual(main)["left_s"] == left_s


def test_everyone_who_follows_is_told_at_their_own_times() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[float], list[float]]:
        often: list[float] = []
        seldom: list[float] = []

        def told(times: list[float]) -> object:
            return lambda numbers: times.append(numbers.elapsed_s)

        live = Live(LoopClock(), lambda at_ns: dict(COUNTS), LoadGoal())
        live.start()
        live.follow(told(often), 0.5, 0.5)  # type: ignore[arg-type]
        live.follow(told(seldom), 1.0, 1.0)  # type: ignore[arg-type]
        await sleep_until(LoopClock(), START_NS + round(2.2 * NS_PER_S))
        live.stop()
        return often, seldom

    often, seldom = run_virtual(main)
    assert often == [0.5, 1.0, 1.5, 2.0, 2.2]
    assert seldom == [1.0, 2.0, 2.2]


def test_states_are_handed_over_once_and_lines_stand_in_the_file(tmp_path: Path) -> None:
    states: list[RunState] = []
    numbers = run_virtual(_numbers)
    log = LiveLog(tmp_path / "live.jsonl", write_state=states.append)
    threads = [thread for thread in threading.enumerate() if thread.name == "live.jsonl"]
    assert threads, "the log has its own thread"
    assert all(thread.daemon for thread in threads), "the thread must not keep a failed process alive"
    for state in (RunState.RUNNING, RunState.RUNNING, RunState.DRAINING):
        log.tell(7, state, numbers[0], numbers[1].second(), ClientState())
    log.close()
    rows = [orjson.loads(line) for line in (tmp_path / "live.jsonl").read_bytes().splitlines()]
    assert [row["state"] for row in rows] == ["running", "running", "draining"]
    assert states == [RunState.RUNNING, RunState.DRAINING]


def test_changes_of_the_load_are_in_their_own_file(tmp_path: Path) -> None:
    changes = [LoadChange(t_ns=at, before=4, after=float(at), by="terminal") for at in (7, 9)]
    log = LiveLog(
        tmp_path / "live.jsonl", write_state=lambda state: None, changes=LineLog(tmp_path / "load_changes.jsonl")
    )
    for change in changes:
        log.note(change)
    assert log.close() is None
    rows = (tmp_path / "load_changes.jsonl").read_bytes().splitlines()
    assert [LoadChange.of_row(orjson.loads(row)) for row in rows] == changes
    assert (tmp_path / "live.jsonl").read_bytes() == b""


def test_a_change_that_cannot_be_written_is_a_sentence_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # The change is kept there instead.
    changes = LineLog(Path("/dev/full"))
    log = LiveLog(tmp_path / "live.jsonl", write_state=lambda state: None, changes=changes)
    log.note(LoadChange(t_ns=7, before=4, after=5.0, by="terminal"))
    problem = log.close()
    assert problem is not None
    assert "/dev/full" in problem


def test_a_change_is_dropped_where_it_has_no_file(tmp_path: Path) -> None:
    states: list[RunState] = []
    log = LiveLog(tmp_path / "live.jsonl", write_state=states.append)
    numbers, live = run_virtual(_numbers)
    log.note(LoadChange(t_ns=7, before=4, after=5.0, by="terminal"))
    log.tell(7, RunState.RUNNING, numbers, live.second(), ClientState())
    assert log.close() is None
    assert states == [RunState.RUNNING]
    assert len((tmp_path / "live.jsonl").read_bytes().splitlines()) == 1


def test_a_disk_that_takes_nothing_stops_nothing(tmp_path: Path) -> None:
    def full(state: RunState) -> None:
        raise OSError(28, "No space left on device")

    numbers = run_virtual(_numbers)
    log = LiveLog(Path("/dev/full"), write_state=full)
    log.tell(7, RunState.RUNNING, numbers[0], numbers[1].second(), ClientState())
    log.close()


async def _numbers(loop: VirtualTimeLoop) -> tuple[LiveNumbers, Live]:
    live = Live(LoopClock(), lambda at_ns: dict(COUNTS), LoadGoal())
    live.start()
    return live.numbers(START_NS + NS_PER_S), live


def test_the_client_is_as_bad_as_its_worst_worker() -> None:
    assert worst([ClientState(1, 0.5, None), ClientState(3, 0.2, 0.1)]) == ClientState(3, 0.5, 0.1)
    assert worst([]) == ClientState(0.0, None, None)


def test_requests_that_no_replica_had_and_replies_without_a_time_are_in_no_replica() -> None:
    async def main(loop: VirtualTimeLoop) -> dict[str, object]:
        live = Live(LoopClock(), lambda at_ns: dict(COUNTS), LoadGoal(requests=10))
        live.start()
        live.add(made_record(1, chunks_ms=(70, 75, 95)))
        live.add(replace(made_record(2, chunks_ms=(60, 75, 95)), target="http://a"))
        return lines_of(live, [1])[0]

    assert run_virtual(main)["replicas"] == [
        {"replica": "http://a", "requests_per_s": 1.0, "latency_ms": 60.0, "failed": 0}
    ]
