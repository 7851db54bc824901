"""What readers of events have in common: decoded one by one or in batches, the reply is the same; every event is a chunk."""

from __future__ import annotations

from itertools import pairwise

from bench.endpoints import ENDPOINTS
from bench.endpoints.interface import OtherLine, ParsedReply, ReadOptions
from bench.records import TOKEN_KINDS, Outcome
from fuzz.target import Target, split_input


def _words(text: str) -> int:
    return len(text.split(" ")) if text else 0


def read_events(name: str, data: bytes) -> None:
    """One input: cuts, then events with a line end between them. A line that begins with `!` is a line of no event."""
    cuts, data = split_input(data)
    lines = [line for line in data.replace(b"\r", b"").split(b"\n") if line]
    events = [line for line in lines if not line.startswith(b"!")]
    others = [OtherLine(n if n < len(events) else None, line[1:]) for n, line in enumerate(lines) if line[:1] == b"!"]
    borders = [0, *sorted(cut % (len(events) + 1) for cut in cuts), len(events)]
    for count in (None, _words):
        options = ReadOptions(count=count, keep_answer=count is None, output_tokens_asked=4)
        replies: list[ParsedReply] = []
        for batch in ([[event] for event in events], [events], [events[a:b] for a, b in pairwise(borders)]):
            reader = ENDPOINTS[name].event_reader(options)
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
    if others:
        reader = ENDPOINTS[name].event_reader(ReadOptions(count=_words))
        reader.feed(events, others)
        reader.close(data[:10])


def target(name: str) -> Target:
    """The target of an endpoint."""
    return Target(lambda data: read_events(name, data), form="json", words=WORDS)


WORDS = (
    b"[DONE]\n",
    b'{"error":{"message":"m"}}\n',
    b'"usage"',
    b'"choices"',
    b'"delta"',
    b'"content"',
    b'"type"',
    b'"index"',
    b"null",
    b"!event: error\n",
    b"!error: x\n",
    b"\\u0000",
    b"\\ud800",
    b"usage",
    b"choices",
    b"finish_reason",
    b"tool_calls",
    b"reasoning",
    b"response",
    b"item",
    b"output",
    b"message",
    b"content_block",
    b"stop_reason",
    b"timings",
    b"metrics",
)
