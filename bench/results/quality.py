"""quality.json: answers without load, under load, and without load again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from bench.results.base import Count, Interval, Number, Portion, Result, one_of

SCHEMA: Final = "trueload/quality/1"
PHASES = ("alone", "loaded", "back")
DECISIONS = ("changed", "within the margin", "not shown")

Phase = Annotated[str, one_of(*PHASES)]
Decision = Annotated[str, one_of(*DECISIONS)]


class QualityRun(Result, frozen=True, kw_only=True):
    """One of the three runs."""

    name: str
    """Its directory."""
    phase: Phase
    status: str
    """The verdict on its measurement."""
    reasons: Sequence[str]
    answers: Count
    """Probes that were answered."""
    failed: Count
    """Probes that were not answered, and are not counted anywhere else here."""

    @property
    def unusable(self) -> str | None:
        """Why its answers decide nothing; None if they do."""
        if self.status not in ("INVALID", "FAILED"):
            return None
        return f"{self.name} is {self.status}: {[*self.reasons, 'no reason'][0]}"


class QualityShare(Result, frozen=True, kw_only=True):
    """The share of answers for which a measure holds: the mean over probes."""

    answers: Count
    bad: Count
    """Answers for which it does not hold."""
    share: Portion
    interval: Interval
    """Clopper-Pearson interval over the probes."""


class QualityMeasure(Result, frozen=True, kw_only=True):
    """A measure, compared between the answers alone and under load."""

    name: str
    title: str
    is_fault: bool
    """Whether an answer that fails the measure is wrong in itself. Otherwise it only differs from the answer alone."""
    probes: Count
    """Probes with an answer on both sides."""
    alone: QualityShare
    """Without load, before and after."""
    loaded: QualityShare
    fall: Number
    """The share alone minus the share under load."""
    interval: Interval
    """Newcombe interval of `fall`."""
    p: Portion | None
    """Of the exact test, mid-p; null: every answer is good, so there is nothing to test."""
    p_corrected: Portion | None
    """After Holm's correction over all tested measures."""
    decision: Decision
    probes_to_show: Count | None
    """If it is not shown: about how many probes with the same shares would show it. null: too many to name."""
    p_over_time: Portion | None
    """Of the same test between the answers without load before and after, corrected; null: nothing to test."""
    blamed_on_time: bool
    """Whether answers under load differ, but do not lie beyond both the answers without load before and those afterwards."""


class QualityKind(Result, frozen=True, kw_only=True):
    """Right answers of one kind of probe, as shares of the answers."""

    kind: str
    probes: Count
    alone: Portion | None
    loaded: Portion | None
    loaded_answers: Count


class QualityDifference(Result, frozen=True, kw_only=True):
    """Where answers differ from the first answer alone, in characters from the start."""

    answers: Count
    differing: Count
    least: Count | None
    median: Number | None


class QualityDrift(Result, frozen=True, kw_only=True):
    """How far log probabilities move from those of the first answer alone, over the tokens before the first different
    token."""

    tokens: Count
    """Tokens under load that were compared."""
    alone_median: Number | None
    """Median of the absolute differences of the other answers alone; null: there are none."""
    alone_most: Number | None
    median: Number
    """Median of the absolute differences of answers under load."""
    most: Number


class QualityLength(Result, frozen=True, kw_only=True):
    """The lengths of answers, in characters, and whether load changes them."""

    alone: Number
    loaded: Number
    longer: Count
    """Probes whose first answer under load is longer than one alone before and one afterwards."""
    shorter: Count
    p: Portion
    """Of the sign test, mid-p."""
    p_corrected: Portion


class QualityForeign(Result, frozen=True, kw_only=True):
    """An answer with the code word of another request."""

    phase: Phase
    request: str
    probe: str | None
    """Its own probe; null: an ordinary request."""
    code: str
    owner: str
    """The probe to which the code belongs."""
    answer: str


class QualityCrossTalk(Result, frozen=True, kw_only=True):
    """Answers that contain the code word of another request. One is proof: a code is never written by chance."""

    answers: Count
    """Answers under load that were searched: those with a text."""
    codes: Count
    """Different code words that were searched for."""
    found: Count
    """Answers under load with a foreign code."""
    interval: Interval
    """Clopper-Pearson interval of the rate."""
    excluded: Portion | None
    """If none was found: the rate that is excluded with 95%. null also if no answer has a text."""
    found_alone: Count
    """Answers without load with a foreign code."""
    first: Sequence[QualityForeign]


class QualityExample(Result, frozen=True, kw_only=True):
    """An answer alone and an answer under load to the same probe."""

    probe: str
    kind: str
    request: str
    question: str
    """The end of the last message."""
    wanted: str
    alone: str
    loaded: str
    at: Count | None
    """The index of the first character that differs; null: the same text."""
    bad: Sequence[str]
    """Measures that hold for the answer alone but not for the answer under load."""


class QualityContent(Result, frozen=True, kw_only=True):
    """The result of a quality test. Shares are numbers: 0.05 is 5%."""

    schema: Literal["trueload/quality/1"]
    date: str
    version: str
    host: Mapping[str, Any]
    command: Sequence[str]
    """The command line."""
    config: Mapping[str, Any]
    """The settings of the loaded run."""
    ended: str | None
    """Why the series ended before its last run."""
    exit: int
    """The exit status of the command."""
    strict: bool
    margin: Portion
    """The largest change of a share that does not matter."""
    alpha: Portion
    """Level of the tests, over all measures."""
    probes: Count
    asked_alone: Count
    """How often each probe is asked alone before the load."""
    runs: Sequence[QualityRun]
    measures: Sequence[QualityMeasure]
    """Empty until all three runs are made."""
    kinds: Sequence[QualityKind]
    difference: QualityDifference | None
    length: QualityLength | None
    drift: QualityDrift | None = None
    """null: the server sends no log probabilities."""
    cross_talk: QualityCrossTalk | None
    examples: Sequence[QualityExample]
    notes: Sequence[str]
