"""Every mode: what its flags resolve to, how much load it plans, and which flags conflict with it."""

from __future__ import annotations

import json
from array import array
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from bench.config import RunConfig, resolve
from bench.config.settings import Settings
from bench.errors import UsageError
from bench.load.components import source_of, tokenizer_of
from bench.modes import MODES
from bench.modes.concurrency import Concurrency
from bench.modes.interface import Mode
from bench.modes.rate import Rate
from bench.modes.sessions import Sessions
from bench.modes.share import WorkerShare
from bench.modes.throughput import Throughput
from bench.modes.trace import Trace
from bench.scale.plan import workers_of
from bench.schedule.segments import Segment
from tests.support.changed import replace

S = 1_000_000_000


@pytest.fixture
def rows(tmp_path: Path) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"prompt": "row {i}", "at_s": {i / 10}}}\n' for i in range(50)))
    return str(path)


def resolved(rows: str, flags: dict[str, Any]) -> RunConfig:
    data = {"dataset": rows} if flags.get("mode") == "trace" else {"input_tokens": "9"}
    return resolve({"url": "http://h", **data, **flags})


LOADS: list[tuple[dict[str, Any], Mode]] = [
    ({}, Concurrency(users=10, ramp_ns=0)),
    ({"concurrency": 3, "ramp_up": "5s"}, Concurrency(users=3, ramp_ns=5 * S)),
    ({"rate": 5}, Rate(rate=5.0, arrivals="poisson", burstiness=1.0, seed=0, cap=None, drop_late=False)),
    ({"rate": 5, "burstiness": 0.5, "seed": 4, "max_concurrency": 9, "drop_late": True},
     Rate(rate=5.0, arrivals="gamma", burstiness=0.5, seed=4, cap=9, drop_late=True)),
    ({"steps": "2,8:3s"}, Concurrency(users=8, ramp_ns=0, segments=(Segment(2, 2, 3 * S), Segment(8, 8, 3 * S)))),
    ({"steps": "2,8:3s", "warmup": "2s"},
     Concurrency(users=8, ramp_ns=0, segments=(Segment(2, 2, 3 * S), Segment(8, 8, 3 * S)), warmup_ns=2 * S)),
    ({"ramp": "1..5:10s", "mode": "rate", "warmup": "2s"},
     Rate(rate=5.0, arrivals="poisson", burstiness=1.0, seed=0, cap=None, drop_late=False,
          segments=(Segment(1, 5, 10 * S),), warmup_ns=2 * S)),
    ({"mode": "throughput", "requests": 40}, Throughput(users=40, ramp_ns=0)),
    ({"mode": "throughput", "max_concurrency": 8, "duration": "5s"}, Throughput(users=8, ramp_ns=0)),
    ({"mode": "trace", "trace_speed": 2, "max_concurrency": 7},
     Trace(speed=2.0, cap=7, drop_late=False, warmup="0")),
    ({"mode": "sessions"}, Sessions(users=10, ramp_ns=0, real_history=True)),
    ({"mode": "sessions", "concurrency": 2, "history": "planned"},
     Sessions(users=2, ramp_ns=0, real_history=False)),
    ({"mode": "sessions", "history": "stored", "endpoint": "responses"},
     Sessions(users=10, ramp_ns=0, real_history=True, stored=True)),
    ({"mode": "sessions", "sessions_begin": "middle", "seed": 5},
     Sessions(users=10, ramp_ns=0, real_history=True, in_middle=True, seed=5)),
    ({"mode": "sessions", "rate": 3},
     Sessions(users=0, ramp_ns=0, real_history=True,
              schedule=Rate(rate=3.0, arrivals="poisson", burstiness=1.0, seed=0, cap=None, drop_late=False))),
    ({"mode": "sessions", "reasoning_in_history": "echo"},
     Sessions(users=10, ramp_ns=0, real_history=True, reasoning=True)),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "load"), LOADS)
