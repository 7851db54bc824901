"""Named configurations, each with its source: GPU and model pairs, services, and services at an objective.

    python -m mockserver --preset qwen2.5-7b-h100
    python -m mockserver --preset list

Later settings win: defaults, preset, YAML file, flags. If a source does not publish a value, the description calls it
illustrative. To add a preset, add a line to `PRESETS`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from mockserver.step_cost import STEP_COSTS

_Z99 = 2.3263478740408408
"""The 99% quantile of the standard normal distribution."""
_SIGMA = 0.5


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings as in the YAML file, and their source."""

    doc: str
    source: str
    settings: Mapping[str, object]


def _pair(model: str, step_cost: str, max_model_len: int) -> Preset:
    """A model on a GPU: continuous batching with fitted step costs."""
    settings = {"engine": "batching", "step_cost": step_cost, "model": model, "max_model_len": max_model_len}
    return Preset(f"{model} on an H100, continuous batching", STEP_COSTS[step_cost].source, settings)


def _service(model: str, provider: str, ttft_ms: float, tokens_per_s: float) -> Preset:
    """A hosted API as users measured it. The medians are published, the spread is not."""
    settings = {
        "model": model,
        "ttft": f"lognormal:median={ttft_ms:g}ms,sigma=0.4",
        "tpot": f"lognormal:median={1000 / tokens_per_s:.4g}ms,sigma=0.2",
    }
    return Preset(
        f"{model} by {provider}",
        f"Artificial Analysis, providers of GPT-4o (May 2024): medians of {ttft_ms:g} ms and {tokens_per_s:g} tokens/s; "
        "the spread is illustrative",
        settings,
    )


def at_objective(objective_ms: float) -> str:
    """A lognormal distribution whose p99 equals the objective: ln objective = ln median + sigma z."""
    return f"lognormal:median={objective_ms * math.exp(-_SIGMA * _Z99):.6g}ms,sigma={_SIGMA:g}"


def _objective(model: str, kind: str, ttft_ms: float, tpot_ms: float) -> Preset:
    """A service that just meets an objective: its p99 equals the objective."""
    return Preset(
        f"{model} at the p99 of MLPerf's {kind} objectives",
        f"MLPerf Inference: TTFT {ttft_ms:g} ms, TPOT {tpot_ms:g} ms at p99; the spread is illustrative",
        {"model": model, "ttft": at_objective(ttft_ms), "tpot": at_objective(tpot_ms)},
    )


PRESETS: dict[str, Preset] = {
    "qwen2.5-3b-h100": _pair("Qwen/Qwen2.5-3B-Instruct", "qwen2.5-3b-h100", 32_768),
    "qwen2.5-7b-h100": _pair("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b-h100", 32_768),
    "qwen3-14b-h100": _pair("Qwen/Qwen3-14B", "qwen3-14b-h100", 40_960),
    "llama-3.1-8b-h100": _pair("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b-h100", 131_072),
    "gpt-4o-openai": _service("gpt-4o", "OpenAI", 390, 81),
    "gpt-4o-azure": _service("gpt-4o", "Azure", 770, 115),
    "mlperf-llama-3.1-8b-server": _objective("llama-3.1-8b", "server", 2000, 100),
    "mlperf-llama-3.1-8b-interactive": _objective("llama-3.1-8b", "interactive", 500, 30),
    "mlperf-llama-2-70b-server": _objective("llama-2-70b", "server", 2000, 200),
    "mlperf-llama-2-70b-interactive": _objective("llama-2-70b", "interactive", 450, 40),
    "mlperf-deepseek-r1-server": _objective("deepseek-r1", "server", 2000, 80),
    "mlperf-deepseek-r1-interactive": _objective("deepseek-r1", "interactive", 1500, 15),
}

LIST = "list"
"""`--preset list` prints the presets and exits."""


def settings_of(name: object) -> Mapping[str, object]:
    """The settings of a preset. Raises ValueError with one sentence."""
    preset = PRESETS.get(name) if isinstance(name, str) else None
    if preset is None:
        close = difflib.get_close_matches(str(name), PRESETS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the names are {', '.join(PRESETS)}"
        raise ValueError(f"no preset is called {name!r}; {hint} (--preset {LIST} describes them)")
    return preset.settings


def table() -> str:
    """Every preset with its settings and its source."""
    lines = []
    for name, preset in PRESETS.items():
        settings = "  ".join(f"{key}: {value}" for key, value in preset.settings.items())
        lines += [name, f"    {preset.doc}", f"    {settings}", f"    source: {preset.source}"]
    return "\n".join(lines)
