"""Live progress in the terminal: how far the load is, what is left, what users feel now, and the objectives so far.

Drawn by hand rather than with a library: it runs inside the measuring loop, where a rendering of some milliseconds would
be seen in every user stamp. A thread does the writing, so that a terminal that has stopped (Ctrl-S) stops nothing else. On
anything but a terminal a plain line is written after a second, and every ten seconds.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Full, Queue
from typing import TextIO

from bench.clock import NS_PER_MS, NS_PER_S, Clock, Timer
from bench.load.progress_tally import PhaseTally, ProgressTally, metrics_of
from bench.metrics.histogram import LogHistogram
from bench.metrics.objectives import Objective
from bench.records import Outcome, RequestRecord

RECENT_NS = 10 * NS_PER_S
"""Rates and latencies shown are those of the last so many seconds: a live view shows now, the report shows all."""
DRAW_EVERY_NS = NS_PER_S // 2
FIRST_LINE_NS, LINE_EVERY_NS = NS_PER_S, 10 * NS_PER_S
"""Where the output is no terminal."""

_BAR = 20
_OBJECTIVES_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What ends the load, and what it must hold. Warm-up comes on top of both limits."""

    requests: int | None = None
    duration_s: float | None = None
    warmup_requests: int = 0
    warmup_s: float = 0.0
    objectives: tuple[Objective, ...] = ()


