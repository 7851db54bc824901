"""The answer of a search if the server changed meanwhile."""

from __future__ import annotations

import pytest

from bench.errors import Exit
from bench.load_search.answer import known_text
from bench.load_search.conclusion import conclude
from bench.load_search.decisions import Search
from bench.load_search.goals import Goal
from bench.load_search.visit_numbers import VisitNumbers
from bench.results.summary import ObjectiveResult
from bench.statistics.capacity import Mean
from tests.support.made_visits import ERRORS, MEAN, P99, in_turn, made_search, made_visit
from tests.support.results import filled
from tests.unit.bench.load_search.test_answer import changing, required, told
from tests.unit.bench.load_search.test_conclusion import CHANGES


@pytest.mark.parametrize(
    ("goal", "back", "how"),
    [
        (P99, False, "slower"),
        (P99, True, "faster"),
        (ERRORS, False, "worse"),
        (ERRORS, True, "better"),
        (Goal("goodput>=99%", 0.01), False, "worse"),
    ],
)
def test_a_server_that_changed(goal: Goal, back: bool, how: str) -> None:
    search = changing(goal, back=back)
    found = told(search)
    first, last = ("8%", "0%") if back else ("0%", "8%")
    at = "32/s and 30/s" if back else "30/s and 32/s"
    assert found.headline == (
        f"No capacity is named: at {at}, {goal.text}: {first} broken in visit 1, {last} broken in visit 8. "
        f"The server got {how} while it was measured, or differs from visit to visit."
    )
    assert found.exit is Exit.OBJECTIVE_FAILED
    # An objective that did not change is not named.
    steady = Goal("tpot:p50<50ms", 0.5)
    assert told(made_search(*search.results, goals=(steady, goal))).headline == found.headline
    assert required(search, 20.0) == ("20/s; whether it is held is not shown", Exit.OBJECTIVE_FAILED)
    assert known_text(search, conclude(search), 20.0) == f"the server got {how} while it was measured"


def test_a_server_that_changed_is_shown_by_its_values_where_there_are_summaries() -> None:
    search = made_search(*(made_visit(n, 30.0, share) for n, (_, share) in enumerate(CHANGES[1:], 1)))
    row = {"metric": "ttft", "stat": "p99", "unit": "ms", "held": True}
    numbers = {
        n: VisitNumbers(objectives={P99.text: filled(ObjectiveResult, row, value=60.0 * n)}) for n in range(1, 8)
    }
    assert told(search, numbers=numbers).headline.startswith(
        "No capacity is named: at 30/s, ttft:p99<500ms: 60 ms in visit 1, 420 ms in visit 7. "
    )
    numbers[1] = VisitNumbers(objectives={P99.text: filled(ObjectiveResult, row)})
    assert "ttft:p99<500ms: 0% broken in visit 1, 420 ms in visit 7. " in told(search, numbers=numbers).headline


def test_a_mean_that_changed_is_shown_by_how_far_it_is_from_its_limit() -> None:
    visits = [made_visit(n, 30.0, means={MEAN.text: Mean(30.0, 0.1 * n - 0.4, 0.03)}) for n in range(1, 9)]
    headline = told(made_search(*visits, goals=(MEAN,))).headline
    assert headline.startswith(
        "No capacity is named: at 30/s, ttft:mean<200ms: 26% within its limit in visit 1, 49% beyond its limit in visit 8. "
    )


def test_a_server_that_changed_where_no_load_was_tried_twice() -> None:
    rows = [(60.0, 0.0), (50.0, 0.002), (40.0, 0.01), (33.0, 0.05), (27.0, 0.2), (22.0, 0.29)]
    search = made_search(*in_turn(*(("visit", load, share) for load, share in rows)))
    assert told(search).headline == (
        "No capacity is named: later visits broke ttft:p99<500ms at lower loads than earlier ones. "
        "The server got slower while it was measured, or differs from visit to visit."
    )


def restarted(*more: tuple[str, float, float]) -> Search:
    rows = [
        ("scout", 16.0, 0.0),
        ("scout", 32.0, 0.9),
        ("visit", 19.0, 0.0),
        ("visit", 24.0, 0.5),
        ("visit", 19.0, 0.3),
    ]
    return made_search(*in_turn(*rows, *more))


def test_a_capacity_is_not_named_if_visits_to_one_load_contradict_each_other() -> None:
    search = restarted(("visit", 19.0, 0.0), ("visit", 18.0, 0.0))
    found = told(search)
    assert found.headline == (
        "No capacity is named: at 19/s, ttft:p99<500ms: 0% broken in visit 3, 30% broken in visit 5. "
        "The server differs from visit to visit."
    )
    assert found.exit is Exit.OBJECTIVE_FAILED
    assert known_text(search, conclude(search), 20.0) == "the server differs from visit to visit"


def test_a_capacity_is_not_named_if_means_contradict_each_other() -> None:
    """A restart in visit 4, after which the mean is as before: drift does not explain this."""
    rows = [(19.0, -0.3), (24.0, 0.4), (19.0, -0.28), (19.0, 0.8), (19.0, -0.31), (18.0, -0.35)]
    visits = [
        made_visit(n, load, goal=MEAN, means={MEAN.text: Mean(load, value, 0.05)})
        for n, (load, value) in enumerate(rows, 1)
    ]
    found = told(made_search(*visits, goals=(MEAN,)))
    assert found.headline == (
        "No capacity is named: at 19/s, ttft:mean<200ms: 123% beyond its limit in visit 4, 27% within its limit in visit 5. "
        "The server differs from visit to visit."
    )


def test_visits_that_contradict_each_other_at_loads_far_apart_are_told_without_a_pair() -> None:
    rows = [
        ("scout", 8.0, 0.0),
        ("visit", 20.0, 0.0),
        ("visit", 10.0, 0.06),
        ("visit", 26.0, 0.9),
        ("visit", 20.0, 0.0),
    ]
    assert told(made_search(*in_turn(*rows))).headline == (
        "No capacity is named: visits broke ttft:p99<500ms at lower loads than others that kept it. "
        "The server differs from visit to visit."
    )
