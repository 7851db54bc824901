"""A continuous-batching server, fitted: from streams of some runs to coefficients, front end and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.fit.coarse import ChunkKind, chunk_kind, coarse_rows, drafts_of
from bench.fit.coefficients import StepFit, fit_steps
from bench.fit.front_end import FrontEnd, fit_front_end
from bench.fit.limits import Limit, Limits, batched_tokens, sequences_and_blocks
from bench.fit.steps import SURELY_ONE_STEP, clusters_of, joined, rows_of, step_gap_us, step_table
from bench.fit.streams import Stream
from bench.rng import Random

_MANY = 0.05
"""Of the steps; so many do not lie far off by chance."""
_LEAST_BUDGET = 16


@dataclass(frozen=True, slots=True)
class Given:
    """What the user says, which the fit then does not look for."""

    step_gap_us: float | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    kv_blocks: int | None = None


@dataclass(frozen=True, slots=True)
class BatchingFit:
    """What was found. `tokens_a_chunk`, `drafts` and `acceptance` only where chunks hold several tokens."""

    steps: StepFit
    front_end: FrontEnd
    limits: Limits
    chunks: ChunkKind
    drafts: int = 0
    acceptance: float | None = None
    stream_interval: int = 1


def fit_batching(
    runs: Sequence[Sequence[Stream]], rng: Random, given: Given = Given(), server_blocks: int | None = None,
    *, weighted: bool = True,
) -> BatchingFit:  # fmt: skip
    """The fit of runs (streams in us, in the order of sending). Raises ValueError with a sentence where it has too little."""
    everything = [stream for streams in runs for stream in streams]
    kind = chunk_kind(everything)
    drafts, acceptance = drafts_of(everything) if kind == "drafts" else (0, None)
    gaps_us = [
        step_gap_us(streams, every_step=kind != "interval") if given.step_gap_us is None else given.step_gap_us
        for streams in runs
    ]
    clusters = [clusters_of(streams, gap_us) for streams, gap_us in zip(runs, gaps_us, strict=True)]
    tables = [step_table(streams, found, drafts) for streams, found in zip(runs, clusters, strict=True)]
    seen = list(zip(runs, clusters, tables, strict=True))

    def fitted(budget: int | None, surely: int = SURELY_ONE_STEP) -> StepFit:
        if kind == "interval":
            return fit_steps(
                joined([coarse_rows(*one) for one in zip(runs, gaps_us, strict=True)]), rng, weighted=weighted
            )
        return fit_steps(joined([rows_of(*one, budget, surely) for one in seen]), rng, weighted=weighted)

    budget = _given(given.max_num_batched_tokens)
    steps = fitted(None if budget is None else budget.value)
    if budget is None and kind == "interval":
        budget = Limit(None, 1, "unknown")
    if budget is None:
        least = 100
        if steps.left_out > _MANY:
            # Perhaps its budget is so small that shorter prompts took several steps too.
            summed = fitted(None, surely=_LEAST_BUDGET)
            if summed.left_out < steps.left_out / 2:
                steps, least = summed, _LEAST_BUDGET
        budget = batched_tokens(seen, steps, least)
        if budget.value is not None:
            steps = fitted(budget.value)
    front_end = fit_front_end(seen, steps.values, budget.value)
    seqs, blocks = sequences_and_blocks(seen if kind != "interval" else (), front_end.a0.value, server_blocks)
    limits = Limits(_given(given.max_num_seqs) or seqs, budget, _given(given.kv_blocks) or blocks)
    common = sorted(count for stream in everything for count in stream.tokens[1:-1])
    interval = common[len(common) // 2] if kind == "interval" else 1
    return BatchingFit(steps, front_end, limits, kind, drafts, acceptance, interval)


def _given(value: int | None) -> Limit | None:
    return None if value is None else Limit(value, value, "given")
