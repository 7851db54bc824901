"""Builds the content of replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mockserver.config import MockConfig
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.frames import Block, FinishReason, ReplyIdentity
from mockserver.dialect.params import RequestParams
from mockserver.documents.script import Scripted
from mockserver.plans.plan import Plan
from mockserver.replies.content import Choice, Content
from mockserver.replies.stream import ScriptWriter, StreamWriter
from mockserver.replies.whole import WholeWriter
from mockserver.tokencount import TokenCount


@dataclass(frozen=True, slots=True)
class ReplyStyle:
    """The configured style of replies."""

    reasons: bool = False
    reasoning_field: str = "reasoning"
    finish: str = "last"
    details: frozenset[str] = frozenset()
    """The details of the engine's work that replies report."""

    @classmethod
    def of(cls, config: MockConfig) -> ReplyStyle:
        reasons = config.reasoning_tokens is not None
        return cls(reasons, config.reasoning_field, config.finish, frozenset(config.reply_details))

    def content_of(
        self, params: RequestParams, choices: tuple[Choice, ...], endpoint: Endpoint, reply_id: str, created: int,
        model: str, input_count: TokenCount,
    ) -> Content:  # fmt: skip
        reasons = self.reasons and endpoint.is_chat
        identity = ReplyIdentity(reply_id, created, model, self.reasoning_field, reasons, self.details)
        frames = endpoint.frames(identity, params)
        separate = self.finish == "separate"
        media = endpoint.media if params.speech is None else params.speech.media
        return Content(params, choices, separate, reasons, frames, input_count, media, endpoint.head_waits)


def text_choice(params: RequestParams, plan: Plan, pieces: list[str]) -> Choice:
    """A choice of reasoning and text. A stop string in the text shortens its plan."""
    border = plan.reasoning_tokens
    texts, stop = pieces, None
    if params.stop and border < plan.output_tokens:
        cut, stop = cut_at_stop(pieces[border:], params.stop, params.keep_stop)
        texts = [*pieces[:border], *cut]
        if stop is not None:
            plan = plan.ending_at(len(texts))
    blocks = [Block("reasoning", 0, border)] if border else []
    if border < plan.output_tokens or not blocks:
        blocks.append(Block("text", border, plan.output_tokens))
    return Choice(plan, texts, tuple(blocks), FinishReason(plan.finish, stop))


def scripted_choice(plan: Plan, reasoning: list[str], scripted: Scripted) -> Choice:
    """A choice of reasoning, and then tool calls or a document."""
    border = len(reasoning)
    blocks = [Block("reasoning", 0, border)] if border else []
    blocks += [block._replace(start=block.start + border, stop=block.stop + border) for block in scripted.blocks]
    calls = any(block.kind == "tool" for block in blocks)
    finish: Literal["stop", "length"] = "stop" if scripted.is_whole else "length"
    plan = replace(plan, finish=finish, reasoning_tokens=border)
    end = FinishReason("tool_calls" if calls and scripted.is_whole else finish, None)
    return Choice(plan, [*reasoning, *scripted.texts], tuple(blocks), end, is_document=True)


def writer_of(content: Content, now_ns: Callable[[], int]) -> ScriptWriter:
    """The writer for the script of this content."""
    return StreamWriter(content, now_ns) if content.params.stream else WholeWriter(content, now_ns)


def cut_at_stop(pieces: Sequence[str], stops: Sequence[str], keep: bool) -> tuple[list[str], str | None]:
    """The text of each token (it may be empty) up to the token that completes a stop string, and that string; or all
    texts.

    Stop strings work as in vLLM: after each token, the text so far is searched for every stop string, in the given
    order, as far back as a new match can begin. The first match ends the reply. Its text is cut before the stop string
    (after it with `keep`, which is `include_stop_str_in_output`), `finish_reason` is "stop" and `stop_reason` is the
    string. To never stream a part of a stop string, the last (longest stop string - 1) characters are held back until
    the end. A token whose characters are all held back gives an empty delta.
    """
    held = 0 if keep else max(map(len, stops)) - 1
    text, shown = "", 0
    texts: list[str] = []
    for piece in pieces:
        text += piece
        for stop in stops:
            at = text.find(stop, max(0, len(text) + 1 - len(piece) - len(stop)))
            if at >= 0:
                end = at + len(stop) if keep else at
                return [*texts, text[shown:end]], stop
        until = max(shown, len(text) - held)
        texts.append(text[shown:until])
        shown = until
    if texts:
        texts[-1] += text[shown:]
    return texts, None
