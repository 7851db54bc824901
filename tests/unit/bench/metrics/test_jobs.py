"""Jobs by hand: parallel sub-agents, tools that run in parallel with the model, failed and cut jobs, and jobs per hour."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import pytest

from bench.metrics.facts import RunFacts
from bench.metrics.jobs import Job, JobEnd, covered_ns, jobs_of
from bench.metrics.objectives import parse
from bench.metrics.summary import Summary
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from tests.support.changed import replace
from tests.support.made_jobs import made_step, step_of, two_agents
from tests.support.made_records import MS, START_NS, made_record
from tests.support.tables import table_of


def _only(records: list[RequestRecord]) -> Job:
    (job,) = jobs_of(records)
    return job


def _summarize(records: list[RequestRecord], **fields: Any) -> Any:
    facts: dict[str, Any] = {
        "mode": "sessions",
        "open_loop": False,
        "endpoint": "chat",
        "start_ns": START_NS,
        "seed": 7,
    }
    summary = Summary(RunFacts(**(facts | fields)))
    summary.add(table_of(*records))
    return to_plain(summary.close())


def test_what_sub_agents_do_side_by_side_counts_once() -> None:
    job = _only(two_agents())
    assert (job.ended, job.steps, job.seconds) == (JobEnd.COMPLETED, 4, 1.0)
    assert (job.model_ns, job.tools_ns, job.other_ns) == (850 * MS, 150 * MS, 0)
    # The user's pause before the job is not part of it.
    assert job.human_ns == 500 * MS
    assert job.due_ns == START_NS


def test_a_job_lasts_until_its_last_token_though_a_sub_agent_has_it() -> None:
    records = two_agents()
    late = replace(records[2], chunk_ns=(records[2].chunk_ns[0], START_NS + 1200 * MS))
    job = _only([*records[:2], late, records[3]])
    assert (job.seconds, job.model_ns, job.tools_ns) == (1.2, 1150 * MS, 50 * MS)


def test_waits_at_a_cap_are_neither_in_the_model_nor_in_tools() -> None:
    record = made_step(0, 0, 100, turn=0)
    job = _only([replace(record, intended_ns=record.intended_ns - 40 * MS)])
    assert (job.seconds, job.model_ns, job.other_ns) == (0.14, 100 * MS, 40 * MS)


def test_only_what_lies_in_a_job_is_its_time_in_tools() -> None:
    """The pause before the first step does not belong to the job, and an unsent step was never in the model."""
    tool = _only([made_step(0, 0, 100, turn=0, pause="tool", pause_ms=50)])
    assert (tool.model_ns, tool.tools_ns, tool.human_ns) == (100 * MS, 0, 0)
    unsent = made_step(1, 100, 100, turn=1, sent_ns=None, outcome=Outcome.DROPPED, pause="tool", pause_ns=None)
    assert (_only([made_step(0, 0, 100, turn=0), unsent]).model_ns) == 100 * MS
    step = step_of(unsent)
    assert step is not None
    assert step.pause_ns == 0


def test_a_job_is_whole_if_its_last_step_ended_in_the_run() -> None:
    for last, whole in (("run", True), ("warmup", False)):
        first = "warmup" if whole else "run"
        steps = [
            made_step(k, 0, 100 * (k + 1), turn=k, job_steps=2, phase=phase) for k, phase in enumerate((first, last))
        ]
        assert _only(steps).whole is whole


@pytest.mark.parametrize(
    ("spans", "covered"),
    [
        ([], 0),
        ([(0, 5)], 5),
        ([(0, 5), (3, 9)], 9),
        ([(0, 9), (2, 4)], 9),
        ([(5, 7), (0, 2)], 4),
        ([(0, 2), (2, 3)], 3),
    ],
)
def test_covered_time_is_that_of_the_union(spans: list[tuple[int, int]], covered: int) -> None:
    assert covered_ns(spans) == covered


@pytest.mark.parametrize(
    ("change", "ended"),
    [
        ({}, JobEnd.COMPLETED),
        ({"outcome": Outcome.TRUNCATED}, JobEnd.FAILED),
        ({"outcome": Outcome.INTERRUPTED}, JobEnd.CUT),
        ({"outcome": Outcome.DROPPED}, JobEnd.CUT),
        ({"outcome": Outcome.CANCELLED}, JobEnd.CANCELLED),
    ],
)
def test_a_job_ends_as_its_worst_step_does(change: dict[str, Any], ended: JobEnd) -> None:
    records = two_agents()
    assert _only([*records[:3], replace(records[3], **change)]).ended is ended


def test_a_job_whose_last_step_was_not_sent_is_cut_and_not_completed() -> None:
    assert _only(two_agents()[:3]).ended is JobEnd.CUT
    failed = [*two_agents()[:2], replace(two_agents()[2], outcome=Outcome.RESET)]
    assert _only(failed).ended is JobEnd.FAILED


def test_a_job_that_the_run_entered_in_the_middle_is_left_out() -> None:
    entered = two_agents()[1:]
    assert _only(entered).ended is JobEnd.BEGUN_BEFORE
    assert not _only(entered).whole
    warm = [replace(two_agents()[0], phase="warmup"), *two_agents()[1:]]
    assert _only(warm).ended is JobEnd.BEGUN_BEFORE
    assert _only(warm).whole
    assert jobs_of([replace(record, phase="warmup") for record in two_agents()]) == []


def test_requests_that_belong_to_no_job_are_passed_over() -> None:
    first = two_agents()[0]
    nameless = [replace(first, **{name: None}) for name in ("job_step", "job", "session_number")]
    assert jobs_of([made_record(), *nameless]) == []
    assert "jobs" not in _summarize([made_record()])


def _two_jobs_a_session(sessions: int) -> list[RequestRecord]:
    """Successive sessions, each with a job of 1,000 ms and, 500 ms later, one of 100 ms."""
    records: list[RequestRecord] = []
    for k in range(sessions):
        at = 2000.0 * k
        records += two_agents(len(records), at, session=k, input_tokens=100, cached_tokens=80)
        records.append(
            made_step(len(records), at + 1500, at + 1600, turn=4, job=1, job_step=0, session=k, pause="human",
                      pause_ms=500, input_tokens=1000, cached_tokens_planned=900)
        )  # fmt: skip
    return records


def test_the_numbers_of_a_run_of_jobs() -> None:
    numbers = _summarize(_two_jobs_a_session(2), gpus=2)
    jobs = numbers["jobs"]
    assert jobs["counts"] == {"completed": 4, "failed": 0, "cancelled": 0, "cut": 0, "begun_before": 0}
    assert jobs["sessions"] == 2
    assert (jobs["job_s"]["n"], jobs["job_s"]["mean"], jobs["job_s"]["max"]) == (4, pytest.approx(0.55), 1.0)
    assert jobs["rates"]["jobs_per_hour_per_user"] == pytest.approx(3600 / 0.55)
    duration_s = numbers["throughput"]["duration_s"]
    assert jobs["rates"]["jobs_per_hour"] == pytest.approx(4 * 3600 / duration_s)
    assert jobs["rates"]["jobs_per_hour_per_gpu"] == pytest.approx(2 * 3600 / duration_s)
    assert (jobs["steps"]["mean"], jobs["steps"]["max"]) == (2.5, 4)
    # Two sessions of 1,000 + 100 ms, and 2 x 2 pauses of 500 ms before the jobs.
    assert {name: part["s"] for name, part in jobs["time"].items()} == pytest.approx(
        {"model": 1.9, "tools": 0.3, "other": 0.0, "human": 2.0}
    )
    assert jobs["time"]["human"]["share"] == pytest.approx(2.0 / 4.2)


def test_fresh_tokens_are_those_that_no_cache_had() -> None:
    numbers = _summarize(_two_jobs_a_session(2))
    tokens, duration_s = numbers["jobs"]["tokens"], numbers["throughput"]["duration_s"]
    assert (tokens["input"], tokens["cached"], tokens["output"]) == (2 * 1400, 2 * (4 * 80 + 900), 2 * 5 * 2)
    assert tokens["cached_from"] == {"server": 8, "plan": 2, "none": 0}
    assert tokens["per_s"]["all"] == pytest.approx(2820 / duration_s)
    assert tokens["per_s"]["fresh"] == pytest.approx((2820 - 2440) / duration_s)
    assert tokens["per_job"] == pytest.approx({"all": 2820 / 4, "fresh": 380 / 4})


def test_a_prompt_whose_length_nobody_says_is_in_no_sum_of_fresh_tokens() -> None:
    """With real answers in the history and no usage, planned cached tokens must not be subtracted from other prompts."""
    records = _two_jobs_a_session(1)
    unknown = made_step(len(records), 1700, 1800, turn=5, job=2, job_step=0, session=0, pause="human", pause_ms=100,
                        input_tokens=None, cached_tokens_planned=10**6)  # fmt: skip
    tokens = _summarize([*records, unknown])["jobs"]["tokens"]
    assert (tokens["input"], tokens["cached"]) == (1400, 4 * 80 + 900)
    assert tokens["cached_from"] == {"server": 4, "plan": 1, "none": 1}
    assert tokens["per_job"]["fresh"] > 0


def test_ttft_by_context_and_by_turn_lies_in_bins_of_powers_of_two() -> None:
    records = [
        made_step(k, 100.0 * k, 100.0 * k + 50, turn=k, session=0, job_steps=9, pause="tool", first_ms=k + 1,
                  input_tokens=tokens)
        for k, tokens in enumerate((1, 2, 3, 4, 5, 8, 9, 1024, 1025))
    ]  # fmt: skip
    jobs = _summarize(records)["jobs"]
    ends = [(row["from"], row["to"], row["ttft_ms"]["n"]) for row in jobs["ttft_by_context"]]
    assert ends == [(1, 1, 1), (2, 2, 1), (3, 4, 2), (5, 8, 2), (9, 16, 1), (513, 1024, 1), (1025, 2048, 1)]
    turns = [(row["from"], row["to"], row["ttft_ms"]["mean"]) for row in jobs["ttft_by_turn"]]
    assert turns == [(1, 1, 1), (2, 2, 2), (3, 4, 3.5), (5, 8, 6.5), (9, 16, 9)]


def test_the_speed_of_a_user_is_the_inverse_of_quantiles_of_seconds_per_token() -> None:
    numbers = _summarize(_two_jobs_a_session(3))
    tpot, speed = numbers["latency"]["tpot_ms"], numbers["jobs"]["tokens_per_s_per_user"]
    assert speed["p90"] == pytest.approx(1000 / tpot["p90"])
    assert speed["p90"] < speed["p50"]


def test_jobs_an_hour_count_those_that_were_begun_in_the_warm_up_and_ended_in_the_run() -> None:
    warm = [replace(record, phase="warmup", index=-k) for k, record in enumerate(two_agents(session=50))][:3]
    records = [
        *warm,
        two_agents(session=50)[3],
        *two_agents(10, 2000.0),
        *two_agents(20, 4000.0, session=51)[:2],
        replace(two_agents(30, session=52)[0], phase="warmup"),
        two_agents(30, session=52)[1],
    ]
    jobs = _summarize(records)["jobs"]
    assert jobs["counts"] == {"completed": 1, "failed": 0, "cancelled": 0, "cut": 1, "begun_before": 2}
    assert (jobs["rates"]["ended"], jobs["job_s"]["n"]) == (2, 1)


def test_jobs_of_a_session_are_one_piece_of_evidence() -> None:
    chance = random.Random(5)
    records: list[RequestRecord] = []
    lengths = [chance.uniform(100, 900) for _ in range(150)]
    for k, ms in enumerate(lengths):  # Four equal jobs per session, which are worth only one.
        for job in range(4):
            at = 10_000 * k + 1000 * job
            records.append(
                made_step(len(records), at, at + ms, turn=job, job=job, job_step=0, session=k, pause="human")
            )
    job_s = _summarize(records)["jobs"]["job_s"]
    assert job_s["n"] == 600
    assert job_s["independent"] <= 150
    low, high = job_s["ci95"]["mean"]
    of_sessions = statistics.stdev(lengths) / 1000 / math.sqrt(150)
    assert (high - low) / 2 >= 2 * of_sessions
    few = _summarize(_two_jobs_a_session(3))["jobs"]["job_s"]
    assert few["ci95"]["mean"] is None
    assert few["too_few"]["mean"]["needed"] == 10


def test_nothing_depends_on_the_order_of_the_records() -> None:
    records = _two_jobs_a_session(5)
    shuffled = list(records)
    random.Random(3).shuffle(shuffled)
    assert _summarize(shuffled)["jobs"] == _summarize(records)["jobs"]


def test_objectives_speak_of_jobs() -> None:
    texts = [
        "job:p90<2s",
        "job:mean<500ms",
        "jobs_per_hour_per_user>6000",
        "jobs_per_hour>100000",
        "jobs_per_hour_per_gpu>1",
    ]
    rows = _summarize(_two_jobs_a_session(30), objectives=parse(texts))["slo"]["objectives"]
    assert [row["held"] for row in rows] == [True, False, True, False, False]
    assert [row["unit"] for row in rows] == ["s", "s", "1/h", "1/h", "1/h"]
    assert (rows[1]["value"], rows[1]["limit"]) == (pytest.approx(0.55), 0.5)
    assert rows[4]["value"] is None
