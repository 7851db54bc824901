"""The evidence of a perfect run, with changes, and its verdict."""

from __future__ import annotations

import copy
from typing import Any

from bench.records import NO_FAILURE, Outcome
from bench.results.certificate import KnownCalibration, KnownErrorRow, LedgerCalibration
from bench.results.server import Server
from bench.results.summary import ClassNumbers, SummaryNumbers
from bench.server_metrics.prefix_cache import ComparedCache
from bench.verdict import judge
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Verdict
from bench.verdict.limits import Limits
from tests.support.results import filled

CALIBRATION = {"metric": "ttft_ms", "unit": "ms", "measured": 50.0, "true": 50.0, "error": 0.0, "error_share": 0.0}


def class_of(**by_outcome: int) -> ClassNumbers:
    """A class of traffic whose requests ended in this way."""
    failed = sum(n for outcome, n in by_outcome.items() if Outcome(outcome) not in NO_FAILURE)
    return filled(ClassNumbers, succeeded=by_outcome.get("ok", 0), failed=failed, by_outcome=by_outcome)


def replicas(**of_second: Any) -> dict[str, Any]:
    """A run over two replicas, with changes to the second."""
    alike: dict[str, Any] = {
        "succeeded": 500,
        "failed": 0,
        "sent": 500,
        "error_rate": 0.0,
        "others_error_rate": 0.0,
        "share": 0.5,
        "share_p": 1.0,
    }
    slower = {"metric": "ttft_ms", "change": 0.0, "ci95": [-0.02, 0.02], "p": 1.0}
    second = {**alike, **of_second}
    if "change" in second:
        change = second.pop("change")
        second["slower"] = [
            {**slower, "change": change, "ci95": [change - 0.02, change + 0.02], "p": second.pop("p", 0.0)}
        ]
    return {"per_target": [{"name": "http://a", **alike}, {"name": "http://b", **second}]}


PERFECT: dict[str, Any] = {
    "counts": {
        "sent": 1_000,
        "succeeded": 1_000,
        "retried": 0,
        "retried_late": 0,
        "failed": 0,
        "failed_unsent": 0,
        "target_gone": None,
        "interrupted": 0,
        "dropped": 0,
        "warmup": {"requests": 0},
        "by_outcome": {"ok": 1_000},
    },
    "latency_of_failures_ms": {"mean": None},
    "series": {"end_s": None, "failed": []},
    "sessions": None,
    "segments": None,
    "per_target": None,
    "load": {
        "mode": "rate",
        "plan": {
            "planned_rps": 100.0,
            "sent_rps": 100.0,
            "rate_difference": 0.0,
            "span_difference_ms": 100.0,
            "dispersion_ratio": 1.0,
        },
        "off_plan": {"of": "arrivals", "share": 0.0, "start_s": 0.0, "end_s": 10.0},
        "waited_at_cap": {"n": 0},
        "ready_not_sent": {"share": 0.0, "typical_ms": 100.0, "longest_ms": 100.0},
        "never_sent": {"n": 0, "share": 0.0},
        "late_ends": {"mean_ms": 1_000.0, "share": 0.0},
        "littles_law": {
            "dispatcher_mean": 10.0,
            "records_mean": 10.0,
            "difference": 0.0,
            "dispatched": 1_000,
            "records": 1_000,
        },
    },
    "inputs": None,
    "latency": {"ttfa_ms": {"n": 0, **dict.fromkeys(("mean", "p50", "p90", "p99")), "bounds": {}}}
    | {
        name: {"mean": value, "p50": value, "p90": value, "p99": value, "bounds": {}}
        for name, value in (
            ("ttft_ms", 50.0),
            ("tpot_ms", 20.0),
            ("itl_ms", 20.0),
            ("e2el_ms", 500.0),
            ("chunk_gap_ms", 20.0),
        )
    },
    "tokens": {
        "asked": {"input": 1_000},
        "usage": {"input": 1_000},
        "asked_against_got": {"output": {"share": 0.0}, "input": {"compared": 0, "differ": 0}},
        "mismatch": {"share": 0.0, "usage_over_counted": 1.0},
        "cached": {"share_beyond_head": 0.0},
        "contradicted": {"share": 0.0, "first": None},
        "doubted": {"share": 0.0, "first": None},
    },
    "instrument": {
        "send_lateness_ms": {"p99": 0.1},
        "connect_ms": {"n": 10, "mean": 0.1},
        "loop_lag_ms": {"p99": 0.1},
        "clock": {"kernel": 0, "user": 1_000, "mixed": 0},
        "cpu": {"seconds_over_90": 0.0},
        "run_queue": {"mean": 0.0},
        "pause": {"longest_ms": 0.0, "worker": None, "share_of_run": 0.0},
        "workers": 4,
    },
}


