"""The loops that start requests. They know neither how the schedule works nor how the transport does.

- `open_loop`: requests arrive by the schedule, whatever the server does.
- `closed_loop`: N users. Each sends its next request when the reply to the last one has come.
- `sessions`: graphs of turns under way. `session_users`: N users with one session after the other; `session_arrivals`: new
  sessions arrive by the schedule.

Each is a `Dispatcher` (`interface`) and gets a `Sending`: it takes its limits from the `Stop`, counts requests in flight in
the `InFlightCounter`, and passes every record to one callback. A run has one loop, so each file is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from bench.dispatch.closed_loop import ClosedLoop
    from bench.dispatch.in_flight import InFlightCounter
    from bench.dispatch.open_loop import OpenLoop
    from bench.dispatch.sending import Sending
    from bench.dispatch.session_arrivals import SessionArrivals
    from bench.dispatch.session_users import SessionUsers
    from bench.dispatch.sessions import SessionsLoop
    from bench.dispatch.stop import Stop

__all__ = [
    "ClosedLoop",
    "InFlightCounter",
    "OpenLoop",
    "Sending",
    "SessionArrivals",
    "SessionUsers",
    "SessionsLoop",
    "Stop",
]

_HOMES = {
    "ClosedLoop": "bench.dispatch.closed_loop",
    "InFlightCounter": "bench.dispatch.in_flight",
    "OpenLoop": "bench.dispatch.open_loop",
    "Sending": "bench.dispatch.sending",
    "SessionArrivals": "bench.dispatch.session_arrivals",
    "SessionUsers": "bench.dispatch.session_users",
    "SessionsLoop": "bench.dispatch.sessions",
    "Stop": "bench.dispatch.stop",
}

__getattr__ = lazy_exports(__name__, _HOMES)
