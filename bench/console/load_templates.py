"""Ready-made loads, each one click. Add a template here; its settings are those of the command of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.console.language import tr


@dataclass(frozen=True, slots=True)
class LoadTemplate:
    """A button's label and description, and the settings it fills in."""

    title: str
    about: str
    settings: Mapping[str, Any]
    kind: str = "run"


_SHORT = {"input_tokens": "256", "output_tokens": "64"}

TEMPLATES: dict[str, LoadTemplate] = {
    "concurrency": LoadTemplate(
        tr("Fixed concurrency"),
        tr("10 users; each sends its next request when the last one is answered."),
        {"concurrency": "10", "duration": "90s", "warmup": "auto", **_SHORT},
    ),
    "rate": LoadTemplate(
        tr("Fixed rate"),
        tr("5 requests a second on average, however slow the server is."),
        {"rate": "5", "duration": "2m", "warmup": "auto", **_SHORT},
    ),
    "throughput": LoadTemplate(
        tr("Maximum throughput"),
        tr("A look at the ceiling: 100 requests at once for a minute."),
        {"mode": "throughput", "max_concurrency": "100", "duration": "60s", **_SHORT},
    ),
    "sessions": LoadTemplate(
        tr("Conversations"),
        tr("5 users hold conversations of several turns."),
        {"mode": "sessions", "concurrency": "5", "duration": "90s", "input_tokens": "64", "output_tokens": "64"},
    ),
    "agents": LoadTemplate(
        tr("Coding agents"),
        tr(
            "A look at 8 agents in the middle of their work, with contexts of up to 32,768 tokens, nearly all cached; "
            "10 times as fast."
        ),
        {
            "mode": "sessions",
            "dataset": "coding-agent",
            "context_limit": "32768",
            "trace_speed": "10",
            "sessions_begin": "middle",
            "concurrency": "8",
            "duration": "3m",
        },
    ),
    "objectives": LoadTemplate(
        tr("Service objectives"),
        tr("10 users, and whether TTFT and end-to-end latency hold their limits."),
        {
            "concurrency": "10",
            "duration": "90s",
            "warmup": "auto",
            "slo": ["ttft:p99<1s", "e2el:p99<10s", "error_rate<1%"],
        },
    ),
    "search": LoadTemplate(
        tr("Which load it holds"),
        tr("The highest rate at which TTFT and end-to-end latency hold their limits, in three minutes."),
        {"slo": ["ttft:p99<1s", "e2el:p99<10s"], "max": "100", "budget": "3m", **_SHORT},
        kind="search",
    ),
    "sweep": LoadTemplate(
        tr("Several loads"),
        tr("A look at 1 to 16 users, 15 s each, and curves of throughput and latency over them."),
        {"loads": "concurrency=1..16x2", "duration": "15s", "warmup": "3s", **_SHORT},
        kind="sweep",
    ),
    "calibration": LoadTemplate(
        tr("Calibration"),
        tr("How wrong are the numbers on this machine? A load on a mock that knows the truth."),
        {"concurrency": "10", "requests": "100", "input_tokens": "128", "output_tokens": "32"},
        kind="calibrate",
    ),
}
