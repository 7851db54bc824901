"""Turns of a race over real processes that only wait. No load is sent: the test supplies each run's summary."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.config import RunConfig, resolve
from bench.errors import Interrupted, TargetError
from bench.load_search.decisions import Ending
from bench.load_search.driver import SearchEnd, drive
from bench.load_search.files import config_sha256
from bench.observer import SILENT
from bench.results.summary import RunSummary
from bench.series.runs import Made, RunSeries
from bench.tuning.race import Step
from bench.tuning.spec import Spec, spec_of
from bench.tuning.turns import Turns
from tests.support.golden_run import golden_summary
from tests.support.held_port import held_port
from tests.support.results import filled
from tests.support.searched_server import FormulaVisits, Silent, logistic

WAITS = "sh -c 'echo begun; echo up $PPID $$; exec sleep 600' {port} {flags}"
"""A server that identifies itself: its guard, and itself."""
KILLED = "was killed by SIGKILL (which the system does when memory runs out)"
Happens = Callable[[RunConfig], dict[str, Any]]


def spec(changes: dict[str, Any], **server: Any) -> Spec:
    content = {
        "server": {"command": WAITS, "ready": "up", **server}, "flags": {"seqs": [64, 16, 8]},
        "loads": "concurrency=4,8", "visit": "10s", "warmup": "3s", **changes,
    }  # fmt: skip
    return spec_of(content, lambda settings: resolve(dict(settings)))


def said(tokens: float | None, status: str = "VALID", held: bool = True, joules: float | None = None) -> dict[str, Any]:
    """A run's summary."""
    return {"tokens": tokens, "status": status, "held": held, "joules": joules}


def summary_of(tokens: float | None, status: str, held: bool, joules: float | None) -> RunSummary:
    golden = golden_summary()
    golden["steady"] = None
    golden["verdict"]["status"] = status
    golden["slo"] = {"held": held, "objectives": golden["slo"]["objectives"]}
    golden["throughput"]["output_tokens_per_s"] = tokens
    golden["latency"]["ttft_ms"]["p90"] = 123.0
    golden["gpu"] = None if joules is None else {"joules_per_output_token": joules}
    return filled(RunSummary, golden)


class Played(RunSeries):
    """A series whose runs are not made. `happens` returns each run's result, or raises."""

    def __init__(self, folder: Path, happens: Happens) -> None:
        super().__init__(folder)
        self.runs: list[tuple[str, RunConfig]] = []
        self._happens = happens

    def make(self, name: str, config: RunConfig, *, before: str | None = None, again: str | None = None) -> Made:
        self.runs.append((name, config))
        result: Any = SimpleNamespace(summary=summary_of(**self._happens(config)))
        return Made(result, None)


@contextmanager
def turns_of(folder: Path, raced: Spec, happens: Happens, **more: Any) -> Iterator[tuple[Turns, Played]]:
    series = Played(folder, happens)
    turns = Turns(raced, series, lambda settings: resolve(dict(settings)), SILENT, **more)
    try:
        yield turns, series
    finally:
        turns.stop_all()


def pids(log: Path) -> tuple[int, int]:
    """The guard and the server that wrote this log."""
    _, guard, server = log.read_text().split("\nup")[1].partition("\n")[0].split(" ")
    return int(guard), int(server)


def alive(log: Path) -> bool:
    try:
        os.kill(pids(log)[0], 0)
    except ProcessLookupError:
        return False
    return True


def kill(log: Path) -> None:
    """Kill a server, and wait until its guard has ended too."""
    guard, server = pids(log)
    os.kill(server, signal.SIGKILL)
    os.waitid(os.P_PID, guard, os.WEXITED | os.WNOWAIT)


GOALS: dict[str, dict[str, Any]] = {
    "tokens": {},
    "joules": {"goal": "joules_per_million_tokens"},
    "dollars": {"goal": "dollars_per_million_tokens", "gpu_hour_cost": 1.8, "gpus": 2},
    "rate": {"loads": "rate=4,8"},
}


