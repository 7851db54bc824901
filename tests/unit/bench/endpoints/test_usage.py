"""Which usage is believed, which servers count differently, and the tokens of each chunk."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS
from bench.endpoints.interface import ParsedReply, ReadOptions
from bench.endpoints.usage import ReplyText, token_counts, tokens_of_chunks

CHAT = ENDPOINTS["chat"]


def text(**fields: Any) -> ReplyText:
    """Four text chunks of four bytes each, with four tokens requested."""
    return ReplyText(**({"asked": 4, "most_bytes": 16, "token_chunks": 4} | fields))


def usage(n: Any, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": 7, "completion_tokens": n, **more}


IMPOSSIBLE: dict[str, tuple[dict[str, Any], ReplyText, str]] = {
    "more than was asked for": (usage(99), text(), "usage says 99 output tokens, but 4 were requested"),
    "one more than was asked for": (usage(5), text(), "usage says 5 output tokens, but 4 were requested"),
    "negative": (usage(-5), text(), "usage says '-5' output tokens"),
    "zero with text": (usage(0), text(), "usage says 0 output tokens, and there is text"),
    "zero with one byte": (usage(0), text(most_bytes=1, token_chunks=1), "there is text"),
    "a string": (usage("4"), text(), "usage says '4' output tokens"),
    "a fraction": (usage(4.5), text(), "usage says '4.5' output tokens"),
    "a truth value": (usage(True), text(), "usage says 'True' output tokens"),
    "a list": (usage([4]), text(), "usage says '[4]' output tokens"),
    "more than the text can hold": (usage(33), text(asked=None), "the text has 16 bytes at most"),
    "more than the text and what is hidden": (
        usage(43, completion_tokens_details={"reasoning_tokens": 10}),
        text(asked=None),
        "the text has 16 bytes at most",
    ),
    "less than half of our count": (
        usage(4),
        text(asked=None, counted=25),
        "usage says 4 output tokens, and the text has 25",
    ),
    "half of the chunks": (usage(2), text(asked=None, least_tokens=4), "the text came in 4 chunks"),
    "half of what came until the limit": (
        usage(8),
        text(asked=16, token_chunks=16, least_tokens=16, limited=True),
        "usage says 8 output tokens, and the text came in 16 chunks, to the limit of 16 tokens",
    ),
    "one less than came until the limit": (
        usage(15),
        text(asked=16, token_chunks=16, least_tokens=16, limited=True),
        "to the limit of 16 tokens",
    ),
    "fewer than the letters that came until the limit": (
        usage(2),
        text(most_bytes=4, least_tokens=4, limited=True),
        "to the limit of 4 tokens",
    ),
    "fewer than the chunks, and than our count": (usage(2), text(asked=None, least_tokens=4, counted=4), "in 4 chunks"),
    "half of the chunks of two choices": (
        usage(8),
        text(asked=16, token_chunks=16, most_bytes=64, least_tokens=16, choices=2),
        "in 16 chunks",
    ),
    "negative input": ({"prompt_tokens": -1, "completion_tokens": 4}, text(), "usage says '-1' input tokens"),
    "input that is no number": ({"prompt_tokens": "7", "completion_tokens": 4}, text(), "usage says '7' input tokens"),
}
POSSIBLE: dict[str, tuple[dict[str, Any], ReplyText]] = {
    "one token a chunk": (usage(4), text()),
    "fewer than were asked for": (usage(4), text(asked=128)),
    "several tokens a chunk": (usage(14), text(asked=None)),
    "an end token that bears no text": (usage(5), text(asked=128)),
    "all that the text can hold, and special tokens": (usage(32), text(asked=None)),
    "a server that ignores max_tokens, and shows it by its chunks": (usage(4), text(asked=2)),
    "a server that ignores max_tokens, and shows it by its text": (usage(7), text(asked=2, counted=7)),
    "two choices": (usage(8), text(asked=8, choices=2)),
    "hidden reasoning": (usage(42, completion_tokens_details={"reasoning_tokens": 10}), text(asked=None)),
    "details that are none": (usage(4, completion_tokens_details={"reasoning_tokens": None}), text()),
    "a tool call": (usage(60), text(asked=None, tool_calls=True)),
    "empty chunks": (usage(40), text(asked=None, chunks_without_text=8)),
    "text that tokenizes into more": (usage(4), text(asked=None, counted=24)),
    "text that tokenizes into fewer": (usage(14), text(asked=None, counted=1)),
    "one less than the chunks: an echo, half a character": (usage(3), text(asked=None, least_tokens=4)),
    "a reply in letters": (usage(2), text(asked=None, most_bytes=4, least_tokens=4)),
    "a reply in parts of tokens, until the limit that usage says": (
        usage(4),
        text(asked=4, token_chunks=9, most_bytes=36, least_tokens=9, limited=True),
    ),
    "a reply in parts of tokens, as our count says": (usage(2), text(asked=None, least_tokens=4, counted=2)),
    "two choices until their limit": (
        usage(4),
        text(asked=4, token_chunks=9, most_bytes=36, least_tokens=9, limited=True, choices=2),
    ),
    "reasoning that is not in the usage": (
        usage(3, completion_tokens_details={"reasoning_tokens": 1}),
        text(least_tokens=4, limited=True),
    ),
    "a context that was full": (usage(4), text(asked=16, least_tokens=4, limited=True)),
    "nothing said of nothing": (usage(0), text(most_bytes=0, token_chunks=0)),
}


@pytest.mark.parametrize(("said", "reply", "why"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_usage_that_cannot_be_true_is_not_believed(said: dict[str, Any], reply: ReplyText, why: str) -> None:
    counts = token_counts(said, reply)
    assert why in (counts.contradiction or "")
    if "input" in why:
        assert (counts.input_tokens, counts.output_tokens, counts.output_tokens_from) == (None, 4, "usage")
    elif reply.counted is not None:
        assert (counts.output_tokens, counts.output_tokens_from) == (reply.counted, "tokenizer")
    else:
        assert (counts.output_tokens, counts.output_tokens_from) == (reply.token_chunks, "chunks")


@pytest.mark.parametrize(("said", "reply"), POSSIBLE.values(), ids=POSSIBLE.keys())
def test_usage_that_can_be_true_is_believed(said: dict[str, Any], reply: ReplyText) -> None:
    counts = token_counts(said, reply)
    assert (counts.output_tokens, counts.output_tokens_from) == (said["completion_tokens"], "usage")
    assert (counts.input_tokens, counts.contradiction) == (7, None)


@pytest.mark.parametrize("said", [None, {}, usage(None) | {"prompt_tokens": None}])
def test_no_usage_is_no_contradiction(said: dict[str, Any] | None) -> None:
    counts = token_counts(said, text())
    assert (counts.input_tokens, counts.output_tokens, counts.output_tokens_from) == (None, 4, "chunks")
    assert counts.contradiction is None


def chunk(content: str, **more: Any) -> bytes:
    return json.dumps(
        {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}], **more}
    ).encode()


END = b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


def total(n: int) -> bytes:
    return b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":%d}}' % n


def read(*events: bytes, batch: int = 3, **options: Any) -> ParsedReply:
    reader = CHAT.event_reader(ReadOptions(**options))
    for at in range(0, len(events), batch):
        reader.feed(events[at : at + batch])
    return reader.close()


@pytest.mark.parametrize("said", [99, -5, 0])
def test_a_stream_with_impossible_usage_counts_its_chunks(said: int) -> None:
    reply = read(*[chunk("word")] * 4, END, total(said), b"[DONE]", output_tokens_asked=4)
    assert (reply.output_tokens, reply.output_tokens_from, reply.chunk_tokens) == (4, "chunks", (1, 1, 1, 1, 0, 0, 0))
    assert f"{said}" in (reply.usage_contradiction or "")
    assert reply.problem is None


@pytest.mark.parametrize(
    ("ends", "choices"),
    [([0, 1], 2), ([10**7], 2), ([0, 0], 1), ([None, None], 1), ([1, 0, 2], 3), (["a"], 1), ([-1, 5, 5], 3)],
)
def test_several_choices_are_those_that_ended_whatever_their_index(ends: list[object], choices: int) -> None:
    said = [json.dumps({"choices": [{"index": at, "delta": {}, "finish_reason": "stop"}]}).encode() for at in ends]
    # The text of one reply has too few bytes for as many tokens.
    reply = read(*[chunk("word")] * 4, *said, total(40), b"[DONE]")
    assert reply.output_tokens == (40 if choices > 1 else 4)
    assert (reply.usage_contradiction is None) == (choices > 1)


def test_choices_of_a_whole_reply_are_counted_by_their_index() -> None:
    for places, is_believed in (([0, 1], True), ([0, 0], False), ([None, None], True)):
        choices = [{"index": at, "message": {"content": "word"}, "finish_reason": "stop"} for at in places]
        body = json.dumps({"choices": choices, "usage": usage(40)}).encode()
        reply = CHAT.read_whole(body, ReadOptions())
        assert (reply.usage_contradiction is None) == is_believed


def test_text_beyond_ascii_has_room_for_a_token_a_byte() -> None:
    reply = read(*[chunk("\U0001f600")] * 10, END, total(40), b"[DONE]")
    assert (reply.output_tokens, reply.usage_contradiction) == (40, None)
    assert read(*[chunk("a")] * 10, END, total(40), b"[DONE]").usage_contradiction is not None


# ---- The tokens of chunks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "tokens"),
    [
        # Usage counts one token per chunk, including empty ones. Each empty chunk's token belongs to the next text.
        ((chunk("a"), chunk(""), chunk("b"), total(3)), (1, 0, 2, 0)),
        ((chunk("a"), chunk(""), chunk(""), chunk("b"), chunk("c"), total(5)), (1, 0, 0, 3, 1, 0)),
        ((chunk(""), chunk("a"), chunk("b"), total(3)), (0, 2, 1, 0)),
        # Whether an end token came with the finish reason or not, empty chunks count if text follows.
        ((chunk("a"), chunk(""), chunk("b"), END, total(4)), (1, 0, 2, 0, 0)),
        ((chunk("a"), chunk("b"), END, total(3)), (1, 1, 0, 0)),
        # Usage does not count the empty chunks.
        ((chunk("a"), chunk(""), chunk("b"), END, total(2)), (1, 0, 1, 0, 0)),
        # Usage counts some of the empty chunks, and it is unknown which.
        ((chunk("a"), chunk(""), chunk("b"), chunk(""), chunk("c"), total(4)), None),
        ((chunk("a"), chunk("b"), total(9)), None),
        # A role chunk is not an empty text chunk.
        ((b'{"choices":[{"delta":{"role":"assistant","content":""}}]}', chunk("a"), total(2)), None),
    ],
)
def test_a_token_that_came_without_text_counts_for_the_text_after_it(
    events: tuple[bytes, ...], tokens: tuple[int, ...] | None
) -> None:
    assert read(*events).chunk_tokens == tokens


def test_usage_on_every_chunk_counts_the_empty_ones_too() -> None:
    def at(content: str, n: int) -> bytes:
        return chunk(content, usage={"prompt_tokens": 7, "completion_tokens": n})

    assert read(at("a", 1), at("", 2), at("b", 3), total(3)).chunk_tokens == (1, 0, 2, 0)


def test_usage_on_every_chunk_that_falls_tells_nothing() -> None:
    assert tokens_of_chunks("ccc", [1, 5, 3], [], 3, None) == (1, 1, 1)
    assert tokens_of_chunks("ccc", [1, 5, 4], [], 4, None) is None


def test_usage_on_every_chunk_that_ends_above_the_total_tells_nothing() -> None:
    assert tokens_of_chunks("cc", [2, 9], [], 2, None) == (1, 1)


def test_usage_on_some_chunks_alone_tells_nothing() -> None:
    assert tokens_of_chunks("cc", [2, None], [], 9, None) is None
    assert tokens_of_chunks("", [], [], 9, None) == ()


# ---- Partial usage, and hidden reasoning ----------------------------------------------------------------------------


def said(n: int, event: bytes) -> bytes:
    return event[:-1] + b',"usage":{"prompt_tokens":7,"completion_tokens":%d}}' % n


ROLE = b'{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}'


@pytest.mark.parametrize(
    "events",
    [
        (said(1, ROLE), *[chunk("word")] * 8, END),
        (ROLE, said(1, chunk("word")), *[chunk("word")] * 7, END),
        (*[chunk("word")] * 3, said(4, chunk("word")), *[chunk("word")] * 4, END),
    ],
    ids=["with the role", "with the first text", "in the middle"],
)
def test_usage_that_more_text_followed_is_not_that_of_the_reply(events: tuple[bytes, ...]) -> None:
    reply = read(*events, b"[DONE]")
    assert (reply.input_tokens, reply.output_tokens, reply.output_tokens_from) == (7, 8, "chunks")
    assert reply.usage_contradiction is None
    counted = read(*events, b"[DONE]", count=lambda text: len(text) // 4)
    assert (counted.output_tokens, counted.output_tokens_from) == (8, "tokenizer")


def test_usage_that_more_text_followed_may_be_that_of_the_reply() -> None:
    reply = read(chunk("a"), said(3, chunk("b")), chunk("c"), END, b"[DONE]")
    assert (reply.output_tokens, reply.output_tokens_from) == (3, "usage")


def test_the_last_usage_counts_whatever_came_before_it() -> None:
    reply = read(said(1, chunk("a")), chunk("b"), chunk("c"), said(3, END), b"[DONE]")
    assert (reply.output_tokens, reply.chunk_tokens) == (3, (1, 1, 1, 0, 0))


def with_reasoning(n: int, reasoning: int) -> bytes:
    details = b'"completion_tokens_details":{"reasoning_tokens":%d}' % reasoning
    return b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":%d,%b}}' % (n, details)


def test_reasoning_that_is_not_sent_is_in_no_chunk() -> None:
    eight = [chunk("word")] * 8
    assert read(*eight, END, with_reasoning(48, 40), b"[DONE]").chunk_tokens == (1,) * 8 + (0, 0, 0)
    # 20 tokens in 8 chunks: the number per chunk is unknown.
    assert read(*eight, END, with_reasoning(60, 40), b"[DONE]").chunk_tokens is None
    # A server that does not count reasoning as output, and a server that sends reasoning.
    assert read(*eight, END, with_reasoning(8, 40), b"[DONE]").chunk_tokens == (1,) * 8 + (0, 0, 0)
    thought = b'{"choices":[{"index":0,"delta":{"reasoning":"b"},"finish_reason":null}]}'
    assert read(thought, *eight, END, with_reasoning(48, 40), b"[DONE]").chunk_tokens is None


@pytest.mark.parametrize("each", [1, 2])
def test_usage_on_every_chunk_that_counts_nothing_up_is_that_of_the_chunk(each: int) -> None:
    events = [said(each, chunk("word")) for _ in range(8)]
    reply = read(*events, END, b"[DONE]")
    assert (reply.output_tokens, reply.output_tokens_from, reply.chunk_tokens) == (8, "chunks", (1,) * 8 + (0, 0))
    assert reply.usage_contradiction is None
    total_said = read(*events, END, total(16), b"[DONE]")
    assert (total_said.output_tokens, total_said.output_tokens_from) == (16, "usage")
    # Two pieces of one token, each with the count up to it.
    assert read(said(1, chunk("wo")), said(1, chunk("rd")), END, b"[DONE]").output_tokens == 1


LIMITED = b'{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}'


def thought(piece: str) -> bytes:
    return b'{"choices":[{"index":0,"delta":{"reasoning_content":"%s"}}]}' % piece.encode()


def argument(piece: str) -> bytes:
    call = b'{"index":0,"function":{"arguments":"%s"}}' % piece.encode()
    return b'{"choices":[{"index":0,"delta":{"tool_calls":[%s]}}]}' % call


@pytest.mark.parametrize("share", [0.5, 0.75, 0.95])
def test_usage_below_the_chunks_of_a_reply_at_its_limit_leaves_one_token_a_chunk(share: float) -> None:
    """Otherwise TPOT would be twice the ITL of the same report."""
    reply = read(*[chunk("word")] * 16, LIMITED, total(int(16 * share)), b"[DONE]", output_tokens_asked=16)
    assert (reply.output_tokens, reply.output_tokens_from, reply.output_tokens_doubt) == (16, "chunks", None)
    assert reply.chunk_tokens == (*[1] * 16, 0, 0, 0)
    assert "came in 16 chunks" in (reply.usage_contradiction or "")


def test_servers_that_make_two_chunks_of_one_step_are_believed() -> None:
    # Reasoning, answer and call may change within a step, and the arguments of a tool may be split anywhere.
    events = [thought("why"), thought("so"), chunk("word"), chunk("word"), *[argument("one")] * 6]
    assert read(*events, END, total(4), b"[DONE]").usage_contradiction is None
    assert read(*events[:4], END, total(2), b"[DONE]").usage_contradiction is None
    assert read(*events[:4], *[chunk("word")] * 2, END, total(2), b"[DONE]").usage_contradiction is not None


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        ((1, 3, 6), (1, 2, 3, 0, 0)),  # Usage of the reply so far.
        ((2, 2, 3), (2, 0, 1, 0, 0)),
        ((1, 1, 1), (1, 1, 1, 0, 0)),  # Usage of each chunk alone.
    ],
)
def test_usage_on_every_chunk_is_of_the_reply_so_far_unless_it_never_grows(
    said: tuple[int, ...], tokens: tuple[int, ...]
) -> None:
    reply = read(*(chunk("word", usage={"completion_tokens": n}) for n in said), END, b"[DONE]")
    assert (reply.chunk_tokens, reply.output_tokens) == (tokens, sum(tokens))


def test_reasoning_that_was_not_sent_takes_nothing_from_chunks_that_make_up_the_usage() -> None:
    details = {"completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 1}}
    last = json.dumps({"choices": [], "usage": details}).encode()
    assert read(*[chunk("word")] * 3, END, last, b"[DONE]").chunk_tokens == (1, 1, 1, 0, 0, 0)
    assert read(*[chunk("word")] * 2, END, last, b"[DONE]").chunk_tokens == (1, 1, 0, 0, 0)


def test_usage_that_more_text_followed_is_no_contradiction() -> None:
    early = chunk("word", usage={"prompt_tokens": 7, "completion_tokens": 1})
    reply = read(early, *[chunk("word")] * 15, LIMITED, b"[DONE]", output_tokens_asked=16)
    assert (reply.output_tokens, reply.output_tokens_from, reply.usage_contradiction) == (16, "chunks", None)


def test_where_nobody_counts_a_reply_at_its_limit_has_as_many_tokens_and_is_in_doubt() -> None:
    four_a_chunk = [chunk("one two three four")] * 4
    reply = read(*four_a_chunk, LIMITED, b"[DONE]", output_tokens_asked=16)
    assert (reply.output_tokens, reply.output_tokens_from, reply.chunk_tokens) == (16, "limit", None)
    assert reply.output_tokens_doubt == (
        "no count but 4 chunks of text, and the reply says that it ended at the limit of 16 tokens"
    )
    assert reply.problem is None
    # In a reply without a limit, only the length of the chunks shows that they hold several tokens.
    reply = read(*four_a_chunk, END, b"[DONE]", output_tokens_asked=16)
    assert (reply.output_tokens, reply.output_tokens_from) == (4, "chunks")
    assert reply.output_tokens_doubt == "no count but 4 chunks of text, which have 72 bytes: several tokens each"
    one = read(chunk("one two three four"), LIMITED, b"[DONE]", output_tokens_asked=4)
    assert one.output_tokens_doubt == (
        "no count but 1 chunk of text, and the reply says that it ended at the limit of 4 tokens"
    )


DOUBT: dict[str, tuple[dict[str, Any] | None, ReplyText, int, bool]] = {
    "one chunk a token, until the limit": (None, text(least_tokens=4, limited=True), 4, False),
    "more chunks than the limit": (None, text(asked=3, limited=True), 4, True),
    "a tokenizer": (None, text(asked=16, counted=15, limited=True), 15, False),
    "usage at the limit": (usage(4), text(token_chunks=1, limited=True), 4, False),
    "usage below the limit": (usage(8), text(asked=16, limited=True), 8, True),
    "usage below the limit, which is another's": (usage(8), text(asked=16), 8, False),
    "several choices": (None, text(asked=16, limited=True, choices=2), 4, False),
    "no limit was asked for": (None, text(asked=None, limited=True), 4, False),
    "short chunks": (None, text(asked=None, most_bytes=60), 4, False),
    "long chunks": (None, text(asked=None, most_bytes=61), 4, True),
    "chunks of another script": (None, text(asked=None, most_bytes=120, is_ascii=False), 4, False),
    "long chunks of another script": (None, text(asked=None, most_bytes=121, is_ascii=False), 4, True),
    "a reply in one piece, until its limit": (None, text(asked=16, token_chunks=None, limited=True), 16, False),
}


@pytest.mark.parametrize(("said", "reply", "n", "is_doubted"), DOUBT.values(), ids=DOUBT.keys())
def test_a_count_is_in_doubt_where_the_reply_speaks_against_it(
    said: dict[str, Any] | None, reply: ReplyText, n: int, is_doubted: bool
) -> None:
    counts = token_counts(said, reply)
    assert (counts.output_tokens, counts.doubt is not None, counts.contradiction) == (n, is_doubted, None)


def test_every_api_says_that_a_reply_ended_at_its_limit() -> None:
    def of(endpoint: str, *events: dict[str, Any]) -> str | None:
        reader = ENDPOINTS[endpoint].event_reader(ReadOptions(output_tokens_asked=16))
        reader.feed([json.dumps(event).encode() for event in events])
        return reader.close().output_tokens_from

    piece = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word"}}
    for reason, source in (("max_tokens", "limit"), ("end_turn", "chunks")):
        said = {"type": "message_delta", "delta": {"stop_reason": reason}}
        assert of("messages", piece, piece, said, {"type": "message_stop"}) == source
    delta = {"type": "response.output_text.delta", "delta": "word"}
    for reason, source in (("max_output_tokens", "limit"), ("content_filter", "chunks")):
        response = {"status": "incomplete", "incomplete_details": {"reason": reason}}
        assert of("responses", delta, delta, {"type": "response.incomplete", "response": response}) == source
    for word, source in (("length", "limit"), ("LENGTH", "limit"), ("stop", "chunks")):
        choice = {"index": 0, "text": "word", "finish_reason": word}
        assert of("completions", {"choices": [choice]}, {"choices": []}) == source


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("chat", {"choices": [{"index": 0, "message": {"content": "a b"}, "finish_reason": "length"}]}),
        ("messages", {"content": [{"type": "text", "text": "a b"}], "stop_reason": "max_tokens"}),
        (
            "responses",
            {
                "output": [{"type": "message", "content": [{"type": "output_text", "text": "a b"}]}],
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
            },
        ),
    ],
)
def test_a_reply_in_one_piece_that_nobody_counts_has_as_many_tokens_as_its_limit(
    endpoint: str, body: dict[str, Any]
) -> None:
    reply = ENDPOINTS[endpoint].read_whole(json.dumps(body).encode(), ReadOptions(output_tokens_asked=16))
    assert (reply.output_tokens, reply.output_tokens_from, reply.problem) == (16, "limit", None)
