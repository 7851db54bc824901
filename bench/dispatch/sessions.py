"""SessionsLoop: N users, each of whom holds one conversation after the other and thinks before each turn.

A turn is intended for the instant at which its think time ends, which began when the answer before it had ended. The
next turn needs the answer's text, so it waits for the record, not for the end alone: with think times shorter than that
takes, the difference is lateness. A session ends with its last turn, or with the first one that fails; its user then
begins the next. After a last turn that needs nothing of the answer: the user is free the moment it has ended, as in
`ClosedLoop`.
"""

from __future__ import annotations

import asyncio

from bench.conversations import Conversation, Conversations
from bench.dispatch.sending import Sending
from bench.records import Outcome, RequestRecord


class SessionsLoop:
    """`planned` counts requests that a user was ready to send, `sent` those handed to the transport, `done` records."""

    def __init__(self, conversations: Conversations, sending: Sending, *, users: int, ramp_ns: int) -> None:
        self._conversations = conversations
        self._sending = sending
        self._users = users
        self._ramp_ns = ramp_ns
        self.planned = self.sent = self.done = 0

    async def run(self, start_ns: int) -> None:
        """Send until the stop says so, and return when nothing is in flight any more."""
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sending.stop.on_stop(lambda reason: self._check_end())
        for user in range(self._users):
            self._begin(start_ns + (user * self._ramp_ns) // self._users)
        await self._ended

    def change(self, at_ns: int, load: float) -> None:
        """Raises TypeError: who holds a conversation stays until it ends."""
        raise TypeError("the users of sessions cannot be changed")

    def _begin(self, free_ns: int) -> None:
        """A user is free since this instant, and begins a session."""
        if not self._sending.stop.stopped:
            conversation = self._conversations.begin()
            self._think(conversation, free_ns + conversation.think_ns)

    def _think(self, conversation: Conversation, due_ns: int) -> None:
        """Send the next turn at this instant."""
        if due_ns <= self._sending.clock.now_ns():
            self._send(conversation, due_ns)
        else:
            self._sending.clock.call_at(due_ns, lambda: self._send(conversation, due_ns))

    def _send(self, conversation: Conversation, intended_ns: int) -> None:
        phase = self._sending.stop.next_phase(intended_ns)
        if phase is None:  # Sending ended while the user was thinking.
            return
        self.planned += 1
        request = self._conversations.request(conversation, phase)
        self._sending.in_flight.begin(intended_ns)
        self.sent += 1

        last = conversation.at_last_turn

        def ended(end_ns: int) -> None:
            self._sending.in_flight.end(end_ns)
            if last:
                self._begin(end_ns)

        def recorded(record: RequestRecord) -> None:
            self._recorded(None if last else conversation, record)

        self._sending.transport.start(request, intended_ns, intended_ns, recorded, ended)
        self._sending.stop.check_count()

    def _recorded(self, conversation: Conversation | None, record: RequestRecord) -> None:
        """Go on with the conversation; None: it was the last turn."""
        self.done += 1
        self._sending.on_record(record)
        if self._sending.stop.stopped:
            self._check_end()
        elif conversation is None:
            return
        elif record.outcome is Outcome.OK and conversation.answered():
            self._think(conversation, record.end_ns + conversation.think_ns)
        else:
            self._begin(record.end_ns)

    def _check_end(self) -> None:
        if self._sending.stop.stopped and self.done == self.sent and not self._ended.done():
            self._ended.set_result(None)
