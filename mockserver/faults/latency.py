"""Faults that delay the tokens of a plan: pure functions of the plan and the arrival.

`at_ns` is the arrival of the request, counted from the start of the configuration.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mockserver.faults.kinds import Fault

Gaps = tuple[int, ...]


class Delay(Protocol):
    """(fault, TTFT, gaps, arrival) -> (TTFT, gaps), all in ns."""

    def __call__(self, fault: Fault, ttft_ns: int, gaps_ns: Gaps, at_ns: int, /) -> tuple[int, Gaps]: ...


def stall(fault: Fault, ttft_ns: int, gaps_ns: Gaps, at_ns: int) -> tuple[int, Gaps]:
    """Lengthens the wait after `after` tokens by `for`. Without `after` it is the first wait."""
    after = 0 if fault["after"] is None else fault.strikes_at(len(gaps_ns) + 1)
    longer = fault.number("for")
    if after == 0:
        return ttft_ns + longer, gaps_ns
    return ttft_ns, (*gaps_ns[: after - 1], gaps_ns[after - 1] + longer, *gaps_ns[after:])


def wait(fault: Fault, ttft_ns: int, gaps_ns: Gaps, at_ns: int) -> tuple[int, Gaps]:
    """Lengthens the first wait by `for`."""
    return ttft_ns + fault.number("for"), gaps_ns


def _times(factor: float, ttft_ns: int, gaps_ns: Gaps) -> tuple[int, Gaps]:
    return round(ttft_ns * factor), tuple([round(gap * factor) for gap in gaps_ns])


def slow(fault: Fault, ttft_ns: int, gaps_ns: Gaps, at_ns: int) -> tuple[int, Gaps]:
    """Multiplies every wait by `factor`."""
    factor = fault["factor"]
    assert factor is not None
    return _times(factor, ttft_ns, gaps_ns)


def degrade(fault: Fault, ttft_ns: int, gaps_ns: Gaps, at_ns: int) -> tuple[int, Gaps]:
    """Multiplies every wait by 1 + (factor - 1) t / over, where t is the arrival. From `over` on, by `factor`."""
    factor = fault["factor"]
    assert factor is not None
    grown = min(1.0, max(at_ns, 0) / fault.number("over"))
    return _times(1.0 + (factor - 1.0) * grown, ttft_ns, gaps_ns)


def pause(fault: Fault, ttft_ns: int, gaps_ns: Gaps, at_ns: int) -> tuple[int, Gaps]:
    """The engine stops in [k period, k period + for), k = 1, 2, ..., and then continues where it stopped.

    Working time w(t) is the time until t minus the pauses in it. A token is emitted at the earliest t outside a pause
    at which w(t) has grown by the planned wait.
    """
    period, still = fault.number("period"), fault.number("for")
    start = _at_work(at_ns, period, still)
    waits = accumulate((ttft_ns, *gaps_ns))
    due = [_when(start + wait, period, still) for wait in waits]
    return due[0] - at_ns, tuple([later - earlier for earlier, later in pairwise(due)])


def _at_work(t: int, period: int, still: int) -> int:
    k = t // period
    return t if k < 1 else t - (k - 1) * still - min(t - k * period, still)


def _when(work: int, period: int, still: int) -> int:
    if work < period:
        return work
    k, rest = divmod(work - period, period - still)
    return (k + 1) * period + still + rest
