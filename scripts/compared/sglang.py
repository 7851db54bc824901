"""SGLang's `bench_serving` in Python: the files of its wheel that send and measure, without torch and the engine."""

from __future__ import annotations

import json
from pathlib import Path

from compared.tool import (
    MODEL,
    OUTPUT_TOKENS,
    Load,
    Place,
    Printed,
    Tool,
    keep_of_wheel,
    make_environment,
    write_stand_ins,
)

VERSION = "0.5.23"

_NEEDS = (
    "aiohttp==3.14.5",
    "jinja2==3.1.6",
    "numpy==2.4.6",
    "pillow==13.0.0",
    "pybase64==1.5.1",
    "tqdm==4.70.1",
    "transformers==5.24.0",
    "msgspec==0.22.0",
    "orjson==3.13.0",
    "requests==2.34.2",
)
_STAND_INS = {
    "sglang/srt/disaggregation/utils.py": 'FAKE_BOOTSTRAP_HOST = "2.2.2.2"\n',
    "sglang/srt/utils/network.py": "def resolve_base_url(base_url, *_, **__): return base_url\n\n\n"
    "def resolve_host_port(host, port, **_): return host, port\n",
    "datasets.py": "def load_dataset(*a, **k): raise NotImplementedError\n",
}
"""Stand-ins for what the kept files import from the rest. None of it is involved in a request."""


def _install(folder: Path) -> None:
    make_environment(folder, *_NEEDS)
    keep_of_wheel(folder / "kept", f"sglang=={VERSION}", "sglang/benchmark/*")
    write_stand_ins(folder / "kept", _STAND_INS)


def flags(load: Load, url: str, place: Place) -> list[str | Path]:
    """The flags of both clients."""
    how = ["--max-concurrency", str(load.streams)] if load.rate is None else ["--request-rate", str(load.rate)]
    return [
        "--backend", "sglang-oai-chat", "--base-url", url, "--model", place.tokenizer, "--served-model-name", MODEL,
        "--dataset-name", "sharegpt", "--dataset-path", place.sharegpt, "--sharegpt-output-len", str(OUTPUT_TOKENS),
        "--num-prompts", str(load.requests), *how, "--disable-tqdm", "--output-file", place.run / "sglang.jsonl",
    ]  # fmt: skip


def _command(load: Load, url: str, place: Place) -> list[str | Path]:
    return [
        "env", f"PYTHONPATH={place.tool / 'kept'}", place.tool / "bin" / "python", "-m", "sglang.benchmark.serving",
        *flags(load, url, place),
    ]  # fmt: skip


def read(run: Path) -> Printed:
    """The output file of both clients. Some versions print fewer statistics of E2EL and TPOT: the missing ones are left
    out."""
    said = json.loads((run / "sglang.jsonl").read_text().splitlines()[-1])
    numbers = {
        f"{ours}_ms": {
            stat: said[f"{word}_{theirs}_ms"]
            for stat, word in (("mean", "mean"), ("p50", "median"), ("p99", "p99"))
            if f"{word}_{theirs}_ms" in said
        }
        for ours, theirs in (("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl"), ("e2el", "e2e_latency"))
    }
    return Printed(said["completed"], said["total_output_tokens"], numbers)


TOOL = Tool(
    title="sglang bench_serving (Python)",
    version=VERSION,
    compat="sglang",
    install=_install,
    command=_command,
    read=read,
    note="its client alone, from the wheel: without torch and the engine, so start, memory and MB are less than its users'",
)
