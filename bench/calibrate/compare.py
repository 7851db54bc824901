"""Measured against true: the certificate of a run whose mock was ours."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.calibrate.join import Joined, Pair, join
from bench.calibrate.truth import NS_PER_MS, STATS, quantiles, true_values
from bench.run_directory import LEDGER, RunDirectory


def certificate(directory: RunDirectory, latency: Mapping[str, Any]) -> dict[str, Any] | None:
    """How wrong the run's numbers are, or None where it has no ledger. `latency` is that part of its summary.

    `metrics` has a row for each metric and quantile: measured, true and error in ms, the error's share of the true value,
    and its share of the spread (true p99 - p50: an error that is large beside the spread blurs the distribution).
    `problems` are sentences: counts that do not agree, requests without a partner.
    """
    if not (directory.path / LEDGER).exists():
        return None
    joined = join(directory.records(), directory.ledger())
    rows, problems = _compare(latency, true_values(joined.pairs))
    return {
        "metrics": rows,
        "observation_lag_ms": _spread(_lags_out(joined)),
        "way_in_ms": _spread([(p.line["received_ns"] - p.record.sent_ns) / NS_PER_MS for p in _arrived(joined)]),
        "mock_done_minus_planned_ms": _spread(_mock_errors(joined)),
        "counts": dict(joined.counts),
        "problems": [*joined.problems, *problems],
    }


def _compare(
    latency: Mapping[str, Any], truth: Mapping[str, Sequence[float]]
) -> tuple[list[dict[str, Any]], list[str]]:
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for metric, values in truth.items():
        measured = latency.get(metric) or {"n": 0}
        if measured["n"] != len(values):
            problems.append(f"{metric}: {measured['n']} values measured where the ledger has {len(values)}")
        if not values or not measured["n"]:
            continue
        true = quantiles(values)
        spread = true["p99"] - true["p50"]
        for stat in STATS:
            error = measured[stat] - true[stat]
            rows.append(
                {
                    "metric": metric,
                    "stat": stat,
                    "measured_ms": measured[stat],
                    "true_ms": true[stat],
                    "error_ms": error,
                    "error_share": error / true[stat] if true[stat] else 0.0,
                    "share_of_spread": error / spread if spread > 0 else None,
                }
            )
    return rows, problems


def _arrived(joined: Joined) -> list[Pair]:
    return [p for p in joined.pairs if p.record.sent_ns is not None and p.line["received_ns"] is not None]


def _lags_out(joined: Joined) -> list[float]:
    """Client stamp - the mock's write, in ms, of every chunk with an exact stamp on both sides."""
    lags: list[float] = []
    for pair in joined.pairs:
        blocked = set(pair.line["blocked"])
        bounds = pair.record.chunk_bound_ns
        for i, (seen_ns, written_ns) in enumerate(zip(pair.record.chunk_ns, pair.line["write_ns"], strict=False)):
            if i not in blocked and (bounds is None or bounds[i] is None):
                lags.append((seen_ns - written_ns) / NS_PER_MS)
    return lags


def _mock_errors(joined: Joined) -> list[float]:
    """When the mock wrote each token - when its plan said so, in ms: the mock's own accuracy, apart from ours."""
    errors: list[float] = []
    for pair in joined.pairs:
        line = pair.line
        planned = line["planned"]
        written = [at for at, kind in zip(line["write_ns"], line["chunk_kind"], strict=True) if kind in ("c", "t", "f")]
        if line["fault"] is not None or planned["ttft_ns"] is None or line["received_ns"] is None:
            continue
        due_ns = line["received_ns"] + planned["ttft_ns"]
        for at, gap_ns in zip(written, [0, *planned["gaps_ns"]], strict=False):
            due_ns += gap_ns
            errors.append((at - due_ns) / NS_PER_MS)
    return errors


def _spread(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"n": 0}
    return {
        "n": len(values),
        "mean": statistics.fmean(values),
        **quantiles(values),
        "min": min(values),
        "max": max(values),
    }
