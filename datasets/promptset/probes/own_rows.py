"""The user's own rows: {prompt, question or messages; answer; and other fields of a probe}."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from promptset import json_schemas
from promptset.chat import Tool
from promptset.errors import SpecError
from promptset.probes.values import (
    DEFAULT_SETTINGS,
    GRADERS,
    Grader,
    GraderSettings,
    Pattern,
    Probe,
    Row,
    to_json,
    user,
)
from promptset.tools import tools_problems

_MOST_TOKENS = 256
"""The default output tokens."""

_NUMBER = re.compile(r"-?\d[\d,]*(\.\d+)?")

_OWN_KEYS = frozenset(
    {"id", "kind", "prompt", "question", "messages", "answer", "grader", "schema", "tools", "max_tokens", "patterns",
     "ignore_case", "tolerance", "letters"}
)  # fmt: skip


def own_row(probe_id: str, name: str, row: Row) -> Probe:
    """{prompt or question or messages, answer}, and other fields of a probe."""
    problems = [f"a row has no {key!r}" for key in sorted(row.keys() - _OWN_KEYS)]
    asked = [key for key in ("prompt", "question", "messages") if key in row]
    if len(asked) != 1:
        problems.append("give one of prompt, question and messages")
    elif asked[0] == "messages":
        problems += _messages_problems(row["messages"])
    elif not isinstance(row[asked[0]], str) or not row[asked[0]].strip():
        problems.append(f"{asked[0]} must be a text that is not empty")
    problems += tools_problems(row.get("tools")) or _parameters_problems(row.get("tools") or ())
    schema, most = row.get("schema"), row.get("max_tokens", _MOST_TOKENS)
    if schema is not None and not isinstance(schema, dict):
        problems.append("schema must be an object, a JSON schema")
    elif schema is not None and (wrong := json_schemas.problem(schema)) is not None:
        problems.append(f"schema is not a JSON schema: {wrong}")
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        problems.append("max_tokens must be a whole number from 1")
    grader = row.get("grader", _grader_of(row))
    if grader not in GRADERS:
        problems.append(f"grader must be one of {', '.join(GRADERS)}, not {grader!r}")
    elif grader == "schema" and schema is None:
        problems.append("the grader schema needs a schema")
    elif row.get("answer") is None and grader not in ("schema", "pattern"):
        problems.append("there is no answer")
    settings, of_settings = _settings(row)
    if problems or of_settings:
        raise SpecError(problems + of_settings)
    return Probe(
        probe_id=str(row.get("id", probe_id)),
        kind=str(row.get("kind", name)),
        messages=tuple(row["messages"]) if asked[0] == "messages" else user(row[asked[0]]),
        answer=_answer_text(row.get("answer")),
        grader=grader,
        settings=settings,
        schema=schema,
        tools=None if row.get("tools") is None else tuple(row["tools"]),
        max_tokens=most,
    )


def _grader_of(row: Row) -> Grader:
    """The grader of a row that names none, chosen by the type of its answer."""
    answer = row.get("answer")
    if row.get("patterns"):
        return "pattern"
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        return "number"
    if isinstance(answer, dict | list):
        return "tool_call" if row.get("tools") else "json_equal"
    if answer is None:
        return "schema"
    text = str(answer).strip()
    if _NUMBER.fullmatch(text):
        return "number"
    return "letter" if len(text) == 1 and text in str(row.get("letters", DEFAULT_SETTINGS.letters)) else "contains"


def _answer_text(answer: object) -> str:
    if answer is None:
        return ""
    return answer if isinstance(answer, str) else to_json(answer)


def _settings(row: Row) -> tuple[GraderSettings, list[str]]:
    ignore_case, tolerance = row.get("ignore_case", False), row.get("tolerance", 0.0)
    letters, patterns = row.get("letters", DEFAULT_SETTINGS.letters), row.get("patterns", [])
    problems = []
    if not isinstance(ignore_case, bool):
        problems.append("ignore_case must be true or false")
    if not isinstance(tolerance, int | float) or isinstance(tolerance, bool) or not 0 <= tolerance < 1e300:
        problems.append("tolerance must be a number from 0")
    if not isinstance(letters, str) or not letters.isalpha():
        problems.append("letters must be a text of letters, such as ABCDE")
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        problems.append("patterns must be a list of regular expressions")
    else:
        problems += [wrong for pattern in patterns if (wrong := _pattern_problem(pattern)) is not None]
    if problems:
        return GraderSettings(), problems
    compiled = tuple(Pattern(pattern) for pattern in patterns)
    return GraderSettings(ignore_case=ignore_case, tolerance=tolerance, letters=letters, patterns=compiled), []


def _messages_problems(messages: object) -> list[str]:
    if not isinstance(messages, list) or not messages:
        return ["messages must be a list that is not empty"]
    return [
        f"message {number} must have a role and a content"
        for number, message in enumerate(messages, 1)
        if not isinstance(message, dict) or not isinstance(message.get("role"), str) or "content" not in message
    ]


def _parameters_problems(tools: Sequence[Tool]) -> Iterator[str]:
    for number, tool in enumerate(tools, 1):
        parameters = tool["function"].get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            yield f"the parameters of tool {number} must be an object, a JSON schema"
        elif parameters is not None and (wrong := json_schemas.problem(parameters)) is not None:
            yield f"the parameters of tool {number} are not a JSON schema: {wrong}"


def _pattern_problem(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as e:
        return f"the pattern {pattern!r} is no regular expression: {e}"
    return None
