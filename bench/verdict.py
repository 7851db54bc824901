"""Is the measurement good? The signs of a bad one, each with its limits, and what they add up to.

A sign is one function: evidence in, its findings out (none where this run cannot show it). A new sign is one function, one
line in SIGNS and one band in Limits. The verdict is the worst finding; it stands before any other number of a report.
A sign measures nothing: it takes numbers of the summary, at most divides one by another, and holds the result against its
band, so that the reader can check it. It speaks of what can have harmed a number: a client that was late is not judged where
kernel stamps and punctual sends show that no number is late by it.
Bands: docs/metrics.md, "Is the measurement good?". Every limit is configuration (`limits:` in the YAML file).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Status(StrEnum):
    """What a verdict can be, from good to bad."""

    VALID = "VALID"
    SUSPECT = "SUSPECT"
    INVALID = "INVALID"
    FAILED = "FAILED"
    """The target failed: what there is of numbers is not about the load that was asked for."""


class Band(BaseModel):
    """Where a sign begins to be suspect, where it makes the run invalid, and where the target has failed (None: never)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suspect: float
    invalid: float | None = None
    failed: float | None = None

    def of(self, value: float) -> Status:
        """Where a value lies."""
        if self.failed is not None and value > self.failed:
            return Status.FAILED
        if self.invalid is not None and value > self.invalid:
            return Status.INVALID
        return Status.SUSPECT if value > self.suspect else Status.VALID


def _band(suspect: float, invalid: float | None = None, failed: float | None = None) -> Band:
    return Band(suspect=suspect, invalid=invalid, failed=failed)


class Limits(BaseModel):
    """The bands of all signs. Where a sign has an absolute and a relative band, both must be passed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    send_lateness_p99_ms: Band = _band(1.0, 10.0)
    send_lateness_p99_of_ttft: Band = _band(0.01, 0.10)
    ready_not_sent: Band = _band(0.01, 0.05)
    ready_not_sent_ms: Band = _band(1.0, 10.0)
    pause_of_run: Band = _band(0.01, 0.05)
    pause_ms: Band = _band(100.0, 100.0)
    sent_rate_off: Band = _band(0.01, 0.05)
    sent_rate_off_ms: Band = _band(10.0, 50.0)
    sent_dispersion_off: Band = _band(0.05, 0.25)
    waited_at_cap: Band = _band(0.01)
    user_stamps: Band = _band(0.01, 0.01)
    loop_lag_p99_ms: Band = _band(1.0, 10.0)
    loop_lag_p99_of_gap: Band = _band(0.05, 0.50)
    cpu_busy_seconds: Band = _band(0.10, 0.50)
    workers_died: Band = _band(0.0, 0.0)
    run_queue_wait: Band = _band(0.02, 0.10)
    wide_stamps: Band = _band(0.05)
    wide_stamps_ms: Band = _band(0.2)
    wide_stamps_p99: Band = _band(0.25)
    wide_stamps_p99_ms: Band = _band(0.5)
    littles_law_off: Band = _band(0.005, 0.05)
    records_missing: Band = _band(0.0, 0.01)
    errors: Band = _band(0.01, failed=0.5)
    target_gone: Band = _band(0.01, failed=0.01)
    cache_hits_unplanned: Band = _band(0.02)
    output_tokens_off: Band = _band(0.02)
    usage_off: Band = _band(0.01)
    usage_contradicted: Band = _band(0.0, 0.05)
    usage_over_counted: Band = _band(2.0)
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
        return [f.sentence for f in sorted(bad, key=lambda f: _badness(f.status), reverse=True)]

    def of(self, sign: str) -> Status:
        """The worst finding of one sign; VALID where it found nothing."""
        return _worst(f.status for f in self.findings if f.sign == sign)

    def to_json(self) -> dict[str, Any]:
        """As it stands in summary.json."""
        return {"status": str(self.status), "reasons": self.reasons}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvidence:
    """What the signs look at. `summary` is the content of summary.json, `calibration` a certificate where there is one, and
    `prefix_cache` what prompts shared on purpose and the server counted (as in summary.json).

    `open_loop`: a schedule decided when requests were sent. `exact_lengths`: the server was told to stop at no end token.
    """

    summary: Mapping[str, Any]
    open_loop: bool
    exact_lengths: bool
    calibration: Mapping[str, Any] | None = None
    prefix_cache: Mapping[str, Any] | None = None
    sharing_known: bool = True
    """Whether it is known what prompts share on purpose; of the turns of a session it is not."""
    died: Sequence[str] = ()
    """Workers that died, and how: one sentence's beginning each."""
    priority_remedy: str | None = None
    """How the client would get the priority that wakes it at once; None where it had it."""