class Live:
    """Told of every record, or of tallies of them. `counts` gives the dispatchers' numbers at an instant."""

    def __init__(
        self, clock: Clock, counts: Callable[[int], dict[str, int]], goal: Goal, stream: TextIO, *, quiet: bool
    ) -> None:
        self._clock = clock
        self._counts = counts
        self._goal = goal
        self._terminal = stream.isatty()
        self._colour = self._terminal and "NO_COLOR" not in os.environ
        self._quiet = quiet
        self._metrics = metrics_of(goal.objectives)
        self._new = ProgressTally(self._metrics)
        self._recent = deque[tuple[int, ProgressTally]]()
        self._run = PhaseTally(self._metrics).fold()
        """All that has ended after the warm-up: of that the objectives speak."""
        self._dropped = 0
        self._run_start_ns: int | None = None
        self._lines_drawn = 0
        self._timer: Timer | None = None
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
            first_ns = DRAW_EVERY_NS if self._terminal else FIRST_LINE_NS
            self._timer = self._clock.call_at(self._start_ns + first_ns, self._tick)

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
        every_ns = DRAW_EVERY_NS if self._terminal else LINE_EVERY_NS
        self._timer = self._clock.call_at(due_ns + every_ns, self._tick)

    def _draw(self) -> None:
        lines = self.lines(self._clock.now_ns())
        if self._terminal:
            width = self._writer.columns - 1
            erase = self._erase()
            self._lines_drawn = len(lines)
            self._writer.write(erase + "\n".join(self._coloured(line[:width]) for line in lines) + "\n")
        else:
            told = (line.strip().lstrip("━─#-").strip() for line in lines)
            self._writer.write(" | ".join(told) + "\n")

    def _coloured(self, line: str) -> str:
        bad = line.startswith("  errors") or line.endswith("missed so far")
        return f"\x1b[31m{line}\x1b[0m" if bad and self._colour else line

    def _erase(self) -> str:
        drawn, self._lines_drawn = self._lines_drawn, 0
        return f"\x1b[{drawn}A\x1b[J" if drawn else ""

    def lines(self, now_ns: int) -> list[str]:
        """What is shown at this instant: a bar, then a few short lines."""
        counts, goal = self._counts(now_ns), self._goal
        recent, span_s = self._take(now_ns)
        begun = counts["sent"] > goal.warmup_requests and now_ns - self._start_ns >= goal.warmup_s * NS_PER_S
        if self._run_start_ns is None and begun:
            self._run_start_ns = now_ns if goal.warmup_requests else self._start_ns + round(goal.warmup_s * NS_PER_S)
        run_s = 0.0 if self._run_start_ns is None else (now_ns - self._run_start_ns) / NS_PER_S
        ended_per_s = recent.outcomes.total() / span_s
        share, told = self._way(now_ns, counts, run_s, ended_per_s)
        shown = ("TTFT", "TPOT") if recent.values["ttft"].count else ("E2EL",)
        latencies = [f"{name} {_p50_p99(recent.values[name.lower()])}" for name in shown]
        due = counts["planned"] - counts["sent"] - self._dropped
        failed, share_failed = self._run.failures.total(), self._run.failed_share
        return [
            f"  {self._bar(share)} {share:4.0%}  {told}" if share is not None else f"  {told}",
            f"  sent {counts['sent']:,}  done {counts['done']:,}  in flight {counts['in_flight']:,}"
            f"  failed {failed:,} ({share_failed or 0:.1%})"
            + (f"  waiting for a slot {due:,}" if due > 0 else "")
            + (f"  dropped {self._dropped:,}" if self._dropped else ""),
            f"  {ended_per_s:,.1f} requests/s  {recent.output_tokens / span_s:,.0f} tokens/s",
            *(["  " + "  ".join(latencies)] if recent.succeeded else []),
            *self._objective_lines(run_s),
            *self._error_lines(),
        ]

    def _take(self, now_ns: int) -> tuple[PhaseTally, float]:
        """What has ended within RECENT_NS, and of how many seconds that is."""
        new, self._new = self._new, ProgressTally(self._metrics)
        self._run.merge(new.run)
        self._dropped += new.run.outcomes[Outcome.DROPPED] + new.warmup.outcomes[Outcome.DROPPED]
        self._recent.append((now_ns, new))
        while self._recent[0][0] <= now_ns - RECENT_NS:
            self._recent.popleft()
        recent = PhaseTally()
        for _, tally in self._recent:
            recent.merge(tally.run)
            recent.merge(tally.warmup)
        return recent, max(min(now_ns - self._start_ns, RECENT_NS) / NS_PER_S, 1e-9)

    def _way(self, now_ns: int, counts: dict[str, int], run_s: float, ended_per_s: float) -> tuple[float | None, str]:
        """How much of the load is done, and in words; None where nothing is known to end it."""
        goal = self._goal
        done = counts["done"] + self._dropped
        shares, parts, left_s = [], [], []
        if self._run_start_ns is None and (goal.warmup_requests or goal.warmup_s):
            parts.append("warm-up")
        if goal.requests is not None:
            total = goal.requests + goal.warmup_requests
            shares.append(done / total)
            parts.append(f"{done:,} of {total:,} requests")
            if ended_per_s > 0:
                left_s.append((total - done) / ended_per_s)
        if goal.duration_s is not None:
            passed_s = min(run_s, goal.duration_s)
            shares.append(passed_s / goal.duration_s)
            parts.append(f"{passed_s:.0f} of {goal.duration_s:g} s")
            left_s.append(goal.duration_s - passed_s)
        if not shares:
            return None, ", ".join([*parts, f"{(now_ns - self._start_ns) / NS_PER_S:.0f} s"])
        all_sent = goal.requests is not None and counts["sent"] + self._dropped >= goal.requests + goal.warmup_requests
        if (all_sent or (goal.duration_s is not None and run_s >= goal.duration_s)) and counts["in_flight"]:
            parts.append(f"all sent, {counts['in_flight']:,} in flight")
        elif left_s and max(shares) < 1:
            about = "" if goal.requests is None else "about "
            parts.append(f"{about}{_time(min(left_s))} left")
        return min(max(shares), 1.0), ", ".join(parts)

    def _bar(self, share: float) -> str:
        full, empty = ("━", "─") if self._writer.unicode else ("#", "-")
        done = round(share * _BAR)
        return full * done + empty * (_BAR - done)

    def _objective_lines(self, run_s: float) -> list[str]:
        lines = []
        for objective in self._goal.objectives[:_OBJECTIVES_SHOWN]:
            value = self._run.value_of(objective, run_s)
            if value is None:
                lines.append(f"  {objective.text}: nothing yet")
            else:
                state = "held" if objective.holds(value) else "missed"
                lines.append(f"  {objective.text}: {_value(value, objective.unit)}, {state} so far")
        if (more := len(self._goal.objectives) - _OBJECTIVES_SHOWN) > 0:
            lines.append(f"  and {more} more objectives")
        return lines

    def _error_lines(self) -> list[str]:
        """How requests failed after the warm-up, the most frequent first."""
        failures = self._run.failures
        if not failures.total():
            return []
        return ["  errors: " + ", ".join(f"{n:,} {outcome}" for outcome, n in failures.most_common(3))]


def _p50_p99(histogram: LogHistogram) -> str:
    if not histogram.count:
        return "-"
    ordered = histogram.snapshot()
    return f"p50 {ordered.quantile(0.5) / NS_PER_MS:.1f} p99 {ordered.quantile(0.99) / NS_PER_MS:.1f} ms"


def _value(value: float, unit: str) -> str:
    if unit == "share":
        return f"{value:.2%}"
    return f"{value:,.1f}{'' if unit.startswith('1') else ' '}{unit.removeprefix('1')}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Writer:
    """Writes texts from a thread of its own, and drops those that a stopped terminal does not take."""

    def __init__(self, stream: TextIO) -> None:
        self._texts: Queue[str | None] = Queue(maxsize=16)
        self._fd = stream.fileno()
        self.unicode = "utf" in (stream.encoding or "").lower()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    @property
    def columns(self) -> int:
        """The terminal's width now."""
        try:
            return os.get_terminal_size(self._fd).columns or 80
        except OSError:
            return 80

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
