"""Jobs, a summary of inputs, and statements about numbers, at their borders and by hand."""

from __future__ import annotations

import math

import pytest

from bench.metrics.facts import RunFacts
from bench.metrics.job_numbers import FreshTokens, JobNumbers, TtftBins
from bench.metrics.jobs import GatheredJobs
from bench.metrics.objectives import parse, parse_one
from bench.metrics.precision import Known, Look
from bench.metrics.quantile import NO_VALUES
from bench.metrics.summary import Summary
from bench.metrics.window import Window, describe_window
from bench.results.base import to_plain
from bench.results.numbers import Goodput, Statistics
from bench.results.series import Series
from bench.statistics.intervals import TooFew
from tests.support.made_jobs import made_step, step_of, two_agents
from tests.support.made_records import MS, START_NS, made_record
from tests.support.made_summary import made_summary
from tests.support.results import filled
from tests.support.tables import table_of

S = 1_000_000_000


# ---- Jobs ----------------------------------------------------------------------------------------------------------


def test_a_step_has_the_tokens_that_are_said_else_those_that_were_asked() -> None:
    step = step_of(made_step(0, 0, 100, turn=0, input_tokens=None, input_tokens_asked=90, cached_tokens_planned=40))
    assert step is not None
    assert (step.input_tokens, step.cached_tokens) == (90, 40)
    said = step_of(made_step(0, 0, 100, turn=0, input_tokens=80, cached_tokens=0, cached_tokens_planned=40))
    assert said is not None
    assert (said.input_tokens, said.cached_tokens) == (80, 0)
    unknown = step_of(made_step(0, 0, 100, turn=0, input_tokens=None, input_tokens_asked=None, cached_tokens=5))
    assert unknown is not None
    assert (unknown.input_tokens, unknown.cached_tokens, unknown.pause_ns) == (0, 0, unknown.pause_ns)


def test_tokens_are_fresh_where_no_cache_had_them() -> None:
    fresh = FreshTokens()
    fresh.add(
        table_of(
            made_record(0, input_tokens=100, cached_tokens=30, cached_tokens_planned=60),
            made_record(1, input_tokens=100, cached_tokens_planned=60),
            made_record(2, input_tokens=100),
            made_record(3, input_tokens=None, input_tokens_asked=50, cached_tokens=0),
        )
    )
    fresh.add(table_of(made_record(4, input_tokens=None, cached_tokens=9)))
    found = fresh.describe([], 2.0)
    assert (found.input, found.cached, found.output) == (350, 90, 15)
    assert to_plain(found.cached_from) == {"server": 2, "plan": 1, "none": 2}
    assert to_plain(found.per_s) == {"all": 365 / 2, "fresh": 275 / 2}
    assert to_plain(found.per_job) == {"all": None, "fresh": None}
    assert to_plain(fresh.describe([], None).per_s) == {"all": None, "fresh": None}


def test_first_tokens_are_gathered_by_powers_of_two() -> None:
    bins = TtftBins()
    for number in (1, 2, 3, 4, 5, 8, 9):
        bins.add(number, 10.0 * number)
    assert [(row.from_, row.to, row.ttft_ms.n) for row in bins.describe()] == [
        (1, 1, 1), (2, 2, 1), (3, 4, 2), (5, 8, 2), (9, 16, 1),
    ]  # fmt: skip


def test_jobs_an_hour_are_those_that_ended_and_those_of_a_user_follow_from_their_seconds() -> None:
    numbers = JobNumbers(START_NS)
    numbers.add(
        table_of(
            *two_agents(0, 0.0, session=0), *two_agents(4, 1500.0, session=1), *two_agents(8, 3000.0, session=2)[:2]
        )
    )
    numbers.add(table_of(made_record(99)))
    found = numbers.describe((0.0, 4.0 * S), filled(Statistics, p50=20.0, p90=0.0), 2)
    assert found is not None
    rates = found.rates
    # Two jobs of a second in four seconds.
    assert (rates.ended, rates.jobs_per_hour_per_user, rates.jobs_per_hour) == (2, 3600.0, 1800.0)
    assert rates.jobs_per_hour_per_gpu == 900.0
    assert (found.counts.completed, found.counts.cut, found.sessions) == (2, 1, 3)
    assert (found.tokens_per_s_per_user.p50, found.tokens_per_s_per_user.p90) == (50.0, None)
    none = numbers.describe(None, NO_VALUES, None)
    assert none is not None
    assert (none.rates.jobs_per_hour, none.rates.jobs_per_hour_per_gpu) == (None, None)
    assert JobNumbers(START_NS).describe(None, NO_VALUES, None) is None
    gathered = GatheredJobs()
    gathered.add(table_of(*reversed(two_agents(0, 0.0, session=0))))
    assert [(job.steps, job.seconds) for job in gathered.jobs()] == [(4, 1.0)]


# ---- A summary of inputs, and short statements ----------------------------------------------------------------------


