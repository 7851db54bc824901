"""Steps from token arrivals, and their rows, computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bench.fit.steps import Clusters, StepTable, clusters_of, joined, rows_of, step_gap_us, step_table
from bench.fit.streams import Stream

ENDS = tuple(1000.0 * (place + 1) for place in range(8))
"""Of eight steps: a step that lasts from 2000 to 3000 us has place 2."""


class Placed:
    """Streams whose chunks arrive at the ends of given steps."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.places: list[tuple[int, ...]] = []

    def add(
        self, *places: int, prompt: int = 10, cached: int = 0, sent_us: float = 0.0, tokens: Sequence[int] = (),
        end_us: float | None = None, sure: bool = True,
    ) -> Placed:  # fmt: skip
        arrivals = tuple(ENDS[place] for place in places)
        counts = tuple(tokens) or (1,) * len(places)
        end_us = arrivals[-1] if end_us is None else end_us
        self.streams.append(Stream(sent_us, end_us, prompt, cached, arrivals, counts, sure))
        self.places.append(places)
        return self

    def clusters(self) -> Clusters:
        return Clusters(np.array(ENDS), tuple(self.places), 50.0)

    def table(self, *drafts: int) -> StepTable:
        return step_table(self.streams, self.clusters(), *drafts)

    def column(self, name: str, *drafts: int) -> list[Any]:
        values: list[Any] = getattr(self.table(*drafts), name).tolist()
        return values

    def rows(self, budget: int | None = None, **limits: int) -> list[tuple[float, ...]]:
        """(time, steps, prefill, decode) of each row."""
        rows = rows_of(self.streams, self.clusters(), self.table(), budget, **limits)
        return list(zip(*(c.tolist() for c in (rows.time_us, rows.steps, rows.prefill, rows.decode)), strict=True))


def arriving(*arrivals: Sequence[float], sure: bool = True) -> list[Stream]:
    return [Stream(0.0, at[-1], 10, 0, tuple(at), (1,) * len(at), sure) for at in arrivals]


def test_arrivals_that_are_close_belong_to_one_step_which_ends_with_the_first() -> None:
    found = clusters_of(arriving((100, 300, 500), (110, 320)), 50.0)
    assert found.end_us.tolist() == [100, 300, 500]
    assert found.of_chunk == ((0, 1, 2), (0, 1))
    assert found.gap_us == 50


@pytest.mark.parametrize(("second", "places"), [(150.0, 0), (150.1, 1)])
def test_what_is_just_the_gap_apart_is_one_step(second: float, places: int) -> None:
    assert clusters_of(arriving((100,), (second,)), 50.0).of_chunk == ((0,), (places,))


def test_each_arrival_is_compared_with_the_one_before_it() -> None:
    assert clusters_of(arriving((100,), (140,), (180,), (231,)), 50.0).of_chunk == ((0,), (0,), (0,), (1,))


def test_a_stream_has_no_two_chunks_in_one_step() -> None:
    assert clusters_of(arriving((100, 120, 140), (110, 130)), 50.0).of_chunk == ((0, 1, 2), (0, 1))
    assert clusters_of([], 50.0).of_chunk == ()


def test_streams_without_two_chunks_that_are_apart_have_the_least_gap() -> None:
    assert step_gap_us([]) == 100
    assert step_gap_us(arriving((100,), (90_000,))) == 100
    assert step_gap_us(arriving((0, 100, 200))) == 100
    assert step_gap_us(arriving((0, 100.5))) == 100  # 0.3 of the gap is less.


@pytest.mark.parametrize(
    ("streams", "gap"),
    [
        # With a single stream each chunk is a step, whatever the gaps. The threshold is 0.3 of a short gap.
        (arriving((0, 10_000, 20_000, 30_000)), 3000),
        # Gaps up to 100 us do not count as short gaps.
        (arriving((0, 100, 10_100, 20_100, 20_200)), 3000),
        # Two streams, 10 ms apart, with steps of 25 ms: a threshold of 0.3 separates them, 0.45 does not.
        (arriving((0, 25_000, 50_000), (10_000, 35_000, 60_000)), 11_250),
        # 12.5 ms apart, it takes 0.65.
        (arriving((0, 25_000, 50_000), (12_500, 37_500, 62_500)), 16_250),
    ],
)
def test_the_gap_is_the_smallest_with_which_the_next_chunk_lies_in_the_next_step(
    streams: list[Stream], gap: float
) -> None:
    assert step_gap_us(streams) == pytest.approx(gap)


