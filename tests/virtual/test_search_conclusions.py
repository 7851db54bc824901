"""Conclusions of searches in virtual time, from wrong starts and with troubled servers. The seeds are fixed."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.load_search.conclusion import Kind, conclude
from tests.support import search_cells as cells
from tests.support.search_shapes import SHAPES, searched

QUARTER_OF_AN_HOUR = [cell for cell in cells.CELLS if cell.budget_s == 900]
FIVE_MINUTES = [cell for cell in cells.CELLS if cell.budget_s == 300]
NO_CAPACITY = {str(Kind.NO_LOAD_HELD), str(Kind.CHANGED), str(Kind.BELOW)}


@pytest.mark.parametrize("cell", QUARTER_OF_AN_HOUR, ids=lambda cell: cell.name)
def test_from_any_start_within_a_factor_of_eight_the_interval_holds_the_truth(cell: cells.Cell) -> None:
    seen = cells.try_cell(cell, 3)
    assert seen.answers >= 2
    assert seen.held >= seen.answers - 1
    assert seen.too_much == 0


@pytest.mark.parametrize("cell", FIVE_MINUTES, ids=lambda cell: cell.name)
def test_in_five_minutes_nothing_is_claimed_that_is_not_so(cell: cells.Cell) -> None:
    seen = cells.try_cell(cell, 3)
    assert seen.held >= seen.answers - 1
    assert seen.too_much == 0


@pytest.mark.parametrize("name", [name for name in cells.TROUBLES if "never" not in name and "0.5%" not in name])
def test_a_server_without_a_capacity_is_given_none(name: str) -> None:
    found = cells.try_trouble(name, 2)
    assert {*found} <= NO_CAPACITY, found


def test_a_server_that_never_breaks_holds_at_least_the_highest_load() -> None:
    assert cells.try_trouble("never breaks, --max 4", 2) == Counter({str(Kind.AT_LEAST): 2})


def test_failures_that_are_allowed_hide_no_capacity() -> None:
    assert cells.try_trouble("0.5% of the requests fail", 2) == Counter({str(Kind.UP_TO): 2})


@pytest.mark.parametrize("name", cells.HARD_EDGES)
def test_a_server_with_a_hard_edge_did_not_change_and_is_given_its_edge(name: str) -> None:
    for found in cells.conclusions(name, 2):
        assert found.known is not None, found
        assert found.known.estimate == pytest.approx(cells.HARD_EDGE, rel=0.06)
        assert found.known.held is None or found.known.held[0] <= cells.HARD_EDGE
        assert found.known.failed is None or found.known.failed[0] > cells.HARD_EDGE


def test_a_restart_in_the_middle_leaves_no_capacity_and_none_leaves_it() -> None:
    seeds = (1, 3)
    restarted = [conclude(searched(SHAPES["restarts after 400 s, for 30 s"], seed, 60.0)).kind for seed in seeds]
    assert restarted == [Kind.CHANGED] * 2
    for found in (conclude(searched(SHAPES["an edge at 20/s"], seed, 60.0)) for seed in seeds):
        assert found.known is not None
        assert found.known.low <= 20 <= found.known.high
