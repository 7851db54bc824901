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
    by_name = {"python": platform.python_version()}
    by_name |= {package: installed[package] for package in PACKAGES if package in installed}
    by_name["core"] = native.in_use()
    return by_name


def _installed(folders: Iterable[str]) -> dict[str, str]:
    """The version of each installed package, by name, from folder names (`uvloop-0.22.1.dist-info`).
    `importlib.metadata` gives the same, but parses each package's whole metadata."""
    packages: dict[str, str] = {}
    for folder in folders:
        with suppress(OSError):
            for entry in os.scandir(folder or "."):
                name, dash, version = entry.name.removesuffix(".dist-info").partition("-")
                if dash and entry.name.endswith(".dist-info"):
                    packages.setdefault(name.lower(), version)  # The first match is the one that an import would load.
    return packages


def processors() -> int:
    """How many processors this process may use: its affinity mask, capped by its control group."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    allowed, limit = len(os.sched_getaffinity(0)), cpu_limit()
    return allowed if limit is None else min(allowed, max(1, int(limit)))


def host() -> dict[str, str | int]:
    """The machine: name, system, processor and memory, as far as the system reports them."""
    facts: dict[str, str | int] = {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
        "processors": processors(),
    }
    if (limit := cpu_limit()) is not None:
        facts["cpu_limit"] = f"{limit:g}"
    if sys.platform != "win32":
        facts["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    return facts


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
