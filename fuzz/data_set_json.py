"""Data sets as JSON or JSON Lines, traces among them: see data_sets.py. The first byte chooses the suffix of the file."""

from __future__ import annotations

from fuzz.data_sets import read_data_set
from fuzz.target import Target


def read(data: bytes) -> None:
    """One input."""
    read_data_set("set.txt" if data[:1] == b"t" else "set.jsonl", data)


WORDS = (
    b"prompt",
    b"messages",
    b"conversations",
    b"body",
    b"texts",
    b"documents",
    b"query",
    b"input_length",
    b"output_length",
    b"hash_ids",
    b"timestamp",
    b"input_tokens",
    b"output_tokens",
    b"at_s",
    b"TIMESTAMP",
    b"ContextTokens",
    b"GeneratedTokens",
    b"endpoint",
    b"headers",
    b"model",
    b"max_tokens",
    b"tools",
    b"chat_id",
    b"Request tokens",
    b"Response tokens",
    b"Timestamp",
    b"priority",
)
TARGET = Target(read, form="json", words=WORDS)
