"""Lists of loads."""

from __future__ import annotations

import re

import pytest

from bench.loads import parse


@pytest.mark.parametrize(
    ("text", "loads"),
    [
        ("5,10,20", (5, 10, 20)),
        ("20, 5", (20, 5)),
        ("0.5,.25", (0.5, 0.25)),
        ("1..256x2", (1, 2, 4, 8, 16, 32, 64, 128, 256)),
        ("1..200x2", (1, 2, 4, 8, 16, 32, 64, 128, 200)),
        ("1,10..40x2,100", (1, 10, 20, 40, 100)),
        ("0.5..4x2", (0.5, 1, 2, 4)),
    ],
)
def test_lists_and_ladders_are_read(text: str, loads: tuple[float, ...]) -> None:
    assert parse(text) == loads


def test_a_ladder_of_users_has_whole_rungs_each_once() -> None:
    assert parse("1..10x1.5", whole=True) == (1, 2, 3, 5, 8, 10)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not a load: write numbers (5,10,20), or a ladder with its factor (1..256x2)"),
        ("5,,6", "'' is not a load"),
        ("1..8", "'1..8' is not a load: write numbers (5,10,20), or a ladder with its factor (1..256x2)"),
        ("-3", "'-3' is not a load"),
        ("0", "0 is not a load: give more than 0 and at most 1,000,000"),
        ("2000000", "2e+06 is not a load: give more than 0 and at most 1,000,000"),
        ("8..2x2", "'8..2x2' does not rise: a ladder is written 1..256x2, from the least load, by a factor over 1"),
        ("1..8x1", "'1..8x1' does not rise"),
        ("1.5", "1.5 users do not exist: give whole numbers, or a rate"),
    ],
)
def test_what_is_no_load_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse(text, whole=True)


def test_a_slip_of_the_pen_makes_no_million_loads() -> None:
    with pytest.raises(ValueError, match="has more than 1,000 loads: give a greater factor"):
        parse("1..1000000x1.000001")


def test_a_list_may_have_a_thousand_loads() -> None:
    text = ",".join(map(str, range(1, 1_001)))
    assert parse(text) == tuple(range(1, 1_001))
    with pytest.raises(ValueError, match="these are 1,001 loads: give at most 1,000"):
        parse(f"{text},5")
