"""Is the measurement good? The signs of a bad one, each with its limits, and what they add up to.

A sign is one function: evidence in, a Finding out (or None where this run cannot show it). A new sign is one function, one
line in SIGNS and one band in Limits. The verdict is the worst finding; it stands before any other number of a report.
Bands: docs/metrics.md, "Is the measurement good?". Every limit is configuration (`limits:` in the YAML file).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from bench.records import TOKEN_KINDS, Outcome, RequestRecord


class Status(StrEnum):
    """What a verdict can be, from good to bad."""

    VALID = "VALID"
    SUSPECT = "SUSPECT"
    INVALID = "INVALID"


class Band(BaseModel):
    """Where a sign begins to be suspect, and where it makes the run invalid (None: never)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suspect: float
    invalid: float | None = None

    def of(self, value: float) -> Status:
        """Where a value lies."""
        if self.invalid is not None and value > self.invalid:
            return Status.INVALID
        return Status.SUSPECT if value > self.suspect else Status.VALID


def _band(suspect: float, invalid: float | None = None) -> Band:
    return Band(suspect=suspect, invalid=invalid)


class Limits(BaseModel):
    """The bands of all signs. Where a sign has an absolute and a relative band, both must be passed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    send_lateness_p99_ms: Band = _band(1.0, 10.0)
    send_lateness_p99_of_ttft: Band = _band(0.01, 0.10)
    sent_rate_off: Band = _band(0.01, 0.05)
    sent_dispersion_off: Band = _band(0.05, 0.25)
    waited_at_cap: Band = _band(0.01)
    loop_lag_p99_ms: Band = _band(1.0, 10.0)
    loop_lag_p99_of_gap: Band = _band(0.05, 0.50)
    cpu_busy_seconds: Band = _band(0.10, 0.50)
    run_queue_wait: Band = _band(0.02, 0.10)
    wide_stamps: Band = _band(0.05)
    littles_law_off: Band = _band(0.005, 0.05)
    errors: Band = _band(0.01)
    output_tokens_off: Band = _band(0.02)
    usage_off: Band = _band(0.01)
    calibration_p50_p90_share: Band = _band(0.01, 0.05)
    calibration_p50_p90_ms: Band = _band(0.2, 1.0)
    calibration_p99_share: Band = _band(0.02, 0.10)
    calibration_p99_ms: Band = _band(0.5, 2.0)


WIDE_STAMP_NS = 100_000
WIDE_STAMP_OF_GAP = 0.01
"""A stamp is wide where its bound is further off than both: 0.1 ms, and 1 % of the median gap."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one sign says: its value, where that lies, and a sentence for people."""

    sign: str
    status: Status
    value: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The worst of the findings, and all of them."""

    status: Status
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> list[str]:
        """The sentences of what is not as it should be, the worst first."""
        bad = [f for f in self.findings if f.status is not Status.VALID]
        return [f.sentence for f in sorted(bad, key=lambda f: f.status is not Status.INVALID)]

    def told(self) -> dict[str, Any]:
        """As it stands in summary.json."""
        return {"status": str(self.status), "reasons": self.reasons}


class Evidence:
    """What the signs look at: folded from records and samples, with the numbers of the summary."""

    def __init__(self, *, open_loop: bool, exact_lengths: bool) -> None:
        self.open_loop = open_loop
        self.exact_lengths = exact_lengths
        self.planned_ns = array("q")
        self.sent_ns = array("q")
        self.waited = 0
        self.requests = 0
        self.ok = self.failed = 0
        self.token_chunks = 0
        self.bound_widths_ns = array("q")
        self.user_clock = False
        self.lengths_asked = self.lengths_off = 0
        self.usages_checked = self.usages_off = 0
        self.run_queue: list[float] = []
        self.summary: Mapping[str, Any] = {}
        self.calibration: Mapping[str, Any] | None = None

    def add(self, record: RequestRecord) -> None:
        """One record; those of the warm-up count in nothing."""
        if record.phase != "run":
            return
        self.requests += 1
        self.planned_ns.append(record.intended_ns)
        if record.eligible_ns is None or record.eligible_ns > record.intended_ns:
            self.waited += 1
        if record.sent_ns is not None:
            self.sent_ns.append(record.sent_ns)
        self.user_clock = self.user_clock or record.clock != "kernel"
        bearing = [kind in TOKEN_KINDS for kind in record.chunk_kind]
        self.token_chunks += sum(bearing)
        if record.chunk_bound_ns is not None:
            widths = zip(record.chunk_ns, record.chunk_bound_ns, bearing, strict=True)
            self.bound_widths_ns.extend(at - bound for at, bound, bears in widths if bears and bound is not None)
        if record.outcome is not Outcome.OK:
            self.failed += record.outcome not in (Outcome.INTERRUPTED, Outcome.DROPPED)
            return
        self.ok += 1
        if self.exact_lengths and record.output_tokens_asked is not None and record.output_tokens is not None:
            self.lengths_asked += 1
            self.lengths_off += record.output_tokens != record.output_tokens_asked
        if record.output_tokens_from == "usage" and record.output_tokens_counted is not None:
            self.usages_checked += 1
            self.usages_off += record.output_tokens != record.output_tokens_counted

    def add_sample(self, row: Mapping[str, Any]) -> None:
        """One line of samples.jsonl."""
        if row.get("run_queue_share") is not None:
            self.run_queue.append(row["run_queue_share"])


def judge(evidence: Evidence, limits: Limits) -> Verdict:
    """All signs that this run can show, and the worst of them."""
    findings = [finding for sign in SIGNS.values() for finding in sign(evidence, limits)]
    order = list(Status)
    worst = max((f.status for f in findings), key=order.index, default=Status.VALID)
    return Verdict(worst, tuple(findings))


def _both(first: Status, second: Status) -> Status:
    """Of an absolute and a relative band, the milder one counts: both must be passed."""
    order = list(Status)
    return min(first, second, key=order.index)


def _p50(summary: Mapping[str, Any], metric: str) -> float | None:
    row = summary.get("latency", {}).get(metric)
    value = row.get("p50") if isinstance(row, Mapping) else None
    return float(value) if value is not None else None


def send_lateness(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Open loop: requests that left late were not the load that was asked for."""
    row = evidence.summary.get("instrument", {}).get("send_lateness_ms")
    if not evidence.open_loop or not row or row.get("p99") is None:
        return []
    p99 = row["p99"]
    status = limits.send_lateness_p99_ms.of(p99)
    ttft = _p50(evidence.summary, "ttft_ms") or _p50(evidence.summary, "e2el_ms")
    if ttft:
        status = _both(status, limits.send_lateness_p99_of_ttft.of(p99 / ttft))
    of = f", {p99 / ttft:.1%} of the median TTFT" if ttft else ""
    return [Finding("send_lateness", status, p99, f"requests left late: p99 {p99:.2f} ms{of}; the client was busy")]


