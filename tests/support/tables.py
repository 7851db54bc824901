"""Tables of records made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from bench.metrics.catalog import request_values
from bench.metrics.loose_gaps import LoosePauses
from bench.metrics.token_gaps import TokenGaps
from bench.metrics.tokens import TokenTimes
from bench.records import RequestRecord
from bench.records.record_table import Floats, Ints, RecordTable
from tests.support.made_records import MS, START_NS, made_record


def table_of(*records: RequestRecord) -> RecordTable:
    """A table of these records."""
    return RecordTable(records)


def value_of(metric: Callable[[RecordTable], Floats], record: RequestRecord) -> float | None:
    """A metric of one request; None if it has none."""
    value = float(metric(table_of(record))[0])
    return value if value == value else None


def measured_of(record: RequestRecord) -> dict[str, float]:
    """The metrics of one request as `PairStatistics` takes them."""
    return {key: values[0] for key, values in measured([record]).items()}


def measured(records: Sequence[RequestRecord]) -> dict[str, list[float]]:
    """The metrics of requests as `bench.accuracy.certify` takes them."""
    return {key: values.tolist() for key, values in request_values(RecordTable(records)).items()}


def ints(*values: int) -> Ints:
    """An array of whole numbers."""
    return np.array(values, dtype=np.int64)


def request_of_gaps(
    index: int, sent_ns: int, gaps_ns: Sequence[int], tokens: Sequence[int] | None = (), **fields: Any
) -> RequestRecord:
    """A successful request sent `sent_ns` after START_NS, with these gaps between its content chunks."""
    chunks_ms = [at_ns / MS for at_ns in accumulate(gaps_ns, initial=0)]
    return made_record(index, sent_ms=sent_ns / MS, chunks_ms=chunks_ms, tokens=tokens, **fields)


def pauses_of(loose: LoosePauses) -> tuple[list[float], list[float], list[float]]:
    """Open pauses: as the stamps give them, at least, and at most."""
    return loose.values.tolist(), loose.least.tolist(), loose.most.tolist()


def sums_of(loose: LoosePauses) -> tuple[int, int]:
    """The least and the greatest possible sums of open pauses."""
    return int(loose.least_sums.sum()), int(loose.most_sums.sum())


def fill(times: TokenTimes, *records: RequestRecord) -> TokenTimes:
    """Add the gaps and the ITL of records of a run that began at START_NS, as one table."""
    table = table_of(*records)
    times.add(table, TokenGaps(table), START_NS)
    return times
