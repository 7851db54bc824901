"""Our own bookkeeping: independent accounts of one number agree."""

from __future__ import annotations

from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Finding
from bench.verdict.limits import Limits


def littles_law(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Two independent accounts of what was in flight, and of how many requests there were: a check of our own bookkeeping."""
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
    """Files that the run wrote and that are not whole any more: a sign that looks at them would be silent."""
    if not evidence.lost:
        return []
    lost = len(evidence.lost)
    sentence = f"{'; '.join(evidence.lost)}: the signs that need it were not checked"
    return [Finding("files", limits.files_lost.of(lost), lost, sentence)]
