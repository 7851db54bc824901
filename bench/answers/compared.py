"""Compares answers alone with answers under load: each measure with its test, its interval and its decision.

The unit is the probe: answers to one probe are alike, so the width of an interval depends on the number of probes. The
test deals the bad answers of each probe at random among its answers (bench/statistics/paired_shares.py), so the numbers
of answers may differ.

A measure that compares texts takes the first answer alone as the reference, and then compares how often the other
answers alone, and the answers under load, equal it. If load has no effect, both come from the same distribution.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from bench.answers.measures import MEASURES, RIGHT, Measure
from bench.answers.probe_set import KeptAnswer, KeptAnswers
from bench.answers.traits import first_difference
from bench.results.quality import (
    QualityDifference,
    QualityDrift,
    QualityKind,
    QualityLength,
    QualityMeasure,
    QualityShare,
)
from bench.statistics.multiple import holm
from bench.statistics.paired_shares import (
    ALPHA,
    MARGIN,
    Decision,
    PairedShare,
    Pairs,
    Stratum,
    clopper_pearson,
    mcnemar_mid_p,
    newcombe,
    stratified_mid_p,
)
from promptset.probes import Probe

Marks = Mapping[int, Sequence[bool]]
"""For each probe, by its index: whether a measure holds for each of its answers."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a comparison decides."""

    margin: float = MARGIN
    alpha: float = ALPHA


USUAL_RULES = Rules()


@dataclass(frozen=True, slots=True)
class ThreePhases:
    """The answers to a set of probes: without load, under load, and without load again."""

    probes: Sequence[Probe]
    alone: KeptAnswers
    loaded: KeptAnswers
    back: KeptAnswers

    def references(self) -> dict[int, KeptAnswer]:
        """The first answer alone to each probe."""
        return {place: answers[0] for place, answers in self.alone.by_probe().items()}


@dataclass(frozen=True, slots=True)
class Compared:
    """The result of a comparison."""

    measures: Sequence[QualityMeasure]
    kinds: Sequence[QualityKind]
    difference: QualityDifference
    length: QualityLength | None
    drift: QualityDrift | None


@dataclass(frozen=True, slots=True)
class _Marked:
    """The marks of one measure in each phase."""

    name: str
    alone: Marks
    loaded: Marks
    back: Marks

    @property
    def control(self) -> dict[int, list[bool]]:
        """The marks without load, before and after."""
        places = [*self.alone, *(place for place in self.back if place not in self.alone)]
        return {place: [*self.alone.get(place, ()), *self.back.get(place, ())] for place in places}


def compare(answers: ThreePhases, rules: Rules = USUAL_RULES) -> Compared:
    """Compare the answers of three phases."""
    marked = [_marks(name, measure, answers) for name, measure in MEASURES.items()]
    marked = [marks for marks in marked if marks.control.keys() & marks.loaded.keys()]
    tests = [_test(marks.control, marks.loaded) for marks in marked]
    over_time = [_test(marks.alone, marks.back) for marks in marked]
    length = _length_test(answers)
    corrected = _corrected([*tests, None if length is None else length[-1]])
    of_time = _corrected(over_time)
    number = max(1, sum(p is not None for p in corrected))
    measures = [
        _measure(marks, p, p_corrected, p_time, number, rules)
        for marks, p, p_corrected, p_time in zip(marked, tests, corrected, of_time, strict=False)
    ]
    return Compared(
        measures, _kinds(answers), _difference(answers), _length(length, corrected[-1], answers), _drift(answers)
    )


def _marks(name: str, measure: Measure, answers: ThreePhases) -> _Marked:
    references = answers.references()

    def of(phase: KeptAnswers, skip: int = 0) -> Marks:
        marks: dict[int, list[bool]] = {}
        for place, group in phase.by_probe().items():
            for answer in group[skip:]:
                holds: bool | None = None
                if measure.of is not None:
                    holds = measure.of(answers.probes[place], answer)
                elif measure.same is not None and place in references:
                    holds = measure.same(answer, references[place])
                if holds is not None:
                    marks.setdefault(place, []).append(holds)
        return marks

    return _Marked(name, of(answers.alone, skip=measure.same is not None), of(answers.loaded), of(answers.back))


def _test(control: Marks, loaded: Marks) -> float | None:
    """The p of the change. Returns None if every answer is good, or none can be compared."""
    strata = [
        Stratum(len(control[place]), control[place].count(False), len(marks), marks.count(False))
        for place, marks in loaded.items()
        if place in control
    ]
    return stratified_mid_p(strata) if any(s.alone_bad or s.loaded_bad for s in strata) else None


