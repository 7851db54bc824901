"""The data from which a page's script computes the numbers of a period: `template/recompute.js`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.documents import packing
from bench.documents.details import counts_tokens, has_tokens
from bench.documents.time_charts import RunNumbers
from bench.metrics.step_histograms import BORDERS, PER_OCTAVE

BUDGET = 64_000
"""Characters for histograms: slices double in width until they fit, so that a page of many requests stays small."""

METRICS = ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms")
ROWS = (
    ("TTFT", "ms", "ttft_ms"), ("TPOT", "ms", "tpot_ms"), ("ITL", "ms", "itl_ms"), ("E2EL", "ms", "e2el_ms"),
    ("TPS", "tokens/s", "tpot_ms"),
)  # fmt: skip
"""The table of a period: TPS is 1,000 over TPOT."""

AMOUNTS = {"output_tokens_per_s": "output_tokens", "inputs_per_s": "inputs", "input_tokens_per_s": "input_tokens"}
"""The rates of a period, and the series that they come from."""


def period_data(run: RunNumbers) -> dict[str, Any] | None:
    """The data, or None if the run has no periods to choose."""
    if run.page is None or len(run.series.t_s) < 2:
        return None
    series, window = run.series, run.summary.window
    k, packed = _packed(run.page.histograms)
    return {
        "start": series.t_s[0],
        "step": series.step_s,
        "steps": len(series.t_s),
        "end": series.end_s,
        "slice": k,
        "steady": None if window.start_s is None else [window.start_s, window.end_s],
        "perOctave": PER_OCTAVE,
        "borders": list(BORDERS),
        "histograms": packed,
        "metrics": [list(row) for row in ROWS if has_tokens(run.summary) or row[0] == "E2EL"],
        "completed": series.completed,
        "failed": series.failed,
        "rates": {
            "requests_per_s": series.completed,
            **{
                key: [round(amount, 1) for amount in amounts]
                for key, name in AMOUNTS.items()
                if has_tokens(run.summary) == (name == "output_tokens")
                and counts_tokens(run.summary)
                and (amounts := getattr(series, name)) is not None
            },
        },
        "status": series.status,
    }


def _packed(histograms: Mapping[str, Sequence[packing.Histogram]]) -> tuple[int, dict[str, dict[str, Any]]]:
    """The number of steps per slice, and the histograms of the slices."""
    k = 1
    while True:
        packed: dict[str, dict[str, Any]] = {}
        size = 0
        for metric in METRICS:
            slices = packing.merged(histograms[metric], k)
            base = min((min(counts) for counts in slices if counts), default=1) - 1
            text = packing.pack(slices, base)
            packed[metric] = {"base": base, "packed": text}
            size += len(text)
        if size <= BUDGET or k >= len(histograms["ttft_ms"]):
            return k, packed
        k *= 2