def test_flags_resolve_to_a_load_in_which_nothing_is_missing(flags: dict[str, Any], load: Mode, rows: str) -> None:
    config = resolved(rows, flags)
    assert config.load == load
    assert config.mode == load.name
    assert MODES[config.mode] is type(load)


def test_a_load_of_made_prompts_lasts_a_minute_and_rows_of_a_file_are_counted(rows: str) -> None:
    lengths = {
        dataset: (config.requests, config.duration)
        for dataset in (rows, "chatbot", None)
        for config in [resolve({"url": "http://h", "dataset": dataset} if dataset else {"url": "http://h"})]
    }
    assert lengths == {rows: (100, None), "chatbot": (None, 60), None: (None, 60)}


def test_a_rate_is_not_made_up() -> None:
    with pytest.raises(UsageError, match="--mode rate needs --rate, in requests per second"):
        Rate.of(Settings(url="http://h"))


def test_the_table_of_loads_has_every_mode() -> None:
    assert {load.name for _, load in LOADS} == set(MODES)


PLANS: list[tuple[dict[str, Any], tuple[int, bool, float | None, int | None, int | None]]] = [
    # flags: at once, bounded, rate, requests, with the warm-up
    ({}, (10, True, None, None, None)),
    ({"concurrency": 7, "requests": 3, "warmup": "2"}, (5, True, None, 3, 5)),
    ({"concurrency": 7, "duration": "9s", "warmup": "2"}, (7, True, None, None, None)),
    ({"rate": 3}, (30, False, 3.0, None, None)),
    ({"rate": 3, "duration": "4s"}, (12, False, 3.0, None, None)),
    ({"rate": 0.01, "duration": "4s"}, (1, False, 0.01, None, None)),
    ({"rate": 3, "requests": 8, "warmup": "1"}, (9, False, 3.0, 8, 9)),
    ({"rate": 3, "max_concurrency": 4}, (4, True, 3.0, None, None)),
    ({"steps": "2,7,3:4s", "warmup": "1s"}, (7, True, None, None, None)),
    ({"steps": "2,7:4s", "mode": "rate"}, (56, False, 7.0, None, None)),
    ({"mode": "throughput", "requests": 40, "warmup": "5"}, (40, True, None, 40, 45)),
    ({"mode": "throughput", "requests": 40, "max_concurrency": 6}, (6, True, None, 40, 40)),
    ({"mode": "trace"}, (50, False, 5.0, 50, 50)),
    ({"mode": "trace", "requests": 20, "warmup": "3", "max_concurrency": 2}, (2, True, 2.3, 20, 23)),
    ({"mode": "sessions", "concurrency": 6}, (6, True, None, 100, 100)),
    ({"mode": "sessions", "concurrency": 6, "duration": "9s"}, (6, True, None, None, None)),
    ({"mode": "sessions", "rate": 6, "duration": "9s"}, (60, False, None, None, None)),
    ({"mode": "sessions", "rate": 6, "requests": 40, "warmup": "3"}, (43, False, None, 40, 43)),
    ({"mode": "sessions", "rate": 0.01, "duration": "9s"}, (1, False, None, None, None)),
]


@pytest.mark.parametrize(("flags", "expected"), PLANS)
def test_each_mode_plans_its_load(flags: dict[str, Any], expected: tuple[Any, ...], rows: str) -> None:
    config = resolved(rows, flags)
    plan = config.load.plan(config.length, source_of(config, tokenizer_of(config)))
    assert (plan.at_once, plan.bounded, plan.rate, plan.requests, plan.total) == expected
    workers = workers_of(plan, "2" if plan.undivided is None else "auto", processors=8)
    shares = plan.shares(workers)
    assert [(share.worker, share.workers) for share in shares] == [(k, workers) for k in range(workers)]
    if plan.requests is not None:
        assert sum(share.requests or 0 for share in shares) == plan.requests


