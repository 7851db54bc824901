"""The steps of a continuous-batching server, as its clients see them.

The tokens of a step come out together at its end, so clusters of token arrivals mark the ends of steps. Between two
clusters the server was surely busy if some stream has tokens in both, or before and after: then the later step began
when the earlier one ended. Only such steps count. A step's decodes are the streams that are under way; a first token
adds the prefill of its prompt, which may spread over several steps if the prompt is long. If only the sum of several
steps is sure, they form one row: the cost is linear, so this loses nothing but resolution.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.fit.decode_cost import merged, pieces_of
from bench.fit.streams import Stream

Array = npt.NDArray[np.float64]

SURELY_ONE_STEP = 512
"""Tokens that nearly every server computes in one step. If the budget is unknown, more may have taken several steps."""
LEAST_GAP_US = 100.0
"""Closer arrivals always belong to one step."""
_GAP_SHARES = (0.3, 0.45, 0.65, 0.9, 1.3, 2.0)
_AS_GOOD, _ENOUGH_CHUNKS = 0.02, 20_000


@dataclass(frozen=True, slots=True)
class Clusters:
    """Ends of steps. `of_chunk[stream][chunk]` is the cluster of each chunk with text."""

    end_us: Array
    of_chunk: tuple[tuple[int, ...], ...]
    gap_us: float


@dataclass(frozen=True, slots=True)
class Rows:
    """Observed steps: the time of each row, and the steps, prefill, decode and context tokens in that time."""

    time_us: Array
    steps: Array
    prefill: Array
    decode: Array
    context: Array
    firsts: Array
    """Prompts whose prefill ended."""
    pieces: Array
    """The decode tokens, step by step, divided over the pieces of a decode cost (decode_cost.py)."""

    def __len__(self) -> int:
        return len(self.time_us)

    def design(self, knots: Sequence[int] = (), *, by_prompt: bool = False) -> Array:
        """Columns for b0, b1, b3, b4 (all 0 unless `by_prompt`), and for each piece between the knots; without knots
        that is b2."""
        columns = (self.steps, self.prefill, self.context, self.firsts * by_prompt)
        return np.column_stack((*columns, merged(self.pieces, knots)))


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of several runs."""
    if not parts:
        empty = [*[np.zeros(0)] * 6, pieces_of(np.zeros(0))]
        return Rows(*empty)
    names = ("time_us", "steps", "prefill", "decode", "context", "firsts", "pieces")
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def step_gap_us(streams: Sequence[Stream], *, every_step: bool = True) -> float:
    """The gap below which arrivals belong to one step, for the streams of one run.

    A step's tokens come together, or one after the other as the server samples them. The candidates are gaps of up to
    twice a short one (p10) between the chunks of one stream. The result is the smallest candidate for which the next
    chunk of a stream lies in the next step about as often as for any other. If streams do not have a chunk at every
    step, it is the smallest of all.
    """
    gaps = [np.diff(stream.arrivals_us) for stream in streams]
    all_gaps = np.concatenate(gaps) if gaps else np.zeros(0)
    apart = all_gaps[all_gaps > LEAST_GAP_US]
    if not len(apart):
        return LEAST_GAP_US
    most = float(np.quantile(apart, 0.1))
    choices = [max(LEAST_GAP_US, share * most) for share in (_GAP_SHARES if every_step else _GAP_SHARES[:1])]
    some = _first_chunks(streams)
    follows = [_following(some, clusters_of(some, gap_us)) for gap_us in choices]
    return next(gap for gap, share in zip(choices, follows, strict=True) if share >= max(follows) - _AS_GOOD)


def _first_chunks(streams: Sequence[Stream]) -> list[Stream]:
    """The streams of the first chunks: enough to estimate the gap."""
    selected, chunks = [], 0
    for stream in streams:
        selected.append(stream)
        chunks += len(stream.arrivals_us)
        if chunks > _ENOUGH_CHUNKS:
            break
    return selected


def _following(streams: Sequence[Stream], clusters: Clusters) -> float:
    """The share of chunks that lie in the cluster right after the previous chunk's."""
    spans = [np.diff(places) for stream, places in zip(streams, clusters.of_chunk, strict=True) if stream.sure]
    together = np.concatenate(spans) if spans else np.zeros(0)
    return float((together == 1).mean()) if len(together) else 0.0


def clusters_of(streams: Sequence[Stream], gap_us: float) -> Clusters:
    """Arrivals in order of time, divided wherever the gap exceeds `gap_us`, or a stream would occur twice in a cluster."""
    events = sorted(
        (at_us, number, place)
        for number, stream in enumerate(streams)
        for place, at_us in enumerate(stream.arrivals_us)
    )
    ends: list[float] = []
    of_chunk: list[list[int]] = [[] for _ in streams]
    last_us, members = -np.inf, set[int]()
    for at_us, number, _ in events:
        if at_us - last_us > gap_us or number in members:
            ends.append(at_us)
            members = set()
        members.add(number)
        last_us = at_us
        of_chunk[number].append(len(ends) - 1)
    return Clusters(np.array(ends), tuple(tuple(places) for places in of_chunk), gap_us)


