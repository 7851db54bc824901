"""The CPU time limit set by control groups: `docker run --cpus`, or the limits of a pod.

A process may be allowed on every processor and still get only half a processor's time: the kernel stops its threads for
the rest of each period, usually 100 ms. The affinity mask does not show this.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

GROUPS = Path("/sys/fs/cgroup")


def cpu_limit(groups: Path = GROUPS, cgroup: Path = Path("/proc/self/cgroup")) -> float | None:
    """The lowest CPU limit of this process's control groups (v1 or v2), in processors. Returns None if there is no
    limit.

    A container often sees its own group as the root, so a path that does not exist is looked up in its parents.
    """
    try:
        lines = cgroup.read_text().splitlines()
    except OSError:
        return None
    limits = [limit for line in lines for limit in _limits(groups, *line.split(":", 2)[1:])]
    return min(limits, default=None)


def _limits(groups: Path, controllers: str = "", path: str = "") -> Iterator[float]:
    if controllers and "cpu" not in controllers.split(","):
        return
    for mount in [groups / controllers, groups / "cpu"] if controllers else [groups, groups / "unified"]:
        for group in (PurePosixPath(path), *PurePosixPath(path).parents):
            folder = mount / str(group).lstrip("/")
            with suppress(OSError, ValueError, ZeroDivisionError):
                if controllers:
                    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                    quota, period = ((folder / name).read_text().strip() for name in names)
                else:
                    quota, period = (folder / "cpu.max").read_text().split()
                if int(quota) > 0:  # "max" and -1 mean no limit.
                    yield int(quota) / int(period)
