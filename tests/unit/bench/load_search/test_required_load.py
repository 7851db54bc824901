"""What a search reports about the load of --require."""

from __future__ import annotations

import re

import pytest

from bench.errors import Exit
from bench.load_search.answer import percent
from bench.load_search.conclusion import conclude
from tests.support.made_visits import in_turn, made_search, made_visit
from tests.unit.bench.load_search.test_answer import BRACKET, required
from tests.unit.bench.load_search.test_conclusion import CALM, SCOUTS


@pytest.mark.parametrize(
    ("load", "line", "status"),
    [
        (30.0, r"30/s is held \(99% sure\)", Exit.GOOD),
        (35.0, r"35/s is held \(99% sure\)", Exit.GOOD),
        (37.0, r"37/s is not shown to be held: 94% sure, and 95% is asked for", Exit.OBJECTIVE_FAILED),
        (38.5, r"38.5/s is not shown to be held: 4\d% sure, and 95% is asked for", Exit.OBJECTIVE_FAILED),
        (36.0, r"36/s is not shown to be held: 94% sure, and 95% is asked for", Exit.OBJECTIVE_FAILED),
        (41.0, r"41/s is not held \(99% sure\)", Exit.OBJECTIVE_FAILED),
    ],
)
def test_a_load_that_is_required_of_a_bracket(load: float, line: str, status: Exit) -> None:
    found = required(BRACKET, load)
    assert re.fullmatch(line, found[0]), found
    assert found[1] is status


def test_a_load_that_is_required_above_what_was_tried_is_not_shown_to_break() -> None:
    search = made_search(*in_turn(*CALM[:3], ("visit", 8.0, 0.0), ("visit", 10.0, 0.0)))
    assert conclude(search).at_least == 10.0
    assert search.sure_of(5_000.0) < 0.05
    for load in ("11", "5,000"):
        line, status = required(search, float(load.replace(",", "")))
        assert line == f"{load}/s is not shown to be held: no visit at or above it held"
        assert status is Exit.OBJECTIVE_FAILED


def test_a_load_that_is_required_just_above_what_surely_held() -> None:
    sure = [made_visit(n, load, share) for n, (load, share) in enumerate([(30.0, 0.0), (31.0, 0.0), (60.0, 0.9)], 1)]
    search = made_search(*in_turn(*CALM), *sure, *[made_visit(n, 30.0) for n in range(4, 8)])
    load = next(tenth / 10 for tenth in range(311, 400) if search.sure_of(tenth / 10) >= 0.95)
    line, status = required(search, load)
    assert line == f"{load:g}/s is not shown to be held: no visit at or above it held"
    assert status is Exit.OBJECTIVE_FAILED


def test_a_visit_above_the_load_that_is_required_must_be_sure() -> None:
    search = made_search(*in_turn(*CALM[:5], ("scout", 32.0, 0.0), ("visit", 64.0, 0.0), ("visit", 120.0, 0.0)))
    between = next(load for load in range(119, 64, -1) if search.sure_of(load) >= 0.95)
    assert required(search, float(between)) == (
        f"{between}/s is not shown to be held: {percent(search.sure_of(120.0))} sure, and 95% is asked for",
        Exit.OBJECTIVE_FAILED,
    )
    not_shown = f"{percent(search.sure_of(120.0))} sure, and 95% is asked for"
    assert required(search, 120.0)[0] == f"120/s is not shown to be held: {not_shown}"
    far = made_search(*BRACKET.results, made_visit(12, 20_000.0, requests=1))
    assert required(far, 38.0)[0] == "38/s is not shown to be held: 1% sure, and 95% is asked for"
    # Of two uncertain visits, the one at the lower load is more certain.
    alone = [made_visit(8, 150.0, requests=1), made_visit(9, 250.0, requests=1)]
    search = made_search(*in_turn(*CALM[:5], ("scout", 32.0, 0.0), ("visit", 64.0, 0.0)), *alone)
    surer, highest = (search.sure_of(visit.load) for visit in alone)
    assert 0.95 > surer > highest + 0.05
    assert required(search, 120.0)[0] == f"120/s is not shown to be held: {percent(surer)} sure, and 95% is asked for"


def test_a_load_that_is_required_below_the_lowest_that_broke_is_not_shown() -> None:
    search = made_search(*in_turn(("scout", 50.0, 0.9), ("visit", 35.0, 0.5)))
    assert required(search, 20.0)[0] == "20/s; whether it is held is not shown"
    assert required(search, 40.0)[0] == "40/s is not held: 35/s broke"
    nothing = made_search(*in_turn(*SCOUTS))
    assert required(nothing, 4.0) == ("4/s; whether it is held is not shown", Exit.OBJECTIVE_FAILED)
    alone = made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.0)))
    assert required(alone, 4.0) == ("4/s; whether it is held is not shown", Exit.OBJECTIVE_FAILED)
