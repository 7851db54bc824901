"""Uncaught exceptions of a running load: the first one cuts it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bench.load.supervision import Defects

FIRST, SECOND = ValueError("the first"), ValueError("the second")


def defects_after(happens: Callable[[asyncio.AbstractEventLoop], None]) -> tuple[Defects, int]:
    """The defects of a loop in which this happens, and how often the load was cut."""
    cuts = 0

    def cut() -> None:
        nonlocal cuts
        cuts += 1

    async def main() -> Defects:
        defects = Defects()
        defects.on_first = cut
        happens(asyncio.get_running_loop())
        return defects

    return asyncio.run(main()), cuts


def test_the_first_defect_cuts_the_load_and_later_ones_change_nothing() -> None:
    def happens(loop: asyncio.AbstractEventLoop) -> None:
        for error in (FIRST, SECOND):
            loop.call_exception_handler({"message": "Exception in callback", "exception": error})

    defects, cuts = defects_after(happens)
    assert cuts == 1
    assert defects.notes() == ("the load was cut: the first",)
    with pytest.raises(ValueError, match="the first") as raised:
        defects.raise_first()
    assert raised.value is FIRST


@pytest.mark.parametrize("exception", [{}, {"exception": None}, {"exception": KeyboardInterrupt()}])
def test_a_defect_without_an_exception_is_its_message(exception: dict[str, object]) -> None:
    defects, cuts = defects_after(lambda loop: loop.call_exception_handler({"message": "a task hung", **exception}))
    assert (cuts, defects.notes()) == (1, ("the load was cut: a task hung",))
    with pytest.raises(RuntimeError, match="a task hung"):
        defects.raise_first()


def test_without_a_defect_nothing_is_cut_or_noted() -> None:
    defects, cuts = defects_after(lambda loop: None)
    assert (cuts, defects.notes()) == (0, ())
    defects.raise_first()
