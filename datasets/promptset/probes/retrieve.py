"""Retrieve: find one value in a long list. A server that loses part of its cache answers with another line, or none."""

from __future__ import annotations

import re

from promptset.probes.codes import CODE
from promptset.probes.probe_kind import Draw, Option, ProbeKind
from promptset.probes.values import Probe, Question, Solution, user

_SIGN = "Write its code and nothing else."
_QUESTION = re.compile(rf"Which code has locker (\d+)\? {re.escape(_SIGN)}")
_LOCKERS = 1_000_000
_TOKENS_A_LINE = 15
"""The approximate tokens of a line with the tokenizers of GPT-4, Llama 3 and Qwen 2.5."""


def _line(locker: int | str, code: str) -> str:
    return f"Locker {locker} has the code {code}."


def _make(draw: Draw) -> Probe:
    count = max(2, draw.options["tokens"] // _TOKENS_A_LINE)
    lockers: dict[int, str] = {}
    while len(lockers) < count:
        lockers[draw.whole(_LOCKERS // 10, _LOCKERS - 1)] = draw.decoy()
    asked = list(lockers)[draw.whole(0, count - 1)]
    lockers[asked] = draw.code
    lines = "\n".join(_line(locker, code) for locker, code in lockers.items())
    return Probe(
        probe_id=draw.probe_id,
        kind="retrieve",
        messages=user(f"{lines}\n\nWhich code has locker {asked}? {_SIGN}"),
        answer=draw.code,
        grader="contains",
        max_tokens=32,
        code=draw.code,
    )


def _solve(question: Question) -> Solution | None:
    asked = _QUESTION.search(question.text)
    if asked is None:
        return None
    match = re.search(_line(asked[1], rf"({CODE.pattern})"), question.text)
    return None if match is None else Solution("retrieve", match[1], code=match[1])


RETRIEVE = ProbeKind(
    "find a value in a long list",
    _SIGN,
    _make,
    _solve,
    {"tokens": Option(1_000, 50, 1_000_000, "about how long the list is")},
)
