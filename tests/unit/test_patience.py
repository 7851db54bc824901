"""Of what `in_a_calm_moment` tries, one try has to pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.patience import TRIES, in_a_calm_moment


def tries_until(passes: int) -> int:
    """How often something is tried that passes for the first time at that try."""
    tried: list[int] = []

    @in_a_calm_moment
    def moment(name: str) -> None:
        tried.append(len(name))
        assert len(tried) >= passes

    moment("abc")
    assert set(tried) == {3}
    return len(tried)


@pytest.mark.parametrize("passes", [1, 2, TRIES])
def test_the_first_try_that_passes_is_the_last(passes: int) -> None:
    assert tries_until(passes) == passes


def test_what_never_passes_fails() -> None:
    with pytest.raises(AssertionError):
        tries_until(TRIES + 1)


def not_there() -> None:
    raise IndexError("nothing came yet")


def not_raised() -> None:
    with pytest.raises(OSError, match="refused"):
        pass


@pytest.mark.parametrize("wrong", [not_there, not_raised])
def test_what_goes_wrong_in_another_way_is_tried_again_too(wrong: Callable[[], None]) -> None:
    tried = []

    @in_a_calm_moment
    def moment() -> None:
        tried.append(1)
        if len(tried) < 3:
            wrong()

    moment()
    assert len(tried) == 3


def test_what_is_skipped_is_not_tried_again() -> None:
    tried = []

    @in_a_calm_moment
    def moment() -> None:
        tried.append(1)
        pytest.skip("not here")

    with pytest.raises(pytest.skip.Exception):
        moment()
    assert tried == [1]
