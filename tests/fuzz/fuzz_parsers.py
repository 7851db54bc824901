"""Coverage-guided fuzzing of everything that reads what others wrote: HTTP, SSE, the dialects of APIs, records.

It needs atheris, which is no dependency of the tests; in an environment of its own:

    python -m venv fuzz && fuzz/bin/pip install atheris -e .
    mkdir corpus
    fuzz/bin/python tests/fuzz/fuzz_parsers.py corpus -max_total_time=300 -timeout=5 -rss_limit_mb=2048

An empty corpus is filled with a seed for each parser. No input may crash, hang, or lose a byte's account. Whatever is found
becomes a unit test beside those of its parser.

An input is: which parser (1 byte), how many cuts (1 byte), the cuts (2 bytes each), what is to be read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bench"]):
    from bench.endpoints import ENDPOINTS
    from bench.endpoints.interface import ParsedReply, ReadOptions
    from bench.errors import RecordError
    from bench.records import TOKEN_KINDS, Outcome, from_line, to_line
    from bench.transport.http1 import ProtocolError, ResponseParser
    from bench.transport.sse import SSEParser


def split(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    borders = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(borders)]


def http(data: bytes, cuts: Sequence[int]) -> None:
    """Whole, cut and byte by byte, a response is the same, and no body is longer than what came."""

    def read(pieces: Sequence[bytes]) -> tuple[int | None, bytes, bool]:
        parser, body = ResponseParser(), b""
        for piece in pieces:
            if not piece:
                continue
            try:
                body += b"".join(parser.feed(piece))
            except ProtocolError:
                break
            if parser.error is not None or parser.complete:
                break
        else:
            parser.end_of_file()
        found = parser.status, body, parser.complete
        parser.close()
        return found

    whole = read([data])
    assert len(whole[1]) <= len(data)
    assert read(split(data, cuts)) == whole
    assert read([data[i : i + 1] for i in range(len(data))]) == whole


def sse(data: bytes, cuts: Sequence[int]) -> None:
    """However the bytes are cut, and whether they come one by one or all at once, the events are the same."""
    parser = SSEParser()
    events, rest = parser.feed(data), parser.unfinished
    kept = sum(map(len, events)) + len(rest)
    assert kept <= len(data)
    pieces = split(data, cuts)
    lines = [line + b"\n" for line in data.split(b"\n\n")]
    for form in (pieces, [data[i : i + 1] for i in range(len(data))], [line + b"\n" for line in lines]):
        one_by_one, at_once = SSEParser(), SSEParser()
        separate = [one_by_one.feed(piece) for piece in form]
        # In two goes: the second begins with what the first left behind.
        middle = len(form) // 2
        together = at_once.feed_all(form[:middle]) + at_once.feed_all(form[middle:])
        assert together == separate
        assert at_once.unfinished == one_by_one.unfinished
        if form is not lines and b"".join(form) == data:
            assert [event for found in separate for event in found] == events
            assert one_by_one.unfinished == rest


STREAMED = ("chat", "messages", "responses")


def words(text: str) -> int:
    """A tokenizer for which a piece may hold no token, or several."""
    return len(text.split(" ")) if text else 0


def dialect(data: bytes, cuts: Sequence[int]) -> None:
    """Whether events are decoded one by one or in batches, the reply is the same; every event is a chunk of it."""
    events = [event for event in data.replace(b"\r", b"").split(b"\x00") if event]
    borders = [0, *sorted(cut % (len(events) + 1) for cut in cuts), len(events)]
    for name, count in product(STREAMED, (None, words)):
        replies: list[ParsedReply] = []
        batches = ([[event] for event in events], [events], [events[a:b] for a, b in pairwise(borders)])
        for batch in batches:
            reader = ENDPOINTS[name].event_reader(ReadOptions(count=count))
            for part in batch:
                reader.feed(part)
            reply = reader.close()
            assert len(reply.chunk_kind) == len(events)
            if reply.chunk_tokens is not None:
                assert len(reply.chunk_tokens) == len(events)
                assert all(
                    kind in TOKEN_KINDS or not n for kind, n in zip(reply.chunk_kind, reply.chunk_tokens, strict=True)
                )
            replies.append(reply)
        # Of malformed events, each half of an object, a batch can make a whole one: what is good must stay as it is.
        if replies[0].problem is None or replies[0].problem.outcome is not Outcome.MALFORMED:
            assert replies[1] == replies[2] == replies[0]


def body(data: bytes, cuts: Sequence[int]) -> None:
    """A reply in one piece, and one that is an error."""
    for endpoint in ENDPOINTS.values():
        assert endpoint.read_whole(data, ReadOptions(count=words)).chunk_kind == ""
        assert len(endpoint.error_message(data)) < 2_000


def record(data: bytes, cuts: Sequence[int]) -> None:
    """A line is a record that is written as it was read, or a sentence."""
    try:
        found = from_line(data)
    except RecordError:
        return
    assert from_line(to_line(found)) == found


PARSERS: tuple[Callable[[bytes, Sequence[int]], None], ...] = (http, sse, dialect, body, record)

RECORD = (
    b'{"id":"a-1","index":1,"phase":"run","session":null,"intended_ns":1,"eligible_ns":1,"connect_ns":0,"sent_ns":2,'
    b'"first_byte_ns":3,"end_ns":9,"attempts":1,"status":200,"outcome":"ok","chunk_ns":[3,4],"chunk_bound_ns":[null,3],'
    b'"chunk_tokens":[1,1],"chunk_kind":"cc"}'
)
EVENTS = (
    b'{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}',
    b'{"choices":[{"index":0,"delta":{"content":"a b"},"finish_reason":null}],"usage":{"completion_tokens":2}}',
    b'{"choices":[{"index":0,"delta":{"reasoning":"t"}}]}',
    b'{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{}"}}]}}]}',
    b'{"choices":[{"text":"a","finish_reason":"stop"}]}',
    b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}',
    b'{"error":{"message":"m","type":"t"}}',
    b'{"object":"error","message":"m"}',
    b"[DONE]",
)
TYPED = (
    b'{"type":"message_start","message":{"usage":{"input_tokens":4,"output_tokens":1}}}',
    b'{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"f","input":{}}}',
    b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}',
    b'{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"t"}}',
    b'{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}',
    b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}',
    b'{"type":"message_stop"}',
    b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}',
    b'{"type":"response.created","response":{"status":"in_progress"},"sequence_number":0}',
    b'{"type":"response.output_item.added","item":{"type":"function_call","name":"f","arguments":""}}',
    b'{"type":"response.output_text.delta","delta":"a","sequence_number":4}',
    b'{"type":"response.output_text.delta","delta":"b","sequence_number":5}',
    b'{"type":"response.reasoning_text.delta","delta":"t","sequence_number":6}',
    b'{"type":"response.completed","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},'
    b'"usage":{"input_tokens":4,"output_tokens":2}}}',
)
SEEDS = (
    (0, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
    (0, b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
    (0, b"HTTP/1.1 101 Up\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nx"),
    (1, b"\xef\xbb\xbfdata: a\n\ndata: b\n\n: c\r\ndata\rdata:d\r\n\r\n"),
    (1, b"data: " + b"\n\ndata: ".join(EVENTS) + b"\n\n"),
    (2, b"\x00".join(EVENTS)),
    (2, b"\x00".join(TYPED[:8])),
    (2, b"\x00".join(TYPED[8:])),
    (
        3,
        b'{"type":"message","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","usage":{"output_tokens":2}}',
    ),
    (3, b'{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}]}'),
    (2, b'{},{}\x00{"a":1\x00[]\x00null'),
    (
        3,
        b'{"choices":[{"message":{"content":"a","reasoning":"b"},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}',
    ),
    (3, b'{"detail":[{"msg":"extra"}]}'),
    (4, RECORD),
)


def read_one(data: bytes) -> None:
    """One input to one parser."""
    if len(data) < 2:
        return
    cuts_end = 2 + 2 * (data[1] % 16)
    cuts = [int.from_bytes(data[i : i + 2], "big") for i in range(2, min(cuts_end, len(data)), 2)]
    PARSERS[data[0] % len(PARSERS)](data[cuts_end:], cuts)


def main() -> None:
    """libFuzzer's own command line, after filling an empty corpus."""
    for word in sys.argv[1:]:
        corpus = Path(word)
        if corpus.is_dir() and not any(corpus.iterdir()):
            for number, (parser, data) in enumerate(SEEDS):
                (corpus / f"seed-{number}").write_bytes(bytes([parser, 3, 0, 3, 0, 9, 0, 40]) + data)
    atheris.Setup(sys.argv, read_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
