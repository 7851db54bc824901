"""Is the measurement good? The signs of a bad one, each with its limits, and what they add up to.

A sign is one function: evidence in, its findings out (none where this run cannot show it). A new sign is one function, one
line in SIGNS and one band in Limits. The verdict is the worst finding; it stands before any other number of a report.
The signs compute nothing of their own: each looks at a number that the summary shows, so that the reader can check it.
Bands: docs/metrics.md, "Is the measurement good?". Every limit is configuration (`limits:` in the YAML file).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


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
    workers_died: Band = _band(0.0, 0.0)
    run_queue_wait: Band = _band(0.02, 0.10)
    wide_stamps: Band = _band(0.05)
    littles_law_off: Band = _band(0.005, 0.05)
    errors: Band = _band(0.01)
    output_tokens_off: Band = _band(0.02)
    usage_off: Band = _band(0.01)
    usage_contradicted: Band = _band(0.0, 0.05)
    calibration_p50_p90_share: Band = _band(0.01, 0.05)
    calibration_p50_p90_ms: Band = _band(0.2, 1.0)
    calibration_p99_share: Band = _band(0.02, 0.10)
    calibration_p99_ms: Band = _band(0.5, 2.0)
    calibration_throughput_share: Band = _band(0.01, 0.05)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        """A file that gives one limit of a band leaves the other one where it is."""
        if not isinstance(given, Mapping):
            return given
        bands = {name: field.default.model_dump() for name, field in cls.model_fields.items()}
        return {
            name: {**bands[name], **band} if name in bands and isinstance(band, Mapping) else band
            for name, band in given.items()
        }


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

    def of(self, sign: str) -> Status:
        """The worst finding of one sign; VALID where it found nothing."""
        order = list(Status)
        return max((f.status for f in self.findings if f.sign == sign), key=order.index, default=Status.VALID)

    def told(self) -> dict[str, Any]:
        """As it stands in summary.json."""
        return {"status": str(self.status), "reasons": self.reasons}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the signs look at. `summary` is the content of summary.json, `calibration` a certificate where there is one.

    `open_loop`: a schedule decided when requests were sent. `exact_lengths`: the server was told to stop at no end token.
    """

    summary: Mapping[str, Any]
    open_loop: bool
    exact_lengths: bool
    calibration: Mapping[str, Any] | None = None
    died: Sequence[str] = ()
    """Workers that died, and how: one sentence's beginning each."""


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
    value = summary["latency"][metric]["p50"]
    return None if value is None else float(value)


