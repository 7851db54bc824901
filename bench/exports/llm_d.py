"""llm-d's benchmark report, version 0.2: one YAML document. `benchmark-report` of its package reads it."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import orjson
import yaml

from bench.exports.interface import Export, Format
from bench.metrics.bounds import shown
from bench.results.numbers import Statistics
from bench.results.summary import RunSummary
from bench.run_files.writable import write_file

VERSION = "0.2"
_LATENCIES = {
    "time_to_first_token": ("ttft_ms", "ms"),
    "time_per_output_token": ("tpot_ms", "ms/token"),
    "inter_token_latency": ("itl_ms", "ms/token"),
    "request_latency": ("e2el_ms", "ms"),
}
_STATISTICS = {"stddev": "std", "min": "min", "p50": "p50", "p75": "p75", "p90": "p90", "p95": "p95", "p99": "p99",
               "p99p9": "p999", "max": "max"}  # fmt: skip
_RATES = {
    "input_token_rate": ("input_tokens_per_s", "tokens/s"),
    "output_token_rate": ("output_tokens_per_s", "tokens/s"),
    "total_token_rate": ("total_tokens_per_s", "tokens/s"),
    "request_rate": ("requests_per_s", "queries/s"),
}


def report_of(summary: RunSummary) -> dict[str, Any]:
    """The report of a run. It leaves out what has no key: intervals, bounds (and numbers of which only bounds are
    known), and the verdict except as a keyword."""
    run = summary.run
    began = datetime.fromisoformat(run.started)
    seconds = summary.throughput.duration_s or 0.0
    return {
        "version": VERSION,
        "run": {
            "uid": run.id or run.started,
            "time": {
                "start": began.isoformat(),
                "end": (began + timedelta(seconds=seconds)).isoformat(),
                "duration": f"PT{seconds}S",
            },
            "description": summary.verdict.headline,
            "keywords": [str(summary.verdict.status)],
        },
        "scenario": {"stack": _stack(summary), "load": _load(summary)},
        "results": {"request_performance": {"aggregate": _aggregate(summary)}},
    }


def _digest(value: object) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()[:32]


def _stack(summary: RunSummary) -> list[dict[str, Any]]:
    """The server, of which only the address and the model are known."""
    server = {"url": summary.run.url, "model": summary.run.model}
    return [
        {
            "metadata": {"label": "server", "cfg_id": _digest(server)},
            "standardized": {"kind": "generic", "tool": "unknown", "tool_version": "unknown", **server},
            "native": {},
        }
    ]


def _load(summary: RunSummary) -> dict[str, Any]:
    run = summary.run
    config = run.config
    lengths = {
        name: _length(config.get(key))
        for name, key in (("input_seq_len", "input_tokens"), ("output_seq_len", "output_tokens"))
    }
    how = {"rate_qps": config.get("rate"), "concurrency": config.get("concurrency")}
    return {
        "metadata": {"cfg_id": _digest(run.config)},
        "standardized": {
            "tool": "trueload",
            "tool_version": run.versions.get("trueload", "unknown"),
            "source": "sampled" if config.get("dataset") else "random",
            "input_seq_len": lengths["input_seq_len"] or {"distribution": "other", "value": _mean_input(summary)},
            **({"output_seq_len": lengths["output_seq_len"]} if lengths["output_seq_len"] else {}),
            **{name: value for name, value in how.items() if value is not None},
        },
        "native": {"config": dict(config)},
    }


def _length(spec: object) -> dict[str, Any] | None:
    """A length in tokens. Returns None for a distribution, which the report cannot express."""
    return {"distribution": "fixed", "value": int(spec)} if isinstance(spec, str) and spec.isdecimal() else None


def _mean_input(summary: RunSummary) -> float:
    tokens = summary.tokens.usage.input or 0
    return tokens / summary.counts.succeeded if summary.counts.succeeded else 0.0


def _aggregate(summary: RunSummary) -> dict[str, Any]:
    counts = summary.counts
    rates = {name: summary.throughput.of(key) for name, (key, _) in _RATES.items()}
    return {
        "requests": {
            "total": counts.sent,
            "failures": counts.failed,
            "incomplete": counts.interrupted + (counts.cancelled or 0),
        },
        "latency": {
            name: _statistics(row, unit)
            for name, (key, unit) in _LATENCIES.items()
            if (row := summary.latency.get(key)) is not None and shown(row, "mean") is not None
        },
        "throughput": {
            name: {"units": _RATES[name][1], "mean": rate} for name, rate in rates.items() if rate is not None
        },
    }


def _statistics(row: Statistics, unit: str) -> dict[str, Any]:
    values = {name: shown(row, stat) for name, stat in _STATISTICS.items()}
    return {"units": unit, "mean": row.mean, **{name: value for name, value in values.items() if value is not None}}


def _write(export: Export) -> str:
    text = yaml.safe_dump(orjson.loads(orjson.dumps(report_of(export.summary), default=str)), sort_keys=False)
    if export.out is None:
        return text
    write_file("--out", export.out, text.encode())
    return f"report: {export.out}\n"


FORMAT = Format("the benchmark report of llm-d (v0.2, YAML)", _write, frozenset({"out"}))
