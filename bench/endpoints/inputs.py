"""The base of endpoints whose replies are not generated text: bodies of several inputs, and replies with an entry for
each.

Their replies come in one piece, and their content is checked: exactly one entry for each input, and finite numbers. A
reply that fails the check is not a success, whatever its status. All of this happens after the response has ended.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bench.endpoints import decoding, failure
from bench.endpoints.failure import error_of, excerpt, page_title
from bench.endpoints.interface import BodyOptions, Endpoint, ParsedReply, Problem, ReadOptions, put_own
from bench.endpoints.usage import input_tokens
from bench.records import Outcome
from bench.workload import Encoded, InputBatch
from promptset.samples import Sample

FIELDS_OF_TEXT = ("stream", "stream_options", "max_tokens", "max_completion_tokens", "ignore_eos")
"""Fields of a body that concern generated text."""


class ReplyError(Exception):
    """The reply is not what was requested; the message says why."""


class InputsEndpoint(Endpoint):
    """An endpoint whose requests have inputs. Subclasses place them in the body and check the reply."""

    generates = streams = False
    fields_of_text: tuple[str, ...] = FIELDS_OF_TEXT
    """Fields that are removed from a full body."""

    @abstractmethod
    def fields(self, sample: Sample) -> dict[str, Any]:
        """The fields of the body that hold the inputs."""

    @abstractmethod
    def batch(self, body: Mapping[str, Any]) -> InputBatch:
        """The inputs and entries that a body requests."""

    @abstractmethod
    def check(self, reply: object, options: ReadOptions) -> int | None:
        """Check a reply. Returns the dimensions of its embeddings, if any. Raises ReplyError if it is not what was
        requested."""

    def encode(self, sample: Sample, options: BodyOptions) -> Encoded:
        """The JSON body for a sample. A full body keeps its own fields, except fields for generated text."""
        body = dict(sample.body) if sample.body is not None else self.fields(sample)
        own_model = put_own(body, sample, options)
        if options.extra:
            body.update(options.extra)
        for name in self.fields_of_text:
            body.pop(name, None)
        return Encoded(
            body=orjson.dumps(body),
            stream=body.get("stream") is True,
            output_tokens_asked=None,
            batch=self.batch(body),
            model=own_model,
        )

    def read_whole(self, body: bytes, options: ReadOptions) -> ParsedReply:
        """Decode and check a response. A reply of 700 KB (32 embeddings of 1,024 numbers) takes 1 to 3 ms."""
        try:
            reply = decoding.loads(body)
        except orjson.JSONDecodeError as e:
            if (title := page_title(body)) is not None:
                return _malformed(f"the body is an HTML page{title}, not JSON")
            return _malformed(f"the body is not JSON ({e}): {excerpt(body)}")
        if isinstance(reply, dict) and (error := error_of(reply)) is not None:
            return ParsedReply(problem=Problem(Outcome.STREAM_ERROR, error))
        try:
            dimensions = self.check(reply, options)
        except ReplyError as e:
            return _malformed(str(e))
        tokens, wrong = input_tokens(reply) if isinstance(reply, dict) else (None, None)
        return ParsedReply(input_tokens=tokens, usage_contradiction=wrong, dimensions=dimensions, complete=True)


def entries_of(reply: object, name: str, asked: int | None) -> list[Mapping[str, Any]]:
    """The entries of the reply's list of this name, which must be as many as `asked`. Raises ReplyError."""
    entries = reply.get(name) if isinstance(reply, dict) else None
    if not isinstance(entries, list):
        raise ReplyError(f"a reply without {name}: {excerpt(orjson.dumps(reply))}")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ReplyError(f"{name}[{number}] is not a JSON object")
    if asked is not None and len(entries) != asked:
        raise ReplyError(f"the reply has {len(entries)} {name}, but {asked} were requested")
    return entries


def check_indices(entries: Sequence[Mapping[str, Any]], name: str, inputs: int | None) -> None:
    """Check that each entry names an input, and no two the same. Raises ReplyError."""
    indices: set[int] = set()
    for number, entry in enumerate(entries):
        index = entry.get("index")
        if type(index) is not int:
            raise ReplyError(f"{name}[{number}] has no index: {_shown(index)}")
        if index < 0 or (inputs is not None and index >= inputs):
            last = "" if inputs is None else f", and the inputs are 0 to {inputs - 1}"
            raise ReplyError(f"{name}[{number}] has the index {index}{last}")
        if index in indices:
            raise ReplyError(f"{name}[{number}] has the index {index}, as an entry before it")
        indices.add(index)


def finite(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: object) -> str:
    return repr(value)[:40]


def _malformed(message: str) -> ParsedReply:
    return ParsedReply(problem=Problem(Outcome.MALFORMED, message[: failure.LONGEST_MESSAGE]))
