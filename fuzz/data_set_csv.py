"""Data sets as CSV and TSV: see data_sets.py."""

from __future__ import annotations

from fuzz.data_sets import read_data_set
from fuzz.target import Target


def read(data: bytes) -> None:
    """One input."""
    read_data_set("set.tsv" if b"\t" in data[:40] else "set.csv", data)


WORDS = (
    b"prompt,output_tokens\n",
    b"TIMESTAMP,ContextTokens,GeneratedTokens\n",
    b"Timestamp,Model,Request tokens,Response tokens\n",
    b'"',
    b'""',
    b",",
    b"\r\n",
    b"\t",
    b"\xef\xbb\xbf",
    b"\x00",
    b"2023-11-16 18:15:46.6805900,374,44\n",
    b"nan,x,5,5\n",
    b"at_s",
    b"hash_ids",
)
TARGET = Target(read, words=WORDS)
