"""The time stamps: how exactly an instant is known."""

from __future__ import annotations

from itertools import product

from bench.results.metric_titles import in_sentence
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Finding, Status, badness, milder
from bench.verdict.limits import Limits


def loop_lag(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """The event loop was late, and with it time stamps that are not the kernel's."""
    instrument = evidence.summary.instrument
    lag = instrument.loop_lag_ms
    if lag is None or lag.p99 is None or user_stamps(evidence, limits) is Status.VALID:
        return []
    p99 = lag.p99
    status = limits.loop_lag_p99_ms.of(p99)
    gap = evidence.p50("chunk_gap_ms")
    of = ""
    if gap:
        status = milder(status, limits.loop_lag_p99_of_gap.of(p99 / gap))
        of = f", {p99 / gap:.0%} of the median gap between tokens"
    return [Finding("loop_lag", status, p99, f"the client's event loop was late: p99 {p99:.2f} ms{of}")]


def user_stamps(evidence: RunEvidence, limits: Limits) -> Status:
    """SUSPECT or worse if so many requests have the client's own stamps that a late client would harm a number."""
    clock = evidence.summary.instrument.clock
    requests = clock.kernel + clock.user + clock.mixed
    return limits.user_stamps.of((clock.user + clock.mixed) / requests) if requests else Status.VALID


def wide_stamps(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Several chunks shared a read, so their latencies are known only within bounds."""
    latency = evidence.summary.latency
    findings = []
    for key, stat in product(_TIMED, _OPEN_STATS):
        row = latency[key]
        value = row.of(stat)
        if value is None:
            continue
        least, greatest = row.bounds.get(stat, (value, value))
        if least is None or greatest is None:
            continue
        absolute, relative = limits.wide_stamps_ms, limits.wide_stamps
        if stat in _OF_FEW:
            absolute, relative = limits.wide_stamps_p99_ms, limits.wide_stamps_p99
        width_ms = greatest - least
        share = width_ms / value if value > 0 else float(width_ms > 0)
        name, label = in_sentence(key), "average" if stat == "mean" else stat
        sentence = (
            f"{label} of {name} is only known to lie between {least:.2f} and {greatest:.2f} ms: tokens shared reads"
        )
        findings.append(Finding("wide_stamps", milder(absolute.of(width_ms), relative.of(share)), share, sentence))
    return [max(findings, key=lambda f: (badness(f.status), f.value))] if findings else []


_TIMED = ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms", "chunk_gap_ms")
_OPEN_STATS = ("mean", "p50", "p90", "p99")
_OF_FEW = ("mean", "p99")
"""A few wide bounds affect these, even if nearly all stamps are exact."""
