from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest

from bench.documents import formatting
from bench.errors import UsageError
from bench.metrics.objectives import Objective, evaluate, from_user, meet_all, parse, parse_one, with_limits
from bench.metrics.run_numbers import Numbers
from bench.records import Outcome, RequestRecord
from bench.results.numbers import Metric, Throughput
from bench.results.summary import Slo
from tests.support.made_records import made_record
from tests.support.results import filled
from tests.support.tables import table_of


def numbers(
    latency: Mapping[str, Any] = MappingProxyType({}), throughput: Mapping[str, Any] = MappingProxyType({}), **more: Any
) -> Numbers:
    """The numbers of a run that objectives use."""
    return Numbers(
        latency={metric: filled(Metric, row) for metric, row in latency.items()},
        throughput=filled(Throughput, throughput),
        goodput=None,
        **{"error_rate": None, **more},
    )


def test_a_value_that_stamps_leave_more_open_than_it_is_large_is_judged_by_its_worse_end() -> None:
    open_ = {"p50": 0.0, "p90": 20.0, "ci95": {"p50": [0.0, 1.0]}, "bounds": {"p50": [0.0, 21.3], "p90": [11.0, 20.5]}}
    speed = {"p50": 100.0, "p90": 100.0, "ci95": {}, "bounds": {"p50": [100.0, None], "p90": [40.0, None]}}
    whole = numbers({"itl_ms": open_, "tps": speed})
    texts = ["itl:p50<20ms", "itl:p50<22ms", "itl:p90<20.2ms", "tps:p50>90", "tps:p50<200", "tps:p90>90"]
    rows = evaluate(parse(texts), whole).objectives
    assert [row.held for row in rows] == [False, True, True, True, False, False]
    assert {row.shown for row in rows} == {"not shown"}
    assert [row.between for row in rows] == [[0.0, 21.3], [0.0, 21.3], None, [100.0, None], [100.0, None], [40.0, None]]
    assert [formatting.objective_value(row) for row in rows] == [
        "0–21.30 ms", "0–21.30 ms", "20 ms", "over 100 tokens/s", "over 100 tokens/s", "over 40 tokens/s"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "metric", "stat", "op", "limit", "unit"),
    [
        ("ttft:p99<500ms", "ttft", "p99", "<", 500, "ms"),
        ("ttft < 500 ms", "ttft", "p99", "<", 500, "ms"),
        ("e2el:p90<=3s", "e2el", "p90", "<=", 3000, "ms"),
        ("itl:mean<250us", "itl", "mean", "<", 0.25, "ms"),
        ("TPOT:avg<50ms", "tpot", "mean", "<", 50, "ms"),
        ("ttfo:median<1e3ms", "ttfo", "p50", "<", 1000, "ms"),
        ("tps:p50>=20tokens/s", "tps", "p50", ">=", 20, "tokens/s"),
        ("error_rate<1%", "error_rate", None, "<", 0.01, "share"),
        ("error_rate<0.01", "error_rate", None, "<", 0.01, "share"),
        ("goodput>=95%", "goodput", None, ">=", 0.95, "share"),
        ("Goodput > 0.5", "goodput", None, ">", 0.5, "share"),
        ("output_tokens_per_s>1000", "output_tokens_per_s", None, ">", 1000, "1/s"),
        ("wer:mean<5%", "wer", "mean", "<", 0.05, ""),
        ("rtf<0.5", "rtf", "p99", "<", 0.5, ""),
        ("jobs_per_hour>5/h", "jobs_per_hour", None, ">", 5, "1/h"),
    ],
)
def test_an_objective_is_read(text: str, metric: str, stat: str | None, op: str, limit: float, unit: str) -> None:
    assert parse_one(text) == Objective(text, metric, stat, op, limit, unit)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ttft", "not of the form"),
        ("ttft:p99<500ms, quickly", "not of the form"),
        ("ttft<1s & tpot<9ms", 'a flag takes one objective: write --slo "ttft<1s" --slo "tpot<9ms"'),
        ("tftt:p99<5ms", "did you mean 'ttft'"),
        ("ttft:p98<5ms", "no statistic is called 'p98'"),
        ("ttft:p99<5kg", "'kg' is not a unit of time"),
        ("ttft:p99<1.2.3ms", "'1.2.3' is not a number"),
        ("tps:p50>5ms", "tps is in tokens/s and takes no 'ms'"),
        ("tps:p50>5%", "tps is in tokens/s and takes no '%'"),
        ("rtf<5x", "rtf has no unit and takes no 'x'"),
        ("jobs_per_hour>5ms", "jobs_per_hour is a number per hour and takes no 'ms'"),
        ("p99<5ms", "p99 of which number. Write for example ttft:p99<500ms"),
        ("error_rate:p99<1%", "takes no statistic"),
        ("error_rate<1ms", "use 1% or 0.01"),
        ("requests_per_s>5ms", "takes no 'ms'"),
        ("ttft:p99<500", "ttft needs a unit: write 500ms, 500s or 500us"),
        ("error_rate<5", "5 without a unit is 500% of all requests: write 5%"),
        ("error_rate<101%", "101% is more than all requests"),
        ("goodput>=95", "95 without a unit is 9500% of all requests: write 95%"),
        ("goodput>=5/s", "'/s' is not a unit of goodput; use 95% or 0.95"),
        ("goodput:p99>=95%", "takes no statistic"),
    ],
)
def test_a_wrong_objective_is_explained(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=f"--slo.*{sentence}"):
        parse_one(text)