def send_lateness(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Open loop: requests that left late were not the load that was asked for."""
    p99 = evidence.summary["instrument"]["send_lateness_ms"]["p99"]
    if not evidence.open_loop or p99 is None:
        return []
    status = limits.send_lateness_p99_ms.of(p99)
    metric, median = "TTFT", _p50(evidence.summary, "ttft_ms")
    if median is None:
        metric, median = "E2EL", _p50(evidence.summary, "e2el_ms")
    of = ""
    if median:
        status = _both(status, limits.send_lateness_p99_of_ttft.of(p99 / median))
        of = f", {p99 / median:.1%} of the median {metric}"
    return [Finding("send_lateness", status, p99, f"requests left late: p99 {p99:.2f} ms{of}; the client was busy")]


def sent_rate(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Open loop: the rate that was sent against the rate of the very plan that was drawn, never against R itself."""
    plan = evidence.summary["load"]["plan"]
    if plan is None or plan["rate_difference"] is None:
        return []
    off = abs(plan["rate_difference"])
    sentence = (
        f"sent {plan['sent_rps']:.2f} requests/s where the drawn plan has {plan['planned_rps']:.2f} ({off:.1%} apart)"
    )
    return [Finding("sent_rate", limits.sent_rate_off.of(off), off, sentence)]


def sent_dispersion(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Open loop: whether bursts were made or smoothed away. Index of dispersion of the counts per 10 mean gaps."""
    plan = evidence.summary["load"]["plan"]
    if plan is None or plan["dispersion_ratio"] is None:
        return []
    ratio = plan["dispersion_ratio"]
    sentence = f"the sent requests are {ratio:.2f} times as bursty as the drawn plan (dispersion of the counts)"
    return [Finding("sent_dispersion", limits.sent_dispersion_off.of(abs(ratio - 1)), ratio, sentence)]


def waited_at_cap(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Open loop with a cap: where arrivals wait at it, or are dropped there, the cap set the rate and not the schedule."""
    waits = evidence.summary["load"]["waited_at_cap"]
    counts = evidence.summary["counts"]
    arrivals = sum(counts["by_outcome"].values())
    if waits is None or not arrivals:
        return []
    share = (waits["n"] + counts["dropped"]) / arrivals
    sentence = f"{share:.1%} of the arrivals found no free slot under --max-concurrency: the cap set the rate"
    return [Finding("waited_at_cap", limits.waited_at_cap.of(share), share, sentence)]


def loop_lag(evidence: Evidence, limits: Limits) -> list[Finding]:
    """User stamps are late by what the loop is late; kernel stamps are not."""
    instrument = evidence.summary["instrument"]
    lag = instrument["loop_lag_ms"]
    if lag is None or lag["p99"] is None or not instrument["clock"]["user"] + instrument["clock"]["mixed"]:
        return []
    p99 = lag["p99"]
    status = limits.loop_lag_p99_ms.of(p99)
    gap = _p50(evidence.summary, "chunk_gap_ms")
    of = ""
    if gap:
        status = _both(status, limits.loop_lag_p99_of_gap.of(p99 / gap))
        of = f", {p99 / gap:.0%} of the median gap between tokens"
    return [Finding("loop_lag", status, p99, f"the client's event loop was late: p99 {p99:.2f} ms{of}")]


def cpu(evidence: Evidence, limits: Limits) -> list[Finding]:
    """A worker that has no processor time left measures itself."""
    row = evidence.summary["instrument"]["cpu"]
    if row is None:
        return []
    share = row["seconds_over_90"]
    sentence = f"the client used over 90% of a processor in {share:.0%} of its seconds: it may be the bottleneck"
    return [Finding("cpu", limits.cpu_busy_seconds.of(share), share, sentence)]


def workers(evidence: Evidence, limits: Limits) -> list[Finding]:
    """A worker that died took its share of the load with it: what is left is another load."""
    died = evidence.died
    if not died:
        return []
    # A worker that died before its first sample is in no other count.
    share = len(died) / max(evidence.summary["instrument"]["workers"], len(died))
    whose = "its" if len(died) == 1 else "their"
    sentence = f"{'; '.join(died)}: {whose} share of the load was not sent from then on"
    return [Finding("workers", limits.workers_died.of(share), share, sentence)]


def run_queue(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Time in which the client was ready to run and other programs had the processors."""
    row = evidence.summary["instrument"]["run_queue"]
    if row is None:
        return []
    share = row["mean"]
    sentence = f"the client waited for a processor {share:.1%} of the time: other programs keep this machine busy"
    return [Finding("run_queue", limits.run_queue_wait.of(share), share, sentence)]


def wide_stamps(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Chunks that shared a read have one stamp for several: how many of them are bounded only loosely."""
    share = evidence.summary["instrument"]["stamp_bounds"]["wide_share"]
    if share is None:
        return []
    sentence = f"{share:.1%} of the token chunks came several in one read: their times are known only within bounds"
    return [Finding("wide_stamps", limits.wide_stamps.of(share), share, sentence)]


def littles_law(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Two independent accounts of what was in flight: a check of our own bookkeeping."""
    law = evidence.summary["load"]["littles_law"]
    if law["difference"] is None:
        return []
    off = abs(law["difference"])
    sentence = (
        f"Little's law is {off:.2%} off: the dispatcher counted {law['dispatcher_mean']:.3f} requests in flight, "
        f"the records add up to {law['records_mean']:.3f}"
    )
    return [Finding("littles_law", limits.littles_law_off.of(off), off, sentence)]


def errors(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Failed requests have no latency: a server that sheds its load looks fast."""
    counts = evidence.summary["counts"]
    tried = counts["succeeded"] + counts["failed"]
    if not tried:
        return []
    share = counts["failed"] / tried
    sentence = f"{share:.1%} of the requests failed: the latencies are those of the others"
    if not counts["succeeded"]:
        sentence = "every request failed: there are no latencies"
    return [Finding("errors", limits.errors.of(share), share, sentence)]


def output_tokens(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Where lengths were asked for exactly, other lengths are another load."""
    share = evidence.summary["tokens"]["asked_against_got"]["output"]["share"]
    if not evidence.exact_lengths or share is None:
        return []
    sentence = f"{share:.1%} of the replies do not have the output tokens that were asked for"
    return [Finding("output_tokens", limits.output_tokens_off.of(share), share, sentence)]


def usage(evidence: Evidence, limits: Limits) -> list[Finding]:
    """The server's token counts against our own count of the text."""
    share = evidence.summary["tokens"]["mismatch"]["share"]
    if share is None:
        return []
    sentence = (
        f"the server's usage differs from our count of the text in {share:.1%} of the replies: another tokenizer?"
    )
    return [Finding("usage", limits.usage_off.of(share), share, sentence)]


def usage_contradicted(evidence: Evidence, limits: Limits) -> list[Finding]:
    """Token counts that cannot be true. They are not used, but a server that sends them may be wrong elsewhere too."""
    row = evidence.summary["tokens"]["contradicted"]
    if row["share"] is None:
        return []
    sentence = (
        f"the server's usage is impossible in {row['share']:.1%} of the replies and was not used there "
        f"(for example: {row['first']})"
    )
    return [Finding("usage_contradicted", limits.usage_contradicted.of(row["share"]), row["share"], sentence)]


def calibration(evidence: Evidence, limits: Limits) -> list[Finding]:
    """What the mock's ledger says of the numbers at this load on this machine: of this run's own, or of an earlier one's."""
    certificate = evidence.calibration
    if certificate is None:
        return []
    own = certificate.get("from") != "certificate"
    findings = []
    for row in certificate.get("metrics", []):
        off_ms = _off_ms(row, certificate.get("network_ms"))
        share = abs(row["error_share"] or 0.0)
        if row["unit"] == "ms" and off_ms < abs(row["error"]):
            share *= off_ms / abs(row["error"])
        if row["stat"] in ("p50", "p90"):
            status = _both(limits.calibration_p50_p90_ms.of(off_ms), limits.calibration_p50_p90_share.of(share))
        elif row["stat"] == "p99":
            status = _both(limits.calibration_p99_ms.of(off_ms), limits.calibration_p99_share.of(share))
        else:
            continue
        unit = row["unit"]
        if own:
            sentence = (
                f"calibration: {row['stat']} of {row['metric']} reads {row['measured']:.3f} {unit} "
                f"where the truth is {row['true']:.3f} {unit} ({row['error']:+.3f} {unit})"
            )
        else:
            sentence = (
                f"calibration: at this load this machine read {row['stat']} of {row['metric']} {row['error']:+.3f} {unit} "
                f"wrong on {certificate['date'][:10]} ({share:.1%} of what it reads now)"
            )
        findings.append(Finding("calibration", status, off_ms, sentence))
    findings += _way_in(certificate, limits) if own else []
    for row in certificate.get("throughput", []):
        share = abs(row["error_share"] or 0.0)
        status = limits.calibration_throughput_share.of(share)
        sentence = (
            f"calibration: {row['metric']} reads {row['measured']:.2f} where the truth is {row['true']:.2f} "
            f"({share:.1%} off)"
        )
        findings.append(Finding("calibration", status, share, sentence))
    when, status = ("", Status.INVALID) if own else (f" of {certificate['date'][:10]}", Status.SUSPECT)
    findings += [
        Finding("calibration", status, 1.0, f"calibration{when}: {problem}")
        for problem in certificate.get("problems", [])
    ]
    return findings


def _way_in(certificate: Mapping[str, Any], limits: Limits) -> list[Finding]:
    """When requests were sent, against when the mock got them. The truth of a TTFT begins with the client's own `sent`: were
    that taken too early (before a connection is made) or too late, every other comparison would be blind to it."""
    ttft = [
        row["true"]
        for row in certificate["metrics"]
        if row["metric"].startswith(("ttft", "e2el")) and row["stat"] == "p50"
    ]
    way_in = certificate.get("way_in_ms", {"n": 0})
    if not ttft or not way_in["n"]:
        return []
    findings = []
    for stat in ("min", "p50", "p90", "p99"):
        off_ms = max(-way_in[stat], 0.0) if stat == "min" else abs(way_in[stat])
        tail = stat in ("min", "p99")
        absolute = limits.calibration_p99_ms if tail else limits.calibration_p50_p90_ms
        relative = limits.calibration_p99_share if tail else limits.calibration_p50_p90_share
        status = _both(absolute.of(off_ms), relative.of(off_ms / ttft[0] if ttft[0] else 0.0))
        sentence = (
            f"calibration: the mock got requests {way_in[stat]:+.3f} ms after the client says it sent them ({stat}): "
            "every latency from `sent` on has this in it"
        )
        findings.append(Finding("calibration", status, off_ms, sentence))
    return findings


_FROM_SENT = ("ttft", "ttfo", "e2el")


def _off_ms(row: Mapping[str, Any], network_ms: float | None) -> float:
    """The error in ms: of a speed that of its time per token; without a shared clock what lies beyond the network's least."""
    if row["unit"] != "ms":
        measured, true = row["measured"], row["true"]
        return abs(1000 / measured - 1000 / true) if measured and true else 0.0
    if network_ms is not None and row["metric"].startswith(_FROM_SENT):
        return abs(float(row["error"]) - network_ms)
    return abs(float(row["error"]))


SIGNS: dict[str, Callable[[Evidence, Limits], list[Finding]]] = {
    "send_lateness": send_lateness,
    "sent_rate": sent_rate,
    "sent_dispersion": sent_dispersion,
    "waited_at_cap": waited_at_cap,
    "loop_lag": loop_lag,
    "cpu": cpu,
    "workers": workers,
    "run_queue": run_queue,
    "wide_stamps": wide_stamps,
    "littles_law": littles_law,
    "errors": errors,
    "output_tokens": output_tokens,
    "usage": usage,
    "usage_contradicted": usage_contradicted,
    "calibration": calibration,
}
