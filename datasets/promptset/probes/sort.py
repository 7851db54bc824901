"""Sort: put words into alphabetical order."""

from __future__ import annotations

import re

from promptset.probes.probe_kind import Draw, Option, ProbeKind
from promptset.probes.values import GraderSettings, Pattern, Probe, Question, Solution, user

_BEGIN = "Sort these words from A to Z:"
_SIGN = "Write the words, with commas between them, and nothing else."
_QUESTION = re.compile(rf"{re.escape(_BEGIN)} ([a-z]+(?:, [a-z]+)*)\. {re.escape(_SIGN)}")


def _make(draw: Draw) -> Probe:
    words = draw.words(draw.options["words"])
    right = sorted(words)
    # Allow anything between the words: commas, line ends, list numbers.
    in_order = r"[\W\d]+".join(right)
    return Probe(
        probe_id=draw.probe_id,
        kind="sort",
        messages=user(f"{_BEGIN} {', '.join(words)}. {_SIGN}"),
        answer=", ".join(right),
        grader="pattern",
        settings=GraderSettings(patterns=(Pattern(rf"(?i)\b{in_order}\b", about="the words in order"),)),
        max_tokens=16 + 6 * len(words),
    )


def _solve(question: Question) -> Solution | None:
    match = _QUESTION.search(question.text)
    return None if match is None else Solution("sort", ", ".join(sorted(match[1].split(", "))))


SORT = ProbeKind(
    "put words into the order of the alphabet",
    _SIGN,
    _make,
    _solve,
    {"words": Option(5, 2, 100, "how many words")},
)
