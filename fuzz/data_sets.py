"""A data set in a file: samples, the same each time they are read, or sentences."""

from __future__ import annotations

from fuzz import scratch
from promptset.errors import SpecError
from promptset.loaders.dataset import DataSet

_MOST_TOKENS = 300
_ENDPOINTS = {"chat": True, "completions": False, "embeddings": False}


def read_data_set(name: str, data: bytes) -> None:
    """Read a file of this name and content: as it is, for chats, and as texts to embed."""
    path = scratch.file(name, data)
    for options in ({}, {"chat": True, "endpoints": _ENDPOINTS}, {"inputs_are": "texts"}):
        for bad_rows in ("fail", "skip"):
            try:
                samples = DataSet(path, bad_rows=bad_rows, **options)
            except SpecError as e:
                assert e.problems
                continue
            assert len(samples) == len(samples.times_s())
            for index in range(min(3, len(samples))):
                outline = samples.outline_at(index)
                # Making a prompt of a million tokens is no question of reading.
                if outline is None or outline.input_tokens <= _MOST_TOKENS:
                    assert samples[index] == samples[index]
