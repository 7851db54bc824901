"""What the client knows of itself, once a second: loop lag, CPU, time spent waiting for a processor, and the counts.

The lag is measured with the clock that paces the load: a wait of 20 ms after the last, and how late it came back. The
longest lag of a line is its pause, with the instants between which the loop did nothing: a process that was stopped
writes no line meanwhile, and finds the pause when it goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from bench.clock import NS_PER_MS, NS_PER_S, Clock, cpu_ns

SAMPLE_FIELDS: Mapping[str, str] = {
    "t_ns": "When.",
    "worker": "Which worker.",
    "loop_lag_ms": "How late each wait of 20 ms returned in this second.",
    "pause_ns": "Begin and end of the longest late wait, if it was late by over 5 ms.",
    "cpu": "The share of a processor that the worker used.",
    "run_queue_share": "The share of the time in which it was ready to run and had no processor, beyond the usual delay of a "
    "wake-up.",
    "in_flight": "Requests in flight now.",
    "in_flight_ns": "The area under that count since the start, in requests x ns.",
    "planned": "Requests that were due so far.",
    "sent": "Requests that were sent so far.",
    "done": "Requests that ended so far.",
}
"""The keys of a line of samples.jsonl."""

LAG_EVERY_NS = 20 * NS_PER_MS
SHORTEST_NS = 250 * NS_PER_MS
PAUSE_FROM_NS = 5 * NS_PER_MS
"""A shorter lag is written as lag alone."""


DISPATCH_NS = 10_000
"""The time to get a free processor that is awake: 5 to 8 us were measured on virtual machines."""
WAKING_NS = 30_000
"""The longest time to get a sleeping processor: 16 to 28 us were measured on an idle virtual machine at 100 streams."""
MUCH_IDLE = 0.4
"""If this share of the machine's processor time was idle, processors slept in between."""


class RunQueue(NamedTuple):
    """What Linux tells so far: ns that this thread was ready and did not run, how often it was given a processor; and of all
    processors together how much time there was, and how much of it was idle, in a unit of its own."""

    wait_ns: int
    times: int
    all_time: int
    idle_time: int


def run_queue() -> RunQueue | None:
    """The run queue as this thread sees it; None if Linux does not report it."""
    if sys.platform != "linux":
        return None
    try:
        # proc(5): time spent on the CPU, time spent waiting on a run queue, number of timeslices.
        _, wait_ns, times = map(int, Path("/proc/thread-self/schedstat").read_bytes().split())
        return RunQueue(wait_ns, times, *all_and_idle(Path("/proc/stat").read_bytes()))
    except (OSError, ValueError):
        return None


def all_and_idle(stat: bytes) -> tuple[int, int]:
    """The time of all processors together, and how much of it was idle, from /proc/stat."""
    # The first line: user, nice, system, idle, iowait, irq, softirq, steal; then guests, whose time is in user and nice too.
    spent = [int(part) for part in stat.split(b"\n", 1)[0].split()[1:9]]
    return sum(spent), sum(spent[3:5])


def waited_ns(before: RunQueue, after: RunQueue) -> int:
    """How long the thread waited for others between the two.

    A thread that is woken thousands of times a second waits some us each time, even on an empty machine. That is the cost
    of waking and no sign of other programs, whose turns last for milliseconds. The cost is higher if processors sleep in
    between, as they do when they are mostly idle.
    """
    all_time = after.all_time - before.all_time
    idle = all_time > 0 and (after.idle_time - before.idle_time) / all_time >= MUCH_IDLE
    waking_ns = WAKING_NS if idle else DISPATCH_NS
    return max(0, after.wait_ns - before.wait_ns - waking_ns * (after.times - before.times))


@dataclass(frozen=True, slots=True)
class ClientState:
    """How the client was in the last second, for live views."""

    loop_lag_ms: float = 0.0
    """The longest."""
    cpu: float | None = None
    run_queue_share: float | None = None
    slowest: str | None = None
    """The worker with this lag, if there are several."""


