"""The sentences of a report, the same in the terminal, on the page and in Markdown: whether an objective held, warnings
and notes."""

from __future__ import annotations

from collections.abc import Iterator

from bench.documents import details, jobs, parts_table
from bench.documents.formatting import number
from bench.metrics.run_numbers import number_of
from bench.results.numbers import QUANTILES, may_break
from bench.results.summary import ObjectiveResult, PartNumbers, RunSummary

TOO_FEW = "too few"
"""Replaces the interval of a number with too few independent values for one."""


def outcome(objective: ObjectiveResult) -> str:
    """Whether the value of an objective meets its limit, and why the interval does not show it, if it does not."""
    status, unsure = "held" if objective.held else "missed", details.uncertainty(objective)
    return f"{status}, {unsure}" if unsure else status


def no_errors(summary: RunSummary) -> str:
    """The text for a run without errors."""
    if not summary.counts.succeeded:
        return "no request was answered"
    return "no request failed after the warm-up" if summary.counts.warmup.failed else "no request failed"


def warnings(summary: RunSummary) -> list[str]:
    """What the numbers leave out, or what disturbed them, besides the reasons of the verdict."""
    return [
        *details.ended_early(summary),
        *_held_by_the_answered(summary),
        *_warmup_failed(summary),
        *_stolen(summary),
        *_idle_users(summary),
        *_longer_prompts(summary),
        *_over_limit(summary),
        *_all_at_once(summary),
        *_piles_up(summary),
        *summary.window.warnings,
        *jobs.warnings(summary),
    ]


def _held_by_the_answered(summary: RunSummary) -> Iterator[str]:
    """Quantiles that held only because failed requests have no latency; a search would count these as missed. A limit
    on all failures does not limit those of one part, which may be a small share."""
    parts: list[tuple[str, RunSummary | PartNumbers]] = [("", summary), *parts_table.of_every_kind(summary)]
    for where, part in parts:
        objectives = [row for row in summary.slo.objectives if _speaks_of(row, where)]
        failed = number_of(part, "error_rate", None).value
        if not failed or any(row.metric == "error_rate" for row in objectives):
            continue
        names = [
            row.objective
            for row in objectives
            if row.held and row.metric != "job" and row.stat in QUANTILES and failed > may_break(row.stat, row.op)
        ]
        if names:
            of = where.strip("{}").replace("=", " ", 1) or "all"
            yield (
                f"{', '.join(names)} held among the answered requests alone: {failed:.1%} of {of} failed, which is more than "
                f'may break it. Add --slo "error_rate{where}<1%" to judge them, too.'
            )


def _speaks_of(row: ObjectiveResult, where: str) -> bool:
    """Whether an objective is about a part, `{class=chat}`, or about the whole run (an empty text)."""
    text = "".join(row.objective.split())
    return "".join(where.split()) in text if where else "{" not in text


def _warmup_failed(summary: RunSummary) -> Iterator[str]:
    failed, of = summary.counts.warmup.failed, summary.counts.warmup.requests
    if failed:
        cold = " The server may still have been cold when the run began." if 2 * failed > of else ""
        yield f"{failed:,} of {of:,} requests of the warm-up failed ({failed / of:.1%}).{cold}"


_MUCH_STOLEN = 0.05
"""The share of stolen processor time that is reported. A virtual machine that ran tests for three hours lost 0.3%."""


def _stolen(summary: RunSummary) -> Iterator[str]:
    """A machine that does not run stamps nothing, and its kernel stamps what has come meanwhile when it runs again."""
    stolen = summary.instrument.stolen
    if stolen is not None and stolen.share > _MUCH_STOLEN:
        yield (
            f"This virtual machine was kept from running: its host withheld {stolen.share:.1%} of the processor time that it "
            "would have used. What came meanwhile was stamped when it ran again, by the kernel too: latencies can be too "
            "long, P99 first. Use dedicated processors."
        )


def _idle_users(summary: RunSummary) -> Iterator[str]:
    users, requests = summary.load.concurrency, summary.run.config.get("requests")
    if summary.load.mode == "concurrency" and users is not None and isinstance(requests, int) and requests < users:
        yield (
            f"The run had {requests:,} request{'' if requests == 1 else 's'} for {users:,} users: at most "
            f"{summary.load.concurrency_max:,} were in flight. For {users:,}, give --requests {10 * users} (ten for each "
            "user) or --duration 60s."
        )


_LONGER_SHARE, _LONGER_EACH = 0.2, 50
"""If a server counts more tokens than this, as a share of the prompts' tokens and per prompt, the report mentions it: a
chat template adds 5 to 40."""


def _longer_prompts(summary: RunSummary) -> Iterator[str]:
    tokens, compared = summary.tokens, summary.tokens.asked_against_got.input.compared
    asked, usage = tokens.asked.input, tokens.usage.input
    if not asked or usage is None or compared != summary.counts.succeeded:
        return
    if usage > (1 + _LONGER_SHARE) * asked and usage > asked + _LONGER_EACH * compared:
        yield (
            f"The server counts {usage:,} input tokens where {asked:,} were sent, {(usage - asked) / compared:,.0f} more in "
            "each prompt: a system prompt or template that it adds, or another tokenizer. The load is longer than planned."
        )


_MANY_OVER = 0.05
"""The share of replies over their limit that is reported: a server may count an end token in addition to the limit."""


def _over_limit(summary: RunSummary) -> Iterator[str]:
    over, tokens = summary.tokens.over_limit, summary.tokens
    if over.share is not None and over.share > _MANY_OVER:
        of = "the replies"
        limit = f": {tokens.output:,} tokens, where {tokens.asked.output:,} were the limit"
        if over.judged != summary.counts.succeeded:  # The sum of all tokens includes replies without a limit.
            of, limit = f"the {over.judged:,} replies with a limit", ""
        yield (
            f"{over.share:.1%} of {of} have more output tokens than the limit that was sent: the server does not keep to it. "
            f"The load is longer than planned{limit}."
        )


_AT_ONCE_MS = 0.05
"""A TPOT that no model reaches: 20,000 tokens a second for one user."""


def _all_at_once(summary: RunSummary) -> Iterator[str]:
    """Replies that were buffered before they were sent. If the client read late, the stamps have bounds."""
    tpot = summary.latency.get("tpot_ms")
    if tpot is not None and tpot.p50 is not None and tpot.p50 < _AT_ONCE_MS and "p50" not in tpot.bounds:
        yield (
            f"The median TPOT is {number(tpot.p50)} ms: in most replies all tokens came at once, so the server or a proxy "
            "collected them. TPOT and ITL do not say how fast the server generates, and TTFT is the time to the whole reply."
        )


def _piles_up(summary: RunSummary) -> Iterator[str]:
    backlog = summary.load.backlog
    if backlog is not None and backlog.rises:
        first, last, times = (f"{value:,.3g}" for value in (backlog.first, backlog.last, backlog.e2el_growth))
        subject = "requests in flight" if backlog.of == "requests" else "sessions under way"
        rate = "these times of the requests" if summary.run.config.get("mode") == "trace" else "this rate"
        yield (
            f"The number of {subject} kept rising while the load was sent: {first} in its first third, {last} in its last. "
            f"E2EL became {times} times as long. If the server does not keep up with {rate}, a longer load has longer "
            "latencies."
        )


def notes(summary: RunSummary) -> list[str]:
    """The notes of the run."""
    return [*(summary.run.notes or ())]
