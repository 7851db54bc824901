"""The client's own state, once a second: loop lag, CPU, time spent waiting for a processor, and the counts.

The lag is measured with the clock that paces the load: the lateness of each wait of 20 ms. The longest lag of a line is
its pause, with the instants between which the loop did nothing: a stopped process writes no line meanwhile, and finds
the pause when it continues.
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
    "used_s": "The processor time of all programs on the machine in this second, with the stolen time, in s.",
    "stolen_s": "The part of it that the hypervisor withheld, in s.",
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
"""A shorter lag is not recorded as a pause."""


DISPATCH_NS = 10_000
"""The time to get a free processor that is awake: 5 to 8 us were measured on virtual machines."""
WAKING_NS = 30_000
"""The longest time to get a sleeping processor: 16 to 28 us were measured on an idle virtual machine at 100 streams."""
MUCH_IDLE = 0.4
"""If this share of the machine's processor time was idle, processors slept in between."""


class RunQueue(NamedTuple):
    """Linux's counters so far: ns that this thread was ready and did not run, how often it got a processor; and for all
    processors together, the total time, the idle time and the stolen time, in hundredths of a second."""

    wait_ns: int
    times: int
    all_time: int
    idle_time: int
    stolen_time: int = 0


def run_queue() -> RunQueue | None:
    """This thread's run queue. Returns None if Linux does not report it."""
    if sys.platform != "linux":
        return None
    try:
        # proc(5): time spent on the CPU, time spent waiting on a run queue, number of timeslices.
        _, wait_ns, times = map(int, Path("/proc/thread-self/schedstat").read_bytes().split())
        return RunQueue(wait_ns, times, *processor_times(Path("/proc/stat").read_bytes()))
    except (OSError, ValueError):
        return None


def processor_times(stat: bytes) -> tuple[int, int, int]:
    """The total time of all processors, the idle part and the stolen part, from /proc/stat."""
    # The first line: user, nice, system, idle, iowait, irq, softirq, steal; then guests, whose time is also in user and
    # nice.
    spent = [int(part) for part in stat.split(b"\n", 1)[0].split()[1:9]]
    return sum(spent), sum(spent[3:5]), sum(spent[7:])


def waited_ns(before: RunQueue, after: RunQueue) -> int:
    """How long the thread waited for others between the two.

    A thread that is woken thousands of times a second waits some us each time, even on an empty machine. That is the
    cost of waking and not a sign of other programs, whose time slices last for milliseconds. The cost is higher if
    processors sleep in between, as they do when they are mostly idle.
    """
    all_time = after.all_time - before.all_time
    idle = all_time > 0 and (after.idle_time - before.idle_time) / all_time >= MUCH_IDLE
    waking_ns = WAKING_NS if idle else DISPATCH_NS
    return max(0, after.wait_ns - before.wait_ns - waking_ns * (after.times - before.times))


def used_ticks(before: RunQueue, after: RunQueue) -> int:
    """The time of all processors between the two that was not idle."""
    return max(0, after.all_time - after.idle_time - (before.all_time - before.idle_time))


@dataclass(frozen=True, slots=True)
class ClientState:
    """The state of the client in the last second, for live views."""

    loop_lag_ms: float = 0.0
    """The longest lag."""
    cpu: float | None = None
    run_queue_share: float | None = None
    slowest: str | None = None
    """The worker with this lag, if there are several."""


def worst(states: Iterable[ClientState]) -> ClientState:
    """The worst of several workers, for each number separately."""
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
        """The state in the last whole second."""

    def start(self, load_ns: int) -> None:
        """Begin. The load and its counts begin at `load_ns`. If that has passed, the first line is stamped with that
        instant, at which nothing was in flight; a line stamped now would miss what began in between."""
        now = self._last_ns = self._clock.now_ns()
        self._last_cpu_ns = cpu_ns()
        self._last_queue = run_queue()
        self._write_line(min(now, load_ns), {})
        self._second_timer = self._clock.call_at(now + NS_PER_S, self._second)
        self._lag_due_ns = now + LAG_EVERY_NS
        self._lag_timer = self._clock.call_at(self._lag_due_ns, self._lag)

    def stop(self) -> None:
        """End, and write the rest of the last second."""
        self._second_timer.cancel()
        self._lag_timer.cancel()
        now = self._clock.now_ns()
        self._note_pause(now)
        if now - self._last_ns >= SHORTEST_NS:
            self._sample()
        else:  # Too short for meaningful shares: a few milliseconds of work would look like a busy second.
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
        # This sample covers the seconds that a pause swallowed: another one right now would cover no time.
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
            shares["used_s"] = used_ticks(self._last_queue, queue) / 100
            shares["stolen_s"] = max(0, queue.stolen_time - self._last_queue.stolen_time) / 100
        self._last_ns, self._last_cpu_ns, self._last_queue = now, cpu, queue
        longest = max(shares["loop_lag_ms"], default=0.0)
        self.client = ClientState(longest, shares["cpu"], shares.get("run_queue_share"))
        self._write_line(now, shares)

    def _write_line(self, now: int, shares: dict[str, object]) -> None:
        if self._pause_ns is not None:
            shares["pause_ns"], self._pause_ns = self._pause_ns, None
        row = {"t_ns": now, "worker": self._worker, **shares, **self._counts(now)}
        self._write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
