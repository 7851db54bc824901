"""Objectives on runs with hand-made summaries: intervals computed by hand, and decisions without one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.comparison.sides import MeasuredRun
from bench.errors import UsageError
from bench.metrics.objectives import parse
from bench.release_gate import objectives
from bench.release_gate.objectives import ObjectiveVerdict
from bench.results.baseline import BaselineRun
from bench.statistics.gate import Verdict
from bench.statistics.paired_shares import clopper_pearson
from tests.support.made_gate import entry_with, row, run_of
from tests.support.made_records import made_record
from tests.support.made_runs import write_run

Z = 1.959963984540054
NOTHING = (None, None)


def judged(text: str, runs: Sequence[MeasuredRun], entries: Sequence[BaselineRun] | None = None) -> ObjectiveVerdict:
    wanted = parse([text, "ttft:p99<60ms"])[0]
    return objectives.judge(wanted, runs, [entry_with()] * len(runs) if entries is None else entries)


def ends(found: ObjectiveVerdict) -> tuple[float | None, float | None]:
    return NOTHING if found.interval is None else (found.interval.low, found.interval.high)


def of_ttft(n: int = 60, ci95: Any = None, **stats: float | None) -> MeasuredRun:
    """A run with these TTFT statistics."""
    return run_of({"ttft_ms": row(n, ci95, **stats)})


@pytest.mark.parametrize("stat", ["min", "max"])
def test_an_objective_on_one_request_is_refused(stat: str) -> None:
    with pytest.raises(UsageError, match=f"one request decides {stat}"):
        objectives.steady(parse([f"ttft:{stat}<1s"])[0])
    for kept in ("ttft:mean<1s", "ttft:p99<1s", "error_rate<1%"):
        assert objectives.steady(parse([kept])[0]).text == kept


# Student's t of two degrees of freedom: 4.302653 at 97.5%.
@pytest.mark.parametrize(
    ("values", "mean", "low", "high"),
    [
        ((1.0, 2.0, 4.0), 7 / 3, 2 * math.exp(-4.302653 * math.log(2) / math.sqrt(3)),
         2 * math.exp(4.302653 * math.log(2) / math.sqrt(3))),
        ((0.0, 1.0, 2.0), 1.0, 1 - 4.302653 / math.sqrt(3), 1 + 4.302653 / math.sqrt(3)),
        ((-1.0, 1.0, 3.0), 1.0, 1 - 4.302653 * 2 / math.sqrt(3), 1 + 4.302653 * 2 / math.sqrt(3)),
    ],
)  # fmt: skip
def test_three_runs_have_the_t_interval_on_the_log_scale_where_it_exists(
    values: tuple[float, ...], mean: float, low: float, high: float
) -> None:
    found = judged("ttft:p50<1s", [of_ttft(p50=value) for value in values])
    assert found.value == pytest.approx(mean)
    assert ends(found) == pytest.approx((low, high), rel=1e-5)


def test_runs_together_hold_an_interval_of_as_many_values_as_the_quantile_takes() -> None:
    # A median needs six independent values, a mean ten.
    runs = [of_ttft(p50=50.0 + k, mean=50.0 + k) for k in range(3)]
    for stat, name, needed in (("p50", "p50", 6), ("mean", "mean", 10)):
        for short, why in ((0.0, ""), (0.6, f"too few independent values: the runs hold {needed - 0.6:.0f} together, and "
                                            f"{name} takes {needed}")):  # fmt: skip
            # 60 values with act = 1 would be worth 40. Each run gets the worth that makes the sum.
            worth = [2.0, 2.0, needed - 4.0 - short]
            entries = [entry_with(stats={"ttft_ms": {"n": 1.5 * each, "act": 1.0}}) for each in worth]
            found = judged(f"ttft:{stat}<10s", runs, entries)
            assert (found.why, found.interval is None) == (why, short > 0)


def test_a_number_of_the_run_takes_its_interval_from_the_runs_alone() -> None:
    runs = [run_of(throughput={"output_tokens_per_s": 40.0 + k, "ci95": {}}) for k in range(3)]
    found = judged("output_tokens_per_s>20", runs, [entry_with(requests=3, independent=1.0)] * 3)
    assert (found.verdict, found.why) == (Verdict.HELD, "")


def test_a_metric_of_tokens_needs_the_interval_of_one_run_of_three() -> None:
    def run(number: int, known: bool) -> MeasuredRun:
        return run_of({"itl_ms": row(900, {"p50": (4.9, 5.1)} if known else {}, p50=5.0 + 0.01 * number)})

    for known, why in (((), "too few independent values"), ((1,), "")):
        found = judged("itl:p50<6ms", [run(number, number in known) for number in range(3)])
        assert (found.why, found.interval is None) == (why, why != "")


@pytest.mark.parametrize(
    ("shares", "probes", "interval", "limit", "verdict"),
    [
        # Three runs with the same answers to the same five probes are worth five probes.
        ((1.0, 1.0, 1.0), 5, (0.478, 1.0), "95%", Verdict.NOT_SHOWN),
        ((0.8, 0.8, 0.8), 5, (0.284, 0.995), "90%", Verdict.NOT_SHOWN),
        ((1.0, 1.0, 1.0), 400, (0.991, 1.0), "95%", Verdict.HELD),
        # Differences between runs count, too.
        ((0.5, 0.8, 1.0), 400, (0.32, 1.8), "50%", Verdict.NOT_SHOWN),
    ],
)
def test_runs_that_agree_about_few_answers_show_no_more_than_one_of_them(
    shares: Sequence[float], probes: int, interval: tuple[float, float], limit: str, verdict: Verdict
) -> None:
    runs = []
    for share in shares:
        own = clopper_pearson(share * probes, probes)
        of = {"name": "accuracy", "share": share, "probes": probes, "interval": (own.low, own.high)}
        runs.append(run_of(answers={"shares": [of]}))
    found = judged(f"accuracy>={limit}", runs)
    assert ends(found) == pytest.approx(interval, abs=0.1)
    assert found.verdict is verdict


def test_two_runs_have_the_hull_of_their_intervals() -> None:
    slow, fast = of_ttft(ci95={"p50": (55.0, 65.0)}, p50=60.0), of_ttft(ci95={"p50": (45.0, 57.0)}, p50=50.0)
    found = judged("ttft:p50<70ms", [slow, fast])
    assert (found.value, ends(found), found.verdict, found.why) == (55.0, (45.0, 65.0), Verdict.HELD, "")
    assert judged("ttft:p50<56ms", [slow, fast]).verdict is Verdict.NOT_SHOWN
    assert judged("ttft:p50<54ms", [slow, fast]).verdict is Verdict.NOT_SHOWN
    assert judged("ttft:p50<40ms", [slow, fast]).verdict is Verdict.FAILED
    assert judged("ttft:p50>40ms", [slow, fast]).verdict is Verdict.HELD


def test_a_run_without_an_interval_leaves_two_runs_without_one() -> None:
    found = judged("ttft:p50<70ms", [of_ttft(ci95={"p50": (45.0, 57.0)}, p50=50.0), of_ttft(p50=50.0)])
    assert (ends(found), found.verdict, found.why) == (NOTHING, Verdict.NOT_SHOWN, "too few independent values")


@pytest.mark.parametrize(
    ("known", "verdict"),
    [
        ({"p95": (70.0, 80.0)}, "failed"),
        ({"p50": (70.0, 80.0)}, "failed"),
        # The highest of the lower quantiles decides, even if one below it would fail.
        ({"p90": (59.0, 80.0), "p50": (61.0, 70.0)}, "not shown"),
        # A higher quantile tells nothing about it.
        ({"p999": (70.0, 80.0)}, "not shown"),
        # The quantile's own interval contains the limit. Nothing overrules it.
        ({"p99": (59.0, 80.0), "p95": (61.0, 70.0)}, "not shown"),
    ],
)
def test_a_lower_quantile_that_is_beyond_the_limit_fails_a_higher_one(
    known: dict[str, tuple[float, float]], verdict: str
) -> None:
    run = of_ttft(ci95=known, p50=70.0, p75=70.0, p90=70.0, p95=70.0, p99=70.0, p999=70.0, min=10.0, max=90.0)
    found = judged("ttft:p99<60ms", [run])
    assert found.verdict == verdict
    assert ("which is lower, is beyond the limit for sure" in found.why) is (verdict == "failed")
    # For a lower limit, a lower quantile proves nothing.
    assert judged("ttft:p99>60ms", [run]).verdict != "failed"


def all_break(objective: str, *worths: float, nearest: float = 61.0) -> bool:
    """Whether an objective fails because each request breaks it: for runs with these numbers of independent requests,
    whose request nearest the limit took `nearest`."""
    runs = [of_ttft(p50=70.0, p75=70.0, p99=70.0, min=nearest, max=nearest) for _ in worths]
    entries = [entry_with(stats={"ttft_ms": {"n": 1.5 * worth, "act": 1.0}}) for worth in worths]
    found = judged(objective, runs, entries)
    assert found.verdict == ("failed" if "but every request of every run" in found.why else "not shown")
    return found.verdict == "failed"


@pytest.mark.parametrize(
    ("objective", "worths", "nearest", "fails"),
    [
        # A fair coin: 0.5^5 is 3.1%, 0.5^6 1.6%.
        ("ttft:p50<60ms", (5.3,), 61.0, False),  # 0.5^5.3 is 2.54%
        ("ttft:p50<60ms", (5.4,), 61.0, True),  # 2.37%
        ("ttft:p50<60ms", (2.7, 2.7), 61.0, True),
        ("ttft:p50<60ms", (0.1, 5.0), 61.0, True),  # A run is worth at least one request.
        ("ttft:p50<60ms", (0.1, 4.2), 61.0, False),
        # One of four may be beyond p75: two in a row have a chance of 6.3%, three 1.6%.
        ("ttft:p75<60ms", (2.6,), 61.0, False),
        ("ttft:p75<60ms", (2.7,), 61.0, True),
        # One of a hundred may be beyond p99: a single one has a chance of 1%.
        ("ttft:p99<60ms", (1.0,), 61.0, True),
        # Three of four are below p75: 0.75^12 is 3.2%, 0.75^13 2.4%.
        ("ttft:p75>60ms", (12.8,), 59.0, False),
        ("ttft:p75>60ms", (12.9,), 59.0, True),
        # If one request is within the limit, not all break it.
        ("ttft:p99<60ms", (100.0,), 60.0, False),
        ("ttft:p99<=60ms", (100.0,), 59.0, False),
        ("ttft:p50>60ms", (100.0,), 61.0, False),
        ("ttft:p50>=60ms", (100.0,), 59.0, True),
        ("ttft:mean<60ms", (100.0,), 61.0, False),
    ],
)
def test_all_requests_beyond_the_limit_fail_it_where_chance_would_not_put_them_there(
    objective: str, worths: tuple[float, ...], nearest: float, fails: bool
) -> None:
    if "mean" in objective:
        run = of_ttft(mean=70.0, min=nearest, max=nearest)
        assert judged(objective, [run]).verdict is Verdict.NOT_SHOWN
    else:
        assert all_break(objective, *worths, nearest=nearest) is fails


@pytest.mark.parametrize(("jobs", "verdict"), [(2.0, Verdict.NOT_SHOWN), (6.0, Verdict.FAILED)])
def test_jobs_are_worth_themselves_and_not_their_requests(jobs: float, verdict: Verdict) -> None:
    job_s = row(int(jobs), p50=9.0, min=8.0, max=9.5) | {"independent": jobs}
    assert judged("job:p50<1s", [run_of(jobs={"job_s": job_s})]).verdict is verdict


def test_a_run_that_does_not_know_its_fastest_request_does_not_break_a_limit_with_all() -> None:
    assert judged("ttft:p99<60ms", [of_ttft(p99=70.0, max=80.0)]).verdict is Verdict.NOT_SHOWN


@pytest.mark.parametrize("runs", [1, 3])
def test_a_number_whose_bounds_are_further_apart_than_its_value_shows_nothing(runs: int) -> None:
    """As in the run's own verdict: a proxy that holds replies makes every TPOT look like none."""

    def found(bounds: dict[str, tuple[float, float]]) -> ObjectiveVerdict:
        tpot = row(60, {"p50": (0.01, 0.02)}, p50=0.015, min=0.01, max=0.02) | {"bounds": bounds}
        return judged("tpot:p50<1ms", [run_of({"tpot_ms": tpot})] * runs)

    assert found({}).verdict is Verdict.HELD
    shown = found({"p50": (0.0, 9.6)})
    assert (shown.verdict, shown.value, ends(shown), shown.why) == (
        Verdict.NOT_SHOWN, None, NOTHING, objectives.OPEN
    )  # fmt: skip
    # Nor does a fastest request that is only known within bounds show that all are beyond the limit.
    tpot = row(60, p50=7.0, p99=9.0, min=6.0, max=9.0) | {"bounds": {"min": (0.0, 6.1)}}
    assert judged("tpot:p99<1ms", [run_of({"tpot_ms": tpot})]).verdict is Verdict.NOT_SHOWN


