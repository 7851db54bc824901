"""The reply of an endpoint that generates no text: one token without text, due when the engine has processed the input."""

from __future__ import annotations

from collections.abc import Sequence

from mockserver.dialect.frames import Block, FinishReason, ReplyFrames, SaidChoice, UsageCounts
from mockserver.dialect.params import RequestParams
from mockserver.dialect.pooling import MakeBody
from mockserver.plans.plan import Plan
from mockserver.replies.content import Choice, Content
from mockserver.tokencount import TokenCount


class _PooledFrames(ReplyFrames):
    """A body that is built once its usage is known. It is never streamed."""

    def __init__(self, make: MakeBody) -> None:
        self._make = make

    def whole(self, choices: Sequence[SaidChoice], usage: UsageCounts | None) -> bytes:
        return self._make(usage)


def pooled_content(plan: Plan, make: MakeBody, input_count: TokenCount) -> Content:
    """The content of a reply whose body `make` builds from its usage (None: no usage)."""
    params = RequestParams(stream=False, include_usage=False, asked_tokens=1)
    choice = Choice(plan, [""], (Block("text", 0, 1),), FinishReason(plan.finish, None))
    return Content(params, (choice,), False, False, _PooledFrames(make), input_count)
