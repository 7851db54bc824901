"""A server that is busy for a moment: the probe retries once per second, but not forever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.clock import NS_PER_S, LoopClock
from bench.endpoints.interface import BodyOptions
from bench.records import Outcome, RequestRecord
from bench.target.probe import BUSY_TRIES, ask_unless_busy
from promptset.samples import Sample
from tests.support.made_records import made_record
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual


class Server:
    """Answers with these statuses in turn, and records the times of the requests."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = iter(statuses)
        self.asked_s: list[float] = []

    def start(self, request: Any, intended_ns: int, eligible_ns: int, done: Callable[[RequestRecord], None]) -> None:
        self.asked_s.append((intended_ns - START_NS) / NS_PER_S)
        status = next(self._statuses)
        done(made_record(status=status, outcome=Outcome.OK if status == 200 else Outcome.HTTP_ERROR))


@pytest.mark.parametrize(
    ("statuses", "asked_s", "last"),
    [
        ((200,), [0], 200),
        ((429, 200), [0, 1], 200),
        ((429, 429, 200), [0, 1, 2], 200),
        ((429,) * BUSY_TRIES, [0, 1, 2], 429),
        ((503,), [0], 503),
    ],
)
def test_a_probe_that_meets_too_many_requests_is_sent_again(
    statuses: tuple[int, ...], asked_s: list[float], last: int
) -> None:
    server = Server(*statuses)

    async def main(loop: VirtualTimeLoop) -> int | None:
        options, clock = BodyOptions(endpoint="chat", model="m"), LoopClock()
        record = await ask_unless_busy(server, clock, Sample(prompt="hello"), options, "probe", None)  # type: ignore[arg-type]
        return record.status

    assert (run_virtual(main), server.asked_s) == (last, asked_s)