EVIDENCE = {"lost", "died", "clock_drift", "cached_share", "planned_share", "server", "cache", "imported_from"}


def cache_off(off_share: float, **fields: Any) -> ComparedCache:
    """A prefix cache whose replies report this much more or less than the planned 90%."""
    given: dict[str, Any] = {
        "planned_share": 0.9,
        "counted_by": "replies",
        "off_share": off_share,
        "rounding_share": 0.001,
    }
    return ComparedCache(**(given | fields))


AGREED = {"reconciliation": {"mismatch": None, "off": 0.0}}
"""The server counted what the client did."""
MISCOUNTED = {
    "reconciliation": {
        "off": 0.012,
        "mismatch": "the server finished 1,012 requests, of which 1,000 are this run's: 12 are somebody else's, or were sent "
        "again by something in between",
    }
}


def evidence(changes: dict[str, object] | None = None, *, calibration: Any = None, **facts: Any) -> RunEvidence:
    """The perfect evidence with changes: by dotted path in the summary, or a field of the evidence."""
    changes = dict(changes or {})
    facts = {name: changes.pop(name) for name in EVIDENCE & changes.keys()} | facts
    summary = copy.deepcopy(PERFECT)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = summary
        for parent in parents:
            place = place[parent]
        assert last in place, path
        place[last] = value
    facts = {"open_loop": True, "exact_lengths": True} | facts
    if isinstance(facts.get("server"), dict):
        facts["server"] = filled(Server, facts["server"])
    if isinstance(calibration, dict):
        kind: Any = KnownCalibration if calibration.get("from") == "certificate" else LedgerCalibration
        if kind is KnownCalibration:  # It has only the known errors, not the truth of this run.
            known = KnownErrorRow.__struct_fields__
            rows = [{key: value for key, value in row.items() if key in known} for row in calibration["metrics"]]
            calibration = calibration | {"metrics": rows}
        calibration = filled(kind, calibration)
    return RunEvidence(summary=filled(SummaryNumbers, summary), calibration=calibration, **facts)


def verdict(changes: dict[str, object] | None = None, limits: Limits | None = None, **more: Any) -> Verdict:
    return judge(evidence(changes, **more), Limits() if limits is None else limits)


def certified(**row: object) -> dict[str, Any]:
    return {"metrics": [CALIBRATION | row], "problems": []}


LATE, LAG = "instrument.send_lateness_ms.p99", "instrument.loop_lag_ms.p99"
PLAN = "load.plan"
READY, PAUSE = "load.ready_not_sent", "instrument.pause"
MISMATCH, PROMPTS = "tokens.mismatch.share", "tokens.asked_against_got.input"
KERNEL = {"instrument.clock": {"kernel": 1_000, "user": 0, "mixed": 0}}


def pause(longest_ms: float, share: float) -> dict[str, object]:
    return {PAUSE: {"longest_ms": longest_ms, "worker": 2, "share_of_run": share}}


def connects(n: int, mean_ms: float) -> dict[str, object]:
    return {"instrument.connect_ms": {"n": n, "mean": mean_ms}}


def ready(share: float, typical_ms: float) -> dict[str, object]:
    return {READY: {"share": share, "typical_ms": typical_ms, "longest_ms": typical_ms}}


def opened(metric: str, stat: str, least: float, greatest: float | None) -> dict[str, object]:
    return {f"latency.{metric}.bounds": {stat: [least, greatest]}}
