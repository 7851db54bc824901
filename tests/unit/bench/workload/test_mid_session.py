"""Sessions that begin in the middle: in proportion to their length, uniformly in time, and continued as planned."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import MutableSequence
from typing import Any

import pytest

from bench.rng import Random, stream
from bench.workload.mid_session import (
    ANSWER_NS_PER_TOKEN,
    ANSWER_TOKENS,
    Beginning,
    beginning_at,
    instants,
    planned_times,
    rest_ns,
    without_doubles,
)
from promptset.sessions import Session, Turn

S = 1_000_000_000
GRAPH = Session(
    id="s",
    turns=(
        Turn(content="plan", think_time_s=1.0, output_tokens=10),
        Turn(content="a", after=(0,), continues=None, output_tokens=10),
        Turn(content="b", after=(0,), continues=None, output_tokens=100),
        Turn(content="join", after=(1, 2), continues=0, think_time_s=3.0),
        Turn(content="background", after=(), continues=None, think_time_s=9.0, output_tokens=10),
    ),
)


def test_the_plan_of_a_graph_waits_for_the_last_of_its_parents() -> None:
    starts, ends = planned_times(GRAPH)
    assert [start / S for start in starts] == [1.0, 1.2, 1.2, 1.2 + 2.0 + 3.0, 9.0]
    assert [round(end / S, 6) for end in ends] == [1.2, 1.4, 3.2, 6.2 + ANSWER_TOKENS * ANSWER_NS_PER_TOKEN / S, 9.2]


def test_what_had_begun_was_before_and_what_was_under_way_ends_later() -> None:
    at = round(1.5 * S)
    assert beginning_at(GRAPH, at) == Beginning(-at, {0: round(-0.3 * S), 1: round(-0.1 * S), 2: round(1.7 * S)})
    assert beginning_at(GRAPH, 0) == Beginning(0, {})
    assert beginning_at(GRAPH, round(9.1 * S)) is None
    assert rest_ns(GRAPH, round(9.1 * S)) == round(0.1 * S)


def test_sessions_are_found_in_proportion_to_how_long_they_last() -> None:
    lasts = [1 * S, 2 * S, 7 * S]
    found = [one for seed in range(2_000) for one in instants(lasts, 1, stream(seed, "x"))]
    shares = Counter(number for number, _ in found)
    assert [shares[number] / 2_000 for number in range(3)] == pytest.approx([0.1, 0.2, 0.7], abs=0.03)
    in_longest = sorted(at / (7 * S) for number, at in found if number == 2)
    assert in_longest[len(in_longest) // 2] == pytest.approx(0.5, abs=0.05)
    assert all(0 <= at < lasts[number] for number, at in found)


def test_users_are_spread_evenly_over_all_sessions() -> None:
    found = sorted(instants([3 * S] * 8, 4, stream(1, "x")))
    line = [number * 3 * S + at for number, at in found]
    assert [b - a for a, b in itertools.pairwise(line)] == [6 * S] * 3


def test_two_users_are_in_one_session_only_where_there_are_too_few() -> None:
    lasts = [10 * S, 1 * S, 2 * S, 3 * S]
    assert without_doubles([(0, 1 * S), (0, 5 * S), (0, 9 * S)], lasts) == [
        (0, S),
        (3, round(1.5 * S)),
        (2, round(1.8 * S)),
    ]
    assert without_doubles([(0, 1), (0, 5)], [10]) == [(0, 1), (0, 5)]


class Latest(Random):
    """A generator that draws the largest number below 1, and does not shuffle."""

    def random(self) -> float:
        return 1 - 2**-53

    def shuffle(self, x: MutableSequence[Any]) -> None:
        """Unchanged."""


def test_an_instant_that_rounding_puts_at_the_end_of_the_line_is_in_the_last_session() -> None:
    # 2 + (1 - 2^-53) is 3 as a double: three thirds of the line.
    assert instants([5, 5], 3, Latest()) == [(0, 3), (1, 1), (1, 4)]


def test_of_sessions_that_nobody_is_in_the_longest_comes_first_and_of_equal_ones_the_last() -> None:
    lasts = [10, 4, 8, 8]
    assert without_doubles([(0, 5), (0, 5), (0, 5), (0, 5), (0, 5)], lasts) == [(0, 5), (3, 4), (2, 4), (1, 2), (0, 5)]
    assert without_doubles([(1, 3), (0, 5), (1, 1)], lasts) == [(1, 3), (0, 5), (3, 2)]
