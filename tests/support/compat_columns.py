"""What the tools of the compatible columns print for records."""

from __future__ import annotations

from typing import Any

from bench.metrics.compat import OurNumbers, Readings, numbers_of_tools
from bench.metrics.histogram import LogHistogram
from bench.metrics.token_gaps import TokenGaps
from bench.records import RequestRecord
from bench.results.base import to_plain
from bench.results.numbers import Metric
from tests.support.results import filled
from tests.support.tables import table_of

OURS = OurNumbers(
    {key: filled(Metric, mean=-1.0, p50=-1.0, p99=-1.0) for key in ("ttft_ms", "e2el_ms", "tpot_ms", "itl_ms")}, -1
)
"""Impossible numbers: every difference is reported."""


def printed_by_tools(
    records: list[RequestRecord], duration_s: float | None = 2.0, ours: OurNumbers = OURS, endpoint: str = "chat"
) -> dict[str, Any]:
    readings, between_tokens = Readings(), LogHistogram()
    table = table_of(*records)
    readings.add(table)
    gaps = TokenGaps(table).gaps
    between_tokens.extend(gaps.ns[table.has("sent_ns")[gaps.row]])
    return to_plain(numbers_of_tools(readings, between_tokens, duration_s, ours, endpoint))
