"""The jobs of a run of sessions, for page and terminal: rows, and TTFT by context and by turn as tables and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.documents.charts import Chart, Line, Panel, categories
from bench.documents.document import Fact
from bench.documents.formatting import NOTHING, interval, number, share
from bench.documents.time_charts import RunNumbers

if TYPE_CHECKING:
    from bench.documents.summary import SummaryDocument

STATS = {"mean": "average", "p50": "median", "p90": "P90", "p99": "P99", "max": "max"}
_ENDS = {
    "failed": ("failed", "A step of them failed, and with it the session."),
    "cancelled": ("cancelled", "Their users left, as planned."),
    "cut": ("cut", "The run ended before they did: how long they would have taken is not known."),
    "begun_before": ("begun before the run", "In its warm-up, or the run entered their session in the middle."),
}
HEADS = ("", "TTFT p50", "p90", "p99", "requests")
NOTE = "TTFT in ms, of successful requests. Bins end at powers of two."


def _one_line(row: Mapping[str, Any], unit: str = "") -> str:
    return " · ".join(f"{title} {number(row[stat])}{unit}" for stat, title in STATS.items()) if row["n"] else NOTHING


def _with_interval(rates: Mapping[str, Any], name: str) -> str:
    ends = interval(rates["ci95"][name])
    return number(rates[name]) + (f" ({ends})" if ends else "")


def _rows_of_sessions(summary: SummaryDocument) -> list[Fact]:
    """How many sessions there were, and how they ended."""
    sessions = summary.get("sessions")
    if sessions is None:  # Of an older run.
        return []
    parts = [f"{sessions['held']:,}", f"{sessions['whole']:,} whole"]
    parts += [f"{sessions[key]:,} {key}" for key in ("failed", "unfinished") if sessions[key]]
    parts += [f"{sessions['begun_in_middle']:,} begun in their middle"] if sessions["begun_in_middle"] else []
    found = [Fact("Sessions", " · ".join(parts), "Failed: with a turn that failed or was cancelled.")]
    if sessions["offered_per_s"] is not None:
        new = f"{number(sessions['offered_per_s'])}/s"
        found.append(Fact("New sessions", new, "The rate that was asked for."))
    if sessions["turns_not_sent"]:
        meaning = "Of failed sessions: a turn that fails ends its session."
        found.append(Fact("Turns not sent", f"{sessions['turns_not_sent']:,}", meaning))
    return found


def rows(summary: SummaryDocument) -> list[Fact]:
    """What is said of sessions and their jobs; nothing of a run without them."""
    jobs = summary.get("jobs")
    if jobs is None:
        return _rows_of_sessions(summary)
    counts: Mapping[str, Any] = jobs["counts"]
    time: Mapping[str, Any] = jobs["time"]
    rates, tokens = jobs["rates"], jobs["tokens"]
    found = [
        *_rows_of_sessions(summary),
        Fact("Completed", f"{counts['completed']:,} in {jobs['sessions']:,} sessions", "Begun and ended in the run."),
        *(Fact(f"Jobs {name}", f"{counts[end]:,}", meaning) for end, (name, meaning) in _ENDS.items() if counts[end]),
        Fact("Job seconds", _one_line(jobs["job_s"], " s"),
               "From when its first step was due to its last token, tools in it. Of completed jobs."),
        Fact("Jobs an hour, one user", _with_interval(rates, "jobs_per_hour_per_user"), "3,600 s by the average job."),
        Fact("Jobs an hour, all", _with_interval(rates, "jobs_per_hour"), "Jobs that ended in the run."),
    ]  # fmt: skip
    if rates["jobs_per_hour_per_gpu"] is not None:
        found.append(Fact("Jobs an hour, a GPU", _with_interval(rates, "jobs_per_hour_per_gpu"), "By --gpus."))
    parts = " · ".join(
        f"{name} {share(time[key]['share'])}"
        for key, name in (("model", "model"), ("tools", "tools"), ("human", "human"), ("other", "other"))
    )
    per_s, per_job, cached_from = tokens["per_s"], tokens["per_job"], tokens["cached_from"]
    speed = jobs["tokens_per_s_per_user"]
    found += [
        Fact("Steps a job", _one_line(jobs["steps"]), "Requests, those of sub-agents among them."),
        Fact("Where the time went", parts, "Of completed jobs and the pauses of their users before them."),
        Fact("Fresh tokens", f"{number(per_s['fresh'])}/s of {number(per_s['all'])}/s",
               f"Input that no cache had, and output. Cached: {_said_by(cached_from)}."),
        Fact("Fresh tokens a job", f"{number(per_job['fresh'])} of {number(per_job['all'])}", "Of completed jobs."),
        Fact("Tokens/s for a user", " · ".join(f"{STATS[p]} {number(speed[p])}" for p in ("p50", "p90", "p99")),
               "The inverse of that percentile of TPOT: P90 is what nine of ten requests had at least."),
    ]  # fmt: skip
    return found


def _said_by(cached_from: Mapping[str, Any]) -> str:
    names = {"server": "by the server", "plan": "as planned", "none": "not known, all fresh"}
    parts = [f"{names[key]} ({n:,})" for key, n in cached_from.items() if n]
    return ", ".join(parts) or "no reply"


MOST_CUT = 0.05
"""Of the jobs that were begun in the run: if more were cut off, those that were not say too little of long ones."""


def warnings(summary: SummaryDocument) -> list[str]:
    """A sentence where so many jobs were cut off that job seconds are too low."""
    jobs = summary.get("jobs")
    if jobs is None:
        return []
    cut, completed = jobs["counts"]["cut"], jobs["counts"]["completed"]
    if cut <= MOST_CUT * (cut + completed):
        return []
    if not completed:
        return [
            f"No job was completed, and {cut:,} were cut off by the end of the run: make it many times as long as a job."
        ]
    return [
        f"{cut:,} jobs were cut off by the end of the run beside {completed:,} that were completed, long ones more often "
        "than short ones: job seconds are too low. Make the run many times as long as a job."
    ]


def _bin(row: Mapping[str, Any]) -> str:
    first, last = row["from"], row["to"]
    return f"{last:,}" if first == last else f"{first:,}–{last:,}"


def table(bins: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The cells of each bin, under HEADS."""
    return [
        (_bin(row), *(number(row["ttft_ms"][p]) for p in ("p50", "p90", "p99")), f"{row['ttft_ms']['n']:,}")
        for row in bins
    ]


