"""Canary: repeat a unique code word. Another probe's code in the answer is cross-talk."""

from __future__ import annotations

import re

from promptset.probes.codes import CODE
from promptset.probes.probe_kind import Draw, ProbeKind
from promptset.probes.values import Probe, Question, Solution, user

_SIGN = "Repeat the code word and write nothing else."
_QUESTION = re.compile(rf"The code word is ({CODE.pattern})\. {re.escape(_SIGN)}")


def _make(draw: Draw) -> Probe:
    return Probe(
        probe_id=draw.probe_id,
        kind="canary",
        messages=user(f"The code word is {draw.code}. {_SIGN}"),
        answer=draw.code,
        grader="contains",
        max_tokens=32,
        code=draw.code,
    )


def _solve(question: Question) -> Solution | None:
    match = _QUESTION.search(question.text)
    return None if match is None else Solution("canary", match[1], code=match[1])


CANARY = ProbeKind("repeat a code word that no other probe has", _SIGN, _make, _solve)
