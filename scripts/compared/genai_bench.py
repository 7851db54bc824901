"""genai-bench. It makes its own prompts of as many tokens: a fixed output length cannot be combined with prompts from a
file."""

from __future__ import annotations

from pathlib import Path

from compared.tool import (
    MODEL,
    OUTPUT_TOKENS,
    Load,
    Place,
    Printed,
    Tool,
    closed_only,
    make_environment,
    read_json,
)

VERSION = "0.0.5"
_INPUT_TOKENS = 128


def _command(load: Load, url: str, place: Place) -> list[str | Path]:
    return [
        "env", "ENABLE_UI=false", place.tool / "bin" / "genai-bench", "benchmark", "--api-backend", "vllm", "--api-base", url,
        "--api-key", "none", "--api-model-name", MODEL, "--model", MODEL, "--model-tokenizer", place.tokenizer,
        "--task", "text-to-text", "--traffic-scenario", f"D({_INPUT_TOKENS},{OUTPUT_TOKENS})",
        "--num-concurrency", str(load.streams), "--max-requests-per-run", str(load.requests), "--max-time-per-run", "5",
        "--metrics-time-unit", "ms", "--experiment-base-dir", place.run, "--experiment-folder-name", "genai",
        "--log-dir", place.run,
    ]  # fmt: skip


def _read(run: Path) -> Printed:
    (file,) = (run / "genai").glob("D*_text-to-text_num_concurrency_*.json")
    said = read_json(file)["aggregated_metrics"]

    def stats(name: str) -> dict[str, float]:
        found = said["stats"][name]
        return {"mean": found["mean"], "p50": found["p50"], "p99": found["p99"]}

    numbers = {"ttft_ms": stats("ttft"), "e2el_ms": stats("e2e_latency"), "tpot_ms": stats("tpot")}
    return Printed(said["num_completed_requests"], round(said["stats"]["num_output_tokens"]["sum"]), numbers)


TOOL = Tool(
    title="genai-bench",
    version=VERSION,
    compat="genai_bench",
    install=lambda folder: make_environment(folder, f"genai-bench=={VERSION}"),
    command=_command,
    read=_read,
    cannot=closed_only,
    note="with prompts of its own, of as many tokens",
)
