"""A reply in one piece, and one that is an error, as each endpoint reads it. An input is the body."""

from __future__ import annotations

from bench.endpoints import ENDPOINTS
from bench.endpoints.failure import is_lost_response
from bench.endpoints.interface import ReadOptions
from bench.workload import InputBatch
from fuzz.target import Target


def _words(text: str) -> int:
    return len(text.split(" ")) if text else 0


def read(data: bytes) -> None:
    """One input."""
    for name, endpoint in ENDPOINTS.items():
        for count in (None, _words):
            batch = InputBatch(inputs=2, entries=2, dimensions=3) if endpoint.inputs_are is not None else None
            options = ReadOptions(count=count, keep_answer=count is None, output_tokens_asked=4, batch=batch)
            reply = endpoint.read_whole(data, options)
            assert reply.chunk_kind == "", name
            assert reply.output_tokens is None or reply.output_tokens >= 0
        assert len(endpoint.error_message(data)) < 2_000
    is_lost_response(data)


WORDS = (
    b"choices",
    b"message",
    b"content",
    b"usage",
    b"error",
    b"detail",
    b"data",
    b"embedding",
    b"results",
    b"relevance_score",
    b"output",
    b"status",
    b"type",
    b"text",
    b"index",
    b"<title>",
    b"</title>",
)
TARGET = Target(read, form="json", words=WORDS)
