"""`evalscope perf`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compared.tool import MODEL, OUTPUT_TOKENS, Load, Place, Printed, Tool, make_environment, read_json

VERSION = "1.14.1"


def _command(load: Load, url: str, place: Place) -> list[str | Path]:
    how = ["--parallel", str(load.streams)] if load.rate is None else ["--open-loop", "--rate", str(load.rate)]
    return [
        place.tool / "bin" / "evalscope", "perf", "--url", f"{url}/v1/chat/completions", "--api", "openai", "--model", MODEL,
        "--tokenizer-path", place.tokenizer, "--dataset", "line_by_line", "--dataset-path", place.bodies, "--max-tokens",
        str(OUTPUT_TOKENS), "--stream", *how, "--number", str(load.requests), "--outputs-dir", place.run, "--no-timestamp",
        "--no-test-connection",
    ]  # fmt: skip


def _read(run: Path) -> Printed:
    (summary,) = run.rglob("benchmark_summary.json")
    said = read_json(summary)
    listed: list[dict[str, Any]] = json.loads((summary.parent / "benchmark_percentile.json").read_text())
    rows = {row["Percentiles"]: row for row in listed}

    def stats(mean: str, name: str, scale: float = 1) -> dict[str, float]:
        values = {"mean": said[mean], "p50": rows["50%"][name], "p99": rows["99%"][name]}
        return {stat: value * scale for stat, value in values.items()}

    numbers = {
        "ttft_ms": stats("Avg TTFT (ms)", "TTFT (ms)"),
        "e2el_ms": stats("Avg Latency (s)", "Latency (s)", 1000),
        "tpot_ms": stats("Avg TPOT (ms)", "TPOT (ms)"),
        "itl_ms": stats("Avg ITL (ms)", "ITL (ms)"),
    }
    succeeded = round(said["Success Requests"])
    return Printed(succeeded, round(succeeded * said["Avg Output Tokens"]), numbers)


TOOL = Tool(
    title="evalscope perf",
    version=VERSION,
    compat="evalscope",
    install=lambda folder: make_environment(folder, f"evalscope[perf]=={VERSION}"),
    command=_command,
    read=_read,
)
