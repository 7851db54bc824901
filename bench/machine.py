"""What a result must say of the machine and the software that it was measured with."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench import native

PACKAGES = ("trueload", "uvloop", "httpx", "httpcore", "httptools", "orjson", "tokenizers")


def versions() -> dict[str, str]:
    """Python's version and those of the packages on the measuring path; missing packages are left out. And what reads:
    `compiled` or `python` (bench/native)."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    found["core"] = native.in_use()
    return found


def processors() -> int:
    """How many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def host() -> dict[str, str | int]:
    """The machine: its name, system, processor and memory, as far as the system tells."""
    told: dict[str, str | int] = {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
        "processors": processors(),
    }
    if sys.platform != "win32":
        told["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    return told


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
