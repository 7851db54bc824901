"""Fitting a server whose steps cannot be seen: TTFT and gaps against prompt and load, and how gaps are correlated.

The model does not explain the times. TTFT is f(n) x (a draw + slope x prompt tokens), and a gap is g(n) x (a draw): n
is the number of requests under way when the wait begins, and f and g are 1 at the lowest observed load. The draws are
kept as quantiles. Gaps within a request are correlated in two ways, both in normal scores: the share of their variance
that lies between requests, and the correlation of successive gaps in the remainder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from bench.fit import robust
from bench.fit.streams import Stream

Array = npt.NDArray[np.float64]

LEAST_REQUESTS, LEAST_GAPS = 50, 200
_PER_POINT = 25
_ROUNDS = 6
_POINTS = 101
_MOST_SCORES = 200_000
_US_PER_MS = 1000.0


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """How much longer TTFT and gaps are with this many requests under way than at the lowest load, and how many
    requests show it."""

    under_way: float
    ttft: float
    gap: float
    requests: int


@dataclass(frozen=True, slots=True)
class SampledFit:
    """Quantiles in ms at even shares, at the lowest load; the module docstring describes the other fields."""

    ttft_ms: tuple[float, ...]
    ttft_per_input_token_us: float
    gap_ms: tuple[float, ...]
    between: float
    follows: float
    load: tuple[LoadPoint, ...]
    requests: int
    gaps: int


def fit_sampled(runs: Sequence[Sequence[Stream]]) -> SampledFit:
    """Fit runs (streams in us, in the order of sending). Raises ValueError with a sentence if there is too little data."""
    samples = [_of_run(streams) for streams in runs]
    requests = np.concatenate([sample.requests for sample in samples])
    gaps = np.concatenate([sample.gaps for sample in samples])
    if len(requests) < LEAST_REQUESTS or len(gaps) < LEAST_GAPS:
        raise ValueError(
            f"{len(requests)} streamed replies with {len(gaps)} gaps between tokens were seen, and {LEAST_REQUESTS} and "
            f"{LEAST_GAPS} are needed"
        )
    # Requests of different runs must not share a number.
    of_request = np.concatenate([sample.of_request + 1e9 * place for place, sample in enumerate(samples)])
    points = _points(requests[:, 0])
    ttft_factors, slope, ttft_us = _fit_ttft(requests, points)
    gap_factors = _factors(gaps[:, 0], gaps[:, 1], points)
    alone_us = gaps[:, 1] / np.interp(gaps[:, 0], points, gap_factors)
    between, follows = _together(alone_us, of_request)
    near = np.abs(requests[:, 0][:, None] - np.array(points)).argmin(axis=1)
    return SampledFit(
        _quantiles(ttft_us), slope, _quantiles(alone_us), between, follows,
        tuple(
            LoadPoint(float(point), float(ttft), float(gap), int((near == k).sum()))
            for k, (point, ttft, gap) in enumerate(zip(points, ttft_factors, gap_factors, strict=True))
        ),
        len(requests), len(gaps),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _RunTimes:
    """The samples of a run. `requests`: (under way, TTFT us, prompt tokens); `gaps`: (under way, us)."""

    requests: Array
    gaps: Array
    of_request: Array


def _of_run(streams: Sequence[Stream]) -> _RunTimes:
    begun = np.sort(np.array([stream.sent_us for stream in streams]))
    over = np.sort(np.array([stream.end_us for stream in streams]))

    def under_way(at: Array) -> Array:
        begun_by = np.searchsorted(begun, at, side="right")
        return np.asarray(np.maximum(begun_by - np.searchsorted(over, at, side="right"), 1), dtype=np.float64)

    sure = [stream for stream in streams if stream.sure]
    sent = np.array([stream.sent_us for stream in sure])
    first = np.array([stream.arrivals_us[0] for stream in sure])
    prompts = np.array([float(stream.prompt_tokens) for stream in sure])
    begins, times, numbers = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)]
    for number, stream in enumerate(sure):
        arrivals, tokens = np.array(stream.arrivals_us), np.array(stream.tokens[1:], dtype=np.int64)
        # A chunk of several tokens counts as that many gaps.
        each = np.diff(arrivals) / np.maximum(tokens, 1)
        begins.append(np.repeat(arrivals[:-1], tokens))
        times.append(np.repeat(each, tokens))
        numbers.append(np.full(int(tokens.sum()), float(number)))
    begin = np.concatenate(begins)
    return _RunTimes(
        np.column_stack((under_way(sent), first - sent, prompts)),
        np.column_stack((under_way(begin), np.concatenate(times))),
        np.concatenate(numbers),
    )


def _points(under_way: Array) -> tuple[float, ...]:
    """Numbers of requests under way that enough requests met; where each has too few, the median of several."""
    points: list[float] = []
    left = np.sort(under_way)
    while len(left) >= _PER_POINT:
        upper = left[_PER_POINT - 1]
        inside = int(np.searchsorted(left, upper, side="right"))
        # A remainder too small for its own point belongs to this one.
        inside = len(left) if len(left) - inside < _PER_POINT else inside
        points.append(float(np.median(left[:inside])))
        left = left[inside:]
    return tuple(sorted(set(points))) or (float(np.median(under_way)),)


def _factors(under_way: Array, values: Array, points: Sequence[float]) -> Array:
    """The median of the values near each point, divided by the median near the first."""
    near = np.abs(under_way[:, None] - np.array(points)).argmin(axis=1)
    medians = np.array(
        [float(np.median(values[near == k])) if (near == k).any() else np.nan for k in range(len(points))]
    )
    known = np.isfinite(medians) & (medians > 0)
    if not known.any():
        return np.ones(len(points))
    medians = np.interp(np.array(points), np.array(points)[known], medians[known])
    return np.asarray(medians / medians[0])


def _fit_ttft(requests: Array, points: Sequence[float]) -> tuple[Array, float, Array]:
    """Factors by load, us a prompt token, and the remainder of each TTFT: load and prompt are fitted in turns until
    they converge."""
    under_way, ttft_us, prompts = requests.T
    varied = float(prompts.max()) >= 2 * float(prompts.min())
    slope, base = 0.0, float(np.median(ttft_us))
    factors = np.ones(len(points))
    for _ in range(_ROUNDS):
        factors = _factors(under_way, ttft_us / (base + slope * prompts), points)
        alone = ttft_us / np.interp(under_way, points, factors)
        if varied:
            base, slope = (float(x) for x in robust.fit(np.column_stack((np.ones_like(prompts), prompts)), alone).x)
        base = max(base, 1.0)
    alone = ttft_us / np.interp(under_way, points, factors)
    return factors, slope, np.maximum(alone - slope * prompts, 0.0)


def _together(gaps_us: Array, of_request: Array) -> tuple[float, float]:
    """In the gaps' normal scores: the share of variance between requests, and the correlation of successive gaps in the
    rest."""
    gaps_us, of_request = gaps_us[:_MOST_SCORES], of_request[:_MOST_SCORES]
    order = np.argsort(gaps_us, kind="stable")
    shares = np.empty(len(gaps_us))
    shares[order] = (np.arange(len(gaps_us)) + 0.5) / len(gaps_us)
    grid = np.linspace(0.0005, 0.9995, 4000)
    scores = np.interp(shares, grid, [NormalDist().inv_cdf(share) for share in grid])
    _, first, counts = np.unique(of_request, return_index=True, return_counts=True)
    means = np.add.reduceat(scores, first) / counts
    rest = scores - np.repeat(means, counts)
    several = counts > 1
    if several.sum() < 2:
        return 0.0, 0.0
    inside = float((rest**2).sum() / max(1, (counts - 1)[several].sum()))
    pairs = np.diff(of_request) == 0
    follows = float((rest[1:] * rest[:-1])[pairs].sum() / max(float((rest[:-1] ** 2)[pairs].sum()), 1e-12))
    # Subtracting a request's mean lowers the correlation by about (1 + 3 f) / its gaps (Kendall, 1954).
    middle = float(np.median(counts[several]))
    follows = min(0.99, max(-0.99, (follows * middle + 1) / max(middle - 3, 1.0)))
    # The mean of m autocorrelated scores varies by inside / m x (1 + f) / (1 - f) even if requests do not differ.
    chance = inside / float(np.mean(counts)) * (1 + follows) / (1 - follows)
    apart = max(0.0, float(np.var(means)) - chance)
    return apart / max(apart + inside, 1e-12), follows


def _quantiles(values_us: Array) -> tuple[float, ...]:
    quantiles = np.quantile(values_us, np.linspace(0, 1, _POINTS)) / _US_PER_MS
    return tuple(float(f"{value:.5g}") for value in quantiles)
