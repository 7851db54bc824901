"""The result of a visit: violations, dependence, means and backlog, from records made by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from bench.errors import UsageError
from bench.load_search.decisions import Search, Settings
from bench.load_search.goals import Goal
from bench.load_search.visit_result import Load, SearchObjective, result_of, sought
from bench.load_search.visits import Result, Visit
from bench.metrics import objectives
from bench.records import Outcome, RequestRecord
from bench.statistics.autocorrelation import act, tail_act
from bench.statistics.keeps_up import InFlight
from tests.support.changed import replace
from tests.support.made_records import START_NS, made_record

VISIT = Visit(n=3, phase="visit", load=10.0, settle_s=5.0, measure_s=60.0)


def wanted(*texts: str) -> tuple[SearchObjective, ...]:
    return sought(objectives.parse(texts))


def result(
    records: Sequence[RequestRecord],
    *texts: str,
    visit: Visit = VISIT,
    kind: str = "rate",
    before: Sequence[Result] = (),
) -> Result:
    found = wanted(*texts)
    settings = Settings("rate" if kind == "rate" else "concurrency", tuple(one.goal for one in found))
    load = Load(records, START_NS, "VALID", "03-visit-10")
    return result_of(Search(settings, before), found, visit, load, 70.0)


def sent(n: int, ttft_ms: Sequence[float], every_ms: float = 100.0, **fields: object) -> list[RequestRecord]:
    """Successive requests with these times to first token in turn, and two tokens 10 ms apart after it."""
    return [
        made_record(i, sent_ms=i * every_ms, chunks_ms=(at := ttft_ms[i % len(ttft_ms)], at + 10, at + 20), **fields)  # type: ignore[arg-type]
        for i in range(n)
    ]


def test_requests_beyond_the_limit_and_requests_that_failed_break_an_objective() -> None:
    records = sent(40, [40.0, 60.0, 40.0, 40.0])
    records[1] = made_record(1, sent_ms=100, outcome=Outcome.TIMEOUT_IDLE)
    records[4] = made_record(4, sent_ms=400, outcome=Outcome.DROPPED, sent_ns=None, chunks_ms=())
    found = result(records, "ttft:p90<50ms", "error_rate<1%")
    assert found.requests == 40
    assert found.violations == {"ttft:p90<50ms": 11, "error_rate<1%": 2}
    assert (found.run_dir, found.verdict, found.seconds, found.measure_s) == ("03-visit-10", "VALID", 70.0, 60.0)


def test_requests_that_break_any_limit_or_failed_are_not_good() -> None:
    records = sent(40, [40.0, 60.0, 40.0, 40.0])
    records[2] = made_record(2, sent_ms=200, outcome=Outcome.TIMEOUT_IDLE)
    assert result(records, "ttft:p90<50ms", "goodput>=95%").violations["goodput>=95%"] == 11


def test_an_objective_of_a_class_is_about_its_own_requests() -> None:
    slow = sent(40, [60.0], traffic_class="slow")
    fast = [replace(record, index=40 + record.index) for record in sent(20, [10.0, 30.0], traffic_class="fast")]
    texts = "ttft{class=fast}:p90<20ms", "ttft{class=slow}:p90<20ms", "ttft:p90<20ms", "ttft{class=fast}:mean<20ms"
    found = result([*slow, *fast], *texts)
    assert found.violations == dict(zip(texts, (10, 40, 50), strict=False))
    assert [found.judged(text) for text in texts] == [20, 40, 60, 20]
    assert [found.share(text) for text in texts[:3]] == [0.5, 1.0, 50 / 60]
    assert found.means[texts[3]].log_ratio == pytest.approx(0.0, abs=1e-9)
    search = Search(Settings("rate", (Goal(texts[0], 0.1),)), [replace(found, phase="scout")])
    assert search.broke(search.results[0])
    held = replace(found, violations={texts[0]: 1}, phase="visit")
    assert not search.broke(held)  # 1 of 20 breaks it, and 2 are allowed.
    assert search.broke(replace(held, violations={texts[0]: 3}))  # 3 of 20 break it. Of all 60 they would be few.


def test_the_warm_up_counts_for_nothing() -> None:
    records = [*sent(5, [900.0], phase="warmup"), *sent(30, [10.0])]
    found = result(records, "ttft:p90<50ms")
    assert (found.requests, found.violations) == (30, {"ttft:p90<50ms": 0})


def test_a_reply_of_one_token_breaks_no_limit_on_tpot() -> None:
    records = [made_record(i, sent_ms=i * 10.0, chunks_ms=(30.0,)) for i in range(30)]
    assert result(records, "tpot:p90<5ms").violations == {"tpot:p90<5ms": 0}


def test_requests_that_have_no_value_are_no_part_of_a_share() -> None:
    # Every second reply has one token. Of the others, a tenth has a TPOT of 30 ms.
    of = [(10.0,), (10.0, 15.0)] * 10
    records = [
        made_record(i, sent_ms=i * 10.0, chunks_ms=(10.0, 40.0) if i % 20 == 19 else of[i % 20]) for i in range(80)
    ]
    records[0] = made_record(0, outcome=Outcome.RESET)
    for text in ("tpot:p90<20ms", "itl:p90<20ms"):
        found = result(records, text, "ttft:p90<50ms")
        assert (found.violations[text], found.judged(text), found.judged("ttft:p90<50ms")) == (5, 41, 80)


def test_a_limit_from_below_is_broken_by_what_is_slower() -> None:
    records = [made_record(i, sent_ms=i * 10.0, chunks_ms=(10.0, 10.0 + gap)) for i in range(40) for gap in [10 + i]]
    found = result(records, "tps:p50>50")  # A gap of 20 ms is exactly 50 tokens/s: 30 of the 40 gaps are that long.
    assert found.violations == {"tps:p50>50": 30}
    assert found.act["tps:p50>50"] == pytest.approx(tail_act([10.0 + i for i in range(40)]))  # A long gap is bad.


def test_of_gaps_between_tokens_the_share_beyond_the_limit_counts() -> None:
    fast, slow = (10.0, 12.0, 14.0, 16.0), (10.0, 12.0, 14.0, 60.0)
    records = [made_record(i, sent_ms=i * 10.0, chunks_ms=slow if i % 4 == 0 else fast) for i in range(48)]
    # One gap of three is slow in a quarter of the requests: a twelfth of the gaps, and so of 48 requests.
    assert result(records, "itl:p90<20ms").violations == {"itl:p90<20ms": 4}
    one_token = [made_record(i, sent_ms=i * 10.0, chunks_ms=(30.0,)) for i in range(30)]
    assert result(one_token, "itl:p90<20ms").violations == {"itl:p90<20ms": 0}


def test_failures_count_as_gaps_beyond_the_limit() -> None:
    records = [made_record(i, sent_ms=i * 10.0) for i in range(40)]
    records[7] = made_record(7, sent_ms=70.0, outcome=Outcome.RESET)
    assert result(records, "itl:p90<20ms").violations == {"itl:p90<20ms": 1}


def test_the_dependence_is_that_of_the_tail_in_the_order_of_sending() -> None:
    waves = [20.0 + 30.0 * (i // 10 % 2) + 0.01 * i for i in range(200)]
    found = result(list(reversed(sent(200, waves))), "ttft:p90<50ms")
    assert found.act["ttft:p90<50ms"] == pytest.approx(tail_act(waves))
    # A request that failed is worse than every other.
    some = [
        made_record(i, sent_ms=i * 100.0, outcome=Outcome.RESET) if i % 60 < 12 else record
        for i, record in enumerate(sent(200, waves))
    ]
    expected = tail_act([1e6 if i % 60 < 12 else wave for i, wave in enumerate(waves)])
    assert result(some, "ttft:p90<50ms").act["ttft:p90<50ms"] == pytest.approx(expected)
    failing = [
        made_record(i, sent_ms=i * 10.0, outcome=Outcome.OK if i // 20 % 2 else Outcome.RESET) for i in range(200)
    ]
    expected = act([0.0 if i // 20 % 2 else 1.0 for i in range(200)])
    assert result(failing, "error_rate<1%").act["error_rate<1%"] == pytest.approx(expected)
    assert expected > 5


def test_too_few_requests_say_nothing_of_their_dependence() -> None:
    assert result(sent(19, [40.0]), "ttft:p90<50ms").act == {}
    assert set(result(sent(20, [40.0]), "ttft:p90<50ms").act) == {"ttft:p90<50ms"}


def test_a_mean_is_compared_with_its_limit() -> None:
    found = result(sent(100, [40.0, 60.0]), "ttft:mean<40ms").means["ttft:mean<40ms"]
    assert found.log_ratio == pytest.approx(math.log(50 / 40))
    assert found.load == 10.0


def test_requests_that_have_no_value_are_no_part_of_a_mean() -> None:
    records = [made_record(i, sent_ms=i * 10.0, chunks_ms=(10.0, 30.0) if i % 2 else (10.0,)) for i in range(80)]
    found = result(records, "tpot:mean<10ms").means["tpot:mean<10ms"]
    assert found.log_ratio == pytest.approx(math.log(2))


def test_requests_that_fail_do_not_make_a_mean_better() -> None:
    records = sent(100, [20.0])
    for i in range(0, 100, 2):
        records[i] = made_record(i, sent_ms=i * 100.0, outcome=Outcome.HTTP_ERROR, status=503)
    found = result(records, "ttft:mean<40ms").means["ttft:mean<40ms"]
    assert found.log_ratio == pytest.approx(math.log((20 + 80) / 2 / 40))


def test_a_mean_from_below_is_broken_where_it_is_low() -> None:
    records = [made_record(i, sent_ms=i * 10.0, chunks_ms=(10.0, 30.0)) for i in range(100)]
    found = result(records, "tps:mean>100").means["tps:mean>100"]
    assert found.log_ratio == pytest.approx(math.log(100 / 50))
    # A failed request counts as half of the limit: the mean of 200 and 50 tokens/s is 125.
    half = [
        made_record(i, sent_ms=i * 10.0, chunks_ms=(10.0, 15.0), outcome=Outcome.OK if i % 2 else Outcome.RESET)
        for i in range(100)
    ]
    assert result(half, "tps:mean>100").means["tps:mean>100"].log_ratio == pytest.approx(math.log(100 / 125))


def test_fewer_than_twenty_values_have_no_mean_and_the_objectives_after_one_are_judged() -> None:
    records = [made_record(i, sent_ms=i * 10.0, chunks_ms=(10.0, 30.0)) for i in range(19)]
    texts = ("tps:mean>100", "ttft:mean<40ms", "ttft:p90<5ms", "ttft:mean<5ms", "error_rate<1%")
    found = result(records, *texts)
    assert found.means == {}
    assert found.violations == {"ttft:p90<5ms": 19, "error_rate<1%": 0}
    one_more = [*records, made_record(19, sent_ms=190.0, chunks_ms=(10.0, 30.0))]
    assert set(result(one_more, *texts).means) == {"tps:mean>100", "ttft:mean<40ms", "ttft:mean<5ms"}


def before(e2el_s: float = 1.0) -> Result:
    return Result(1, "scout", 5.0, "VALID", 1.0, 10.0, 12.0, requests=50, violations={}, e2el_p90_s=e2el_s)


def piling_up(last_s: float) -> list[RequestRecord]:
    """Ten per second for a minute. Each takes longer than the one before, up to `last_s`."""
    return [made_record(i, sent_ms=i * 100.0, chunks_ms=(50.0, 1000.0 + i / 600 * 1000 * last_s)) for i in range(600)]


def test_requests_that_pile_up_behind_an_open_loop_are_seen() -> None:
    assert result(piling_up(0.0), "tpot:p90<50ms", before=[before()]).kept_up is True
    assert result(piling_up(20.0), "tpot:p90<50ms", before=[before()]).kept_up is False
    assert result(piling_up(20.0), "tpot:p90<50ms", kind="concurrency", before=[before()]).kept_up is None


def test_a_backlog_is_counted_from_when_a_visit_measures_until_all_has_ended() -> None:
    told: list[tuple[InFlight, float]] = []

    class Told(Search):
        def kept_up(self, visit: Visit, flight: InFlight, drained_s: float, growth: float | None) -> bool | None:
            told.append((flight, drained_s))
            return super().kept_up(visit, flight, drained_s, growth)

    def brought(last_s: float) -> tuple[InFlight, float]:
        # Two requests of a second each in the first third of the minute, none in the second third, and one in the last.
        records = [made_record(i, sent_ms=at, chunks_ms=(1_000.0 * s,)) for i, (at, s) in
                   enumerate(((0, 1.0), (5_000, 1.0), (59_000, last_s)))]  # fmt: skip
        result_of(Told(Settings("rate", ())), (), VISIT, Load(records, START_NS, "VALID", "03-visit-10"), 70.0)
        return told[-1]

    for last_s, drained_s in ((3.5, 2.5), (1.0, 0.0)):
        flight, drained = brought(last_s)
        assert flight.thirds == pytest.approx((2 / 20, 0.0, 1 / 20))
        assert (flight.sent, drained) == (3, pytest.approx(drained_s))


def test_what_waits_for_a_slot_under_a_cap_is_backlog_too() -> None:
    late = [
        made_record(i, sent_ms=i * 100.0 + i * 30, chunks_ms=(50.0, 1000.0), intended_ns=START_NS + round(i * 1e8))
        for i in range(600)
    ]
    assert result(late, "tpot:p90<50ms", before=[before()]).kept_up is False


def test_p90_of_e2el_is_of_the_requests_that_succeeded() -> None:
    records = [made_record(i, sent_ms=i * 10.0, chunks_ms=(10.0, 100.0 + i)) for i in range(101)]
    records.append(made_record(101, outcome=Outcome.TIMEOUT_TOTAL, chunks_ms=(10.0, 90_000.0)))
    assert result(records, "ttft:p90<50ms").e2el_p90_s == pytest.approx(0.190)
    assert result([], "ttft:p90<50ms").e2el_p90_s is None


def test_how_long_the_first_requests_took_is_of_those_of_the_warm_up_too() -> None:
    records = [
        made_record(i, sent_ms=i * 10.0, chunks_ms=(10.0, 100.0 + i), phase="warmup" if i < 10 else "run")
        for i in range(50)
    ]
    # The first ten took 100 to 109 ms.
    assert result(records, "ttft:p90<50ms").e2el_first_s == pytest.approx(0.1081)
    records[0] = made_record(0, outcome=Outcome.TIMEOUT_TOTAL, chunks_ms=(10.0, 90_000.0), phase="warmup")
    assert result(records, "ttft:p90<50ms").e2el_first_s == pytest.approx(0.1091)
    assert result(records[:10], "ttft:p90<50ms").e2el_first_s is None


def test_objectives_that_no_search_can_look_for_are_refused_all_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        wanted("requests_per_s>5", "ttft:min<500ms", "ttft:max<1s", "tpot:p99<50ms")
    assert len(refused.value.problems) == 3
