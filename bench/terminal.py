"""Shows a run on a terminal: messages, waits, and the progress of the load. Ctrl-C ends the load.

Drawn by hand rather than with a library: it runs inside the measuring loop, where rendering for a few milliseconds
would show up in every user stamp. A thread does the writing, so that a stopped terminal (Ctrl-S) stops nothing else. If
the output is not a terminal, a plain line is written after a second, and then every ten seconds.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from queue import Full, Queue
from typing import TextIO

from bench.load.live import LiveNumbers, LiveReplica, RecentLatency
from bench.load.worker_health import WorkerHealth, slowest_first
from bench.notices import SILENT, Notices, can_move
from bench.observer import Cadence, Control, Observer
from bench.process.stop_signals import StopSignals

DRAWN, LINES = Cadence(first_s=0.5, every_s=0.5), Cadence(first_s=1.0, every_s=10.0)
"""On a terminal, and elsewhere."""

_BAR = 20
_OBJECTIVES_SHOWN = 4
_WORKERS_SHOWN = 8
_REPLICAS_SHOWN = 8


class Terminal(Observer):
    """Writes to a stream, or nothing if quiet. Signals end the load in either case."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self.is_terminal = can_move(stream)
        self._colour = self.is_terminal and not os.environ.get("NO_COLOR")
        self._notices = SILENT if quiet else Notices(stream)
        self._writer: _Writer | None = None
        self._signals: StopSignals | None = None
        self._lines_drawn = 0

    def say(self, line: str) -> None:
        """Print a permanent line, above the ones that are redrawn."""
        if self._writer is None:
            self._notices(line)
        else:
            self._writer.write(self._erase() + line + "\n")

    def waiting(self, what: str | Callable[[], str]) -> AbstractContextManager[None]:
        """Shows what is awaited within a second."""
        return self._notices.waiting(what)

    @property
    def cadence(self) -> Cadence | None:
        """Often if lines are redrawn, seldom if each is permanent."""
        if self._quiet:
            return None
        return DRAWN if self.is_terminal else LINES

    def load_begins(self, control: Control) -> None:
        """From now on signals are for the load, and then for its report."""
        if not self._quiet:
            self._writer = _Writer(self._stream)
        if threading.current_thread() is threading.main_thread():  # Only the main thread receives signals.
            self._signals = StopSignals(control.interrupt, control.terminate, self._acknowledge)

    def progress(self, numbers: LiveNumbers) -> None:
        """Draw the current state of the load."""
        if self._writer is None:
            return
        if self.is_terminal:
            lines = self.lines(numbers, unicode=self._writer.unicode)
            drawn = [part for line in lines for part in self._fitted(line, self._writer.columns - 1)]
            erase = self._erase()
            self._lines_drawn = len(drawn)
            self._writer.write(erase + "\n".join(drawn) + "\n")
        else:
            parts = (line.strip().lstrip("━─#-").strip() for line in self.lines(numbers, unicode=False))
            self._writer.write(" | ".join(parts) + "\n")

    def lines(self, numbers: LiveNumbers, *, unicode: bool) -> list[str]:
        return load_lines(numbers, unicode=unicode)

    def load_ended(self) -> None:
        """Release the terminal. From now on signals are for the report."""
        if self._signals is not None:
            self._signals.report()
        if self._writer is not None:
            self._writer.close()
            self._writer, self._lines_drawn = None, 0

    def run_ended(self) -> None:
        """Restore the signal handlers."""
        if self._signals is not None:
            self._signals.release()
            self._signals = None

    def _acknowledge(self) -> None:
        # A signal handler may interrupt a write to the stream, which allows no other write meanwhile.
        if not self._quiet:
            with suppress(OSError, ValueError):
                os.write(self._stream.fileno(), b"the load is over: making the report (Ctrl-C again gives it up)\n")

    def _fitted(self, line: str, width: int) -> list[str]:
        """A line in its colour, wrapped if the terminal is narrower."""
        bad = line.startswith("  errors") or line.endswith("missed so far")
        parts = []
        while len(line) > width:
            at = line.rfind(" ", width // 2, width + 1)
            at = width if at < 0 else at
            parts.append(line[:at].rstrip())
            line = f"    {line[at:].lstrip()}" if width > 20 else ""
        return [f"\x1b[31m{part}\x1b[0m" if bad and self._colour else part for part in (*parts, line)]

    def wipe(self) -> None:
        """Erase the lines of the load, if they were drawn."""
        if self._writer is not None:
            self._writer.write(self._erase())

    def _erase(self) -> str:
        drawn, self._lines_drawn = self._lines_drawn, 0
        return f"\x1b[{drawn}A\x1b[J" if drawn else ""


def load_lines(numbers: LiveNumbers, *, unicode: bool) -> list[str]:
    """A bar, then a few short lines."""
    shown = ("ttft", "tpot") if "ttft" in numbers.latencies else ("e2el",)
    latencies = [f"{name.upper()} {_p50_p99(numbers.latencies.get(name))}" for name in shown]
    share, way = numbers.share_done, _way(numbers)
    return [
        f"  {way}" if share is None else f"  {_bar(share, unicode=unicode)} {share:4.0%}  {way}",
        f"  {_load(numbers)}sent {numbers.sent:,}  done {numbers.done:,}  in flight {numbers.in_flight:,}"
        f"  failed {numbers.failed:,} ({numbers.failed_share or 0:.1%})"
        + (f"  waiting for a slot {numbers.waiting:,}" if numbers.waiting else "")
        + (f"  dropped {numbers.dropped:,}" if numbers.dropped else ""),
        _rates(numbers),
        *(["  " + "  ".join(latencies)] if numbers.latencies else []),
        *_objective_lines(numbers),
        *([] if numbers.precision is None else [f"  {numbers.precision}"]),
        *_worker_lines(numbers.workers),
        *_replica_lines(numbers.replicas),
        *_error_lines(numbers),
    ]


def _rates(numbers: LiveNumbers) -> str:
    """Output per second or, if no text is generated, input per second."""
    requests, inputs_are = f"  {numbers.requests_per_s:,.1f} requests/s", numbers.goal.inputs_are
    if inputs_are is None:
        return f"{requests}  {numbers.output_tokens_per_s:,.0f} tokens/s"
    if not numbers.goal.counts_tokens:
        return requests
    # Zero where no reply and no plan says them, too.
    tokens = f"  {numbers.input_tokens_per_s:,.0f} input tokens/s" if numbers.input_tokens_per_s else ""
    return f"{requests}  {numbers.inputs_per_s:,.1f} {inputs_are}/s{tokens}"


def _way(numbers: LiveNumbers) -> str:
    """How much of the load is done, in words."""
    goal = numbers.goal
    done = numbers.done + numbers.dropped
    parts = ["warm-up"] if numbers.warming_up else []
    if goal.requests is not None:
        parts.append(f"{done:,} of {goal.requests + goal.warmup_requests:,} requests")
    if goal.duration_s is not None:
        parts.append(f"{min(numbers.run_s, goal.duration_s):.0f} of {goal.duration_s:g} s")
    if numbers.share_done is None:
        parts.append(f"{numbers.elapsed_s:.0f} s")
    elif numbers.all_sent and numbers.in_flight:
        parts.append(f"all sent, {numbers.in_flight:,} in flight")
    elif numbers.left_s is not None and numbers.share_done < 1:
        about = "" if goal.requests is None else "about "
        parts.append(f"{about}{_time(numbers.left_s)} left")
    return ", ".join(parts)


def _load(numbers: LiveNumbers) -> str:
    if numbers.load is None or not numbers.load_unit:
        return ""
    singular = numbers.load == 1 and "/" not in numbers.load_unit
    return f"{numbers.load:.4g} {numbers.load_unit.removesuffix('s') if singular else numbers.load_unit}:  "


def _bar(share: float, *, unicode: bool) -> str:
    full, empty = ("━", "─") if unicode else ("#", "-")
    done = round(share * _BAR)
    return full * done + empty * (_BAR - done)


def _objective_lines(numbers: LiveNumbers) -> list[str]:
    lines = []
    for now in numbers.objectives[:_OBJECTIVES_SHOWN]:
        if now.value is None:
            when = "known at the end" if now.objective.of_jobs else "nothing yet"
            lines.append(f"  {now.objective.text}: {when}")
        else:
            state = "held" if now.held else "missed"
            lines.append(f"  {now.objective.text}: {_value(now.value, now.objective.unit)}, {state} so far")
    if (more := len(numbers.objectives) - _OBJECTIVES_SHOWN) > 0:
        lines.append(f"  and {more} more objectives")
    return lines


def _worker_lines(workers: tuple[WorkerHealth, ...]) -> list[str]:
    """The slowest worker and the lost ones, by name; then the lag and CPU use of each."""
    alive = [worker for worker in slowest_first(workers) if worker.died is None]
    lost = [worker.name for worker in workers if worker.died is not None]
    named = [f"lost: {', '.join(lost)}"] if lost else []
    if alive:
        named.insert(0, f"slowest: {alive[0].name}, {alive[0].loop_lag_ms:.1f} ms late")
    each = [
        f"{worker.worker}: {worker.loop_lag_ms:.1f} {'-' if worker.cpu is None else f'{worker.cpu:.0%}'}"
        for worker in alive[:_WORKERS_SHOWN]
    ]
    more = [f"and {len(alive) - _WORKERS_SHOWN} more"] if len(alive) > _WORKERS_SHOWN else []
    return [
        *(["  " + "; ".join(named)] if named else []),
        *(["  workers, ms late and CPU:  " + "  ".join([*each, *more])] if each else []),
    ]


def _replica_lines(replicas: tuple[LiveReplica, ...]) -> list[str]:
    """A line for each of several replicas: the most failures first, then the slowest."""
    worst = (
        sorted(replicas, key=lambda replica: (-replica.failed, -(replica.latency_ms or 0.0)))
        if len(replicas) > 1
        else []
    )
    lines = []
    for replica in worst[:_REPLICAS_SHOWN]:
        latency = "-" if replica.latency_ms is None else f"{replica.latency_ms:.1f} ms"
        lines.append(
            f"  {replica.replica}: {replica.requests_per_s:,.1f} requests/s  mean {latency}  failed {replica.failed:,}"
        )
    more = [f"  and {len(worst) - _REPLICAS_SHOWN} more replicas"] if len(worst) > _REPLICAS_SHOWN else []
    return [*lines, *more]


def _error_lines(numbers: LiveNumbers) -> list[str]:
    """Failures after the warm-up by kind, the most frequent first."""
    if not numbers.failures:
        return []
    return ["  errors: " + ", ".join(f"{n:,} {outcome}" for outcome, n in numbers.failures[:3])]


def _p50_p99(latency: RecentLatency | None) -> str:
    return "-" if latency is None else f"p50 {latency.p50:.1f} p99 {latency.p99:.1f} ms"


def _value(value: float, unit: str) -> str:
    if unit == "share":
        return f"{value:.2%}"
    return f"{value:,.1f}{'' if unit.startswith('1') else ' '}{unit.removeprefix('1')}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Writer:
    """Writes texts from its own thread, and drops those that a stopped terminal does not accept."""

    def __init__(self, stream: TextIO) -> None:
        self._texts: Queue[str | None] = Queue(maxsize=16)
        self._stream = stream
        # Its own: what a stopped terminal takes late cannot go into a file that was opened meanwhile.
        self._fd = os.dup(stream.fileno())
        self.unicode = "utf" in (stream.encoding or "").lower()
        self._encoding, self._errors = (
            stream.encoding or "utf-8",
            "replace" if self.unicode else stream.errors or "replace",
        )
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    @property
    def columns(self) -> int:
        """The terminal's current width."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
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
        try:
            while (text := self._texts.get()) is not None:
                os.write(self._fd, text.encode(self._encoding, self._errors))
        except OSError:
            pass
        finally:
            os.close(self._fd)


def terminal(quiet: bool) -> Terminal:
    """Where a command reports its progress: stderr, or nowhere."""
    return Terminal(sys.stderr, quiet=quiet)
