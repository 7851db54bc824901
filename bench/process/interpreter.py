"""Setup of the interpreter that makes our processes start quickly. Called first, before other imports."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, ModuleType
from typing import NoReturn

GARBAGE_AT = 200_000
"""New objects before the collector runs. The imports of a run create 120,000 before its load, and all of them stay:
scanning them repeatedly takes an eighth of the start, and even once takes 0.02 s."""

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _LARGEST_KEPT = 64 << 20, 32 << 20
"""mallopt(3): the process keeps up to this many bytes of freed memory, in pieces of at most this size."""

TERMINATE = (signal.SIGTERM,) if sys.platform == "win32" else (signal.SIGTERM, signal.SIGHUP)
"""The signals that ask a process to end. SIGHUP comes when its terminal is closed."""

NO_PLUGINS = "__all__"
"""The value that tells pydantic to disable all plugins."""


def set_up() -> None:
    """Set up this process: the garbage collector runs rarely. And the processes that it starts: pydantic looks for no
    plugins (it would read the metadata of every installed package), and numpy starts no thread per processor (they
    would spin for a tenth of a second during the load: as long as the import itself)."""
    gc.set_threshold(GARBAGE_AT, 50, 50)
    _keep_freed_memory()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", NO_PLUGINS)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if os.environ["PYDANTIC_DISABLE_PLUGINS"] == NO_PLUGINS:
        _without_plugins()


def end_as_ctrl_c() -> None:
    """Have SIGTERM and SIGHUP raise KeyboardInterrupt in this process, unless they have a handler or are ignored (nohup)."""
    for number in TERMINATE:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def ended_at_once(status: int) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end this process with a status and without an exception.

    During imports there is nothing to clean up, and an exception while a compiled module initializes can crash the
    process, or be mistaken for a defect.
    """

    def end(number: int, frame: FrameType | None) -> NoReturn:
        with suppress(OSError, ValueError):
            print("error: interrupted", file=sys.stderr, flush=True)
        os._exit(status)

    with stop_signals_handled(end):
        yield


@contextmanager
def stop_signals_handled(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> Iterator[None]:
    """Set another handler for Ctrl-C, SIGTERM and SIGHUP, unless this process ignores them; restore the earlier ones on
    exit."""
    numbers = [n for n in (signal.SIGINT, *TERMINATE) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def woken_by_parents_end() -> None:
    """Have the kernel continue this process, if it is stopped (SIGSTOP), when its parent ends: it then finds its socket
    closed, and ends too. Only works on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGCONT))


def _keep_freed_memory() -> None:
    """Have glibc reuse freed arrays. By default it requests each array over 128 KiB from the kernel, and returns it: a
    tenth of the processor time of a report of 100,000 requests."""
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def _without_plugins() -> None:
    """Replace the module that looks for pydantic's plugins: it takes 0.01 s to find none."""
    loader = ModuleType("pydantic.plugin._loader")
    vars(loader)["get_plugins"] = tuple
    sys.modules.setdefault(loader.__name__, loader)


def leave(status: int) -> NoReturn:
    """End this process like `sys.exit`, but leave its memory to the kernel: deallocating all objects one by one would
    take a quarter of a second after a run.

    Exit functions are called and output is flushed. If other threads must end first, or under a profiler or debugger,
    it calls `sys.exit`.
    """
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    if others or sys.getprofile() is not None or sys.gettrace() is not None:
        sys.exit(status)
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # Python reports it, with its own status.
        sys.exit(status)
    os._exit(status)
