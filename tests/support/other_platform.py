"""A process that has only what another system has: `python -m tests.support.other_platform [FOLDER]`.

Every module of ours is imported once, so that all third-party modules are loaded. Then, for one system after another,
the modules and names that it lacks are removed, and ours are imported again. Prints a line for each module that cannot
be imported, by system; a FOLDER replaces our packages.
"""

from __future__ import annotations

import gc
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import pkgutil
import select
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

OURS = ("bench", "mockserver", "promptset")
RUN_WHEN_IMPORTED = ("__main__", "_program")
"""Program modules: they do their work on import."""

_LINUX = {
    os: (
        "sched_",
        "SCHED_",
        "pidfd_",
        "timerfd_",
        "TFD_",
        "eventfd",
        "EFD_",
        "memfd_",
        "MFD_",
        "O_DIRECT",
        "O_TMPFILE",
    ),
    select: ("epoll", "EPOLL"),
    socket: ("SOCK_NONBLOCK", "SOCK_CLOEXEC", "SO_INCOMING_CPU", "SO_BINDTODEVICE", "MSG_NOSIGNAL"),
    signal: ("sigtimedwait", "sigwaitinfo", "SIGRTMIN", "SIGRTMAX", "SIGPWR", "SIGPOLL"),
}
_POSIX: dict[ModuleType, tuple[str, ...]] = {
    os: (
        *("fork", "nice", "setpriority", "getpriority", "PRIO_", "getuid", "geteuid", "getgid", "getegid", "getloadavg"),
        *("O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "pread", "pwrite", "preadv", "pwritev", "sysconf"),
        *("killpg", "setsid", "wait3", "wait4", "WNOHANG", "mkfifo", "chown", "fchown", "lockf", "posix_"),
    ),
    select: ("poll", "POLL"),
    socket: ("AF_UNIX", "CMSG_", "SCM_", "SO_REUSEPORT", "MSG_DONTWAIT", "send_fds", "recv_fds"),
    signal: ("SIGKILL", "SIGHUP", "SIGUSR", "SIGALRM", "SIGCHLD", "pthread_", "SIG_BLOCK", "SIG_UNBLOCK", "setitimer"),
}  # fmt: skip
LACKS = {
    "darwin": ((_LINUX,), ()),
    "win32": (
        (_LINUX, _POSIX),
        ("fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog", "uvloop", "readline"),
    ),
}  # fmt: skip
"""By system: the prefixes of names that it lacks, by module, and the modules that it lacks. Each system also lacks
everything that earlier ones lack."""


class _Missing(importlib.abc.MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


def modules_of(package: str) -> Iterator[str]:
    """Every module of a package except its programs, by name."""
    yield package
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not found.name.endswith(RUN_WHEN_IMPORTED):
            yield found.name


def become(platform: str) -> None:
    """Remove from this process what the other system lacks."""
    tables, missing = LACKS[platform]
    for table in tables:
        for module, beginnings in table.items():
            for name in [name for name in vars(module) if name.startswith(beginnings)]:
                delattr(module, name)
    for name in missing:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, _Missing(missing))
    sys.platform = platform


def problems(platforms: Sequence[str], packages: Sequence[str] = OURS) -> dict[str, list[str]]:
    """By platform, a line for each module that it cannot import, and how many there are. Each platform also lacks
    everything that earlier ones lack."""
    gc.disable()  # The imports stay anyway, or the process ends soon.
    names = [name for package in packages for name in modules_of(package)]
    for name in names:
        importlib.import_module(name)
    found: dict[str, list[str]] = {}
    for platform in platforms:
        for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
            del sys.modules[name]
        become(platform)
        found[platform] = []
        for name in names:
            try:
                importlib.import_module(name)
            except Exception as e:
                found[platform].append(f"{name}: {type(e).__name__}: {e}")
        found[platform].append(f"{len(names)} modules")
    return found


if __name__ == "__main__":
    if folder := sys.argv[1:2]:
        sys.path.insert(0, folder[0])
        print(json.dumps(problems([*LACKS], sorted(path.name for path in Path(folder[0]).iterdir()))))
    else:
        print(json.dumps(problems([*LACKS])))
