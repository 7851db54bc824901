"""The reply of an endpoint that generates no text: one token without text, due when the engine has processed the input."""

from __future__ import annotations

from collections.abc import Sequence

from mockserver.dialect.frames import Block, Event, FinishReason, Piece, SaidChoice, UsageCounts
from mockserver.dialect.openai_frames import PLANNED_FAILURE
from mockserver.dialect.params import RequestParams
from mockserver.dialect.pooling import MakeBody
from mockserver.dialect.refusals import error_body
from mockserver.plans.plan import Plan
from mockserver.replies.content import Choice, Content
from mockserver.tokencount import TokenCount


class _PooledFrames:
    """A body that is made when its usage is known. It is never streamed."""

    has_role = opens_early = False
    ignores: frozenset[str] = frozenset()
    comment: Event | None = None

    def __init__(self, make: MakeBody) -> None:
        self._make = make

    def whole(self, choices: Sequence[SaidChoice], usage: UsageCounts | None) -> bytes:
        return self._make(usage)

    def failure_body(self) -> bytes:
        return error_body(500, PLANNED_FAILURE)

    def opening(self, choice: int, usage: UsageCounts | None) -> Sequence[Event]:
        return ()

    def around(self, running: bool) -> None:
        """It has no events."""

    def piece(self, piece: Piece, usage: UsageCounts | None) -> Sequence[Event]:
        return ()

    def empty(self, piece: Piece, usage: UsageCounts | None) -> Sequence[Event]:
        return ()

    def finish(self, choice: int, end: FinishReason, usage: UsageCounts | None) -> Sequence[Event]:
        return ()

    def closing(self, ends: Sequence[FinishReason], usage: UsageCounts | None) -> Sequence[Event]:
        return ()

    def failure(self) -> Sequence[Event]:
        return ()

    def broken(self) -> Event:
        return Event(b"", "o")


def pooled_content(plan: Plan, make: MakeBody, input_count: TokenCount) -> Content:
    """The content of a reply whose body `make` makes of its usage (None: it has none)."""
    params = RequestParams(stream=False, include_usage=False, continuous_usage=False, asked_tokens=1)
    choice = Choice(plan, [""], (Block("text", 0, 1),), FinishReason(plan.finish, None))
    return Content(params, (choice,), False, False, _PooledFrames(make), input_count)
