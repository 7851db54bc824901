"""Texts that are broken, loop, or differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.answers.traits import first_difference, loops, readable


@pytest.mark.parametrize(
    ("one", "other", "at"),
    [("same", "same", None), ("", "a", 0), ("abc", "abd", 2), ("abc", "abcd", 3), ("", "", None)],
)
def test_the_first_difference_is_the_first_character_that_differs(one: str, other: str, at: int | None) -> None:
    assert first_difference(one, other) == first_difference(other, one) == at


@given(st.text(max_size=20), st.text(max_size=5), st.text(max_size=5))
def test_what_comes_before_the_first_difference_is_the_same(same: str, one: str, other: str) -> None:
    at = first_difference(same + one, same + other)
    if at is None:
        assert one == other
    else:
        assert (same + one)[:at] == (same + other)[:at]
        assert (same + one)[at : at + 1] != (same + other)[at : at + 1]


@pytest.mark.parametrize(
    ("text", "good"), [("plain", True), ("naïve 日本 🙂", True), ("a\ufffdb", False), ("\ud83d", False), ("", True)]
)
def test_a_text_is_readable_without_signs_of_broken_bytes(text: str, good: bool) -> None:
    assert readable(text) is good


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        ("!" * 60, True),
        ("!" * 59, False),
        ("So the answer is 4. " * 6, True),
        ("So the answer is 4. " * 2, False),
        ("A beginning. " + "and so on " * 12 + "  \n", True),
        ("and so on " * 12 + "The end, said once.", False),
        ("x" * 200 + "y" * 59, False),
        (("abcdefghij" * 19 + "k") * 6, True),
        (("abcdefghij" * 20 + "k") * 6, False),
        ("", False),
    ],
)
def test_a_loop_repeats_a_piece_at_the_end(text: str, loop: bool) -> None:
    assert loops(text) is loop


def test_ordinary_text_has_no_loop() -> None:
    assert not loops(" ".join(str(number) for number in range(500)))
    assert not loops("| a | b |\n|---|---|\n" + "".join(f"| {n} | {n * n} |\n" for n in range(50)))