def judge(evidence: RunEvidence, limits: Limits) -> Verdict:
    """All signs that this run can show, and the worst of them."""
    findings = tuple(finding for sign in SIGNS.values() for finding in sign(evidence, limits))
    return Verdict(_worst(f.status for f in findings), findings)


def _badness(status: Status) -> int:
    return list(Status).index(status)


def _worst(statuses: Iterable[Status]) -> Status:
    return max(statuses, key=_badness, default=Status.VALID)


def _both(first: Status, second: Status) -> Status:
    """Of an absolute and a relative band, the milder one counts: both must be passed."""
    return min(first, second, key=_badness)


def _p50(summary: Mapping[str, Any], metric: str) -> float | None:
    value = summary["latency"][metric]["p50"]
    return None if value is None else float(value)


def send_lateness(evidence: RunEvidence, limits: Limits) -> list[Finding]:
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


def ready_not_sent(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Closed loop: a user whose next request waits in the client is not the load that was asked for."""
    row = evidence.summary["load"]["ready_not_sent"]
    if row is None:
        return []
    share = row["share"]
    status = _both(limits.ready_not_sent.of(share), limits.ready_not_sent_ms.of(row["typical_ms"]))
    sentence = (
        f"users were ready and their next request was not sent in {share:.1%} of their time (up to "
        f"{row['longest_ms']:.0f} ms at once): the client was busy or stood still"
    )
    return [Finding("ready_not_sent", status, share, sentence)]


def pause(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """A worker that stood still sent nothing and read nothing meanwhile."""
    row = evidence.summary["instrument"]["pause"]
    if row is None or row["share_of_run"] is None:
        return []
    length_ms, share = row["longest_ms"], row["share_of_run"]
    status = _both(limits.pause_ms.of(length_ms), limits.pause_of_run.of(share))
    who = f"worker {row['worker']}" if evidence.summary["instrument"]["workers"] > 1 else "the client"
    sentence = (
        f"{who} stood still for {length_ms / 1000:.2f} s, {share:.1%} of the run: it sent and read nothing meanwhile"
    )
    return [Finding("pause", status, length_ms, sentence)]


def sent_rate(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Open loop: the rate that was sent against the rate of the very plan that was drawn, never against R itself."""
    plan = evidence.summary["load"]["plan"]
    if plan is None or plan["rate_difference"] is None:
        return []
    off = abs(plan["rate_difference"])
    sentence = (
        f"sent {plan['sent_rps']:.2f} requests/s where the drawn plan has {plan['planned_rps']:.2f} ({off:.1%} apart)"
    )
    # A few sends in a few ms have another rate where one of them is a ms late: that is lateness, and has its sign.
    status = _both(limits.sent_rate_off.of(off), limits.sent_rate_off_ms.of(abs(plan["span_difference_ms"])))
    return [Finding("sent_rate", status, off, sentence)]


def sent_dispersion(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Open loop: whether bursts were made or smoothed away. Index of dispersion of the counts per 10 mean gaps."""
    plan = evidence.summary["load"]["plan"]
    if plan is None or plan["dispersion_ratio"] is None:
        return []
    ratio = plan["dispersion_ratio"]
    sentence = f"the sent requests are {ratio:.2f} times as bursty as the drawn plan (dispersion of the counts)"
    return [Finding("sent_dispersion", limits.sent_dispersion_off.of(abs(ratio - 1)), ratio, sentence)]


def waited_at_cap(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Open loop with a cap: where arrivals wait at it, or are dropped there, the cap set the rate and not the schedule."""
    waits = evidence.summary["load"]["waited_at_cap"]
    counts = evidence.summary["counts"]
    arrivals = sum(counts["by_outcome"].values())
    if waits is None or not arrivals:
        return []
    share = (waits["n"] + counts["dropped"]) / arrivals
    sentence = f"{share:.1%} of the arrivals found no free slot under --max-concurrency: the cap set the rate"
    return [Finding("waited_at_cap", limits.waited_at_cap.of(share), share, sentence)]


def loop_lag(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """User stamps are late by what the loop is late; kernel stamps are not."""
    instrument = evidence.summary["instrument"]
    lag = instrument["loop_lag_ms"]
    if lag is None or lag["p99"] is None or _user_stamps(evidence, limits) is Status.VALID:
        return []
    p99 = lag["p99"]
    status = limits.loop_lag_p99_ms.of(p99)
    gap = _p50(evidence.summary, "chunk_gap_ms")
    of = ""
    if gap:
        status = _both(status, limits.loop_lag_p99_of_gap.of(p99 / gap))
        of = f", {p99 / gap:.0%} of the median gap between tokens"
    return [Finding("loop_lag", status, p99, f"the client's event loop was late: p99 {p99:.2f} ms{of}")]


def _user_stamps(evidence: RunEvidence, limits: Limits) -> Status:
    """Whether enough requests have stamps of the client's own to harm a number where the client is late."""
    clock = evidence.summary["instrument"]["clock"]
    requests = sum(clock.values())
    return limits.user_stamps.of((clock["user"] + clock["mixed"]) / requests) if requests else Status.VALID


def cpu(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """A worker that has no processor time left measures itself."""
    row = evidence.summary["instrument"]["cpu"]
    if row is None:
        return []
    share = row["seconds_over_90"]
    sentence = f"the client used over 90% of a processor in {share:.0%} of its seconds: it may be the bottleneck"
    return [Finding("cpu", limits.cpu_busy_seconds.of(share), share, sentence)]


def workers(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """A worker that died took its share of the load with it: what is left is another load."""
    died = evidence.died
    if not died:
        return []
    # A worker that died before its first sample is in no other count.
    share = len(died) / max(evidence.summary["instrument"]["workers"], len(died))
    whose = "its" if len(died) == 1 else "their"
    sentence = f"{'; '.join(died)}: {whose} share of the load was not sent from then on"
    return [Finding("workers", limits.workers_died.of(share), share, sentence)]


def run_queue(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Time in which the client was ready to run and other programs had the processors, as far as it can have harmed a number.

    Stamps of the client's own are late by it. Kernel stamps are not: then it harms what is sent, which has signs of its own,
    and this one says why they speak.
    """
    row = evidence.summary["instrument"]["run_queue"]
    if row is None:
        return []
    share = row["mean"]
    sends = _worst(f.status for sign in (send_lateness, ready_not_sent) for f in sign(evidence, limits))
    harm = _worst((_user_stamps(evidence, limits), sends))
    what = "what it sent" if harm is sends else "its time stamps"
    sentence = (
        f"the client waited for a processor {share:.1%} of the time, and {what} can be late by it: other programs keep this "
        "machine busy"
    )
    if evidence.priority_remedy is not None:
        sentence += f" ({evidence.priority_remedy})"
    return [Finding("run_queue", _both(limits.run_queue_wait.of(share), harm), share, sentence)]


def wide_stamps(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Chunks that shared a read have one stamp for several: a latency that this leaves open is known within bounds only."""
    latency = evidence.summary["latency"]
    findings = []
    for key, stat in product(_TIMED, _OPEN_STATS):
        value = latency[key].get(stat)
        if value is None:
            continue
        least, greatest = latency[key].get("bounds", {}).get(stat, (value, value))
        absolute, relative = limits.wide_stamps_ms, limits.wide_stamps
        if stat in _OF_FEW:
            absolute, relative = limits.wide_stamps_p99_ms, limits.wide_stamps_p99
        width_ms = greatest - least
        share = width_ms / value if value > 0 else float(width_ms > 0)
        name, what = _TIMED[key], "average" if stat == "mean" else stat
        sentence = (
            f"{what} of {name} is only known to lie between {least:.2f} and {greatest:.2f} ms: tokens shared reads"
        )
        findings.append(Finding("wide_stamps", _both(absolute.of(width_ms), relative.of(share)), share, sentence))
    return [max(findings, key=lambda f: (_badness(f.status), f.value))] if findings else []


_TIMED = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "itl_ms": "ITL", "e2el_ms": "E2EL", "chunk_gap_ms": "chunk gap"}
_OPEN_STATS = ("mean", "p50", "p90", "p99")
_OF_FEW = ("mean", "p99")
"""A few loose stamps open these, also where nearly all are exact."""


def littles_law(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Two independent accounts of what was in flight, and of how many requests there were: a check of our own bookkeeping."""
    law = evidence.summary["load"]["littles_law"]
    findings = []
    if law["dispatched"]:
        missing = abs(law["dispatched"] - law["records"])
        sentence = (
            f"the dispatcher handed {law['dispatched']:,} requests over and there are {law['records']:,} records: what is "
            "missing is in no number"
        )
        share = missing / law["dispatched"]
        findings.append(Finding("littles_law", limits.records_missing.of(share), share, sentence))
    if law["difference"] is None:
        return findings
    off = abs(law["difference"])
    sentence = (
        f"Little's law is {off:.2%} off: the dispatcher counted {law['dispatcher_mean']:.3f} requests in flight, "
        f"the records add up to {law['records_mean']:.3f}"
    )
    return [*findings, Finding("littles_law", limits.littles_law_off.of(off), off, sentence)]


def errors(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Failed requests have no latency: a server that sheds its load looks fast."""
    counts = evidence.summary["counts"]
    tried = counts["succeeded"] + counts["failed"]
    if not tried:
        return []
    share = counts["failed"] / tried
    if counts["succeeded"]:
        sentence = (
            f"{counts['failed']:,} of {tried:,} requests failed ({share:.1%}): the latencies are those of the others"
        )
    else:
        sentence = f"every request failed, all {tried:,}: there are no latencies"
    if counts["failed_unsent"]:
        sentence += (
            f"; of the failed, {counts['failed'] - counts['failed_unsent']:,} were sent and {counts['failed_unsent']:,} were "
            "not, because no connection came about"
        )
    return [Finding("errors", limits.errors.of(share), share, sentence)]


def target_gone(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """A target that is gone for the rest of the run: what was measured before is not the run that was asked for."""
    counts = evidence.summary["counts"]
    gone, tried = counts["target_gone"], counts["succeeded"] + counts["failed"]
    if gone is None or not tried:
        return []
    share = gone["requests"] / tried
    since = (
        "never answered" if gone["since_s"] is None else f"gave its last answer {gone['since_s']:.1f} s into the run"
    )
    sentence = f"the target {since}: the last {gone['requests']:,} requests found nobody, or lost their connection"
    return [Finding("target_gone", limits.target_gone.of(share), share, sentence)]


def cache_hits(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Prompt tokens that the server found in its cache beyond what prompts share on purpose: it had less to do than asked.

    By the server's metrics, or by what its replies say.
    """
    if not evidence.sharing_known:
        return []
    cache = evidence.prefix_cache or {}
    said = evidence.summary["tokens"]["cached"]["share_beyond_head"]
    shares = [share for share in (cache.get("measured_share"), said) if share is not None]
    if not shares:
        return []
    planned = cache.get("planned_share") or 0.0
    beyond = max(shares) - planned
    sentence = (
        f"the server took {max(shares):.1%} of the prompt tokens from its cache, where {planned:.1%} was planned: prompts "
        "that it had seen before make TTFT shorter"
    )
    return [Finding("cache_hits", limits.cache_hits_unplanned.of(beyond), beyond, sentence)]


def output_tokens(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Where lengths were asked for exactly, other lengths are another load."""
    share = evidence.summary["tokens"]["asked_against_got"]["output"]["share"]
    if not evidence.exact_lengths or share is None:
        return []
    sentence = f"{share:.1%} of the replies do not have the output tokens that were asked for"
    return [Finding("output_tokens", limits.output_tokens_off.of(share), share, sentence)]


def usage(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """The server's token counts against our own count of the text.

    Where the counts of the prompts agree, the tokenizer is the server's. A reply's text may still make another number of
    tokens than the server generated: a model does not always choose the tokens that its text would be cut into. Then only
    counts that are far apart are a sign.
    """
    tokens = evidence.summary["tokens"]
    found, prompts = tokens["mismatch"], tokens["asked_against_got"]["input"]
    share, times = found["share"], found["usage_over_counted"]
    if share is None:
        return []
    sentence = f"the server's usage differs from our count of the text in {share:.1%} of the replies"
    status = limits.usage_off.of(share)
    if prompts["compared"] and not prompts["differ"]:
        sentence += ", while every prompt has the tokens that we counted"
        far = limits.usage_over_counted.of(max(times, 1 / times)) if times else status
        status = _both(status, far)
        if times:
            sentence += f"; over all replies it says {times:.2f} times our count"
    elif prompts["compared"]:
        sentence += (
            f", and that of {prompts['differ']:,} of {prompts['compared']:,} prompts too: its tokenizer is another one"
        )
    return [Finding("usage", status, share, sentence)]


def usage_contradicted(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Token counts that cannot be true. They are not used, but a server that sends them may be wrong elsewhere too."""
    row = evidence.summary["tokens"]["contradicted"]
    if row["share"] is None:
        return []
    sentence = (
        f"the server's usage is impossible in {row['share']:.1%} of the replies and was not used there "
        f"(for example: {row['first']})"
    )
    return [Finding("usage_contradicted", limits.usage_contradicted.of(row["share"]), row["share"], sentence)]


def calibration(evidence: RunEvidence, limits: Limits) -> list[Finding]:
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


SIGNS: dict[str, Callable[[RunEvidence, Limits], list[Finding]]] = {
    "send_lateness": send_lateness,
    "ready_not_sent": ready_not_sent,
    "pause": pause,
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
    "target_gone": target_gone,
    "cache_hits": cache_hits,
    "output_tokens": output_tokens,
    "usage": usage,
    "usage_contradicted": usage_contradicted,
    "calibration": calibration,
}
