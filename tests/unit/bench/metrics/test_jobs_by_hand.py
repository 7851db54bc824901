"""The numbers of two one-second jobs of four steps each, and of their warm-up."""

from __future__ import annotations

from typing import Any

import pytest

from bench.metrics.job_numbers import JobNumbers, _inverse
from bench.metrics.jobs import GatheredJobs, JobEnd, StepEnd, answered_ns
from bench.records import Outcome
from bench.results.base import to_plain
from bench.results.numbers import Statistics
from tests.support.changed import replace
from tests.support.made_jobs import made_step, step_of, two_agents
from tests.support.made_records import START_NS, made_record
from tests.support.results import filled
from tests.support.tables import table_of

S = 1_000_000_000


def described(*more: Any) -> dict[str, Any]:
    numbers = JobNumbers(START_NS)
    jobs = [*two_agents(0, 0.0, session=0, cached_tokens=30), *two_agents(4, 1500.0, session=1, cached_tokens=30)]
    numbers.add(table_of(*jobs, *more))
    numbers.add(table_of(made_step(60, -3000.0, -2900.0, turn=0, session=77, phase="warmup")))
    found = numbers.describe((0.5 * S, 4.5 * S), filled(Statistics, p50=20.0), None)
    assert found is not None
    return to_plain(found)


# A job that ended before the run began, and the first half of a job that continued.
WARM_UP = [*two_agents(20, -3000.0, session=5, phase="warmup"), *two_agents(30, -3000.0, session=6, phase="warmup")[:2]]


@pytest.mark.parametrize("more", [(), WARM_UP, [made_record(99, sent_ms=100)]])
def test_the_time_of_jobs_is_that_of_the_model_of_tools_and_of_their_users(more: Any) -> None:
    found = described(*more)
    # Each job has 850 ms in the model, 150 ms in tools, and a pause of half a second before it.
    assert {name: row["s"] for name, row in found["time"].items()} == pytest.approx(
        {"model": 1.7, "tools": 0.3, "other": 0.0, "human": 1.0}
    )
    assert {name: row["share"] for name, row in found["time"].items()} == pytest.approx(
        {"model": 1.7 / 3, "tools": 0.1, "other": 0.0, "human": 1 / 3}
    )
    assert (found["job_s"]["n"], found["job_s"]["mean"], found["job_s"]["max"]) == (2, 1.0, 1.0)
    assert (found["steps"]["n"], found["steps"]["mean"]) == (2, 4.0)
    # Eight steps of 100 input tokens, 30 of them cached, and 2 output tokens, over 4 s.
    assert {name: found["tokens"][name] for name in ("input", "cached", "output")} == {
        "input": 800,
        "cached": 240,
        "output": 16,
    }
    assert found["tokens"]["cached_from"] == {"server": 8, "plan": 0, "none": 0}
    assert found["tokens"]["per_s"] == {"all": 204.0, "fresh": 144.0}
    assert found["tokens"]["per_job"] == {"all": 408.0, "fresh": 288.0}
    # TTFT is 5 ms. The prompts have 65 to 128 tokens, in turns 1 to 4.
    assert [(row["from"], row["to"], row["ttft_ms"]["n"]) for row in found["ttft_by_context"]] == [(65, 128, 8)]
    assert [(row["from"], row["to"], row["ttft_ms"]["n"]) for row in found["ttft_by_turn"]] == [
        (1, 1, 2), (2, 2, 2), (3, 4, 4)
    ]  # fmt: skip
    assert found["ttft_by_turn"][0]["ttft_ms"]["p50"] == 5.0
    assert (found["sessions"], found["rates"]["ended"]) == (2, 2)
    # The run is too short for any interval.
    assert found["rates"]["ci95"] == dict.fromkeys(("jobs_per_hour_per_user", "jobs_per_hour", "jobs_per_hour_per_gpu"))
    assert found["rates"]["jobs_per_hour_per_gpu"] is None


