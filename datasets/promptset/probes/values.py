"""The values of probes: a question with a known right answer, and how an answer to it is graded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import orjson

from promptset.chat import Message, Tool

Grader = Literal["exact", "number", "letter", "contains", "pattern", "json_equal", "schema", "tool_call"]
"""The rule that decides whether an answer is right:

- exact: the whole answer, without surrounding white space
- number: the number after the last `####`, else the last number
- letter: the chosen letter of `settings.letters`
- contains: the answer contains the right text
- pattern: every one of `settings.patterns` holds
- json_equal: the answer is JSON, and equals the right one as a value
- schema: the answer is JSON that the request's schema accepts
- tool_call: one call of the tool, with arguments that are equal as values
"""

GRADERS: tuple[Grader, ...] = get_args(Grader)

Schema = dict[str, Any]
"""A JSON schema."""

Row = Mapping[str, Any]
"""A row of a set."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression that must match an answer (with `re.search`) or, with `absent`, must not."""

    expression: str
    absent: bool = False
    about: str = ""
    """What it checks, in a few words. Empty if the expression is self-explanatory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraderSettings:
    """The settings of all graders. Each grader reads its own."""

    ignore_case: bool = False
    """exact, contains: compare without case."""
    tolerance: float = 0.0
    """number: the allowed difference from the right answer."""
    letters: str = "ABCD"
    """letter: the letters to choose from."""
    patterns: tuple[Pattern, ...] = ()


DEFAULT_SETTINGS = GraderSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A question and its right answer."""

    probe_id: str
    """Unique among the probes of a run: `canary-17`."""
    kind: str
    """A built-in kind, or the name of its set."""
    messages: tuple[Message, ...]
    answer: str
    """The right answer. JSON for json_equal and tool_call, where it is `{"name": ..., "arguments": {...}}`. Empty if
    the grader needs none (schema, pattern)."""
    grader: Grader
    settings: GraderSettings = DEFAULT_SETTINGS
    schema: Schema | None = None
    """The JSON schema that the request asks the answer to follow."""
    tools: tuple[Tool, ...] | None = None
    """The tools that the model may call."""
    max_tokens: int
    """Tokens to ask for, more than a right answer has."""
    code: str | None = None
    """A word in the right answer that is in no other probe's answer. In the answer to another probe it proves that two
    requests were mixed up."""


@dataclass(frozen=True, slots=True)
class Solution:
    """The right answer to a request that asks a built-in probe."""

    kind: str
    text: str
    """The answer. For a tool call, its arguments as JSON."""
    tool: str | None = None
    """The name of the tool to call."""
    code: str | None = None
    """The code word in the answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request as the kinds of probes see it when they solve it."""

    text: str
    """The text of the last message."""
    tool_names: Sequence[str] = ()


def to_json(value: object) -> str:
    """The shortest JSON of a value."""
    return orjson.dumps(value).decode()


def user(text: str) -> tuple[Message, ...]:
    """A conversation with one user message."""
    return ({"role": "user", "content": text},)
