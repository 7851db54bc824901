"""Precision goals: their notation, when they are checked, and when a run has enough data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice, pairwise
from random import Random

import pytest

from bench.config import resolve
from bench.errors import UsageError
from bench.metrics.precision import Judge, Known, Look, PrecisionGoal, known_to, look_times, parse_one
from bench.metrics.sureness import of_requests
from bench.records import Outcome, RequestRecord
from bench.statistics.intervals import Interval, TooFew, mean_interval
from tests.support.made_records import START_NS, made_record
from tests.support.results import known
from tests.support.tables import table_of

URL = {"url": "http://h"}


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("ttft:p90=10%", PrecisionGoal("ttft", "p90", 0.1)),
        (" TTFT : p90 = 2.5 % ", PrecisionGoal("ttft", "p90", 0.025)),
        ("e2el=5%", PrecisionGoal("e2el", "p99", 0.05)),
        ("tpot:median=1%", PrecisionGoal("tpot", "p50", 0.01)),
        ("tps:avg=50%", PrecisionGoal("tps", "mean", 0.5)),
    ],
)
def test_a_goal_is_read(text: str, goal: PrecisionGoal) -> None:
    assert parse_one(text) == goal


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ttft", '--until "ttft": not of the form METRIC:STATISTIC=SHARE%, for example ttft:p90=10%'),
        ("ttft:p90<10%", '--until "ttft:p90<10%": not of the form'),
        ("tttf:p90=10%", "no metric of requests is called 'tttf'; did you mean 'ttft'?"),
        ("error_rate=10%", "no metric of requests is called 'error_rate'"),
        ("itl:p90=10%", "itl has many values a request, and a goal needs one: use tpot"),
        ("ttft:p91=10%", "no interval is of 'p91'; did you mean 'p9"),
        ("ttft:max=10%", "no interval is of 'max'"),
        ("ttft:p90=10", "the share needs a percent sign: write ttft:p90=10%"),
        ("ttft:p90=0%", "0% must be more than 0% and less than 100%"),
        ("ttft:p90=100%", "100% must be more than 0% and less than 100%"),
    ],
)
def test_what_is_no_goal_is_told_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_one(text)
    assert said in str(caught.value)
    assert len(caught.value.problems) == 1


def test_goals_may_be_repeated_or_have_commas_between() -> None:
    config = resolve({**URL, "until": ["ttft:p90=10.0%,tpot:p50=5%", "ttft:p90=10%", "e2el:mean=1%"]})
    assert config.until == ("ttft:p90=10%", "tpot:p50=5%", "e2el:mean=1%")


@pytest.mark.parametrize("share", ["0.05%", "12.34%", "99.95%", "2.25%"])
def test_a_goal_keeps_its_share_when_it_is_written_again(share: str) -> None:
    (stored,) = resolve({**URL, "until": f"ttft:p90={share}"}).until
    assert parse_one(stored) == parse_one(f"ttft:p90={share}")


def test_every_wrong_goal_is_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        resolve({**URL, "until": ["ttft:p90=10,tttf=1%"]})
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("given", "duration", "requests"),
    [({}, 600.0, None), ({"duration": "90s"}, 90.0, None), ({"requests": "70"}, None, 70)],
)
def test_a_run_with_goals_has_a_cap(given: dict[str, str], duration: float | None, requests: int | None) -> None:
    config = resolve({**URL, "until": "ttft:p90=10%", **given})
    assert (config.duration, config.requests) == (duration, requests)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"steps": "5,10:20s"}, "--until needs a constant load, and --steps changes it"),
        ({"ramp": "1..5:20s"}, "--until needs a constant load, and --ramp changes it"),
        (
            {"mode": "throughput", "requests": "5"},
            "--until needs a constant load (--mode concurrency, rate, sessions)",
        ),
        ({"stream": False}, '--until "ttft:p90=10%": with --no-stream there is no ttft'),
        ({"until": "tpot:p90=10%", "output_tokens": "1"}, "replies of one token have no tpot"),
    ],
)
def test_what_does_not_go_with_goals_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve({**URL, "until": "ttft:p90=10%", **given})
    assert said in str(caught.value)


def test_looks_are_a_tenth_of_the_longest_time_apart_at_most_and_grow() -> None:
    assert list(islice(look_times(600), 4)) == [60, 80, 100, 120]
    assert list(islice(look_times(None), 4)) == [60, 80, 100, 120]
    assert list(islice(look_times(86_400), 2)) == [60, 80]
    assert list(islice(look_times(30), 4)) == pytest.approx([3, 4, 5, 6])
    later = list(islice(look_times(600), 30))
    assert all(b - a == pytest.approx(max(20, a / 10)) for a, b in pairwise(later))


def ended(values_ms: Iterable[float], first: int = 0) -> list[RequestRecord]:
    """Requests with these TTFTs, one a second."""
    return [made_record(first + i, sent_ms=1e3 * (first + i), chunks_ms=[ms]) for i, ms in enumerate(values_ms)]


def judge(text: str, records: Iterable[RequestRecord]) -> Judge:
    made = Judge([parse_one(text)])
    made.add(table_of(*records))
    return made


def test_two_looks_in_a_row_are_enough_and_one_is_not() -> None:
    values = [100.0 + (7 * i) % 11 for i in range(200)]
    watching = judge("ttft:p50=10%", ended(values))
    assert [watching.look(60).enough, watching.look(80).enough] == [False, True]


def test_a_look_that_fails_between_two_begins_again() -> None:
    watching = judge("ttft:p50=10%", ended(100.0 + i % 3 for i in range(60)))
    assert not watching.look(60).enough
    watching.add(table_of(*ended((1000.0 * (i // 50 % 2) + 1 for i in range(200)), first=60)))
    assert not watching.look(80).known[0].reached
    watching.add(table_of(*ended((100.0 + i % 3 for i in range(5000)), first=260)))
    assert [watching.look(100).enough, watching.look(122).enough] == [False, True]


def test_every_goal_must_be_reached() -> None:
    watching = Judge([parse_one("ttft:p50=10%"), parse_one("ttft:p90=0.1%")])
    watching.add(table_of(*ended(100.0 + i % 30 for i in range(400))))
    assert [one.reached for one in watching.look(60).known] == [True, False]
    assert not watching.look(80).enough


def test_no_time_is_below_zero_though_the_interval_of_a_mean_may_begin_there() -> None:
    values = [0.0] * 30 + [31.0]
    found = mean_interval(values)
    assert isinstance(found, Interval)
    assert found.low < 0
    assert known_to(parse_one("ttft:mean=10%"), values).reach == pytest.approx(found.high / 2)  # The mean is 1.


def test_the_interval_is_the_one_of_the_report() -> None:
    draw = Random(5)
    values = [draw.lognormvariate(3, 0.4) for _ in range(900)]
    ordered = sorted(values)
    reported = of_requests(values, ordered, None)
    for stat in ("mean", "p50", "p90", "p99"):
        low, high = known(reported.ci95[stat])
        position = {"p50": 0.5, "p90": 0.9, "p99": 0.99}.get(stat)
        value = math.fsum(values) / 900
        if position is not None:
            below = int(899 * position)
            value = ordered[below] + (899 * position - below) * (ordered[below + 1] - ordered[below])
        assert known_to(parse_one(f"ttft:{stat}=10%"), values).reach == pytest.approx((high - low) / 2 / value)


def test_too_few_independent_values_never_end_a_run() -> None:
    # The values are equal to a thousandth, but p90 needs 36 independent values, and a mean 10.
    values = [100.0 + 0.01 * (i % 3) for i in range(30)]
    (few,) = judge("ttft:p90=50%", ended(values)).look(60).known
    assert str(few) == "ttft:p90 has too few independent values (20 of 36)"
    slow = [100.0 + i for i in range(200)]
    known = judge("ttft:mean=90%", ended(slow)).look(60).known[0]
    assert isinstance(known.reach, TooFew)
    assert known.reach.effective < known.reach.needed == 10
    assert not known.reached


def test_no_request_gives_too_few_values_and_no_time() -> None:
    nothing = judge("ttft:p90=10%", [])
    assert nothing.run_s(START_NS) == 0
    assert str(nothing.look(60).known[0]) == "ttft:p90 has too few independent values (0 of 36)"


def test_the_warm_up_and_failed_requests_do_not_count() -> None:
    good = ended([100.0] * 50)
    wild = [
        *(made_record(100 + i, sent_ms=-5e3, chunks_ms=[9e3], phase="warmup") for i in range(50)),
        *(made_record(200 + i, chunks_ms=[9e3], outcome=Outcome.TRUNCATED) for i in range(50)),
    ]
    watching = judge("ttft:p50=10%", [*good, *wild])
    assert watching.look(60).known == (Known("ttft:p50", 0.1, 0.0),)
    assert watching.run_s(START_NS + 3_000_000_000) == 3.0


def test_records_are_judged_in_the_order_of_sending_not_of_ending() -> None:
    # A slow wave: 100 requests fast, 100 slow, and so on. In another order it would look like independent values.
    records = ended(100.0 + 50 * (i // 100 % 2) + i % 7 for i in range(800))
    mixed = list(records)
    Random(1).shuffle(mixed)
    in_order = judge("ttft:p50=10%", records).look(60)
    assert judge("ttft:p50=10%", mixed).look(60) == in_order
    assert not in_order.known[0].reached


def test_a_look_says_what_is_known_and_what_was_asked_for() -> None:
    known = (Known("ttft:p90", 0.1, 0.087), Known("e2el:mean", 0.05, 0.231))
    assert str(Look(84.2, known[:1], enough=True)) == "ttft:p90 is known to ±8.7% after 84 s; asked for 10%"
    assert str(Look(84.2, known, enough=False)) == (
        "ttft:p90 is known to ±8.7%, e2el:mean is known to ±23.1% after 84 s; asked for 10%, 5%"
    )
