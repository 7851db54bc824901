"""The steps of a continuous-batching server, as its clients see them.

The tokens of a step come out together at its end, so token arrivals in clusters are the ends of steps. Between two clusters
the server was surely busy if some stream has tokens in both, or before and after: then the later step began when the earlier
one ended. Only such steps count. A step's decodes are the streams that are under way; a first token brings the prefill of
its prompt, which a long prompt spreads over several steps. Steps of which only the sum is sure make one row together: the
cost is linear, so nothing is lost but resolution.
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
"""Tokens that nearly every server computes in one step: where its budget is not known, more may have taken several."""
LEAST_GAP_US = 100.0
"""Arrivals that are closer always belong to one step."""
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
    """What was seen of steps: for each row the time, and in that time steps, prefill, decode and context tokens."""

    time_us: Array
    steps: Array
    prefill: Array
    decode: Array
    context: Array
    firsts: Array
    """Prompts that ended."""
    pieces: Array
    """Of the decode tokens, step by step: those in each piece of a decode cost (decode_cost.py)."""

    def __len__(self) -> int:
        return len(self.time_us)

    def design(self, knots: Sequence[int] = (), *, by_prompt: bool = False) -> Array:
        """Columns of b0, b1, b3, b4 (all 0 unless `by_prompt`), and of each piece between the knots: without knots b2."""
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
    """Arrivals that are closer belong to one step. For the streams of one run.

    The tokens of a step come together, or one after the other as the server samples them. So of several gaps, up to twice a
    short one (p10) between the chunks of one stream, the smallest is taken with which, about as often as with any, the next
    chunk of a stream lies in the next step. Where streams do not have a chunk at every step, the smallest of all is taken.
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
    """The streams with which the first chunks came: enough to see how steps look."""
    found, chunks = [], 0
    for stream in streams:
        found.append(stream)
        chunks += len(stream.arrivals_us)
        if chunks > _ENOUGH_CHUNKS:
            break
    return found


def _following(streams: Sequence[Stream], clusters: Clusters) -> float:
    """The share of chunks that lie in the cluster right after that of the one before."""
    spans = [np.diff(places) for stream, places in zip(streams, clusters.of_chunk, strict=True) if stream.sure]
    together = np.concatenate(spans) if spans else np.zeros(0)
    return float((together == 1).mean()) if len(together) else 0.0


def clusters_of(streams: Sequence[Stream], gap_us: float) -> Clusters:
    """Arrivals in the order of time, divided where `gap_us` lies between two, or where a stream would come twice."""
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
    """Each step (a cluster and the time since the one before): what is known of it."""

    begin_us: Array
    end_us: Array
    decode: Array
    context: Array
    prefill: Array
    """Of the first tokens that came at its end; perhaps computed in earlier steps too."""
    firsts: Array
    steps: Array
    """1, or more where chunks of several tokens show that some ends were hidden."""
    sure: npt.NDArray[np.bool_]
    """Whether it began when the one before ended, and all its work is known."""


def step_table(streams: Sequence[Stream], clusters: Clusters, drafts: int = 0) -> StepTable:
    """The steps of a run. With `drafts` each decode computes so many tokens more, and a chunk holds those accepted."""
    n = len(clusters.end_us)
    decode, context, prefill, firsts = (np.zeros(n) for _ in range(4))
    steps = np.full(n, np.inf)
    unsure = np.zeros(n, dtype=bool)
    for stream, places in zip(streams, clusters.of_chunk, strict=True):
        if not stream.sure:
            # Its work may begin when it is sent and end some time after the client has gone.
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
            if span == count == 1 and not drafts:  # Nearly all.
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
                # It paused (preempted, stalled), or hid steps that no other stream shows.
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
    """The rows of a run: a step each, or several where a prompt may have been computed in all of them.

    `budget`: max_num_batched_tokens, where it is known; else so many tokens are `surely` computed in one step. A request's
    prefill begins after it was sent, so all of it lies in the steps that began since.
    """
    n = len(table.end_us)
    together = np.zeros(n, dtype=bool)  # With the step before.
    limit = surely if budget is None else budget
    work = table.prefill + table.decode
    for stream, places in zip(streams, clusters.of_chunk, strict=True):
        if not stream.sure:
            continue
        first = places[0]
        # The step that was under way when it was sent; the one after that is the first that can have computed it.
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
