"""Data sets of sessions, and recordings: sessions whose turns can be made, or sentences."""

from __future__ import annotations

import functools
from itertools import islice

from fuzz import scratch
from fuzz.target import Target
from promptset.errors import SpecError
from promptset.sessions.recorded import RecordedSessions
from promptset.sessions.rows import load_sessions
from promptset.tokenizer import Tokenizer
from promptset.tokens import load_tokenizer


@functools.cache
def _tokenizer() -> Tokenizer:
    return load_tokenizer()


def read(data: bytes) -> None:
    """One input."""
    path = scratch.file("sessions.jsonl", data)
    try:
        for session in load_sessions(path, ["chat"]):
            assert session.turns
    except SpecError as e:
        assert e.problems
    try:
        recorded = RecordedSessions(path, _tokenizer(), bad_rows="skip" if data[-1:] == b" " else "fail")
        if recorded.untimed() is None:
            assert all(time >= 0 for time in islice(recorded.begins_s(), 3))
        for index in range(min(2, len(recorded))):
            recorded.session_at(index)
    except SpecError as e:
        assert e.problems


WORDS = (
    b"turns",
    b"content",
    b"output_tokens",
    b"think_time_s",
    b"answer",
    b"id",
    b"after",
    b"continues",
    b"system",
    b"session",
    b"tool_calls",
    b"resourceSpans",
    b"traceId",
    b"spanId",
    b"parentSpanId",
    b"startTimeUnixNano",
    b"endTimeUnixNano",
    b"attributes",
    b"gen_ai.usage.input_tokens",
    b"gen_ai.usage.output_tokens",
    b"gen_ai.operation.name",
    b"requests",
    b"hash_ids",
    b"block_size",
    b"in",
    b"out",
    b"models",
    b"subagent",
)
TARGET = Target(read, form="json", words=WORDS)
