"""Data sets from files: each row is recognized by its keys, checked, and named where it is wrong.

    request      a full request body, sent as it is: {"model": ..., "messages": [...], "temperature": ...}
    batch        a row of an OpenAI batch file: {"custom_id": ..., "body": {...}}
    sharegpt     {"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}
    messages     {"messages": [...], "output_tokens"?: n, "input_tokens"?: n, "session"?: name}
    prompt       {"prompt": "...", "output_tokens"?: n, ...}, which vLLM's custom data sets also use

A file is JSON Lines, a JSON array of rows, or one JSON object, which is one row. A new format is one reading function
and one line in `FORMATS`, whose order is that of recognition.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import orjson

from promptset.errors import SpecError
from promptset.samples import Sample
from promptset.tokens import Tokenizer

_log = logging.getLogger(__name__)

_SHOWN = 20
_ROW_KEYS = ("prompt", "messages", "conversations", "body", "input_tokens", "output_tokens", "session")
_REQUEST_KEYS = frozenset(
    """model stream stream_options max_tokens max_completion_tokens min_tokens temperature top_p top_k n stop seed
    tools tool_choice response_format presence_penalty frequency_penalty logprobs ignore_eos""".split()  # noqa: SIM905
)
"""Keys by which a full request body is told from a row of ours."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A row that was read, and the texts whose tokens are still to be counted."""

    sample: Sample
    answer: str | None = None
    """An answer that came with the row: its length is the output to ask for."""
    text: str | None = None
    """What the input is to the tokenizer, where the row does not say its length."""
    text_adds: int = 0
    """Tokens that the tokenizer adds to `text`."""


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of row: how it is recognized, and read. `read` gives None for a row that has nothing to send."""

    recognizes: Callable[[Row], bool]
    read: Callable[[Row], Parsed | None]


def load(path: Path, *, tokenizer: Tokenizer | None = None) -> list[Sample]:
    """The samples of a file, in its order.

    With a tokenizer, the input tokens of rows that do not say them are counted, and the output tokens of rows that come
    with an answer. Raises SpecError, which names up to 20 bad rows by their line (in an array, by their position).
    """
    try:
        content = path.read_bytes()
    except OSError as e:
        raise SpecError(f"the data set {path} cannot be read: {e.strerror}") from e
    parsed: list[Parsed] = []
    problems: list[str] = []
    left_out = 0
    for place, value in _rows(path, content):
        try:
            one = _read(value, tokenizer)
        except SpecError as e:
            problems += [f"{place}: {problem}" for problem in e.problems]
            continue
        if one is None:
            left_out += 1
        else:
            parsed.append(one)
    if problems:
        more = [f"{path}: {len(problems) - _SHOWN} more problems"] if len(problems) > _SHOWN else []
        raise SpecError(problems[:_SHOWN] + more)
    if not parsed:
        raise SpecError(f"the data set {path} holds nothing to send: give at least one row")
    if left_out:
        _log.warning(
            "%s: %d of %d rows hold nothing a user said and are left out", path, left_out, left_out + len(parsed)
        )
    return _counted(parsed, tokenizer)


def _rows(path: Path, content: bytes) -> Iterator[tuple[str, Any]]:
    """Each row with its place; a row that is not JSON is given as the error."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        whole = orjson.loads(content)
    except orjson.JSONDecodeError as e:
        if content.lstrip()[:1] == b"[":
            raise SpecError(f"{path} begins as a JSON array and is not one: {e}") from e
    else:
        if isinstance(whole, list):
            yield from ((f"{path}, entry {number}", value) for number, value in enumerate(whole, 1))
        else:
            yield f"{path}", whole
        return
    # Only \n ends a line: a raw U+2028 in a prompt is text.
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as e:
                value = e
            yield f"{path}, line {number}", value


def _read(value: Any, tokenizer: Tokenizer | None) -> Parsed | None:
    if isinstance(value, Exception):
        raise SpecError(f"not JSON: {value}")
    if not isinstance(value, dict):
        raise SpecError("not a JSON object")
    for known in FORMATS.values():
        if known.recognizes(value):
            parsed = known.read(value)
            return parsed if parsed is None or tokenizer is None else _with_text(parsed, tokenizer)
    raise SpecError(f"no prompt, messages, conversations or body among its keys: {', '.join(value) or 'none'}")


