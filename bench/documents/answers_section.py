"""The section of a run's document on its checked answers, and its sentences on the first screen."""

from __future__ import annotations

from collections.abc import Iterator

from bench.documents.document import Column, Finding, Findings, Level, Row, Section, Table, TwoTexts
from bench.documents.formatting import share
from bench.results.answers import CheckedAnswers, WrongAnswer
from bench.results.summary import RunSummary

FAULTS = {
    "right": "wrong", "accuracy": "wrong", "valid_json": "invalid JSON", "valid_call": "no valid tool call",
    "readable": "unreadable", "no_loop": "in a loop", "not_empty": "empty",
}  # fmt: skip
"""For each measure, the word for an answer that fails it."""


def findings(summary: RunSummary) -> Iterator[Findings]:
    """The first screen's sentences on the answers."""
    answers = summary.answers
    if answers is None:
        return
    if answers.foreign:
        subject = "1 answer has" if answers.foreign == 1 else f"{answers.foreign} answers have"
        yield Findings((Finding(f"cross-talk: {subject} another request's code word", "bad"),), level=Level.BRIEF)
    yield Findings((Finding(_sentence(answers)),), level=Level.FIRST)


def section(summary: RunSummary) -> Iterator[Section]:
    """The shares of checked answers, and examples of wrong ones."""
    answers = summary.answers
    if answers is None or not answers.shares:
        return
    columns = (Column("Share of answers"), Column("Share"), Column("95% interval"), Column("Bad"), Column("Probes"))
    rows = tuple(
        Row(
            row.title,
            share(row.share),
            f"{share(row.interval[0])} to {share(row.interval[1])}",
            f"{row.bad:,} of {row.answers:,}",
            f"{row.probes:,}",
        )
        for row in answers.shares
    )
    notes = ["Whether load changes the answers, python -m bench quality tells: docs/quality.md."]
    if answers.failed:
        notes.insert(0, f"{answers.failed} probes were not answered, and count nowhere here.")
    table = Table("Checked answers", columns, rows, notes=tuple(notes))
    yield Section("Answers", (table, *map(_wrong, answers.wrong)))


def _sentence(answers: CheckedAnswers) -> str:
    right = answers.of("accuracy")
    if right is None:
        return "checked answers: no probe was answered"
    low, high = (share(end) for end in right.interval)
    asked = f"{answers.answers:,} answers to {answers.probes:,} probes"
    return f"checked answers: {share(right.share)} are right ({low} to {high}), of {asked}"


def _wrong(row: WrongAnswer) -> TwoTexts:
    broken = ", ".join(FAULTS.get(name, name) for name in row.bad)
    notes = (f"question: {row.question}",)
    texts = (row.wanted or "(any that the grader accepts)", row.given)
    return TwoTexts(f"{row.probe} ({broken})", ("Right answer", "Answer"), texts, None, notes, level=Level.DETAILS)
