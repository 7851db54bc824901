"""The calibration: what the ledger of the mock says of the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Finding, Status, milder
from bench.verdict.limits import Limits


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
        if own and _said_to_be_open(row):
            continue
        if row["stat"] in ("p50", "p90"):
            status = milder(limits.calibration_p50_p90_ms.of(off_ms), limits.calibration_p50_p90_share.of(share))
        elif row["stat"] == "p99":
            status = milder(limits.calibration_p99_ms.of(off_ms), limits.calibration_p99_share.of(share))
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


def _said_to_be_open(row: Mapping[str, Any]) -> bool:
    """Whether stamps leave the number more open than it is large, and the truth is inside: reports then print what it lies
    between in its place."""
    if row.get("allowed") is None:
        return False
    least, greatest = row["allowed"]
    if greatest is None:
        return bool(row["true"] >= least)
    return bool(greatest - least > row["measured"] and least <= row["true"] <= greatest)


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
        status = milder(absolute.of(off_ms), relative.of(off_ms / ttft[0] if ttft[0] else 0.0))
        sentence = (
            f"calibration: the mock got requests {way_in[stat]:+.3f} ms after the client says it sent them ({stat}): "
            "every latency from `sent` on has this in it"
        )
        findings.append(Finding("calibration", status, off_ms, sentence))
    return findings


_FROM_SENT = ("ttft", "ttfo", "e2el", "job")


def _off_ms(row: Mapping[str, Any], network_ms: float | None) -> float:
    """The error in ms: of a speed that of its time per token; without a shared clock what lies beyond the network's least."""
    if row["unit"] != "ms":
        measured, true = row["measured"], row["true"]
        return abs(1000 / measured - 1000 / true) if measured and true else 0.0
    if network_ms is not None and row["metric"].startswith(_FROM_SENT):
        return abs(float(row["error"]) - network_ms)
    return abs(float(row["error"]))
