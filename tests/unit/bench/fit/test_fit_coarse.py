"""Chunks of several tokens: their kind (drafts or interval), and the rows that they give."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import pytest

from bench.fit.batching import chunk_kind, coarse_rows, drafts_of
from bench.fit.streams import Stream


def reply(tokens: Sequence[int], gaps_us: Sequence[float], *, sure: bool = True, sent_us: float = 0.0) -> Stream:
    """A reply whose first chunk comes 1 ms after the send."""
    arrivals = tuple(accumulate(gaps_us, initial=sent_us + 1000.0))
    return Stream(sent_us, arrivals[-1], 100, 0, arrivals, tuple(tokens), sure)


def repeated(tokens: Sequence[int], times: Sequence[float], count: int = 1) -> list[Stream]:
    """Replies with these chunks, between a first and a last chunk of one token each."""
    return [reply((1, *tokens, 1), (*times, 10.0))] * count


def test_a_token_a_chunk_is_single_whatever_the_first_and_the_last_chunk_hold() -> None:
    assert chunk_kind([]) == "single"
    assert chunk_kind([reply((1, 1, 1), (10.0, 10.0))]) == "single"
    assert chunk_kind([reply((5, 1, 5), (10.0, 50.0))] * 3) == "single"
    assert (
        chunk_kind([reply((1, 1, 1, 1), (10.0,) * 3), reply((1, 4, 4, 4), (10.0, 40.0, 40.0), sure=False)]) == "single"
    )


@pytest.mark.parametrize(("several", "kind"), [(19, "single"), (20, "interval"), (21, "interval")])
def test_a_fifth_of_the_chunks_with_several_tokens_is_notable(several: int, kind: str) -> None:
    tokens = [1] * (100 - several) + [3] * several
    assert chunk_kind(repeated(tokens, [10.0 * n for n in tokens])) == kind


def test_the_chunks_of_all_replies_are_looked_at() -> None:
    slow, quick = repeated([4] * 5, [40.0] * 5), repeated([1] * 5, [10.0] * 5)
    assert chunk_kind([*slow, *quick]) == "interval"
    assert chunk_kind([*repeated([4] * 5, [10.0] * 5), *quick]) == "drafts"
    assert chunk_kind([*quick, *slow]) == "interval"


def test_chunks_of_one_size_are_of_several_steps() -> None:
    assert chunk_kind(repeated([4] * 10, [10.0] * 10)) == "interval"


@pytest.mark.parametrize(
    ("exponent", "kind"), [(0.0, "drafts"), (0.4, "drafts"), (0.6, "interval"), (1.0, "interval"), (1.5, "interval")]
)
def test_times_in_proportion_to_the_tokens_are_of_several_steps(exponent: float, kind: str) -> None:
    tokens = [1, 4, 4, 1, 1, 4, 1, 4]
    assert chunk_kind(repeated(tokens, [1000 * n**exponent for n in tokens])) == kind


@pytest.mark.parametrize(
    ("tokens", "times", "kind"),
    [
        # "Few" tokens are those up to the lower quartile (1), "many" those from the upper quartile (4) on. The middle
        # ones do not count.
        ([1, 1, 2, 3, 3, 4, 4], [10, 10, 90, 90, 90, 10, 10], "drafts"),
        ([1, 1, 2, 3, 3, 4, 4], [10, 10, 10, 10, 10, 40, 40], "interval"),
        # Nearly all chunks have the same number of tokens. Chunks with more are "many", and each of them is one step.
        ([2, 2, 2, 2, 2, 2, 4], [10, 10, 10, 10, 10, 10, 10], "drafts"),
        ([2, 2, 2, 2, 2, 2, 4], [10, 10, 10, 10, 10, 10, 20], "interval"),
        # One late chunk does not change the median.
        ([1, 1, 1, 4, 4, 4], [10, 10, 900, 40, 40, 40], "interval"),
        # The mean of 2, 2, 2 and 8 tokens is 3.5, the square of 1.87.
        ([1, 1, 1, 1, 2, 2, 2, 8], [10, 10, 10, 10, 18, 18, 18, 18], "drafts"),
        ([1, 1, 1, 1, 2, 2, 2, 8], [10, 10, 10, 10, 19, 19, 19, 19], "interval"),
        # A chunk that came together with the previous one took no time.
        ([1, 1, 1, 4, 4, 4], [0, 0, 0, 1.5, 1.5, 1.5], "interval"),
    ],
)
def test_few_tokens_are_compared_with_many(tokens: list[int], times: list[float], kind: str) -> None:
    assert chunk_kind(repeated(tokens, times)) == kind


@pytest.mark.parametrize(
    ("counts", "drafts", "acceptance"),
    [
        ([1, 1, 2, 3], 2, 0.5),  # The mean is 1.75 = 1 + 1/2 + 1/4.
        ([1, 2], 1, 0.5),
        ([1, 1, 1, 2], 1, 0.25),
        ([2, 2], 1, 1.0),
        ([4, 1, 1, 1, 2, 2, 2, 2], 3, 0.5),  # 15/8 = 1 + 1/2 + 1/4 + 1/8.
    ],
)
def test_drafts_are_the_most_that_came_less_one_and_their_acceptance_gives_the_mean(
    counts: list[int], drafts: int, acceptance: float
) -> None:
    others = [reply((9, 1), (10.0,)), reply((1, 8, 8, 1), (10.0,) * 3, sure=False)]
    found = drafts_of([reply((7, *counts, 7), (10.0,) * (len(counts) + 1)), *others])
    assert found == (drafts, pytest.approx(acceptance, abs=1e-6))
    assert sum(found[1] ** i for i in range(drafts + 1)) == pytest.approx(sum(counts) / len(counts), abs=1e-9)


A = Stream(0.0, 5500.0, 100, 0, (1000.0, 3000.0, 5500.0), (1, 4, 2), sure=True)
B = Stream(500.0, 4000.0, 50, 20, (2000.0, 4000.0), (1, 2), sure=True)


def columns(streams: Sequence[Stream], gap_us: float = 100.0) -> dict[str, list[Any]]:
    rows = coarse_rows(streams, gap_us)
    return {name: getattr(rows, name).tolist() for name in ("time_us", "steps", "prefill", "decode", "context")}


def test_a_row_has_what_all_streams_got_between_two_chunks_of_one() -> None:
    # A from 1000 to 3000, B from 2000 to 4000, A from 3000 to 5500. B's two tokens, 1 per 2000 us, are in the first and
    # the last row. Half of A's 4 tokens, and 2 / 2.5 of its 2 tokens, are in the second.
    assert columns([A, B]) == {
        "time_us": [2000, 2000, 2500],
        "steps": [4, 2, 2],
        "prefill": [30, 0, 0],
        "decode": [5, pytest.approx(2 + 0.8 + 2), 3],
        # Tokens times the mean context of the row: A has 1 of its tokens at 1000, 3 at 2000, 5 at 3000, 5.8 at 4000 and
        # 7 at 5500; B has 1 at 2000, 2 at 3000 and 3 at 4000.
        "context": [
            pytest.approx(4 * (100 + 3) + 1 * (50 + 1.5)),
            pytest.approx(2.8 * (100 + 4.4) + 2 * (50 + 2)),
            pytest.approx(2 * (100 + 6) + 1 * (50 + 2.5)),
        ],
    }
    pieces = coarse_rows([A, B], 100.0).pieces
    # 1.25, 2.4 and 1.5 decodes per step. The first two make the first piece.
    assert pieces[:, :3].tolist() == [[5, 0, 0], [pytest.approx(4), pytest.approx(0.8), 0], [3, 0, 0]]


@pytest.mark.parametrize(
    ("first_us", "prefill"),
    [
        (1050.0, [0, 0, 0]),
        (1050.5, [7, 0, 0]),
        (2050.0, [7, 0, 0]),
        (2050.5, [7, 7, 0]),
        (3050.0, [7, 7, 0]),
        (3050.5, [0, 7, 7]),
        (5550.0, [0, 0, 7]),
        (5550.5, [0, 0, 0]),
    ],
)
def test_a_prompt_was_computed_in_the_rows_in_which_its_first_token_came(first_us: float, prefill: list[float]) -> None:
    b = Stream(0.0, 4000.0, 50, 49, (2000.0, 4000.0), (1, 2), sure=True)
    one = Stream(900.0, first_us, 7, 0, (first_us,), (1,), sure=True)
    own = [1, 0, 0]  # B's decode, in the first row.
    assert columns([A, b, one])["prefill"] == [a + c for a, c in zip(own, prefill, strict=True)]


@pytest.mark.parametrize(
    ("sent_us", "end_us", "left"),
    [
        (0.0, 1000.0, [2000, 2000, 2500]),
        (0.0, 1000.5, [2000, 2500]),
        (0.0, 2500.0, [2500]),
        (3000.0, 3000.0, [2000, 2500]),
        (4000.0, 9000.0, [2000, 2000]),
        (5500.0, 9000.0, [2000, 2000, 2500]),
        (2500.0, 3500.0, []),
    ],
)
def test_rows_beside_unknown_work_are_left_out(sent_us: float, end_us: float, left: list[float]) -> None:
    unsure = Stream(sent_us, end_us, 7, 0, (), (), sure=False)
    assert columns([A, B, unsure])["time_us"] == left


def test_two_failed_requests_spoil_the_rows_of_both() -> None:
    failed = [Stream(at, at + 1, 7, 0, (), (), sure=False) for at in (5000.0, 1500.0)]
    assert columns([A, B, *failed])["time_us"] == [2000]


def test_replies_of_one_chunk_alone_make_no_rows() -> None:
    assert len(coarse_rows([], 100.0)) == 0
    assert len(coarse_rows([Stream(0.0, 9.0, 7, 0, (9.0,), (3,), sure=True)], 100.0)) == 0