def _alternate(step_us: float, steps: int = 30) -> list[Stream]:
    """Two streams, the second halfway between the chunks of the first; a third, of two chunks 10 ms apart each, sets
    the short gap (p10) and lies far after them."""
    first = [step_us * place for place in range(steps)]
    second = [at + step_us / 2 for at in first]
    short = arriving(*[(1e7 + 1e6 * place, 1e7 + 1e6 * place + 10_000) for place in range(15)])
    return [*arriving(first, second), *short]


@pytest.mark.parametrize(("apart_us", "gap"), [(8500.0, 9000), (12_500.0, 13_000), (19_000.0, 20_000)])
def test_the_larger_gaps_are_tried_too(apart_us: float, gap: float) -> None:
    assert step_gap_us(_alternate(2 * apart_us)) == pytest.approx(gap)


def test_where_not_every_step_gives_each_stream_a_chunk_the_smallest_gap_is_taken() -> None:
    streams = arriving((0, 25_000, 50_000), (10_000, 35_000, 60_000))
    assert step_gap_us(streams, every_step=False) == pytest.approx(7500)
    assert step_gap_us(arriving((0, 200, 400)), every_step=False) == 100


@pytest.mark.parametrize(("late", "gap"), [(2, 3000), (3, 4500)])
def test_a_gap_is_as_good_if_a_fiftieth_of_the_chunks_is_all_that_it_loses(late: int, gap: float) -> None:
    # 101 chunks each, 10 ms apart. Some pairs of chunks are 4 ms apart, and lie in the next step but one.
    first = [10_000.0 * place for place in range(101)]
    second = [at + (4000 if place in range(50, 50 + late) else 0) for place, at in enumerate(first)]
    assert step_gap_us(arriving(first, second)) == pytest.approx(gap)


def test_the_first_20_000_chunks_choose_the_gap() -> None:
    first = arriving(*[[10_000.0 * place for place in range(10_001)]] * 2)
    second = [3e8 + 10_000 * place for place in range(500)]
    # The smallest gap divides the steps of the last two streams, which shows only if they are among the first.
    assert step_gap_us([*first, *arriving(second, [at + 4000 for at in second])]) == pytest.approx(3000)
    assert step_gap_us([first[0], *arriving(second, [at + 4000 for at in second])]) == pytest.approx(4500)


def test_replies_that_are_not_sure_do_not_choose_the_gap() -> None:
    good = arriving((0, 25_000, 50_000))
    assert step_gap_us([*good, *arriving((10_000, 35_000, 60_000), sure=False)]) == pytest.approx(11_250)
    assert step_gap_us(arriving((0, 25_000, 50_000), (10_000, 35_000, 60_000), sure=False)) == pytest.approx(7500)


def test_the_work_of_steps_is_that_of_the_streams_under_way() -> None:
    placed = Placed().add(0, 1, 2, 3, 4, cached=4).add(2, 3, 4, prompt=20, sent_us=1500.0)
    assert placed.column("begin_us") == [-np.inf, 1000, 2000, 3000, 4000, 5000, 6000, 7000]
    assert placed.column("end_us") == list(ENDS)
    assert placed.column("firsts") == [1, 0, 1, 0, 0, 0, 0, 0]
    assert placed.column("prefill") == [6, 0, 20, 0, 0, 0, 0, 0]
    assert placed.column("decode") == [0, 1, 1, 2, 2, 0, 0, 0]
    assert placed.column("context") == [0, 11, 12, 13 + 21, 14 + 22, 0, 0, 0]
    assert placed.column("steps") == [1] * 8
    assert placed.column("sure") == [False, True, True, True, True, False, False, False]


def test_two_prompts_that_end_in_one_step_are_added_up() -> None:
    placed = Placed().add(2, 3).add(2, 3, prompt=20)
    assert (placed.column("firsts")[2], placed.column("prefill")[2]) == (2, 30)


def test_as_many_tokens_as_steps_have_gone_by_are_one_each() -> None:
    placed = Placed().add(0, 3, 4, tokens=(1, 3, 1))
    assert placed.column("decode") == [0, 1, 1, 1, 1, 0, 0, 0]
    assert placed.column("context") == [0, 11, 12, 13, 14, 0, 0, 0]
    assert placed.column("sure") == [False, True, True, True, True, False, False, False]


