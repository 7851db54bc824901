"""The Rust client of `vllm bench serve`: a program inside vLLM's wheel, independent of the rest."""

from __future__ import annotations

from pathlib import Path

from compared.tool import MODEL, Load, Place, Printed, Tool, keep_of_wheel, read_json

VERSION = "0.34.0"
_INSIDE = "vllm/vllm-rs"


def _install(folder: Path) -> None:
    keep_of_wheel(folder, f"vllm=={VERSION}", _INSIDE)
    (folder / _INSIDE).chmod(0o755)


def _command(load: Load, url: str, place: Place) -> list[str | Path]:
    return [place.tool / _INSIDE, "bench", "serve", *flags(load, url, place)]


def flags(load: Load, url: str, place: Place) -> list[str | Path]:
    """The flags of both clients."""
    how = ["--max-concurrency", str(load.streams)] if load.rate is None else ["--request-rate", str(load.rate)]
    return [
        "--backend", "openai-chat", "--base-url", url,
        "--endpoint", "/v1/chat/completions", "--model", MODEL, "--tokenizer", place.tokenizer, "--dataset-name", "custom",
        "--dataset-path", place.prompts, "--custom-output-len", "-1", "--num-prompts", str(load.requests), *how,
        "--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "99", "--disable-tqdm", "--save-result",
        "--result-dir", place.run, "--result-filename", "vllm.json",
    ]  # fmt: skip


def read(run: Path) -> Printed:
    """The output file of both clients."""
    said = read_json(run / "vllm.json")
    numbers = {
        f"{name}_ms": {
            "mean": said[f"mean_{name}_ms"],
            "p50": said[f"median_{name}_ms"],
            "p99": said[f"p99_{name}_ms"],
        }
        for name in ("ttft", "tpot", "itl", "e2el")
    }
    return Printed(said["completed"], said["total_output_tokens"], numbers)


TOOL = Tool(
    title="vllm bench serve (Rust)", version=VERSION, compat="vllm", install=_install, command=_command, read=read
)