def test_a_warm_up_alone_has_no_jobs() -> None:
    numbers = JobNumbers(START_NS)
    numbers.add(table_of(*WARM_UP))
    assert numbers.describe((0.0, 4.0 * S), filled(Statistics), None) is None


def test_a_step_that_failed_is_in_no_sum_of_tokens() -> None:
    failed = made_step(90, 3000, 3100, turn=0, session=9, outcome=Outcome.HTTP_ERROR, status=500)
    found = described(failed)
    assert (found["tokens"]["input"], found["counts"]["failed"], found["sessions"]) == (800, 1, 3)


@pytest.mark.parametrize(
    ("outcome", "ended"),
    [
        (Outcome.OK, StepEnd.OK),
        (Outcome.RESET, StepEnd.FAILED),
        (Outcome.HTTP_ERROR, StepEnd.FAILED),
        (Outcome.TIMEOUT_TOTAL, StepEnd.FAILED),
        (Outcome.CANCELLED, StepEnd.CANCELLED),
        (Outcome.INTERRUPTED, StepEnd.CUT),
        (Outcome.DROPPED, StepEnd.CUT),
    ],
)
def test_how_a_step_ended(outcome: Outcome, ended: StepEnd) -> None:
    step = step_of(made_step(0, 0, 100, turn=0, outcome=outcome))
    assert step is not None
    assert step.ended is ended


@pytest.mark.parametrize(
    ("asked", "given", "planned", "cached", "expected"),
    [
        (90, None, 40, None, (90, 40)),
        (90, 80, 40, 0, (80, 0)),
        (None, None, 40, 5, (0, 0)),
        (None, 0, None, None, (0, 0)),
        (90, None, None, None, (90, 0)),
    ],
)
def test_of_a_prompt_of_unknown_length_nothing_was_cached(
    asked: int | None, given: int | None, planned: int | None, cached: int | None, expected: tuple[int, int]
) -> None:
    fields: dict[str, Any] = {"input_tokens_asked": asked, "input_tokens": given, "cached_tokens": cached}
    step = step_of(made_step(0, 0, 100, turn=0, cached_tokens_planned=planned, **fields))
    assert step is not None
    assert (step.input_tokens, step.cached_tokens, step.output_tokens) == (*expected, 2)


def test_jobs_stand_in_the_order_in_which_they_were_due() -> None:
    gathered = GatheredJobs()
    gathered.add(
        table_of(*two_agents(4, 1500.0, session=1), *two_agents(0, 0.0, session=7), *two_agents(8, 1500.0, session=0))
    )
    jobs = gathered.jobs()
    assert [(job.session, job.due_ns - START_NS) for job in jobs] == [(7, 0), (0, 1_500_000_000), (1, 1_500_000_000)]
    assert [(job.ended, job.whole, job.steps, job.seconds) for job in jobs] == [(JobEnd.COMPLETED, True, 4, 1.0)] * 3


@pytest.mark.parametrize(
    ("ends", "inverse"), [(None, None), ([0.0, 10.0], None), ([0.5, 10.0], [360.0, 7200.0]), ([-1.0, 1.0], None)]
)
def test_jobs_an_hour_lie_between_the_inverses_of_how_long_one_takes(
    ends: list[float] | None, inverse: list[float] | None
) -> None:
    assert _inverse(ends) == inverse


def test_a_reply_was_there_with_its_last_token_and_one_without_tokens_with_its_end() -> None:
    one, none = made_record(0, chunks_ms=(50.0,)), made_record(1, chunks_ms=())
    later = replace(one, end_ns=(one.sent_ns or 0) + 80_000_000)
    failed = replace(later, outcome=Outcome.RESET)
    found = answered_ns(table_of(later, none, failed)).tolist()
    assert found == [(one.sent_ns or 0) + 50_000_000, none.end_ns, failed.end_ns]