@pytest.mark.parametrize(
    ("goal", "at_4", "at_8", "value", "why"),
    [
        ("tokens", said(100), said(150), 150, None),
        ("tokens", said(150), said(100, "SUSPECT"), 150, None),
        ("tokens", said(100), said(150, held=False), 100, None),
        ("tokens", said(100, "INVALID"), said(90), 90, None),
        ("tokens", said(100, held=False), said(90, held=False), None, "no load kept every objective"),
        ("tokens", said(100, "INVALID"), said(90, held=False), None, "no load kept every objective"),
        ("tokens", said(100, "INVALID"), said(90, "FAILED"), None, "no run can be used: FAILED, INVALID"),
        ("tokens", said(None), said(0), None, "the runs have no tokens per second"),
        # A millionth of a joule per token is a joule per million tokens.
        ("joules", said(100, joules=3e-6), said(150, joules=2e-6), 2, None),
        ("joules", said(100, joules=3e-6), said(150, joules=2e-6, held=False), 3, None),
        ("joules", said(100), said(150), None, "no power of a GPU was measured"),
        # Two GPUs at $1.80 are $3.60 per hour, in which 1,000 tokens/s make 3.6 million.
        ("dollars", said(1000), said(500), 1, None),
        ("dollars", said(None), said(500), 2, None),
        ("dollars", said(None), said(None), None, "the runs have no tokens per second"),
    ],
)  # fmt: skip
def test_the_value_of_a_turn_is_the_best_of_the_loads_that_count(
    goal: str, at_4: dict[str, Any], at_8: dict[str, Any], value: float | None, why: str | None, tmp_path: Path
) -> None:
    shown = {4: at_4, 8: at_8}
    raced = spec({"objectives": ["ttft:p90<1s"], **GOALS[goal]})
    with turns_of(tmp_path, raced, lambda config: shown[config.concurrency or 0]) as (turns, _):
        turn = turns.make(Step(1, 2, False), None)
    assert turn.value == (None if value is None else pytest.approx(value))
    assert (turn.arm, turn.round, turn.why, turn.last_words, turn.worse_answers) == (1, 2, why, [], ())
    assert [row.name for row in turn.loads] == ["r2-a1-concurrency-4", "r2-a1-concurrency-8"]
    assert [(row.load, row.status, row.held, row.tokens_per_s, row.joules_per_token) for row in turn.loads] == [
        (load, run["status"], run["held"], run["tokens"], run["joules"]) for load, run in shown.items()
    ]
    assert {row.latency for row in turn.loads} == {123.0}
    assert turn.start_s is not None
    assert 0 < turn.start_s < turn.seconds < 600
    assert not alive(tmp_path / "r2-a1.log")


def test_a_rate_that_the_server_does_not_keep_up_with_is_not_held_and_users_wait_for_it(tmp_path: Path) -> None:
    def rising(*_: object, **__: object) -> Made:
        golden = golden_summary()
        golden["steady"], golden["verdict"]["status"], golden["slo"] = None, "VALID", {"held": None, "objectives": []}
        seconds = range(34)
        golden["series"] |= {
            "t_s": [*seconds], "in_flight": [20.0 + 4 * k for k in seconds], "sent": [*[10] * 32, 0, 0],
        }  # fmt: skip
        result: Any = SimpleNamespace(summary=filled(RunSummary, golden))
        return Made(result, None)

    for loads, held in (("rate=8", False), ("concurrency=8", True)):
        with turns_of(tmp_path, spec({"loads": loads}), lambda _: {}) as (turns, series):
            series.make = rising  # type: ignore[method-assign]
            turn = turns.make(Step(0, 1, False), None)
        assert [row.held for row in turn.loads] == [held], loads


