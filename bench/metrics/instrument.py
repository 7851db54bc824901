"""The client's data about itself: the lag of its loops, its processors, and the requests that its dispatcher had in
flight."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from math import fsum
from typing import Any

from bench.clock import NS_PER_MS, NS_PER_S
from bench.metrics.histogram import LogHistogram
from bench.metrics.quantile import quantile
from bench.results.load import CpuShare, LongestPause, LoopLag, RunQueueShare, StolenTime

BUSY_SHARE = 0.9
"""A second counts as busy if a worker used more of a processor than this."""

EXACT_LIMIT = 200_000


class _Worker:
    """The data of one worker, one value per sample."""

    def __init__(self) -> None:
        self.t_ns = array("q")
        self.in_flight_ns = array("d")
        self.cpu = array("d")
        self.run_queue = array("d")
        self.used_s = self.stolen_s = 0.0
        self.pauses: list[tuple[int, int]] = []
        self.sent: int | None = None
        self.closed = True
        """Whether all that was sent had ended at the last line; a worker that died leaves requests without a record."""


class WorkerSamples:
    """Folds the lines of samples.jsonl."""

    def __init__(self) -> None:
        self._workers: dict[int, _Worker] = {}
        self._lag = LogHistogram()
        self._worst_lags: dict[str, list[float]] = {"p50": [], "p99": [], "max": []}

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one line: a second of one worker."""
        worker = self._workers.setdefault(row.get("worker", 0), _Worker())
        if row.get("in_flight_ns") is not None:
            worker.t_ns.append(row["t_ns"])
            worker.in_flight_ns.append(row["in_flight_ns"])
        if row.get("sent") is not None:
            worker.sent, worker.closed = row["sent"], row["sent"] == row["done"]
        if row.get("pause_ns") is not None:
            begin_ns, end_ns = row["pause_ns"]
            worker.pauses.append((begin_ns, end_ns))
        if row.get("cpu") is not None:
            worker.cpu.append(row["cpu"])
        if row.get("run_queue_share") is not None:
            worker.run_queue.append(row["run_queue_share"])
        if row.get("used_s") is not None and row.get("stolen_s") is not None:
            worker.used_s += row["used_s"]
            worker.stolen_s += row["stolen_s"]
        lag = row.get("loop_lag_ms")
        if isinstance(lag, Mapping):
            for name, values in self._worst_lags.items():
                if lag.get(name) is not None:
                    values.append(lag[name])
        elif lag:
            self._lag.extend([value * 1e6 for value in lag])
            if self._lag.count > EXACT_LIMIT:
                self._lag.fold()

    def windows(self) -> dict[int, tuple[int, int]]:
        """For each worker, the first and the last time at which it reported its requests in flight.

        Workers with a single report are left out, and workers with requests still in flight, which have no record to
        compare.
        """
        return {
            number: (worker.t_ns[0], worker.t_ns[-1])
            for number, worker in self._workers.items()
            if worker.closed and len(worker.t_ns) and worker.t_ns[-1] > worker.t_ns[0]
        }

    def sent(self) -> int | None:
        """Requests that the dispatchers in `windows` passed to the transport. Returns None if their number is unknown."""
        counts = [self._workers[number].sent for number in self.windows()]
        known = [count for count in counts if count is not None]
        return sum(known) if counts and len(known) == len(counts) else None

    def in_flight_mean(self) -> float | None:
        """The dispatchers' own time-weighted mean of requests in flight, summed over the workers."""
        windows = self.windows()
        if not windows:
            return None
        total = 0.0
        for number, (begin, end) in windows.items():
            integral = self._workers[number].in_flight_ns
            total += (integral[-1] - integral[0]) / (end - begin)
        return total

    def loop_lag_ms(self) -> LoopLag | None:
        """How late the loops were. If workers sent quantiles per second, these are from the worst second."""
        if self._lag.count:
            rows = self._lag.snapshot().describe(1e-6)
            return LoopLag(n=rows.n, p50=rows.p50, p99=rows.p99, max=rows.max, of="every wake-up")
        if self._worst_lags["p99"]:
            worst = {key: max(values) if values else None for key, values in self._worst_lags.items()}
            return LoopLag(n=len(self._worst_lags["p99"]), **worst, of="the worst second")
        return None

    def cpu(self) -> CpuShare | None:
        """The share of one processor, over seconds and workers; and for the busiest worker, the share of seconds over 90%."""
        rows = [sorted(worker.cpu) for worker in self._workers.values() if len(worker.cpu)]
        if not rows:
            return None
        every = sorted(x for row in rows for x in row)
        busiest = max(sum(x > BUSY_SHARE for x in row) / len(row) for row in rows)
        return CpuShare(
            n=len(every),
            mean=fsum(every) / len(every),
            p50=quantile(every, 0.5),
            p99=quantile(every, 0.99),
            max=every[-1],
            seconds_over_90=busiest,
        )

    def run_queue(self) -> RunQueueShare | None:
        """The share of time that a worker was ready but did not run: the mean of the worst worker, and the worst second."""
        rows = [sorted(worker.run_queue) for worker in self._workers.values() if len(worker.run_queue)]
        if not rows:
            return None
        return RunQueueShare(
            mean=max(sum(row) / len(row) for row in rows),
            p99=max(quantile(row, 0.99) for row in rows),
            max=max(row[-1] for row in rows),
        )

    def stolen(self) -> StolenTime | None:
        """What the hypervisor took from the machine, or from the one of several machines where this share is largest."""
        used = [worker for worker in self._workers.values() if worker.used_s]
        if not used:
            return None
        share, stolen_s = max((worker.stolen_s / worker.used_s, worker.stolen_s) for worker in used)
        return StolenTime(share=share, seconds=stolen_s)

    def longest_pause(self, start_ns: int, duration_s: float | None) -> LongestPause | None:
        """The longest time that the loop of the worst worker was due but did nothing, after the run began."""
        if not self._workers:
            return None
        pauses = [
            (end - max(begin, start_ns), number)
            for number, worker in self._workers.items()
            for begin, end in worker.pauses
            if end > start_ns
        ]
        length_ns, number = max(pauses, key=lambda pause: (pause[0], -pause[1]), default=(0, None))
        return LongestPause(
            longest_ms=length_ns / NS_PER_MS,
            worker=number,
            share_of_run=length_ns / NS_PER_S / duration_s if duration_s else None,
        )

    def workers(self) -> int:
        return len(self._workers)
