"""What a result must say of the machine and the software that it was measured with."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bench import native
from bench.machine.cpu_limit import cpu_limit

PACKAGES = ("trueload", "uvloop", "httpx", "httpcore", "httptools", "orjson", "tokenizers")


def versions() -> dict[str, str]:
    """Python's version and those of the packages on the measuring path; missing packages are left out. And what reads:
    `compiled` or `python` (bench/native)."""
    installed = _installed(sys.path)
    found = {"python": platform.python_version()}
    found |= {package: installed[package] for package in PACKAGES if package in installed}
    found["core"] = native.in_use()
    return found


def _installed(folders: Iterable[str]) -> dict[str, str]:
    """The version of each installed package by its name, from the names of their folders (`uvloop-0.22.1.dist-info`): what
    `importlib.metadata` says, which parses the whole description of a package for it."""
    found: dict[str, str] = {}
    for folder in folders:
        with suppress(OSError):
            for entry in os.scandir(folder or "."):
                name, dash, version = entry.name.removesuffix(".dist-info").partition("-")
                if dash and entry.name.endswith(".dist-info"):
                    found.setdefault(name.lower(), version)  # The first that an import would find.
    return found


def processors() -> int:
    """How many processors this process may use: those of its affinity mask, within the limit of its control group."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    allowed, limit = len(os.sched_getaffinity(0)), cpu_limit()
    return allowed if limit is None else min(allowed, max(1, int(limit)))


def host() -> dict[str, str | int]:
    """The machine: its name, system, processor and memory, as far as the system tells."""
    told: dict[str, str | int] = {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
        "processors": processors(),
    }
    if (limit := cpu_limit()) is not None:
        told["cpu_limit"] = f"{limit:g}"
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
