"""A small fixed run of sessions, for golden files: two agents that work through jobs; one job is cut, one fails."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any

from bench.metrics.facts import RunFacts
from bench.metrics.objectives import parse
from bench.metrics.page_data import PageData
from bench.metrics.summary import Summary
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from tests.support.changed import replace
from tests.support.made_jobs import made_step, two_agents
from tests.support.made_records import START_NS
from tests.support.results import origin
from tests.support.tables import table_of

ADDED: dict[str, Any] = {
    "run": origin(name="jobs", url="http://127.0.0.1:8000/v1", model="made", mode="sessions"),
    "verdict": {"status": "VALID", "reasons": []},
    "calibration": None,
    "prefix_cache": None,
    "server": None,
    "gpu": None,
}


def records_of_jobs() -> Iterator[RequestRecord]:
    """24 sessions of a job of 1,000 ms and a short one; then one fails, one is cut, and one began in the warm-up."""
    index = 0
    for k in range(24):
        at = 2000.0 * k + 10 * (k % 5)
        known = {
            "session": k,
            "input_tokens": 1000 + 300 * (k % 4),
            "cached_tokens": 900,
            "cached_tokens_planned": 912,
        }
        yield from two_agents(index, at, **known)
        yield made_step(index + 4, at + 1500, at + 1600 + 10 * k, turn=4, job=1, job_step=0, pause="human", pause_ms=500,
                        first_ms=8, **known)  # fmt: skip
        index += 5
    failed = two_agents(index, 48_000.0, session=100)
    yield from [*failed[:3], replace(failed[3], outcome=Outcome.RESET)]
    yield from two_agents(index + 4, 49_000.0, session=101)[:2]
    begun = two_agents(index + 8, -500.0, session=102)
    yield from (replace(record, phase="warmup" if k < 2 else "run") for k, record in enumerate(begun))


@functools.cache
def _folded() -> Summary:
    texts = ["job:p90<2s", "jobs_per_hour_per_user>10000", "ttft:p90<100ms"]
    summary = Summary(
        RunFacts(mode="sessions", open_loop=False, endpoint="chat", start_ns=START_NS, seed=7, concurrency=2, gpus=2,
                 objectives=parse(texts))
    )  # fmt: skip
    summary.add(table_of(*records_of_jobs()))
    return summary


def summary_of_jobs() -> Any:
    """The content of its summary.json."""
    return to_plain(_folded().close()) | copy.deepcopy(ADDED)


def page_data_of_jobs() -> PageData:
    """The data that its page needs beyond the summary."""
    return _folded().page_data()
