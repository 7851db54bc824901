"""The error rates of `compare` and `gate` in virtual time: runs of the batching model instead of runs on disk.

`scripts/compare-reach` runs long simulations and prints their results; a test runs short ones, with the same seeds.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.comparison.compare import LEAST_PAIRS, Comparison, Method, compare
from bench.comparison.numbers import ERRORS, OUTPUT, SHARE_MARGIN, TPOT, TTFT
from bench.comparison.request_values import RequestValues
from bench.comparison.sides import MeasuredRun, Side
from bench.manifest import Manifest
from bench.metrics.catalog import METRICS
from bench.release_gate.gate import Rules, against
from bench.results.baseline import BaselineRun
from bench.results.summary import RunSummary
from bench.statistics.between_runs import (
    ALPHA,
    MARGIN,
    Answer,
    RunInterval,
    RunShare,
    error_by_chance,
    error_within_runs,
    few_candidates,
    paired,
    welch,
)
from bench.statistics.gate import Verdict
from bench.statistics.intervals import Interval, quantile_intervals
from tests.support.results import filled, origin
from tests.support.statistics_claims import WARM_S, Load

SECONDS = 120.0
_ORDERS = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(slots=True)
class VirtualRuns:
    """Runs of a load, as `compare` takes them; `kept` has the individual values that it would read from disk."""

    load: Load
    kept: dict[Path, RequestValues]

    def run(self, seed: int, at: int, tpot: float = 1.0) -> MeasuredRun:
        """A run that began at minute `at`, with every TPOT multiplied by `tpot`."""
        served = self.load.run(SECONDS, seed).between(WARM_S, WARM_S + SECONDS)
        ttft, per_token = served.ttft_ms, served.tpot_ms * tpot
        tokens_per_s = served.tokens_per_s(WARM_S, WARM_S + SECONDS)
        e2el = ttft + per_token * np.maximum(served.output_tokens - 1, 1)
        metrics = {"ttft": ttft, "tpot": per_token, "e2el": e2el}
        path = Path(f"{self.load.name}/{seed}-{at}-{tpot}")
        self.kept[path] = RequestValues(
            {name: array("d", values.tolist()) for name, values in metrics.items()}, array("d", [0.0] * len(ttft))
        )
        none: dict[str, Any] = {**dict.fromkeys(("mean", *_ORDERS)), "ci95": {}}
        latency: dict[str, Any] = {metric.key: none for metric in METRICS.values()}
        for name, values in metrics.items():
            stats = {order: float(np.quantile(values, p)) for order, p in _ORDERS.items()}
            latency[METRICS[name].key] = {"mean": float(values.mean()), **stats, "ci95": {}}
        summary: Any = {
            "latency": latency,
            "throughput": {
                "output_tokens_per_s": float(tokens_per_s.mean()), "requests_per_s": len(ttft) / SECONDS,
                "total_tokens_per_s": None, "ci95": {},
            },
            "counts": {"succeeded": len(ttft), "failed": 0},
            "goodput": None,
            "calibration": None,
            "verdict": {"status": "VALID", "reasons": []},
            "run": origin(stop_reason="duration"),
            "series": {"step_s": 1, "t_s": list(range(int(SECONDS))), "output_tokens": tokens_per_s.tolist()},
            "window": {"start_s": 0.0, "end_s": SECONDS},
        }  # fmt: skip
        manifest = Manifest(
            run_id=path.name, started=f"2026-11-01T{at // 60:02}:{at % 60:02}:00+00:00", command=(), model="virtual",
            exact_lengths=True, start_ns=at,
        )  # fmt: skip
        return MeasuredRun(path, {"mode": "rate"}, manifest, filled(RunSummary, summary))

    def compare(self, a: list[MeasuredRun], b: list[MeasuredRun]) -> Comparison:
        return compare(
            [Side("A", Path("a"), tuple(a)), Side("B", Path("b"), tuple(b))], values_of=self.kept.__getitem__
        )


def in_turn(
    load: Load, comparison: int, pairs: int, *, change: float = 0.0, spread: float = 0.0, same_arrivals: bool = False
) -> tuple[VirtualRuns, Any]:
    """Runs of A and B in the order ABBA. B's TPOT is changed; all TPOT vary by `spread` from run to run.

    `same_arrivals`: the runs of a pair share one seed, as in `compare --run`.
    """
    rng = np.random.default_rng([comparison, 17])
    runs = VirtualRuns(load, {})
    sides: tuple[list[MeasuredRun], list[MeasuredRun]] = ([], [])
    for at in range(2 * pairs):
        side = (at + at // 2) % 2
        tpot = math.exp(rng.normal(0, spread)) * (1 + change if side else 1)
        seed = at // 2 if same_arrivals else at
        sides[side].append(runs.run(200_000 + comparison * 100 + seed, at, tpot))
    return runs, sides


def alarms(load: Load, comparisons: range, pairs: int = 5) -> Mapping[Method, int]:
    """By method: how many comparisons of a load with itself report that a primary number differs."""
    found = dict.fromkeys((Method.PAIRS, Method.RUNS, Method.BATCHES), 0)
    for comparison in comparisons:
        runs, (a, b) = in_turn(load, comparison, pairs)
        for taken_a, taken_b in ((a, b), (a[:3], b[1:3]), (a[:1], b[:1])):
            (versus,) = runs.compare(taken_a, taken_b).versus
            found[versus.method] += any(
                number.primary and number.answer in (Answer.DIFFERS, Answer.THESE_DIFFER) for number in versus.numbers
            )
    return found


def changes_found(load: Load, comparisons: range, *, change: float, spread: float, pairs: int = 5) -> tuple[int, int]:
    """How many comparisons find a change of TPOT (p < 5% after Holm), and how many intervals contain it.

    Whether they also report `differs` depends on the estimate: for a change as large as the margin, half of the
    estimates lie below it.
    """
    found = held = 0
    for comparison in comparisons:
        runs, (a, b) = in_turn(load, comparison, pairs, change=change, spread=spread, same_arrivals=True)
        compared = runs.compare(a, b).versus[0].of(TPOT.name)
        assert compared.difference is not None
        found += compared.p is not None and compared.p < ALPHA
        held += compared.difference.low <= change <= compared.difference.high
    return found, held


def error_alarms(comparisons: range, runs: tuple[int, int], *, n: int, rate: float, change: float = 0.0) -> int:
    """How many comparisons report that error rates differ, when each of a run's `n` requests fails by chance."""
    alarms = 0
    for comparison in comparisons:
        rng = np.random.default_rng([comparison, 29])
        a, b = (
            [RunShare(failed / n, n, 1.0) for failed in rng.binomial(n, of_side, many)]
            for of_side, many in zip((rate, rate + change), runs, strict=True)
        )
        test = few_candidates if runs[1] == 1 else paired if runs[0] == runs[1] > 2 else welch
        shares = [[run.share for run in side] for side in (a, b)]
        found = test(*shares, ratio=False, least_error=error_by_chance(a, b))
        alarms += found.answer(SHARE_MARGIN, 4 * found.p) is Answer.DIFFERS
    return alarms


