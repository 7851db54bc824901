"""Fitting a continuous-batching server: from the streams of a few runs to coefficients, front end and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.fit.coefficients import StepFit, fit_steps
from bench.fit.decode_cost import pieces_of
from bench.fit.front_end import FrontEnd, fit_front_end
from bench.fit.limits import Seen, batched_tokens, sequences_and_blocks
from bench.fit.prompt_cost import costs_besides_tokens
from bench.fit.steps import SURELY_ONE_STEP, Rows, clusters_of, joined, rows_of, step_gap_us, step_table
from bench.fit.streams import Stream
from bench.fit.variation import Variation, variation_of
from bench.results.profile import FittedLimit, FittedLimits
from bench.rng import Random
from bench.statistics.steady_state import halves

_MANY = 0.05
"""A share of the steps: more than this do not lie far off by chance."""
_LEAST_BUDGET = 16


@dataclass(frozen=True, slots=True)
class Given:
    """Values that the user gives, which the fit then does not estimate."""

    step_gap_us: float | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    kv_blocks: int | None = None


@dataclass(frozen=True, slots=True)
class BatchingFit:
    """The result of the fit. `drafts` and `acceptance` are set only if chunks hold several tokens of one step."""

    steps: StepFit
    front_end: FrontEnd
    limits: FittedLimits
    chunks: ChunkKind
    drafts: int = 0
    acceptance: float | None = None
    stream_interval: int = 1
    variation: Variation | None = None
    """How steps vary around their cost. None: too few single steps were seen."""
    drifts: tuple[float, ...] = ()
    """For each run, how much longer steps became from the first half to the second, as a share; 0: not shown."""
    several_steps: bool = False
    """Whether prompts seem to take several steps of an unknown token budget."""


def fit_batching(
    runs: Sequence[Sequence[Stream]], rng: Random, given: Given = Given(), stated: Mapping[str, int] | None = None
) -> BatchingFit:
    """Fit runs (streams in us, in the order of sending). Raises ValueError with a sentence if there is too little data."""
    stated = {} if stated is None else stated
    everything = [stream for streams in runs for stream in streams]
    kind = chunk_kind(everything)
    drafts, acceptance = drafts_of(everything) if kind == "drafts" else (0, None)
    data = _Data.of(runs, kind, drafts, given.step_gap_us)
    steps, budget, surely = _steps_and_budget(
        data, rng, _limit(given.max_num_batched_tokens, stated.get("max_num_batched_tokens"))
    )
    rows = data.rows(budget.value)
    variation = variation_of(rows, steps)
    front_end = fit_front_end(
        data.inputs, steps.values, budget.value, None if variation is None else variation.usual_us()
    )
    several = budget.value is None and unexplained_a_token(steps, front_end, everything)
    if several and budget.at_least < surely:
        # Prompts of `surely` tokens were taken for one step, and no step was seen to compute as many.
        steps = replace(steps, coefficients={**steps.coefficients, "b1": steps.coefficients["b1"].untold()})
    if not steps.coefficients["b0"].told:
        front_end = front_end.beside_unknown_base(steps.coefficients["b0"])
    if several or not steps.coefficients["b1"].told:
        front_end = front_end.beside_unknown_steps()
    waited = data.inputs if kind != "interval" else ()
    seqs, blocks = sequences_and_blocks(waited, front_end.a0.value, stated.get("kv_blocks"), drafts)
    seqs = _limit(given.max_num_seqs, stated.get("max_num_seqs")) or seqs
    limits = FittedLimits(seqs, budget, _limit(given.kv_blocks, None) or blocks)
    interval = _usual_chunk(everything) if kind == "interval" else 1
    drifts = tuple(drift_of(run_rows, steps) for run_rows in rows)
    return BatchingFit(steps, front_end, limits, kind, drafts, acceptance, interval, variation, drifts, several)


@dataclass(frozen=True, slots=True)
class _Data:
    """The runs of a fit, and their arrivals grouped into steps."""

    runs: Sequence[Sequence[Stream]]
    kind: ChunkKind
    gaps_us: Sequence[float]
    inputs: Seen

    @classmethod
    def of(cls, runs: Sequence[Sequence[Stream]], kind: ChunkKind, drafts: int, gap_us: float | None) -> _Data:
        """`gap_us`: the gap between steps, if the user gave it."""
        every_step = kind != "interval"
        gaps_us = [step_gap_us(streams, every_step=every_step) if gap_us is None else gap_us for streams in runs]
        clusters = [clusters_of(streams, gap) for streams, gap in zip(runs, gaps_us, strict=True)]
        tables = [step_table(streams, grouping, drafts) for streams, grouping in zip(runs, clusters, strict=True)]
        return cls(runs, kind, gaps_us, list(zip(runs, clusters, tables, strict=True)))

    def rows(self, budget: int | None, surely: int = SURELY_ONE_STEP) -> list[Rows]:
        """The rows of each run."""
        if self.kind == "interval":
            return [coarse_rows(*row) for row in zip(self.runs, self.gaps_us, strict=True)]
        return [rows_of(*row, budget, surely) for row in self.inputs]

    def fitted(
        self, rng: Random, budget: int | None, surely: int = SURELY_ONE_STEP, *, by_prompt: bool = False
    ) -> StepFit:
        return fit_steps(joined(self.rows(budget, surely)), rng, by_prompt=by_prompt)


def _steps_and_budget(data: _Data, rng: Random, budget: FittedLimit | None) -> tuple[StepFit, FittedLimit, int]:
    """The cost of steps, max_num_batched_tokens (`budget` if it is known), and the tokens taken for one step if it is
    not."""
    surely = SURELY_ONE_STEP
    steps = data.fitted(rng, None if budget is None else budget.value)
    if budget is None and data.kind == "interval":
        budget = FittedLimit(None, 0, "unknown")
    if budget is None:
        least = 100
        everything = [stream for streams in data.runs for stream in streams]
        if steps.left_out > _MANY or unexplained_a_token(
            steps, fit_front_end(data.inputs, steps.values, None), everything
        ):
            # The budget may be so small that shorter prompts took several steps too.
            summed = data.fitted(rng, None, surely=_LEAST_BUDGET)
            if summed.left_out < steps.left_out / 2 or summed.scale_us < steps.scale_us / 2:
                steps, least, surely = summed, _LEAST_BUDGET, _LEAST_BUDGET
        budget = batched_tokens(data.inputs, steps, least)
        if budget.value is not None:
            steps = data.fitted(rng, budget.value)
    if data.kind == "single" and costs_besides_tokens(data.inputs, steps, budget.value or surely):
        steps = data.fitted(rng, budget.value, surely, by_prompt=True)
    return steps, budget, surely


def _usual_chunk(streams: Sequence[Stream]) -> int:
    """The median number of tokens in a chunk that is neither the first nor the last."""
    counts = sorted(count for stream in streams for count in stream.tokens[1:-1])
    return counts[len(counts) // 2]


def drift_of(rows: Rows, fit: StepFit) -> float:
    """How much longer steps became over a run, relative to their cost; 0 if the change is small or within chance."""
    drift = halves(rows.time_us / np.maximum(fit.us(rows), 1.0))
    return drift.change if drift is not None and drift.drifted else 0.0


def unexplained_a_token(steps: StepFit, front_end: FrontEnd, streams: Sequence[Stream]) -> bool:
    """Whether an idle server's TTFT grows with the prompt by more than the prefill cost, and by over a step in total.
    This happens if prompts take several steps."""
    a1, b1 = front_end.a1, steps.coefficients["b1"]
    longest = max((stream.prompt_tokens for stream in streams), default=0)
    return a1.low > b1.high and a1.low * longest > steps.values[0]


def _limit(given: int | None, stated: int | None) -> FittedLimit | None:
    """The user's value, or else the server's."""
    value, source = (given, "given") if given is not None else (stated, "server")
    return None if value is None else FittedLimit(value, value, source)


ChunkKind = Literal["single", "interval", "drafts"]

_NOTABLE = 0.2
_IN_PROPORTION = 0.5


def chunk_kind(streams: Sequence[Stream]) -> ChunkKind:
    """single: nearly every chunk has one token. interval: the time between chunks grows with their tokens, so a chunk
    covers several steps (or all chunks have the same size). drafts: the time does not grow, so one step produced the
    whole chunk."""
    counts, gaps = [], []
    for stream in streams:
        if stream.sure:
            # The last chunk holds the remainder, and the first has no gap before it.
            counts += list(stream.tokens[1:-1])
            gaps += [b - a for a, b in zip(stream.arrivals_us, stream.arrivals_us[1:-1], strict=False)]
    if not counts or float((np.array(counts) > 1).mean()) < _NOTABLE:
        return "single"
    tokens, times = np.array(counts, dtype=np.float64), np.array(gaps)
    low, high = float(np.quantile(tokens, 0.25)), float(np.quantile(tokens, 0.75))
    few, many = tokens <= low, tokens >= max(high, low + 1)
    if not many.any():
        return "interval"
    grows = np.log(np.median(times[many]) / max(float(np.median(times[few])), 1e-9))
    in_proportion = np.log(float(np.mean(tokens[many])) / float(np.mean(tokens[few])))
    return "interval" if grows > _IN_PROPORTION * in_proportion else "drafts"


def drafts_of(streams: Sequence[Stream]) -> tuple[int, float]:
    """Draft tokens a step, and the acceptance probability `a` of each after the one before: 1 + a + a^2 + ... is the
    mean."""
    counts = [count for stream in streams if stream.sure for count in stream.tokens[1:-1]]
    drafts, mean = max(counts) - 1, float(np.mean(counts))
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(middle**i for i in range(drafts + 1)) < mean else (low, middle)
    return drafts, (low + high) / 2


def coarse_rows(streams: Sequence[Stream], gap_us: float) -> Rows:
    """One row for each chunk except the first of a stream: it covers as many steps as it has tokens. The tokens that
    other streams received meanwhile are added, in proportion where their chunks cross the ends of the row."""
    sure = [stream for stream in streams if stream.sure and len(stream.tokens) > 1]
    if not sure:
        return joined(())
    spans = [
        (start, end, count)
        for stream in sure
        for start, end, count in zip(stream.arrivals_us, stream.arrivals_us[1:], stream.tokens[1:], strict=False)
    ]
    begin, end, steps = (np.array(column, dtype=np.float64) for column in zip(*spans, strict=True))
    decode, context, prefill, firsts = (np.zeros(len(spans)) for _ in range(4))
    unsure = np.zeros(len(spans), dtype=bool)
    for stream in streams:
        if not stream.sure:
            unsure |= (begin < stream.end_us) & (end > stream.sent_us)
            continue
        first = stream.arrivals_us[0]
        inside = (first > begin + gap_us / 2) & (first <= end + gap_us / 2)
        prefill += inside * stream.fresh_tokens
        firsts += inside
        totals = np.cumsum(stream.tokens)
        low, high = (np.interp(at, stream.arrivals_us, totals, left=totals[0], right=totals[-1]) for at in (begin, end))
        decode += high - low
        context += (high - low) * (stream.prompt_tokens + (low + high) / 2)
    # Rows that may hold only a part of a prompt are left out: the part is unknown.
    chosen = ~unsure
    order = np.argsort(begin[chosen], kind="stable")
    # The steps of a row are assumed to have equal batch sizes.
    pieces = pieces_of(decode / steps) * steps[:, None]
    columns = (end - begin, steps, prefill, decode, context, firsts, pieces)
    return Rows(*(column[chosen][order] for column in columns))
