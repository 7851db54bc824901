"""Arithmetic: a sum, a difference or a product of two numbers."""

from __future__ import annotations

import re

from promptset.probes.probe_kind import Draw, Option, ProbeKind
from promptset.probes.values import Probe, Question, Solution, user

_SIGN = "Write the number and nothing else."
_QUESTION = re.compile(rf"What is (\d+) ([-+*]) (\d+)\? {re.escape(_SIGN)}")
_SIGNS = "+-*"


def _value(first: int, sign: str, second: int) -> int:
    return {"+": first + second, "-": first - second, "*": first * second}[sign]


def _make(draw: Draw) -> Probe:
    digits = draw.options["digits"]
    low, high = 10 ** (digits - 1), 10**digits - 1
    first, second = draw.whole(low, high), draw.whole(low, high)
    sign = _SIGNS[draw.whole(0, len(_SIGNS) - 1)]
    return Probe(
        probe_id=draw.probe_id,
        kind="arithmetic",
        messages=user(f"What is {first} {sign} {second}? {_SIGN}"),
        answer=str(_value(first, sign, second)),
        grader="number",
        max_tokens=32,
    )


def _solve(question: Question) -> Solution | None:
    match = _QUESTION.search(question.text)
    return None if match is None else Solution("arithmetic", str(_value(int(match[1]), match[2], int(match[3]))))


ARITHMETIC = ProbeKind(
    "add, subtract or multiply two numbers",
    _SIGN,
    _make,
    _solve,
    {"digits": Option(2, 1, 15, "digits of each number")},
)
