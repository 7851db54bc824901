"""Generated answers to probes: correct, except for texts that a test substitutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.answers.probe_set import KeptAnswer, KeptAnswers
from promptset.answers import Answer, ToolCall
from promptset.probes import Probe

Change = Callable[[Probe, int], str]
"""The text of an answer to a probe, given how often it was asked before."""


def _right(probe: Probe) -> Answer:
    if probe.grader == "tool_call":
        return Answer(tool_calls=(ToolCall("", "open_ticket", probe.answer.partition('"arguments":')[2][:-1]),))
    return Answer(content=probe.answer)


def answered(probes: Sequence[Probe], times: int = 1, change: Change | None = None) -> KeptAnswers:
    """Correct answers to every probe, several times; if `change` gives a text for a probe, that text."""
    rows = []
    for time in range(times):
        for place, probe in enumerate(probes):
            text = "" if change is None else change(probe, time)
            answer = Answer(content=text) if text else _right(probe)
            rows.append(KeptAnswer(f"r-{time}-{place}", place, answer))
    return KeptAnswers(rows)
