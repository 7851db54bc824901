"""Embeddings: texts in, a vector for each out."""

from __future__ import annotations

import binascii
import math
import sys
from array import array
from collections.abc import Mapping
from typing import Any

from bench.endpoints.inputs import InputsEndpoint, ReplyError, check_indices, entries_of
from bench.endpoints.interface import ReadOptions
from bench.workload import InputBatch
from promptset.samples import Sample

_NUMBERS = frozenset({float, int})
_FLOAT32 = 4


class Embeddings(InputsEndpoint):
    """`POST /v1/embeddings`. Vectors come as lists of numbers, or as base64 of little-endian float32; both are read."""

    path = "/embeddings"
    inputs_are = "texts"
    spoken_by = "an OpenAI-compatible server of embeddings"

    def fields(self, sample: Sample) -> dict[str, Any]:
        texts = sample.texts if sample.texts is not None else (sample.prompt,)
        return {"input": texts[0] if len(texts) == 1 else list(texts)}

    def batch(self, body: Mapping[str, Any]) -> InputBatch:
        value = body.get("input")
        # A list of numbers is a single input: its token ids.
        tokens = isinstance(value, list) and value and all(type(token) is int for token in value)
        inputs = len(value) if isinstance(value, list) and not tokens else 1
        dimensions = body.get("dimensions")
        asked = dimensions if type(dimensions) is int and dimensions >= 0 else None
        return InputBatch(inputs=inputs, entries=inputs, dimensions=asked)

    def check(self, reply: object, options: ReadOptions) -> int | None:
        asked = options.batch
        entries = entries_of(reply, "data", None if asked is None else asked.entries)
        check_indices(entries, "data", None if asked is None else asked.inputs)
        size: int | None = None
        for number, entry in enumerate(entries):
            dimensions = _dimensions(entry.get("embedding"), number)
            if size is not None and dimensions != size:
                raise ReplyError(f"data[{number}] has {dimensions} dimensions, and data[0] has {size}")
            size = dimensions
        if size is not None:
            _compare(size, None if asked is None else asked.dimensions, _model_of(reply), options.dimensions)
        return size


def _model_of(reply: object) -> str:
    return str(reply.get("model", "")) if isinstance(reply, dict) else ""


def _compare(size: int, asked: int | None, model: str, earlier: dict[str, int]) -> None:
    """Compare with the requested dimensions, or else with the model's earlier replies. Raises ReplyError."""
    if asked is not None:
        if size != asked:
            raise ReplyError(f"the embeddings have {size} dimensions, but {asked} were requested")
        return
    before = earlier.setdefault(model, size)
    if size != before:
        raise ReplyError(f"the embeddings have {size} dimensions, but earlier replies have {before}")


def _dimensions(embedding: object, number: int) -> int:
    """The number of values in an embedding, all of them finite. Raises ReplyError."""
    if isinstance(embedding, str):
        values: list[Any] | array[float] = _decoded(embedding, number)
    elif isinstance(embedding, list):
        if not _NUMBERS.issuperset(map(type, embedding)):
            raise ReplyError(f"the embedding of data[{number}] has a value that is not a number")
        values = embedding
    else:
        raise ReplyError(f"data[{number}] has no embedding")
    if not values:
        raise ReplyError(f"the embedding of data[{number}] is empty")
    # The sum is finite if all values are: float32 values cannot overflow a float64. One pass, without a list.
    if not math.isfinite(sum(values)) and not all(map(math.isfinite, values)):
        raise ReplyError(f"the embedding of data[{number}] holds a number that is not finite")
    return len(values)


def _decoded(text: str, number: int) -> array[float]:
    """The values of a base64 embedding. Raises ReplyError."""
    try:
        packed = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as e:
        raise ReplyError(f"the embedding of data[{number}] is not base64 ({e})") from e
    if len(packed) % _FLOAT32:
        raise ReplyError(
            f"the embedding of data[{number}] has {len(packed)} bytes, not a whole number of float32 values"
        )
    values = array("f", packed)
    if sys.byteorder == "big":
        values.byteswap()
    return values
