"""Rows with a text: each is recognized by its keys and checked.

request      a full request body, sent unchanged: {"model": ..., "messages": [...], "temperature": ...}
batch        a row of an OpenAI batch file: {"custom_id": ..., "body": {...}}
sharegpt     {"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}
messages     {"messages": [...], "tools"?: [...], "output_tokens"?: n, "input_tokens"?: n, "session"?: name, "at_s"?: seconds}
prompt       {"prompt": "...", "output_tokens"?: n, ...}, which vLLM's custom data sets also use
texts        {"texts": ["...", ...]} or {"input": "..." or [...], "dimensions"?: n, "encoding_format"?: name}: texts to embed
rerank       {"query": "...", "documents": ["...", ...], "top_n"?: n}: documents to rank

Each may also set its destination (own.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from promptset.errors import SpecError
from promptset.loaders.own import OF_NO_BODY, own_of, own_problems
from promptset.samples import Sample
from promptset.tools import tools_problems

if TYPE_CHECKING:
    from promptset.outline import Outline

_OWN_KEYS = ("input_tokens", "output_tokens", "session", "at_s", "endpoint", "headers")
_INPUT_KEYS = ("texts", "input", "query", "documents")
SENT_KEYS = ("prompt", "messages", "tools", "conversations", "body", *_INPUT_KEYS)
"""Keys of the content; the other keys give amounts, times and destination."""
ROW_KEYS = (*SENT_KEYS, *_OWN_KEYS, "model", "priority")
MOST_COUNT = 2**53
"""Beyond this, numbers in JSON are not exact in most programs."""
COUNTS = ("input_tokens", "output_tokens")
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
"""Names of the output limit in requests. The first one present counts."""
REQUEST_KEYS = frozenset(
    """model stream stream_options max_tokens max_completion_tokens max_output_tokens min_tokens temperature top_p top_k n
    stop seed tools tool_choice response_format presence_penalty frequency_penalty logprobs ignore_eos stop_sequences
    thinking""".split()  # noqa: SIM905
)
"""Keys that distinguish a full request body from one of our rows, which may have tools and a model next to its own
keys."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ParsedRow:
    """The content of a row: a sample, or the outline of a prompt to generate."""

    sample: Sample | None = None
    answer: str | None = None
    """The answer in the row. Its length is the output to ask for."""
    outline: Outline | None = None
    at_s: float | None = None
    """When it was sent, on the file's own clock."""
    own: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Fields that the row sets for its own request (own.py)."""


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of row. `read` returns None for a row with nothing to send."""

    recognizes: Callable[[Row], bool]
    read: Callable[[Row], ParsedRow | None]


def _is_request(row: Row) -> bool:
    keys = REQUEST_KEYS.intersection(row)
    # A model with a prompt could be sent to any endpoint, so these do not indicate a body.
    native = any(key in row for key in _OWN_KEYS) or (isinstance(row.get("prompt"), str) and "tools" not in keys)
    return bool(keys) and not (keys <= {"tools", "model"} and native)


def _read_batch(row: Row) -> ParsedRow:
    if not isinstance(row["body"], dict):
        raise SpecError("body is not a JSON object")
    return _read_body(row["body"], row)


def _read_request(row: Row) -> ParsedRow:
    return _read_body({key: value for key, value in row.items() if key not in OF_NO_BODY}, row)


def _read_body(body: Row, row: Row) -> ParsedRow:
    """A full request body, in a row that may set its destination."""
    outside = {key: row[key] for key in OF_NO_BODY if key in row}
    problems = own_problems(outside)
    row = body
    if "messages" in row:
        problems += message_problems(row["messages"])
    elif "documents" in row:
        problems += _rerank_problems(row)
    elif "input" not in row and "prompt" not in row:
        problems.append(
            "the request has neither messages nor prompt, nor the input of an embedding or documents to rank"
        )
    limit = next((name for name in _LIMITS if name in row), _LIMITS[-1])
    asked = row.get(limit)
    problems += count_problems(limit, asked)
    if problems:
        raise SpecError(problems)
    return ParsedRow(Sample(body=row, output_tokens=asked), own=own_of(outside))


def _read_sharegpt(row: Row) -> ParsedRow | None:
    turns = row["conversations"]
    if not isinstance(turns, list) or not all(
        isinstance(turn, dict) and isinstance(turn.get("from"), str) and isinstance(turn.get("value"), str)
        for turn in turns
    ):
        raise SpecError("conversations must be a list of objects with the strings from and value")
    asked = next((i for i, turn in enumerate(turns) if turn["from"] in ("human", "user") and turn["value"]), None)
    if asked is None:
        return None
    follows = turns[asked + 1] if asked + 1 < len(turns) else {}
    answer = follows.get("value") if follows.get("from") in ("gpt", "assistant", "chatgpt") else None
    return ParsedRow(Sample(prompt=turns[asked]["value"]), answer=answer if answer != "" else None)


def _read_messages(row: Row) -> ParsedRow:
    if problems := message_problems(row["messages"]) + tools_problems(row.get("tools")) + row_problems(row):
        raise SpecError(problems)
    tools = None if row.get("tools") is None else tuple(row["tools"])
    sample = Sample(messages=tuple(row["messages"]), tools=tools, **_extras(row))
    return ParsedRow(sample, at_s=row.get("at_s"), own=own_of(row))