def test_several_tokens_in_the_next_step_are_of_steps_that_were_hidden() -> None:
    placed = Placed().add(0, 1, 2, tokens=(1, 4, 2)).add(0, 1, prompt=20, tokens=(1, 2))
    # 4 tokens after contexts of 11, 12, 13 and 14, and 2 after contexts of 21 and 22.
    assert placed.column("decode")[:4] == [0, 6, 2, 0]
    assert placed.column("context")[:4] == [0, 4 * 12.5 + 2 * 21.5, 2 * 15.5, 0]
    assert placed.column("steps")[:4] == [1, 2, 2, 1]
    assert placed.column("sure")[:4] == [False, True, True, False]


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_tokens_than_steps_is_a_pause_which_is_not_sure(count: int) -> None:
    placed = Placed().add(0, 2, 3, tokens=(1, count, 1)).add(0, 1, 2, 3, 4)
    assert placed.column("decode")[:5] == [0, 2, 2, 2, 1]
    assert placed.column("context")[3] == 10 + 1 + count + 13
    assert placed.column("sure")[:6] == [False, False, False, True, True, False]
    assert placed.column("steps")[:5] == [1] * 5


def test_a_first_chunk_of_several_tokens_hides_steps() -> None:
    placed = Placed().add(0, 1, 2, 3).add(1, 2, 3, prompt=20, tokens=(2, 1, 1))
    assert placed.column("sure")[:5] == [False, False, True, True, False]
    assert placed.column("context")[:5] == [0, 11, 12 + 22, 13 + 23, 0]


def test_with_drafts_each_decode_computes_them_too_and_a_step_gives_what_was_accepted() -> None:
    placed = Placed().add(0, 1, 2, tokens=(2, 3, 1)).add(1, 3, 4, prompt=20)
    assert placed.column("decode", 2)[:6] == [0, 3, 6, 3, 3, 0]
    assert placed.column("context", 2)[:6] == [0, 10 + 2 + 2, 10 + 5 + 2 + 23, 23, 24, 0]
    assert placed.column("steps", 2) == [1] * 8
    # A stream without a token in a step paused there.
    assert placed.column("sure", 2)[:6] == [False, True, False, False, True, False]


def test_a_step_with_drafts_is_sure_if_no_stream_paused_whatever_its_first_chunk_holds() -> None:
    placed = Placed().add(0, 1, 3, 4).add(1, 2, tokens=(3, 1)).add(2, 3, 4)
    # The first stream paused in steps 2 and 3, the others did not.
    assert placed.column("sure", 2)[:6] == [False, True, False, False, True, False]
    assert placed.column("sure")[1] is False


@pytest.mark.parametrize(
    ("sent_us", "end_us", "unsure"),
    [(2500.0, 3500.0, {2, 3, 4}), (2000.0, 3000.0, {1, 2, 3}), (2500.0, 2600.0, {2, 3}), (5500.0, 99_000.0, {5, 6, 7})],
)
def test_steps_beside_unknown_work_are_not_sure_nor_the_one_after(
    sent_us: float, end_us: float, unsure: set[int]
) -> None:
    placed = Placed().add(*range(8)).add(sent_us=sent_us, end_us=end_us, sure=False)
    assert {place for place in range(1, 8) if not placed.column("sure")[place]} == unsure
    assert placed.column("firsts")[0] == 1


def test_work_after_a_failed_request_is_counted() -> None:
    placed = Placed().add(sent_us=500.0, end_us=600.0, sure=False).add(2, 3, 4)
    assert placed.column("decode") == [0, 0, 0, 1, 1, 0, 0, 0]
    assert placed.rows() == [(1000, 1, 0, 1)] * 2


ONE = (1000.0, 1.0, 0.0, 1.0)


def test_a_sure_step_is_a_row() -> None:
    assert Placed().add(*range(8)).rows() == [ONE] * 7
    assert Placed().add(*range(8)).add(3, sent_us=1500.0, prompt=100).rows()[2] == (1000, 1, 100, 1)


def test_no_steps_make_no_rows() -> None:
    empty = Clusters(np.array([]), (), 50.0)
    assert len(rows_of([], empty, step_table([], empty), None)) == 0


