"""The load that was sent, against the requested load."""

from __future__ import annotations

from collections.abc import Iterator

from bench.results.numbers import PlanAgainstSent
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Finding, Status, milder
from bench.verdict.limits import Limits

ENOUGH_SENDS = 1_000
"""With this many sends, the band applies to their dispersion unchanged. With fewer, the band is wider in proportion."""


def nothing_measured(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """No request ended after the warm-up, so there are no numbers."""
    counts = evidence.summary.counts
    if counts.succeeded or counts.failed or counts.cancelled:
        return []
    if interrupted := counts.interrupted:
        why = f"the run was stopped before any of its {interrupted:,} requests had ended"
    elif dropped := counts.dropped:
        why = f"all {dropped:,} requests were dropped before they were sent"
    elif warmup := counts.warmup.requests:
        why = f"the run ended during its warm-up, after {warmup:,} requests"
    else:
        why = "the run has no record of any request"
    return [Finding("nothing_measured", Status.INVALID, 0.0, f"nothing was measured: {why}")]


def cut_requests(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Requests that were cut when the run was stopped have no latency, and those in flight are mostly long ones."""
    counts = evidence.summary.counts
    completed = counts.succeeded + counts.failed
    if not completed:
        return []
    cut, of = counts.interrupted, completed + counts.interrupted
    sentence = (
        f"{cut:,} of {of:,} requests were cut when the run stopped: their latencies are missing and may be the longest"
    )
    return [Finding("cut_requests", limits.cut_requests.of(cut / of), cut / of, sentence)]


def send_lateness(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """At a rate: requests left late, so the server got a different load."""
    p99 = evidence.summary.instrument.send_lateness_ms.p99
    if not evidence.open_loop or p99 is None:
        return []
    status = limits.send_lateness_p99_ms.of(p99)
    metric, median = "TTFT", evidence.p50("ttft_ms")
    if median is None:
        metric, median = "E2EL", evidence.p50("e2el_ms")
    of = ""
    if median:
        status = milder(status, limits.send_lateness_p99_of_ttft.of(p99 / median))
        of = f", {p99 / median:.1%} of the median {metric}"
    return [Finding("send_lateness", status, p99, f"requests left late: p99 {p99:.2f} ms{of}; the client was busy")]


def ready_not_sent(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """At a fixed concurrency: users were ready, but the client had not sent their next request."""
    row = evidence.summary.load.ready_not_sent
    if row is None:
        return []
    share = row.share
    status = milder(limits.ready_not_sent.of(share), limits.ready_not_sent_ms.of(row.typical_ms))
    sentence = (
        f"users were ready and their next request was not sent in {share:.1%} of their time (up to "
        f"{row.longest_ms:.0f} ms at once): the client was busy or stood still"
    )
    return [Finding("ready_not_sent", status, share, sentence)]


def never_sent(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """A request that waits in the client until the sending stops has no record: the records alone look like a shorter run."""
    row = evidence.summary.load.never_sent
    if row is None:
        return []
    unit = "sessions" if evidence.open_loop and evidence.summary.load.mode == "sessions" else "requests"
    of = "of all that were due" if evidence.open_loop else "of the users' time was spent waiting for them"
    sentence = (
        f"{row.n:,} {unit} were due and never sent, {row.share:.1%} {of}: the process that makes the prompts had not made "
        "them when the sending stopped"
    )
    return [Finding("never_sent", limits.never_sent.of(row.share), row.share, sentence)]


def sent_rate(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """At a rate: the sent rate differs from the rate of the plan that was drawn."""
    findings = []
    for plan, where, _ in _plans(evidence, limits):
        if plan.rate_difference is None or plan.span_difference_ms is None:
            continue
        off = abs(plan.rate_difference)
        sentence = (
            f"{where}sent {plan.sent_rps:.2f} requests/s instead of the planned {plan.planned_rps:.2f} "
            f"({off:.1%} apart)"
        )
        # Among a few sends within a few ms, one ms of lateness changes the rate: that is lateness, and has its own
        # sign.
        status = milder(limits.sent_rate_off.of(off), limits.sent_rate_off_ms.of(abs(plan.span_difference_ms)))
        findings.append(Finding("sent_rate", status, off, sentence))
    return _first_and_bad(findings)


def sent_dispersion(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """At a rate: the sends are burstier or smoother than the plan (dispersion of the counts per 10 mean gaps)."""
    findings = []
    for plan, where, sends in _plans(evidence, limits):
        if plan.dispersion_ratio is None:
            continue
        ratio = plan.dispersion_ratio
        sentence = (
            f"{where}the sent requests are {ratio:.2f} times as bursty as the drawn plan (dispersion of the counts)"
        )
        # A slightly late send may count in the next slot: among few sends, one changes the dispersion by some percent.
        weight = min(sends / ENOUGH_SENDS, 1.0)
        status = limits.sent_dispersion_off.of(abs(ratio - 1) * weight)
        findings.append(Finding("sent_dispersion", status, ratio, sentence))
    return _first_and_bad(findings)


def _plans(evidence: RunEvidence, limits: Limits) -> Iterator[tuple[PlanAgainstSent, str, int]]:
    """The plan against the sends, for the whole run and for each segment of a changing load: (plan, which part, number
    of sends). Empty if --max-concurrency set the rate: then the client is not at fault for the difference, and another
    sign checks whether requests left as soon as there was a slot."""
    summary = evidence.summary
    plan = summary.load.plan
    if plan is None or any(finding.status is not Status.VALID for finding in waited_at_cap(evidence, limits)):
        return
    yield plan, "", sum(summary.counts.by_outcome.values())
    for segment in summary.segments or ():
        plan = segment.plan
        if plan is not None:
            yield plan, f"from {segment.start_s:.1f} to {segment.end_s:.1f} s: ", segment.sent


def _first_and_bad(findings: list[Finding]) -> list[Finding]:
    """The finding on the whole run, and those on its parts that are not VALID."""
    return [f for n, f in enumerate(findings) if n == 0 or f.status is not Status.VALID]


def off_plan(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """The load differs from what the settings and the recorded changes say; the worst part between two changes counts."""
    row = evidence.summary.load.off_plan
    if row is None:
        return []
    share = row.share
    where = f"from {row.start_s:.1f} to {row.end_s:.1f} s"
    if row.of == "arrivals":
        sentence = f"{where}, {share:.1%} of the arrivals were not due when the settings and the recorded changes say"
    else:
        sentence = (
            f"{where}, by the settings and the recorded changes, users were missing or too many in "
            f"{share:.1%} of their time"
        )
    return [Finding("off_plan", limits.off_plan.of(share), share, sentence)]


def waited_at_cap(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """At a rate: arrivals waited or were dropped at --max-concurrency, so the cap set the rate."""
    waits = evidence.summary.load.waited_at_cap
    counts = evidence.summary.counts
    arrivals = sum(counts.by_outcome.values())
    if waits is None or not arrivals:
        return []
    share = (waits.n + counts.dropped) / arrivals
    sentence = f"{share:.1%} of the arrivals found no free slot under --max-concurrency: the cap set the rate"
    return [Finding("waited_at_cap", limits.waited_at_cap.of(share), share, sentence)]