def test_goodput_keeps_the_limits_on_latencies_alone() -> None:
    latency, errors, goodput, answers = map(parse_one, ("ttft<1s", "error_rate<1%", "goodput>90%", "accuracy>80%"))
    assert with_limits([goodput], [errors, latency])[0].limits == (latency,)
    assert [one.of_answers for one in (latency, errors, goodput, answers)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("ttft:p99>500ms", "ttft:p99<500ms"),
        ("e2el{class=a}:p90 >= 3 s", "e2el{class=a}:p90 <= 3 s"),
        ("ttft{class=a>b}:p99>500ms", "ttft{class=a>b}:p99<500ms"),
        ("job:p90>60s", "job:p90<60s"),
        ("wer:mean>5%", "wer:mean<5%"),
        ("error_rate>1%", "error_rate<1%"),
        ("tps:p50<20", "tps:p50>20"),
        ("goodput<=95%", "goodput>=95%"),
        ("accuracy<80%", "accuracy>80%"),
        ("requests_per_s<5", "requests_per_s>5"),
        ("jobs_per_hour_per_user<30", "jobs_per_hour_per_user>30"),
    ],
)
def test_a_limit_on_the_good_side_is_refused_of_users_and_read_of_files(text: str, right: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f": write {right}")) as refused:
        from_user(text)
    assert len(refused.value.problems) == 1
    assert from_user(right) == parse_one(right)
    assert parse([text, "ttft:p99<1s"])[0].text == text


def test_the_length_of_audio_may_have_a_limit_on_either_side() -> None:
    assert from_user("audio:p50>3s").op == ">"
    assert from_user("audio:p50<3s").op == "<"


def test_goodput_counts_what_keeps_the_limits_on_latencies_beside_it() -> None:
    *_, goodput = parse(["ttft:p99<55ms", "error_rate<1%", "output_tokens_per_s>1", "goodput>=95%"])
    assert [limit.text for limit in goodput.limits] == ["ttft:p99<55ms"]
    good, slow = made_record(chunks_ms=(50, 60)), made_record(chunks_ms=(60, 70))
    table = table_of(good, slow, made_record(outcome=Outcome.RESET))
    assert goodput.broken(table).tolist() == [False, True, True]
    assert parse_one("error_rate<1%").broken(table).tolist() == [False, False, True]
    alone = with_limits([parse_one("goodput>=95%")], parse(["tpot:p90<9ms"]))
    assert [limit.text for limit in alone[0].limits] == ["tpot:p90<9ms"]


def test_goodput_without_a_limit_says_what_to_give() -> None:
    with pytest.raises(
        UsageError, match=r'--slo "goodput>=95%": goodput is the share .* give one beside it, for example'
    ):
        parse(["goodput>=95%", "error_rate<1%"])


def test_all_wrong_objectives_are_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse(["ttft:p99<500ms", "a<1", "b<2"])
    assert len(caught.value.problems) == 2


def meets_all(record: RequestRecord, objectives: Sequence[Objective]) -> bool:
    return bool(meet_all(table_of(record), objectives)[0])


def test_a_request_meets_its_objectives_by_its_own_values() -> None:
    record = made_record(chunks_ms=(50, 60, 80))
    assert meets_all(record, parse(["ttft:p99<51ms", "e2el<=80ms", "tpot<16ms"]))
    assert not meets_all(record, parse(["ttft:p50<50ms"]))
    assert not meets_all(record, parse(["ttft<51ms", "e2el<80ms"]))


@pytest.mark.parametrize(("stat", "value"), [("mean", 15), ("min", 10), ("max", 20), ("p50", 15)])
def test_a_token_metric_is_held_against_the_requests_own_tokens(stat: str, value: float) -> None:
    record = made_record(chunks_ms=(50, 60, 80))
    assert meets_all(record, parse([f"itl:{stat}<={value}ms"]))
    assert not meets_all(record, parse([f"itl:{stat}<{value}ms"]))


def test_a_metric_that_a_request_does_not_have_breaks_no_limit() -> None:
    assert meets_all(made_record(chunks_ms=(50,)), parse(["tpot<1ms", "itl<1ms", "error_rate<0"]))


def test_a_failed_request_meets_nothing() -> None:
    assert not meets_all(made_record(outcome=Outcome.TRUNCATED), parse(["ttft<1s"]))


