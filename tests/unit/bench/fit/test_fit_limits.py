"""The limits of a server from tables of steps with known work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from bench.fit.coefficients import NAMES, Coefficient, StepFit
from bench.fit.decode_cost import DecodeCost
from bench.fit.limits import Seen, batched_tokens, sequences_and_blocks
from bench.fit.steps import Clusters, StepTable
from bench.fit.streams import Stream
from bench.results.profile import FittedLimit

Run = tuple[Sequence[Stream], Clusters, StepTable]


@dataclass(frozen=True)
class Step:
    """The work of a step; it lasts a millisecond by default."""

    decode: int = 1
    context: int = 0
    prefill: int = 0
    firsts: int = 0
    sure: bool = True
    lasts_us: float = 1000.0
    steps: int = 1


def seen(steps: Sequence[Step], waiting: Sequence[tuple[float, int]] = ()) -> Run:
    """These steps, and waiting requests: the send time (us) of each, and the step that brought its first token. Its
    prompt is the prefill of that step."""
    ends = np.cumsum([step.lasts_us for step in steps])
    columns = {
        name: np.array([float(getattr(step, name)) for step in steps])
        for name in ("decode", "context", "prefill", "firsts", "steps")
    }
    table = StepTable(
        begin_us=ends - [step.lasts_us for step in steps],
        end_us=ends,
        sure=np.array([step.sure for step in steps], dtype=bool),
        **columns,
    )
    streams = [
        Stream(sent, ends[first], steps[first].prefill, 0, (ends[first],), (1,), sure=True) for sent, first in waiting
    ]
    failed = Stream(0.0, ends[-1], 10, 0, (), (), sure=False)
    places = (*((first,) for _, first in waiting), ())
    return [*streams, failed], Clusters(ends, places, 10.0), table


def limits(*runs: Run, a0_us: float = 0.0, blocks: int | None = None) -> tuple[FittedLimit, FittedLimit]:
    found: Seen = runs
    return sequences_and_blocks(found, a0_us, blocks)


def batches(sizes: Sequence[int], tokens: Sequence[int] | None = None) -> list[Step]:
    """A first step without waiting requests, then a step for each of these batches and the tokens in it."""
    tokens = [100] * len(sizes) if tokens is None else tokens
    return [Step(), *(Step(decode=size, context=held) for size, held in zip(sizes, tokens, strict=True))]


def test_requests_that_wait_beside_a_batch_that_does_not_grow_show_its_size() -> None:
    seqs, kv = limits(seen(batches([8] * 30), [(500.0, 30)]))
    assert seqs == FittedLimit(None, 8, "unknown")  # Requests wait in 29 steps.
    seqs, kv = limits(seen([*batches([8] * 30), Step(firsts=1, decode=7)], [(500.0, 31)]))
    assert seqs == FittedLimit(8, 8, "waiting")
    assert kv == FittedLimit(None, 7, "unknown")


def test_a_request_waits_from_the_first_step_that_begins_after_its_a0() -> None:
    run = seen([*batches([8] * 30), Step(firsts=1)], [(500.0, 31)])
    assert limits(run, a0_us=500.0)[0].source == "waiting"
    assert limits(run, a0_us=501.0)[0].source == "unknown"


def test_steps_in_which_nothing_waits_or_that_brought_a_first_token_do_not_count() -> None:
    quiet = [Step(decode=3)] * 40
    assert limits(seen([*batches([8] * 30), Step(firsts=1), *quiet], [(500.0, 31)]))[0] == FittedLimit(8, 8, "waiting")
    for other in (Step(decode=8, firsts=1), Step(decode=8, sure=False)):
        assert limits(seen([*batches([8] * 29), other, Step(firsts=1)], [(500.0, 31)]))[0].source == "unknown"
    assert limits(seen(batches([8] * 60)))[0] == FittedLimit(None, 8, "unknown")


def test_first_tokens_are_of_the_batch_and_steps_that_are_not_sure_are_not() -> None:
    steps = [*batches([8] * 30), Step(firsts=1), Step(decode=7, firsts=2), Step(decode=90, context=9999, sure=False)]
    assert limits(seen(steps, [(500.0, 31)]))[0] == FittedLimit(9, 9, "waiting")
    assert limits(seen(steps))[1].at_least == 7


def test_waiting_of_all_runs_is_taken_together() -> None:
    one = seen([*batches([8] * 15), Step(firsts=1)], [(500.0, 16)])
    assert limits(one, one)[0] == FittedLimit(8, 8, "waiting")
    assert limits(one, seen(batches([2] * 3)), one)[0] == FittedLimit(8, 8, "waiting")
    assert limits(one)[0] == FittedLimit(None, 8, "unknown")
    assert limits() == (FittedLimit(None, 0, "unknown"), FittedLimit(None, 0, "unknown"))


@pytest.mark.parametrize(("full", "source"), [(27, "waiting"), (26, "unknown")])
def test_nine_of_ten_batches_are_full_or_lack_one(full: int, source: str) -> None:
    sizes = [8, *[7] * (full - 1), *[6] * (30 - full)]
    assert limits(seen([*batches(sizes), Step(firsts=1)], [(500.0, 31)]))[0].source == source


def of_tokens(sizes: Sequence[int], tokens: Sequence[int], most: int = 51, **given: int) -> FittedLimit:
    steps = [*batches(sizes, tokens), Step(firsts=1), Step(context=most - 51, prefill=51)]
    return limits(seen(steps, [(500.0, len(sizes) + 1)]), **given)[1]


def test_requests_that_wait_beside_a_sum_of_tokens_that_does_not_grow_show_the_blocks() -> None:
    # 1601 tokens need 101 blocks of 16.
    assert of_tokens([4, 8] * 15, [1601] * 30) == FittedLimit(101, 101, "waiting")
    assert of_tokens([4, 8] * 15, [1600] * 30) == FittedLimit(100, 100, "waiting")
    assert of_tokens([4, 8] * 15, [1601] * 30, blocks=555) == FittedLimit(555, 101, "server")
    assert of_tokens([4, 8] * 14, [1601] * 28) == FittedLimit(None, 101, "unknown")
    assert of_tokens([8, 8] * 15, [1601] * 30) == FittedLimit(None, 101, "unknown")
    # A step without waiting requests held 1701 tokens, 107 blocks, so the cache is at least that large.
    assert of_tokens([4, 8] * 15, [1601] * 30, most=1701) == FittedLimit(107, 107, "waiting")


@pytest.mark.parametrize(("most", "blocks"), [(1090, 69), (1100, None), (1300, None)])
def test_the_sum_hardly_grows_if_its_most_is_not_a_tenth_more_than_its_middle(most: int, blocks: int | None) -> None:
    assert of_tokens([4, 8] * 15, [1000] * 27 + [most] * 3).value == blocks


@pytest.mark.parametrize(("few", "many", "value"), [(19, 21, None), (18, 22, 63), (10, 11, None)])
def test_the_batch_grows_if_it_varies_by_more_than_a_twentieth(few: int, many: int, value: int | None) -> None:
    # The standard deviation of 19 and 21 is 1, a twentieth of 20. A few batches were much larger.
    steps = [*batches([few, many] * 15, [1000] * 30), Step(firsts=1), Step(decode=40)]
    assert limits(seen(steps, [(500.0, 31)]))[1].value == value


B0, B1, B2, B3, B4 = 1000.0, 10.0, 50.0, 2.0, 30.0


def fit_of(b1: float = B1, scale_us: float = 10.0) -> StepFit:
    values = {name: Coefficient(v, v, v, told=True) for name, v in zip(NAMES, (B0, b1, B2, B3, B4), strict=True)}
    return StepFit(values, 100, 100, scale_us, 0.0, (), DecodeCost((), (B2,)))


def step(extra_us: float = 0.0, *, decode: int = 12, context: int = 300, prefill: int = 0, **of: int) -> Step:
    """A step that takes this much longer than its work."""
    steps = of.get("steps", 1)
    firsts = of.get("firsts", 0)
    lasts = B0 * steps + B1 * prefill + B2 * decode + B3 * context + B4 * firsts + extra_us
    return Step(decode, context, prefill, firsts, bool(of.get("sure", 1)), lasts, steps)


def budget(steps: Sequence[Step], *, fit: StepFit | None = None, least: int = 100) -> FittedLimit:
    """The budget from these steps. A long prompt waits from the first step on; the last step but one brings its first
    token."""
    steps = [step(), *steps, step(prefill=3, firsts=1), step()]
    return batched_tokens([seen(steps, [(500.0, len(steps) - 2)])], fit or fit_of(), least)


def full(tokens: float, count: int = 8, **of: int) -> list[Step]:
    """Steps of this many tokens: 12 decodes, and a part of a prompt."""
    return [step(B1 * (tokens - 12), **of)] * count


def test_steps_that_a_part_of_a_prompt_filled_show_the_budget() -> None:
    assert budget(full(512)) == FittedLimit(512, 512, "steps")
    assert budget(full(512, 7)) == FittedLimit(None, 12, "unknown")
    assert budget(full(512, 8, steps=2)) == FittedLimit(512, 512, "steps")


@pytest.mark.parametrize(
    ("tokens", "value"),
    [(500, 512), (535, 512), (540, 540), (700, 700), (1000, 1024), (970, 970), (990, 1024), (2000, 2048), (4000, 4096),
     (8100, 8192), (16_000, 16_384), (300.4, 300)],
)  # fmt: skip
def test_a_usual_budget_is_taken_if_it_is_near(tokens: float, value: int) -> None:
    assert budget(full(tokens)).value == value


def test_the_middle_of_steps_of_nearly_the_same_size_is_the_budget() -> None:
    assert budget([*full(700, 5), *full(300, 2), *full(1200, 1)]).value == 700
    assert budget([*full(700, 6), *full(300, 2), *full(1200, 2)]).value is None  # 6 of 10.
    assert budget([*full(700, 5), *full(734, 2), *full(666, 2), *full(1200, 1), *full(300, 1)]).value == 700
    assert budget([*full(700, 4), *full(735, 2), *full(665, 2)]).value is None


def test_only_steps_that_are_sure_without_a_first_token_beside_a_prompt_that_waits_can_be_full() -> None:
    assert budget([*full(512, 7), *full(512, 1, sure=0)]).value is None
    assert budget([*full(512, 7), *full(512, 1, firsts=1)]).value is None
    steps = [step(), *full(512, 7), step(firsts=1), *full(512, 1)]
    assert batched_tokens([seen(steps, [(500.0, 8)])], fit_of()).value is None
    # The prompt was sent in step 1, so step 2 is the first that can have computed a part of it.
    steps = [step(), *full(512, 8), step(firsts=1)]
    assert batched_tokens([seen(steps, [(500.0, 9)])], fit_of()).value == 512
    assert batched_tokens([seen(steps, [(2300.0, 9)])], fit_of()).value is None


@pytest.mark.parametrize(
    ("tokens", "least", "scale_us", "value"),
    [(112, 100, 10.0, None), (113, 100, 10.0, 113), (40, 16, 10.0, 40), (28, 16, 10.0, None), (40, 16, 50.0, None)],
)
def test_a_budget_is_looked_for_above_the_least_and_what_is_surely_no_noise(
    tokens: int, least: int, scale_us: float, value: int | None
) -> None:
    assert budget(full(tokens), fit=fit_of(scale_us=scale_us), least=least).value == value


def test_where_a_prompt_costs_nothing_no_step_is_full() -> None:
    assert budget(full(512), fit=fit_of(b1=0.0)) == FittedLimit(None, 12, "unknown")


@pytest.mark.parametrize(("extra_us", "at_least"), [(0, 212), (59, 212), (-59, 212), (60, 12), (-60, 12)])
def test_whole_prompts_in_a_step_whose_time_agrees_with_its_work_are_a_bound(extra_us: float, at_least: int) -> None:
    long = step(extra_us, prefill=200, firsts=1)
    free = replace(step(extra_us, firsts=1), prefill=200)  # The time if prompt tokens cost nothing.
    for b1, brings in ((B1, long), (0.0, free)):
        run = seen([step(), brings, step()], [(500.0, 1)])
        assert batched_tokens([run], fit_of(b1)) == FittedLimit(None, at_least, "unknown")


@pytest.mark.parametrize(
    ("sent_us", "first", "under_way", "at_least"),
    [(500.0, 1, 1, 212), (500.0, 2, 1, 12), (2300.0, 2, 1, 212), (500.0, 1, 0, 12)],
)
def test_a_prompt_is_whole_in_a_step_if_it_was_sent_during_the_step_before(
    sent_us: float, first: int, under_way: int, at_least: int
) -> None:
    steps = [step(sure=under_way), *[step()] * 3]
    steps[first] = step(prefill=200, firsts=1)
    assert batched_tokens([seen(steps, [(sent_us, first)])], fit_of()).at_least == at_least


def test_where_no_step_agrees_nothing_bounds_the_budget() -> None:
    assert batched_tokens([seen([step(900.0)] * 5)], fit_of()) == FittedLimit(None, 0, "unknown")


def test_all_runs_are_taken_together() -> None:
    long = seen([step(), *full(512, 4), step(prefill=90, firsts=1)], [(500.0, 5)])
    short = seen([step(), *full(512, 4), step(prefill=3, firsts=1)], [(500.0, 5)])
    assert batched_tokens([long, short], fit_of()) == FittedLimit(512, 512, "steps")
    assert batched_tokens([long, seen([step()])], fit_of()) == FittedLimit(None, 12, "unknown")
    assert batched_tokens([], fit_of()) == FittedLimit(None, 0, "unknown")
