"""Finds cross-talk: answers that contain the code word of another request. A single one is proof, without statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.answers.probe_set import KeptAnswer, KeptAnswers
from bench.results.quality import QualityCrossTalk, QualityForeign
from bench.statistics.intervals import Interval
from bench.statistics.paired_shares import clopper_pearson, none_seen
from promptset.probes import Probe, codes_in

MOST_SHOWN = 20
"""The most answers with a foreign code that a result lists."""
LONGEST_TEXT = 2_000
"""The most characters of an answer that a result keeps."""


def cross_talk(probes: Sequence[Probe], phases: Mapping[str, KeptAnswers]) -> QualityCrossTalk | None:
    """The answers with foreign codes. `phases` are by name. Returns None if no probe has a code, or if no request was
    answered under load. An answer without text cannot contain a code, and excludes nothing."""
    owners = owners_of(probes)
    if not owners or not phases["loaded"].answers:
        return None
    loaded = [kept for kept in phases["loaded"].answers if kept.text.strip()]
    cases = [
        _foreign(phase, answer, code, probes, owners)
        for phase, kept in phases.items()
        for answer in kept.answers
        if (code := foreign_code(answer, probes, owners)) is not None
    ]
    under_load = {foreign.request for foreign in cases if foreign.phase == "loaded"}
    alone = {(foreign.phase, foreign.request) for foreign in cases if foreign.phase != "loaded"}
    interval = clopper_pearson(len(under_load), len(loaded)) if loaded else Interval(0.0, 1.0)
    return QualityCrossTalk(
        answers=len(loaded),
        codes=len(owners),
        found=len(under_load),
        interval=(interval.low, interval.high),
        excluded=None if under_load or not loaded else none_seen(len(loaded)),
        found_alone=len(alone),
        first=sorted(cases, key=lambda foreign: foreign.phase != "loaded")[:MOST_SHOWN],
    )


def owners_of(probes: Sequence[Probe]) -> dict[str, Probe]:
    """The probes with a code word, by the word."""
    return {probe.code: probe for probe in probes if probe.code is not None}


def foreign_code(answer: KeptAnswer, probes: Sequence[Probe], owners: Mapping[str, Probe]) -> str | None:
    """The first code word of another request in an answer. Returns None if there is none."""
    own_code = None if answer.probe is None else probes[answer.probe].code
    return next((code for code in codes_in(answer.text) if code in owners and code != own_code), None)


def _foreign(
    phase: str, answer: KeptAnswer, code: str, probes: Sequence[Probe], owners: Mapping[str, Probe]
) -> QualityForeign:
    return QualityForeign(
        phase=phase,
        request=answer.request,
        probe=None if answer.probe is None else probes[answer.probe].probe_id,
        code=code,
        owner=owners[code].probe_id,
        answer=answer.text[:LONGEST_TEXT],
    )
