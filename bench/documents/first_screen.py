"""The first screen of a run: what was sent, the verdict, objectives, one table of numbers, errors, and what to do next."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from bench.documents import answers_section, details, formatting, remarks, segments_table
from bench.documents.details import has_tokens
from bench.documents.document import (
    Banner,
    Block,
    Cell,
    Column,
    Finding,
    Findings,
    Level,
    Reason,
    Row,
    Table,
    Tone,
    findings,
)
from bench.documents.formatting import NOTHING, interval, number, signed, signed_share, statistic
from bench.metrics.catalog import METRICS
from bench.results.certificate import KnownCalibration, LedgerCalibration
from bench.results.numbers import TooFewValues
from bench.results.run import RunOrigin
from bench.results.status import Status
from bench.results.summary import ErrorCount, ObjectiveResult, RunSummary
from bench.verdict import headline
from bench.verdict.advice import advice_of

TROUBLESHOOTING = "docs/troubleshooting.md"
VERDICTS: dict[str, tuple[Tone, str]] = {
    "VALID": ("good", "The client measured correctly: nothing suggests that the client or the load went wrong."),
    "SUSPECT": ("warn", "Read the numbers with care: something in the measurement may have gone wrong."),
    "INVALID": ("bad", "Do not use these numbers: the run did not measure what you requested."),
    "FAILED": ("bad", "The target failed: these numbers cover only the requests that it answered."),
}
"""The tone of each verdict, and its meaning."""
ERRORS_SHOWN, _ERROR_WIDTH, _OBJECTIVES_SHOWN, _MISSED_SHOWN = 4, 160, 6, 12


def first_screen(summary: RunSummary) -> Sequence[Block]:
    """The blocks that a run's document begins with."""
    return (
        *_warnings(summary),
        *_objectives(summary),
        _numbers(summary),
        *answers_section.findings(summary),
        *_errors(summary),
        *_next(summary),
    )


def sent_words(summary: RunSummary) -> str:
    """The load in a line: its kind, the requests, their tokens, the kind of reply and the model."""
    run, counts, inputs = summary.run, summary.counts, summary.inputs
    parts = [_load_words(summary), details.requests_text(counts.sent + counts.failed_unsent)]
    if inputs is None:
        tokens, n = summary.tokens, counts.succeeded
        sides = (("in", tokens.prompts.tokens, tokens.prompts.requests), ("out", tokens.output, n))
        means = [(side, total, of) for side, total, of in sides if total and of]
        parts += [
            f"{'' if total % of == 0 and of == n else 'about '}{total / of:,.0f}{' tokens' if not k else ''} {side}"
            for k, (side, total, of) in enumerate(means)
        ]
    elif inputs.have_several:
        each = inputs.per_request.mean
        parts.append(f"{number(each)} {inputs.are.removesuffix('s') if each == 1 else inputs.are} each")
    if run.endpoint:
        streamed = "streamed " if has_tokens(summary) and run.config.get("stream", True) else ""
        parts.append(f"{streamed}{run.endpoint}")
    if run.model:
        parts.append(f"model{'s' if ', ' in run.model else ''} {run.model}")
    return ", ".join(parts)


def _load_words(summary: RunSummary) -> str:
    load, segments = summary.load, summary.segments or ()
    if len(segments) > 1:
        ends = [end for segment in segments for end in (segment.first, segment.last)]
        return f"{number(min(ends))} to {number(max(ends))} {segments_table.unit(summary)}"
    if load.offered_rps is not None:
        return f"{number(load.offered_rps)} requests/s"
    if load.concurrency is not None:
        return f"{number(load.concurrency)} user{'' if load.concurrency == 1 else 's'}"
    sessions = summary.sessions
    if sessions is not None and sessions.offered_per_s is not None:
        return f"{number(sessions.offered_per_s)} sessions/s"
    users = summary.run.config.get("concurrency")
    if isinstance(users, int) and users:
        return f"{number(users)} users"
    return "all at once" if load.mode == "throughput" else f"mode {load.mode}"


def banner(summary: RunSummary) -> tuple[Banner, ...]:
    """The verdict with its reach, its reasons, and what to do about each."""
    verdict = summary.verdict
    line = headline.of(summary, verdict.status, proxy=summary.run.config.get("proxy"))
    tone, meaning = VERDICTS.get(line.status, ("", ""))
    reasons = [Reason(failure) for failure in details.failures(summary)]
    reasons += [Reason(text, advice) for text, advice in zip(verdict.reasons, advice_of(verdict), strict=True)]
    more = f"Causes and remedies: {TROUBLESHOOTING}" if reasons else ""
    objectives = () if summary.slo.held is None else summary.slo.objectives
    missed = _how_many(sum(not objective.held for objective in objectives), "missed")
    held: str = ""
    held_tone: Tone = "good"
    if not missed and verdict.status in (Status.VALID, Status.SUSPECT):
        held = _how_many(len(objectives), "held")
        if held and any(map(details.uncertainty, objectives)):
            held, held_tone = f"{held}, not shown", "warn"
    return (Banner(line.status, line.rest, tone, meaning, _said_once(reasons), more, missed, held, held_tone),)


