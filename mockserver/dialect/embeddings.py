"""/v1/embeddings: a request for vectors, and vectors that depend on the input and the seed alone.

A vector has unit length; the same input gives the same vector, and with `dimensions` its first numbers, scaled anew (as
models that are trained for that give them). It says nothing about the meaning of the input.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from array import array
from dataclasses import dataclass
from typing import Any

import orjson

from mockserver.clock import give_way
from mockserver.dialect.openai import COMPLETION, Ask, Refusal, error_body, refuse
from mockserver.plans.plan import Plan
from mockserver.replies.shaped.content import Counts, End, Script, ShapedFrames
from mockserver.tokencount import TokenCount

MOST_INPUTS = 2048
"""OpenAI's limit for one request."""

_AT_ONCE = 1024
"""Numbers that are made before the streams have their turn again: a third of a millisecond."""


@dataclass(frozen=True, slots=True)
class EmbeddingAsk:
    """What a body asks for."""

    inputs: list[str | list[int]]
    dimensions: int
    base64: bool


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


def parse_embedding(row: dict[str, Any], size: int) -> EmbeddingAsk:
    """A body of /v1/embeddings; `size` numbers where it gives no dimensions. Raises Refusal (400)."""
    inputs = _inputs(row.get("input"))
    if len(inputs) > MOST_INPUTS:
        refuse(f"input has {len(inputs)} entries; at most {MOST_INPUTS} are taken.", "input")
    encoding = row.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        refuse("encoding_format must be float or base64.", "encoding_format")
    dimensions = row.get("dimensions")
    if dimensions is None:
        dimensions = size
    elif type(dimensions) is not int or not 1 <= dimensions <= size:
        refuse(f"dimensions must be a whole number from 1 to {size}.", "dimensions")
    return EmbeddingAsk(inputs, dimensions, encoding == "base64")


def too_long(limit: int, number: int, tokens: int) -> Refusal:
    """The 400 for an input that does not fit into the context."""
    message = (
        f"This model's maximum context length is {limit} tokens. However, input {number} has {tokens} tokens. "
        "Please reduce its length."
    )
    return Refusal(400, error_body(400, message, "input"))


def vector(seed: int, given: str | list[int], dimensions: int) -> list[float]:
    """Numbers of float32 precision with a sum of squares of 1."""
    digest = hashlib.shake_256(repr((seed, given)).encode("utf-8", "surrogatepass")).digest(4 * dimensions)
    raw = [number / 2**31 - 1.0 for number in struct.unpack(f"<{dimensions}I", digest)]
    # All of them 0 would need a digest that nobody has found.
    length = math.sqrt(math.fsum(number * number for number in raw))
    return array("f", (number / length for number in raw)).tolist()


async def embedding_data(ask: EmbeddingAsk, seed: int) -> bytes:
    """The list of vectors as JSON, in vLLM's shape. A long one takes its time, in which streams get their tokens."""
    data: list[bytes] = []
    made = 0
    for index, given in enumerate(ask.inputs):
        if made >= _AT_ONCE:
            await give_way()
            made = 0
        made += ask.dimensions
        numbers = vector(seed, given, ask.dimensions)
        packed = base64.b64encode(struct.pack(f"<{ask.dimensions}f", *numbers)).decode() if ask.base64 else numbers
        data.append(orjson.dumps({"index": index, "object": "embedding", "embedding": packed}))
    return b"[%b]" % b",".join(data)


class EmbeddingFrames(ShapedFrames):
    """The JSON of one answer, around vectors that were encoded before."""

    def __init__(self, data: bytes, reply_id: str, created: int, model: str) -> None:
        super().__init__(COMPLETION, reply_id, created, model, "")
        self._data = data
        self._identity = {"id": reply_id, "object": "list", "created": created, "model": model}

    def whole(self, reasoning: str | None, text: str, end: End, counts: Counts | None) -> bytes:
        usage = b""
        if counts is not None:
            tokens = counts.input_tokens
            row = {
                "prompt_tokens": tokens,
                "total_tokens": tokens,
                "completion_tokens": 0,
                "prompt_tokens_details": None,
            }
            usage = b',"usage":' + orjson.dumps(row)
        return orjson.dumps(self._identity)[:-1] + b',"data":' + self._data + usage + b"}"


def embedding_script(
    plan: Plan, data: bytes, reply_id: str, created: int, model: str, input_count: TokenCount
) -> Script:
    """A reply of one token without text, which is due when the engine has computed the input."""
    ask = Ask(stream=False, include_usage=False, continuous_usage=False, asked_tokens=1)
    frames = EmbeddingFrames(data, reply_id, created, model)
    return Script(ask, plan, [""], None, False, False, frames, input_count)
