"""Picks answers to show side by side, which best show what load changed."""

from __future__ import annotations

from bench.answers.compared import ThreePhases
from bench.answers.cross_talk import LONGEST_TEXT
from bench.answers.measures import MEASURES
from bench.answers.probe_set import KeptAnswer
from bench.answers.traits import first_difference
from bench.results.quality import QualityExample
from promptset.probes import Probe

MOST_EXAMPLES = 12
LONGEST_QUESTION = 300
"""The most characters that an example keeps from the end of a question."""


def examples(answers: ThreePhases) -> list[QualityExample]:
    """Pick answers under load that differ from the first answer alone: faulty ones first, then in the order of the load."""
    references = answers.references()
    candidates = [
        _example(answers.probes[answer.probe], references[answer.probe], answer)
        for answer in answers.loaded.answers
        if answer.probe is not None and answer.probe in references and answer.text != references[answer.probe].text
    ]
    faults = {name for name, measure in MEASURES.items() if measure.is_fault}
    candidates.sort(key=lambda example: -len(faults.intersection(example.bad)))
    return candidates[:MOST_EXAMPLES]


def _example(probe: Probe, alone: KeptAnswer, loaded: KeptAnswer) -> QualityExample:
    bad = [
        name
        for name, measure in MEASURES.items()
        if measure.of is not None and measure.of(probe, alone) and measure.of(probe, loaded) is False
    ]
    return QualityExample(
        probe=probe.probe_id,
        kind=probe.kind,
        request=loaded.request,
        question=question_of(probe),
        wanted=probe.answer[:LONGEST_TEXT],
        alone=alone.text[:LONGEST_TEXT],
        loaded=loaded.text[:LONGEST_TEXT],
        at=first_difference(alone.text, loaded.text),
        bad=bad,
    )


def question_of(probe: Probe) -> str:
    """The end of the last message."""
    return str(probe.messages[-1].get("content", ""))[-LONGEST_QUESTION:] if probe.messages else ""