def of_class(name: str, n: int, **fields: Any) -> dict[str, Any]:
    """A class of a run, with this many TTFTs."""
    return {"class": name, "latency": {"ttft_ms": row(n, p50=70.0, min=61.0, max=80.0)}, **fields}


@pytest.mark.parametrize(("n", "verdict"), [(10, "failed"), (5, "not shown")])
def test_requests_of_a_class_are_worth_their_share_of_the_run(n: int, verdict: str) -> None:
    # 90 requests are worth 60, so ten are worth 6.7, and five 3.3.
    run = run_of({"ttft_ms": row(90, p50=50.0)}, classes=[of_class("a", n)])
    entries = [entry_with(requests=90)]
    assert judged("ttft{class=a}:p50<60ms", [run], entries).verdict == verdict


def test_a_class_of_a_metric_without_values_is_worth_nothing() -> None:
    runs = [run_of({"ttft_ms": row(0)}, classes=[of_class("a", 0)]) for _ in range(3)]
    found = judged("ttft{class=a}:p50<90ms", runs)
    assert found.why == "too few independent values: the runs hold 0 together, and p50 takes 6"


def test_an_unknown_part_is_refused_with_those_that_any_run_has() -> None:
    a, b, none = run_of(classes=[of_class("a", 1)]), run_of(classes=[of_class("b", 1), of_class("a", 1)]), run_of()
    wanted = parse(["ttft{class=b}:p50<1s", "ttft:p50<1s", "ttft{class=c}:p50<1s", "ttft{model=m}:p50<1s"])
    with pytest.raises(UsageError) as caught:
        objectives.refuse_unknown_parts(wanted, [a, none, b])
    first, second = caught.value.problems
    assert "no request is of the class 'c': the runs have a, b" in first
    assert "no request is of the model 'm': the runs name no models" in second
    objectives.refuse_unknown_parts(wanted[:2], [a, none, b])


