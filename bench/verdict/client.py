"""The client: its worker processes, and the processor time that they get."""

from __future__ import annotations

from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Finding, Status, milder, worst
from bench.verdict.limits import Limits
from bench.verdict.sent_load import ready_not_sent, send_lateness
from bench.verdict.stamps import user_stamps


def pause(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """The client or a worker did not run for a while, so it sent and read nothing."""
    row = evidence.summary.instrument.pause
    if row is None or row.share_of_run is None:
        return []
    length_ms, share = row.longest_ms, row.share_of_run
    status = milder(limits.pause_ms.of(length_ms), limits.pause_of_run.of(share))
    who = f"worker {row.worker}" if evidence.summary.instrument.workers > 1 else "the client"
    sentence = (
        f"{who} stood still for {length_ms / 1000:.2f} s, {share:.1%} of the run: it sent and read nothing meanwhile"
    )
    return [Finding("pause", status, length_ms, sentence)]


def cpu(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """A worker used nearly a whole processor, so it may be the bottleneck.

    Like `run_queue`, it reports a few busy seconds only if they may have harmed a number: a thousand users who start at
    once make one of ten seconds busy. A client that is busy most of the time is always reported.
    """
    row = evidence.summary.instrument.cpu
    if row is None:
        return []
    share = row.seconds_over_90
    sentence = f"the client used over 90% of a processor in {share:.0%} of its seconds: it may be the bottleneck"
    band = limits.cpu_busy_seconds.of(share)
    least = Status.SUSPECT if band is Status.INVALID else Status.VALID
    harm = worst((user_stamps(evidence, limits), _sends_harmed(evidence, limits), least))
    return [Finding("cpu", milder(band, harm), share, sentence)]


def workers(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """A worker died, and its share of the load was not sent from then on."""
    died = evidence.died
    if not died:
        return []
    # A worker that died before its first sample is not counted elsewhere.
    share = len(died) / max(evidence.summary.instrument.workers, len(died))
    whose = "its" if len(died) == 1 else "their"
    sentence = f"{'; '.join(died)}: {whose} share of the load was not sent from then on"
    return [Finding("workers", limits.workers_died.of(share), share, sentence)]


def clock_drift(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """With --cluster: a node's clock drifted, so its requests appear at the wrong time."""
    if evidence.clock_drift is None:
        return []
    drift_ms, node = evidence.clock_drift
    sentence = (
        f"the clock of node {node} drifted {drift_ms:.1f} ms from the driver's during the load: its latencies "
        "are right, but numbers over time (arrivals, requests in flight, series) are off by that"
    )
    return [Finding("clock_drift", limits.clock_drift_ms.of(drift_ms), drift_ms, sentence)]


def run_queue(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Other processes, or a CPU limit, kept the client from running while it was ready, and may have harmed a number.

    It delays stamps taken by the client itself. It does not delay kernel stamps: then only the sends can be late, which
    have their own signs, and this one gives the cause.
    """
    row = evidence.summary.instrument.run_queue
    if row is None:
        return []
    share = row.mean
    sends = _sends_harmed(evidence, limits)
    harm = worst((user_stamps(evidence, limits), sends))
    subject = "what it sent" if harm is sends else "its time stamps"
    sentence = (
        f"the client waited for a processor {share:.1%} of the time, and {subject} can be late: other programs "
        "keep this machine busy"
    )
    if evidence.cpu_limit is not None:
        sentence += f", or the CPU limit of its container stops it ({evidence.cpu_limit} processors)"
    if evidence.priority_remedy is not None:
        sentence += f" ({evidence.priority_remedy})"
    return [Finding("run_queue", milder(limits.run_queue_wait.of(share), harm), share, sentence)]


def _sends_harmed(evidence: RunEvidence, limits: Limits) -> Status:
    """The status of the signs for requests that were sent late."""
    return worst(f.status for sign in (send_lateness, ready_not_sent) for f in sign(evidence, limits))
