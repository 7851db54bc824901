"""Sweeps and repeats as series: their runs, their output, and what is kept however they end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.clock import NS_PER_S
from bench.config import RunConfig, resolve
from bench.config.values import MOST_SEED
from bench.errors import Exit, TargetError, UsageError
from bench.evaluate import Result
from bench.load_sweep import points
from bench.load_sweep.measure import SweepResult, sweep
from bench.load_sweep.repeats import REPEATS, repeat
from bench.load_sweep.visits import parse
from tests.support.made_runs import made_run
from tests.support.made_series import MadeSeries, Noting

GIVEN = {"url": "http://127.0.0.1:8000", "requests": 10, "seed": 5}
ALL = ("concurrency-1-1", "concurrency-2-1", "concurrency-2-2", "concurrency-1-2")
NUMBERS = "  VALID: "


def config_at(flags: Mapping[str, Any]) -> RunConfig:
    return resolve({**GIVEN, **flags})


def swept(series: MadeSeries, loads: str = "concurrency=1,2", *, resume: bool = False) -> SweepResult:
    return sweep(config_at, parse(loads, 2), series, given=GIVEN, gpus=None, resume=resume)


def lines(noting: Noting) -> list[str]:
    """The output without the numbers of the runs."""
    return ["(numbers)" if line.startswith(NUMBERS) else line for line in noting.lines]


def names(path: Path, file: str = "sweep.json") -> tuple[list[str], str | None]:
    content = json.loads((path / file).read_text())
    return [run["name"] for run in content["runs"]], content["ended"]


def test_every_load_is_visited_there_and_back_and_finished_runs_are_not_made_again(tmp_path: Path) -> None:
    noting = Noting()
    series = MadeSeries(tmp_path, observer=noting)
    assert swept(series).exit == Exit.GOOD
    assert [Path(str(config.out)).name for config in series.made] == [*ALL]
    assert [config.seed for config in series.made] == [5, 6, 7, 8]
    assert names(tmp_path) == ([*ALL], None)
    assert lines(noting)[:2] == ["1 of 4: 1 user, repeat 1 of 2", "(numbers)"]

    noting = Noting()
    series = MadeSeries(tmp_path, before=ALL[:2], observer=noting)
    assert swept(series, resume=True).exit == Exit.GOOD
    assert [Path(str(config.out)).name for config in series.made] == [*ALL[2:]]
    assert names(tmp_path) == ([*ALL], None)
    assert lines(noting)[:5] == [
        "1 of 4: 1 user, repeat 1 of 2: measured already", "(numbers)",
        "2 of 4: 2 users, repeat 1 of 2: measured already", "(numbers)",
        "3 of 4: 2 users, repeat 2 of 2",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["rate", "concurrency"])
def test_only_at_a_rate_a_server_may_fall_behind(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "kept_up", lambda summary: True)
    swept(MadeSeries(tmp_path), f"{kind}=1,2")
    found = [run["kept_up"] for run in json.loads((tmp_path / "sweep.json").read_text())["runs"]]
    assert found == [True if kind == "rate" else None] * 4


@pytest.mark.parametrize("how", ["interrupted", KeyboardInterrupt()], ids=["in a run", "between two"])
def test_ctrl_c_keeps_the_runs_that_are_done(how: BaseException | str, tmp_path: Path) -> None:
    found = swept(MadeSeries(tmp_path, at={ALL[2]: how}))
    assert (found.exit, found.content.ended) == (Exit.INTERRUPTED, "interrupted")
    assert names(tmp_path) == ([*ALL[:2]], "interrupted")


def test_a_sweep_that_was_killed_keeps_the_runs_that_are_done(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        swept(MadeSeries(tmp_path, at={ALL[2]: SystemExit()}))
    assert names(tmp_path) == ([*ALL[:2]], "interrupted")


def test_a_server_that_is_gone_ends_a_sweep_but_not_before_its_first_run(tmp_path: Path) -> None:
    found = swept(MadeSeries(tmp_path / "a", at={ALL[1]: TargetError("cannot connect")}))
    assert found.content.ended == "2 users could not be measured: cannot connect"
    assert (found.exit, names(tmp_path / "a")[0]) == (Exit.GOOD, [*ALL[:1]])
    with pytest.raises(TargetError, match="cannot connect"):
        swept(MadeSeries(tmp_path / "b", at={ALL[0]: TargetError("cannot connect")}))
    # A wrong flag is a usage error, not a failed server.
    with pytest.raises(UsageError, match="--slo"):
        swept(MadeSeries(tmp_path / "c", at={ALL[1]: UsageError("--slo is wrong")}))


UNLIMITED = {"url": "http://127.0.0.1:8000"}


def swept_with(given: Mapping[str, Any], series: MadeSeries, loads: str, repeats: int = 1) -> list[RunConfig]:
    """The configurations of the runs of a sweep with these settings."""
    sweep(
        lambda flags: resolve({**given, **flags}), parse(loads, repeats), series, given=given, gpus=None, resume=False
    )
    return series.made


def ramp_up_s(config: RunConfig) -> float:
    return getattr(config.load, "ramp_ns", 0) / NS_PER_S


def test_a_run_lasts_by_the_latency_of_the_nearest_load_that_is_known(tmp_path: Path) -> None:
    p90_ms = {
        "concurrency-1-1": 30_000.0,
        "concurrency-8-1": None,
        "concurrency-9-1": 40_000.0,
        "concurrency-16-1": 50_000.0,
        "concurrency-9-2": 45_000.0,
    }
    made = swept_with(UNLIMITED, MadeSeries(tmp_path, e2el_p90_ms=p90_ms), "concurrency=1,8,9,16", 2)
    # Twice the p90 to settle, at least 10 s; two and a half times the p90 to measure, at least 60 s.
    assert [(config.concurrency, config.warmup_s, config.lasts_s) for config in made] == [
        (1, 10, 60), (8, 60, 75), (9, 60, 75), (16, 80, 100),
        (16, 100, 125), (9, 80, 100), (8, 90, 112.5), (1, 60, 75),
    ]  # fmt: skip
    assert [ramp_up_s(config) for config in made] == [5, 30, 30, 40, 50, 40, 45, 30]  # Half of the time to settle.
    of_20 = {"concurrency-1-1": 20_001.2}
    made = swept_with(UNLIMITED, MadeSeries(tmp_path / "b", e2el_p90_ms=of_20), "concurrency=1,2", 1)
    assert made[1].warmup_s == 40.002  # In milliseconds.


def test_at_a_rate_a_run_has_200_arrivals_and_no_users_to_start_one_by_one(tmp_path: Path) -> None:
    made = swept_with(UNLIMITED, MadeSeries(tmp_path), "rate=0.3,2.5,10")
    assert [(config.warmup_s, config.lasts_s) for config in made] == [(10, 300), (10, 80), (10, 60)]
    assert [ramp_up_s(config) for config in made] == [0, 0, 0]
    assert [config.seed for config in made] == [0, 1, 2]
    made = swept_with(UNLIMITED, MadeSeries(tmp_path / "b"), "rate=0.7")
    assert [config.lasts_s for config in made] == [285.714]


@pytest.mark.parametrize(
    ("given", "lasts_s", "warmup_s", "ramp_s"),
    [
        ({"duration": "7s"}, 7, 0, 0),
        ({"duration": "7s", "warmup": "3s"}, 7, 3, 1.5),
        ({"requests": 5}, None, 0, 0),
        ({"warmup": "3s"}, 60, 3, 1.5),
        ({"warmup": "3s", "ramp_up": "2s"}, 60, 3, 2),
    ],
)
def test_the_length_that_is_given_is_kept(
    given: Mapping[str, Any], lasts_s: float | None, warmup_s: float, ramp_s: float, tmp_path: Path
) -> None:
    (config,) = swept_with({**UNLIMITED, **given}, MadeSeries(tmp_path), "concurrency=2")
    assert (config.lasts_s, config.warmup_s, ramp_up_s(config)) == (lasts_s, warmup_s, ramp_s)


class FortySecondsARun:
    """A clock that advances 40 s each time it is read: before a run, and after it."""

    def __init__(self) -> None:
        self.now = 0

    def now_ns(self) -> int:
        self.now += 40 * NS_PER_S
        return self.now

    def wait(self, seconds: float) -> None:
        raise AssertionError("a sweep does not rest")


def test_each_run_is_announced_with_the_time_that_is_left(tmp_path: Path) -> None:
    noting = Noting()
    swept_with(UNLIMITED, MadeSeries(tmp_path / "a", observer=noting, time=FortySecondsARun()), "concurrency=1,2", 2)
    assert lines(noting)[::2] == [
        "1 of 4: 1 user, repeat 1 of 2; about 4.7 min left",  # Four runs of 10 s and 60 s.
        "2 of 4: 2 users, repeat 1 of 2; about 2 min left",  # Three of 40 s.
        "3 of 4: 2 users, repeat 2 of 2; about 80 s left",
        "4 of 4: 1 user, repeat 2 of 2; about 40 s left",
    ]
    noting = Noting()
    given = UNLIMITED | {"duration": "90s", "warmup": "10s"}
    swept_with(given, MadeSeries(tmp_path / "b", observer=noting), "rate=1")
    assert lines(noting)[0] == "1 of 1: 1 request/s; about 1.7 min left"


def test_runs_that_are_read_again_do_not_shorten_the_time_that_is_left(tmp_path: Path) -> None:
    noting = Noting()
    series = MadeSeries(tmp_path, before=ALL[:1], observer=noting, time=FortySecondsARun())
    swept_with(UNLIMITED, series, "concurrency=1,2", 2)
    assert [line.partition("; ")[2] for line in lines(noting)[::2]] == [
        "", "about 3.5 min left", "about 80 s left", "about 40 s left"
    ]  # fmt: skip
    assert lines(noting)[0] == "1 of 4: 1 user, repeat 1 of 2: measured already"


@pytest.mark.parametrize(
    ("other", "resume", "said"),
    [
        ({}, False, "already holds a sweep: go on with --resume, or name another --out"),
        ({"seed": 6}, True, "that sweep has another configuration: give the same flags"),
        ({"requests": 11}, True, "that sweep has another configuration: give the same flags"),
        ({"input_tokens": "9"}, True, "that sweep has another configuration: give the same flags"),
        ({"slo": ("ttft:p90<9ms",)}, True, "that sweep has another configuration: give the same flags"),
    ],
)
def test_a_sweep_goes_on_only_as_it_was_begun(
    other: Mapping[str, Any], resume: bool, said: str, tmp_path: Path
) -> None:
    swept(MadeSeries(tmp_path))
    series, given = MadeSeries(tmp_path), {**GIVEN, **other}
    with pytest.raises(UsageError, match=said):
        sweep(lambda flags: resolve({**given, **flags}), parse("concurrency=1,2", 2), series,
              given=given, gpus=None, resume=resume)  # fmt: skip
    assert series.made == []


def test_a_sweep_goes_on_with_loads_of_its_kind(tmp_path: Path) -> None:
    swept(MadeSeries(tmp_path))
    with pytest.raises(UsageError, match="that sweep has another configuration"):
        swept(MadeSeries(tmp_path), "rate=1,2", resume=True)


@pytest.mark.parametrize(
    ("loads", "repeats", "dropped"), [("concurrency=1", 2, "2 users"), ("concurrency=1,2,4", 1, "2 users, 1 user")]
)
def test_a_sweep_goes_on_with_all_that_it_has_measured(loads: str, repeats: int, dropped: str, tmp_path: Path) -> None:
    swept(MadeSeries(tmp_path))
    series = MadeSeries(tmp_path)
    with pytest.raises(UsageError, match=f"has runs of {dropped} that are not asked for"):
        sweep(config_at, parse(loads, repeats), series, given=GIVEN, gpus=None, resume=True)
    assert (series.made, names(tmp_path)) == ([], ([*ALL], None))


def test_a_sweep_does_not_go_on_with_changed_data(tmp_path: Path) -> None:
    swept(MadeSeries(tmp_path))
    (tmp_path / "rows.jsonl").write_text("{}")
    made_run(tmp_path / ALL[0], data_sha256={str(tmp_path / "rows.jsonl"): "0" * 64})
    series = MadeSeries(tmp_path, before=ALL[:1])
    with pytest.raises(UsageError, match=r"another content of .*rows\.jsonl: give the same data"):
        swept(series, resume=True)
    assert series.made == []


def test_there_must_be_a_sweep_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no sweep \(no sweep.json\)"):
        swept(MadeSeries(tmp_path), resume=True)


def test_more_loads_and_repeats_may_be_asked_for(tmp_path: Path) -> None:
    swept(MadeSeries(tmp_path), "concurrency=1,2")
    series = MadeSeries(tmp_path, before=ALL)
    found = sweep(config_at, parse("concurrency=1,2,4", 3), series, given=GIVEN, gpus=None, resume=True)
    assert [Path(str(config.out)).name for config in series.made] == [
        "concurrency-4-1", "concurrency-4-2", "concurrency-1-3", "concurrency-2-3", "concurrency-4-3"
    ]  # fmt: skip
    assert [(point.load, point.runs) for point in found.points] == [(1, 3), (2, 3), (4, 3)]
    assert found.page == tmp_path / "sweep.html"
    assert found.page.is_file()


def test_every_load_is_checked_before_the_first_run(tmp_path: Path) -> None:
    def at(flags: Mapping[str, Any]) -> RunConfig:
        if flags["concurrency"] == 2:
            raise UsageError("two users are not allowed")
        return config_at(flags)

    series = MadeSeries(tmp_path)
    with pytest.raises(UsageError, match="two users"):
        sweep(at, parse("concurrency=1,2,3", 2), series, given=GIVEN, gpus=None, resume=False)
    assert series.made == []


def test_sessions_begin_in_their_middle_unless_they_are_rows_of_a_file(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "Hello."}\n')

    def begin(name: str, loads: str = "sessions=2", **given: Any) -> str:
        (config,) = swept_with({**UNLIMITED, **given}, MadeSeries(tmp_path / name), loads)
        return config.sessions_begin

    assert begin("recipe", dataset="coding-agent") == "middle"
    assert begin("none") == "middle"
    assert begin("given", sessions_begin="first") == "first"
    assert begin("rows", dataset=str(rows)) == "first"
    assert begin("users", "concurrency=2") == "first"


CONFIG = resolve({**GIVEN, "concurrency": 2})


def test_repeats_have_a_seed_of_their_own_each(tmp_path: Path) -> None:
    noting = Noting()
    series = MadeSeries(tmp_path, observer=noting)
    found = repeat(CONFIG, 3, series)
    assert (found.exit, found.content.ended) == (Exit.GOOD, None)
    assert [config.seed for config in series.made] == [5, 6, 7]
    series = MadeSeries(tmp_path / "last")
    repeat(resolve({**GIVEN, "concurrency": 2, "seed": MOST_SEED}), 2, series)
    assert [config.seed for config in series.made] == [MOST_SEED, 0]
    assert names(tmp_path, REPEATS) == (["run-1", "run-2", "run-3"], None)
    assert lines(noting) == ["run 1 of 3", "(numbers)", "run 2 of 3", "(numbers)", "run 3 of 3", "(numbers)"]


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ([Exit.GOOD, Exit.INVALID, Exit.GOOD], Exit.INVALID),
        ([Exit.OBJECTIVE_FAILED, Exit.GOOD, Exit.TARGET], Exit.TARGET),
    ],
)
def test_the_exit_status_of_repeats_is_the_worst_of_theirs(ends: list[Exit], status: Exit, tmp_path: Path) -> None:
    class Ending(MadeSeries):
        def run(self, name: str, config: RunConfig) -> Result:
            return replace(super().run(name, config), exit=ends[int(name[-1]) - 1])

    assert repeat(CONFIG, 3, Ending(tmp_path)).exit == status


@pytest.mark.parametrize("how", ["interrupted", KeyboardInterrupt()], ids=["in a run", "between two"])
def test_ctrl_c_keeps_the_repeats_that_are_done(how: BaseException | str, tmp_path: Path) -> None:
    found = repeat(CONFIG, 3, MadeSeries(tmp_path / "a", at={"run-3": how}))
    assert (found.exit, found.content.ended) == (Exit.INTERRUPTED, "interrupted")
    assert names(tmp_path / "a", REPEATS) == (["run-1", "run-2"], "interrupted")
    found = repeat(CONFIG, 3, MadeSeries(tmp_path / "b", at={"run-1": how}))
    assert (found.exit, found.content.runs) == (Exit.INTERRUPTED, [])
    assert not (tmp_path / "b" / REPEATS).exists()


def test_the_numbers_of_repeats_are_those_of_the_measured_ones(tmp_path: Path) -> None:
    class Busy(MadeSeries):
        """Some runs are INVALID."""

        invalid: tuple[str, ...] = ("run-2",)

        def run(self, name: str, config: RunConfig) -> Result:
            result = super().run(name, config)
            status = "INVALID" if name in self.invalid else "VALID"
            verdict = msgspec.structs.replace(result.summary.verdict, status=status)
            return replace(result, summary=msgspec.structs.replace(result.summary, verdict=verdict, steady=None))

    latencies = {"run-1": 100.0, "run-2": 9_999.0, "run-3": 100.0}
    content = repeat(CONFIG, 3, Busy(tmp_path, e2el_p90_ms=latencies)).content
    assert [run.usable for run in content.runs] == [True, False, True]
    assert content.numbers["e2el:p90"].value == pytest.approx(100.0)

    class AllBusy(Busy):
        invalid = ("run-1", "run-2", "run-3")

    content = repeat(CONFIG, 3, AllBusy(tmp_path / "all", e2el_p90_ms=dict.fromkeys(latencies, 9_999.0))).content
    assert not any(run.usable for run in content.runs)
    assert content.numbers["e2el:p90"].value == pytest.approx(9_999.0)


def test_repeats_that_were_killed_keep_the_runs_that_are_done(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        repeat(CONFIG, 3, MadeSeries(tmp_path, at={"run-3": SystemExit()}))
    assert names(tmp_path, REPEATS) == (["run-1", "run-2"], "interrupted")
