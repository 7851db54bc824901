"""A visit as a run: its configuration, and what a resumed search takes from a run that had ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench import manifest
from bench.config import RunConfig, resolve
from bench.errors import Interrupted
from bench.evaluate import Result, evaluate
from bench.load_search.decisions import Search, Settings
from bench.load_search.run_visits import RunVisits, run_name, visit_config
from bench.load_search.visit_result import sought
from bench.load_search.visits import Visit
from bench.loads import KINDS
from bench.metrics import objectives
from bench.records import RequestRecord, to_line
from bench.run_files.run_directory import RunDirectory
from bench.series.runs import RunSeries, Time
from tests.support.made_records import START_NS, made_record

SLO = "ttft:p90<50ms"
WANTED = sought(objectives.parse([SLO]))
VISIT = Visit(n=7, phase="visit", load=10.0, settle_s=2.0, measure_s=4.0)
S = 1_000_000_000


def base(load_kind: str = "rate") -> RunConfig:
    load = KINDS[load_kind].flags(1)
    return resolve({"url": "http://127.0.0.1:8000", "slo": [SLO], "name": "search", "seed": 40, **load})


def search(load_kind: str = "rate", budget_s: float = 900.0) -> Search:
    return Search(Settings(load_kind, tuple(one.goal for one in WANTED), budget_s=budget_s))


def records() -> list[RequestRecord]:
    """Two seconds of warm-up, then four of load, at ten per second. Every third request is too slow."""
    return [
        made_record(
            i,
            sent_ms=i * 100.0,
            chunks_ms=(60.0 if i % 3 == 0 else 40.0, 100.0, 110.0),
            phase="warmup" if i < 20 else "run",
        )
        for i in range(60)
    ]


class MadeRuns(RunSeries):
    """Writes made records as runs. `stop_reason`: how the next run ends."""

    def __init__(
        self, path: Path, time: Time, stop_reason: str = "duration", waits: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(path, time=time)
        self._stop_reason, self._waits = stop_reason, waits
        self.asked: list[tuple[str, RunConfig]] = []

    def wait_until_ready(self, config: RunConfig) -> None:
        self._waits()

    def run(self, name: str, config: RunConfig) -> Result:
        self.asked.append((name, config))
        directory = RunDirectory.create(self.path / name)
        (directory.path / "requests.jsonl").write_bytes(b"".join(map(to_line, records())))
        start = manifest.Manifest(run_id="made", started="2026-01-02T03:04:05+00:00", command=(), model=None,
                                  exact_lengths=True, start_ns=START_NS, run_start_ns=START_NS + 2 * S,
                                  stop_reason=self._stop_reason)  # fmt: skip
        manifest.write(directory, config, start)
        return evaluate(directory)


@dataclass
class SetTime:
    """A clock that shows the end of the load, then a tenth of a second later. It returns from waits at once."""

    now: int = START_NS
    waits: list[float] = field(default_factory=list)

    def now_ns(self) -> int:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += round(seconds * S)


def test_a_visit_to_a_rate_is_an_open_loop_that_settles_and_measures() -> None:
    config = visit_config(base(), VISIT, "rate")
    assert (config.mode, config.rate, config.concurrency, config.requests) == ("rate", 10.0, None, None)
    assert (config.warmup_s, config.duration, config.ramp_up) == (2.0, 4.0, 0.0)
    assert (config.seed, config.name) == (47, "search-07")
    assert config.load.open_loop
    assert config.slo == (SLO,)


def test_a_visit_of_users_lets_them_in_while_the_server_settles() -> None:
    config = visit_config(base("concurrency"), VISIT, "concurrency")
    assert (config.mode, config.rate, config.concurrency) == ("concurrency", None, 10)
    assert config.ramp_up == 1.0
    assert not config.load.open_loop


def test_every_visit_has_a_seed_of_its_own() -> None:
    seeds = [visit_config(base(), Visit(n, "visit", 10.0, 1.0, 1.0), "rate").seed for n in range(1, 60)]
    assert len(set(seeds)) == 59


def test_a_visit_is_a_run_directory_and_what_its_records_say(tmp_path: Path) -> None:
    time = SetTime(now=START_NS + round(6.1 * S))
    runs = MadeRuns(tmp_path, time)
    result = RunVisits(base(), WANTED, runs).make(search(), VISIT)
    assert [name for name, _ in runs.asked] == ["07-visit-10"]
    assert (tmp_path / "07-visit-10" / "report.html").exists()
    assert (result.requests, result.violations) == (40, {SLO: 13})
    assert result.e2el_p90_s == pytest.approx(0.11)
    # The last response ended at 6.01 s, so 90 ms of the two seconds of rest have passed.
    assert time.waits == [pytest.approx(1.91)]
    assert result.seconds == pytest.approx(1.91)


def test_the_wait_for_a_server_that_is_starting_is_no_part_of_the_budget(tmp_path: Path) -> None:
    time = SetTime(now=START_NS + round(6.1 * S) - 300 * S)
    runs = MadeRuns(tmp_path, time, waits=lambda: time.wait(300.0))
    result = RunVisits(base(), WANTED, runs).make(search(), VISIT)
    assert result.seconds == pytest.approx(1.91)


def test_a_short_budget_shortens_the_rest_as_well(tmp_path: Path) -> None:
    time = SetTime(now=START_NS + round(6.02 * S))
    RunVisits(base(), WANTED, MadeRuns(tmp_path, time)).make(search(budget_s=90.0), VISIT)
    assert time.waits == [pytest.approx(0.19)]


def test_a_visit_that_ctrl_c_ended_brings_nothing_back(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        RunVisits(base(), WANTED, MadeRuns(tmp_path, SetTime(), "interrupted")).make(search(), VISIT)


def test_a_run_that_had_ended_when_the_search_was_killed_is_not_made_again(tmp_path: Path) -> None:
    runs = MadeRuns(tmp_path, SetTime())
    runs.run(run_name(VISIT), visit_config(base(), VISIT, "rate"))
    runs.asked.clear()
    # The budget has changed since then, but the visit keeps its times.
    longer = Visit(7, "visit", 10.0, 20.0, 40.0)
    result = RunVisits(base(), WANTED, runs).make(search(), longer)
    assert runs.asked == []
    assert (result.settle_s, result.measure_s, result.seconds) == (2.0, 4.0, 6.0)
    assert (result.requests, result.violations) == (40, {SLO: 13})
