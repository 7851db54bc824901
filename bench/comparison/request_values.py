"""The single values of one run, in the order in which its requests were sent: what batches and effective numbers rest on."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from pathlib import Path

from bench.damage import explained
from bench.metrics.catalog import REQUEST_METRICS
from bench.metrics.objectives import Objective
from bench.records import Outcome
from bench.run_files.run_directory import RunDirectory
from bench.statistics.autocorrelation import LEAST_VALUES, act, dependence, ranks


@dataclass(frozen=True, slots=True)
class RequestValues:
    """By metric (as objectives name it) the values of the successful requests; `failed` of all that succeeded or failed."""

    metrics: dict[str, array[float]] = field(default_factory=dict)
    failed: array[float] = field(default_factory=lambda: array("d"))

    def independent_requests(self) -> float:
        """How many independent requests the run is worth, by how long E2EL is remembered."""
        values = self.metrics["e2el"]
        n = len(self.failed)
        return n / dependence(values).d if len(values) >= LEAST_VALUES else min(1.0, float(n))

    def act_of(self, metric: str) -> float | None:
        """act of the ranks of a metric; None of too few values."""
        values = self.metrics.get(metric)
        return act(ranks(values)) if values is not None and len(values) >= LEAST_VALUES else None


def read_values(path: Path) -> RequestValues:
    """Of the requests after the warm-up. Raises RecordError where a record is damaged."""
    return _read(RunDirectory.open(path))


def good_requests(path: Path, goodput: Objective) -> list[float]:
    """1 of each request of a run that kept every limit of an objective on goodput, 0 of each that did not, in the order of
    sending, after the warm-up. Raises RecordError where a record is damaged."""
    return _good(RunDirectory.open(path), goodput)


@explained
def _good(directory: RunDirectory, goodput: Objective) -> list[float]:
    rows = [
        (record.intended_ns if record.sent_ns is None else record.sent_ns, record.index, goodput.broken_by(record))
        for record in directory.records()
        if record.phase == "run" and record.outcome is not Outcome.CANCELLED and goodput.speaks_of(record)
    ]
    return [0.0 if broken else 1.0 for _, _, broken in sorted(rows)]


@explained
def _read(directory: RunDirectory) -> RequestValues:
    rows: list[tuple[int, int, bool, list[float | None]]] = []
    for record in directory.records():
        if record.phase == "run" and record.outcome not in (Outcome.INTERRUPTED, Outcome.DROPPED, Outcome.CANCELLED):
            ok = record.outcome is Outcome.OK
            values = [metric.of(record) if ok else None for metric in REQUEST_METRICS.values()]
            sent_ns = record.intended_ns if record.sent_ns is None else record.sent_ns
            rows.append((sent_ns, record.index, ok, values))
    rows.sort(key=lambda row: row[:2])  # Values of files that name a request twice may be None, which has no order.
    found = RequestValues({name: array("d") for name in REQUEST_METRICS})
    for _, _, ok, values in rows:
        found.failed.append(0.0 if ok else 1.0)
        for name, value in zip(REQUEST_METRICS, values, strict=True):
            if value is not None:
                found.metrics[name].append(value)
    return found
