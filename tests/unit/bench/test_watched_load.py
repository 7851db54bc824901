"""What an ended load writes into run.yaml, from the reports of its workers. No load is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import manifest
from bench.clock import NS_PER_MS
from bench.config import resolve
from bench.dispatch.interface import NeverSent
from bench.errors import UsageError
from bench.load.assignment import WorkerReport
from bench.load.crew import CrewReport, Order
from bench.metrics.precision import PRECISE_ENOUGH
from bench.observer import Observer
from bench.process.priority import PriorityUse
from bench.run_files.run_directory import RunDirectory
from bench.run_files.run_state import RunState
from bench.watched_load import (
    ABANDONED,
    RunContext,
    WatchedLoad,
    _goal,
    _notes_of_places,
    abandoned,
    write_manifest,
)
from tests.support.made_records import made_record
from tests.unit.bench.test_evaluate import run_directory

QUIET = WorkerReport(
    run_start_ns=None,
    reason=None,
    problems=(),
    repeated_rows=0,
    late_requests=0,
    never_sent=NeverSent(),
    priority=PriorityUse(asked="normal", had="normal"),
)


class Heard(Observer):
    """Records its messages."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def load(directory: RunDirectory, requests: int | None = 9, **run: Any) -> tuple[WatchedLoad, Heard, manifest.Manifest]:
    heard, first = Heard(), manifest.read(directory).manifest
    of: Any = {"config": resolve({"url": "http://h"}), "directory": directory, "observer": heard, "clock": None,
               "defects": SimpleNamespace(notes=lambda: (), raise_first=lambda: None), "scraper": None, **run}  # fmt: skip
    plan: Any = SimpleNamespace(requests=requests)
    crew: Any = SimpleNamespace(places=())
    return WatchedLoad(RunContext(**of), plan, first, crew), heard, first


@pytest.mark.parametrize(
    ("reasons", "requests", "interrupted", "why"),
    [
        ((None, None), 9, False, "requests"),
        ((None, None), None, False, "duration"),
        # Each worker has its own share of the requests, so any other reason takes precedence.
        (("requests", "errors"), 9, False, "errors"),
        (("requests", "requests"), 9, False, "requests"),
        (("errors", None), 9, True, "interrupted"),
    ],
)
def test_why_a_load_stopped_is_said_by_its_workers(
    reasons: tuple[str | None, ...], requests: int | None, interrupted: bool, why: str, tmp_path: Path
) -> None:
    directory = run_directory(tmp_path / "run", stop_reason=None)
    watched, _, first = load(directory, requests)
    report = CrewReport(tuple(replace(QUIET, reason=reason) for reason in reasons))
    watched._end(first, report, interrupted=interrupted)
    assert manifest.read(directory).manifest.stop_reason == why