@pytest.mark.parametrize(
    ("changes", "step", "settings"),
    [
        ({"load": {"seed": 7}}, Step(1, 1, False), {"seed": 7, "concurrency": 4, "ramp_up": 1.5}),
        ({"load": {"seed": 7}}, Step(1, 3, False), {"seed": 9, "gpus": 1, "gpu_hour_cost": None}),
        ({}, Step(1, 3, False), {"seed": 2}),
        ({"load": {"ramp_up": 0.25}}, Step(0, 1, False), {"seed": 0, "ramp_up": 0.25}),
        ({"loads": "rate=2.5,5"}, Step(0, 1, False), {"rate": 2.5, "concurrency": None, "ramp_up": 0.0}),
        ({"gpus": "seqs", "gpu_hour_cost": 2.5}, Step(1, 1, False), {"gpus": 16, "gpu_hour_cost": 2.5}),
        ({"warmup": "1s"}, Step(0, 1, False), {"ramp_up": 0.5}),
    ],
)
def test_the_runs_of_a_turn_have_the_settings_of_the_file(
    changes: dict[str, Any], step: Step, settings: dict[str, Any], tmp_path: Path
) -> None:
    with turns_of(tmp_path, spec(changes), lambda _: said(1)) as (turns, series):
        turns.make(step, None)
    config = series.runs[0][1]
    assert {name: getattr(config, name) for name in settings} == settings
    assert (config.name, config.duration, config.model_extra) == ("tune", 10.0, None)
    assert len({config.url for _, config in series.runs}) == 1
    guard_line = (tmp_path / f"r{step.round}-a{step.arm}.log").read_text().splitlines()[0]
    assert f" {config.url.rpartition(':')[2].partition('/')[0]} " in f"{guard_line} "


def test_what_ends_a_turn_is_why_it_has_no_value(tmp_path: Path) -> None:
    log = tmp_path / "r1-a0.log"

    def refuses(_: RunConfig) -> dict[str, Any]:
        raise TargetError("connection refused")

    def dies(config: RunConfig) -> dict[str, Any]:
        if config.concurrency == 8:
            kill(log)
        return said(100)

    def dies_and_refuses(_: RunConfig) -> dict[str, Any]:
        kill(log)
        return refuses(_)

    for happens, why, words, made in (
        (refuses, "connection refused", False, 0),
        (dies, f"the server {KILLED} under load", True, 2),
        (dies_and_refuses, f"the server {KILLED} under load", True, 0),
    ):
        with turns_of(tmp_path, spec({}), happens) as (turns, _):
            turn = turns.make(Step(0, 1, False), None)
        assert (turn.value, turn.why, len(turn.loads)) == (None, why, made)
        assert turn.start_s is not None
        assert ("begun" in turn.last_words) is words
        assert not any(line.startswith("$ ") for line in turn.last_words)
        log.unlink()
    with turns_of(tmp_path, spec({}, command="sh -c 'echo no memory; exit 3' {port} {flags}"), refuses) as (turns, _):
        turn = turns.make(Step(0, 1, False), None)
    assert (turn.why, turn.start_s) == ("the server ended with status 3 before it was ready", None)
    assert turn.last_words == ["no memory"]


def test_of_servers_that_run_together_the_one_used_longest_ago_makes_room(tmp_path: Path) -> None:
    log = {name: tmp_path / f"{name}.log" for name in ("r1-a0", "r1-a1", "r2-a1", "r1-a2")}
    with held_port() as first, held_port() as second:
        raced = spec({}, ports=[first, second], together=True)
        with turns_of(tmp_path, raced, lambda _: said(100)) as (turns, series):
            for step in (Step(0, 1, False), Step(1, 1, False), Step(0, 2, False), Step(2, 1, False)):
                assert turns.make(step, None).value == 100
            # The server of arm 0 was used again, so the server of arm 1 has ended.
            assert [alive(log[name]) for name in ("r1-a0", "r1-a1", "r1-a2")] == [True, False, True]
            asked = [config.url.partition("/v1")[0] for _, config in series.runs[::2]]
            assert asked == [f"http://127.0.0.1:{port}" for port in (first, second, first, second)]
            # A server that has died starts again.
            kill(log["r1-a2"])
            assert turns.make(Step(2, 2, False), None).value == 100
            assert alive(tmp_path / "r2-a2.log")
            assert alive(log["r1-a0"])
        assert not alive(log["r1-a0"])
        assert not alive(tmp_path / "r2-a2.log")
    assert not log["r2-a1"].exists()


SEARCHED = {"goal": "held_load", "objectives": ["ttft:p99<500ms"], "budget": "30m", "flags": {"seqs": [64, 16]}}


def searched(plans: list[Any], visits: FormulaVisits, *given: Any) -> tuple[SearchEnd, None]:
    """Carries out a search over a formula."""
    search, _, base, directory, runs, _ = given
    plans.append((search.settings, base, runs))
    sha256 = config_sha256(base, search.settings.load_kind)
    return drive(search, directory, visits.make, Silent(), config_sha256=sha256), None


