"""A series: the order of its steps, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from bench.errors import BenchError, Interrupted, TargetError, UsageError
from bench.series.drive import INTERRUPTED, End, drive, in_order


def tenfold(step: int) -> int:
    return step * 10


def raises(at: int, error: BaseException) -> Callable[[int], int]:
    """Multiplies steps by ten, except one."""

    def make(step: int) -> int:
        if step == at:
            raise error
        return step * 10

    return make


def test_every_step_is_made_in_turn() -> None:
    assert drive(in_order((1, 2, 3)), tenfold) == ([10, 20, 30], End())
    assert drive(in_order(()), tenfold) == ([], End())


def test_the_next_step_is_decided_from_the_results_so_far() -> None:
    def doubled(results: Sequence[int]) -> int | End:
        return End("far enough") if results and results[-1] >= 100 else sum(results) or 1

    assert drive(doubled, tenfold) == ([10, 100], End("far enough"))


def test_a_step_is_written_before_people_are_told_and_the_end_is_written_last() -> None:
    happened: list[object] = []
    drive(
        in_order((1, 2)),
        tenfold,
        write=lambda results, end: happened.append(("written", list(results), end)),
        tell=lambda step, result: happened.append(("told", step, result)),
    )
    assert happened == [
        ("written", [], None),
        ("written", [10], None), ("told", 1, 10),
        ("written", [10, 20], None), ("told", 2, 20),
        ("written", [10, 20], End()),
    ]  # fmt: skip


@pytest.mark.parametrize("error", [Interrupted("in the run"), KeyboardInterrupt("between two")])
def test_ctrl_c_keeps_what_is_done(error: BaseException) -> None:
    ends: list[End | None] = []
    results, end = drive(in_order((1, 2, 3)), raises(2, error), write=lambda results, end: ends.append(end))
    assert (results, end.why, end.error) == ([10], INTERRUPTED, error)
    assert ends == [None, None, end]


@pytest.mark.parametrize("error", [TargetError("it is gone"), UsageError("no more files")])
def test_an_error_that_ends_a_series_keeps_what_is_done(error: BenchError) -> None:
    ends: list[End | None] = []
    results, end = drive(
        in_order((1, 2, 3)),
        raises(2, error),
        write=lambda results, end: ends.append(end),
        why_error_ends=lambda step, error: f"{step}: {error}",
    )
    assert (results, end) == ([10], End(f"2: {error}", error))
    assert ends[-1] == end


@pytest.mark.parametrize("error", [TargetError("it is gone"), UsageError("no more files"), BenchError("ours")])
def test_any_other_error_is_raised_and_the_file_stays_as_it_was(error: BenchError) -> None:
    ends: list[End | None] = []
    with pytest.raises(type(error), match=str(error)):
        drive(in_order((1, 2)), raises(2, error), write=lambda results, end: ends.append(end))
    assert ends == [None, None]


def test_a_series_that_must_be_complete_is_refused_where_ctrl_c_ended_it() -> None:
    with pytest.raises(Interrupted, match=r"^nothing was kept$"):
        End(INTERRUPTED, Interrupted("in the run")).refuse_interrupted("nothing was kept")
    with pytest.raises(KeyboardInterrupt, match=r"^while the report was made$"):
        End(INTERRUPTED, KeyboardInterrupt("while the report was made")).refuse_interrupted("nothing was kept")
    End("the server is gone", TargetError("gone")).refuse_interrupted("nothing was kept")
    End().refuse_interrupted("nothing was kept")