def sent_rate(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Open loop: the rate that was sent against the rate of the very plan that was drawn, never against R itself."""
    planned, sent = evidence.planned_ns, evidence.sent_ns
    if not evidence.open_loop or len(planned) < 2 or len(sent) < 2:
        return []
    planned_rate = len(planned) / max(max(planned) - min(planned), 1)
    sent_rate = len(sent) / max(max(sent) - min(sent), 1)
    off = abs(sent_rate / planned_rate - 1)
    sentence = (
        f"sent {sent_rate * 1e9:.2f} requests/s where the drawn plan has {planned_rate * 1e9:.2f} ({off:.1%} apart)"
    )
    return [Finding("sent_rate", limits.sent_rate_off.of(off), off, sentence)]


MIN_BINS = 20


def sent_dispersion(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Open loop: whether bursts were made or smoothed away. Index of dispersion of the counts per 10 mean gaps."""
    planned, sent = evidence.planned_ns, evidence.sent_ns
    if not evidence.open_loop or len(sent) < 10 * MIN_BINS:
        return []
    first, last = min(planned), max(planned)
    gap_ns = (last - first) / len(planned)
    # Half a gap before the first arrival: a metronome's arrivals then lie in the middle between the borders.
    origin, width = first - gap_ns / 2, 10 * gap_ns
    bins = int((last - origin) // width)
    ratio = (_dispersion(sent, origin, width, bins) + 0.01) / (_dispersion(planned, origin, width, bins) + 0.01)
    sentence = f"the sent requests are {ratio:.2f} times as bursty as the drawn plan (dispersion of the counts)"
    return [Finding("sent_dispersion", limits.sent_dispersion_off.of(abs(ratio - 1)), ratio, sentence)]


def _dispersion(instants: Sequence[int], origin: float, width: float, bins: int) -> float:
    counts = Counter(int((at - origin) // width) for at in instants)
    values = [counts.get(i, 0) for i in range(bins)]
    mean = sum(values) / bins
    return sum((v - mean) ** 2 for v in values) / (bins - 1) / mean


def waited_at_cap(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Open loop with a cap: where arrivals wait at it, the cap set the rate and not the schedule."""
    if not evidence.open_loop or not evidence.requests:
        return []
    share = evidence.waited / evidence.requests
    sentence = f"{share:.1%} of the arrivals found no free slot under --max-concurrency: the cap set the rate"
    return [Finding("waited_at_cap", limits.waited_at_cap.of(share), share, sentence)]


def loop_lag(evidence: Evidence, limits: Limits) -> list[Finding]:
    """User stamps are late by what the loop is late; kernel stamps are not."""
    row = evidence.summary.get("instrument", {}).get("loop_lag_ms")
    if not evidence.user_clock or not row or row.get("p99") is None:
        return []
    p99 = row["p99"]
    status = limits.loop_lag_p99_ms.of(p99)
    gap = _p50(evidence.summary, "chunk_gap_ms")
    if gap:
        status = _both(status, limits.loop_lag_p99_of_gap.of(p99 / gap))
    of = f", {p99 / gap:.0%} of the median gap between tokens" if gap else ""
    return [Finding("loop_lag", status, p99, f"the client's event loop was late: p99 {p99:.2f} ms{of}")]


def cpu(evidence: Evidence, limits: Limits) -> list[Finding]:
    """A worker that has no processor time left measures itself."""
    row = evidence.summary.get("instrument", {}).get("cpu")
    if not row or row.get("seconds_over_90") is None:
        return []
    share = row["seconds_over_90"]
    sentence = f"the client used over 90 % of a processor in {share:.0%} of its seconds: it may be the bottleneck"
    return [Finding("cpu", limits.cpu_busy_seconds.of(share), share, sentence)]


def run_queue(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Time in which the client was ready to run and other programs had the processors."""
    if not evidence.run_queue:
        return []
    share = sum(evidence.run_queue) / len(evidence.run_queue)
    sentence = f"the client waited for a processor {share:.1%} of the time: other programs keep this machine busy"
    return [Finding("run_queue", limits.run_queue_wait.of(share), share, sentence)]


def wide_stamps(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Chunks that shared a read have one stamp for several: how many of them are bounded only loosely."""
    if not evidence.token_chunks:
        return []
    gap = _p50(evidence.summary, "chunk_gap_ms")
    limit_ns = max(WIDE_STAMP_NS, WIDE_STAMP_OF_GAP * gap * 1e6 if gap else 0)
    share = sum(width > limit_ns for width in evidence.bound_widths_ns) / evidence.token_chunks
    sentence = f"{share:.1%} of the token chunks came several in one read: their times are known only within bounds"
    return [Finding("wide_stamps", limits.wide_stamps.of(share), share, sentence)]


def littles_law(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Two independent accounts of what was in flight: a check of our own bookkeeping."""
    row = evidence.summary.get("load", {}).get("littles_law")
    if not row or not row.get("dispatcher_mean") or row.get("records_mean") is None:
        return []
    off = abs(row["records_mean"] / row["dispatcher_mean"] - 1)
    sentence = (
        f"Little's law is {off:.2%} off: the dispatcher counted {row['dispatcher_mean']:.3f} requests in flight, "
        f"the records add up to {row['records_mean']:.3f}"
    )
    return [Finding("littles_law", limits.littles_law_off.of(off), off, sentence)]


def errors(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Failed requests have no latency: a server that sheds its load looks fast."""
    if not evidence.ok + evidence.failed:
        return []
    share = evidence.failed / (evidence.ok + evidence.failed)
    sentence = f"{share:.1%} of the requests failed: the latencies are those of the others"
    return [Finding("errors", limits.errors.of(share), share, sentence)]


def output_tokens(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Where lengths were asked for exactly, other lengths are another load."""
    if not evidence.lengths_asked:
        return []
    share = evidence.lengths_off / evidence.lengths_asked
    sentence = f"{share:.1%} of the replies do not have the output tokens that were asked for"
    return [Finding("output_tokens", limits.output_tokens_off.of(share), share, sentence)]


def usage(evidence: Evidence, limits: Limits) -> list[Finding]:
    """The server's token counts against our own count of the text."""
    if not evidence.usages_checked:
        return []
    share = evidence.usages_off / evidence.usages_checked
    sentence = (
        f"the server's usage differs from our count of the text in {share:.1%} of the replies: another tokenizer?"
    )
    return [Finding("usage", limits.usage_off.of(share), share, sentence)]


def calibration(evidence: Evidence, limits: Limits) -> list[Finding]:
    """What the mock's ledger says of the numbers at this load on this machine."""
    rows = evidence.calibration
    if rows is None:
        return []
    findings = []
    for row in rows.get("metrics", []):
        off_ms, share = abs(row["error_ms"]), abs(row["error_share"])
        if row["stat"] in ("p50", "p90"):
            status = _both(limits.calibration_p50_p90_ms.of(off_ms), limits.calibration_p50_p90_share.of(share))
        elif row["stat"] == "p99":
            status = _both(limits.calibration_p99_ms.of(off_ms), limits.calibration_p99_share.of(share))
        else:
            continue
        sentence = (
            f"calibration: {row['stat']} of {row['metric']} reads {row['measured_ms']:.3f} ms "
            f"where the truth is {row['true_ms']:.3f} ms ({row['error_ms']:+.3f} ms)"
        )
        findings.append(Finding("calibration", status, off_ms, sentence))
    findings += [Finding("calibration", Status.INVALID, 1.0, f"calibration: {p}") for p in rows.get("problems", [])]
    return findings


SIGNS: dict[str, Callable[[Evidence, Limits], list[Finding]]] = {
    "send_lateness": send_lateness,
    "sent_rate": sent_rate,
    "sent_dispersion": sent_dispersion,
    "waited_at_cap": waited_at_cap,
    "loop_lag": loop_lag,
    "cpu": cpu,
    "run_queue": run_queue,
    "wide_stamps": wide_stamps,
    "littles_law": littles_law,
    "errors": errors,
    "output_tokens": output_tokens,
    "usage": usage,
    "calibration": calibration,
}
