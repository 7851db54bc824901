"""The words of a calibration in reports: metrics, statistics, and the causes of errors."""

from __future__ import annotations

from bench.documents.formatting import age, signed
from bench.results.certificate import CauseRow, KnownCalibration
from bench.results.metric_titles import TITLES

STATS = {"mean": "average", "p50": "median", "p75": "p75", "p90": "p90", "p95": "p95", "p99": "p99", "p999": "p99.9",
         "max": "max"}  # fmt: skip
"""The names of the compared statistics."""

THROUGHPUT = {
    "requests_per_s": "requests/s",
    "output_tokens_per_s": "output tokens/s",
    "inputs_per_s": "inputs/s",
    "input_tokens_per_s": "input tokens/s",
    "total_tokens_per_s": "all tokens/s",
}


def cause_sentence(cause: CauseRow) -> str:
    """A likely cause, with the metric and the size."""
    if cause.metric == "chunks":
        return f"{cause.cause} ({cause.size:+,.0f} in all)"
    if cause.metric == "requests":
        return f"{cause.cause} ({cause.size:,.0f} requests)"
    if cause.metric == "arrivals":
        return f"arrivals are up to {signed(cause.size)} ms off the drawn plan; likely cause: {cause.cause}"
    if cause.metric in THROUGHPUT:
        return f"{THROUGHPUT[cause.metric]} is {signed(cause.size)} off; likely cause: {cause.cause}"
    name = TITLES[cause.metric]
    return f"{name} is {signed(cause.size)} {cause.unit} off at {STATS[cause.stat]}; likely cause: {cause.cause}"


def certainty(calibration: KnownCalibration | None) -> str:
    """One sentence: the errors that an earlier calibration found at a similar load, or that there was none."""
    if calibration is None:
        return "Error of these numbers: not known at this load on this machine (calibrate, with the same flags, measures it)."
    parts = []
    for stat in ("p50", "p90", "p99"):
        rows = [row for row in calibration.metrics if row.stat == stat]
        if rows:
            worst = max(rows, key=lambda row: abs(row.error))
            parts.append(f"{stat} {signed(worst.error)} ms")
    errors = ", ".join(parts) if parts else "nothing was compared"
    return (
        f"Error of these numbers, the worst of each quantile: {errors} (calibrated at such a load on this machine "
        f"{age(calibration.age_s)} ago: {calibration.status})."
    )
