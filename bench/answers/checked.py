"""The checked answers of one run: its shares of right, same and valid answers, and the requests that gave them.

An answer is *consistent* if it equals the run's first answer to the same probe: a single run can show no more about how
much the answers vary. The first answer itself is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from bench.answers.cross_talk import LONGEST_TEXT, foreign_code, owners_of
from bench.answers.examples import question_of
from bench.answers.measures import MEASURES, RIGHT, VALID_JSON
from bench.answers.probe_set import KeptAnswer, KeptAnswers, read_answers, read_probes
from bench.results.answers import AnswerShare, CheckedAnswers, WrongAnswer
from bench.run_files.run_directory import RunDirectory
from bench.statistics.paired_shares import clopper_pearson
from promptset.probes import Probe

ACCURACY, CONSISTENCY, JSON = "accuracy", "consistency", "valid_json"
_TITLES = {ACCURACY: "right answers", CONSISTENCY: "same text each time", JSON: "valid JSON"}
_NAMES = {RIGHT: ACCURACY, VALID_JSON: JSON}
MOST_WRONG = 8
"""The most wrong answers that a result lists."""

Marks = Mapping[str, Mapping[str, bool]]
"""For each measure, whether it holds, by request id."""


def checked_answers(directory: RunDirectory) -> CheckedAnswers | None:
    """The checked answers of a run. Returns None if it checked none. Raises RecordError if a file is damaged."""
    probes = read_probes(directory)
    if not probes:
        return None
    answers = read_answers(directory, len(probes))
    marks = marks_of(probes, answers)
    owners = owners_of(probes)
    foreign = sum(foreign_code(answer, probes, owners) is not None for answer in answers.answers)
    return CheckedAnswers(
        probes=len(answers.by_probe()),
        answers=answers.probes,
        failed=answers.failed,
        shares=[_share(name, of, answers) for name, of in marks.items() if of],
        foreign=foreign if owners else None,
        wrong=_wrong(probes, answers, marks),
    )


def answer_marks(directory: RunDirectory) -> dict[str, dict[str, bool]]:
    """The marks of a run, as from `marks_of`; empty if it checked no answer. Raises RecordError if a file is damaged."""
    probes = read_probes(directory)
    return marks_of(probes, read_answers(directory, len(probes))) if probes else {}


def marks_of(probes: Sequence[Probe], answers: KeptAnswers) -> dict[str, dict[str, bool]]:
    """Whether each measure holds for each answer to which it applies."""
    marks: dict[str, dict[str, bool]] = {}
    for name, measure in MEASURES.items():
        if measure.of is None:
            continue
        of = marks.setdefault(_NAMES.get(name, name), {})
        for answer in answers.answers:
            if answer.probe is not None and (holds := measure.of(probes[answer.probe], answer)) is not None:
                of[answer.request] = holds
    marks[CONSISTENCY] = {
        answer.request: answer.text == first.text for first, *others in answers.by_probe().values() for answer in others
    }
    return marks


def _share(name: str, of: Mapping[str, bool], answers: KeptAnswers) -> AnswerShare:
    by_probe = [
        [of[answer.request] for answer in group if answer.request in of] for group in answers.by_probe().values()
    ]
    shares = [fmean(holds) for holds in by_probe if holds]
    interval = clopper_pearson(min(sum(shares), len(shares)), len(shares))
    title = _TITLES[name] if name in _TITLES else MEASURES[name].good
    return AnswerShare(
        name=name,
        title=title,
        probes=len(shares),
        answers=len(of),
        bad=sum(not holds for holds in of.values()),
        share=fmean(shares),
        interval=(interval.low, interval.high),
    )


def _wrong(probes: Sequence[Probe], answers: KeptAnswers, marks: Marks) -> list[WrongAnswer]:
    faults = [name for name in marks if name != CONSISTENCY]
    rows = []
    for answer in answers.answers:
        bad = [name for name in faults if marks[name].get(answer.request) is False]
        if bad and answer.probe is not None:
            rows.append(_described(probes[answer.probe], answer, bad))
    return rows[:MOST_WRONG]


def _described(probe: Probe, answer: KeptAnswer, bad: Sequence[str]) -> WrongAnswer:
    return WrongAnswer(
        probe=probe.probe_id,
        request=answer.request,
        question=question_of(probe),
        wanted=probe.answer[:LONGEST_TEXT],
        given=answer.text[:LONGEST_TEXT],
        bad=bad,
    )