@pytest.mark.parametrize(
    ("of_search", "hint", "settings"),
    [
        ({}, None, {"load_kind": "rate", "precision": 0.05, "budget_s": 180.0}),
        ({}, 12.6, {"start": 12.6}),
        ({"load": "concurrency"}, 12.6, {"load_kind": "concurrency", "start": 13.0}),
        ({"start": 3}, None, {"start": 3.0}),
        ({"start": 3}, 8.0, {"start": 8.0}),
        ({"precision": "10%", "budget": "5m"}, None, {"precision": 0.1, "budget_s": 300.0}),
    ],
)
def test_a_search_has_the_settings_of_the_file_and_begins_at_the_hint(
    of_search: dict[str, Any], hint: float | None, settings: dict[str, Any], tmp_path: Path
) -> None:
    plans: list[Any] = []
    visits = FormulaVisits({"ttft:p99<500ms": logistic(38.0)})
    raced = spec({**SEARCHED, "search": of_search, "load": {"seed": 7}})
    with turns_of(tmp_path, raced, lambda _: {}, carry_out=partial(searched, plans, visits)) as (turns, _):
        turn = turns.make(Step(1, 2, False), hint)
    ((used, base, runs),) = plans
    assert {name: getattr(used, name) for name in settings} == settings
    assert (base.seed, base.name, runs.path) == (8, "tune", tmp_path / "r2-a1-search")
    (row,) = turn.loads
    assert (row.name, row.status, row.held, row.load) == ("r2-a1-search", "up to", True, pytest.approx(38, rel=0.2))
    assert (turn.value, turn.why) == (row.load, None)


def test_a_search_without_an_answer_is_a_turn_without_a_value(tmp_path: Path) -> None:
    never = FormulaVisits({"ttft:p99<500ms": lambda load: 0.5})
    always = FormulaVisits({"ttft:p99<500ms": lambda load: 0.0})
    gone = FormulaVisits({"ttft:p99<500ms": logistic(38.0)}, at={1: TargetError("connection refused")})
    left = FormulaVisits({"ttft:p99<500ms": logistic(38.0)}, at={9: TargetError("connection refused")})
    raced = spec({**SEARCHED, "search": {"max": 30}})
    for visits, held, why in (
        (never, False, "the search concluded: "), (always, True, None), (gone, None, "connection refused"),
        (left, True, None),
    ):  # fmt: skip
        with turns_of(tmp_path, raced, lambda _: {}, carry_out=partial(searched, [], visits)) as (turns, _):
            turn = turns.make(Step(0, 1, False), None)
        assert [row.held for row in turn.loads] == ([] if held is None else [held]), turn
        assert (turn.why or "").startswith(why or "")
        assert (turn.why is None) is (why is None)
        assert (turn.value is None) is (held is not True)
    assert [row.load for row in turn.loads] == [turn.value]
    # The directory of each earlier search was moved aside for the next.
    assert sorted(path.name for path in tmp_path.glob("r1-a0-search*")) == [
        "r1-a0-search", *(f"r1-a0-search-cut-off-{n}" for n in (1, 2, 3)),
    ]  # fmt: skip


def test_a_search_that_made_no_visit_is_a_turn_without_a_value(tmp_path: Path) -> None:
    def nothing(*_: Any) -> tuple[SearchEnd, None]:
        return SearchEnd(Ending.BUDGET), None

    with turns_of(tmp_path, spec(SEARCHED), lambda _: {}, carry_out=nothing) as (turns, _):
        turn = turns.make(Step(0, 1, False), None)
    assert (turn.value, turn.why) == (None, "the search concluded: none")
    assert [(row.load, row.held, row.status) for row in turn.loads] == [(0.0, False, "none")]


def test_a_search_that_is_interrupted_ends_the_race(tmp_path: Path) -> None:
    visits = FormulaVisits({"ttft:p99<500ms": logistic(38.0)}, at={2: None})
    with (
        turns_of(tmp_path, spec(SEARCHED), lambda _: {}, carry_out=partial(searched, [], visits)) as (turns, _),
        pytest.raises(Interrupted, match="r1-a0-search is not complete"),
    ):
        turns.make(Step(0, 1, False), None)
    assert not alive(tmp_path / "r1-a0.log")