def wilson(share: float, n: float) -> tuple[float, float]:
    """The ends x solve (x - share)^2 = Z^2 x (1 - x) / n."""
    a, b, c = 1 + Z**2 / n, -2 * share - Z**2 / n, share**2
    root = math.sqrt(b * b - 4 * a * c)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


# Wilson's interval of 10 of 100: 5.523% to 17.437%.
@pytest.mark.parametrize(
    ("counts", "value", "interval"),
    [
        ([(100, 100.0, 0.1)], 0.1, (0.05523, 0.17437)),
        # Twice the requests, half of them independent.
        ([(200, 100.0, 0.1)], 0.1, (0.05523, 0.17437)),
        ([(100, 50.0, 0.0), (100, 50.0, 0.2)], 0.1, (0.05523, 0.17437)),
        # A run without requests is skipped.
        ([(0, 0.0, None), (100, 100.0, 0.1)], 0.1, (0.05523, 0.17437)),
        ([(10, 10.0, 0.0)], 0.0, (0.0, Z**2 / (10 + Z**2))),
        ([(10, 10.0, 1.0)], 1.0, (10 / (10 + Z**2), 1.0)),
        ([(4, 1.0, 0.5)], 0.5, (0.5 - Z / math.sqrt(1 + Z**2) / 2, 0.5 + Z / math.sqrt(1 + Z**2) / 2)),
        ([(4, 0.9, 0.5)], None, NOTHING),
        ([(0, 0.0, None)], None, NOTHING),
    ],
)
def test_the_error_rate_has_wilsons_interval_of_its_independent_requests(
    counts: list[tuple[int, float, float | None]], value: float | None, interval: tuple[float | None, float | None]
) -> None:
    entries = [entry_with(requests, independent, rate) for requests, independent, rate in counts]
    found = judged("error_rate<50%", [run_of()] * len(counts), entries)
    assert found.value == pytest.approx(value)
    assert ends(found) == pytest.approx(interval, abs=1e-5)


