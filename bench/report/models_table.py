"""The models of a run that sends to several: one row each, for the page, the terminal and Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.details import has_tokens
from bench.report.formatting import number, statistic

_HEADS_OF_INPUTS = ("Model", "Sent", "E2EL p50", "p99", "req/s", "inputs/s", "Failed")
_HEADS = ("Model", "Sent", "TTFT p50", "p99", "TPOT p50", "p99", "E2EL p50", "p99", "req/s", "tokens/s", "Failed")
NOTE = "Latencies in ms, of the whole run. Rates are per second of the whole run, so that those of all models add up."


def heads(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """What stands over the cells of a row."""
    return _HEADS if has_tokens(summary) else _HEADS_OF_INPUTS


def rows(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The cells under the heads; no rows where there is one model."""
    return [_row(model, tokens=has_tokens(summary)) for model in summary.get("models") or ()]


def _row(model: Mapping[str, Any], *, tokens: bool) -> tuple[str, ...]:
    latency, rates = model["latency"], model["throughput"]
    keys = ("ttft_ms", "tpot_ms", "e2el_ms") if tokens else ("e2el_ms",)
    times = (statistic(latency[key], stat) for key in keys for stat in ("p50", "p99"))
    per_second = (number(rates["requests_per_s"]), number(rates["output_tokens_per_s" if tokens else "inputs_per_s"]))
    return (model["model"], f"{model['sent']:,}", *times, *per_second, f"{model['failed']:,}")