def _corrected(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's correction over the tests that were made. Where there is nothing to test, there is no false alarm."""
    made = iter(holm([p for p in ps if p is not None]))
    return [None if p is None else next(made) for p in ps]


def _measure(
    marks: _Marked, p: float | None, corrected: float | None, p_time: float | None, tests: int, rules: Rules
) -> QualityMeasure:
    control, loaded = marks.control, marks.loaded
    pairs = _pairs(control, loaded)
    share = PairedShare(pairs)
    decision = share.decide(1.0 if corrected is None else corrected, rules.margin, rules.alpha)
    blamed_on_time = False
    if decision is Decision.CHANGED and p_time is not None and p_time < rules.alpha:
        # The answers without load changed too. Load is to blame only if its answers lie beyond both the earlier and the
        # later answers: if they are like either, or between them, they may show no more than the time that passed.
        ways = {_way(side, loaded, rules.alpha / tests) for side in (marks.alone, marks.back)}
        blamed_on_time = len(ways) > 1 or 0 in ways
        decision = Decision.NOT_SHOWN if blamed_on_time else decision
    interval = newcombe(pairs)
    not_shown = decision is Decision.NOT_SHOWN and not blamed_on_time
    return QualityMeasure(
        name=marks.name,
        title=MEASURES[marks.name].good,
        is_fault=MEASURES[marks.name].is_fault,
        probes=round(pairs.n),
        alone=_share(control, loaded),
        loaded=_share(loaded, control),
        fall=share.fall,
        interval=(interval.low, interval.high),
        p=p,
        p_corrected=corrected,
        decision=str(decision),
        probes_to_show=share.probes_to_show(rules.margin, tests, rules.alpha) if not_shown else None,
        p_over_time=p_time,
        blamed_on_time=blamed_on_time,
    )


def _way(side: Marks, loaded: Marks, level: float) -> int:
    """-1 if fewer answers are good under load than on a side, 1 if more are, 0 if no difference is shown."""
    p = _test(side, loaded)
    fall = 0.0 if p is None or p >= level else PairedShare(_pairs(side, loaded)).fall
    return (fall < 0) - (fall > 0)


def _pairs(control: Marks, loaded: Marks) -> Pairs:
    """Each probe counts as one pair, split into parts if its answers differ."""
    both = alone = under = neither = 0.0
    for place in loaded.keys() & control.keys():
        x, y = fmean(control[place]), fmean(loaded[place])
        both, alone = both + x * y, alone + x * (1 - y)
        under, neither = under + (1 - x) * y, neither + (1 - x) * (1 - y)
    return Pairs(both, alone, under, neither)


def _share(marks: Marks, others: Marks) -> QualityShare:
    """The share over the probes that both sides have."""
    places = [place for place in marks if place in others]
    shares = [fmean(marks[place]) for place in places]
    interval = clopper_pearson(min(sum(shares), len(shares)), len(shares))
    return QualityShare(
        answers=sum(len(marks[place]) for place in places),
        bad=sum(marks[place].count(False) for place in places),
        share=fmean(shares),
        interval=(interval.low, interval.high),
    )


def _kinds(answers: ThreePhases) -> list[QualityKind]:
    marks = _marks(RIGHT, MEASURES[RIGHT], answers)
    control, kinds = marks.control, dict.fromkeys(probe.kind for probe in answers.probes)

    def of(side: Marks, kind: str) -> list[bool]:
        return [mark for place, marks in side.items() if answers.probes[place].kind == kind for mark in marks]

    rows = []
    for kind in kinds:
        alone, loaded = of(control, kind), of(marks.loaded, kind)
        rows.append(
            QualityKind(
                kind=kind,
                probes=sum(probe.kind == kind for probe in answers.probes),
                alone=fmean(alone) if alone else None,
                loaded=fmean(loaded) if loaded else None,
                loaded_answers=len(loaded),
            )
        )
    return rows


def _difference(answers: ThreePhases) -> QualityDifference:
    references = answers.references()
    pairs = [(references[answer.probe], answer) for answer in answers.loaded.answers if answer.probe in references]
    places = [
        place for reference, answer in pairs if (place := first_difference(reference.text, answer.text)) is not None
    ]
    return QualityDifference(
        answers=len(pairs),
        differing=len(places),
        least=min(places, default=None),
        median=median(places) if places else None,
    )


def _drift(answers: ThreePhases) -> QualityDrift | None:
    """The drift of log probabilities. Returns None if no answer has them."""
    references = answers.references()

    def moves(group: Iterable[KeptAnswer]) -> list[float]:
        pairs = [(references[answer.probe], answer) for answer in group if answer.probe in references]
        return [move for reference, answer in pairs if answer is not reference for move in _moves(reference, answer)]

    under_load = moves(answers.loaded.answers)
    alone = moves((*answers.alone.answers, *answers.back.answers))
    if not under_load:
        return None
    return QualityDrift(
        tokens=len(under_load),
        alone_median=median(alone) if alone else None,
        alone_most=max(alone, default=None),
        median=median(under_load),
        most=max(under_load),
    )


def _moves(reference: KeptAnswer, answer: KeptAnswer) -> Iterator[float]:
    """The absolute differences of log probabilities before the first token that differs."""
    for (token, value), (other, moved) in zip(reference.answer.tokens, answer.answer.tokens, strict=False):
        if token != other:
            return
        yield abs(moved - value)


def _length_test(answers: ThreePhases) -> tuple[int, int, float] | None:
    """The number of probes whose first answer under load is longer than both the last one alone and the first one
    afterwards, the number for which it is shorter than both, and the p of the sign test. A drift over time puts the
    answer beyond at most one of the two."""
    alone, loaded, back = (kept.by_probe() for kept in (answers.alone, answers.loaded, answers.back))
    triples = [
        (len(group[0].text), [len(kept.text) for kept in (alone[place][-1], *back.get(place, ())[:1])])
        for place, group in loaded.items()
        if place in alone
    ]
    if not triples:
        return None
    longer, shorter = sum(n > max(others) for n, others in triples), sum(n < min(others) for n, others in triples)
    return longer, shorter, mcnemar_mid_p(longer, shorter)


def _length(test: tuple[int, int, float] | None, corrected: float | None, answers: ThreePhases) -> QualityLength | None:
    if test is None or corrected is None:
        return None
    longer, shorter, p = test
    alone = [len(answer.text) for answer in (*answers.alone.answers, *answers.back.answers) if answer.probe is not None]
    loaded = [len(answer.text) for answer in answers.loaded.answers if answer.probe is not None]
    return QualityLength(
        alone=fmean(alone), loaded=fmean(loaded), longer=longer, shorter=shorter, p=p, p_corrected=corrected
    )
