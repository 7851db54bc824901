"""This one."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from compared.tool import Load, Place, Printed, Tool, read_json


def _command(load: Load, url: str, place: Place) -> list[str | Path]:
    how = ["--concurrency", str(load.streams)] if load.rate is None else ["--rate", str(load.rate)]
    return [
        sys.executable, "-m", "bench", "run", "--url", url, *how, "--requests", str(load.requests),
        "--dataset", place.prompts, "--tokenizer", place.tokenizer, "--out", place.run / "run", "--quiet",
    ]  # fmt: skip


def _read(run: Path) -> Printed:
    summary = read_json(run / "run" / "summary.json")
    numbers = {
        key: {stat: summary["latency"][key][stat] for stat in ("mean", "p50", "p99")}
        for key in ("ttft_ms", "e2el_ms", "tpot_ms", "itl_ms")
    }
    return Printed(summary["counts"]["succeeded"], summary["tokens"]["output"], numbers, summary["verdict"]["status"])


TOOL = Tool(
    title="Trueload",
    version=version("trueload"),
    compat=None,
    install=lambda folder: None,
    command=_command,
    read=_read,
    measured=(0, 3),  # 3 is INVALID: it says so, and the numbers are there.
)