@dataclass(slots=True)
class StepTable:
    """The steps (each is a cluster and the time since the one before), and what is known of them."""

    begin_us: Array
    end_us: Array
    decode: Array
    context: Array
    prefill: Array
    """Prompt tokens of the first tokens that came at its end; earlier steps may have computed some of them."""
    firsts: Array
    steps: Array
    """1, or more if chunks of several tokens show that some ends are hidden."""
    sure: npt.NDArray[np.bool_]
    """Whether it began when the step before ended, and all its work is known."""


def step_table(streams: Sequence[Stream], clusters: Clusters, drafts: int = 0) -> StepTable:
    """The steps of a run. With `drafts`, each decode computes that many more tokens, and a chunk holds the accepted
    ones."""
    n = len(clusters.end_us)
    decode, context, prefill, firsts = (np.zeros(n) for _ in range(4))
    steps = np.full(n, np.inf)
    unsure = np.zeros(n, dtype=bool)
    for stream, places in zip(streams, clusters.of_chunk, strict=True):
        if not stream.sure:
            # The work may begin as soon as it is sent, and end some time after the client has gone.
            low, high = np.searchsorted(clusters.end_us, (stream.sent_us, stream.end_us))
            unsure[low : high + 2] = True
            continue
        first = places[0]
        firsts[first] += 1
        prefill[first] += stream.fresh_tokens
        if stream.tokens[0] > 1 and not drafts:
            unsure[first] = True
        chunks = zip(places, places[1:], stream.tokens[1:], itertools.accumulate(stream.tokens), strict=False)
        alone: list[tuple[int, int]] = []
        for before, at, count, generated in chunks:
            span = at - before
            if span == count == 1 and not drafts:  # Nearly all chunks.
                alone.append((at, generated))
                continue
            here = slice(before + 1, at + 1)
            if drafts:
                decode[here] += 1 + drafts
                context[here] += stream.prompt_tokens + generated + drafts
                unsure[here] |= span > 1
            elif count == span:
                decode[here] += 1
                context[here] += stream.prompt_tokens + generated + np.arange(span)
            elif span == 1:
                decode[at] += count
                context[at] += count * (stream.prompt_tokens + generated + (count - 1) / 2)
            else:
                # It paused (preempted, stalled), or hides steps that no other stream shows.
                decode[here] += 1
                unsure[here] = True
            if span == 1:
                steps[at] = min(steps[at], 1 if drafts else count)
        if alone:
            steps_alone, before_them = np.array(alone).T
            decode[steps_alone] += 1
            context[steps_alone] += stream.prompt_tokens + before_them
            steps[steps_alone] = np.minimum(steps[steps_alone], 1)
    begin = np.concatenate(([-np.inf], clusters.end_us[:-1]))
    return StepTable(
        begin, clusters.end_us, decode, context, prefill, firsts, np.where(np.isinf(steps), 1.0, steps),
        (decode > 0) & ~unsure,
    )  # fmt: skip


def rows_of(
    streams: Sequence[Stream], clusters: Clusters, table: StepTable, budget: int | None, surely: int = SURELY_ONE_STEP
) -> Rows:
    """The rows of a run: one step each, or several if a prompt may have been computed over all of them.

    `budget`: max_num_batched_tokens, if known; otherwise `surely` tokens are assumed to fit one step. A request's
    prefill begins after it was sent, so all of it lies in the steps that began since.
    """
    n = len(table.end_us)
    together = np.zeros(n, dtype=bool)  # Whether a step is joined with the one before.
    limit = surely if budget is None else budget
    work = table.prefill + table.decode
    for stream, places in zip(streams, clusters.of_chunk, strict=True):
        if not stream.sure:
            continue
        first = places[0]
        # The request was sent during one step; the step after it is the first that can have computed it.
        soonest = int(np.searchsorted(table.end_us, stream.sent_us)) + 1
        reach = first
        if work[first] > limit:
            reach = soonest if budget is None else max(soonest, first - int(work[first] // budget) - 1)
        elif first > soonest and table.prefill[first - 1] > 0 and work[first - 1] > limit / 2:
            reach = first - 1
        together[min(reach, first) + 1 : first + 1] = True
    starts = np.flatnonzero(~together)
    if not len(starts):
        return joined(())
    begin = table.begin_us[starts]
    last = np.concatenate((starts[1:] - 1, [n - 1]))
    sure = np.minimum.reduceat(table.sure.astype(float), starts) > 0
    summed = [table.steps, table.prefill, table.decode, table.context, table.firsts, pieces_of(table.decode)]
    columns = [np.add.reduceat(column, starts, axis=0)[sure] for column in summed]
    return Rows((table.end_us[last] - begin)[sure], *columns)
