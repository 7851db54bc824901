"""Live progress in the terminal: what was planned, sent and answered, and what users feel right now.

Drawn by hand rather than with a library: it runs inside the measuring loop, where a rendering of some milliseconds would
be seen in every user stamp. Drawing takes some 0.1 ms; a thread does the writing, so that a terminal that has stopped
(Ctrl-S) stops nothing else. On anything but a terminal a plain line is written every ten seconds.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from queue import Full, Queue
from typing import TextIO

from bench.clock import NS_PER_S, Clock, Timer
from bench.metrics import per_request
from bench.metrics.quantile import quantile
from bench.records import Outcome, RequestRecord

RECENT = 1_000
"""Latencies shown are those of the last so many requests: a live view shows now, the report shows all."""


class Live:
    """Told of every record; draws `every_ns`. `counts` gives planned, sent, done and in_flight at an instant."""

    def __init__(
        self, clock: Clock, counts: Callable[[int], dict[str, int]], goal: str, stream: TextIO, *, quiet: bool
    ) -> None:
        self._clock = clock
        self._counts = counts
        self._goal = goal
        self._terminal = stream.isatty()
        self._quiet = quiet
        self._every_ns = NS_PER_S // 2 if self._terminal else 10 * NS_PER_S
        self._ttft = deque[float](maxlen=RECENT)
        self._tpot = deque[float](maxlen=RECENT)
        self._e2el = deque[float](maxlen=RECENT)
        self._failures = Counter[Outcome]()
        self._lines_drawn = 0
        self._timer: Timer | None = None
        self._before: tuple[int, dict[str, int]] | None = None
        self._writer = _Writer(stream)

    def add(self, record: RequestRecord) -> None:
        """A request has ended."""
        if record.outcome is not Outcome.OK:
            self._failures[record.outcome] += 1
            return
        for values, metric in (
            (self._ttft, per_request.ttft_ms),
            (self._tpot, per_request.tpot_ms),
            (self._e2el, per_request.e2el_ms),
        ):
            value = metric(record)
            if value is not None:
                values.append(value)

    def start(self) -> None:
        self._start_ns = self._clock.now_ns()
        if not self._quiet:
            self._timer = self._clock.call_at(self._start_ns + self._every_ns, self._tick)

    def say(self, text: str) -> None:
        """A line for people that stays, above the moving ones."""
        if not self._quiet:
            self._writer.write(self._erase() + text + "\n")

    def stop(self) -> None:
        """Draw a last time and let go of the terminal."""
        if self._timer is not None:
            self._timer.cancel()
            if self._terminal:
                self._draw()
        self._writer.close()

    def _tick(self) -> None:
        assert self._timer is not None
        due_ns = self._timer.deadline_ns
        self._draw()
        self._timer = self._clock.call_at(due_ns + self._every_ns, self._tick)

    def _draw(self) -> None:
        now = self._clock.now_ns()
        lines = self.lines(now)
        if self._terminal:
            erase = self._erase()
            self._lines_drawn = len(lines)
            self._writer.write(erase + "\n".join(lines) + "\n")
        else:
            self._writer.write(" | ".join(line.strip() for line in lines) + "\n")

    def _erase(self) -> str:
        drawn, self._lines_drawn = self._lines_drawn, 0
        return f"\x1b[{drawn}A\x1b[J" if drawn else ""

    def lines(self, now_ns: int) -> list[str]:
        """What is shown at this instant, a few short lines."""
        counts = self._counts(now_ns)
        elapsed_s = (now_ns - self._start_ns) / NS_PER_S
        before_ns, before = self._before or (self._start_ns, dict.fromkeys(counts, 0))
        span_s = max((now_ns - before_ns) / NS_PER_S, 1e-9)
        rate = {key: (counts[key] - before[key]) / span_s for key in ("planned", "sent", "done")}
        self._before = (now_ns, counts)
        failed = sum(self._failures.values())
        errors = ", ".join(f"{n} {outcome}" for outcome, n in self._failures.most_common(3)) if failed else "none"
        return [
            f"{elapsed_s:6.1f} s   planned {counts['planned']:,}   sent {counts['sent']:,}   done {counts['done']:,}"
            f" of {self._goal}   in flight {counts['in_flight']:,}",
            f"  per second: planned {rate['planned']:.1f}  sent {rate['sent']:.1f}  done {rate['done']:.1f}",
            f"  {self._latency('TTFT', self._ttft)}   {self._latency('TPOT', self._tpot)}"
            + ("" if self._ttft else f"   {self._latency('E2EL', self._e2el)}"),
            f"  errors: {errors}",
        ]

    def _latency(self, name: str, values: deque[float]) -> str:
        if not values:
            return f"{name} -"
        ordered = sorted(values)
        return f"{name} p50 {quantile(ordered, 0.5):.1f} p99 {quantile(ordered, 0.99):.1f} ms"


class _Writer:
    """Writes texts from a thread of its own, and drops those that a stopped terminal does not take."""

    def __init__(self, stream: TextIO) -> None:
        self._texts: Queue[str | None] = Queue(maxsize=16)
        self._fd = stream.fileno()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        with suppress(Full):
            self._texts.put_nowait(text)

    def close(self) -> None:
        try:
            self._texts.put_nowait(None)
        except Full:
            return
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while (text := self._texts.get()) is not None:
            try:
                os.write(self._fd, text.encode())
            except OSError:
                return


def stderr() -> TextIO:
    """Where progress goes: never into what a script reads."""
    return sys.stderr
