"""The headline of a run: its verdict, what was sent, and which percentiles it can give.

    VALID, 240 requests: median and P90 of TTFT can be given, no P99

The verdict judges the client. Which percentiles a run can give is a separate question: those with a 95% interval in the
summary, by the rule of docs/dev/simulations.md, which requires n / D independent values. This module only reads which
intervals exist. The latency is TTFT, or E2EL if no reply was streamed.

Everything is computed from the summary, so that files of older versions get the same text. The terminal, the page,
Markdown and the console call `of`; summary.json stores the text and the reach in `verdict`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.results.summary import Reach as ReachResult
from bench.results.summary import SummaryNumbers

PERCENTILES = {"p50": "median", "p90": "P90", "p95": "P95", "p99": "P99", "p999": "P99.9"}
"""The percentiles of the tables, ascending."""
_MISSED = ("p90", "p99")
"""If these cannot be given, the headline names the first of them."""
_BEARING = ("VALID", "SUSPECT")
"""Verdicts whose numbers may be used."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which percentiles a run can give. `requests` have a value of `metric`, and are worth `independent` values.

    `percentiles`: those with an interval, ascending. `highest` is the last of them, or None.
    """

    metric: str
    requests: int
    independent: float
    percentiles: tuple[str, ...]

    @property
    def highest(self) -> str | None:
        return self.percentiles[-1] if self.percentiles else None

    def result(self) -> ReachResult:
        """`verdict.reach` of summary.json."""
        return ReachResult(
            metric=self.metric,
            requests=self.requests,
            independent=self.independent,
            percentiles=list(self.percentiles),
            highest=self.highest,
        )

    def __str__(self) -> str:
        """The percentiles that can be given, and the first that cannot."""
        of = f" of {self.metric.upper()}" if self.requests else ""
        named = [PERCENTILES[name] for name in self.percentiles]
        if not named:
            return f"no percentile{of} can be given"
        missing = next((f", no {PERCENTILES[name]}" for name in _MISSED if name not in self.percentiles), "")
        return f"{_listed(named)}{of} can be given{missing}"


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict of a run in one line: `status`, and `rest`, which begins with a comma."""

    status: str
    rest: str
    reach: Reach

    def __str__(self) -> str:
        return self.status + self.rest


def of(summary: SummaryNumbers, status: str, *, proxy: object) -> Headline:
    """The headline of a run with this verdict and this `proxy` setting: with a proxy, latencies include it."""
    reach = reach_of(summary)
    parts = [text for part in PARTS if (text := part(summary)) is not None]
    if isinstance(proxy, str):
        parts.append(f"through the proxy {urlsplit(proxy).netloc.rpartition('@')[2]}")
    rest = "".join(f", {text}" for text in parts)
    return Headline(status, f"{rest}: {reach}" if status in _BEARING else rest, reach)


def reach_of(summary: SummaryNumbers) -> Reach:
    """Which percentiles the run can give, by the intervals in the summary."""
    metric = "ttft" if summary.latency["ttft_ms"].n else "e2el"
    row = summary.latency[f"{metric}_ms"]
    return Reach(
        metric=metric,
        requests=row.n,
        independent=row.independent,
        percentiles=tuple(name for name in PERCENTILES if row.ci95.get(name) is not None),
    )


def _requests(summary: SummaryNumbers) -> str:
    counts = summary.counts
    n = counts.sent + counts.failed_unsent
    return f"{n:,} request{'' if n == 1 else 's'}" if n else "no request"


def _failed(summary: SummaryNumbers) -> str | None:
    failed = summary.counts.failed
    return f"{failed:,} failed" if failed else None


def _sent_again(summary: SummaryNumbers) -> str | None:
    again = summary.counts.retried
    return f"{again:,} sent again" if again else None


PARTS: tuple[Callable[[SummaryNumbers], str | None], ...] = (_requests, _failed, _sent_again)
"""The text between the verdict and the reach, in this order. To add a part, write a function that returns its text or
None, and list it here."""


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