def test_no_worker_has_requests_and_no_user_where_sessions_have_sub_agents(tmp_path: Path) -> None:
    agents = tmp_path / "agents.jsonl"
    agents.write_text('{"turns": [{"content": "a"}, {"after": [], "continues": null, "content": "b"}]}')
    config = resolve({"url": "http://h", "mode": "sessions", "dataset": str(agents), "concurrency": 1, "requests": 8})
    plan = config.load.plan(config.length, source_of(config, tokenizer_of(config)))
    assert (plan.at_once, plan.bounded) == (2, False)
    assert workers_of(plan, "4", processors=8) == 1  # Other workers would wait for sessions that never begin.


@pytest.mark.parametrize(("turns", "which"), [(2, "turn 1"), (3, "turn 1, and 1 more"), (5, "turn 1, and 3 more")])
def test_planned_histories_need_each_answer_that_a_later_turn_continues(turns: int, which: str, tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(json.dumps({"turns": [{"content": "a"}] * turns}))
    flags = {"mode": "sessions", "dataset": str(file), "history": "planned"}
    with pytest.raises(
        UsageError, match=f"needs the answer of each turn that others continue: row-1, {which} has none"
    ):
        source_of(resolve({"url": "http://h", **flags}), None)


def share(**fields: Any) -> WorkerShare:
    return WorkerShare(**{"requests": None, "duration_ns": None, "warmup_requests": 0, "warmup_ns": 0, **fields})


@pytest.mark.parametrize(
    ("flags", "part", "requests", "exact"),
    [
        ({}, share(requests=30, warmup_requests=4, users=5), 34, True),
        ({}, share(duration_ns=3 * S, warmup_requests=4, users=5), 19, False),
        ({"mode": "sessions"}, share(duration_ns=3 * S, users=5), 15, False),
        ({"mode": "sessions", "rate": 2}, share(duration_ns=3 * S), 24, False),
        ({"mode": "sessions", "rate": 2}, share(requests=30), 30, False),
        ({"rate": 5, "arrivals": "constant"}, share(requests=30), 30, True),
        ({"rate": 5, "arrivals": "constant"}, share(duration_ns=3 * S), 15, True),
        ({"rate": 5, "arrivals": "constant"}, share(duration_ns=3 * S, warmup_ns=S), 20, True),
        ({"rate": 5, "arrivals": "constant"}, share(duration_ns=90 * S), 101, True),
        # While the end of the warm-up is unknown, this worker plans the arrivals of ten more seconds.
        ({"rate": 5, "arrivals": "constant"}, share(duration_ns=3 * S, finds_warmup=True), 65, False),
        ({"rate": 6, "arrivals": "constant"}, share(duration_ns=4 * S, finds_warmup=True, workers=2), 42, False),
        ({"rate": 50, "arrivals": "constant"}, share(duration_ns=3 * S, finds_warmup=True), 100, False),
        ({"mode": "trace"}, share(requests=7, warmup_requests=1), 8, True),
        ({"mode": "rate", "arrivals": "constant", "steps": "5,10:3s"}, share(ends_ns=6 * S), 45, True),
        ({"steps": "5,10:3s"}, share(ends_ns=6 * S, users=10), 60, False),
    ],
)
def test_each_mode_knows_or_guesses_how_many_requests_a_share_needs(
    flags: dict[str, Any], part: WorkerShare, requests: int, exact: bool, rows: str
) -> None:
    expected = resolved(rows, flags).load.expected(part, most=100)
    assert (expected.requests, expected.exact) == (requests, exact)


def test_only_a_rate_has_arrivals_that_come_from_the_settings_alone(rows: str) -> None:
    found = {}
    for flags, load in LOADS:
        arrivals = resolved(rows, flags).load.planned_arrivals()
        found[load.name] = None if arrivals is None else next(arrivals)
    assert found.pop("rate") is not None
    assert set(found.values()) == {None}


@pytest.mark.parametrize("mode", sorted(MODES))
def test_what_belongs_to_other_modes_is_refused_with_their_names(mode: str, rows: str) -> None:
    values = {"arrivals": "poisson", "burstiness": 2, "drop_late": True, "trace_speed": 2, "turns": "3",
              "think_time": "1s", "history": "planned", "sessions_begin": "middle",
              "context_limit": 9000, "reasoning_in_history": "echo", "max_idle": 5}  # fmt: skip
    assert {key for other in MODES.values() for key in other.own_settings} == set(values)
    for key in set(values) - set(MODES[mode].own_settings):
        owners = " and ".join(other.name for other in MODES.values() if key in other.own_settings)
        with pytest.raises(UsageError) as refused:
            resolve({"url": "http://h", "mode": mode, key: values[key]})
        flag = f"--{key.replace('_', '-')}"
        assert f"{flag} is for --mode {owners}, and this is mode {mode}" in refused.value.problems


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            {"rate": 5, "concurrency": 8},
            "--rate and --concurrency cannot be combined: to cap a rate, use --max-concurrency",
        ),
        (
            {"concurrency": 8},
            "--mode rate needs --rate, in requests per second, and has no --concurrency: leave it out; --max-concurrency "
            "caps the requests in flight",
        ),
        ({}, "--mode rate needs --rate, in requests per second"),
    ],
)
def test_a_rate_is_asked_for_only_if_there_is_none(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve({"url": "http://h", "mode": "rate", **given})
    assert list(refused.value.problems) == [problem]


WARMUP_IN_TIME = "--steps needs a --warmup in time, such as 20s: the first segment begins when it is over"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"steps": "2,7:4s", "warmup": "3"}, WARMUP_IN_TIME),
        ({"steps": "2,7:4s", "warmup": "auto"}, WARMUP_IN_TIME),
        ({"ramp": "0..7:4s", "warmup": "3s"},
         "--warmup sends at the first load, and --ramp begins at 0: leave --warmup out"),
        ({"steps": "2,2.5:4s"}, "--steps: there is no 2.5th of a user: for requests per second add --mode rate"),
        ({"steps": "2,7:4s", "requests": 5}, "--steps and --requests cannot be combined: --steps says when the load ends"),
        ({"steps": "2,7:4s", "concurrency": 5},
         "--steps and --concurrency cannot be combined: --steps says how many users there are"),
    ],
)  # fmt: skip
def test_a_load_that_changes_says_what_it_cannot_be_combined_with(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve({"url": "http://h", **given})
    assert list(refused.value.problems) == [problem]


@pytest.mark.parametrize(
    "given",
    [{"steps": "2,2.5:4s", "mode": "rate"}, {"ramp": "0..7:4s"}, {"ramp": "1..7:4s", "warmup": "3s"}],
)
def test_a_load_that_changes_may_have_a_warm_up_in_time_and_parts_of_a_rate(given: dict[str, Any]) -> None:
    assert resolve({"url": "http://h", **given}).load.load_at(0) is not None


@pytest.mark.parametrize("worker", [0, 1, 2])
def test_arrivals_behind_those_that_were_dealt_go_on_in_turn(worker: int) -> None:
    load = resolve({"url": "http://h", "rate": 5, "seed": "3"}).load
    assert isinstance(load, Rate)
    drawn = [*islice(load.offsets(), 30)]
    dealt = array("q", drawn[worker:10:3])
    limits: dict[str, Any] = {"requests": None, "duration_ns": None, "until_ns": drawn[20]}
    share = WorkerShare(worker=worker, workers=3, offsets_ns=dealt, **limits)
    assert [*load.arrivals_of(share)] == [at for at in drawn[worker::3] if at < drawn[20]]
    few = replace(share, most_arrivals=len(dealt) + 1)
    assert [*load.arrivals_of(few)] == drawn[worker::3][: len(dealt) + 1]
    assert [*load.arrivals_of(replace(share, until_ns=None))] == [*dealt]