def test_the_reports_of_the_workers_are_added_up(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", stop_reason=None, run_start_ns=None, notes=["begun"])
    scraper: Any = SimpleNamespace(died=True)
    watched, heard, first = load(directory, scraper=scraper)
    workers = (
        replace(
            QUIET, run_start_ns=7, problems=("disk full",), late_requests=2, never_sent=NeverSent(n=1, waited_ns=30)
        ),
        replace(QUIET, run_start_ns=5, repeated_rows=3, late_requests=1, never_sent=NeverSent(n=2, waited_ns=12)),
        QUIET,
    )
    measured = watched._end(first, CrewReport(workers, ("worker 3 died",)), interrupted=False)
    stored = manifest.read(directory).manifest
    assert measured.problems == ("disk full",)
    assert (stored.run_start_ns, stored.never_sent, stored.died) == (
        5,
        NeverSent(n=3, waited_ns=42),
        ("worker 3 died",),
    )
    assert (stored.state, len(stored.priority)) == (RunState.EVALUATING, 3)
    end = "the process that reads the server's metrics died: they end before the load does"
    assert stored.notes == (
        "begun",
        "3 requests were not made yet when they were due: making prompts could not keep up with the load",
        "3 requests repeat a row of the data set, which has fewer rows than that",
        end,
    )
    assert heard.said == [end]


def test_nothing_is_noted_of_a_load_in_good_order(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", stop_reason=None)
    watched, heard, first = load(directory, scraper=SimpleNamespace(died=False))
    measured = watched._end(first, CrewReport((QUIET,)), interrupted=False)
    stored = manifest.read(directory).manifest
    assert (measured.problems, stored.notes, stored.died, stored.places, heard.said) == ((), (), (), (), [])


@pytest.mark.parametrize(("stop_reason", "noted"), [(None, True), ("requests", False)])
def test_an_abandoned_load_has_the_records_that_are_on_disk_and_says_so_once(
    stop_reason: str | None, noted: bool, tmp_path: Path
) -> None:
    directory = run_directory(tmp_path / "run", made_record(0), stop_reason=stop_reason)
    heard = Heard()
    abandoned(directory, manifest.read(directory).config, heard)
    stored = manifest.read(directory).manifest
    assert (stored.stop_reason, stored.abandoned) == ("interrupted" if noted else stop_reason, noted)
    assert heard.said == [*stored.notes] == [ABANDONED] * noted


@pytest.mark.parametrize(
    ("places", "notes"),
    [
        ((), []),
        ((("a", 0), ("a", 0)), ["2 workers on one node of a cluster, which share one clock"]),
        (
            (("a", 0), ("b", 1.5), ("b", 0.25)),
            ["3 workers on 2 nodes of a cluster, which have clocks that are known within 1.50 ms"],
        ),
    ],
)
def test_the_report_says_how_well_the_clocks_of_nodes_are_known(
    places: tuple[tuple[str, float], ...], notes: list[str]
) -> None:
    made: Any = [SimpleNamespace(node=node, clock_bound_ns=round(bound * NS_PER_MS)) for node, bound in places]
    assert [*_notes_of_places(made)] == notes


@pytest.mark.parametrize(("limit", "watched"), [(None, False), ("5%", False), ("0", True), ("12", True)])
def test_a_number_of_errors_is_watched_while_a_load_runs_and_a_share_is_judged_at_its_end(
    limit: str | None, watched: bool, tmp_path: Path
) -> None:
    calls: list[object] = []
    clock = SimpleNamespace(now_ns=lambda: 0, call_at=lambda *of: calls.append(of))
    config = resolve({"url": "http://h", **({} if limit is None else {"max_errors": limit})})
    whole, _, _ = load(run_directory(tmp_path / "run", stop_reason=None), config=config, clock=clock)
    live: Any = SimpleNamespace()
    watch = whole._error_watch(live)
    assert (watch is not None, len(calls)) == (watched, int(watched))
    assert watch is None or watch._limit == int(limit or 0)


def test_a_log_that_could_not_be_written_is_a_problem_of_the_run(tmp_path: Path) -> None:
    watched, _, first = load(run_directory(tmp_path / "run", stop_reason=None), scraper=SimpleNamespace(died=False))
    for problem in (None, "live.jsonl: no space left"):
        log: Any = SimpleNamespace(close=lambda problem=problem: problem)
        watched._close_log(log)
    assert watched._end(first, CrewReport((QUIET,)), interrupted=False).problems == ("live.jsonl: no space left",)


@pytest.mark.parametrize(("interrupted", "state"), [(False, RunState.RUNNING), (True, RunState.DRAINING)])
def test_a_load_is_logged_while_it_runs_and_as_draining_after_ctrl_c(
    interrupted: bool, state: RunState, tmp_path: Path
) -> None:
    clock, numbers = SimpleNamespace(now_ns=lambda: 7), SimpleNamespace(state=RunState.RUNNING)
    scraper = SimpleNamespace(now=SimpleNamespace(levels="levels"))
    watched, _, _ = load(run_directory(tmp_path / "run"), clock=clock, scraper=scraper)
    watched._crew.client = "client"  # type: ignore[misc, assignment]
    logged: list[tuple[object, ...]] = []
    live: Any = SimpleNamespace(second=lambda: "second", follow=lambda write, *every_s: write(numbers))
    log: Any = SimpleNamespace(tell=lambda *line: logged.append(line))
    interrupts: Any = SimpleNamespace(seen=interrupted)
    watched._follow(live, log, interrupts)
    assert logged == [(7, state, numbers, "second", "client", "levels")]


@pytest.mark.parametrize(
    ("flags", "unit"),
    [
        ({"concurrency": 3}, "users"),
        ({"rate": 3}, "requests/s"),
        ({"mode": "throughput", "requests": 5}, ""),  # Everything at once has no load that could be shown.
    ],
)
def test_live_numbers_name_the_unit_of_the_load(flags: dict[str, Any], unit: str) -> None:
    plan: Any = SimpleNamespace(requests=5)
    assert _goal(resolve({"url": "http://h", **flags}), plan).load_unit == unit


@pytest.mark.parametrize("beside", [True, False])
def test_a_load_is_followed_by_the_last_metrics_and_what_was_begun_is_closed(
    beside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    class Waits(Heard):
        def waiting(self, what: object) -> AbstractContextManager[None]:
            done.append(f"waits: {what() if callable(what) else what}")
            return nullcontext()

    def noted(name: str, result: object = None) -> Any:
        async def act() -> object:
            done.append(name)
            return result

        return act

    def note(name: str) -> Any:
        return lambda *_: done.append(name)

    scraper = SimpleNamespace(begin=noted("scraper begins", ("a note",)), finish=noted("scraper ends"))
    telemetry = SimpleNamespace(finish=noted("telemetry ends", ("late",)))
    observer = Waits()
    of: dict[str, Any] = {"scraper": scraper, "telemetry": telemetry} if beside else {}
    clock = SimpleNamespace(now_ns=lambda: 1_000)
    watched, _, first = load(run_directory(tmp_path / "run"), observer=observer, clock=clock, **of)
    crew: Any = SimpleNamespace(
        preparing="crew", prepare=noted("crew prepares"), begin_lead_ns=7, places=(), warnings=("slow",), counts=None,
        begin=lambda start_ns, progress: done.append(f"begins at {start_ns}"), load=noted("load", "report"),
        close=note("crew closed"),
    )  # fmt: skip
    watched._crew = crew
    if beside:
        precision: Any = SimpleNamespace(ready=noted("precision ready"), close=note("precision closed"))
        watched._precision = precision

    @contextmanager
    def follow(live: object, written: bytes, start_ns: int) -> Iterator[tuple[object, object]]:
        yield "progress", SimpleNamespace(seen=True)

    monkeypatch.setattr(watched, "_watched", follow)
    begun, report, interrupted = asyncio.run(watched._load())
    assert (report, interrupted, begun.start_ns) == ("report", True, 1_007)
    assert manifest.read(RunDirectory.open(tmp_path / "run")).manifest.start_ns == 1_007
    notes = (*first.notes, *(("a note",) if beside else ()), "slow")
    assert begun.notes == notes
    assert observer.said == [*(["note: a note"] if beside else []), "warning: slow"]
    assert watched._export_notes == (("late",) if beside else ())
    begins = ["waits: crew", "crew prepares"]
    ends = ["begins at 1007", "load"]
    if beside:
        assert sorted(done[:4]) == sorted([*begins, "scraper begins", "precision ready"])
        assert done[4:] == [
            *ends, "waits: asking the server for its metrics", "scraper ends", "waits: exporting the last metrics",
            "telemetry ends", "crew closed", "precision closed",
        ]  # fmt: skip
    else:
        assert done == [*begins, *ends, "crew closed"]


def test_a_load_whose_crew_cannot_prepare_closes_what_was_begun(tmp_path: Path) -> None:
    done: list[str] = []

    async def begin() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            done.append("scraper cancelled")

    async def prepare() -> None:
        await asyncio.sleep(0)
        raise OSError("no worker")

    watched, _, _ = load(run_directory(tmp_path / "run"), scraper=SimpleNamespace(begin=begin))
    crew: Any = SimpleNamespace(preparing="crew", prepare=prepare, close=lambda: done.append("crew closed"))
    watched._crew = crew
    with pytest.raises(OSError, match="no worker"):
        asyncio.run(watched._load())
    assert done == ["crew closed", "scraper cancelled"]


def test_a_precise_load_is_stopped_and_its_precision_shown(tmp_path: Path) -> None:
    told: list[object] = []
    watched, _, _ = load(run_directory(tmp_path / "run"))
    crew: Any = SimpleNamespace(tell=lambda *order: told.append(order))
    watched._crew = crew
    looks: list[Any] = []
    precision: Any = SimpleNamespace(begin=looks.append)
    watched._precision = precision
    live: Any = SimpleNamespace(follow=lambda *_: None, precision=None)
    log: Any = None
    interrupts: Any = None
    watched._follow(live, log, interrupts)
    (look,) = looks

    class Look:
        def __init__(self, enough: bool) -> None:
            self.enough = enough

        def __str__(self) -> str:
            return f"enough: {self.enough}"

    look(Look(False))
    assert (live.precision, told) == ("enough: False", [])
    look(Look(True))
    assert (live.precision, told) == ("enough: True", [(Order.STOP, PRECISE_ENOUGH)])


def test_a_manifest_that_cannot_be_written_at_the_end_is_a_problem_and_at_the_beginning_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = run_directory(tmp_path / "run", stop_reason=None)
    watched, _, first = load(directory)

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest, "write", full)
    path = directory.path / "run.yaml"
    problems = watched._end(first, CrewReport((QUIET,)), interrupted=False).problems
    assert problems == (f"{path}: No space left on device; it stays as when the load began",)
    with pytest.raises(UsageError) as refused:
        write_manifest(directory, resolve({"url": "http://h"}), first)
    assert str(refused.value) == f"{path} cannot be written (No space left on device): make room, or name another --out"
