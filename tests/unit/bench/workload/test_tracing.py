"""Which requests are traced, and their ids."""

from __future__ import annotations

import re

from bench.workload import Encoded, Supply
from bench.workload.tracing import Tracing, ids_of
from promptset.samples import Sample


def supply(tracing: Tracing | None, *, run: str = "run", first: int = 0, step: int = 1) -> Supply:
    made = Supply(
        iter([Sample(prompt="a")] * 1_000), lambda sample: Encoded(b"{}", True, 7), run, first=first, step=step
    )
    made.tracing = tracing
    return made


def headers(of: Supply, n: int) -> dict[int, str]:
    requests = [of.take("run") for _ in range(n)]
    return {request.index: request.traceparent for request in requests if request.traceparent is not None}


def test_so_large_a_share_is_traced_and_the_same_in_every_run_of_the_seed() -> None:
    one, other = (headers(supply(Tracing(0.2, 7), run=run), 1_000) for run in ("a", "b"))
    assert 150 < len(one) < 250  # 200 are expected, with a standard deviation of 13. The seed is fixed.
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())
    assert one.keys() != headers(supply(Tracing(0.2, 8), run="a"), 1_000).keys()


def test_workers_trace_the_requests_that_one_process_traces() -> None:
    alone = headers(supply(Tracing(0.3, 1)), 300)
    parts = [headers(supply(Tracing(0.3, 1), first=worker, step=3), 100) for worker in range(3)]
    assert {index: header for part in parts for index, header in part.items()} == alone


def test_a_header_is_one_of_trace_context() -> None:
    found = headers(supply(Tracing(1.0, 0)), 50)
    assert len(found) == 50
    assert len({ids_of(header)[0] for header in found.values()}) == 50
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", header) for header in found.values())


def test_nothing_is_traced_unless_it_is_asked_for() -> None:
    assert headers(supply(None), 50) == {}
