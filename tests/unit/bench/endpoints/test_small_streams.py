"""Streams and chats of a few events, whose tokens, kinds and blocks are obvious."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS
from bench.endpoints import chat_translation as to
from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.interface import BodyOptions, Problem, ReadOptions
from bench.records import Outcome
from promptset.samples import Sample

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL_USE = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}


def said(text: str, reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}


@pytest.mark.parametrize(
    ("between", "kinds", "tokens"),
    [
        # An empty text may have a token of the next chunk. An event without a choice has none, so it is unknown which
        # chunk has two.
        (said(""), "cocuo", (1, 0, 2, 0, 0)),
        ({"choices": []}, "cocuo", None),
        ({"choices": [], "usage": None}, "cocuo", None),
    ],
)
def test_an_event_without_a_choice_bears_no_token(
    between: dict[str, Any], kinds: str, tokens: tuple[int, ...] | None
) -> None:
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    usage = {"choices": [], "usage": {"completion_tokens": 3}}
    reader.feed([json.dumps(event).encode() for event in (said("a"), between, said("b", "stop"), usage)] + [b"[DONE]"])
    reply = reader.close()
    assert (reply.problem, reply.chunk_kind, reply.chunk_tokens, reply.output_tokens) == (None, kinds, tokens, 3)


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        ({"content": "so", "thinking_blocks": [THOUGHT]}, [THOUGHT, {"type": "text", "text": "so"}]),
        ({"content": "", "thinking_blocks": [THOUGHT]}, [THOUGHT]),
        ({"content": "so", "tool_calls": [CALL]}, [{"type": "text", "text": "so"}, TOOL_USE]),
        ({"content": "so", "thinking_blocks": [THOUGHT], "tool_calls": [CALL]},
         [THOUGHT, {"type": "text", "text": "so"}, TOOL_USE]),
        ({"content": "so", "thinking_blocks": [], "tool_calls": []}, "so"),
        ({"content": "so", "thinking_blocks": "odd", "tool_calls": "odd"}, "so"),
    ],
)  # fmt: skip
def test_an_answer_of_messages_is_its_thoughts_its_text_and_its_calls_in_this_order(
    answer: dict[str, Any], content: Any
) -> None:
    assert to.messages_of([{"role": "assistant", **answer}]) == ("", [{"role": "assistant", "content": content}])


def test_an_assistant_that_said_nothing_is_left_out_and_a_user_is_not() -> None:
    chat = [{"role": role, "content": ""} for role in ("user", "assistant", "user")]
    assert to.messages_of(chat)[1] == [{"role": "user", "content": ""}] * 2


def test_the_system_messages_at_the_start_are_one_text_and_a_later_one_stays_where_it_is() -> None:
    chat = [
        {"role": "system", "content": "a"},
        {"role": "developer", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "developer", "content": "d"},
    ]
    behind = [{"role": "user", "content": "c"}, {"role": "system", "content": "d"}]
    assert to.messages_of(chat) == ("a\n\nb", behind)
    assert to.instructions_of(chat) == ("a\n\nb", chat[2:])
    assert to.messages_of(chat[:2]) == ("a\n\nb", [])
    assert to.instructions_of(chat[:2]) == ("a\n\nb", [])
    assert to.messages_of(chat[2:3]) == ("", behind[:1])


@pytest.mark.parametrize("sizes", [(8,), (3, 5), (5, 2, 1), (1,) * 8])
def test_an_event_is_named_by_its_number_in_the_whole_stream(sizes: tuple[int, ...]) -> None:
    reader = ENDPOINTS["chat"].event_reader(ReadOptions())
    for size in sizes:
        # Written like real servers do, so that the fast path reads events that look alike.
        reader.feed([json.dumps(said("a"), separators=(",", ":")).encode()] * size)
    reader.feed([b"{"])
    problem = reader.close().problem
    assert problem is not None
    assert problem.message.startswith("event 8 is not JSON")
    assert reader.close().chunk_kind == "c" * 8 + "o"


# ---- Messages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "body", "asked"),
    [
        ({"prompt": "p"}, {"messages": [{"role": "user", "content": "p"}], "max_tokens": 4096}, None),
        ({"prompt": "p", "output_tokens": 7}, {"messages": [{"role": "user", "content": "p"}], "max_tokens": 7}, 7),
        ({"prompt": "", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]},
         {"system": "s", "messages": [{"role": "user", "content": "u"}], "max_tokens": 4096}, None),
        ({"body": {"messages": [], "max_tokens": 9, "temperature": 0}},
         {"messages": [], "max_tokens": 9, "temperature": 0}, 9),
        ({"body": {"messages": [], "max_tokens": "many"}}, {"messages": [], "max_tokens": "many"}, None),
    ],
)  # fmt: skip
def test_a_body_of_messages_has_a_limit_though_nobody_asked_for_one(
    given: dict[str, Any], body: dict[str, Any], asked: int | None
) -> None:
    found = ENDPOINTS["messages"].encode(Sample(**given), BodyOptions(endpoint="messages", model="m"))
    assert json.loads(found.body) == {**body, "model": "m", "stream": True}
    assert (found.output_tokens_asked, found.stream, found.model) == (asked, True, None)


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ({"type": "error", "message": "gone"}, Problem(Outcome.STREAM_ERROR, "gone")),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
         Problem(Outcome.STREAM_ERROR, "overloaded_error: busy")),
        ({"error": {"message": "busy"}}, Problem(Outcome.STREAM_ERROR, "busy")),
        ({"content": [{"type": "text", "text": "a"}], "stop_reason": "odd"},
         Problem(Outcome.STREAM_ERROR, "the reply ended with stop_reason 'odd'")),
        ({"content": [{"type": "text", "text": "a"}], "stop_reason": "End_Turn"}, None),
    ],
)  # fmt: skip
def test_a_whole_reply_of_messages_failed_where_it_says_so(reply: dict[str, Any], problem: Problem | None) -> None:
    found = ENDPOINTS["messages"].read_whole(json.dumps(reply).encode(), ReadOptions())
    assert found.problem == problem


def test_a_whole_reply_of_messages_that_did_not_say_why_it_ended_is_none() -> None:
    problem = ENDPOINTS["messages"].read_whole(b'{"content":[{"type":"text","text":"a"}]}', ReadOptions()).problem
    assert problem is not None
    assert (problem.outcome, problem.message.split(":")[0]) == (Outcome.MALFORMED, "the reply has no stop_reason")
    none = ENDPOINTS["messages"].read_whole(b'{"stop_reason":"end_turn"}', ReadOptions()).problem
    assert none == Problem(Outcome.MALFORMED, 'a reply without content: \'{"stop_reason":"end_turn"}\'')


@pytest.mark.parametrize("endpoint", ["chat", "messages", "responses"])
@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({}, {"stream": True}),
        ({"stream": False}, {"stream": False}),
        ({"ignore_eos": True}, {"stream": True, "ignore_eos": True}),
        ({"extra": {"stream": False, "top_k": 1}}, {"stream": False, "top_k": 1}),
        # The request offers no tools, so there is nothing to choose.
        ({"tool_choice": "auto"}, {"stream": True}),
    ],
)
def test_a_body_has_what_the_run_says_and_nothing_else(
    endpoint: str, options: dict[str, Any], fields: dict[str, Any]
) -> None:
    given = BodyOptions(**{"endpoint": endpoint, "model": "m", "ask_usage": False, **options})
    found = ENDPOINTS[endpoint].encode(Sample(body={"own": 1}), given)
    # Messages requires a limit.
    limit = {"max_tokens": 4096} if endpoint == "messages" else {}
    assert json.loads(found.body) == {"own": 1, "model": "m", **limit, **fields}
    assert found.stream is fields["stream"]
    assert found.output_tokens_asked is None


@pytest.mark.parametrize(
    ("unfinished", "words"),
    [
        (b"", "the stream ended without message_stop"),
        (b"[DONE]", "the stream ended without message_stop"),
        (b" [DONE]\n", "the stream ended without message_stop"),
        (b'{"type":', "the stream ended in the middle of an event (8 bytes of it came) without message_stop"),
    ],
)
def test_a_stream_of_messages_that_was_cut_off_says_where(unfinished: bytes, words: str) -> None:
    reader = ENDPOINTS["messages"].event_reader(ReadOptions())
    reader.feed([b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}'])
    assert reader.close(unfinished).problem == Problem(Outcome.TRUNCATED, words)


def test_a_delta_of_a_kind_that_nobody_knows_has_no_text_though_it_has_a_field_of_this_name() -> None:
    def delta(kind: str, text: str) -> bytes:
        return json.dumps({"type": "content_block_delta", "index": 0, "delta": {"type": kind, "text": text}}).encode()

    reader = ENDPOINTS["messages"].event_reader(ReadOptions(keep_answer=True))
    reader.feed([delta("text_delta", "a"), delta("title_delta", "b"), delta("text_delta", "c")])
    reply = reader.close()
    assert (reply.text, reply.chunk_kind) == ("ac", "coc")


# ---- The fast path -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "text", "fits"),
    [
        (b'{"t":"a","n":1}', "a", True),
        (b'{"t":"","n":1}', "", False),
        # Text that is escaped, occurs more than once, or is missing.
        (b'{"t":"\\u0061","n":1}', "a", False),
        (b'{"t":"ab","n":1}', "a", False),
        (b'{"t":"a","u":{"t":"a"}}', "a", False),
        (b'{"u":"a","n":1}', "a", False),
        (b'{"t":"\xc3\xa9"}', "\u00e9", False),
    ],
)
def test_an_event_is_a_pattern_where_its_text_stands_in_it_once_and_as_it_is(
    event: bytes, text: str, fits: bool
) -> None:
    template = ContentTemplate(b'"t":"')
    template.learn(event, text)
    assert template.learned is fits
    assert template.texts([event]) == ([text.encode()] if fits else [])
