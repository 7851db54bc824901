"""What the runs of a sweep show together: order, numbers, knee, frontier; and the stored form of a sweep."""

from __future__ import annotations

import math
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from bench.errors import Exit, UsageError
from bench.load_sweep.measure import config_sha256, exit_of
from bench.load_sweep.points import kept_up, knee_of, numbers_of, points_of, together
from bench.load_sweep.sweep_file import NO_CEILING
from bench.load_sweep.visits import Loads, parse
from bench.loads import LoadName
from bench.results.summary import RunSummary
from bench.results.sweep import NUMBERS, RunStatus
from bench.results.sweep import SweepNumber as Number
from bench.statistics.between_runs import spread
from tests.support import scipy_stats as stats
from tests.support.golden_run import golden_summary
from tests.support.made_sweeps import LADDER, SCHEMA, content, made_run, typed
from tests.support.rendered import sweep_page, sweep_text
from tests.support.results import filled


@pytest.mark.parametrize(
    ("kind", "load", "named"),
    [("concurrency", 1, "1 user"), ("sessions", 1, "1 session"), ("concurrency", 1000, "1,000 users")],
)
def test_one_user_is_no_users(kind: LoadName, load: float, named: str) -> None:
    assert Loads(kind, (load,)).named(load) == named


def test_repeats_go_up_and_down_in_turn() -> None:
    visits = list(parse("concurrency=4,1,2", repeats=3).visits())
    assert [visit.load for visit in visits] == [1, 2, 4, 4, 2, 1, 1, 2, 4]
    assert [visit.n for visit in visits] == list(range(9))
    assert [visit.name for visit in visits][2:5] == ["concurrency-4-1", "concurrency-4-2", "concurrency-2-2"]


