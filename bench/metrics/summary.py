"""Turns records into `summary.json`: add each record, close, and render the result.

Nothing here depends on the order in which records are added, so live and replayed records give the same bytes. A few
numbers are kept for each request (columns.py), and counts for its tokens (tokens.py, arrivals.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import numpy as np

from bench.clock import NS_PER_MS, NS_PER_S
from bench.metrics import compat, series, sureness
from bench.metrics.arrays import ascending, known, view
from bench.metrics.arrivals import Arrivals
from bench.metrics.by_part import USUAL, ByPart, of_objectives
from bench.metrics.cache_plan import CachePlan
from bench.metrics.cancelled import Cancelled
from bench.metrics.catalog import request_values
from bench.metrics.chosen_requests import ChosenRequests
from bench.metrics.columns import Columns, happened
from bench.metrics.facts import RunFacts
from bench.metrics.inputs import Inputs
from bench.metrics.instrument import WorkerSamples
from bench.metrics.job_numbers import JobNumbers
from bench.metrics.load import Readiness, Spans, backlog, describe_load, piles_up
from bench.metrics.media import Media
from bench.metrics.objectives import evaluate, meet_all
from bench.metrics.page_data import PageData, page_data
from bench.metrics.quantile import describe, quantile
from bench.metrics.request_metrics import hidden_tokens, output_tokens
from bench.metrics.run_numbers import Numbers
from bench.metrics.scope import RunData, Scope, in_send_order
from bench.metrics.segments import describe_segments
from bench.metrics.server_requests import ServerRequests
from bench.metrics.session_counts import SessionCounts
from bench.metrics.step_histograms import StepHistograms
from bench.metrics.tally import RecordTally
from bench.metrics.target_skew import TargetShares, alone, compared
from bench.metrics.token_gaps import TokenGaps
from bench.metrics.tokens import TokenTimes
from bench.metrics.window import Window, describe_window, steady_window
from bench.records import NO_FAILURE, Outcome
from bench.records.record_table import Ints, Mask, RecordTable
from bench.results.base import rounded
from bench.results.load import Backlog, Instrument
from bench.results.numbers import Goodput, Metric, Throughput, ToolColumn
from bench.results.series import Series
from bench.results.summary import (
    SCHEMA,
    ClassNumbers,
    Counts,
    ModelNumbers,
    PartNumbers,
    Steady,
    SummaryNumbers,
    TargetNumbers,
    WarmupCounts,
)

_PARTS: dict[str, type[PartNumbers]] = {"model": ModelNumbers, "class": ClassNumbers, "target": TargetNumbers}


class _ScopeNumbers(NamedTuple):
    latency: Mapping[str, Metric]
    throughput: Throughput
    goodput: Goodput | None


class Summary:
    """Folds the records and samples of one run; `close` returns the content of summary.json.

    The caller adds four keys: `run`, `verdict`, `calibration` and `prefix_cache`.
    """

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._columns = Columns(facts.start_ns)
        self._tokens = TokenTimes(facts.seed)
        self._arrivals = Arrivals()
        self._good_arrivals = Arrivals()
        self._bytes_in = Arrivals(NS_PER_S)
        self._tally = RecordTally()
        self._cancelled = Cancelled()
        self._itl = StepHistograms()
        self._chosen = ChosenRequests(facts.start_ns)
        self._readings = compat.Readings()
        self._spans = Spans()
        self._readiness = Readiness()
        self._samples = WorkerSamples()
        self._inputs = Inputs()
        self._media = Media()
        self._jobs = JobNumbers(facts.start_ns)
        self._sessions = SessionCounts()
        self.cache_plan = CachePlan()
        self._said = ServerRequests()
        self._warmup: Counter[Outcome] = Counter()
        self._warmup_end_ns: int | None = None
        self._result: SummaryNumbers | None = None
        alone = replace(facts, models=(), classes=(), replicas=None, targets=(), answers=None)
        self._target_shares = TargetShares() if facts.replicas == "reply" else None
        usual = USUAL if facts.model is None else USUAL | {"model": facts.model}
        self._parts = {
            kind: ByPart(kind, lambda: Summary(alone), usual=usual[kind], known=known)
            for kind, known, several in (
                ("model", (), facts.models),
                ("class", facts.classes, facts.classes),
                ("target", facts.targets, facts.replicas),
            )
            if several
        }

    def add(self, table: RecordTable) -> None:
        """Add records, in any order. Warm-up requests are counted separately, and are not part of any other number."""
        self._result = None
        self._spans.add(table)
        self._jobs.add(table)
        self._sessions.add(table)
        self.cache_plan.add(table)
        self._add_warmup(table.where(~table.is_run))
        run = table.where(table.is_run)
        if not len(run):
            return
        for parts in self._parts.values():
            parts.add(run)
        if self._target_shares is not None:
            self._target_shares.add(run)
        facts, values = self._facts, request_values(run)
        good = meet_all(run, facts.objectives) & facts.has_latency_objectives
        self._columns.add(run, values, good)
        self._tally.add(run)
        self._cancelled.add(run)
        self._chosen.add(run, values)
        if not facts.open_loop:
            self._readiness.add(run)
        self._readings.add(run)
        self._add_bytes(run)
        of_inputs = run.has("inputs")
        if (inputs := run.where(run.ok & of_inputs)).records:
            self._inputs.add(inputs)
            self._tally.add_input_tokens(inputs)
        if (texts := run.where(run.ok & ~of_inputs)).records:
            self._media.add(texts)
            self._said.add(texts)
            self._add_texts(texts, good[run.ok & ~of_inputs])

    def _add_warmup(self, table: RecordTable) -> None:
        if len(table):
            self._warmup.update(table.column("outcome"))
            end_ns = int(table.ints("end_ns").max()) - self._facts.start_ns
            self._warmup_end_ns = end_ns if self._warmup_end_ns is None else max(self._warmup_end_ns, end_ns)

    def _add_bytes(self, table: RecordTable) -> None:
        """Spread each body evenly over its chunks, since records do not tell which bytes came with which chunk."""
        start_ns = self._facts.start_ns
        streamed = table.sizes > 0
        bodies = table.where(streamed & (table.ints("bytes_received") > 0))
        self._bytes_in.spread(bodies.chunk_ns - start_ns, bodies.starts, bodies.ints("bytes_received"))
        whole = ~streamed & (table.ints("bytes_received") > 0)
        self._bytes_in.add(table.ints("end_ns")[whole] - start_ns, table.ints("bytes_received")[whole])

    def _add_texts(self, table: RecordTable, good: Mask) -> None:
        """Add the times and numbers of the tokens of successful requests."""
        n, gaps = output_tokens(table), TokenGaps(table)
        self._tally.add_texts(table, n, gaps.gaps)
        _add_arrivals(self._arrivals, table, n, self._facts.start_ns)
        if good.any():
            _add_arrivals(self._good_arrivals, table.where(good), n[good], self._facts.start_ns)
        self._tokens.add(table, gaps, self._facts.start_ns)
        sent = table.has("sent_ns")[gaps.itl.row]
        self._itl.extend(gaps.itl.end_ns[sent] - self._facts.start_ns, gaps.itl.ns[sent])

    def add_sample(self, row: Mapping[str, object]) -> None:
        self._result = None
        self._samples.add(row)

    def close(self) -> SummaryNumbers:
        """The summary of everything added. Closing again without adding gives the same."""
        if self._result is None:
            self._columns.sort()
            self._result = rounded(self._summarize())
        return self._result

    def page_data(self) -> PageData:
        """The data of the run's page beyond the summary."""
        over_time = self.close().series
        return rounded(page_data(self._columns, self._arrivals, self._bytes_in, self._itl, self._chosen, over_time))

    def _summarize(self) -> SummaryNumbers:
        facts, columns, tally = self._facts, self._columns, self._tally
        counts = self._counts()
        over_time = series.over_time(columns, self._arrivals, self._bytes_in)
        window = self._window(over_time)
        load = describe_load(facts, columns, self._spans, self._samples, self._readiness, self._sessions)
        data = self._data(load.backlog)
        scope = Scope(data, None)
        latency, throughput, goodput = self._numbers(scope)
        parts = {kind: [*by_part.numbers(scope.span)] for kind, by_part in self._parts.items()}
        jobs = self._jobs.describe(scope.span, latency["tpot_ms"], facts.gpus)
        whole = Numbers(
            latency=latency,
            throughput=throughput,
            goodput=goodput,
            goodput_ci95=self._goodput_interval() if facts.limits_goodput else None,
            error_rate=_error_rate(counts),
            error_rate_ci95=self._error_rate_interval() if facts.limits_errors else None,
            jobs=jobs,
            answers=facts.answers,
        )
        return SummaryNumbers(
            schema=SCHEMA,
            slo=evaluate(facts.objectives, whole, of_objectives(parts)),
            models=cast("list[ModelNumbers] | None", parts.get("model")),
            classes=cast("list[ClassNumbers] | None", parts.get("class")),
            per_target=self._per_target(cast("list[TargetNumbers] | None", parts.get("target"))),
            counts=counts,
            errors=tally.errors(),
            load=load,
            latency=latency,
            throughput=throughput,
            goodput=goodput,
            sessions=self._sessions.describe(facts.sessions_per_s),
            jobs=jobs,
            server_requests=self._said.describe(),
            answers=facts.answers,
            cancelled=self._cancelled.describe(scope.duration_s),
            latency_of_failures_ms=describe(sorted(happened(columns.failed_after_ms))),
            stalls=tally.stalls(),
            window=describe_window(
                window,
                self._e2el_inside(window),
                over_time,
                facts.open_loop,
                users=facts.concurrency,
                changes=bool(facts.segments),
            ),
            steady=None if window is None else Steady(**self._numbers(Scope(data, window))._asdict()),
            segments=describe_segments(facts, data, self._spans),
            changes=[change.result() for change in facts.changes],
            series=over_time,
            distributions=series.distributions(columns, over_time),
            tokens=tally.tokens(),
            inputs=None if facts.inputs_are is None else self._inputs.describe(facts.inputs_are),
            media=self._media.describe(),
            instrument=self._instrument(throughput.duration_s),
            compat=self._compat(latency, throughput),
        )

    def _per_target(self, parts: list[TargetNumbers] | None) -> list[TargetNumbers] | None:
        if parts is None:
            return None
        columns = {name: summary._columns for name, summary in self._parts["target"].summaries.items()}
        return compared(parts, columns, self._target_shares)

    def _instrument(self, duration_s: float | None) -> Instrument:
        tally, samples = self._tally, self._samples
        return Instrument(
            send_lateness_ms=describe(sorted(happened(self._columns.lateness_ms))),
            connect_ms=tally.connect_ms(),
            clock=tally.clock(),
            coalesced=tally.coalesced(),
            stamp_bounds=tally.stamp_bounds(self._tokens.gaps().snapshot()),
            loop_lag_ms=samples.loop_lag_ms(),
            cpu=samples.cpu(),
            run_queue=samples.run_queue(),
            stolen=samples.stolen(),
            pause=samples.longest_pause(self._facts.start_ns, duration_s),
            workers=samples.workers(),
        )

    def part(self, kind: str, name: str, over: tuple[float, float] | None) -> PartNumbers:
        """The numbers of everything added, as a part of a run that took this time."""
        self._columns.sort()
        counts = self._counts()
        data = self._data(backlog(self._facts, self._columns, self._sessions))
        error_rate = _error_rate(counts)
        return _PARTS[kind](
            name=name,
            sent=counts.sent,
            succeeded=counts.succeeded,
            failed=counts.failed,
            by_outcome=counts.by_outcome,
            error_rate=error_rate,
            error_rate_ci95=None if error_rate is None else self._error_rate_interval(),
            **self._numbers(Scope(data, None, over))._asdict(),
            **(alone(self._columns) if kind == "target" else {}),
        )

    def _data(self, trend: Backlog | None) -> RunData:
        facts = self._facts
        return RunData(
            self._columns, self._tokens, self._arrivals, self._good_arrivals, facts.inputs_are, facts.measures,
            piles_up(facts, self._columns, trend),
        )  # fmt: skip

    def _numbers(self, scope: Scope) -> _ScopeNumbers:
        goodput = scope.goodput() if self._facts.has_latency_objectives else None
        return _ScopeNumbers(scope.latency(), scope.throughput(), goodput)

    def _error_rate_interval(self) -> list[float] | None:
        columns = self._columns
        rows = in_send_order(columns)
        failed = view(columns.failed)[rows]
        tried = rows[view(columns.ok)[rows] | failed]
        latencies = known(view(columns.metrics["e2el_ms"])[tried])
        return sureness.of_error_rate(view(columns.failed)[tried], latencies)

    def _goodput_interval(self) -> list[float] | None:
        columns = self._columns
        rows = in_send_order(columns)
        rows = rows[columns.judged[rows]]
        latencies = known(view(columns.metrics["e2el_ms"])[rows])
        return sureness.of_error_rate(view(columns.good)[rows], latencies)

    def _compat(self, latency: Mapping[str, Metric], throughput: Throughput) -> dict[str, ToolColumn]:
        if self._facts.inputs_are is not None:
            return compat.numbers_of_inputs(self._facts.inputs_are, throughput.requests_per_s, latency["e2el_ms"])
        ours = compat.OurNumbers(latency, self._tally.output_tokens)
        gaps, duration_s = self._tokens.gaps(), throughput.duration_s
        return compat.numbers_of_tools(self._readings, gaps, duration_s, ours, endpoint=self._facts.endpoint)

    def _counts(self) -> Counts:
        columns, outcomes = self._columns, self._columns.outcomes
        apart = {o: outcomes[o] for o in NO_FAILURE}
        return Counts(
            planned=self._facts.planned,
            sent=len(happened(columns.sent)),
            succeeded=apart[Outcome.OK],
            failed=outcomes.total() - sum(apart.values()),
            failed_unsent=self._tally.unsent,
            target_gone=self._tally.target_gone(self._facts.start_ns),
            interrupted=apart[Outcome.INTERRUPTED],
            dropped=apart[Outcome.DROPPED],
            cancelled=apart[Outcome.CANCELLED] or None,
            retried=self._tally.retried,
            retried_late=self._tally.retried_late or None,
            by_outcome={str(o): outcomes[o] for o in Outcome if outcomes[o]},
            by_status=series.by_status(columns),
            warmup=WarmupCounts(
                requests=self._warmup.total(),
                by_outcome={str(o): self._warmup[o] for o in Outcome if self._warmup[o]},
            ),
        )

    def _window(self, over_time: Series) -> Window | None:
        sent = known(view(self._columns.sent))
        if not len(sent) or self._facts.segments:
            return None
        begin = self._facts.ramp_s * NS_PER_S
        if self._warmup_end_ns is not None:
            begin = max(begin, self._warmup_end_ns)
        e2el_ms = ascending(view(self._columns.metrics["e2el_ms"]))
        request_ns = quantile(e2el_ms, 0.5) * NS_PER_MS if e2el_ms else 0
        return steady_window(
            float(sent.min()),
            float(sent.max()),
            begin,
            request_ns,
            over_time,
            self._tokens.slice_start_ns,
            self._facts.open_loop,
        )

    def _e2el_inside(self, window: Window | None) -> Sequence[float]:
        if window is None:
            return []
        sent, ms = view(self._columns.sent), view(self._columns.metrics["e2el_ms"])
        return ascending(ms[(window.start_ns <= sent) & (sent <= window.end_ns)])


