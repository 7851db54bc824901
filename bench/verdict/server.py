"""The server: whether it answered, and whether it did the requested work."""

from __future__ import annotations

from dataclasses import replace

from bench.results.summary import SummaryNumbers
from bench.verdict.evidence import CacheAgainstPlan, RunEvidence
from bench.verdict.finding import Finding, milder
from bench.verdict.limits import Limits


def errors(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Requests failed. They have no latency, so a server that sheds load looks fast."""
    summary = evidence.summary
    counts = summary.counts
    findings = errors_of(counts.succeeded, counts.failed, counts.failed_unsent, limits)
    return [
        replace(row, sentence=row.sentence + _not_sent(summary) + _how_long(summary) + _when(summary))
        for row in findings
    ]


def _not_sent(summary: SummaryNumbers) -> str:
    """Turns that were not sent after a failed one: the load then has fewer long contexts than planned."""
    turns = 0 if summary.sessions is None else summary.sessions.turns_not_sent
    were = "turn of their sessions was" if turns == 1 else "turns of their sessions were"
    return f"; {turns:,} later {were} not sent" if turns else ""


def _how_long(summary: SummaryNumbers) -> str:
    """Failures that took longer than replies: users waited for them, and no latency contains that time."""
    failed_ms, e2el_ms = summary.latency_of_failures_ms.mean, summary.latency["e2el_ms"].mean
    if failed_ms is None or e2el_ms is None or failed_ms <= e2el_ms:
        return ""
    return (
        f"; it took {failed_ms:,.0f} ms on average until a request failed, and {e2el_ms:,.0f} ms until one was answered"
    )


_FEW = 10
"""By chance, this many failures all fall into one half of a run in 1% of runs; fewer do so more often."""


def _when(summary: SummaryNumbers) -> str:
    """When the failures occurred, if they span at most half of the run."""
    series, counts = summary.series, summary.counts
    steps = [k for k, failed in enumerate(series.failed) if failed]
    if series.end_s is None or sum(series.failed) < _FEW or not counts.succeeded or counts.target_gone is not None:
        return ""
    begin_s, end_s = series.t_s[steps[0]], min(series.t_s[steps[-1]] + series.step_s, series.end_s)
    if end_s - begin_s > (series.end_s - series.t_s[0]) / 2:
        return ""
    return (
        f"; all failures were between {begin_s:.0f} and {end_s:.0f} s of the run, which ended at {series.end_s:.0f} s"
    )


def errors_of(succeeded: int, failed: int, failed_unsent: int, limits: Limits) -> list[Finding]:
    """The findings for given counts of requests that succeeded, failed, and failed without being sent."""
    tried = succeeded + failed
    if not tried:
        return []
    share = failed / tried
    if succeeded:
        sentence = f"{failed:,} of {tried:,} requests failed ({share:.1%}): the latencies are those of the others"
    else:
        sentence = f"every request failed, all {tried:,}: there are no latencies"
    if failed_unsent:
        sentence += (
            f"; of the failed, {failed - failed_unsent:,} were sent and {failed_unsent:,} were "
            "not, because no connection could be made"
        )
    return [Finding("errors", limits.errors.of(share), share, sentence)]


def sent_again(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Requests were sent again after the server kept them for over 10 ms: it may have worked on both attempts."""
    counts = evidence.summary.counts
    again, sent = counts.retried_late or 0, counts.sent
    if not sent:
        return []
    share = again / sent
    sentence = (
        f"{again:,} of {sent:,} requests were sent again ({share:.1%}), because the server kept them for over 10 ms and "
        "closed their connection without an answer: their latencies count from the first attempt, and it may have worked on "
        "both"
    )
    return [Finding("sent_again", limits.sent_again.of(share), share, sentence)]


def late_ends(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Replies stayed open after their last token: a user of a closed loop waits for that, and no latency contains it."""
    row = evidence.summary.load.late_ends
    if row is None:
        return []
    status = milder(limits.late_ends.of(row.share), limits.late_ends_ms.of(row.mean_ms))
    speaks, inputs = evidence.summary.latency.get("ttfa_ms"), evidence.summary.inputs
    last = "image" if inputs is not None and inputs.are == "images" else "audio" if speaks and speaks.n else "token"
    sentence = (
        f"the server ended its replies {row.mean_ms:,.0f} ms after their last {last} on average, {row.share:.1%} of the time "
        f"to that {last}: requests/s and requests in flight contain this time, and E2EL does not"
    )
    return [Finding("late_ends", status, row.share, sentence)]


def slow_connects(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Requests waited for new connections: a user waits for that, and no latency from the send contains it."""
    summary = evidence.summary
    connects, sent, e2el_ms = summary.instrument.connect_ms, summary.counts.sent, summary.latency["e2el_ms"].mean
    if connects.mean is None or not sent or not e2el_ms:
        return []
    mean_ms = connects.n * connects.mean / sent
    share = mean_ms / e2el_ms
    status = milder(limits.slow_connects.of(share), limits.slow_connects_ms.of(mean_ms))
    sentence = (
        f"requests waited {mean_ms:,.0f} ms for a new connection on average, {share:.1%} of their time from the send to the "
        "last token: requests/s and latencies from due contain this time, and TTFT and E2EL do not"
    )
    return [Finding("slow_connects", status, share, sentence)]


def target_gone(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """The server stopped answering before the run ended."""
    counts = evidence.summary.counts
    gone, tried = counts.target_gone, counts.succeeded + counts.failed
    if gone is None or not tried:
        return []
    share = gone.requests / tried
    since = "never answered" if gone.since_s is None else f"gave its last answer {gone.since_s:.1f} s into the run"
    sentence = f"the target {since}: the last {gone.requests:,} requests got no answer or lost their connection"
    return [Finding("target_gone", limits.target_gone.of(share), share, sentence)]


def cache_hits(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """The server took more prompt tokens from its prefix cache than planned, or fewer.

    Measured by the server's metrics, or by its replies. If each request has a plan, as in sessions, fewer hits than planned
    are a finding too: the cache is too small for the load or not used, or the requests were not the planned ones.
    """
    cache = evidence.cache
    if cache is not None and cache.counted_by is not None:
        return _against_plan(cache, limits)
    if not evidence.sharing_known:
        return []
    cached = evidence.summary.tokens.cached
    shares = [share for share in (evidence.cached_share, cached.share_beyond_head) if share is not None]
    if not shares:
        return []
    of_probes, shared = cached.share_of_probes or 0.0, evidence.planned_share or 0.0
    planned = of_probes + (1 - of_probes) * shared  # A probe is repeated, so any of its tokens may come from the cache.
    beyond = max(shares) - planned
    probes = f" ({of_probes:.1%} are of probes, which are asked again)" if of_probes else ""
    sentence = (
        f"the server took {max(shares):.1%} of the prompt tokens from its cache, where {planned:.1%} was "
        f"planned{probes}: prompts that it had seen before have a shorter TTFT"
    )
    return [Finding("cache_hits", limits.cache_hits_unplanned.of(beyond), beyond, sentence)]


def _against_plan(cache: CacheAgainstPlan, limits: Limits) -> list[Finding]:
    off, beyond, planned = cache.off_share, cache.off_beyond_rounding, cache.planned_share
    if off is None or beyond is None or planned is None:
        return []
    more = "more" if off > 0 else "less"
    why = "prompts had been seen before" if off > 0 else "its cache holds less than these sessions need, or is not used"
    who = "its replies" if cache.counted_by == "replies" else "its metrics"
    sentence = (
        f"the server took {abs(off) * 100:.1f} points {more} of the prompt tokens from its cache than the {planned:.1%} that "
        f"was planned, by {who}: {why}"
    )
    return [Finding("cache_hits", limits.cache_hits_off_plan.of(beyond), beyond, sentence)]


def server_counts(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """The server's own counts of requests and tokens differ from the client's."""
    reconciled = None if evidence.server is None else evidence.server.reconciliation
    gone = any(part.gone is not None for part in evidence.summary.per_target or ())
    if reconciled is None or gone:  # A lost replica reports no counts.
        return []
    sentence = reconciled.mismatch or "the server's own counts of requests and tokens are the client's"
    return [Finding("server_counts", limits.server_counts_off.of(reconciled.off), reconciled.off, sentence)]
