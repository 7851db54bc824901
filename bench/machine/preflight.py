"""Checks before the load: file descriptors, local ports, address space and timers."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.clock import left_of_a_minute_s
from bench.errors import UsageError

if sys.platform != "win32":
    import resource

SPARE_FILES = 64
"""Descriptors for everything except connections."""

LEAST_FILES = 48
"""With fewer, no run can start."""

LEAST_MEMORY = 600_000_000
"""Bytes of address space that a small run and its report need. With less, libraries fail to load, or abort."""

_RESERVED_FILES = 12
"""Descriptors for the files and connections that are opened after the load."""


def check(connections: int, *, certain: bool = True) -> str | None:
    """Make sure that this many connections can be open at once. Raises UsageError naming every limit that is too low.

    If the number is an estimate (`certain` False), limits are raised as far as possible, nothing is refused, and the
    return value is a sentence on what may go wrong.
    """
    if not certain:
        most = _most_files()
        open_files_for(min(connections, most - SPARE_FILES))
        if (room := room_for_connections()) >= connections:
            return None
        return (
            f"the limit of open files here ({most}) has room for about {room + SPARE_FILES // 2} requests in flight, and "
            f"this load may have {connections}: those beyond it will fail (ulimit -Hn {connections + SPARE_FILES})"
        )
    problems = []
    for limit in (open_files_for, local_ports_for):
        try:
            limit(connections)
        except UsageError as e:
            problems += e.problems
    if problems:
        raise UsageError(problems)
    return None


def least_files() -> None:
    """Make sure that a run can start at all. Raises UsageError if the limit of open files is too low for any run, or if
    Trueload has no event loop for this system."""
    if sys.platform == "win32":
        raise UsageError(
            "loads are sent from Linux and macOS: on Windows run Trueload inside WSL 2 (report, compare and gate work here)"
        )
    if (most := _most_files()) < LEAST_FILES:
        raise UsageError(
            f"a run needs at least {LEAST_FILES} open files, and the limit here is {most}: raise it (ulimit -Hn 1024)"
        )
    open_files_for(LEAST_FILES - SPARE_FILES)


def least_memory() -> None:
    """Make sure that a run and its report have enough address space. Raises UsageError if not."""
    if sys.platform == "win32":
        return
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most != resource.RLIM_INFINITY and most < LEAST_MEMORY:
        raise UsageError(
            f"a run needs at least {LEAST_MEMORY // 1_000_000} MB of address space, and the limit here is "
            f"{most // 1_000_000} MB: raise it (ulimit -v unlimited)"
        )


def kernel_time() -> None:
    """Make sure that the kernel's timers run on the clock that this process reads. Raises UsageError if they do not, or
    if timers are forbidden."""
    if sys.platform != "linux":
        return
    try:
        left_s = left_of_a_minute_s()
    except OSError as e:
        if e.errno not in (errno.EPERM, errno.ENOSYS):
            raise
        raise UsageError(
            f"this system refuses a timer ({e.strerror}: {os.strerror(e.errno)}), and without one nothing can be measured: "
            "run it where timerfd_create(2) is allowed (a sandbox may forbid it)"
        ) from e
    if not 30 <= left_s <= 60:
        raise UsageError(
            "the time that this process is told is not the kernel's, so nothing can be measured: is it started with "
            "libfaketime (LD_PRELOAD)? Start it without"
        )


def room_for_connections() -> int:
    """How many connections the soft limit of open files allows now, less the spare descriptors."""
    if sys.platform == "win32":
        return 2**31
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2**31 if soft == resource.RLIM_INFINITY else max(soft - SPARE_FILES, 0)


@contextmanager
def files_kept() -> Iterator[None]:
    """Reserve a few descriptors, so that the report can be written even if the load uses up all others."""
    descriptors = []
    try:
        for _ in range(_RESERVED_FILES):
            descriptors.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass  # Reserve as many as there are.
    try:
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _most_files() -> int:
    """The hard limit of open files."""
    if sys.platform == "win32":
        return 2**31
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2**31 if hard == resource.RLIM_INFINITY else hard


def open_files_for(connections: int) -> None:
    """Raise the soft limit of open files as far as needed. Raises UsageError if the hard limit is too low."""
    if sys.platform == "win32":
        return
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
    """Check that there are enough local ports for this many connections to one address. Raises UsageError if not."""
    try:
        low, high = (int(word) for word in ports_file.read_text().split())
    except (OSError, ValueError):
        return  # Not Linux: the range is unknown, so nothing is refused.
    if connections > (ports := high - low + 1):
        raise UsageError(
            f"{connections} requests in flight need as many local ports, and this machine has {ports}: "
            "lower the concurrency, or widen net.ipv4.ip_local_port_range"
        )
