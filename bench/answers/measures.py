"""The measures of every answer. Each is a function that returns yes, no, or None if it does not apply; MEASURES lists
them.

A measure that compares takes a reference: the first answer to the same probe without load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.answers import graders, traits
from bench.answers.probe_set import KeptAnswer
from promptset.json_schemas import accepts
from promptset.probes import Probe

OfAnswer = Callable[[Probe, KeptAnswer], bool | None]
OfBoth = Callable[[KeptAnswer, KeptAnswer], bool | None]


@dataclass(frozen=True, slots=True)
class Measure:
    """A check of every answer. Exactly one of `of` and `same` is set.

    `good` names the share of answers for which it holds. `is_fault`: an answer that fails the check is wrong in itself;
    otherwise it only differs.
    """

    good: str
    is_fault: bool
    of: OfAnswer | None = None
    same: OfBoth | None = None


def _right(probe: Probe, answer: KeptAnswer) -> bool:
    return graders.grade(probe, answer.answer).right


def _valid_json(probe: Probe, answer: KeptAnswer) -> bool | None:
    if probe.schema is None and probe.grader not in ("json_equal", "schema"):
        return None
    read, value = graders.json_of(answer.answer.content)
    return read and (probe.schema is None or accepts(probe.schema, value))


def _valid_call(probe: Probe, answer: KeptAnswer) -> bool | None:
    return graders.valid_call(probe, answer.answer) if probe.tools else None


def _not_empty(probe: Probe, answer: KeptAnswer) -> bool:
    return bool(answer.text.strip())


def _readable(probe: Probe, answer: KeptAnswer) -> bool:
    return traits.readable(answer.text)


def _no_loop(probe: Probe, answer: KeptAnswer) -> bool:
    return not traits.loops(answer.answer.content)


def _same_text(answer: KeptAnswer, reference: KeptAnswer) -> bool:
    return answer.text == reference.text


def _same_end(answer: KeptAnswer, reference: KeptAnswer) -> bool:
    return (answer.limited, bool(answer.answer.tool_calls)) == (reference.limited, bool(reference.answer.tool_calls))


RIGHT, SAME_TEXT, VALID_JSON = "right", "same_text", "valid_json"
MEASURES: dict[str, Measure] = {
    RIGHT: Measure("right answers", True, of=_right),
    VALID_JSON: Measure("valid JSON", True, of=_valid_json),
    "valid_call": Measure("valid tool calls", True, of=_valid_call),
    "readable": Measure("readable text", True, of=_readable),
    "no_loop": Measure("no loop", True, of=_no_loop),
    "not_empty": Measure("not empty", True, of=_not_empty),
    SAME_TEXT: Measure("same text", False, same=_same_text),
    "same_end": Measure("same end", False, same=_same_end),
}
"""Keyed by their names in quality.json, in the order of the report."""
