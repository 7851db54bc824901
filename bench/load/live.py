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

from bench.clock import NS_PER_MS, NS_PER_S, Clock, Timer
from bench.metrics import per_request
from bench.metrics.histogram import LogHistogram
from bench.records import Outcome, RequestRecord

RECENT_NS = 10 * NS_PER_S
"""Latencies shown are those of the last so many seconds: a live view shows now, the report shows all."""


class ProgressTally:
    """What has ended in a while: failures by outcome, and the latencies as histograms. Tallies add up in any order."""

    def __init__(self) -> None:
        self.failures = Counter[Outcome]()
        self.latencies = {"TTFT": LogHistogram(), "TPOT": LogHistogram(), "E2EL": LogHistogram()}

    def add(self, record: RequestRecord) -> None:
        """A request has ended."""
        if record.outcome is not Outcome.OK:
            self.failures[record.outcome] += 1
            return
        for name, metric in _METRICS.items():
            value_ms = metric(record)
            if value_ms is not None:
                self.latencies[name].extend((value_ms * NS_PER_MS,))

    def merge(self, other: ProgressTally) -> None:
        """Add what another worker, or another while, has seen."""
        self.failures.update(other.failures)
        for name, histogram in self.latencies.items():
            histogram.merge(other.latencies[name])


_METRICS = {"TTFT": per_request.ttft_ms, "TPOT": per_request.tpot_ms, "E2EL": per_request.e2el_ms}


class Live:
    """Told of every record, or of tallies of them. `counts` gives the dispatchers' numbers at an instant."""

    def __init__(
        self, clock: Clock, counts: Callable[[int], dict[str, int]], goal: str, stream: TextIO, *, quiet: bool
    ) -> None:
        self._clock = clock
        self._counts = counts
        self._goal = goal
        self._terminal = stream.isatty()
        self._quiet = quiet
        self._every_ns = NS_PER_S // 2 if self._terminal else 10 * NS_PER_S
        self._new = ProgressTally()
        self._recent = deque[tuple[int, ProgressTally]]()
        self._failures = Counter[Outcome]()
        self._lines_drawn = 0
        self._timer: Timer | None = None
        self._before: tuple[int, dict[str, int]] | None = None
        self._writer = _Writer(stream)

    def add(self, record: RequestRecord) -> None:
        """A request of this process has ended."""
        self._new.add(record)

    def merge(self, tally: ProgressTally) -> None:
        """What ended in another process since it last said so."""
        self._new.merge(tally)

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
        latencies = self._recent_latencies(now_ns)
        failed = sum(self._failures.values())
        errors = ", ".join(f"{n} {outcome}" for outcome, n in self._failures.most_common(3)) if failed else "none"
        return [
            f"{elapsed_s:6.1f} s   planned {counts['planned']:,}   sent {counts['sent']:,}   done {counts['done']:,}"
            f" of {self._goal}   in flight {counts['in_flight']:,}",
            f"  per second: planned {rate['planned']:.1f}  sent {rate['sent']:.1f}  done {rate['done']:.1f}",
            f"  {latencies['TTFT']}   {latencies['TPOT']}"
            + (f"   {latencies['E2EL']}" if "-" in latencies["TTFT"] else ""),
            f"  errors: {errors}",
        ]

    def _recent_latencies(self, now_ns: int) -> dict[str, str]:
        self._failures.update(self._new.failures)
        self._recent.append((now_ns, self._new))
        self._new = ProgressTally()
        while self._recent[0][0] < now_ns - RECENT_NS:
            self._recent.popleft()
        recent = ProgressTally()
        for _, tally in self._recent:
            recent.merge(tally)
        return {name: f"{name} {_p50_p99(histogram)}" for name, histogram in recent.latencies.items()}


def _p50_p99(histogram: LogHistogram) -> str:
    if not histogram.count:
        return "-"
    ordered = histogram.snapshot()
    return f"p50 {ordered.quantile(0.5) / NS_PER_MS:.1f} p99 {ordered.quantile(0.99) / NS_PER_MS:.1f} ms"


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