def _with_text(parsed: Parsed, tokenizer: Tokenizer) -> Parsed:
    """Renders what will be counted now, where a template that refuses the messages still knows their row."""
    sample = parsed.sample
    if sample.input_tokens is not None:
        return parsed
    body: Row = sample.body if sample.body is not None else {"prompt": sample.prompt, "messages": sample.messages}
    if body.get("messages") is not None:
        return dataclasses.replace(parsed, text=tokenizer.render_chat(body["messages"]))
    if isinstance(body.get("prompt"), str):
        return dataclasses.replace(parsed, text=body["prompt"], text_adds=tokenizer.special_tokens_added)
    return parsed  # a body may hold token ids, or several prompts: nobody counts those here


def _counted(parsed: list[Parsed], tokenizer: Tokenizer | None) -> list[Sample]:
    """The samples with their lengths; all texts are counted in one batch."""
    if tokenizer is None:
        return [one.sample for one in parsed]
    texts = [text for one in parsed for text in (one.text, one.answer) if text is not None]
    counts = iter(tokenizer.count_plain(texts))
    samples = []
    for one in parsed:
        sample = one.sample
        if one.text is not None:
            sample = dataclasses.replace(sample, input_tokens=next(counts) + one.text_adds)
        if one.answer is not None:
            sample = dataclasses.replace(sample, output_tokens=next(counts))
        samples.append(sample)
    return samples


def _read_batch(row: Row) -> Parsed:
    if not isinstance(row["body"], dict):
        raise SpecError("body is not a JSON object")
    return _read_request(row["body"])


def _read_request(row: Row) -> Parsed:
    problems = []
    if "messages" in row:
        problems += _message_problems(row["messages"])
    elif "prompt" not in row:
        problems.append("the request has neither messages nor prompt")
    asked = row.get("max_completion_tokens", row.get("max_tokens"))
    problems += _count_problems("max_completion_tokens" if "max_completion_tokens" in row else "max_tokens", asked)
    if problems:
        raise SpecError(problems)
    return Parsed(Sample(body=row, output_tokens=asked))


def _read_sharegpt(row: Row) -> Parsed | None:
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
    return Parsed(Sample(prompt=turns[asked]["value"]), answer=answer if answer != "" else None)


def _read_messages(row: Row) -> Parsed:
    if problems := _message_problems(row["messages"]) + _row_problems(row):
        raise SpecError(problems)
    return Parsed(Sample(messages=tuple(row["messages"]), **_extras(row)))


def _read_prompt(row: Row) -> Parsed:
    problems = _row_problems(row)
    if not isinstance(row["prompt"], str) or not row["prompt"]:
        problems.insert(0, "prompt must be a string that is not empty")
    if problems:
        raise SpecError(problems)
    return Parsed(Sample(prompt=row["prompt"], **_extras(row)))


def _extras(row: Row) -> dict[str, Any]:
    return {key: row.get(key) for key in ("input_tokens", "output_tokens", "session")}


def _row_problems(row: Row) -> list[str]:
    problems = [p for key in ("input_tokens", "output_tokens") for p in _count_problems(key, row.get(key))]
    if not isinstance(row.get("session"), str | None):
        problems.append("session must be a string")
    for key in row:
        # Other keys (an id, a category) are the user's own; one that nearly is ours is a slip.
        if key not in _ROW_KEYS and (close := get_close_matches(key, _ROW_KEYS, n=1, cutoff=0.85)):
            problems.append(f"unknown key {key!r}: did you mean {close[0]!r}?")
    return problems


def _count_problems(key: str, value: Any) -> list[str]:
    fits = value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)
    return [] if fits else [f"{key} must be a whole number of at least 1, not {value!r}"]


def _message_problems(messages: Any) -> list[str]:
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
    "request": Format(lambda row: not _REQUEST_KEYS.isdisjoint(row), _read_request),
    "messages": Format(lambda row: "messages" in row, _read_messages),
    "prompt": Format(lambda row: "prompt" in row, _read_prompt),
}
