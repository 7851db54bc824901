"""Our own bookkeeping: whether independent counts of one number agree."""

from __future__ import annotations

from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Finding, Status
from bench.verdict.limits import Limits


def littles_law(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Two independent counts of the requests in flight, or of all requests, disagree."""
    law = evidence.summary.load.littles_law
    findings = []
    dispatched, records = law.dispatched, law.records
    if dispatched and records is not None:
        missing = abs(dispatched - records)
        sentence = (
            f"the dispatcher handed {dispatched:,} requests over and there are {records:,} records: the missing "
            "ones are in no number"
        )
        share = missing / dispatched
        findings.append(Finding("littles_law", limits.records_missing.of(share), share, sentence))
    if law.difference is None:
        return findings
    off = abs(law.difference)
    sentence = (
        f"Little's law is {off:.2%} off: the dispatcher counted {law.dispatcher_mean:.3f} requests in flight, "
        f"the records add up to {law.records_mean:.3f}"
    )
    return [*findings, Finding("littles_law", limits.littles_law_off.of(off), off, sentence)]


def files(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Files of the run are missing or shortened, so the signs that need them were not checked."""
    if not evidence.lost:
        return []
    lost = len(evidence.lost)
    sentence = f"{'; '.join(evidence.lost)}: the signs that need it were not checked"
    return [Finding("files", limits.files_lost.of(lost), lost, sentence)]


def imported(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """A run timed by another load tester: the error of its times is unknown. It has no band, and is never VALID."""
    del limits
    if evidence.imported_from is None:
        return []
    sentence = f"imported from {evidence.imported_from}: its error is unknown, since Trueload took none of its times"
    return [Finding("imported", Status.SUSPECT, 1.0, text) for text in (sentence, *evidence.not_in_file)]
