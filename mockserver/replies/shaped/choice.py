"""Which replies are shaped, and the script of one that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mockserver.config import MockConfig
from mockserver.dialect.openai import Ask, Shape
from mockserver.plans.plan import Plan
from mockserver.replies.reply import Reply
from mockserver.replies.shaped.content import Script, ShapedFrames
from mockserver.replies.shaped.outgoing import Timer
from mockserver.replies.shaped.stop import cut_at_stop
from mockserver.replies.shaped.stream import ShapedStream
from mockserver.replies.shaped.whole import ShapedWhole
from mockserver.replies.wire import Wire
from mockserver.tokencount import TokenCount


@dataclass(frozen=True, slots=True)
class Form:
    """How this server's replies look."""

    reasons: bool = False
    reasoning_field: str = "reasoning"
    finish: str = "last"

    @classmethod
    def of(cls, config: MockConfig) -> Form:
        """That of a configuration."""
        return cls(config.reasoning_tokens is not None, config.reasoning_field, config.finish)

    def takes(self, ask: Ask, plan: Plan) -> bool:
        """Whether this reply is another than the ordinary one."""
        return bool(plan.faults or ask.stop) or self.reasons or (self.finish == "separate" and ask.stream)

    def script(
        self, ask: Ask, plan: Plan, pieces: list[str], shape: Shape, reply_id: str, created: int, model: str,
        input_count: TokenCount,
    ) -> Script:  # fmt: skip
        """What the reply will say. A stop string in the answer makes its plan shorter."""
        border = plan.reasoning_tokens
        texts, stop = pieces, None
        if ask.stop and border < plan.output_tokens:
            cut = cut_at_stop(pieces[border:], ask.stop, ask.keep_stop)
            texts, stop = [*pieces[:border], *cut.texts], cut.stop
            if stop is not None:
                plan = plan.ending_at(len(texts))
        frames = ShapedFrames(shape, reply_id, created, model, self.reasoning_field)
        reasons = self.reasons and frames.has_role
        return Script(ask, plan, texts, stop, self.finish == "separate", reasons, frames, input_count)


def shaped_reply(wire: Wire, script: Script, timer: Timer, on_end: Callable[[Reply], None]) -> Reply:
    """The reply that says it."""
    kind = ShapedStream if script.ask.stream else ShapedWhole
    return kind(wire, script, timer, on_end)