def alarms_between_modes(comparisons: range, runs: tuple[int, int]) -> int:
    """How many comparisons of a server with itself report a different p50, which lies between two modes: half of a
    run's 400 requests take 10 ms, half 20."""
    alarms = 0
    for comparison in comparisons:
        rng = np.random.default_rng([comparison, 31])
        sides = [[_between_modes(rng) for _ in range(many)] for many in runs]
        a, b = ([run.value for run in side] for side in sides)
        found = welch(a, b, within=error_within_runs(*sides) if min(runs) < LEAST_PAIRS else 0.0)
        alarms += found.answer(MARGIN, 4 * found.p) is Answer.DIFFERS
    return alarms


def _between_modes(rng: np.random.Generator) -> RunInterval:
    values = np.where(rng.random(400) < 0.5, 10.0, 20.0) * np.exp(rng.normal(0, 0.02, 400))
    interval = quantile_intervals(values, {"p50": 0.5})["p50"]
    assert isinstance(interval, Interval)
    return RunInterval(float(np.quantile(values, 0.5)), interval.low, interval.high)


def gate_alarms(gates: range, *, spread: float, change: float = 0.0, runs: int = 5, baseline: int = 5) -> int:
    """How many gates fail when every number of a run varies by `spread` and TTFT changed by `change`."""
    failed = 0
    for gate in gates:
        rng = np.random.default_rng([gate, 23])
        before = [_entry(rng, spread, 0.0) for _ in range(baseline)]
        now = [_entry(rng, spread, change) for _ in range(runs)]
        failed += any(found.judged.verdict is Verdict.FAILED for found in against(before, now, Rules()))
    return failed


def _entry(rng: np.random.Generator, spread: float, change: float) -> BaselineRun:
    ttft, tpot, output = (level * math.exp(rng.normal(0, spread)) for level in (200.0, 20.0, 1_000.0))
    stats = {
        METRICS[TTFT.metric].key: {"p50": ttft, "p90": ttft * (1 + change), "p99": ttft},
        METRICS[TPOT.metric].key: {"p50": tpot, "p90": tpot, "p99": tpot},
    }
    entry = {"stats": stats, OUTPUT.metric: output, ERRORS.metric: 0.0, "independent_requests": 400.0}
    return filled(BaselineRun, entry)
