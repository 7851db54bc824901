"""The limit that control groups set on processor time: `docker run --cpus`, or the limits of a pod.

A process may run on every processor and still get the time of half of one: the kernel stops its threads for the rest of each
period, which is 100 ms as a rule. No affinity mask shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

GROUPS = Path("/sys/fs/cgroup")


def cpu_limit(groups: Path = GROUPS, own: Path = Path("/proc/self/cgroup")) -> float | None:
    """The least limit of this process's control groups, of either version, in processors; None without one.

    A container often sees its own group as the root: a path that is not there is looked for further up.
    """
    try:
        lines = own.read_text().splitlines()
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
                if int(quota) > 0:  # "max" and -1: no limit.
                    yield int(quota) / int(period)
