"""What Ctrl-C does to a load, and what it says."""

from __future__ import annotations

from typing import cast

import pytest

from bench.load.crew import Crew, Order
from bench.load.supervision import Interrupts


class InFlight:
    """Workers with so many requests in flight, who keep what they are told."""

    def __init__(self, in_flight: int) -> None:
        self.in_flight = in_flight
        self.told: list[Order] = []

    def tell(self, order: Order) -> None:
        self.told.append(order)


@pytest.mark.parametrize(
    ("in_flight", "said"),
    [
        (0, "stopping: waiting for what is in flight (Ctrl-C again cuts it)"),
        (1, "stopping: waiting for a request in flight (Ctrl-C again cuts it)"),
        (1_200, "stopping: waiting for 1,200 requests in flight (Ctrl-C again cuts them)"),
    ],
)
def test_the_first_ctrl_c_says_what_is_waited_for_and_the_second_cuts(in_flight: int, said: str) -> None:
    crew, lines = InFlight(in_flight), list[str]()
    interrupts = Interrupts(cast("Crew", crew), lines.append)
    interrupts.interrupt()
    interrupts.interrupt()
    assert lines == [said]
    assert crew.told == [Order.INTERRUPT, Order.CUT]
