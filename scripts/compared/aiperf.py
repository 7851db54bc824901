"""NVIDIA's aiperf. Its inter-token latency is one mean per request: it serves as both TPOT and ITL."""

from __future__ import annotations

from pathlib import Path

from compared.tool import MODEL, OUTPUT_TOKENS, Load, Place, Printed, Tool, make_environment, read_json

VERSION = "0.13.0"


def _command(load: Load, url: str, place: Place) -> list[str | Path]:
    how = (
        ["--concurrency", str(load.streams)]
        if load.rate is None
        else ["--request-rate", str(load.rate), "--request-rate-mode", "poisson"]
    )
    return [
        place.tool / "bin" / "aiperf", "profile", "--model", MODEL, "--url", url, "--endpoint-type", "chat", "--streaming",
        "--tokenizer", place.tokenizer, "--input-file", place.texts, "--custom-dataset-type", "single-turn",
        "--osl", str(OUTPUT_TOKENS), *how, "--request-count", str(load.requests), "--artifact-dir", place.run,
        "--ui", "none", "--no-gpu-telemetry", "--no-server-metrics",
    ]  # fmt: skip


def _read(run: Path) -> Printed:
    said = read_json(run / "profile_export_aiperf.json")

    def stats(name: str) -> dict[str, float]:
        return {"mean": said[name]["avg"], "p50": said[name]["p50"], "p99": said[name]["p99"]}

    per_token = stats("inter_token_latency")
    numbers = {
        "ttft_ms": stats("time_to_first_token"),
        "e2el_ms": stats("request_latency"),
        "tpot_ms": per_token,
        "itl_ms": per_token,
    }
    return Printed(int(said["request_count"]["avg"]), int(said["total_osl"]["avg"]), numbers)


TOOL = Tool(
    title="aiperf",
    version=VERSION,
    compat="aiperf",
    install=lambda folder: make_environment(folder, f"aiperf=={VERSION}"),
    command=_command,
    read=_read,
)
