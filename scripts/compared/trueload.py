"""Trueload itself."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from compared.tool import Load, Place, Printed, Tool, folder_bytes, read_json


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


def _size(folder: Path) -> int:
    """The installed size of this checkout's packages and their dependencies."""
    root = Path(__file__).parents[2]
    own = sum(folder_bytes(root / name) for name in ("bench", "mockserver", "datasets"))
    seen: set[str] = set()
    _needs("trueload", seen)
    sizes = [file.size or 0 for name in seen for file in distribution(name).files or ()]
    return own + sum(sizes)


def _needs(name: str, seen: set[str]) -> None:
    try:
        requires = distribution(name).requires or ()
    except PackageNotFoundError:
        return
    seen.add(name)
    for line in requires:
        needed = re.match(r"[\w.-]+", line)
        if needed and "extra ==" not in line and needed[0] not in seen:
            _needs(needed[0], seen)


TOOL = Tool(
    title="Trueload",
    version=version("trueload"),
    compat=None,
    install=lambda folder: None,
    command=_command,
    read=_read,
    size=_size,
    measured=(0, 3),  # 3 is INVALID: it says so, and the numbers are there.
)
