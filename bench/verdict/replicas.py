"""The replicas of a run: whether one stopped answering, fails, is slower, or gets more than its share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.results.metric_titles import in_sentence
from bench.results.summary import SlowerTarget, TargetNumbers
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Finding, Status
from bench.verdict.limits import Limits

CHANCE = 0.002
"""A difference between replicas counts if equal replicas would show it less often than this, over all replicas."""

_Row = tuple[float, str]
"""How far off a replica is, and a sentence."""


def replica_gone(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """A replica stopped answering before the run ended, while others went on."""

    def look(part: TargetNumbers) -> Iterable[_Row]:
        if part.gone is None:
            return
        since = (
            "never answered"
            if part.gone.since_s is None
            else f"gave its last answer {part.gone.since_s:.1f} s into the run"
        )
        lost = f"{part.gone.requests:,} {'request' if part.gone.requests == 1 else 'requests'}"
        yield 1.0, f"replica {part.name} {since}: {lost} to it failed, and the others took its share"

    return _findings("replica_gone", evidence, look, limits.replica_gone.of)


def replica_errors(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """A replica failed more often than the others."""

    def look(part: TargetNumbers) -> Iterable[_Row]:
        if part.gone is not None or part.failures_p is None or part.failures_p >= CHANCE:
            return
        rate, others = part.error_rate or 0.0, part.others_error_rate or 0.0
        sentence = (
            f"replica {part.name} failed {part.failed:,} of {part.succeeded + part.failed:,} requests ({rate:.1%}), the "
            f"others {others:.1%}"
        )
        yield rate - others, sentence

    return _findings("replica_errors", evidence, look, limits.replica_errors.of)


def replica_slower(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """A replica was slower than the others, all through the run."""

    def look(part: TargetNumbers) -> Iterable[_Row]:
        shown = [row for row in part.slower if row.p < CHANCE]
        if not shown:
            return
        worst = max(shown, key=_unexplained)
        low, high = worst.ci95
        longer = "" if worst.longer is None else f", and its prompts or replies are only {worst.longer:.0%} longer"
        yield (
            _unexplained(worst),
            f"replica {part.name} is {worst.change:.0%} slower than the others ({in_sentence(worst.metric)}; "
            f"95%: {low:.0%} to {high:.0%}){longer}: the latencies of the run mix both",
        )

    return _findings("replica_slower", evidence, look, limits.replica_slower.of)


def _unexplained(row: SlowerTarget) -> float:
    """How much slower it is than longer prompts or replies explain, if time is proportional to length."""
    return (1 + row.change) / (1 + row.longer) - 1 if row.longer else row.change


def replica_share(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """A router gave a replica more than its share of the requests."""
    parts = [part for part in evidence.summary.per_target or () if part.share_p is not None]
    equal = 1 / len(parts) if parts else 1.0

    def look(part: TargetNumbers) -> Iterable[_Row]:
        if part.share is None or part.share_p is None or part.share_p >= CHANCE:
            return
        sentence = f"replica {part.name} got {part.share:.1%} of the requests from the router"
        yield part.share / equal - 1, f"{sentence}, where {equal:.1%} is an equal share"

    return _findings("replica_share", evidence, look, limits.replica_share.of)


def _findings(
    sign: str, evidence: RunEvidence, look: Callable[[TargetNumbers], Iterable[_Row]], status: Callable[[float], Status]
) -> list[Finding]:
    """A finding for each replica that is off, the furthest first."""
    rows = sorted((row for part in evidence.summary.per_target or () for row in look(part)), reverse=True)
    return [Finding(sign, status(value), value, sentence) for value, sentence in rows]