def _how_many(objectives: int, became: str) -> str:
    return f"{objectives} objectives {became}" if objectives > 1 else f"objective {became}" if objectives else ""


def _said_once(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
    """The reasons; repeated advice is kept only at its last reason."""
    return tuple(
        Reason(reason.text) if any(reason.advice == later.advice for later in reasons[k + 1 :]) else reason
        for k, reason in enumerate(reasons)
    )


def _warnings(summary: RunSummary) -> list[Block]:
    early = details.ended_early(summary)
    blocks: list[Block] = []
    if early:
        blocks.append(findings(early, level=Level.BRIEF))
    if others := [text for text in remarks.warnings(summary) if text not in early]:
        blocks.append(findings(others, level=Level.FIRST))
    return blocks


def _objectives(summary: RunSummary) -> list[Block]:
    """The objectives, missed ones first; if there are many, only some."""
    rows = sorted(summary.slo.objectives, key=lambda row: bool(row.held))
    if not rows:
        return []
    shown = rows[: _objectives_shown(rows)]
    left = [bool(row.held) for row in rows[len(shown) :]]
    more = ", ".join(f"{n} more {word}" for word, n in (("missed", left.count(False)), ("held", left.count(True))) if n)
    notes = (more,) if more else ()
    level = Level.BRIEF if summary.slo.held is False else Level.FIRST
    return [objective_table("Objectives", shown, summary, level=level, notes=notes)]


def _objectives_shown(rows: Sequence[ObjectiveResult]) -> int:
    return max(min(sum(not row.held for row in rows), _MISSED_SHOWN), _OBJECTIVES_SHOWN)


def left_out(summary: RunSummary) -> Iterator[Table]:
    """The full tables of what the first screen shortens: objectives and errors."""
    objectives, errors = summary.slo.objectives, summary.errors
    if len(objectives) > _objectives_shown(objectives):
        yield objective_table("All objectives", objectives, summary)
    messages = by_message(errors)
    if len(messages) > ERRORS_SHOWN + 1 or any(len(row.error or "") > _ERROR_WIDTH for row in errors):
        yield error_table("All errors", [error_row(rows) for rows in messages])


def objective_table(
    title: str,
    rows: Sequence[ObjectiveResult],
    summary: RunSummary,
    *,
    level: Level = Level.USUAL,
    notes: tuple[str, ...] = (),
) -> Table:
    """Objectives: the value of each, and whether it held."""
    good: Tone = "good" if summary.verdict.status == Status.VALID else ""
    columns = (Column("Objective"), Column("Measured"), Column("", left=True, wrap=True))
    cells = tuple(
        Row(
            Cell(row.objective, code=True),
            formatting.objective_value(row),
            Cell("not shown: nothing was measured")
            if summary.slo.held is None
            else Cell(remarks.outcome(row), _tone_of(row, good)),
        )
        for row in rows
    )
    return Table(title, columns, cells, level=level, notes=notes, half=level < Level.USUAL)


def _tone_of(row: ObjectiveResult, good: Tone) -> Tone:
    """Good only if the run shows that the objective is held."""
    if not row.held:
        return "bad"
    return "" if details.uncertainty(row) else good


def _numbers(summary: RunSummary) -> Table:
    """The main table: latencies and rates with their intervals, and the error found by a calibration."""
    calibration = summary.calibration
    known = details.latencies(summary)
    rows = [_latency(summary, name, calibration) for name in _first_latencies(summary) if name in known]
    rows += _job_rows(summary)
    rates = _rates(summary)
    throughput = summary.throughput
    for key, title in rates:
        error = _error_of_rate(calibration, key)
        missing = throughput.too_few.get(key)
        beside = _below(throughput.ci95[key], missing)
        value = Cell(
            number(throughput.of(key)), below=(beside, error),
            hint="" if missing is None else formatting.missing(missing), key=key,
        )  # fmt: skip
        rows.append(Row(title, value))
        if key == "inputs_per_s":
            rows += _images_a_minute(summary)
    columns = (Column(""), Column("Median"), Column("P99"))
    notes = [] if summary.errors else [f"{remarks.no_errors(summary).capitalize()}."]
    if isinstance(calibration, KnownCalibration) and calibration.metrics:
        ago = formatting.age(calibration.age_s)
        notes.append(f"Errors: what a calibration of a similar load found on this machine, {ago} ago.")
    return Table(
        "Latency and throughput", columns, tuple(rows), below=("95% interval", "error"), beside=True, notes=tuple(notes),
        level=Level.FIRST, half=True, lead=True,
    )  # fmt: skip


def _first_latencies(summary: RunSummary) -> tuple[str, ...]:
    if not details.counts_tokens(summary):
        return ("ttfb", "e2el", *details.of_few(summary))
    ttft, ttfo = (summary.latency[key] for key in ("ttft_ms", "ttfo_ms"))
    if not ttft.n and not summary.run.config.get("stream", True):
        return ("e2el", *details.of_few(summary))
    reasons = bool(ttfo.n) and ttfo.p50 != ttft.p50  # The model reasons before its answer.
    return ("ttft", *(("ttfo",) if reasons else ()), "tpot", "e2el", *details.of_few(summary))


def _latency(summary: RunSummary, name: str, calibration: LedgerCalibration | KnownCalibration | None) -> Row:
    metric, row = METRICS[name], summary.latency[METRICS[name].key]
    cells = []
    for stat in ("p50", "p99"):
        missing = row.too_few.get(stat)
        error = _error(calibration, metric.key, stat)
        hint = "" if missing is None else formatting.missing(missing)
        cells.append(
            Cell(statistic(row, stat), below=(_below(row.ci95.get(stat), missing), error), hint=hint,
                 key=f"{name}:{stat}")
        )  # fmt: skip
    return Row(Cell(metric.title, unit=metric.unit), *cells)


def _job_rows(summary: RunSummary) -> Iterator[Row]:
    if summary.jobs is None or summary.jobs.steps.max == 1:  # For jobs of one request, job seconds equal E2EL.
        return
    job_s, rates = summary.jobs.job_s, summary.jobs.rates
    cells = (_of_jobs(job_s.of(stat), job_s.ci95.get(stat)) for stat in ("p50", "p99"))
    yield Row(Cell("Job", unit="s"), *cells)
    yield Row("Jobs/h", _of_jobs(rates.jobs_per_hour, rates.ci95["jobs_per_hour"]))


def _of_jobs(value: float | None, ends: Sequence[float] | None) -> Cell:
    missing = "" if value is None else remarks.TOO_FEW
    return Cell(number(value), below=(interval(ends) or missing,))


def _rates(summary: RunSummary) -> list[tuple[str, str]]:
    if summary.inputs is None:
        return [("output_tokens_per_s", "Output tokens/s"), ("requests_per_s", "Requests/s")]
    if not summary.inputs.have_tokens:
        return [("requests_per_s", "Requests/s")]
    are = f"{summary.inputs.are.capitalize()}/s"
    tokens = [] if summary.throughput.input_tokens_per_s is None else [("input_tokens_per_s", "Input tokens/s")]
    return [("inputs_per_s", are), *tokens, ("requests_per_s", "Requests/s")]


def _images_a_minute(summary: RunSummary) -> Iterator[Row]:
    rate = summary.throughput.inputs_per_s
    if summary.inputs is None or summary.inputs.are != "images" or not isinstance(rate, float | int):
        return
    ends = summary.throughput.ci95["inputs_per_s"]
    per_minute = None if ends is None else [60 * end for end in ends]
    yield Row("Images/min", Cell(number(60 * rate), below=(_below(per_minute, None),)))


def _below(ends: Sequence[float] | None, missing: TooFewValues | None) -> str:
    return interval(ends) or (remarks.TOO_FEW if missing is not None else "")


def _error(calibration: LedgerCalibration | KnownCalibration | None, metric: str, stat: str) -> str:
    """The error of a statistic found by a calibration; empty if there is none."""
    rows = () if calibration is None else calibration.metrics
    return next((signed(row.error) for row in rows if row.metric == metric and row.stat == stat), "")


def _error_of_rate(calibration: LedgerCalibration | KnownCalibration | None, rate: str) -> str:
    """The error of a rate as a share, which needs the ledger of this run; else empty."""
    rows = calibration.throughput if isinstance(calibration, LedgerCalibration) else ()
    return next((signed_share(row.error_share) for row in rows if row.metric == rate), "")


def _errors(summary: RunSummary) -> Iterator[Block]:
    rows = by_message(summary.errors)
    if not rows:
        return
    shown = rows[:ERRORS_SHOWN] if len(rows) > ERRORS_SHOWN + 1 else rows
    left = rows[len(shown) :]
    cells = [error_row(row, _ERROR_WIDTH) for row in shown]
    if left:
        rest = sum(row.n for group in left for row in group)
        cells.append(Row(f"{rest:,}", "", "", f"with {len(left)} other messages"))
    yield error_table("Errors", cells, level=Level.BRIEF)


def error_table(title: str, rows: Sequence[Row], *, level: Level = Level.USUAL) -> Table:
    """Errors, the most frequent first."""
    columns = (
        Column("Requests", left=True), Column("Outcome", left=True), Column("Status", left=True),
        Column("Message", left=True, wrap=True),
    )  # fmt: skip
    return Table(title, columns, tuple(rows), level=level, half=level is Level.BRIEF)


def by_message(errors: Sequence[ErrorCount]) -> list[list[ErrorCount]]:
    """The errors grouped by message, the most frequent first. Errors without a message are grouped by outcome and
    status."""
    groups: dict[object, list[ErrorCount]] = {}
    for row in errors:
        groups.setdefault(row.error or (row.outcome, row.status), []).append(row)
    return sorted(groups.values(), key=lambda rows: -sum(row.n for row in rows))


def error_row(rows: Sequence[ErrorCount], width: int | None = None) -> Row:
    """Errors of one message: how often it occurred, how often with each outcome if there are several, and at most
    `width` characters of the server's message."""
    message = rows[0].error or ""
    if width is not None and len(message) > width:
        message = message[:width] + "…"
    counts = Counter[str]()
    for row in rows:
        counts[row.outcome] += row.n
    outcomes = [f"{outcome} {n:,}" if len(counts) > 1 else outcome for outcome, n in counts.items()]
    statuses = dict.fromkeys(NOTHING if row.status is None else str(row.status) for row in rows)
    return Row(f"{counts.total():,}", Cell(", ".join(outcomes), code=True), ", ".join(statuses), message)


def _next(summary: RunSummary) -> list[Block]:
    """The next steps after a run whose numbers may be used: at most two commands."""
    status = summary.verdict.status
    if status not in (Status.VALID, Status.SUSPECT) or not summary.counts.succeeded:
        return []
    if "imported" in (summary.verdict.signs or ()):  # Trueload did not send its load, so its own flags do not apply.
        return []
    suggestions = [*_keep_objectives(summary), *_longer(summary), *_calibrate(summary)]
    if not suggestions:
        suggestions = [Finding("compares it with another run", command="python -m bench compare RUN OTHER")]
    most = 2 if status == Status.VALID else 1
    return [Findings(tuple(suggestions[:most]), title="Next", level=Level.FIRST, half=True)]


def _keep_objectives(summary: RunSummary) -> Iterator[Finding]:
    """Suggests a search if the objectives are missed or surely held. If they are held, but not surely, a longer run
    helps more."""
    held, objectives = summary.slo.held, summary.slo.objectives
    if held is False or (held and objectives and not any(map(details.uncertainty, objectives))):
        text = f"(same flags) finds {'the largest' if held else 'a'} load that keeps the objectives"
        yield Finding(text, command="python -m bench search")


def _longer(summary: RunSummary) -> Iterator[Finding]:
    """Suggests a run long enough for the first percentile that has no interval."""
    if summary.run.stop_reason == "interrupted":
        yield Finding("(same flags), to its end, measures what was planned", command="python -m bench run")
        return
    if summary.load.backlog is not None and summary.load.backlog.rises:
        config = summary.run.config
        if config.get("mode") == "trace":
            text = f"below {config.get('trace_speed', 1.0):g} sends the rows more slowly, which the server may keep up with"
            yield Finding(text, command="--trace-speed")
        elif not summary.slo.objectives:
            of_requests = summary.load.backlog.of == "requests"
            load, quantity = ("rate", "a rate") if of_requests else ("sessions", "how many sessions at a time")
            text = f"with an objective and the other flags finds {quantity} the server keeps up with"
            yield Finding(text, command=f"python -m bench search --load {load}")
        return
    latency = summary.latency
    row = latency["ttft_ms"] if latency["ttft_ms"].n else latency["e2el_ms"]
    for stat in ("p50", "p90", "p99"):
        missing = row.too_few.get(stat)
        if missing is not None and missing.run_s is not None:
            name = headline.PERCENTILES[stat]
            gives = f"gives {'the median' if stat == 'p50' else name} its interval"
            yield _lasting(summary.run, math.ceil(missing.run_s), gives)
            return


def _lasting(run: RunOrigin, seconds: int, gives: str) -> Finding:
    """How to make the load last this long. Loads whose length is not `--duration` refuse it, or end before it."""
    config = run.config
    changes = next((flag for flag in ("steps", "ramp") if config.get(flag) is not None), None)
    if changes is not None:
        return Finding(f"of {seconds} s in all {gives}", command=f"--{changes}")
    if config.get("mode") == "trace" and run.stop_reason == "requests":
        return Finding(f"with {seconds} s of requests {gives}", command="--dataset")
    instead = "in place of --requests " if config.get("requests") is not None else ""
    return Finding(f"{instead}{gives}", command=f"--duration {seconds}s")


def _calibrate(summary: RunSummary) -> Iterator[Finding]:
    if summary.calibration is None:
        text = "(same flags) measures the error of these numbers"
        yield Finding(text, command="python -m bench calibrate")
