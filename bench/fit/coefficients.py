"""b0 to b4 of the observed steps, each with its interval, and which of them the loads cannot determine.

Every decode costs the same (b2) as long as the residuals agree. If the residuals of some batch size do not, and a table
over the batch size (decode_cost.py) fits better, the table replaces b2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bench.fit import robust
from bench.fit.decode_cost import DecodeCost, knots_for
from bench.fit.steps import LEAST_GAP_US, Rows, StepTable
from bench.results.profile import FittedDecode, Residuals
from bench.rng import Random

Array = npt.NDArray[np.float64]

NAMES = ("b0", "b1", "b2", "b3", "b4")
LEAST_ROWS = 50
NOTABLE_RESIDUAL = 0.05
"""If the median residual of a batch size is larger, the fit does not describe its steps."""
_LEAST_IN_BIN = 20
"""Rows that a batch size needs for its residual to count."""
_BLOCKS, _RESAMPLES, _KEPT_DRAWS = 60, 300, 20
_COLUMNS, _PIECES = (0, 1, -1, 2, 3), 4
"""Columns of the design: where b0 to b4 are (b2 is the last piece), and where the pieces begin."""
_COLLINEAR = 1e-4
"""If the other columns explain all but this share of a column, it cannot be separated from them."""
_WIDE, _MATTERS = 0.25, 0.05
"""An interval is wide if its half-width exceeds `_WIDE` times the value. It matters if it changes a step by `_MATTERS`.
"""


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A fitted number, in us or us a token, with its 95% interval. `told`: whether the loads determine it."""

    value: float
    low: float
    high: float
    told: bool

    def untold(self, more: float = 0.0) -> Coefficient:
        """The same, not told: it may be anything from 0 to `more` beyond its interval."""
        return replace(self, low=0.0, high=self.high + more, told=False)


@dataclass(frozen=True, slots=True)
class StepDraw:
    """The coefficients of one resample: b0 to b4, and the points of the table."""

    values: tuple[float, ...]
    table: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class StepFit:
    """The fitted cost of a step. `left_out`: the share of rows so far off that they have no weight."""

    coefficients: dict[str, Coefficient]
    """By name. Without b4, prompts cost nothing besides their tokens."""
    rows: int
    steps: int
    scale_us: float
    left_out: float
    residuals: tuple[Residuals, ...]
    decode_cost: DecodeCost
    """The cost of all decodes of a step."""
    table: tuple[FittedDecode, ...] = ()
    """The same as points, if decodes do not all cost the same; after the last point the slope is b2."""
    draws: tuple[StepDraw, ...] = ()
    """Some of the resamples: joint draws of coefficients that are consistent with the data."""

    @property
    def values(self) -> tuple[float, float, float, float, float]:
        b0, b1, b2, b3 = (self.coefficients[name].value for name in NAMES[:-1])
        return b0, b1, b2, b3, self.coefficients["b4"].value if "b4" in self.coefficients else 0.0

    def without_prompts_us(self, of: Rows | StepTable) -> Array:
        """The cost of single steps without their prefill."""
        b0, _, _, b3, _ = self.values
        return b0 * of.steps + self.decode_cost.us(of.decode) + b3 * of.context

    def us(self, of: Rows | StepTable) -> Array:
        _, b1, _, _, b4 = self.values
        return self.without_prompts_us(of) + b1 * of.prefill + b4 * of.firsts


def fit_steps(rows: Rows, rng: Random, *, by_prompt: bool = False) -> StepFit:
    """Fit the coefficients, with b4 if `by_prompt`. Raises ValueError with a sentence if too few steps were seen."""
    if len(rows) < LEAST_ROWS:
        raise ValueError(
            f"{len(rows)} steps were seen from end to end, and {LEAST_ROWS} are needed: streams must overlap in time and "
            "have several tokens each"
        )
    if float(np.median(rows.time_us / rows.steps)) < LEAST_GAP_US:
        raise ValueError(
            "most steps take less than 0.1 ms, so their cost cannot be seen (perhaps a proxy holds replies back): --engine "
            "sampled keeps the times as they are"
        )
    linear = _fitted(rows, (), rng, by_prompt=by_prompt)
    worst = worst_bin(linear.residuals)
    knots = knots_for(rows.decode / np.maximum(rows.steps, 1))
    if worst is None or abs(worst.p50) <= NOTABLE_RESIDUAL or not knots:
        return linear
    tabled = _fitted(rows, knots, rng, by_prompt=by_prompt)
    left = worst_bin(tabled.residuals)
    return tabled if left is not None and abs(left.p50) < abs(worst.p50) / 2 else linear


