"""Before the load: whether this machine has the file descriptors and local ports for it."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.errors import UsageError

SPARE_FILES = 64
"""Descriptors for everything that is not a connection."""


def check(connections: int, *, certain: bool = True) -> None:
    """Make sure that so many connections can be open at once. Raises UsageError with every limit that is too low.

    Where the number is an estimate (`certain` False), limits are raised as far as they go, and nothing is refused.
    """
    if not certain:
        open_files_for(min(connections, _most_files() - SPARE_FILES))
        return
    problems = []
    for limit in (open_files_for, local_ports_for):
        try:
            limit(connections)
        except UsageError as e:
            problems += e.problems
    if problems:
        raise UsageError(problems)


def _most_files() -> int:
    """The hard limit of open files."""
    if sys.platform == "win32":
        return 2**31
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2**31 if hard == resource.RLIM_INFINITY else hard


def open_files_for(connections: int) -> None:
    """Raise the soft limit of open files as far as is needed. Raises UsageError where the hard limit is too low."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = connections + SPARE_FILES
    if soft >= need or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < need:
        raise UsageError(
            f"{connections} requests in flight need {need} open files, and the limit here is {hard}: "
            f"lower the concurrency, or raise the limit (ulimit -Hn {need})"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))


def local_ports_for(connections: int, ports_file: Path = Path("/proc/sys/net/ipv4/ip_local_port_range")) -> None:
    """Check that there are ports for so many connections to one address. Raises UsageError where there are not."""
    try:
        low, high = (int(word) for word in ports_file.read_text().split())
    except (OSError, ValueError):
        return  # Not Linux: nothing is known, so nothing is refused.
    if connections > (ports := high - low + 1):
        raise UsageError(
            f"{connections} requests in flight need as many local ports, and this machine has {ports}: "
            "lower the concurrency, or widen net.ipv4.ip_local_port_range"
        )