def _run(
    latency: dict[str, Any], throughput: dict[str, Any], error_rate: float | None, ends: list[float] | None = None
) -> dict[str, Any]:
    return {"latency": latency, "throughput": throughput, "error_rate": error_rate, "error_rate_ci95": ends}


def _latency(p99: float | None) -> dict[str, Any]:
    return {"ttft_ms": {"p99": p99, "ci95": {"p99": None}}}


def test_objectives_are_evaluated_with_their_values() -> None:
    throughput = {"requests_per_s": 9, "ci95": {"requests_per_s": None}}
    slo = evaluate(
        parse(["ttft:p99<500ms", "error_rate<1%", "requests_per_s>9"]), numbers(_latency(499), throughput, error_rate=0)
    )
    assert [(row.value, row.held) for row in slo.objectives] == [(499, True), (0, True), (9, False)]
    assert slo.held is False


@pytest.mark.parametrize(
    ("ends", "upper", "lower"),
    [
        ([90.0, 99.0], "held", "failed"),
        ([101.0, 110.0], "failed", "held"),
        ([90.0, 110.0], "not shown", "not shown"),
        (None, "not shown", "not shown"),
    ],
)
def test_an_objective_is_shown_by_the_whole_of_its_interval(ends: list[float] | None, upper: str, lower: str) -> None:
    latency = {"ttft_ms": {"p50": 99.5, "ci95": {"p50": ends}}}
    throughput = {"requests_per_s": 99.5, "ci95": {"requests_per_s": ends}}
    texts = ["ttft:p50<100ms", "ttft:p50>=100ms", "requests_per_s<=100", "requests_per_s>100"]
    slo = evaluate(parse(texts), numbers(latency, throughput))
    assert [row.shown for row in slo.objectives] == [upper, lower, upper, lower]
    assert [row.held for row in slo.objectives] == [True, False, True, False]


@pytest.mark.parametrize(
    ("ends", "p99", "shown"),
    [
        ({"p50": [101, 120], "p90": [130, 140], "p99": None}, 150, "failed"),
        ({"p50": [101, 120], "p90": None, "p99": None}, 150, "failed"),
        # Only the highest quantile with an interval counts.
        ({"p50": [101, 120], "p90": [99, 140], "p99": None}, 150, "not shown"),
        # It does not show that a higher quantile held.
        ({"p50": [70, 80], "p90": [80, 99], "p99": None}, 99, "not shown"),
        ({"p50": [101, 120], "p90": [130, 140], "p99": [90, 160]}, 150, "not shown"),
        ({"p50": None, "p90": None, "p99": None}, 150, "not shown"),
    ],
)
def test_a_quantile_without_an_interval_fails_by_a_lower_one(ends: dict[str, Any], p99: float, shown: str) -> None:
    others = dict.fromkeys(("p75", "p95", "p999"))
    latency = {"ttft_ms": {"p99": p99, "ci95": {**ends, **others}}}
    [row] = evaluate(parse(["ttft:p99<100ms"]), numbers(latency, error_rate=0.0)).objectives
    assert (row.shown, row.ci95) == (shown, ends["p99"])
    [row] = evaluate(parse(["ttft:p99>=100ms"]), numbers(latency, error_rate=0.0)).objectives
    assert row.shown == "not shown"


def test_an_objective_on_errors_is_held_against_their_interval() -> None:
    rows = [
        evaluate(parse(["error_rate<1%"]), numbers(error_rate=0.0, error_rate_ci95=ends)).objectives[0]
        for ends in ([0.0, 0.004], [0.0, 0.03])
    ]
    assert [(row.held, row.shown, row.ci95) for row in rows] == [
        (True, "held", [0.0, 0.004]),
        (True, "not shown", [0.0, 0.03]),
    ]


def test_an_objective_without_a_value_did_not_hold() -> None:
    texts, of_all = ["ttft<1s"], numbers(_latency(None), error_rate=1.0)
    assert evaluate(parse(texts), of_all).held is False
    assert evaluate(parse([*texts, "error_rate<50%"]), of_all).held is False


def test_without_a_request_nothing_is_said_of_objectives() -> None:
    slo = evaluate(parse(["ttft<1s", "error_rate<1%", "requests_per_s>1"]), numbers(_latency(None)))
    assert (slo.held, {row.shown for row in slo.objectives}) == (None, {"not shown"})
    rates = {"requests_per_s": 9, "ci95": {}}
    assert evaluate(parse(["ttft<1s", "requests_per_s>1"]), numbers(_latency(None), rates)).held is False


def test_an_objective_of_a_part_without_a_request_did_not_hold() -> None:
    (row,) = evaluate(parse(["ttft{class=a}<1s"]), numbers(_latency(5), error_rate=0.0)).objectives
    assert (row.value, row.held, row.shown, row.between) == (None, False, "not shown", None)


def test_no_objectives_hold_nothing() -> None:
    assert evaluate((), numbers(error_rate=0.0)) == evaluate((), numbers()) == Slo(held=None, objectives=[])
