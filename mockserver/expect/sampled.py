"""Expected results of the `sampled` engine. Requests are independent, so the distributions give the numbers.

With n output tokens, TTFT = F and n - 1 gaps: E2EL = F + (n - 1) T with `tpot`, where one TPOT T is drawn per request,
and E2EL = F + G_1 + ... + G_{n-1} with `itl`, where each gap is drawn. F, n and the gaps are independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mockserver.clock import NS_PER_MS
from mockserver.config import MockConfig
from mockserver.expect.lengths import RequestLengths
from mockserver.expect.sums import (
    CELLS,
    Grid,
    Points,
    points_of,
    product_sum,
    quantile_of_points,
    repeated_sum,
    spread,
)
from promptset.distributions import Distribution

SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

_TIME_POINTS = 2560
_PRODUCTS = 1 << 18
_LENGTHS = 256
_TPOT_LENGTHS = 96
_TPOT_CELLS = 1 << 9
_TPOT_POINTS = 640
_ENUMERATED = 1 << 17

_NUMERIC = (
    "quantiles by numeric convolution on a grid of {step:.3g} ms "
    "(error below one step, and below the noise of 40,000 requests)"
)
_ITSELF = "the distribution of --{name} itself, limits included: mean and quantiles in closed form"
_LIKE_TPOT = "; all gaps of a request equal its TPOT, which does not depend on its length"

LEAVES_OUT = (
    "requests that a fault hits",
    "tool calls and JSON: they end where they are complete, so max_tokens is only their limit",
    "the accuracy of the pacing: a chunk may go up to 0.1 ms early, and late where the machine is busy; the ledger says when",
    "the network and the client",
)


def expected(config: MockConfig, request: RequestLengths) -> dict[str, Any]:
    """Mean and quantiles of each metric, times in ms."""
    lengths, length_how = _lengths(config, request)
    gap = config.tpot if config.itl is None else config.itl
    length_mean = math.fsum(n * share for n, share in lengths)
    ttft_mean, gap_mean = config.ttft.mean(), gap.mean()
    gap_name = "tpot" if config.itl is None else "itl"
    gap_facts = _facts(gap.mean(), gap.quantile, _ITSELF.format(name=gap_name))
    return {
        "ttft_ms": _facts(ttft_mean, config.ttft.quantile, _ITSELF.format(name="ttft")),
        "tpot_ms": gap_facts if config.itl is None else _tpot_of_gaps(config.itl, lengths),
        "itl_ms": {
            **gap_facts,
            "how": gap_facts["how"] + (_LIKE_TPOT if config.itl is None else ""),
        },
        "e2el_ms": _e2el(config, lengths, ttft_mean + (length_mean - 1.0) * gap_mean),
        "output_tokens": {
            "mean": length_mean,
            **{name: quantile_of_points(lengths, share) for name, share in SHARES.items()},
            "how": length_how,
        },
        "asked": {"output_tokens": request.output_tokens, "input_tokens": request.input_tokens},
        "leaves_out": [*LEAVES_OUT, *_left_out(config, request)],
    }


def _facts(mean_ns: float, quantile_ns: Callable[[float], float], how: str) -> dict[str, Any]:
    quantiles = {name: quantile_ns(share) / NS_PER_MS for name, share in SHARES.items()}
    return {"mean": mean_ns / NS_PER_MS, **quantiles, "how": how}


def _left_out(config: MockConfig, request: RequestLengths) -> list[str]:
    notes = [f"the fault {rule}" for rule in config.fault]
    if request.input_tokens is None:
        notes.append(
            f"replies cut short because the context of {config.max_model_len} tokens ends: add input_tokens to the question"
        )
    return notes


def _lengths(config: MockConfig, request: RequestLengths) -> tuple[Points, str]:
    """Every reply length with its probability, and how it was derived."""
    limit = config.max_model_len - (request.input_tokens or 0)
    if request.output_tokens is not None:
        return [(float(request.output_tokens), 1.0)], "what each request asks for"
    atoms = config.output_tokens.atoms()
    how = "the distribution of --output-tokens itself, limits and rounding included: in closed form"
    if atoms is None:
        # Too many to list: group neighbouring lengths, each group at its middle.
        drawn = config.output_tokens
        low, high = drawn.quantile(1e-6), drawn.quantile(1.0 - 1e-6)
        edges = [round(low + (high - low) * i / 8192) for i in range(8193)]
        shares = [drawn.cdf(edge) for edge in edges]
        atoms = [(low, shares[0])]
        atoms += [
            (math.floor((a + 1 + b) / 2), upper - lower)
            for a, b, lower, upper in zip(edges, edges[1:], shares, shares[1:], strict=False)
            if upper > lower
        ]
        atoms.append((high, 1.0 - shares[-1]))
        how = "the distribution of --output-tokens in 8,192 groups of neighbouring lengths"
    clipped: dict[float, float] = {}
    for n, share in atoms:
        n = float(max(1, min(n, limit)))
        clipped[n] = clipped.get(n, 0.0) + share
    if limit < max(n for n, _ in atoms):
        how += f"; at most {limit} tokens fit into the context"
    return sorted(clipped.items()), how


def _grouped(lengths: Points, most: int, group_of: Callable[[float], int]) -> Points:
    """Merge lengths into at most about `most` groups, each at its mean, rounded to a whole token."""
    if len(lengths) <= most:
        return lengths
    groups: dict[int, tuple[float, float]] = {}
    for n, share in lengths:
        group = group_of(n)
        total, mass = groups.get(group, (0.0, 0.0))
        groups[group] = (total + n * share, mass + share)
    return sorted((float(round(total / mass)), mass) for total, mass in groups.values())


def _evenly(lengths: Points, most: int) -> Points:
    """Groups of equal width for the bulk of the lengths, so that a long tail does not coarsen them."""
    low, high = lengths[0][0], lengths[-1][0]
    bulk = max(quantile_of_points(lengths, 0.999), low + 1.0)

    def group_of(n: float) -> int:
        if n <= bulk:
            return int((n - low) / (bulk - low) * most * 0.8)
        return int(most * 0.8 + (n - bulk) / max(high - bulk, 1.0) * (most * 0.2 - 1))

    return _grouped(lengths, most, group_of)


def _by_ratio(lengths: Points, most: int) -> Points:
    """Groups of equal ratio, because the spread of a mean of n values scales with the root of n."""
    low, high = lengths[0][0], lengths[-1][0]
    return _grouped(lengths, most, lambda n: int(math.log(n / low) / math.log(high / low) * most))


def _e2el(config: MockConfig, lengths: Points, mean_ns: float) -> dict[str, Any]:
    gap = config.tpot if config.itl is None else config.itl
    gaps = [(n - 1.0, share) for n, share in lengths]
    formula = "TTFT + (n - 1) TPOT" if config.itl is None else "TTFT + the sum of n - 1 gaps"
    mean_how = f"{formula}, drawn independently: the mean in closed form; "
    ttft_atoms, gap_atoms = config.ttft.atoms(), gap.atoms()
    one_gap = gap_atoms is not None and len(gap_atoms) == 1
    if len(gaps) == 1 and (one_gap or gaps[0][0] == 0.0):
        shift = 0.0 if gap_atoms is None else gaps[0][0] * gap_atoms[0][0]
        how = mean_how + "all after the first token is constant, so the quantiles are those of TTFT, moved"
        return _facts(mean_ns, lambda share: config.ttft.quantile(share) + shift, how)
    per_request = config.itl is None or one_gap
    if ttft_atoms is not None and len(ttft_atoms) == 1 and len(gaps) == 1 and config.itl is None:
        how = mean_how + "TTFT and n are constant, so the quantiles are those of TPOT, scaled and moved"
        first, count = ttft_atoms[0][0], gaps[0][0]
        return _facts(mean_ns, lambda share: first + count * gap.quantile(share), how)
    if (
        per_request
        and ttft_atoms is not None
        and gap_atoms is not None
        and len(ttft_atoms) * len(gap_atoms) * len(gaps) <= _ENUMERATED
    ):
        sums = [
            (first + count * each, a * b * c) for first, a in ttft_atoms for count, b in gaps for each, c in gap_atoms
        ]
        how = mean_how + "every value is listed, so that the quantiles are exact"
        return _facts(mean_ns, lambda share: quantile_of_points(sums, share), how)
    grid = _e2el_grid(config.ttft, gap, gaps, per_request)
    return _facts(mean_ns, grid.quantile, mean_how + _NUMERIC.format(step=grid.step / NS_PER_MS))


def _e2el_grid(ttft: Distribution, gap: Distribution, gaps: Points, per_request: bool) -> Grid:
    first = points_of(ttft, _TIME_POINTS)
    if per_request:
        counts = _evenly(gaps, 4 * _LENGTHS)
        return product_sum(first, counts, points_of(gap, max(256, min(_TIME_POINTS, _PRODUCTS // len(counts)))))
    return repeated_sum(first, _evenly(gaps, _LENGTHS), points_of(gap, _TIME_POINTS))


def _tpot_of_gaps(itl: Distribution, lengths: Points) -> dict[str, Any]:
    """TPOT if each gap is drawn: the mean of n - 1 gaps, over the requests that have any."""
    several = [(n - 1.0, share) for n, share in lengths if n > 1.0]
    mean_how = (
        "the mean of a request's n - 1 gaps, over the requests with two tokens and more: the mean in closed form; "
    )
    if not several:
        return {"mean": None, **dict.fromkeys(SHARES), "how": "no request has two tokens"}
    atoms = itl.atoms()
    if atoms is not None and len(atoms) == 1:
        return _facts(itl.mean(), itl.quantile, _ITSELF.format(name="itl"))
    counts = _by_ratio(several, _TPOT_LENGTHS)
    each = points_of(itl, _TPOT_POINTS if len(counts) > 4 else _TIME_POINTS)
    total = math.fsum(share for _, share in counts)
    means: list[tuple[float, float]] = []
    for count, share in counts:
        sums = repeated_sum([(0.0, 1.0)], [(count, 1.0)], each, _TPOT_CELLS * (8 if len(counts) <= 4 else 1))
        means += [((sums.low + i * sums.step) / count, mass * share / total) for i, mass in enumerate(sums.masses)]
    low, high = min(means)[0], max(means)[0]
    step = max((high - low) / (CELLS - 2), 1e-9)
    grid = Grid(low, step, spread(means, low, step, CELLS))
    return _facts(itl.mean(), grid.quantile, mean_how + _NUMERIC.format(step=step / NS_PER_MS))
