"""The machine and the software that a result records."""

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
    """The versions of Python and of the packages on the measuring path, and whether the core is `compiled` or `python`
    (bench/native). Packages that are not installed are left out."""
    installed = _installed(sys.path)
    found = {"python": platform.python_version()}
    found |= {package: installed[package] for package in PACKAGES if package in installed}
    found["core"] = native.in_use()
    return found


def _installed(folders: Iterable[str]) -> dict[str, str]:
    """The version of each installed package, by name, from folder names (`uvloop-0.22.1.dist-info`).
    `importlib.metadata` gives the same, but parses each package's whole metadata."""
    found: dict[str, str] = {}
    for folder in folders:
        with suppress(OSError):
            for entry in os.scandir(folder or "."):
                name, dash, version = entry.name.removesuffix(".dist-info").partition("-")
                if dash and entry.name.endswith(".dist-info"):
                    found.setdefault(name.lower(), version)  # The first match is the one that an import would load.
    return found


def processors() -> int:
    """How many processors this process may use: its affinity mask, capped by its control group."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    allowed, limit = len(os.sched_getaffinity(0)), cpu_limit()
    return allowed if limit is None else min(allowed, max(1, int(limit)))


def host() -> dict[str, str | int]:
    """The machine: name, system, processor and memory, as far as the system reports them."""
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
