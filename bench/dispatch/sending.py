"""The common arguments of every loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.clock import Clock
    from bench.dispatch.in_flight import InFlightCounter
    from bench.dispatch.stop import Stop
    from bench.records import RequestRecord
    from bench.transport.interface import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Where requests go and when sending ends. `on_record` is called with every record."""

    transport: Transport
    clock: Clock
    stop: Stop
    in_flight: InFlightCounter
    on_record: Callable[[RequestRecord], None]
