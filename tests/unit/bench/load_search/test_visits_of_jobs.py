"""A search for sessions: what a visit reports about jobs, how long it lasts for them, and the name of the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from bench.config import resolve
from bench.errors import UsageError
from bench.load_search.answer import known_text, load_text
from bench.load_search.conclusion import Conclusion, Kind
from bench.load_search.decisions import Known, Search, Settings
from bench.load_search.goals import Goal
from bench.load_search.run_visits import visit_config
from bench.load_search.visit_result import Load, judged_after_s, result_of, sought
from bench.load_search.visit_table import broke
from bench.load_search.visits import Result, Visit, times
from bench.loads import KINDS
from bench.metrics import objectives
from bench.records import Outcome, RequestRecord
from tests.support.changed import replace
from tests.support.made_jobs import made_step, two_agents
from tests.support.made_records import START_NS

VISIT = Visit(n=2, phase="visit", load=8.0, settle_s=1.0, measure_s=60.0)


def result(records: Sequence[RequestRecord], *texts: str) -> Result:
    wanted = sought(objectives.parse(texts))
    search = Search(Settings("sessions", tuple(one.goal for one in wanted), judged_after_s=judged_after_s(wanted)))
    return result_of(search, wanted, VISIT, Load(records, START_NS, "VALID", "02-visit-8"), 70.0)


def jobs(*seconds: float, every_s: float = 1.0) -> list[RequestRecord]:
    """Jobs of one step that are due one after the other."""
    return [
        made_step(k, 1000 * every_s * k, 1000 * (every_s * k + s), turn=0, session=k) for k, s in enumerate(seconds)
    ]


def test_jobs_and_not_requests_are_held_against_a_limit_on_jobs() -> None:
    records = [record for k in range(10) for record in two_agents(4 * k, 1500.0 * k, session=k)]
    found = result(records, "job:p90<900ms", "e2el:p90<10s")
    assert (found.judged("job:p90<900ms"), found.violations["job:p90<900ms"], found.share("job:p90<900ms")) == (
        10,
        10,
        1.0,
    )
    assert (found.judged("e2el:p90<10s"), found.violations["e2el:p90<10s"]) == (40, 0)
    assert broke(found, Goal("job:p90<900ms", 0.1)) == ("100% of 10", True)
    assert broke(found, Goal("e2el:p90<10s", 0.1)) == ("0%", False)
    assert (found.e2el_p90_s, found.e2el_first_s) == (1.0, None)


def test_a_job_that_failed_breaks_its_objective_and_one_of_the_warm_up_or_cancelled_does_not() -> None:
    failed = [*two_agents()[:3], replace(two_agents()[3], outcome=Outcome.RESET)]
    warm = [replace(record, phase="warmup") for record in two_agents(10, session=1)[:2]] + two_agents(10, session=1)[2:]
    left = [replace(record, outcome=Outcome.CANCELLED) for record in two_agents(20, session=2)]
    found = result([*failed, *warm, *left, *two_agents(30, session=3)], "job:p50<5s")
    assert (found.judged("job:p50<5s"), found.violations["job:p50<5s"]) == (2, 1)


def test_how_long_a_job_takes_is_told_by_those_that_were_completed_or_cut_off() -> None:
    whole = jobs(*[8.0] * 10)
    failed = [replace(record, outcome=Outcome.RESET) for record in jobs(*[0.1] * 30)]
    both = [*whole, *(replace(record, session=f"other {i}", index=100 + i) for i, record in enumerate(failed))]
    assert result(both, "job:p90<20s").e2el_p90_s == pytest.approx(8.0)
    cut = [replace(record, outcome=Outcome.INTERRUPTED) for record in jobs(*[30.0] * 10)]
    both = [*whole, *(replace(record, session=f"other {i}", index=100 + i) for i, record in enumerate(cut))]
    assert result(both, "job:p90<20s").e2el_p90_s == pytest.approx(30.0, rel=1e-3)


def test_jobs_are_judged_that_were_begun_so_long_before_the_end_that_their_fate_is_known() -> None:
    # Jobs due in the last 20 of the visit's 60 s are not judged. The job due at 40 s, and all before it, are.
    records = jobs(*[5.0] * 41, *[1.0] * 19)
    found = result(records, "job:p90<20s")
    assert found.judged("job:p90<20s") == 41
    # Jobs that the visit cut off were over the limit by then. They break it, and are not left out.
    cut = [replace(record, outcome=Outcome.INTERRUPTED) for record in records[30:]]
    assert result([*records[:30], *cut], "job:p90<20s").violations["job:p90<20s"] == 11


def test_jobs_an_hour_of_a_user_are_a_mean_of_job_seconds() -> None:
    slow, fast = jobs(*[12.0] * 40), jobs(*[8.0] * 40)
    text = "jobs_per_hour_per_user>360"
    assert result(slow, text).means[text].log_ratio > 0 > result(fast, text).means[text].log_ratio
    assert result(slow, text).violations == {}
    # A mean waits for twice its limit: every judged job has ended, or counts as twice the limit.
    assert judged_after_s(sought(objectives.parse(["job:p90<15s", text, "e2el:p90<90s"]))) == 20.0
    assert judged_after_s(sought(objectives.parse(["e2el:p90<90s"]))) == 0.0
    failed = [replace(record, outcome=Outcome.RESET) for record in fast]
    assert result(failed, text).means[text].log_ratio == pytest.approx(0.6931, abs=1e-3)
    assert result(jobs(*[8.0] * 19), text).means == {}
    with pytest.raises(UsageError, match="every load keeps it, so none is the highest; give a limit above 0"):
        sought(objectives.parse(["jobs_per_hour_per_user>0"]))


def test_objectives_on_jobs_of_every_form_stand_beside_those_on_requests() -> None:
    mean, job, whole = "jobs_per_hour_per_user>360", "job:p90<15s", "e2el:p90<1s"
    found = result(jobs(*[12.0] * 40), "job:mean<9s", mean, job, "job:p50<10s", whole)
    assert set(found.means) == {"job:mean<9s", mean}
    assert result(jobs(*[12.0] * 20), job).act.keys() == {job}
    assert result(jobs(*[12.0] * 19), job).act == {}
    found = result(jobs(*[12.0] * 40), mean, job, "job:p50<10s", whole)
    assert (set(found.means), set(found.jobs)) == ({mean}, {mean, job, "job:p50<10s"})
    # Jobs of the last 20 of 60 s are not judged. The mean's limit is 10 s, and it waits for twice as long.
    assert (found.judged(mean), found.judged(job), found.judged(whole)) == (40, 40, 40)
    assert found.violations == {job: 0, "job:p50<10s": 40, whole: 40}


def test_a_visit_lasts_long_enough_to_judge_jobs() -> None:
    assert times("visit", None, 60.0, 900.0) == (120.0, 150.0)
    assert times("visit", None, 60.0, 900.0, 300.0) == (120.0, 900.0)
    assert times("scout", None, 60.0, 900.0, 300.0)[1] == 600.0


def test_a_visit_of_sessions_is_a_run_in_that_mode() -> None:
    load = KINDS["sessions"].flags(1)
    base = resolve({"url": "http://127.0.0.1:8000", "slo": ["job:p90<2s"], "turns": "3", **load})
    config = visit_config(base, VISIT, "sessions")
    assert (config.mode, config.concurrency, config.duration, config.turns) == ("sessions", 8, 60.0, "3")
    assert config.ramp_up == 0.5


def test_the_answer_speaks_of_sessions() -> None:
    assert (load_text(1.0, "sessions"), load_text(12.9, "sessions")) == ("1 session", "12 sessions")
    search = Search(Settings("sessions", ()))
    known = Known(24.0, 22.4, 26.1, 30.0, "job:p90<60s", None, None)
    assert known_text(search, Conclusion(Kind.UP_TO, known)) == "between 22 and 26 sessions"


def test_jobs_of_one_session_that_are_alike_say_less_than_as_many_that_are_not() -> None:
    # Twenty agents at once, one job per second each. Either all jobs of two agents are slow, or every tenth job of any
    # agent.
    def dependence(slow: Callable[[int, int], bool]) -> tuple[float, float]:
        records = [
            made_step(20 * at + k, 1000.0 * at + 10 * k, 1000.0 * at + 10 * k + (900 if slow(k, at) else 300),
                      turn=at, job=at, job_step=0, session=k)
            for at in range(30) for k in range(20)
        ]  # fmt: skip
        found = result(records, "job:p90<500ms", "job:mean<500ms")
        return found.act["job:p90<500ms"], found.means["job:mean<500ms"].error

    (alike, its_error), (mixed, error) = (
        dependence(slow) for slow in (lambda k, at: k in (3, 11), lambda k, at: (7 * at + k) % 10 == 0)
    )
    assert alike > 10
    assert mixed < 5
    assert its_error > 2 * error
