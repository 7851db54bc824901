"""N users, each with one session after the other: N sessions are running at each instant.

A user begins the next session at the instant at which the previous one's last request ended. A user who leaves finishes
the session first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.dispatch.sessions import SessionsLoop
from bench.dispatch.users import Users

if TYPE_CHECKING:
    from bench.dispatch.sending import Sending
    from bench.workload.turns import Conversations


class SessionUsers(SessionsLoop):
    """A closed loop of sessions."""

    def __init__(self, conversations: Conversations, sending: Sending, *, changes: Iterator[tuple[int, int]]) -> None:
        """`changes`: offsets in ns from the start, ascending, and the number of users from then on."""
        super().__init__(conversations, sending)
        self._users = Users(sending, changes, self._free)

    def start(self, start_ns: int) -> None:
        self._users.start(start_ns)

    def change(self, at_ns: int, load: float) -> None:
        self._users.change(at_ns, load)

    def _free(self, at_ns: int) -> None:
        self._begin(at_ns, self._over)

    def _over(self, end_ns: int) -> None:
        if self._users.stays(end_ns):
            self._free(end_ns)
