"""Whole replies with faults, on a wire that only records."""

from __future__ import annotations

import gzip

import pytest

from tests.support.played_reply import ERROR, Played

# ---- Whole replies -----------------------------------------------------------------------------------------------------

BODY = (
    b'{"id":"id","object":"chat.completion","created":9,"model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"One two three four"},"logprobs":null,"finish_reason":"length","stop_reason":null}],'
    b'"usage":{"prompt_tokens":5,"total_tokens":9,"completion_tokens":4}}'
)

WHOLE: dict[str, tuple[list[object], int | None]] = {
    "reset:after=1": (["rst"], None),
    "truncate:after=1": ([(200, b""), "fin"], 200),
    "cut_frame": ([(200, b'{"id'), "fin"], 200),
    "error_in_stream": ([(500, ERROR[6:-2])], 500),
    "malformed": ([(200, BODY[: len(BODY) // 2])], 200),
    "usage_missing": ([(200, BODY[: BODY.index(b',"usage"')] + b"}")], 200),
    "usage_wrong": ([(200, BODY.replace(b'9,"completion_tokens":4', b'10,"completion_tokens":5'))], 200),
    "u2028:after=0": ([(200, BODY.replace(b"four", "four\u2028".encode()))], 200),
    "stall": ([(200, BODY)], 200),
}


@pytest.mark.parametrize("spec", WHOLE)
def test_the_bytes_of_a_whole_reply_with_a_fault_are_these(spec: str) -> None:
    said, status = WHOLE[spec]
    played = Played(spec, stream=False).play()
    name = spec.partition(":")[0]
    if name == "cut_frame":
        ((sent, part), end) = played.wire.said
        assert (sent, end) == (200, "fin")
        assert BODY.startswith(part)
        assert 0 < len(part) < len(BODY)
        assert played.reply.bytes_out == len(part)
    else:
        assert played.wire.said == said
        assert played.reply.bytes_out == sum(len(body) for _, body in (s for s in said if isinstance(s, tuple)))
    writer = played.reply.writer
    # A fault that ends the reply strikes after its tokens, and the others are not sent.
    sent = {"reset": 1, "truncate": 1, "cut_frame": 2, "error_in_stream": 2}.get(name, 4)
    assert writer.tokens_out == sent
    assert (writer.status, writer.struck, played.kinds, played.ended) == (status, name, "", [played.reply])


def test_a_reply_cut_short_has_the_blocks_that_it_began() -> None:
    choice = Played(stream=False, reasoning=2).reply.writer.content.choices[0]
    assert [[block.kind for block in choice.said(tokens).blocks] for tokens in (1, 2, 3)] == [
        ["reasoning"], ["reasoning"], ["reasoning", "text"],
    ]  # fmt: skip


def test_a_whole_reply_can_be_compressed() -> None:
    played = Played("gzip", stream=False).play()
    ((status, body),) = played.wire.said
    assert (status, gzip.decompress(body), played.wire.headers) == (200, BODY, (("content-encoding", "gzip"),))
    assert played.reply.bytes_out == len(body)


FOR_STREAMS = (
    "no_done", "role_early", "role_with_token", "role_absent", "empty", "duplicate", "reorder", "usage_twice", "crlf", "cr",
    "comments", "keepalive", "split", "split_utf8", "trickle", "coalesce",
)  # fmt: skip


@pytest.mark.parametrize("spec", FOR_STREAMS)
def test_what_is_for_streams_leaves_a_whole_reply_alone(spec: str) -> None:
    played = Played(spec, stream=False, usage=False).play()
    assert (played.wire.said, played.reply.writer.struck) == ([(200, BODY)], None)