def _add_arrivals(arrivals: Arrivals, table: RecordTable, n: Ints, start_ns: int) -> None:
    """Assign the n tokens of each request to the chunks that contained them, or evenly if that is unknown.

    If the usage differs from the sum over the chunks (because of an end token without text, for example), the
    difference is assigned to the last chunk, so that the tokens over time add up to the tokens of the run.
    """
    chunks = table.token_chunks
    times, has_text = chunks.ns - start_ns, chunks.counts > 0
    hidden = np.where(has_text, hidden_tokens(table), 0)
    shown = n - hidden
    arrivals.add((table.ints("end_ns") - start_ns)[~has_text], n[~has_text])
    spread = has_text & ~table.has_chunk_tokens
    counts = chunks.counts[spread]
    arrivals.spread(times[spread[chunks.row]], np.cumsum(counts) - counts, shown[spread])
    known = has_text & table.has_chunk_tokens
    of_known = known[chunks.row]
    tokens = chunks.tokens[of_known]
    arrivals.add(times[of_known], None if (tokens == 1).all() else tokens)
    rest = np.where(known, shown - chunks.sums(chunks.tokens), 0)
    arrivals.add(chunks.last(times)[rest != 0], rest[rest != 0])
    arrivals.add(chunks.first(times)[hidden > 0], hidden[hidden > 0])


def _error_rate(counts: Counts) -> float | None:
    tried = counts.succeeded + counts.failed
    return counts.failed / tried if tried else None
