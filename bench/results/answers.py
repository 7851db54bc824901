"""The checked answers of one run under its load."""

from __future__ import annotations

from collections.abc import Sequence

from bench.results.base import Count, Interval, Portion, Result

ANSWER_SHARES = ("accuracy", "consistency", "valid_json")
"""Shares of checked answers, by their names in objectives."""


class AnswerShare(Result, frozen=True, kw_only=True):
    """The share of answers for which a measure holds: the mean over probes."""

    name: str
    title: str
    probes: Count
    answers: Count
    bad: Count
    """Answers for which it does not hold."""
    share: Portion
    interval: Interval
    """Clopper-Pearson interval over the probes."""


class WrongAnswer(Result, frozen=True, kw_only=True):
    """An answer that is wrong or broken."""

    probe: str
    request: str
    question: str
    """The end of the last message."""
    wanted: str
    given: str
    bad: Sequence[str]
    """The measures that do not hold for it."""


class CheckedAnswers(Result, frozen=True, kw_only=True):
    """The probes of a run with --check-answers, after its warm-up, and their answers. docs/quality.md."""

    probes: Count
    """Number of different probes."""
    answers: Count
    """Number of answers to them."""
    failed: Count
    """Probes that were not answered."""
    shares: Sequence[AnswerShare]
    """One row for each measure that applies to some answer."""
    foreign: Count | None
    """Answers with the code word of another request; null: no probe has a code word."""
    wrong: Sequence[WrongAnswer]
    """The first wrong answers."""

    def of(self, name: str) -> AnswerShare | None:
        """The share with this name. Returns None if the run has no such answers."""
        return next((row for row in self.shares if row.name == name), None)