@pytest.mark.parametrize(
    ("text", "repeats", "said"),
    [
        ("1..8x2", 1, "--loads 1..8x2: write concurrency=1..256x2 (users), rate=5,10,20 (requests per second)"),
        ("sessions=1,2.5", 1, "--loads: 2.5 sessions do not exist"),
        ("users=5", 1, "--loads users=5: write concurrency=1..256x2"),
        ("concurrency=1.5", 1, "--loads: 1.5 users do not exist"),
        ("rate=1..8", 1, "--loads: '1..8' is not a load"),
        ("rate=5", 200, "--repeats 200: give 1 to 100"),
    ],
)
def test_loads_that_are_none_are_refused(text: str, repeats: int, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(text, repeats)
    assert said in str(refused.value)


def test_the_numbers_of_a_run_are_those_of_its_steady_window() -> None:
    summary = golden_summary()
    found = numbers_of(filled(RunSummary, summary))
    assert set(found) == set(NUMBERS)
    steady = summary["steady"]
    assert found["ttft:p90"].value == steady["latency"]["ttft_ms"]["p90"]
    assert found["output_tokens_per_s"].value == steady["throughput"]["output_tokens_per_s"]
    assert found["error_rate"].value == summary["counts"]["failed"] / (
        summary["counts"]["failed"] + summary["counts"]["succeeded"]
    )
    whole = numbers_of(filled(RunSummary, summary | {"steady": None}))
    assert whole["ttft:p90"].value == summary["latency"]["ttft_ms"]["p90"]


@pytest.mark.parametrize(
    ("throughput", "inputs", "ends"),
    [
        ({}, None, None),
        ({"inputs_per_s": 9.0}, None, (9.0, None, None)),
        ({"inputs_per_s": 9.0, "ci95": [8.0, 10.0]}, {"are": "texts"}, (9.0, 8.0, 10.0)),
        ({"inputs_per_s": 9.0}, {"are": "requests"}, None),
    ],
)
def test_inputs_are_counted_where_they_have_tokens(
    throughput: dict[str, Any], inputs: dict[str, Any] | None, ends: tuple[float | None, ...] | None
) -> None:
    given = {**throughput}
    summary = golden_summary() | {"steady": None}
    if "ci95" in given:
        summary["throughput"] = summary["throughput"] | {
            "ci95": summary["throughput"]["ci95"] | {"inputs_per_s": given.pop("ci95")}
        }
    summary["throughput"] = summary["throughput"] | given
    if inputs is not None:
        summary["inputs"] = inputs
    found = numbers_of(filled(RunSummary, summary)).get("inputs_per_s")
    assert (None if found is None else (found.value, found.low, found.high)) == ends


def test_every_number_is_that_of_its_name() -> None:
    summary = golden_summary() | {"steady": None}
    summary["latency"] = {
        **summary["latency"],
        **{
            f"{metric}_ms": summary["latency"][f"{metric}_ms"]
            | {"p50": at + 0.5, "p90": at + 0.9, "p99": at + 0.99, "ci95": {"p90": [at, at + 1]}}
            for at, metric in enumerate(("ttft", "tpot", "e2el"))
        },
    }
    summary["goodput"] = {**(summary["goodput"] or {}), "requests_per_s": 7.5, "share": 0.75}
    summary["counts"] |= {"succeeded": 30, "failed": 10}
    summary["load"] |= {"concurrency_mean": 4.5}
    found = numbers_of(filled(RunSummary, summary))
    for at, metric in enumerate(("ttft", "tpot", "e2el")):
        assert [found[f"{metric}:{stat}"].value for stat in ("p50", "p90", "p99")] == [at + 0.5, at + 0.9, at + 0.99]
        assert (found[f"{metric}:p90"].low, found[f"{metric}:p90"].high) == (at, at + 1)
        assert found[f"{metric}:p50"].low is None
    assert (found["goodput_per_s"].value, found["goodput"].value, found["error_rate"].value) == (7.5, 0.75, 0.25)
    assert found["in_flight"].value == 4.5
    assert found["total_tokens_per_s"].value == summary["throughput"]["total_tokens_per_s"]
    summary["counts"] |= {"succeeded": 0, "failed": 0}
    assert numbers_of(filled(RunSummary, summary | {"goodput": None}))["error_rate"] == Number(None)
    assert numbers_of(filled(RunSummary, summary | {"goodput": None}))["goodput_per_s"] == Number(None)


def test_runs_together_are_a_mean_of_logarithms_but_for_shares() -> None:
    runs = [
        made_run(8, k, ttft_p50=Number(value), error_rate=Number(share), e2el_p50=Number(gone), tpot_p99=Number(zero))
        for k, (value, share, gone, zero) in enumerate([(0.25, 0.0, 4.0, 0.0), (1.0, 0.5, None, 2.0)])
    ]
    found = together(runs)
    assert found["ttft:p50"].value == pytest.approx(0.5)  # The geometric mean, also of numbers below 1.
    assert found["error_rate"].value == pytest.approx(0.25)
    assert found["e2el:p50"].value == pytest.approx(4.0)  # Over the runs that have it.
    assert found["tpot:p99"] == Number(None)  # Zero has no logarithm.
    nobody = [made_run(8, k, ttft_p50=Number(None)) for k in range(2)]
    assert together(nobody)["ttft:p50"] == Number(None)
    assert together(runs[:1]) == dict(runs[0].numbers)


def test_a_point_is_of_its_usable_runs_and_has_the_worst_status() -> None:
    runs = [
        made_run(4, 1, "SUSPECT", requests_per_s=Number(2.0)),
        made_run(4, 2, "FAILED", requests_per_s=Number(50.0)),
        made_run(4, 3, "INVALID", requests_per_s=Number(70.0)),
        made_run(4, 4, requests_per_s=Number(8.0)),
    ]
    (point,) = points_of(runs, None)
    assert (point.load, point.runs, point.usable_runs, point.status) == (4, 4, 2, "FAILED")
    assert point.reasons == ["the client was busy"]
    assert point.numbers["requests_per_s"].value == pytest.approx(4.0)
    assert (point.per_user, point.per_gpu, point.place) == (None, None, None)
    (point,) = points_of(runs[1:3], 4)
    assert (point.usable, point.usable_runs, point.place) == (False, 0, None)
    assert point.numbers["requests_per_s"].value == pytest.approx(math.sqrt(50 * 70))


def test_a_load_without_both_numbers_has_no_place_and_a_single_value_no_interval() -> None:
    silent = made_run(1, output_tokens_per_s=Number(None))
    unknown = made_run(2, tpot_p50=Number(None))
    bare = made_run(4, output_tokens_per_s=Number(100.0), tpot_p50=Number(10.0))
    points = points_of([silent, unknown, bare], 4)
    assert [point.place is None for point in points] == [True, True, False]
    last = points[-1]
    assert last.per_gpu == Number(25.0)
    assert last.per_user == Number(100.0)  # 10 ms per token.
    # A time per token that may be 0 has no highest speed, and so no interval.
    faster = made_run(8, output_tokens_per_s=Number(900.0, 899.0, 901.0), tpot_p50=Number(10.0, 9.9, 10.1))
    open_above, _ = points_of([made_run(4, tpot_p50=Number(10.0, 0.0, 20.0)), faster], 4)
    assert open_above.per_user == Number(100.0, 50.0, None)
    assert open_above.place is not None


def test_the_knee_is_of_tokens_or_of_inputs_or_of_requests() -> None:
    tokens = knee_of(LADDER)
    assert tokens is not None
    assert tokens.ceiling == pytest.approx(1000)
    without = [
        replace(run, numbers={**run.numbers, "output_tokens_per_s": Number(None),
                              "requests_per_s": Number(50 * run.load / (run.load + 20))})
        for run in LADDER
    ]  # fmt: skip
    requests = knee_of(without)
    assert requests is not None
    assert requests.ceiling == pytest.approx(50)
    of_inputs = knee_of([
        replace(run, numbers={**run.numbers, "inputs_per_s": Number(70 * run.load / (run.load + 20))}) for run in LADDER
    ])  # fmt: skip
    assert of_inputs is not None
    assert of_inputs.ceiling == pytest.approx(70)


def test_the_spread_between_runs_is_the_t_interval_of_the_logarithms() -> None:
    values = [100.0, 110.0, 125.0]
    found = spread(values)
    logs = [math.log(value) for value in values]
    low, high = stats.t.interval(0.95, 2, loc=sum(logs) / 3, scale=stats.sem(logs))
    assert found.mean == pytest.approx(stats.gmean(values))
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert found.sd == pytest.approx(stats.tstd(logs))
    shares = spread([0.0, 0.02], ratio=False)
    assert (shares.mean, shares.sd) == pytest.approx((0.01, 0.02 / math.sqrt(2)))
    assert (spread([5.0]).sd, spread([5.0]).low) == (None, None)
    assert spread([5.0]).mean == pytest.approx(5)
    with pytest.raises(ValueError, match="needs a run"):
        spread([])


def test_one_run_keeps_its_own_interval_and_several_have_that_between_them() -> None:
    assert together([made_run(8)]) == made_run(8).numbers
    three = [made_run(8, k, ttft_p50=Number(value)) for k, value in enumerate((100.0, 110.0, 125.0))]
    assert together(three)["ttft:p50"].value == pytest.approx(stats.gmean([100, 110, 125]))
    assert together(three)["error_rate"] == Number(0.0, 0.0, 0.0, 0.0)


def test_a_run_that_was_not_measured_counts_only_where_there_is_no_other() -> None:
    bad = made_run(8, 2, "INVALID", ttft_p50=Number(9_999.0))
    mixed, alone = points_of([made_run(8), bad], None)[0], points_of([bad], None)[0]
    assert (mixed.status, mixed.runs, mixed.usable_runs, mixed.numbers["ttft:p50"].value) == ("INVALID", 2, 1, 1.0)
    assert (alone.usable, alone.reasons, alone.numbers["ttft:p50"].value) == (False, ["the client was busy"], 9_999.0)
    suspect = points_of([made_run(8, 1, "SUSPECT")], None)[0]
    assert (suspect.status, suspect.usable) == ("SUSPECT", True)


def test_the_knee_is_that_of_the_closed_form() -> None:
    knee = knee_of(LADDER)
    assert knee is not None
    assert (knee.half_at, knee.ceiling) == pytest.approx((20, 1000))
    # An INVALID run would change the fit by far, but is left out.
    off = made_run(512, 1, "INVALID", output_tokens_per_s=Number(10.0))
    assert knee_of([*LADDER, off]) == knee
    assert knee_of([*LADDER, replace(off, status="VALID", usable=True)]) != knee
    assert knee_of(LADDER[:2]) is None


def test_each_gpu_has_its_part_of_the_throughput_and_each_user_the_inverse_of_tpot() -> None:
    points = points_of(LADDER, 2)
    of_32 = next(point for point in points if point.load == 32)
    assert of_32.per_gpu is not None
    assert of_32.per_user is not None
    assert of_32.per_gpu.value == pytest.approx(1000 * 32 / 52 / 2)
    assert of_32.per_user.value == pytest.approx(1000 / 52)
    assert of_32.per_user.low == pytest.approx(1000 / 52 / 1.01)
    assert all(point.place is not None and point.place.on_frontier for point in points)
    slower = made_run(300, 1, output_tokens_per_s=Number(400.0, 399.0, 401.0), tpot_p50=Number(700.0, 690.0, 710.0))
    behind = points_of([*LADDER, slower], 2)[-1]
    assert behind.place is not None
    assert not behind.place.on_frontier
    assert not behind.place.overlaps
    assert [point.place for point in points_of(LADDER, None)] == [None] * 9


def test_a_sweep_is_kept_as_the_schema_says() -> None:
    for runs in (LADDER, [], [made_run(4, 1, "FAILED")]):
        Draft202012Validator(SCHEMA).validate(content(runs))
    assert content(LADDER)["knee"]["half_at"] == pytest.approx(20)
    missing = "no knee: it needs 4 usable runs over 3 loads, and has {}: sweep more loads"
    assert content(LADDER[:2])["no_knee"] == missing.format("2 over 2")
    assert content([*LADDER[:2], *LADDER[:2]])["no_knee"] == missing.format("4 over 2")
    # Twice the users give twice the tokens, so no ceiling is in sight.
    proportional = [made_run(load, output_tokens_per_s=Number(100.0 * load)) for load in (1, 2, 4, 8)]
    assert content(proportional)["no_knee"] == NO_CEILING


def test_another_configuration_is_another_sweep() -> None:
    config = {"url": "http://h", "out": "a", "concurrency": 3, "input_tokens": "9", "seed": 1, "duration": 5.0}
    one = config_sha256(config, {})
    assert config_sha256({**config, "out": "b", "concurrency": 8, "seed": 5, "duration": 9.0}, {}) == one
    assert config_sha256({**config, "input_tokens": "10"}, {}) != one
    assert config_sha256(config, {"duration": "9s"}) != one


@pytest.mark.parametrize(
    ("statuses", "ended", "status"),
    [
        (["VALID", "INVALID"], None, Exit.GOOD),
        (["SUSPECT"], "64 users could not be measured: gone", Exit.GOOD),
        (["INVALID", "INVALID"], None, Exit.INVALID),
        (["INVALID", "FAILED"], None, Exit.TARGET),
        (["VALID"], "interrupted", Exit.INTERRUPTED),
    ],
)
def test_the_exit_status_says_whether_anything_was_measured(
    statuses: list[RunStatus], ended: str | None, status: Exit
) -> None:
    runs = [made_run(2.0**k, 1, verdict) for k, verdict in enumerate(statuses)]
    assert exit_of(typed(content(runs, ended=ended))) == status


def in_flight(values: list[float], per_s: int = 10, e2el_ms: float = 2_000.0) -> RunSummary:
    """The part of a summary that shows whether the server kept up. Requests are sent in every second except the last
    two."""
    n = len(values)
    series = {"t_s": list(range(n)), "in_flight": values, "sent": [per_s] * (n - 2) + [0, 0]}
    return filled(RunSummary, series=series, latency={"e2el_ms": {"p90": e2el_ms}})


def test_a_rate_that_the_server_does_not_keep_up_with_is_named() -> None:
    assert kept_up(in_flight([0, 5, *[20.0] * 30])) is True
    assert kept_up(in_flight([20.0 + 4 * k for k in range(32)])) is False
    overloaded = in_flight([20.0 + 4 * k for k in range(32)], e2el_ms=60_000.0)
    assert kept_up(overloaded) is False
    # The number in flight rises in the first seconds, before replies can come, and falls during the drain. Neither
    # counts.
    assert kept_up(in_flight([0, 9, *[20.0] * 20, 10, 0])) is True
    assert kept_up(in_flight([1.0, 2.0, 3.0])) is None
    assert kept_up(in_flight([1.0] * 9, per_s=0, e2el_ms=0.0)) is None
    # Without a latency the whole series counts: it rose in the first three seconds only.
    unknown = in_flight([0.0, 50.0, 100.0, 100.0, 100.0, 100.0, 0.0, 0.0])
    assert kept_up(filled(RunSummary, series=unknown.series, latency={"e2el_ms": {"p90": None}})) is False
    # What rises before the p90 of E2EL, five seconds here, does not count, however far it rises.
    early = in_flight([0.0, 40.0, 80.0, 120.0, 160.0, 196.0, 196.0, *[200.0] * 11], e2el_ms=5_000.0)
    assert kept_up(early) is True
    assert kept_up(filled(RunSummary, series=early.series, latency={"e2el_ms": {"p90": 0.0}})) is False
    # A third of the sending time, however long the drain is.
    rising, sent = [10.0 * k * k for k in range(12)], [10] * 12
    drained = {"t_s": list(range(42)), "in_flight": rising + [9.0] * 30, "sent": sent + [0] * 30}
    assert kept_up(filled(RunSummary, series=drained, latency={"e2el_ms": {"p90": 60_000.0}})) is False
    # A third needs a whole second. Of six seconds, two are the drain and one is incomplete.
    assert kept_up(in_flight([1.0] * 5, e2el_ms=0.0)) is None
    assert kept_up(in_flight([1.0] * 6, e2el_ms=0.0)) is True
    behind = replace(made_run(40), kept_up=False)
    runs = [replace(made_run(20), kept_up=True), behind]
    assert [point.kept_up for point in points_of(runs, None)] == [True, False]
    assert [point.kept_up for point in points_of([made_run(20)], None)] == [None]
    both = [replace(made_run(20, k), kept_up=k == 1) for k in (1, 2)]
    assert [point.kept_up for point in points_of(both, None)] == [False]  # Over all runs of the load.
    fell_behind = replace(made_run(20, 2, "INVALID"), kept_up=False)
    assert [point.kept_up for point in points_of([runs[0], fell_behind], None)] == [True]  # Of the measured ones.
    assert [point.kept_up for point in points_of([fell_behind], None)] == [False]
    rates = {**content(runs), "kind": "rate", "unit": "requests/s"}
    text = " ".join(sweep_text(rates).split())
    assert "At 40 requests/s: requests in flight kept rising" in text
    assert "Served" in text
    assert sweep_page([rates]).count("requests in flight kept rising") == 1


def test_the_settings_of_a_load_of_sessions_say_their_mode() -> None:
    assert parse("sessions=3").settings(3.0) == {"mode": "sessions", "concurrency": 3, "until": ()}
    assert parse("concurrency=3").settings(3.0) == {"concurrency": 3, "until": ()}
    assert parse("rate=2.5").settings(2.5) == {"rate": 2.5, "until": ()}