def of_long(
    prompt: int, budget: int | None, *, sent_us: float = 2500.0, first: int = 5, **limits: int
) -> list[tuple[float, ...]]:
    """The first token of a long prompt comes at the end of a step, next to a permanently active stream."""
    return Placed().add(*range(8)).add(first, prompt=prompt, sent_us=sent_us).rows(budget, **limits)


def test_a_prompt_longer_than_what_surely_is_one_step_lies_in_all_since_it_was_sent() -> None:
    # The prompt was sent in step 2, so step 3 is the first that can have computed it. Step 5 also has a decode.
    assert of_long(511, None)[2:5] == [ONE, ONE, (1000, 1, 511, 1)]
    assert of_long(512, None) == [ONE, ONE, (3000, 3, 512, 3), ONE, ONE]
    assert of_long(512, None, sent_us=4500.0)[4] == (1000, 1, 512, 1)
    assert of_long(64, None, surely=64) == [ONE, ONE, (3000, 3, 64, 3), ONE, ONE]


@pytest.mark.parametrize(
    ("budget", "joined_steps"),
    [(601, 1), (600, 3), (400, 3), (300, 4), (100, 5), (50, 5)],
)
def test_with_a_budget_it_lies_in_as_many_steps_as_it_fills_and_one_more(budget: int, joined_steps: int) -> None:
    # 601 tokens in step 5, sent in step 0.
    rows = of_long(600, budget, sent_us=500.0)
    assert (1000.0 * joined_steps, joined_steps, 600, joined_steps) in rows
    assert len(rows) == 7 - (joined_steps - 1)


@pytest.mark.parametrize(
    ("before", "sent_us", "is_joined"),
    [
        (256, 500.0, True),  # 257 tokens with its decode, more than half of what certainly is one step.
        (255, 500.0, False),
        (256, 4500.0, False),  # The prompt was sent after the previous step had begun.
        (256, 3500.0, True),
    ],
)
def test_a_prompt_right_behind_one_that_half_filled_a_step_may_lie_in_both(
    before: int, sent_us: float, is_joined: bool
) -> None:
    placed = Placed().add(*range(8)).add(4, prompt=before, sent_us=500.0).add(5, prompt=30, sent_us=sent_us)
    both, alone = (2000.0, 2.0, before + 30.0, 2.0), (1000.0, 1.0, 30.0, 1.0)
    assert (both in placed.rows(), alone in placed.rows()) == (is_joined, not is_joined)


def test_many_decodes_in_front_of_a_prompt_do_not_join_it() -> None:
    placed = Placed()
    for _ in range(300):
        placed.add(*range(8))
    placed.add(5, prompt=30, sent_us=500.0)
    assert placed.rows()[4] == (1000, 1, 30, 300)


def test_a_row_of_several_steps_needs_all_of_them_to_be_sure() -> None:
    placed = Placed().add(*range(8)).add(5, prompt=600, sent_us=2500.0)
    placed.add(sent_us=3100.0, end_us=3200.0, sure=False)  # Steps 3 and 4.
    assert placed.rows() == [ONE, ONE, ONE, ONE]


def test_a_prompt_whose_token_came_before_it_could_be_computed_joins_nothing() -> None:
    placed = Placed().add(*range(8)).add(5, prompt=600, sent_us=6000.5)
    assert placed.rows()[4] == (1000, 1, 600, 1)


def test_rows_of_several_runs_follow_each_other_and_make_the_columns_of_a_fit() -> None:
    placed = Placed().add(*range(8)).add(*range(8)).add(*range(8))
    one = rows_of(placed.streams, placed.clusters(), placed.table(), None)
    single = Placed().add(*range(8))
    both = joined([one, rows_of(single.streams, single.clusters(), single.table(), None)])
    assert len(both) == 14
    assert both.decode.tolist() == [3] * 7 + [1] * 7
    # b0, b1, b3, b4, then b2 as one piece, or as two with a knot at 2.
    assert both.design()[[0, 7]].tolist() == [[1, 0, 33, 0, 3], [1, 0, 11, 0, 1]]
    assert both.design((2,))[[0, 7]].tolist() == [[1, 0, 33, 0, 2, 1], [1, 0, 11, 0, 1, 0]]
    assert joined([]).design().shape == (0, 5)
