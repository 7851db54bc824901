"""Graders decide whether an answer is right. To add one, write a function and a line in GRADERS; promptset.probes
declares its name.

Each takes a probe and an answer, and returns a Grade. No model judges: the same answer always has the same grade.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import orjson

from promptset import json_schemas

if TYPE_CHECKING:
    from promptset.answers import Answer
    from promptset.probes.values import Grader, Probe


@dataclass(frozen=True, slots=True)
class Grade:
    """Whether an answer is right, and the part that was read as the answer: None if there was none."""

    right: bool
    read: str | None = None


WRONG = Grade(False)
_FENCE = re.compile(r"\A\s*```[\w+-]*[ \t]*\n(.*?)\n?[ \t]*```\s*\Z", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|(?<![.\d])\.\d+)(?:[eE][-+]?\d+)?")
_MARKS = re.compile(r"[*_`$\\]")


def exact(probe: Probe, answer: Answer) -> Grade:
    """Compares the whole answer, without surrounding white space."""
    text = answer.content.strip()
    return Grade(_folded(text, probe) == _folded(probe.answer.strip(), probe), text or None)


def contains(probe: Probe, answer: Answer) -> Grade:
    """The answer contains the right text, not as a part of a longer word or number."""
    match = re.search(
        rf"(?<!\w){re.escape(probe.answer)}(?!\w)", answer.content, re.IGNORECASE if probe.settings.ignore_case else 0
    )
    return WRONG if match is None else Grade(True, match[0])


def pattern(probe: Probe, answer: Answer) -> Grade:
    """Every pattern of the settings holds."""
    wanted = probe.settings.patterns
    held = all((re.search(rule.expression, answer.content) is None) == rule.absent for rule in wanted)
    return Grade(held and bool(answer.content.strip()), answer.content.strip() or None)


def number(probe: Probe, answer: Answer) -> Grade:
    """The number after the last `####`, else in the last `\\boxed{}`, else the last number of the answer."""
    text = answer.content
    if "####" in text:
        candidates = _NUMBER.findall(text.rpartition("####")[2])
    elif (boxed := re.findall(r"\\boxed\{([^{}]*)\}", text)) != []:
        candidates = _NUMBER.findall(boxed[-1])[-1:]
    else:
        candidates = _NUMBER.findall(text)[-1:]
    if not candidates:
        return WRONG
    wanted, actual = _decimal(probe.answer), _decimal(candidates[0])
    if not wanted.is_finite():
        return Grade(False, candidates[0])
    # Digits that were rounded away are forgiven to a fraction, and not to a whole number, whose last digit counts.
    rounded = 0.0 if wanted == wanted.to_integral_value() else 1e-9 * abs(float(wanted))
    allowed = max(probe.settings.tolerance, rounded)
    near = allowed > 0 and abs(float(actual) - float(wanted)) <= allowed
    return Grade(actual == wanted or near, candidates[0])


def letter(probe: Probe, answer: Answer) -> Grade:
    """The chosen letter, searched for in this order: a bare letter on the first line, the last `answer is X`, the last
    `Answer: X`, the first and then the last letter that stands alone."""
    letters = re.escape(probe.settings.letters)
    text = _MARKS.sub("", answer.content).strip()
    choice = rf"\(?([{letters}])\)?"
    first_line = text.partition("\n")[0]
    searches = (
        re.findall(rf"\A{choice}[.:)]?\s*\Z", first_line),
        re.findall(rf"(?i:answer is):?\s*{choice}(?!\w)", text),
        re.findall(rf"(?i:answer)\s*:\s*{choice}(?!\w)", text),
        re.findall(rf"(?<!\w){choice}(?!\w)", first_line)[:1],
        re.findall(rf"(?<!\w){choice}(?!\w)", text),
    )
    chosen = next((matches[-1] for matches in searches if matches), None)
    return WRONG if chosen is None else Grade(chosen == probe.answer.strip(), chosen)


def json_equal(probe: Probe, answer: Answer) -> Grade:
    """The answer is JSON and equals the right answer as a value."""
    read, value = json_of(answer.content)
    if not read:
        return WRONG
    return Grade(_same(value, json_of(probe.answer)[1]), _written(value, answer))


def schema(probe: Probe, answer: Answer) -> Grade:
    """The answer is JSON that the request's schema accepts."""
    read, value = json_of(answer.content)
    if not read:
        return WRONG
    return Grade(probe.schema is None or json_schemas.accepts(probe.schema, value), _written(value, answer))


def tool_call(probe: Probe, answer: Answer) -> Grade:
    """One call, of the right tool, with arguments that are equal as values."""
    if len(answer.tool_calls) != 1:
        return WRONG
    (call,) = answer.tool_calls
    _, wanted = json_of(probe.answer)
    read, arguments = json_of(call.arguments)
    actual = f"{call.name}({call.arguments})"
    if not isinstance(wanted, dict):
        return Grade(False, actual)
    return Grade(read and call.name == wanted.get("name") and _same(arguments, wanted.get("arguments")), actual)


GRADERS: dict[Grader, Callable[[Probe, Answer], Grade]] = {
    "exact": exact,
    "number": number,
    "letter": letter,
    "contains": contains,
    "pattern": pattern,
    "json_equal": json_equal,
    "schema": schema,
    "tool_call": tool_call,
}


def grade(probe: Probe, answer: Answer) -> Grade:
    """The grade of an answer to a probe."""
    return GRADERS[probe.grader](probe, answer)


def valid_call(probe: Probe, answer: Answer) -> bool:
    """Whether the answer calls tools, all of them offered, with arguments that their schemas accept."""
    offered = {tool["function"]["name"]: tool["function"].get("parameters") for tool in probe.tools or ()}
    for call in answer.tool_calls:
        read, arguments = json_of(call.arguments)
        if not read or call.name not in offered:
            return False
        parameters = offered[call.name]
        if parameters is not None and not json_schemas.accepts(parameters, arguments):
            return False
    return bool(answer.tool_calls)


def json_of(text: str) -> tuple[bool, object]:
    """Whether a text is JSON, with or without a code fence, and its value."""
    fenced = _FENCE.match(text)
    try:
        return True, orjson.loads(text.strip() if fenced is None else fenced[1])
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return False, None


def _written(value: object, answer: Answer) -> str:
    """The value as the shortest JSON; the answer itself if it is nested too deeply to be written."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return answer.content.strip()


def _folded(text: str, probe: Probe) -> str:
    return text.casefold() if probe.settings.ignore_case else text


def _decimal(text: str) -> Decimal:
    """The number as it is written, to the last digit; NaN if it is none."""
    try:
        return Decimal(text.strip().replace(",", ""))
    except InvalidOperation:
        return Decimal("NaN")


def _same(value: object, other: object) -> bool:
    """Whether two JSON values are equal: 1 equals 1.0, but not true."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_same(value[key], other[key]) for key in value)
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_same, value, other))
    return value == other
