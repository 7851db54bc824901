"""/v1/embeddings: requests, and vectors that depend only on the input and the seed.

A vector has unit length. The same input gives the same vector. `dimensions` takes the first numbers of that vector and
scales them to unit length again, as models trained for truncation do. The vector does not reflect the meaning of the
input.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from array import array
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from mockserver.clock import give_way
from mockserver.dialect.frames import UsageCounts
from mockserver.dialect.pooling import Identity, MakeBody, PoolingEndpoint
from mockserver.dialect.refusals import refuse

MOST_INPUTS = 2048
"""OpenAI's limit for one request."""

_AT_ONCE = 1024
"""Numbers to compute before yielding to the streams: a third of a millisecond."""


@dataclass(frozen=True, slots=True)
class EmbeddingParams:
    """The fields of a request body."""

    given: list[str | list[int]]
    dimensions: int
    base64: bool
    entry_name: str = "input"

    @property
    def inputs(self) -> list[list[str | list[int]]]:
        """Each input as a list of one part."""
        return [[item] for item in self.given]

    async def answer(self, seed: int, identity: Identity) -> MakeBody:
        return partial(embedding_body, await embedding_data(self, seed), identity)


def _inputs(value: object) -> list[str | list[int]]:
    """One text, one list of token ids, or a list of either. Raises Refusal."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(type(i) is int for i in value):
            return [value]
        if all(isinstance(i, str) for i in value):
            return value
        if all(isinstance(i, list) and i and all(type(token) is int for token in i) for i in value):
            return value
    refuse("input must be a text, a list of token ids, or a list of either, and not empty.", "input")


def parse_embedding(row: dict[str, Any], size: int) -> EmbeddingParams:
    """A body of /v1/embeddings. Without `dimensions`, vectors have `size` numbers. Raises Refusal (400)."""
    inputs = _inputs(row.get("input"))
    if len(inputs) > MOST_INPUTS:
        refuse(f"input has {len(inputs)} entries; the limit is {MOST_INPUTS}.", "input")
    encoding = row.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        refuse("encoding_format must be float or base64.", "encoding_format")
    dimensions = row.get("dimensions")
    if dimensions is None:
        dimensions = size
    elif type(dimensions) is not int or not 1 <= dimensions <= size:
        refuse(f"dimensions must be a whole number from 1 to {size}.", "dimensions")
    return EmbeddingParams(inputs, dimensions, encoding == "base64")


def vector(seed: int, item: str | list[int], dimensions: int) -> list[float]:
    """A vector of float32 precision whose squares sum to 1."""
    digest = hashlib.shake_256(repr((seed, item)).encode("utf-8", "surrogatepass")).digest(4 * dimensions)
    raw = [number / 2**31 - 1.0 for number in struct.unpack(f"<{dimensions}I", digest)]
    # Not 0: no known digest is all zeros.
    length = math.sqrt(math.fsum(number * number for number in raw))
    return array("f", (number / length for number in raw)).tolist()


async def embedding_data(params: EmbeddingParams, seed: int) -> bytes:
    """The vectors as JSON, in vLLM's format. Yields to the streams between batches of vectors."""
    data: list[bytes] = []
    made = 0
    for index, item in enumerate(params.given):
        if made >= _AT_ONCE:
            await give_way()
            made = 0
        made += params.dimensions
        numbers = vector(seed, item, params.dimensions)
        packed = (
            base64.b64encode(struct.pack(f"<{params.dimensions}f", *numbers)).decode() if params.base64 else numbers
        )
        data.append(orjson.dumps({"index": index, "object": "embedding", "embedding": packed}))
    return b"[%b]" % b",".join(data)


def embedding_body(data: bytes, whose: Identity, usage: UsageCounts | None) -> bytes:
    """The body of a reply with these encoded vectors."""
    reply_id, created, model = whose
    identity = {"id": reply_id, "object": "list", "created": created, "model": model}
    tail = b""
    if usage is not None:
        tokens = usage.input_tokens
        row = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0, "prompt_tokens_details": None}
        tail = b',"usage":' + orjson.dumps(row)
    return orjson.dumps(identity)[:-1] + b',"data":' + data + tail + b"}"


EMBEDDINGS = PoolingEndpoint(paths=("/v1/embeddings",), id_prefix="embd-", parse=parse_embedding)
