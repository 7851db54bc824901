"""The summary of records made by hand, and the data that its page needs beyond it."""

from __future__ import annotations

from typing import Any

from bench.metrics.facts import RunFacts
from bench.metrics.page_data import PageData
from bench.metrics.summary import Summary
from bench.records import RequestRecord
from bench.results.base import to_plain
from tests.support.made_records import START_NS
from tests.support.results import origin
from tests.support.tables import table_of


def made_summary(records: list[RequestRecord], status: str = "VALID", **facts: Any) -> Any:
    return made_page(records, status, **facts)[0]


def made_page(records: list[RequestRecord], status: str = "VALID", **facts: Any) -> tuple[Any, PageData]:
    """A summary, and the data that its page needs beyond it."""
    given: dict[str, Any] = {
        "mode": "concurrency",
        "open_loop": False,
        "endpoint": "chat",
        "start_ns": START_NS,
        "seed": 0,
    } | facts
    summary = Summary(RunFacts(**given))
    summary.add(table_of(*records))
    whole = to_plain(summary.close()) | {
        "run": origin(),
        "verdict": {"status": status, "reasons": []},
        "calibration": None,
    }
    return whole, summary.page_data()
