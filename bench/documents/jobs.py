"""The jobs of a run of sessions, for page and terminal: rows, and TTFT by context and by turn as tables and charts."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import asdict

from bench.documents.charts import Chart, Line, Panel, categories
from bench.documents.document import Fact
from bench.documents.formatting import NOTHING, interval, number, share
from bench.documents.time_charts import RunNumbers
from bench.results.numbers import Statistics
from bench.results.sessions import CachedFrom, JobRates, TtftBin
from bench.results.summary import RunSummary

STATS = {"mean": "average", "p50": "median", "p90": "P90", "p99": "P99", "max": "max"}
_ENDS = {
    "failed": ("failed", "A step failed, and with it the session."),
    "cancelled": ("cancelled", "Their users left, as planned."),
    "cut": ("cut", "The run ended before they did: how long they would have taken is not known."),
    "begun_before": ("begun before the run", "In its warm-up, or the run entered their session in the middle."),
}
HEADS = ("", "TTFT p50", "p90", "p99", "requests")
NOTE = "TTFT in ms, of successful requests. Bins end at powers of two."


def _one_line(row: Statistics, unit: str = "") -> str:
    return " · ".join(f"{title} {number(row.of(stat))}{unit}" for stat, title in STATS.items()) if row.n else NOTHING


def _with_interval(rates: JobRates, name: str) -> str:
    ends = interval(rates.ci95[name])
    return number(rates.of(name)) + (f" ({ends})" if ends else "")


def _rows_of_sessions(summary: RunSummary) -> list[Fact]:
    """How many sessions there were, and how they ended."""
    sessions = summary.sessions
    if sessions is None:  # An older run.
        return []
    parts = [f"{sessions.held:,}", f"{sessions.whole:,} whole"]
    parts += [f"{n:,} {name}" for name, n in (("failed", sessions.failed), ("unfinished", sessions.unfinished)) if n]
    parts += [f"{sessions.begun_in_middle:,} begun in their middle"] if sessions.begun_in_middle else []
    facts = [Fact("Sessions", " · ".join(parts), "Failed: with a turn that failed or was cancelled.")]
    if sessions.offered_per_s is not None:
        new = f"{number(sessions.offered_per_s)}/s"
        facts.append(Fact("New sessions", new, "The requested rate."))
    if sessions.turns_not_sent:
        meaning = "Of failed sessions: a turn that fails ends its session."
        facts.append(Fact("Turns not sent", f"{sessions.turns_not_sent:,}", meaning))
    return facts


def rows(summary: RunSummary) -> list[Fact]:
    """The rows on sessions and their jobs; empty for a run without sessions."""
    jobs = summary.jobs
    if jobs is None:
        return _rows_of_sessions(summary)
    ends, time = asdict(jobs.counts), jobs.time
    rates, tokens = jobs.rates, jobs.tokens
    facts = [
        *_rows_of_sessions(summary),
        Fact("Completed", f"{jobs.counts.completed:,} in {jobs.sessions:,} sessions", "Begun and ended in the run."),
        *(Fact(f"Jobs {name}", f"{ends[end]:,}", meaning) for end, (name, meaning) in _ENDS.items() if ends[end]),
        Fact("Job seconds", _one_line(jobs.job_s, " s"),
               "From when its first step was due to its last token, including tools. Of completed jobs."),
        Fact("Jobs an hour, one user", _with_interval(rates, "jobs_per_hour_per_user"), "3,600 s by the average job."),
        Fact("Jobs an hour, all", _with_interval(rates, "jobs_per_hour"), "Jobs that ended in the run."),
    ]  # fmt: skip
    if rates.jobs_per_hour_per_gpu is not None:
        facts.append(Fact("Jobs an hour, a GPU", _with_interval(rates, "jobs_per_hour_per_gpu"), "By --gpus."))
    parts = " · ".join(
        f"{name} {share(part.share)}"
        for name, part in (("model", time.model), ("tools", time.tools), ("human", time.human), ("other", time.other))
    )
    per_s, per_job, cached_from = tokens.per_s, tokens.per_job, tokens.cached_from
    speed = jobs.tokens_per_s_per_user
    facts += [
        Fact("Steps a job", _one_line(jobs.steps), "Requests, including those of sub-agents."),
        Fact("Where the time went", parts, "Of completed jobs and the pauses of their users before them."),
        Fact("Fresh tokens", f"{number(per_s.fresh)}/s of {number(per_s.all)}/s",
               f"Input that no cache had, and output. Cached: {_said_by(cached_from)}."),
        Fact("Fresh tokens a job", f"{number(per_job.fresh)} of {number(per_job.all)}", "Of completed jobs."),
        Fact("Tokens/s for a user", " · ".join(f"{STATS[p]} {number(speed.of(p))}" for p in ("p50", "p90", "p99")),
               "The inverse of that percentile of TPOT: nine of ten requests had at least the P90."),
    ]  # fmt: skip
    return facts


def _said_by(cached_from: CachedFrom) -> str:
    names = {"server": "by the server", "plan": "as planned", "none": "not known, all fresh"}
    parts = [f"{names[key]} ({n:,})" for key, n in asdict(cached_from).items() if n]
    return ", ".join(parts) or "no reply"


MOST_CUT = 0.05
"""A share of the jobs that began in the run: if more were cut off, the completed ones under-represent long jobs."""


def warnings(summary: RunSummary) -> list[str]:
    """A warning if so many jobs were cut off that job seconds are too low."""
    jobs = summary.jobs
    if jobs is None:
        return []
    cut, completed = jobs.counts.cut, jobs.counts.completed
    if cut <= MOST_CUT * (cut + completed):
        return []
    if not completed:
        return [
            f"No job was completed, and {cut:,} were cut off by the end of the run: make it many times as long as a job."
        ]
    return [
        f"{cut:,} jobs were cut off by the end of the run, and {completed:,} were completed. Long ones are cut "
        "off more often, so job seconds are too low. Make the run many times as long as a job."
    ]


def _bin(row: TtftBin) -> str:
    first, last = row.from_, row.to
    return f"{last:,}" if first == last else f"{first:,}–{last:,}"


def table(bins: Sequence[TtftBin]) -> list[tuple[str, ...]]:
    """The cells of each bin, under HEADS."""
    return [
        (_bin(row), *(number(row.ttft_ms.of(p)) for p in ("p50", "p90", "p99")), f"{row.ttft_ms.n:,}") for row in bins
    ]


def tables(summary: RunSummary) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """TTFT by context and by turn: title, heads and rows, if there are any."""
    jobs = summary.jobs
    if jobs is None:
        return []
    return [
        (title, (head, *HEADS[1:]), table(bins))
        for bins, title, head in (
            (jobs.ttft_by_context, "TTFT by context length", "Input tokens"),
            (jobs.ttft_by_turn, "TTFT by turn", "Turn"),
        )
        if bins
    ]


def ttft_by_context(run: RunNumbers) -> Chart | None:
    """TTFT against the length of the context."""
    meaning = "Requests of sessions by their input tokens, cached or not: what a longer context costs."
    bins = () if run.summary.jobs is None else run.summary.jobs.ttft_by_context
    return _chart(bins, "ttft_by_context", "TTFT by context length", meaning, "input tokens")


def ttft_by_turn(run: RunNumbers) -> Chart | None:
    """TTFT against the number of the turn in its session."""
    meaning = (
        "Requests by their place in the session: with a prefix cache, later turns should not be slower in proportion."
    )
    bins = () if run.summary.jobs is None else run.summary.jobs.ttft_by_turn
    return _chart(bins, "ttft_by_turn", "TTFT by turn", meaning, "turn of the session")


def _chart(bins: Sequence[TtftBin], key: str, title: str, meaning: str, x_title: str) -> Chart | None:
    if len(bins) < 2:
        return None
    names = [_bin(row) for row in bins]
    tips = [f"{name}, {row.ttft_ms.n:,} requests" for name, row in zip(names, bins, strict=True)]
    lines_ = (
        Line("median", [row.ttft_ms.p50 for row in bins], "points"),
        Line("P90", [row.ttft_ms.p90 for row in bins], "points", "second"),
        Line("P99", [row.ttft_ms.p99 for row in bins], "points", "third"),
    )
    return categories(key, title, meaning, x_title, names, tips, Panel("ms", lines_))
