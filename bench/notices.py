"""Tells people what a command is doing: permanent lines, and what it is waiting for.

A long wait is named within a second. On a terminal its line is animated, with what is awaited and for how long, and
erased when the wait is over. Elsewhere a plain line is written after a second, and then every ten seconds. A thread
does this, so that a wait may block. These notices are for the time before and after a load; `bench/load/live.py` covers
the load.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from bench.clock import NS_PER_S, now_ns

SHOWN_AFTER_S, TURN_EVERY_S, LINE_EVERY_S = 0.4, 0.1, 10.0
PLAIN_AFTER_S = 1.0

_SPINNER, _PLAIN_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"


def can_move(stream: TextIO) -> bool:
    """Whether the stream is a terminal whose lines can be redrawn."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Notices:
    """Writes to a stream, or nowhere if it is None. Call it with a line to print that line."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._terminal = stream is not None and can_move(stream)
        self._spinner = _PLAIN_SPINNER
        if stream is not None and "utf" in (getattr(stream, "encoding", None) or "").lower():
            self._spinner = _SPINNER
        self._lock = threading.Lock()
        self._drawn = False

    def __call__(self, line: str) -> None:
        """Print a permanent line."""
        with self._lock:
            self._erase()
            self._write(line + "\n")

    @contextmanager
    def waiting(self, what: str | Callable[[], str]) -> Iterator[None]:
        """Show what is awaited for as long as the wait lasts. One wait at a time."""
        if self._stream is None:
            yield
            return
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(what, over), name="notices", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(timeout=1.0)
            with self._lock:
                self._erase()

    def _watch(self, subject: str | Callable[[], str], over: threading.Event) -> None:
        began_ns = now_ns()
        turn = 0
        wait_s = SHOWN_AFTER_S if self._terminal else PLAIN_AFTER_S
        while not over.wait(wait_s):
            text = subject if isinstance(subject, str) else subject()
            passed_s = (now_ns() - began_ns) / NS_PER_S
            with self._lock:
                if over.is_set():
                    return
                if self._terminal:
                    self._draw(f"{self._spinner[turn % len(self._spinner)]} {text}", f" ({passed_s:.0f} s)")
                    wait_s = TURN_EVERY_S
                else:
                    self._write(f"{text} ({passed_s:.0f} s)\n")
                    wait_s = LINE_EVERY_S
            turn += 1

    def _draw(self, line: str, passed: str) -> None:
        """Draw a line. If it is too long, the text is cut, not the elapsed time."""
        assert self._stream is not None
        try:
            width = os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            width = 80
        self._write(f"\r\x1b[K{line[: width - 1 - len(passed)]}{passed}")
        self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            self._write("\r\x1b[K")
            self._drawn = False

    def _write(self, text: str) -> None:
        if self._stream is not None:
            with suppress(OSError, ValueError):  # The reader is gone: the measurement matters more.
                self._stream.write(text)
                self._stream.flush()


SILENT = Notices(None)
"""Prints nothing."""