def _fitted(rows: Rows, knots: tuple[int, ...], rng: Random, *, by_prompt: bool) -> StepFit:
    design = rows.design(knots, by_prompt=by_prompt)
    solution = robust.fit(design, rows.time_us)
    drawn = _drawn(design, rows.time_us, solution, rng)
    low, high = _bounds(drawn, solution.x)
    known = _determined(design, rows.time_us, solution, low, high)
    names = NAMES if by_prompt else NAMES[:-1]
    values = {
        name: Coefficient(float(solution.x[k]), float(low[k]), float(high[k]), bool(known[k]))
        for name, k in zip(names, _COLUMNS, strict=False)
    }
    cost = DecodeCost(knots, tuple(float(slope) for slope in solution.x[_PIECES:]))
    return StepFit(
        values, len(rows), round(float(rows.steps.sum())), solution.scale, float((solution.weights <= 0).mean()),
        _bins(rows, design @ solution.x), cost, _table(knots, solution.x[_PIECES:], drawn[:, _PIECES:]),
        _draws(knots, drawn[:_KEPT_DRAWS]),
    )  # fmt: skip


def _draws(knots: tuple[int, ...], drawn: Array) -> tuple[StepDraw, ...]:
    points = np.cumsum(np.diff((0, *knots)) * drawn[:, _PIECES : _PIECES + len(knots)], axis=1)
    return tuple(
        StepDraw(
            tuple(float(x[k]) for k in _COLUMNS),
            tuple((knot, float(us)) for knot, us in zip(knots, table, strict=True)),
        )
        for x, table in zip(drawn, points, strict=True)
    )


def _table(knots: tuple[int, ...], slopes: Array, drawn: Array) -> tuple[FittedDecode, ...]:
    """The table's points: slopes, and the resampled slopes, summed up to each knot."""
    widths = np.diff((0, *knots)).astype(np.float64)
    points = np.cumsum(widths * slopes[: len(knots)])
    low, high = _bounds(np.cumsum(widths * drawn[:, : len(knots)], axis=1), points)
    return tuple(FittedDecode(knot, float(points[k]), float(low[k]), float(high[k])) for k, knot in enumerate(knots))


def _drawn(a: Array, y: Array, solution: robust.Robust, rng: Random) -> Array:
    """A block bootstrap over consecutive steps, at the weights of the fit, stretched: (resamples, columns)."""
    edges = np.linspace(0, len(y), min(_BLOCKS, len(y) // 4) + 1).astype(int)
    weighted = a * solution.weights[:, None]
    grams = np.array([a[i:j].T @ weighted[i:j] for i, j in pairwise(edges)])
    targets = np.array([weighted[i:j].T @ y[i:j] for i, j in pairwise(edges)])
    drawn = []
    for _ in range(_RESAMPLES):
        picked = rng.choices(range(len(grams)), k=len(grams))
        drawn.append(robust.nonnegative(grams[picked].sum(axis=0), targets[picked].sum(axis=0)))
    return np.maximum(solution.x + solution.stretch * (np.array(drawn) - solution.x), 0.0)


def _bounds(drawn: Array, values: Array) -> tuple[Array, Array]:
    """95% intervals of resamples, widened to include the values themselves."""
    if not len(values):
        return values, values
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return np.minimum(low, values), np.maximum(high, values)


def _determined(a: Array, y: Array, solution: robust.Robust, low: Array, high: Array) -> npt.NDArray[np.bool_]:
    weighted = a * solution.weights[:, None]
    gram = a.T @ weighted
    size = np.sqrt(np.diag(gram))
    known = size > 0
    inside = np.flatnonzero(known)
    scaled = gram[np.ix_(inside, inside)] / np.outer(size[inside], size[inside])
    # The share of a column that the others do not explain is 1 / (its diagonal element of the inverse).
    inverse = np.linalg.pinv(scaled, rcond=1e-10, hermitian=True)
    apart = np.zeros(len(size))
    values, vectors = np.linalg.eigh(scaled)
    lost = (vectors[:, values < 1e-9] ** 2).sum(axis=1) > 1e-3
    apart[inside] = np.where(lost, 0.0, 1 / np.maximum(np.diag(inverse), 1e-300))
    moves = (high - low) / 2 * np.quantile(a, 0.9, axis=0) / float(np.median(y))
    wide = (high - low) / 2 > _WIDE * np.maximum(solution.x, 1e-12)
    return np.asarray(known & (apart > _COLLINEAR) & ~(wide & (moves > _MATTERS)))


def _bins(rows: Rows, fitted: Array) -> tuple[Residuals, ...]:
    """Residuals by the mean number of decodes in a step, in powers of two."""
    decodes = rows.decode / np.maximum(rows.steps, 1)
    off = (rows.time_us - fitted) / np.maximum(fitted, 1e-9)
    place = np.floor(np.log2(np.maximum(decodes, 1))).astype(int)
    bins = []
    for power in sorted(set(place.tolist())):
        chosen = off[place == power]
        p10, p50, p90 = (float(q) for q in np.quantile(chosen, (0.1, 0.5, 0.9)))
        bins.append(Residuals(2**power, 2 ** (power + 1) - 1, len(chosen), p10, p50, p90))
    return tuple(bins)


def worst_bin(bins: Sequence[Residuals]) -> Residuals | None:
    """The batch sizes with the largest median residual. Returns None if no bin has enough rows."""
    enough = [row for row in bins if row.rows >= _LEAST_IN_BIN]
    return max(enough, key=lambda row: abs(row.p50)) if enough else None
