"""The defaults of a body, a reader and a reply."""

from __future__ import annotations

from bench.endpoints.interface import BodyOptions, ParsedReply, ReadOptions
from bench.endpoints.server_words import SILENT


def test_a_body_is_streamed_with_usage_and_nothing_else_is_asked_for() -> None:
    options = BodyOptions(endpoint="chat", model="m")
    assert (options.stream, options.ask_usage) == (True, True)
    assert not any((options.keep_models, options.ignore_eos, options.websocket))
    assert (options.tool_choice, options.extra) == (None, None)


def test_a_reader_keeps_no_answer_and_counts_nothing() -> None:
    options = ReadOptions()
    assert not options.keep_answer
    assert (options.count, options.output_tokens_asked, options.batch, options.dimensions) == (None, None, None, {})
    assert options.dimensions is not ReadOptions().dimensions


def test_a_reply_that_says_nothing_is_not_complete_and_has_no_numbers() -> None:
    reply = ParsedReply()
    assert not reply.complete
    assert (reply.chunk_kind, reply.text, reply.content, reply.server) == ("", "", "", SILENT)
    names = ("chunk_tokens", "input_tokens", "cached_tokens", "output_tokens", "output_tokens_from", "counted", "dimensions",
             "usage_contradiction", "reasoning_tokens", "tool_calls", "answer", "problem", "refused")  # fmt: skip
    assert [getattr(reply, name) for name in names] == [None] * len(names)
