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

from typing import TYPE_CHECKING, Any

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
    "ClosedLoop": "closed_loop",
    "InFlightCounter": "in_flight",
    "OpenLoop": "open_loop",
    "Sending": "sending",
    "SessionArrivals": "session_arrivals",
    "SessionUsers": "session_users",
    "SessionsLoop": "sessions",
    "Stop": "stop",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bench.dispatch' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"bench.dispatch.{_HOMES[name]}"), name)
