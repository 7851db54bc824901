"""The calibration: the numbers against the mock's ledger."""

from __future__ import annotations

from msgspec import UNSET

from bench.results.certificate import FROM_SENT, KnownCalibration, KnownErrorRow, LedgerCalibration, NumberRow
from bench.results.metric_titles import in_sentence
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Finding, Status, milder
from bench.verdict.limits import Limits


def calibration(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """A calibration found an error, of this run or of an earlier one at such a load on this machine."""
    result = evidence.calibration
    if isinstance(result, LedgerCalibration):
        return [*_of_ledger(result, limits), *_problems(result, "", Status.INVALID)]
    if isinstance(result, KnownCalibration):
        return [*_of_earlier(result, limits), *_problems(result, f" of {result.date[:10]}", Status.SUSPECT)]
    return []


def _of_ledger(result: LedgerCalibration, limits: Limits) -> list[Finding]:
    findings = []
    targets = () if result.per_target is UNSET else result.per_target
    of_targets = ((f" of replica {target.name}", row) for target in targets for row in target.metrics)
    reported = set()
    for whose, row in (*(("", row) for row in result.metrics), *of_targets):
        off_ms = _off_ms(row, result.network_ms)
        # Without reasoning and with one token a chunk, TTFO equals TTFT and the chunk gap equals ITL: report an error
        # once.
        same = (whose, row.stat, row.measured, row.true)
        if same in reported or _said_to_be_open(row) or (status := _status(row, off_ms, limits)) is None:
            continue
        reported.add(same)
        unit = f" {row.unit}" if row.unit else ""
        sentence = (
            f"calibration: {_named(row)}{whose} reads {row.measured:.3f}{unit}; "
            f"the true value is {row.true:.3f}{unit} ({row.error:+.3f}{unit})"
        )
        findings.append(Finding("calibration", status, off_ms, sentence))
    findings += _way_in(result, limits)
    findings += _seen_before_written(result, limits)
    for row in result.throughput:
        share = abs(row.error_share or 0.0)
        status = limits.calibration_throughput_share.of(share)
        sentence = (
            f"calibration: {row.metric} reads {row.measured:.2f}; the true value is {row.true:.2f} ({share:.1%} off)"
        )
        findings.append(Finding("calibration", status, share, sentence))
    return findings


def _of_earlier(result: KnownCalibration, limits: Limits) -> list[Finding]:
    findings = []
    for row in result.metrics:
        off_ms = abs(float(row.error))
        if (status := _status(row, off_ms, limits)) is not None:
            sentence = (
                f"calibration: on {result.date[:10]}, at this load, {_named(row)} was {row.error:+.3f} {row.unit} off on "
                f"this machine ({_share(row, off_ms):.1%} of what it reads now)"
            )
            findings.append(Finding("calibration", status, off_ms, sentence))
    return findings


def _named(row: NumberRow | KnownErrorRow) -> str:
    return f"{'median' if row.stat == 'p50' else row.stat} of {in_sentence(row.metric)}"


def _problems(result: LedgerCalibration | KnownCalibration, when: str, status: Status) -> list[Finding]:
    return [Finding("calibration", status, 1.0, f"calibration{when}: {problem}") for problem in result.problems]


def _share(row: NumberRow | KnownErrorRow, off_ms: float) -> float:
    """The error as a share, without the part that does not count against the run."""
    share = abs(row.error_share or 0.0)
    return share * off_ms / abs(row.error) if row.unit == "ms" and off_ms < abs(row.error) else share


def _status(row: NumberRow | KnownErrorRow, off_ms: float, limits: Limits) -> Status | None:
    """The status by the band of the row's statistic. Returns None for statistics without a band."""
    share = _share(row, off_ms)
    if row.stat in ("p50", "p90"):
        return milder(limits.calibration_p50_p90_ms.of(off_ms), limits.calibration_p50_p90_share.of(share))
    if row.stat == "p99":
        return milder(limits.calibration_p99_ms.of(off_ms), limits.calibration_p99_share.of(share))
    return None


def _said_to_be_open(row: NumberRow) -> bool:
    """Whether the stamps' bounds are wider than the number itself, and the truth is inside: reports then print the
    bounds instead of the number."""
    if row.allowed is None:
        return False
    least, greatest = row.allowed
    if least is not None and row.true < least:
        return False
    if greatest is None or least is None:
        return True
    return greatest - least > row.measured and row.true <= greatest


def _way_in(result: LedgerCalibration, limits: Limits) -> list[Finding]:
    """When requests were sent, against when the mock received them. The true TTFT starts with the client's own `sent`:
    if that were stamped too early (before a connection is made) or too late, no other comparison would notice."""
    ttft = [row.true for row in result.metrics if row.metric.startswith(("ttft", "e2el")) and row.stat == "p50"]
    way_in = result.way_in_ms
    if not ttft or not way_in.n:
        return []
    findings = []
    for stat in ("min", "p50", "p90", "p99"):
        value = way_in.of(stat) or 0.0
        off_ms = max(-value, 0.0) if stat == "min" else abs(value)
        tail = stat in ("min", "p99")
        absolute = limits.calibration_p99_ms if tail else limits.calibration_p50_p90_ms
        relative = limits.calibration_p99_share if tail else limits.calibration_p50_p90_share
        status = milder(absolute.of(off_ms), relative.of(off_ms / ttft[0] if ttft[0] else 0.0))
        sentence = (
            f"calibration: the mock got requests {value:+.3f} ms after the client says it sent them ({stat}): "
            "every latency from `sent` on includes this"
        )
        findings.append(Finding("calibration", status, off_ms, sentence))
    return findings


def _seen_before_written(result: LedgerCalibration, limits: Limits) -> list[Finding]:
    """A chunk arrives after it was written. An earlier arrival is an error, however small relative to its latency."""
    early_ms = -(result.observation_lag_ms.min or 0.0)
    if early_ms <= 0:
        return []
    sentence = (
        f"calibration: a chunk arrived {early_ms:.3f} ms before the mock wrote it: time stamps or the ledger are wrong"
    )
    return [Finding("calibration", limits.calibration_p99_ms.of(early_ms), early_ms, sentence)]


def _off_ms(row: NumberRow, network_ms: float | None) -> float:
    """The error in ms; for a speed, the error of its time per token. Without a shared clock, the part beyond the least
    network time."""
    if not row.unit:
        return 0.0  # A ratio's latency is judged instead.
    if row.unit != "ms":
        measured, true = row.measured, row.true
        return abs(1000 / measured - 1000 / true) if measured and true else 0.0
    if network_ms is not None and row.metric in (*FROM_SENT, "job_ms"):
        return abs(float(row.error) - network_ms)
    return abs(float(row.error))
