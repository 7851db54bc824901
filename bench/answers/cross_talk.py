"""Cross-talk: answers that hold the code word of another request. Statistics are not needed to prove one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.answers.probe_set import KeptAnswer, KeptAnswers
from bench.results.quality import QualityCrossTalk, QualityForeign
from bench.statistics.intervals import Interval
from bench.statistics.paired_shares import clopper_pearson, none_seen
from promptset.probes import Probe, codes_in

MOST_SHOWN = 20
"""Answers with a foreign code that a result lists."""
LONGEST_TEXT = 2_000
"""Characters that a result keeps of an answer."""


def cross_talk(probes: Sequence[Probe], phases: Mapping[str, KeptAnswers]) -> QualityCrossTalk | None:
    """The answers with foreign codes, of phases by their names. Returns None if no probe has a code, or nothing answered
    under load. An answer without a text cannot have a code, and excludes nothing."""
    owners = owners_of(probes)
    if not owners or not phases["loaded"].answers:
        return None
    loaded = [kept for kept in phases["loaded"].answers if kept.text.strip()]
    found = [
        _foreign(phase, answer, code, probes, owners)
        for phase, kept in phases.items()
        for answer in kept.answers
        if (code := foreign_code(answer, probes, owners)) is not None
    ]
    under_load = {foreign.request for foreign in found if foreign.phase == "loaded"}
    alone = {(foreign.phase, foreign.request) for foreign in found if foreign.phase != "loaded"}
    interval = clopper_pearson(len(under_load), len(loaded)) if loaded else Interval(0.0, 1.0)
    return QualityCrossTalk(
        answers=len(loaded),
        codes=len(owners),
        found=len(under_load),
        interval=(interval.low, interval.high),
        excluded=None if under_load or not loaded else none_seen(len(loaded)),
        found_alone=len(alone),
        first=sorted(found, key=lambda foreign: foreign.phase != "loaded")[:MOST_SHOWN],
    )


def owners_of(probes: Sequence[Probe]) -> dict[str, Probe]:
    """The probes that have a code word, by the word."""
    return {probe.code: probe for probe in probes if probe.code is not None}


def foreign_code(kept: KeptAnswer, probes: Sequence[Probe], owners: Mapping[str, Probe]) -> str | None:
    """Find the first code word of another request in an answer. Returns None if the answer has no such word."""
    own = None if kept.probe is None else probes[kept.probe].code
    return next((code for code in codes_in(kept.text) if code in owners and code != own), None)


def _foreign(
    phase: str, kept: KeptAnswer, code: str, probes: Sequence[Probe], owners: Mapping[str, Probe]
) -> QualityForeign:
    return QualityForeign(
        phase=phase,
        request=kept.request,
        probe=None if kept.probe is None else probes[kept.probe].probe_id,
        code=code,
        owner=owners[code].probe_id,
        answer=kept.text[:LONGEST_TEXT],
    )
