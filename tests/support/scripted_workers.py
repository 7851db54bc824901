"""Cluster workers with scripted messages: only the driver is real. For its tests, and for `scripts/cluster-plan`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

from bench.dispatch.interface import NeverSent
from bench.load.assignment import WorkerReport
from bench.load.progress_tally import ProgressTally
from bench.load.replies_in_flight import Arrived
from bench.load.replies_in_flight import Counted as CountedOfReply
from bench.load.sampling import ClientState
from bench.process.priority import PriorityUse
from bench.records import RequestRecord, to_line
from bench.scale.cluster.node_worker import Delivery, NodeFacts, Started, node_facts
from bench.scale.messages import ProgressUpdate, Ready
from tests.support.changed import replace
from tests.support.made_records import made_record

FACTS = node_facts()
WORKERS_A_NODE = 4


class Counted:
    """Counts what the live view receives."""

    def __init__(self) -> None:
        self.ended = 0

    def arrive(self, arrived: Arrived) -> None:
        raise AssertionError("tokens are never handed over one by one")

    def add(self, record: RequestRecord, counted: CountedOfReply) -> None:
        raise AssertionError("records are never handed over one by one")

    def merge(self, tally: ProgressTally) -> None:
        self.ended += tally.run.succeeded


class Scripted:
    """A `Handle` of a worker that returns what its script yields. `doubt`: its answer about the limits of its node.
    `facts`: the facts about its node. `asked`: the number of calls."""

    def __init__(
        self, number: int, script: Iterator[Delivery], doubt: str | None = None, facts: NodeFacts = FACTS
    ) -> None:
        self.node = f"node-{number // WORKERS_A_NODE}"
        self.told: list[tuple[Any, ...]] = []
        self._script = script
        self.asked = Counter[str]()
        self._answers = {
            "facts": facts, "start": Started("/there", doubt), "set_clock": None, "close": None, "now_ns": 0,
        }  # fmt: skip

    async def call(self, method: str, *arguments: Any) -> Any:
        self.asked[method] += 1
        await asyncio.sleep(0)
        return next(self._script) if method == "take" else self._answers[method]

    def tell(self, method: str, *arguments: Any) -> None:
        self.told.append((method, *arguments))


def records_of(worker: int, workers: int, turn: int, n: int) -> list[RequestRecord]:
    """Records of one delivery, with numbers unique among all workers."""
    numbers = [worker + workers * (turn * n + k) for k in range(n)]
    return [replace(made_record(number, sent_ms=number / 10), worker=worker) for number in numbers]


def delivery(number: int, records: list[RequestRecord], done: int, *, lag_ms: float = 0.1) -> Delivery:
    """A worker's message after these records, and their lines."""
    tally = ProgressTally()
    for record in records:
        tally.add(record)
    counts = {"in_flight": 1, "in_flight_ns": 0, "planned": 12, "sent": 12, "done": done}
    update = ProgressUpdate(counts, 0, ClientState(loop_lag_ms=lag_ms), tally, None)
    return Delivery(number, (update,), b"".join(map(to_line, records)), b'{"t_ns":%d}\n' % number)


FIRST = Delivery(1, (Ready(None),))


def last_words() -> Iterator[Delivery]:
    """The end of a worker that has sent everything."""
    report = WorkerReport(
        run_start_ns=1, reason="requests", problems=(), repeated_rows=0, late_requests=0, never_sent=NeverSent(),
        priority=PriorityUse(asked="normal", had="normal"),
    )  # fmt: skip
    yield Delivery(9, (report,), death="")
    yield Delivery(10, ended=True, death="")