def worst(states: Iterable[ClientState]) -> ClientState:
    """The worst of several workers, number by number."""
    listed = list(states)
    return ClientState(
        loop_lag_ms=max((state.loop_lag_ms for state in listed), default=0.0),
        cpu=max((state.cpu for state in listed if state.cpu is not None), default=None),
        run_queue_share=max((s.run_queue_share for s in listed if s.run_queue_share is not None), default=None),
        slowest=max(listed, key=lambda state: state.loop_lag_ms).slowest if listed else None,
    )


class Sampler:
    """Writes a line a second, and one at `start` and at `stop`. `counts` gives the dispatcher's numbers at an instant."""

    def __init__(
        self, clock: Clock, counts: Callable[[int], dict[str, int]], write: Callable[[bytes], None], worker: int = 0
    ) -> None:
        self._clock = clock
        self._counts = counts
        self._write = write
        self._worker = worker
        self._lags_ns: list[int] = []
        self._pause_ns: tuple[int, int] | None = None
        self.client = ClientState()
        """As it was in the last whole second."""

    def start(self, load_ns: int) -> None:
        """Begin. The load begins at `load_ns`, and so do the counts: where that has passed, the first line is of that
        instant, at which nothing was in flight. A line of now would know nothing of what began in between."""
        now = self._last_ns = self._clock.now_ns()
        self._last_cpu_ns = cpu_ns()
        self._last_queue = run_queue()
        self._write_line(min(now, load_ns), {})
        self._second_timer = self._clock.call_at(now + NS_PER_S, self._second)
        self._lag_due_ns = now + LAG_EVERY_NS
        self._lag_timer = self._clock.call_at(self._lag_due_ns, self._lag)

    def stop(self) -> None:
        """End: the rest of the last second is written now."""
        self._second_timer.cancel()
        self._lag_timer.cancel()
        now = self._clock.now_ns()
        self._note_pause(now)
        if now - self._last_ns >= SHORTEST_NS:
            self._sample()
        else:  # Too short for its shares to mean anything: a few milliseconds of work would look like a busy second.
            self._write_line(now, {"loop_lag_ms": self._take_lags_ms()})

    def _lag(self) -> None:
        now = self._clock.now_ns()
        self._lags_ns.append(now - self._lag_due_ns)
        self._note_pause(now)
        self._lag_due_ns = now + LAG_EVERY_NS
        self._lag_timer = self._clock.call_at(self._lag_due_ns, self._lag)

    def _note_pause(self, now: int) -> None:
        """Keep the longest wait beyond its due instant since the last line."""
        due = self._lag_due_ns
        longest = PAUSE_FROM_NS if self._pause_ns is None else self._pause_ns[1] - self._pause_ns[0]
        if now - due > longest:
            self._pause_ns = due, now

    def _take_lags_ms(self) -> list[float]:
        lags, self._lags_ns = self._lags_ns, []
        return [round(lag / NS_PER_MS, 4) for lag in lags]

    def _second(self) -> None:
        due_ns = self._second_timer.deadline_ns
        self._sample()
        # Seconds that a pause swallowed are in this sample: another one right now would have no time to be a share of.
        missed = (self._last_ns - due_ns) // NS_PER_S
        self._second_timer = self._clock.call_at(due_ns + (missed + 1) * NS_PER_S, self._second)

    def _sample(self) -> None:
        now, cpu, queue = self._clock.now_ns(), cpu_ns(), run_queue()
        span_ns = now - self._last_ns
        shares: dict[str, Any] = {
            "loop_lag_ms": self._take_lags_ms(),
            "cpu": round((cpu - self._last_cpu_ns) / span_ns, 4),
        }
        if queue is not None and self._last_queue is not None:
            shares["run_queue_share"] = round(waited_ns(self._last_queue, queue) / span_ns, 4)
        self._last_ns, self._last_cpu_ns, self._last_queue = now, cpu, queue
        longest = max(shares["loop_lag_ms"], default=0.0)
        self.client = ClientState(longest, shares["cpu"], shares.get("run_queue_share"))
        self._write_line(now, shares)

    def _write_line(self, now: int, shares: dict[str, object]) -> None:
        if self._pause_ns is not None:
            shares["pause_ns"], self._pause_ns = self._pause_ns, None
        row = {"t_ns": now, "worker": self._worker, **shares, **self._counts(now)}
        self._write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
