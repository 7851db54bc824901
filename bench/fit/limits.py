"""The limits of the server: where waiting begins, or what its own page reports. Otherwise they are unknown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench.fit.coefficients import StepFit
from bench.fit.steps import Clusters, StepTable
from bench.fit.streams import Stream
from bench.results.profile import FittedLimit

BLOCK_TOKENS = 16
_LEAST_WAITING = 30
_SAME = 0.9
_FULL_STEPS, _FULL_SPREAD, _MORE_OFTEN = 8, 0.05, 2
USUAL_BUDGETS = (512, 1024, 2048, 4096, 8192, 16384)


Seen = Sequence[tuple[Sequence[Stream], Clusters, StepTable]]


def sequences_and_blocks(
    runs: Seen, a0_us: float, blocks: int | None, drafts: int = 0
) -> tuple[FittedLimit, FittedLimit]:
    """max_num_seqs and kv_blocks. If requests wait while the batch does not grow, the batch size is max_num_seqs. If
    they wait while the batch changes and its sum of tokens does not, the sum gives kv_blocks. `blocks`: the number on
    the server's page. `drafts`: draft tokens that each decode computes besides its own."""
    waiting: list[tuple[float, float]] = []
    most_running, most_tokens = 0, 0.0
    for streams, clusters, table in runs:
        running = table.decode / (1 + drafts) + table.firsts
        tokens = table.context + table.prefill
        queued = np.zeros(len(running))
        for stream, places in zip(streams, clusters.of_chunk, strict=True):
            if stream.sure:
                ready = int(np.searchsorted(table.end_us, stream.sent_us + a0_us)) + 1
                queued[ready : places[0]] += 1
        most_running = max(most_running, int(running[table.sure].max(initial=0)))
        most_tokens = max(most_tokens, float(tokens[table.sure].max(initial=0)))
        chosen = table.sure & (queued > 0) & (table.firsts == 0)
        waiting += zip(running[chosen], tokens[chosen], strict=True)
    seen_blocks = -(-int(most_tokens) // BLOCK_TOKENS)
    seqs = FittedLimit(None, most_running, "unknown")
    kv = FittedLimit(None, seen_blocks, "unknown") if blocks is None else FittedLimit(blocks, seen_blocks, "server")
    if len(waiting) < _LEAST_WAITING:
        return seqs, kv
    batch, held_tokens = np.array(waiting).T
    if float((batch >= most_running - 1).mean()) >= _SAME:
        return FittedLimit(most_running, most_running, "waiting"), kv
    p50, p95 = np.quantile(held_tokens, (0.5, 0.95))
    if blocks is None and p95 < 1.1 * p50 and float(np.std(batch)) > 0.05 * float(np.mean(batch)):
        # A few steps held more than most: the cache is at least as large as the most it held.
        kv = FittedLimit(max(-(-int(p95) // BLOCK_TOKENS), seen_blocks), seen_blocks, "waiting")
    return seqs, kv


def batched_tokens(runs: Seen, fit: StepFit, least: int = 100) -> FittedLimit:
    """max_num_batched_tokens, from steps that brought no first token and yet took long enough for a prefill: a part of
    a long prompt filled them. If several have the same size, it is the budget; below `least` it is not looked for.
    Without such steps the limit is at least the most that a step computed: whole prompts, and its decodes."""
    b1, scale_us = fit.values[1], fit.scale_us
    most = 0.0
    full: list[float] = []
    waiting = others = long_others = 0
    for streams, clusters, table in runs:
        lasted = table.end_us - table.begin_us
        off = lasted - fit.without_prompts_us(table)
        # If the server computes prompts in separate steps, which the client cannot see, the time is too long for the
        # work.
        agrees = table.sure & (np.abs(lasted - fit.us(table)) < 6 * scale_us)
        pending = np.zeros(len(table.end_us), dtype=bool)
        whole = np.zeros(len(table.end_us))
        for stream, places in zip(streams, clusters.of_chunk, strict=True):
            if stream.sure:
                soonest = int(np.searchsorted(table.end_us, stream.sent_us)) + 1
                pending[soonest : places[0]] = True
                # Sent during a step, with its first token at the end of the next: that step computed the whole prompt.
                if places[0] <= soonest and table.sure[soonest - 1]:
                    whole[places[0]] += stream.fresh_tokens
        most = max(most, float((whole + table.decode)[agrees].max(initial=0)))
        if b1 <= 0:
            continue
        quiet, long = table.sure & (table.firsts == 0), off > max(6 * scale_us, least * b1)
        waiting += int((quiet & pending).sum())
        others += int((quiet & ~pending).sum())
        long_others += int((quiet & ~pending & long).sum())
        chosen = quiet & pending & long
        full += (off[chosen] / b1 + table.decode[chosen]).tolist()
    # If steps without a waiting prompt are long as often, parts of prompts are not the cause.
    if len(full) >= _FULL_STEPS and len(full) * others > _MORE_OFTEN * long_others * waiting:
        middle = float(np.median(full))
        near = np.abs(np.array(full) - middle) < _FULL_SPREAD * middle
        if float(near.mean()) > 0.6:
            usual = min(USUAL_BUDGETS, key=lambda budget: abs(budget / middle - 1))
            value = usual if abs(usual / middle - 1) < _FULL_SPREAD else round(middle)
            return FittedLimit(value, value, "steps")
    return FittedLimit(None, math.ceil(most), "unknown")
