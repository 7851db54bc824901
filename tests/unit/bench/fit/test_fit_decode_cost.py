"""The cost of decodes in straight pieces."""

from __future__ import annotations

import numpy as np
import pytest

from bench.fit.decode_cost import EDGES, DecodeCost, knots_for, merged, pieces_of


def test_edges_are_powers_of_two_and_what_lies_halfway() -> None:
    assert EDGES[:12] == (0, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
    assert EDGES[-2:] == (8192, 12_288)
    assert len(EDGES) == 27


def test_tokens_fill_the_pieces_from_the_first_on() -> None:
    pieces = pieces_of(np.array([0.0, 1.5, 3.0, 5.0, 13_000.0]))
    assert pieces.shape == (5, 27)
    assert pieces[:, :5].tolist() == [
        [0, 0, 0, 0, 0],
        [1.5, 0, 0, 0, 0],
        [2, 1, 0, 0, 0],
        [2, 1, 1, 1, 0],
        [2, 1, 1, 2, 2],
    ]
    assert pieces.sum(axis=1).tolist() == [0, 1.5, 3, 5, 13_000]
    assert pieces[4, -1] == 13_000 - 12_288


@pytest.mark.parametrize(("knots", "expected"), [((), [20]), ((2,), [2, 18]), ((3, 8), [3, 5, 12])])
def test_pieces_between_knots_are_added_up(knots: tuple[int, ...], expected: list[float]) -> None:
    assert merged(pieces_of(np.array([20.0])), knots).tolist() == [expected]


@pytest.mark.parametrize(
    ("counts", "knots"),
    [
        ({1: 60, 5: 60}, (2,)),
        ({2: 60, 5: 60}, (2,)),  # A batch on an edge belongs to the lower piece.
        ({1: 59, 5: 60}, ()),
        ({1: 60, 5: 59}, ()),
        ({0: 60, 5: 60}, (2,)),
        ({1: 30, 3: 30, 5: 60}, (3,)),
        ({1: 60, 3: 60, 5: 60, 90: 60}, (2, 3, 6)),
        ({1: 60, 3: 30, 5: 30, 90: 60}, (2, 6)),
        ({}, ()),
    ],
    ids=str,
)
def test_a_piece_of_its_own_needs_60_rows_and_leaves_60(counts: dict[int, int], knots: tuple[int, ...]) -> None:
    rows = [float(tokens) for tokens, n in counts.items() for _ in range(n)]
    assert knots_for(np.array(rows[::-1])) == knots


def test_a_cost_is_the_sum_of_its_slopes_and_the_last_goes_on() -> None:
    cost = DecodeCost((2, 8), (10.0, 3.0, 0.5))
    assert cost.us(np.array([0.0, 1.0, 5.0, 8.0, 100.0])).tolist() == [0, 10, 29, 38, 84]
    assert DecodeCost((), (7.0,)).us(np.array([0.0, 30.0])).tolist() == [0, 210]
