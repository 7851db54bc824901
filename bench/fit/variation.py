"""How a server's steps vary around their fitted cost: the deviations that the coefficients do not explain.

The fit of the coefficients gives no weight to steps that lie far off, so that slow steps do not distort the cost of the
others. The server takes these steps too, and so must the mock: the deviations of single steps are kept in order, and
the mock draws blocks of them (mockserver/steps/variation.py). No shape is assumed. Whether deviations are proportional
to a step (power 1) or independent of it (power 0) is measured: short and long steps must deviate alike once they are
scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.fit import robust
from bench.fit.coefficients import StepFit
from bench.fit.steps import Rows
from bench.results.profile import VariationLevel
from bench.statistics.autocorrelation import act

Array = npt.NDArray[np.float64]

LEAST_STEPS = 100
"""Fewer steps do not show how steps vary."""
MOST_KEPT = 6_000
_LEAST_LEVEL = 200
_LEAST_BLOCK, _BLOCK_ACTS, _BLOCKS = 50.0, 20.0, 5
_NOTABLE, _DIFFERENCE = 9.0, 0.01
"""Loads differ if the mean squared z of their means or spreads exceeds `_NOTABLE`, and the range of these exceeds
`_DIFFERENCE`, a share of a step."""
_LEAST_RANGE = 1.3
"""The longest steps must cost this many times the shortest to show how their variation scales."""


@dataclass(frozen=True, slots=True)
class Variation:
    """The deviations that the mock draws from. The profile keeps some of the `steps` seen, at each of the `levels`."""

    power: float
    at_us: float
    block: float
    levels: tuple[VariationLevel, ...]
    steps: int
    mean_error: float = 0.0
    """The error (95%) of a step's mean, as a share: steps that stay slow for long are few independent samples."""

    def usual_us(self) -> Callable[[float], float]:
        """What most steps take beyond their cost, as a function of this cost: a robust mean of the first level's
        deviations. Computing it takes as long as a small fit."""
        shares = np.array(self.levels[0].shares)
        shift = 1.0 + float(np.quantile(np.abs(shares), 0.9))
        at_us = (float(robust.fit(np.ones((len(shares), 1)), shares + shift).x[0]) - shift) * self.at_us
        return lambda cost_us: at_us * float((max(cost_us, 1e-9) / self.at_us) ** self.power)


def variation_of(runs: Sequence[Rows], fit: StepFit) -> Variation | None:
    """The variation of single steps of runs, each in order of time. Returns None if too few were seen."""
    singles = []
    for rows in runs:
        mask = rows.steps == 1
        cost = fit.us(rows)[mask]
        singles.append((np.maximum(cost, 1.0), rows.time_us[mask] - cost, rows.decode[mask]))
    singles = [single for single in singles if len(single[0])]
    steps = sum(len(cost) for cost, _, _ in singles)
    if steps < LEAST_STEPS:
        return None
    power = _power(np.concatenate([cost for cost, _, _ in singles]), np.concatenate([off for _, off, _ in singles]))
    at_us = float(np.median(np.concatenate([cost for cost, _, _ in singles])))
    loads = [(float(decodes.mean()), off / (at_us * (cost / at_us) ** power)) for cost, off, decodes in singles]
    longest = max(max(act(shares), act(np.abs(shares - np.median(shares)))) for _, shares in loads)
    block = max(_LEAST_BLOCK, min(_BLOCK_ACTS * longest, steps / _BLOCKS))
    levels = _levels(sorted(loads, key=lambda load: load[0]))
    each = MOST_KEPT // len(levels)
    variation_levels = tuple(
        VariationLevel(round(decodes, 2), _thinned(shares, each, block)) for decodes, shares in levels
    )
    error = 2 * float(np.mean([shares.std() * np.sqrt(act(shares) / len(shares)) for _, shares in loads]))
    return Variation(power, at_us, block, variation_levels, steps, float(error / np.sqrt(len(loads))))


def _power(cost: Array, off: Array) -> float:
    """The power of the cost by which deviations grow, from 0 to 1: mean size against mean cost, of short and long
    steps."""
    size = np.abs(off - np.median(off))
    order = np.argsort(cost, kind="stable")
    third = len(order) // 3
    short, long = order[:third], order[-third:]
    ratio = float(cost[long].mean() / cost[short].mean())
    if ratio < _LEAST_RANGE or size[short].mean() <= 0 or size[long].mean() <= 0:
        return 1.0
    return float(np.clip(np.log(size[long].mean() / size[short].mean()) / np.log(ratio), 0.0, 1.0))


def _levels(loads: list[tuple[float, Array]]) -> list[tuple[float, Array]]:
    """Separate levels for the loads if they vary differently beyond chance; else one level for all."""
    together = np.concatenate([shares for _, shares in loads])
    enough = [load for load in loads if len(load[1]) >= _LEAST_LEVEL]
    mean = float(np.mean([decodes for decodes, _ in loads]))
    middle = float(np.median(together))
    spreads = [np.abs(shares - middle) for _, shares in enough]
    if len(enough) < 2 or not (_differ([shares for _, shares in enough]) or _differ(spreads)):
        return [(mean, together)]
    levels: list[tuple[float, Array]] = []
    for decodes, shares in enough:
        if levels and decodes < 1.1 * levels[-1][0]:
            levels[-1] = (levels[-1][0], np.concatenate((levels[-1][1], shares)))
        else:
            levels.append((decodes, shares))
    return levels


def _differ(loads: Sequence[Array]) -> bool:
    means = np.array([values.mean() for values in loads])
    errors = np.array([max(1e-9, float(values.var()) * act(values) / len(values)) for values in loads])
    middle = float(np.average(means, weights=1 / errors))
    return bool(np.mean((means - middle) ** 2 / errors) > _NOTABLE and np.ptp(means) > _DIFFERENCE)


def _thinned(shares: Array, most: int, block: float) -> tuple[float, ...]:
    """At most `most` deviations, in contiguous stretches spread evenly over the runs."""
    if len(shares) > most:
        stretches = max(1, int(most / max(4 * block, 1)))
        length = most // stretches
        starts = np.linspace(0, len(shares) - length, stretches).astype(int)
        shares = np.concatenate([shares[start : start + length] for start in starts])
    return tuple(float(f"{share:.4g}") for share in shares)
