"""What a tool is to this comparison, and what they have in common."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "mock-model"
OUTPUT_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Load:
    """`streams` users without pause, or `rate` requests/s with Poisson arrivals; `mock` are more flags of the mock."""

    title: str
    requests: int
    streams: int | None = None
    rate: float | None = None
    mock: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tool is installed (`tool`), where one run may write (`run`), and what all share: a tokenizer's folder and the
    prompts, as {"prompt", "output_tokens"} a line and as {"text", "output_length"} a line."""

    tool: Path
    run: Path
    tokenizer: Path
    prompts: Path
    texts: Path


@dataclass(frozen=True, slots=True)
class Printed:
    """What a tool printed, in ms: for each of ttft_ms, e2el_ms, tpot_ms, itl_ms its mean, p50 and p99. `says` is what it
    says of its own measurement, where it says anything."""

    succeeded: int
    output_tokens: int
    numbers: dict[str, dict[str, float]]
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """`compat` is its key in `compat` of summary.json; None: its numbers are defined as `latency` is. `measured` are the
    exit statuses that come with numbers."""

    title: str
    version: str
    compat: str | None
    install: Callable[[Path], None]
    command: Callable[[Load, str, Place], list[str | Path]]
    read: Callable[[Path], Printed]
    measured: tuple[int, ...] = (0,)


def make_environment(folder: Path, *requirements: str) -> None:
    """A virtual environment with these packages, if there is none yet."""
    done = folder / "installed"
    if done.exists() and done.read_text() == " ".join(requirements):
        return
    print(f"== installing {' '.join(requirements)} (minutes)", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
        check=True,
    )
    done.write_text(" ".join(requirements))


def read_json(path: Path) -> dict[str, Any]:
    """The content of a file that a tool wrote."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content
