"""Who waits for whom: the loop that starts requests, knowing neither the schedule's inside nor the transport's.

- `open_loop`: arrivals come when the schedule says, whatever the server does.
- `closed_loop`: N users, each of whom sends again when the answer to the last request has come.
- `sessions`: graphs of turns under way. `session_users`: N users, each of whom holds one session after the other;
  `session_arrivals`: new sessions come when the schedule says.

Each is a `Dispatcher` (`interface`) and is given a `Sending`: it takes its limits from the `Stop`, counts what is in flight
in the `InFlightCounter`, and hands every record to one callback. Each file is loaded when it is asked
for: a run has one loop.
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