@pytest.mark.parametrize(
    ("rates", "limit", "verdict", "high"),
    [
        ((0.0, 0.0, 0.09), "5%", Verdict.NOT_SHOWN, 0.03 + 4.302653 * 0.03),
        ((0.03, 0.03, 0.03), "5%", Verdict.HELD, wilson(0.03, 3000)[1]),
        ((0.0, 0.09), "6%", Verdict.HELD, wilson(0.045, 2000)[1]),  # Two runs have no spread to speak of.
        ((0.0, 0.0, 0.3), "5%", Verdict.FAILED, wilson(0.1, 3000)[1]),
    ],
)
def test_an_error_rate_holds_only_if_the_runs_are_alike(
    rates: tuple[float, ...], limit: str, verdict: Verdict, high: float
) -> None:
    entries = [entry_with(1000, 1000.0, rate) for rate in rates]
    found = judged(f"error_rate<{limit}", [run_of()] * len(rates), entries)
    assert (found.verdict, found.why) == (verdict, objectives.UNLIKE if verdict is Verdict.NOT_SHOWN else "")
    assert ends(found)[1] == pytest.approx(high, abs=1e-5)


def test_the_error_rate_of_a_class_counts_its_requests_alone() -> None:
    # 50 of 200 requests are in the class, and 200 requests are worth 100: the class is worth 25.
    runs = [run_of(classes=[of_class("a", 1, succeeded=40, failed=10)])]
    found = judged("error_rate{class=a}<50%", runs, [entry_with(200, 100.0, 0.05)])
    assert found.value == 0.2
    middle, reach = (0.2 + Z**2 / 50) / (1 + Z**2 / 25), Z / (1 + Z**2 / 25) * math.sqrt(0.16 / 25 + Z**2 / 2500)
    assert ends(found) == pytest.approx((middle - reach, middle + reach))