def tables(summary: SummaryDocument) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """TTFT by context and by turn: title, heads and rows of each that has any."""
    jobs: Mapping[str, Any] | None = summary.get("jobs")
    if jobs is None:
        return []
    return [
        (title, (head, *HEADS[1:]), table(jobs[key]))
        for key, title, head in (
            ("ttft_by_context", "TTFT by context length", "Input tokens"),
            ("ttft_by_turn", "TTFT by turn", "Turn"),
        )
        if jobs[key]
    ]


def ttft_by_context(run: RunNumbers) -> Chart | None:
    """TTFT against the length of the context."""
    meaning = "Requests of sessions by their input tokens, cached or not: what a longer context costs."
    return _chart(run, "ttft_by_context", "TTFT by context length", meaning, "input tokens")


def ttft_by_turn(run: RunNumbers) -> Chart | None:
    """TTFT against the number of the turn in its session."""
    meaning = (
        "Requests by their place in the session: with a prefix cache, later turns should not be slower in proportion."
    )
    return _chart(run, "ttft_by_turn", "TTFT by turn", meaning, "turn of the session")


def _chart(run: RunNumbers, key: str, title: str, meaning: str, x_title: str) -> Chart | None:
    jobs: Mapping[str, Any] | None = run.summary.get("jobs")
    if jobs is None or len(jobs[key]) < 2:
        return None
    bins = jobs[key]
    names = [_bin(row) for row in bins]
    tips = [f"{name}, {row['ttft_ms']['n']:,} requests" for name, row in zip(names, bins, strict=True)]
    lines_ = (
        Line("median", [row["ttft_ms"]["p50"] for row in bins], "points"),
        Line("P90", [row["ttft_ms"]["p90"] for row in bins], "points", "second"),
        Line("P99", [row["ttft_ms"]["p99"] for row in bins], "points", "third"),
    )
    return categories(key, title, meaning, x_title, names, tips, Panel("ms", lines_))
