"""The values of a visit in the answer of a search."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bench.load_search.decisions import Ending
from bench.load_search.goals import Goal
from bench.load_search.visit_numbers import VisitNumbers, of_summary
from bench.results.summary import ObjectiveResult, RunSummary
from bench.statistics.capacity import Mean
from tests.support.made_visits import MEAN, P99, TPOT, in_turn, made_search, made_visit
from tests.support.results import filled
from tests.unit.bench.load_search.test_answer import BRACKET, told
from tests.unit.bench.load_search.test_conclusion import CALM


def test_failed_requests_are_named_where_they_are_what_broke_the_objective_that_binds() -> None:
    broke = {r.n: r.violations[P99.text] for r in BRACKET.visits if (r.share(P99.text) or 0) > 0.01}
    total = sum(broke.values())

    def second(numbers: dict[int, VisitNumbers]) -> str:
        return told(BRACKET, Ending.PRECISION, numbers=numbers).lines[1]

    assert second({n: VisitNumbers(failed=failed) for n, failed in broke.items()}) == (
        f"{total} of the {total} requests that broke it failed: read their errors"
    )
    # Failures are not the reason if their visits held, or if they are too few.
    held = {r.n: VisitNumbers(failed=r.requests) for r in BRACKET.visits if r.n not in broke}
    few = {n: VisitNumbers(failed=failed // 2) for n, failed in broke.items()}
    assert second(held) == second(few) == "held: 35/s (99% sure)"


def test_a_load_below_which_nothing_was_measured_names_failed_requests() -> None:
    search = made_search(made_visit(1, 10.0, 0.3), made_visit(2, 8.0, 0.3))
    plain, failing = (
        told(search, numbers={n: VisitNumbers(failed=failed) for n in range(1, 3)}).headline for failed in (0, 10_000)
    )
    assert "failed" not in plain
    (broke,) = re.findall(r"break ttft:p99<500ms \(([\d,]+) of the ([\d,]+) requests that broke it failed\)", failing)
    assert broke[0] == broke[1]


def test_what_is_shown_of_the_highest_load_that_held_is_of_a_visit_there() -> None:
    headline = told(made_search(*in_turn(*CALM[:5], ("visit", 16.0, 0.0), ("visit", 32.0, 0.002)))).headline
    assert headline.endswith("the highest load that was measured, and nothing broke; 0.20% broke ttft:p99<500ms there.")


def row(value: float | None, *, held: bool, stat: str | None = "p99") -> ObjectiveResult:
    return filled(ObjectiveResult, metric="ttft", stat=stat, unit="ms", value=value, held=held)


def test_the_objective_that_a_visit_broke_is_shown_with_its_value() -> None:
    search = made_search(*in_turn(("scout", 50.0, 0.9), ("visit", 35.0, 0.5)), goals=(TPOT, P99))

    def broken(**rows: ObjectiveResult) -> str:
        by_text = {goal.text: rows[name] for name, goal in (("tpot", TPOT), ("ttft", P99)) if name in rows}
        return told(search, numbers={2: VisitNumbers(objectives=by_text)}).headline.partition(" and there ")[2]

    assert broken(ttft=row(640.0, held=False), tpot=row(20.0, held=True)) == "ttft:p99 is 640 ms."
    assert broken(ttft=row(None, held=False)) == "50% of the requests break ttft:p99<500ms."
    assert broken(ttft=row(640.0, held=False, stat=None)) == "ttft is 640 ms."
    assert broken(tpot=row(20.0, held=True)) == "50% of the requests break ttft:p99<500ms."


def test_what_a_visit_broke_is_read_from_its_counts_where_its_summary_is_gone() -> None:
    def broken(*visits: Any, goal: Goal = P99) -> str:
        return told(made_search(*visits, goals=(goal,))).headline.partition("there ")[2]

    jobs = made_visit(1, 8.0, 0.5, jobs={P99.text: 4_000})
    assert broken(jobs, made_visit(2, 9.0, verdict="INVALID")) == "50% of the jobs break ttft:p99<500ms."
    assert broken(made_visit(1, 8.0, means={MEAN.text: Mean(8.0, 0.2, 0.03)}), goal=MEAN) == (
        "ttft:mean<200ms is 22% beyond its limit."
    )
    # An objective exactly at its limit did not break.
    both = made_visit(1, 8.0, violations={P99.text: 2_000, TPOT.text: 400}, means={MEAN.text: Mean(8.0, 0.0, 0.03)})
    assert told(made_search(both, goals=(MEAN, TPOT, P99))).headline.endswith(
        "50% of the requests break ttft:p99<500ms."
    )
    piled: dict[str, Any] = {"kept_up": False, "requests": 0}
    assert broken(made_visit(1, 8.0, **piled), made_visit(2, 8.0, phase="again", **piled)) == (
        "requests pile up: the server does not keep up."
    )


def test_what_a_visit_kept_is_shown_for_each_objective() -> None:
    goals = (P99, MEAN, TPOT)
    means = {MEAN.text: Mean(32.0, -0.2, 0.03)}
    counts = {P99.text: 8, TPOT.text: 0}
    visits = [made_visit(n, 32.0, means=means, violations=counts) for n in (2, 3)]
    search = made_search(made_visit(1, 32.0, phase="scout", violations={}), *visits, goals=goals, most=32.0)
    begin = r"At least 32/s \(\d\d% sure\): --max ends the search there, and the server may hold more; "
    assert re.fullmatch(
        f"{begin}0.20% broke ttft:p99<500ms, ttft:mean<200ms is 18% within its limit, 0% broke tpot:p90<50ms there.",
        told(search).headline,
    )
    numbers = {2: VisitNumbers(objectives={P99.text: row(412.0, held=True)})}
    assert re.fullmatch(f"{begin}ttft:p99 is 412 ms there.", told(search, numbers=numbers).headline)


JOBS = Goal("job:p90<60s", 0.1)


@pytest.mark.parametrize(
    ("goal", "visit", "why"),
    [
        (P99, {"requests": 0}, "none of the requests could be judged"),
        (TPOT, {"about": {TPOT.text: 0}}, "none of the requests could be judged"),
        (MEAN, {}, "under 20 values in each visit: use a quantile, or a longer --budget"),
        (JOBS, {"jobs": {JOBS.text: 0}}, "none of the jobs could be judged"),
    ],
)
def test_visits_without_a_value_of_an_objective_do_not_show_that_it_holds(
    goal: Goal, visit: dict[str, Any], why: str
) -> None:
    visits = [made_visit(n, 32.0, **{"violations": {}} | visit) for n in (7, 8, 9)]
    answer = told(made_search(*in_turn(*CALM), *visits, goals=(goal,), most=32.0), Ending.BUDGET)
    assert answer.headline.startswith("No answer yet.")
    assert (answer.exit, f"{goal.text} is not shown: {why}" in answer.lines) == (1, True)
    # They may still show that another objective is broken.
    broken = [made_visit(n, 0.1, 0.5, about={TPOT.text: 0}) for n in (7, 8, 9)]
    assert told(made_search(*broken, goals=(TPOT, P99))).headline.startswith("No load held: at 0.1/s")


def test_visits_that_held_and_were_not_steady_are_named() -> None:
    held = [result.n for result, kept in BRACKET.judged if kept]
    broke = [result.n for result, kept in BRACKET.judged if not kept]
    said = f"the server became slower or faster within visits that held ({held[0]}, {held[1]})"
    for unsteady, many in (([*held[:2], *broke], 1), ([*held[:1], *broke], 0), ([], 0)):
        numbers = {n: VisitNumbers(unsteady=True) for n in unsteady}
        lines = told(BRACKET, Ending.PRECISION, numbers=numbers).lines
        assert [line.partition(":")[0] for line in lines].count(said) == many


@pytest.mark.parametrize(
    ("tests", "unsteady"),
    [
        (None, False),
        ({"ttft_ms": None, "tpot_ms": {"change": 0.3, "p": 0.2, "drifted": False}}, False),
        ({"ttft_ms": None, "tpot_ms": {"change": 0.3, "p": 0.001, "drifted": True}}, True),
    ],
)
def test_a_visit_was_not_steady_if_one_of_its_series_changed(tests: dict[str, Any] | None, unsteady: bool) -> None:
    assert of_summary(filled(RunSummary, window={"stationarity": tests})).unsteady is unsteady
