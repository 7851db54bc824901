"""Data on single requests that replies contain, for page and terminal: their times, their cache, and their draft
tokens."""

from __future__ import annotations

from bench.documents.charts import Chart, Line, Panel, categories
from bench.documents.document import Cell, Fact, Row
from bench.documents.formatting import number, share
from bench.documents.time_charts import RunNumbers
from bench.results.server import SAID_TIMES, ReportedDrafts
from bench.results.summary import RunSummary

STATS = {"mean": "Average", "p50": "Median", "p90": "P90", "p99": "P99"}


def times(summary: RunSummary) -> list[Row]:
    """The times that replies contain, with a cell for each of STATS, and the number of such replies; empty if there are
    none."""
    if summary.server_requests is None:
        return []
    return [
        Row(
            Cell(SAID_TIMES[key].title or key, meaning=SAID_TIMES[key].description or ""),
            *(number(row.of(stat)) for stat in STATS),
            f"{row.n:,}",
        )
        for key, row in summary.server_requests.times().items()
    ]


def facts(summary: RunSummary) -> list[Fact]:
    """Facts on cached tokens and draft tokens."""
    requests = summary.server_requests
    if requests is None:
        return []
    rows = []
    if (cached := requests.cached) is not None:
        text = f"{share(cached.share)} of {number(cached.of)} prompt tokens"
        rows.append(Fact("Cached", text, f"As {cached.replies:,} replies say."))
    if (drafts := requests.drafts) is not None:
        text = f"{number(drafts.accepted)} of {number(drafts.tokens)} ({share(drafts.acceptance_rate)})"
        rows.append(Fact("Accepted drafts", text, f"As {drafts.replies:,} replies say."))
        if drafts.tokens_per_step is not None:
            steps = f"{number(drafts.tokens_per_step)} in {number(drafts.steps)} steps"
            rows.append(Fact("Tokens a step", steps, "The accepted drafts and one token of the model's own."))
        if drafts.positions:
            each = ", ".join(share(row.share) for row in drafts.positions)
            rows.append(Fact("Accepted at each position", each, "Of all steps that verified drafts."))
    return rows


def _drafts(run: RunNumbers) -> ReportedDrafts | None:
    requests = run.summary.server_requests
    return None if requests is None else requests.drafts


def acceptance(run: RunNumbers) -> Chart | None:
    """How often the draft at each position was accepted."""
    drafts = _drafts(run)
    if drafts is None or not drafts.positions:
        return None
    rows = drafts.positions
    names = [str(row.position) for row in rows]
    tips = [f"draft {name}, accepted {row.accepted:,} times" for name, row in zip(names, rows, strict=True)]
    bars = Line("accepted", [_percent(row.share) for row in rows], "bars")
    meaning = "Steps that accepted the draft at this position, of all steps that verified drafts, as the replies say."
    return categories(
        "draft_acceptance", "Accepted drafts by position", meaning, "position", names, tips, Panel("%", (bars,))
    )


def tokens_a_step(run: RunNumbers) -> Chart | None:
    """How many tokens each step produced."""
    drafts = _drafts(run)
    if drafts is None or not drafts.steps_by_tokens:
        return None
    rows = drafts.steps_by_tokens
    names = [str(row.tokens) for row in rows]
    tips = [f"{name} tokens, {row.steps:,} steps" for name, row in zip(names, rows, strict=True)]
    bars = Line("steps", [_percent(row.share) for row in rows], "bars")
    meaning = "Steps that verified drafts by the tokens that they gave: the accepted drafts and one of the model's own."
    return categories("tokens_a_step", "Tokens a step", meaning, "tokens", names, tips, Panel("%", (bars,)))


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