def _read_prompt(row: Row) -> ParsedRow:
    problems = row_problems(row)
    if not isinstance(row["prompt"], str) or not row["prompt"]:
        problems.insert(0, "prompt must be a string that is not empty")
    if row.get("tools") is not None:
        problems.append("tools go with messages, not with a prompt")
    if problems:
        raise SpecError(problems)
    return ParsedRow(Sample(prompt=row["prompt"], **_extras(row)), at_s=row.get("at_s"), own=own_of(row))


def _read_texts(row: Row) -> ParsedRow:
    name = "texts" if "texts" in row else "input"
    value = row[name]
    problems = row_problems(row) + count_problems("dimensions", row.get("dimensions"))
    if row.get("encoding_format") not in (None, "float", "base64"):
        problems.append(f"encoding_format must be float or base64, not {row['encoding_format']!r}")
    more = {key: row[key] for key in ("dimensions", "encoding_format") if row.get(key) is not None}
    ids = name == "input" and _are_ids(value)
    texts = [value] if isinstance(value, str) else value
    if not ids and not (isinstance(texts, list) and texts and all(isinstance(text, str) and text for text in texts)):
        or_ids = ", or lists of token ids" if name == "input" else ""
        problems.insert(0, f"{name} must be a text or a list of texts, none of them empty{or_ids}")
    if problems:
        raise SpecError(problems)
    own_body = ids or bool(more)
    content: dict[str, Any] = {"body": {"input": value, **more}} if own_body else {"texts": tuple(texts)}
    return ParsedRow(Sample(**content, **_extras(row)), at_s=row.get("at_s"), own=own_of(row))


def _are_ids(value: object) -> bool:
    """Whether a value is a list of token ids, or a list of such lists."""
    if not isinstance(value, list) or not value:
        return False
    lists = value if all(isinstance(item, list) and item for item in value) else [value]
    return all(type(item) is int and item >= 0 for ids in lists for item in ids)


def _read_rerank(row: Row) -> ParsedRow:
    if problems := _rerank_problems(row) + row_problems(row):
        raise SpecError(problems)
    plain = row.get("top_n") is None and all(isinstance(document, str) for document in row["documents"])
    if plain:
        content: dict[str, Any] = {"query": row["query"], "texts": tuple(row["documents"])}
        return ParsedRow(Sample(**content, **_extras(row)), at_s=row.get("at_s"), own=own_of(row))
    body = {key: row[key] for key in ("query", "documents", "top_n") if row.get(key) is not None}
    return ParsedRow(Sample(body=body, **_extras(row)), at_s=row.get("at_s"), own=own_of(row))


def _rerank_problems(row: Row) -> list[str]:
    problems = []
    if not isinstance(row.get("query"), str) or not row["query"]:
        problems.append("query must be a text that is not empty")
    documents = row.get("documents")
    if not isinstance(documents, list) or not documents or not all(map(_is_document, documents)):
        problems.append('documents must be a list of texts, or of objects with a "text", and not empty')
    return problems + count_problems("top_n", row.get("top_n"))


def _is_document(value: object) -> bool:
    text = value.get("text") if isinstance(value, dict) else value
    return isinstance(text, str) and bool(text)


def _extras(row: Row) -> dict[str, Any]:
    return {key: row.get(key) for key in ("input_tokens", "output_tokens", "session")}


def row_problems(row: Row) -> list[str]:
    """Problems with the common keys of our rows."""
    problems = [p for key in COUNTS for p in count_problems(key, row.get(key))]
    problems += seconds_problems("at_s", row.get("at_s"))
    if not isinstance(row.get("session"), str | None):
        problems.append("session must be a string")
    problems += own_problems(row)
    for key in row:
        # Other keys (an id, a category) are the user's own. A key close to one of ours is a typo.
        if key not in ROW_KEYS and (close := get_close_matches(key, ROW_KEYS, n=1, cutoff=0.85)):
            problems.append(f"unknown key {key!r}: did you mean {close[0]!r}?")
    return problems


def count_problems(key: str, value: object) -> list[str]:
    """Problems with a number of tokens. None is allowed."""
    whole = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if value is None or 1 <= whole <= MOST_COUNT:
        return []
    limit = f"at most {MOST_COUNT:,}" if whole > MOST_COUNT else "at least 1"
    return [f"{key} must be a whole number of {limit}, not {value!r}"]


def seconds_problems(key: str, value: object) -> list[str]:
    """Problems with a time in seconds. None is allowed."""
    fits = value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf)
    return [] if fits else [f"{key} must be a number of seconds from 0 on, not {value!r}"]


def message_problems(messages: object) -> list[str]:
    """Problems with the messages of a chat."""
    if not isinstance(messages, list) or not messages:
        return ["messages must be a list that is not empty"]
    return [
        f"message {number} must be an object with a role and a content"
        for number, message in enumerate(messages, 1)
        if not isinstance(message, dict)
        or not isinstance(message.get("role"), str)
        or not ("tool_calls" in message or isinstance(message.get("content"), str | list))
    ]


FORMATS: dict[str, Format] = {
    "batch": Format(lambda row: "body" in row, _read_batch),
    "sharegpt": Format(lambda row: "conversations" in row, _read_sharegpt),
    "request": Format(_is_request, _read_request),
    "messages": Format(lambda row: "messages" in row, _read_messages),
    "rerank": Format(lambda row: "documents" in row, _read_rerank),
    "texts": Format(lambda row: "texts" in row or "input" in row, _read_texts),
    "prompt": Format(lambda row: "prompt" in row, _read_prompt),
}
"""The first that recognizes a row reads it."""
