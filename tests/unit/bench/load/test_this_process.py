"""A crew of one: what it says before its load has begun, and what it passes on afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bench.clock import NS_PER_MS, NS_PER_S
from bench.load.crew import CrewReport, Order
from bench.load.feed_on_change import READY_NS
from bench.load.sampling import ClientState
from bench.load.this_process import ThisProcess

CLIENT = ClientState(1.5, 0.5, 0.0)


class MadeLoad:
    """A load in progress. It keeps what it is told."""

    in_flight, failures, client = 3, 2, CLIENT

    def __init__(self, told: list[object]) -> None:
        self._told = told

    async def run(self) -> str:
        return "the report"

    def counts(self, at_ns: int) -> dict[str, int]:
        return {"sent": at_ns}

    def tell(self, *what: object) -> None:
        self._told.append(("tell", *what))

    def warmup_ends(self, at_ns: int) -> None:
        self._told.append(("warm-up ends", at_ns))

    def change(self, *what: object) -> None:
        self._told.append(("change", *what))


class MadeWorker:
    """A worker that has 40 requests for a load of 10."""

    preparing, stocked, planned_load = "making prompts: 3 of 40", 40, 10.0

    def __init__(self) -> None:
        self.told: list[object] = []

    async def prepare(self) -> None:
        self.told.append("prepare")

    def begin(self, *what: object) -> MadeLoad:
        self.told.append(("begin", *what))
        return MadeLoad(self.told)

    def close(self) -> None:
        self.told.append("close")


def crew_of(worker: Any, **more: Any) -> ThisProcess:
    return ThisProcess(worker, **more)


def test_before_its_load_begins_nothing_is_sent_and_no_order_can_be_given() -> None:
    crew = crew_of(MadeWorker())
    assert (crew.in_flight, crew.failures, crew.client) == (0, 0, ClientState())
    assert crew.counts(5) == {"in_flight": 0, "in_flight_ns": 0, "planned": 0, "sent": 0, "done": 0}
    with pytest.raises(RuntimeError, match="the load has not begun"):
        crew.tell(Order.INTERRUPT)


def test_a_crew_of_one_is_its_worker_and_its_load() -> None:
    worker, progress = MadeWorker(), object()
    crew = crew_of(worker)
    given: Any = progress
    asyncio.run(crew.prepare())
    assert crew.preparing == "making prompts: 3 of 40"
    crew.begin(7, given)
    assert (crew.in_flight, crew.failures, crew.client, crew.counts(5)) == (3, 2, CLIENT, {"sent": 5})
    crew.tell(Order.STOP, "errors")
    crew.warmup_ends(8)
    crew.change(9, 12.0)
    report: Any = "the report"
    assert asyncio.run(crew.load()) == CrewReport((report,))
    crew.close()
    assert worker.told == [
        "prepare", ("begin", 7, progress), ("tell", Order.STOP, "errors"), ("warm-up ends", 8), ("change", 9, 12.0), "close",
    ]  # fmt: skip
    # 40 requests are there for the two seconds that a feed takes: enough for 20 requests/s.
    assert [crew.lead_ns(load) for load in (9.0, 20.0, 20.5)] == [0, 0, READY_NS]
    assert READY_NS == 2 * NS_PER_S


@pytest.mark.parametrize(
    ("wrote_ms", "lead_ms"), [(None, 150), (0, 25), (3, 25), (3.125, 25), (4, 32), (18.75, 150), (19, 150), (500, 150)]
)
def test_a_load_is_announced_eight_times_as_early_as_writing_took_within_limits(
    wrote_ms: float | None, lead_ms: int
) -> None:
    crew = crew_of(MadeWorker(), wrote_ns=None if wrote_ms is None else round(wrote_ms * NS_PER_MS))
    assert crew.begin_lead_ns == lead_ms * NS_PER_MS