def test_a_run_of_inputs_has_rates_of_inputs_and_none_of_output() -> None:
    facts = RunFacts(mode="rate", open_loop=True, endpoint="embeddings", start_ns=START_NS, seed=1, inputs_are="texts",
                     objectives=parse(["e2el:p99<1s"]))  # fmt: skip
    summary = Summary(facts)
    for index in range(40):
        summary.add(table_of(made_record(index, sent_ms=100.0 * index, chunks_ms=(), n=0, inputs=3, input_tokens=30,
                                end_ns=START_NS + round((100.0 * index + 100) * MS))))  # fmt: skip
    found = summary.close()
    rates = found.throughput
    assert (rates.duration_s, rates.requests_per_s, rates.inputs_per_s, rates.input_tokens_per_s) == (
        4,
        10,
        30,
        300,
    )
    assert (rates.output_tokens_per_s, rates.total_tokens_per_s) == (None, None)
    assert rates.ci95["output_tokens_per_s"] is None
    assert found.goodput == Goodput(requests_per_s=10, output_tokens_per_s=None, share=1)
    assert found.inputs is not None
    assert found.inputs.total == 120
    lone = Summary(facts)
    reply = made_record(0, chunks_ms=(), n=0, inputs=3, input_tokens=30, end_ns=START_NS + 3_000 * MS)
    lone.add(table_of(reply))
    # One reply at the end of 3 s. Ten independent values are needed, so a run of 30 s.
    assert to_plain(lone.close().throughput.too_few["inputs_per_s"]) == {"independent": 1.0, "needed": 10, "run_s": 30}


def test_requests_that_are_made_of_themselves_have_no_rate_of_tokens() -> None:
    found = made_summary(
        [made_record(k, sent_ms=100.0 * k, chunks_ms=(), inputs=1) for k in range(4)], inputs_are="requests"
    )
    rates = found["throughput"]
    assert (rates["inputs_per_s"], rates["input_tokens_per_s"]) == (rates["requests_per_s"], None)


@pytest.mark.parametrize(
    ("objective", "limits"),
    [
        ("error_rate<1%", (True, False, False)),
        ("error_rate<1% goodput>=95% e2el:p99<1s", (True, True, True)),
        ("goodput>=95% e2el:p99<1s", (False, True, True)),
        ("e2el:p99<1s", (False, False, True)),
    ],
)
def test_the_interval_of_a_share_is_asked_for_by_an_objective_that_speaks_of_it(
    objective: str, limits: tuple[bool, bool, bool]
) -> None:
    facts = RunFacts(
        mode="rate", open_loop=True, endpoint="chat", start_ns=START_NS, seed=1, objectives=parse(objective.split())
    )
    assert (facts.ended_early, facts.open_end) == (False, False), "by default a run comes to its planned end"
    assert (facts.limits_errors, facts.limits_goodput, facts.has_latency_objectives) == limits


def test_a_run_of_nothing_has_no_rates() -> None:
    facts = RunFacts(mode="rate", open_loop=True, endpoint="embeddings", start_ns=START_NS, seed=1, inputs_are="texts")
    found = Summary(facts).close().throughput
    assert (found.duration_s, found.requests_per_s, found.inputs_per_s, found.too_few) == (
        None,
        None,
        None,
        {},
    )


def test_an_objective_of_a_part_is_that_of_the_run_with_its_name() -> None:
    whole = parse_one("ttft:p99<500ms")
    part = whole.of("class", "chat")
    assert (part.text, part.part, part.limit) == ("ttft{class=chat}:p99<500ms", ("class", "chat"), whole.limit)
    assert parse_one(part.text) == part
    of_classes = table_of(*(made_record(0, traffic_class=name) for name in ("chat", "batch", None)))
    assert part.applies_to(of_classes).tolist() == [True, False, False]
    assert whole.applies_to(of_classes).tolist() == [True] * 3
    assert (whole.of_requests, whole.of_jobs) == (True, False)
    job = parse_one("job:p90<60s")
    assert (job.of_requests, job.of_jobs) == (False, True)
    assert [whole.holds(value) for value in (499.9, 500.0, 500.1)] == [True, False, False]


def test_how_well_a_number_is_known_is_said_in_words() -> None:
    known = Known("TTFT p99", 0.05, 0.05)
    assert known.reached
    assert not Known("x", 0.05, 0.0501).reached
    few = Known("x", 0.05, TooFew(12.4, 368, 999))
    assert not few.reached
    assert str(few) == "x has too few independent values (12 of 368)"
    assert str(Known("x", 0.05, math.inf)) == "x has an interval without a bound"
    assert str(known) == "TTFT p99 is known to ±5.0%"
    assert str(Look(60.4, (known,), True)) == "TTFT p99 is known to ±5.0% after 60 s; asked for 5%"


def test_few_rounds_are_warned_of_in_a_closed_loop_alone() -> None:
    over_time = filled(Series, {"step_s": 1, "t_s": [0.0], "output_tokens": [1.0],
                 **{name: {"mean": [None]} for name in ("ttft_ms", "tpot_ms", "e2el_ms")}})  # fmt: skip

    def warned(open_loop: bool, e2el_ms: float, users: int | None = None) -> list[str]:
        window = Window(0, 10 * S, "all", [])
        return list(describe_window(window, [e2el_ms], over_time, open_loop, users=users).warnings)

    (few,) = warned(False, 2_000.0)
    assert few == (
        "The steady window is as long as 5.0 typical replies. Users in step are answered in waves, and the wave that the end "
        "cuts off can change the rates (requests/s, tokens/s) by up to 20%: run longer."
    )
    assert warned(False, 2_000.0, users=2) == [few]
    assert warned(False, 2_000.0, users=1) == [
        "The steady window is as long as 5.0 typical replies. The reply that the end cuts off can change the rates "
        "(requests/s, tokens/s) by up to 20%: run longer."
    ]
    assert warned(True, 2_000.0) == []
    assert warned(False, 10.0) == []
    nothing = describe_window(None, [], over_time, False)
    assert nothing.method.startswith("none: after ramp and warm-up")
    assert describe_window(None, [], over_time, False, changes=True).method != nothing.method
