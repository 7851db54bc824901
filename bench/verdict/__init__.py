"""Is the measurement good? The signs of a bad one, each with its limits, and their sum.

A sign is one function: it takes evidence and returns findings (none if this run cannot show it). To add a sign, add one
function in the file of its subject, one line in SIGNS and one band in `limits.Limits`:

- `sent_load.py`: the load that was sent, against the requested load
- `client.py`: the client's processes and their processor time
- `stamps.py`: how exactly its time stamps are known
- `bookkeeping.py`: whether independent counts of one number agree
- `server.py`: whether the server answered, and did the requested work
- `replicas.py`: whether one of several replicas is gone, fails, is slower or has more to do than the others
- `token_counts.py`: whether token counts agree
- `certificate.py`: the calibration of this load on this machine

`headline.py` makes the line that every report begins with: the verdict, and which percentiles the run can give.

The verdict is the worst finding, and comes before every other number of a report. A sign measures nothing: it takes
numbers of the summary or of a certificate, relates them to each other by a difference or a quotient, and compares the
result with its band, so that a reader can check it. A sign fires only if a number may be wrong: a late client passes if
kernel stamps and punctual sends show that no number is late.

Bands: docs/troubleshooting.md.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.verdict.bookkeeping import files, imported, littles_law
from bench.verdict.certificate import calibration
from bench.verdict.client import clock_drift, cpu, pause, run_queue, workers
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Finding, Verdict, worst
from bench.verdict.limits import Limits
from bench.verdict.replicas import replica_errors, replica_gone, replica_share, replica_slower
from bench.verdict.sent_load import (
    cut_requests,
    never_sent,
    nothing_measured,
    off_plan,
    ready_not_sent,
    send_lateness,
    sent_dispersion,
    sent_rate,
    waited_at_cap,
)
from bench.verdict.server import cache_hits, errors, late_ends, sent_again, server_counts, slow_connects, target_gone
from bench.verdict.stamps import loop_lag, wide_stamps
from bench.verdict.token_counts import input_tokens, output_tokens, tokens_doubted, usage, usage_contradicted

SIGNS: dict[str, Callable[[RunEvidence, Limits], list[Finding]]] = {
    "nothing_measured": nothing_measured,
    "cut_requests": cut_requests,
    "send_lateness": send_lateness,
    "ready_not_sent": ready_not_sent,
    "never_sent": never_sent,
    "pause": pause,
    "sent_rate": sent_rate,
    "sent_dispersion": sent_dispersion,
    "off_plan": off_plan,
    "waited_at_cap": waited_at_cap,
    "loop_lag": loop_lag,
    "cpu": cpu,
    "workers": workers,
    "clock_drift": clock_drift,
    "run_queue": run_queue,
    "wide_stamps": wide_stamps,
    "littles_law": littles_law,
    "files": files,
    "imported": imported,
    "errors": errors,
    "sent_again": sent_again,
    "late_ends": late_ends,
    "slow_connects": slow_connects,
    "target_gone": target_gone,
    "replica_gone": replica_gone,
    "replica_errors": replica_errors,
    "replica_slower": replica_slower,
    "replica_share": replica_share,
    "cache_hits": cache_hits,
    "server_counts": server_counts,
    "input_tokens": input_tokens,
    "output_tokens": output_tokens,
    "usage": usage,
    "usage_contradicted": usage_contradicted,
    "tokens_doubted": tokens_doubted,
    "calibration": calibration,
}
"""Every sign, by the name in its findings."""
OF_IMPORTED = ("nothing_measured", "files", "imported", "errors", "output_tokens")
"""The signs of an imported run. The others check our client, which sent none of its requests."""


def judge(evidence: RunEvidence, limits: Limits) -> Verdict:
    """All findings of a run, and the worst of them."""
    names = SIGNS if evidence.imported_from is None else OF_IMPORTED
    findings = tuple(finding for name in names for finding in SIGNS[name](evidence, limits))
    return Verdict(worst(f.status for f in findings), findings)
