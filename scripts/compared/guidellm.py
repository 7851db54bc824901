"""guidellm."""

from __future__ import annotations

from pathlib import Path

from compared.tool import MODEL, Load, Place, Printed, Tool, make_environment, read_json

VERSION = "0.8.1"


def _command(load: Load, url: str, place: Place) -> list[str | Path]:
    how = f"kind=concurrent,streams={load.streams}" if load.rate is None else f"kind=poisson,rate={load.rate}"
    return [
        place.tool / "bin" / "guidellm", "run", "--backend", f"kind=openai_http,target={url},model={MODEL}",
        "--profile", how, "--constraint", f"kind=max_requests,count={load.requests}",
        "--tokenizer", f"kind=huggingface_auto,model={place.tokenizer}", "--data", f"kind=json_file,path={place.prompts}",
        "--output", f"kind=json,path={place.run / 'guidellm.json'}", "--disable-console-interactive",
    ]  # fmt: skip


def _read(run: Path) -> Printed:
    (said,) = (benchmark["metrics"] for benchmark in read_json(run / "guidellm.json")["benchmarks"])

    def stats(name: str, scale: float = 1) -> dict[str, float]:
        found = said[name]["successful"]
        values = {"mean": found["mean"], "p50": found["median"], "p99": found["percentiles"]["p99"]}
        return {stat: value * scale for stat, value in values.items()}

    numbers = {
        "ttft_ms": stats("time_to_first_token_ms"),
        "e2el_ms": stats("request_latency", 1000),
        "tpot_ms": stats("time_per_output_token_ms"),
        "itl_ms": stats("inter_token_latency_ms"),
    }
    tokens = said["output_token_count"]["successful"]["total_sum"]
    return Printed(said["request_totals"]["successful"], round(tokens), numbers)


TOOL = Tool(
    title="guidellm",
    version=VERSION,
    compat="guidellm",
    install=lambda folder: make_environment(folder, f"guidellm=={VERSION}"),
    command=_command,
    read=_read,
)
