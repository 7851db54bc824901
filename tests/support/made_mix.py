"""Configurations of runs with classes of traffic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.config import RunConfig, resolve

THREE: list[dict[str, Any]] = [
    {"name": "chat", "share": 60, "input_tokens": 40, "output_tokens": 5, "slo": ["ttft:p99<50ms"]},
    {
        "name": "complete",
        "share": "20%",
        "endpoint": "completions",
        "input_tokens": 30,
        "priority": 2,
        "model": "small",
    },
    {"name": "batch", "share": 20, "input_tokens": 60, "headers": {"X-Tenant": "b"}, "cancel": "share=100%,after=1s"},
]
TWO_RATES = ({"name": "steady", "rate": 30, "arrivals": "constant"}, {"name": "bursts", "rate": 10, "burstiness": 0.25})


def mixed(*classes: Mapping[str, Any], **given: Any) -> RunConfig:
    return resolve({"url": "http://h", "mix": {"classes": list(classes)}, "requests": 100, **given})
