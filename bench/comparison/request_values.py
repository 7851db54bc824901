"""The values of a run's single requests in the order of sending, from which batches and effective counts are computed."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np

from bench.damage import explained
from bench.metrics.arrays import known
from bench.metrics.catalog import REQUEST_METRICS, request_values
from bench.metrics.objectives import Objective
from bench.records.record_table import NOT_JUDGED, Floats, Ints, RecordTable
from bench.run_files.run_directory import RunDirectory
from bench.statistics.autocorrelation import LEAST_VALUES, act, dependence, ranks
from bench.statistics.between_runs import RunShare


@dataclass(frozen=True, slots=True)
class RequestValues:
    """`metrics`: by metric name (as in objectives), the values of the successful requests. `failed`: 1 for failed and 0
    for successful requests."""

    metrics: dict[str, array[float]] = field(default_factory=dict)
    failed: array[float] = field(default_factory=lambda: array("d"))

    def independent(self, metric: str) -> float:
        """How many independent values of a metric the run holds; of one that requests do not have, independent requests."""
        values = self.metrics.get(metric)
        if values is None:
            return self.independent_requests()
        return dependence(values).effective if len(values) >= LEAST_VALUES else min(1.0, float(len(values)))

    def independent_requests(self) -> float:
        """The number of independent requests that the run is worth, from the autocorrelation of E2EL."""
        values = self.metrics["e2el"]
        n = len(self.failed)
        return n / dependence(values).d if len(values) >= LEAST_VALUES else min(1.0, float(n))

    def failures(self) -> RunShare:
        n = len(self.failed)
        share = fmean(self.failed) if n else 0.0
        return RunShare(share, n, act(self.failed) if 0 < share < 1 and n >= LEAST_VALUES else None)

    def act_of(self, metric: str) -> float | None:
        """The autocorrelation time of the ranks of a metric's values; None if there are too few."""
        values = self.metrics.get(metric)
        return act(ranks(values)) if values is not None and len(values) >= LEAST_VALUES else None


def read_values(path: Path) -> RequestValues:
    """Read the values of the requests after the warm-up. Raises RecordError if a record is damaged."""
    return _read(RunDirectory.open(path))


def good_requests(path: Path, goodput: Objective) -> list[float]:
    """Read, for each request after the warm-up in the order of sending, 1 if it met every limit of a goodput objective,
    else 0. Raises RecordError if a record is damaged."""
    return _good(RunDirectory.open(path), goodput)


@explained
def _good(directory: RunDirectory, goodput: Objective) -> list[float]:
    rows: list[tuple[int, int, bool]] = []
    for table in directory.record_tables():
        about = table.where(table.is_run & ~table.ended(NOT_JUDGED) & goodput.applies_to(table))
        order = _sent_or_due_ns(about).tolist(), about.ints("index").tolist()
        rows += zip(*order, goodput.broken(about).tolist(), strict=True)
    return [0.0 if broken else 1.0 for _, _, broken in sorted(rows)]


@explained
def _read(directory: RunDirectory) -> RequestValues:
    parts: list[Floats] = []
    for table in directory.record_tables():
        tried = table.where(table.is_run & (table.ok | table.failed))
        values = (np.where(tried.ok, of, np.nan) for of in request_values(tried).values())
        order = _sent_or_due_ns(tried), tried.ints("index"), tried.failed
        parts.append(np.column_stack((*order, *values)).astype(np.float64))
    rows = np.concatenate(parts) if parts else np.empty((0, 3 + len(REQUEST_METRICS)))
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    metrics = {name: array("d", known(rows[:, 3 + k]).tobytes()) for k, name in enumerate(REQUEST_METRICS)}
    return RequestValues(metrics, array("d", rows[:, 2].tobytes()))


def _sent_or_due_ns(table: RecordTable) -> Ints:
    has_sent, sent_ns = table.known("sent_ns")
    return np.where(has_sent, sent_ns, table.ints("intended_ns"))