def test_rounding_puts_no_share_outside_of_its_interval() -> None:
    run = run_of()
    for n in range(1, 400):
        for rate in (0.0, 1.0):
            low, high = ends(judged("error_rate<50%", [run], [entry_with(n, float(n), rate)]))
            assert low is not None
            assert high is not None
            assert 0.0 <= low <= rate <= high <= 1.0


def good(path: Path, *ttft_ms: float) -> MeasuredRun:
    """A run of requests with these TTFTs."""
    records = [made_record(i, sent_ms=100.0 * i, chunks_ms=(ms, ms + 10.0)) for i, ms in enumerate(ttft_ms)]
    return run_of(directory=write_run(path, records, settings={"requests": max(1, len(records))}))


@pytest.mark.parametrize(
    ("ttft_ms", "independent", "share", "n"),
    [
        # Good and bad alternate: D = 2.
        ((50.0, 70.0) * 20, 40.0, 0.5, 20.0),
        # All values are equal: then the dependence of the run's requests counts, at least 2.
        ((50.0,) * 40, 8.0, 1.0, 8.0),
        ((70.0,) * 40, 8.0, 0.0, 8.0),
        ((50.0,) * 40, 30.0, 1.0, 20.0),
        ((50.0,) * 40, 0.5, 1.0, 1.0),
        # The dependence of the run's requests counts only if all values are equal.
        ((50.0, 70.0) * 20, 8.0, 0.5, 20.0),
    ],
)
def test_goodput_has_wilsons_interval_of_its_independent_requests(
    tmp_path: Path, ttft_ms: tuple[float, ...], independent: float, share: float, n: float
) -> None:
    found = judged("goodput>50%", [good(tmp_path / "run", *ttft_ms)], [entry_with(40, independent)])
    assert found.value == share
    assert ends(found) == pytest.approx(wilson(share, n), abs=1e-6)


def test_goodput_of_runs_is_of_all_their_requests(tmp_path: Path) -> None:
    empty, runs = good(tmp_path / "empty"), [good(tmp_path / "a", *(50.0,) * 40), good(tmp_path / "b", *(70.0,) * 60)]
    entries = [entry_with(0, 0.0, None), entry_with(40, 10.0), entry_with(60, 10.0)]
    found = judged("goodput>50%", [empty, *runs], entries)
    assert found.value == pytest.approx(0.4)
    assert ends(found) == pytest.approx(wilson(0.4, 20.0), abs=1e-6)
    assert judged("goodput>50%", [empty], entries[:1]).value is None


def test_an_objective_of_no_request_or_no_value_fails_without_an_interval() -> None:
    runs = [run_of(classes=[of_class("a", 9)]), run_of(classes=[])]
    found = judged("ttft{class=a}:p50<60ms", runs)
    assert (found.verdict, found.value, found.why) == (Verdict.FAILED, None, "no request is of it")
    found = judged("ttft:p50<60ms", [of_ttft(p50=50.0), of_ttft(p50=None)])
    assert (found.verdict, found.value, found.why) == (Verdict.FAILED, None, "no request gave a value")
