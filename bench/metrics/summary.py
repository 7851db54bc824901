"""Records in, `summary.json` out: add each record, close, and render what comes out.

Nothing here depends on the order in which records are added, so live and replayed records give the same bytes. What is
kept of a request is a few numbers (columns.py); what is kept of its tokens is counts (tokens.py, arrivals.py).
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import sub
from typing import Any

from bench.metrics import per_request, series, window
from bench.metrics.arrivals import NS_PER_S, Arrivals
from bench.metrics.catalog import METRICS, RequestMetric
from bench.metrics.columns import Columns, happened
from bench.metrics.facts import RunFacts
from bench.metrics.histogram import RELATIVE_ERROR, LogHistogram, Snapshot
from bench.metrics.instrument import WorkerSamples
from bench.metrics.intervals import Interval, clustered_intervals, mean_interval, quantile_intervals
from bench.metrics.objectives import evaluate, meets_all
from bench.metrics.quantile import QUANTILES, describe
from bench.metrics.tokens import TokenTimes
from bench.metrics.window import Window
from bench.records import Outcome, RequestRecord
from bench.rng import stream

SCHEMA = "trueload/summary/1"

WIDE_BOUND_NS = 100_000
"""A stamp whose bound is wider than this, and than 1 % of the median gap, is a wide one."""

_NS_PER_MS = 1e6
_ERRORS_SHOWN = 50
_ERROR_TEXTS_HELD = 1_000
_ERROR_TEXT_LENGTH = 500


class Summary:
    """Folds the records and samples of one run; `close` gives the content of summary.json.

    Three keys are left to the caller, who knows them: `run`, `verdict` and `calibration`.
    """

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._columns = Columns(facts.start_ns)
        self._tokens = TokenTimes(facts.seed)
        self._arrivals = Arrivals()
        self._good_arrivals = Arrivals()
        self._bytes_in = Arrivals(NS_PER_S)
        self._samples = WorkerSamples()
        self._spans: dict[int, tuple[array[float], array[float]]] = {}
        self._warmup: Counter[Outcome] = Counter()
        self._warmup_end_ns: int | None = None
        self._count: Counter[str] = Counter()
        self._sum: Counter[str] = Counter()
        self._errors: Counter[tuple[str, int, str]] = Counter()
        self._bounds = LogHistogram()
        self._connects_ms = array("d")
        self._stall_max_ns = 0
        self._result: dict[str, Any] | None = None

    def add(self, record: RequestRecord) -> None:
        """One record, in any order. Warm-up requests are counted apart and are in no other number."""
        self._result = None
        if record.sent_ns is not None:
            # Little's law is about all that was in flight, warm-up and failures too.
            begins, ends = self._spans.setdefault(record.worker, (array("d"), array("d")))
            begins.append(record.sent_ns)
            ends.append(record.end_ns)
        if record.phase == "warmup":
            self._warmup[record.outcome] += 1
            end_ns = record.end_ns - self._facts.start_ns
            self._warmup_end_ns = end_ns if self._warmup_end_ns is None else max(self._warmup_end_ns, end_ns)
            return
        good = meets_all(record, self._facts.objectives)
        self._columns.add(record, good)
        self._add_transfer(record)
        if record.outcome is Outcome.OK:
            self._add_tokens(record, good)
        elif record.outcome is not Outcome.DROPPED:
            self._add_error(record)

    def add_sample(self, row: Mapping[str, Any]) -> None:
        """One line of samples.jsonl."""
        self._result = None
        self._samples.add(row)

    def close(self) -> dict[str, Any]:
        """The summary of all that was added. Closing again, without adding, gives the same."""
        if self._result is None:
            self._columns.sort()
            self._result = _rounded(self._summarize())
        return self._result

    def _add_transfer(self, record: RequestRecord) -> None:
        """Bytes, and what the client's stamps are worth."""
        start_ns, count = self._facts.start_ns, self._count
        if record.bytes_received:
            # Where each byte lay is not kept: a body is spread evenly over the chunks that it came in.
            times = list(map(sub, record.chunk_ns, repeat(start_ns))) or [record.end_ns - start_ns]
            self._bytes_in.spread(times, record.bytes_received)
        if record.sent_ns is not None:
            count[f"clock {record.clock}"] += 1
        if record.attempts > 1:
            count["retried"] += 1
        if record.connect_ns:
            self._connects_ms.append(record.connect_ns / _NS_PER_MS)
        count["chunks"] += len(record.chunk_ns)
        count["coalesced"] += record.coalesced
        if record.chunk_bound_ns is not None:
            self._bounds.extend(per_request.stamp_bound_widths_ns(record))
            self._bounds.fold()

    def _add_tokens(self, record: RequestRecord, good: bool) -> None:
        """Times and numbers of the tokens of a successful request."""
        count, total = self._count, self._sum
        n = per_request.output_tokens(record)
        self._add_token_counts(record, n)
        start_ns = self._facts.start_ns
        times = list(map(sub, per_request.token_chunk_ns(record), repeat(start_ns)))
        tokens = per_request.token_chunk_tokens(record)
        total["token_chunks"] += len(times)
        for arrivals in (self._arrivals, self._good_arrivals) if good else (self._arrivals,):
            _add_arrivals(arrivals, times, tokens, n, record.end_ns - start_ns)
        if record.sent_ns is None or not times:
            return
        if tokens is None:
            count["chunk_tokens_unknown"] += 1
        elif max(tokens) > 1:
            count["several_tokens_a_chunk"] += 1
        gaps = list(map(sub, times[1:], times))
        one_each = tokens is None or (len(set(tokens[1:])) <= 1 and 1 in tokens[1:])
        itl = None if one_each or not gaps else per_request.itl_ns(record)
        self._tokens.add(record.index, record.sent_ns - start_ns, gaps, itl)
        if stalls := per_request.stalls_ns(gaps):
            count["stalled_requests"] += 1
            count["stalls"] += len(stalls)
            self._stall_max_ns = max(self._stall_max_ns, *stalls)

    def _add_token_counts(self, record: RequestRecord, n: int) -> None:
        count, total = self._count, self._sum
        source = "chunks" if record.output_tokens_from is None else record.output_tokens_from
        count[f"from {source}"] += 1
        total["output"] += n
        if record.input_tokens_asked is not None:
            total["input_asked"] += record.input_tokens_asked
            count["input_asked"] += 1
        if record.input_tokens is not None:
            total["input_usage"] += record.input_tokens
            count["input_usage"] += 1
            if record.input_tokens_asked is not None:
                count["input_compared"] += 1
                count["input_differ"] += record.input_tokens != record.input_tokens_asked
        if record.output_tokens_asked is not None:
            total["output_asked"] += record.output_tokens_asked
            count["output_asked"] += 1
            count["output_differ"] += n != record.output_tokens_asked
        if source == "usage":
            total["output_usage"] += n
            count["output_usage"] += 1
        if record.output_tokens_counted is not None:
            total["output_counted"] += record.output_tokens_counted
            count["output_counted"] += 1
            if source == "usage":
                difference = abs(n - record.output_tokens_counted)
                count["usage_compared"] += 1
                count["usage_differ"] += difference > 0
                count["usage_off_by_one"] += difference == 1

    def _add_error(self, record: RequestRecord) -> None:
        text = "" if record.error is None else record.error[:_ERROR_TEXT_LENGTH]
        key = (str(record.outcome), 0 if record.status is None else record.status, text)
        if key not in self._errors and len(self._errors) >= _ERROR_TEXTS_HELD:
            # A server that puts an id into each message must not fill our memory.
            key = (*key[:2], "(other messages)")
        self._errors[key] += 1

    def _summarize(self) -> dict[str, Any]:
        columns = self._columns
        counts = self._counts()
        over_time = series.over_time(columns, self._arrivals, self._bytes_in)
        steady = self._window(over_time)
        latency = self._latency(None)
        sent = happened(columns.sent)
        whole = Window(int(min(sent)), int(max(columns.end)), "whole run") if sent else None
        throughput = self._throughput(whole, whole=True)
        tried = counts["succeeded"] + counts["failed"]
        return {
            "schema": SCHEMA,
            "slo": evaluate(self._facts.objectives, latency, throughput, counts["failed"] / tried if tried else None),
            "counts": counts,
            "errors": self._error_rows(),
            "load": self._load(whole),
            "latency": latency,
            "latency_of_failures_ms": describe(sorted(happened(columns.failed_after_ms))),
            "stalls": {
                "requests": self._count["stalled_requests"],
                "stalls": self._count["stalls"],
                "max_ms": self._stall_max_ns / _NS_PER_MS if self._stall_max_ns else None,
            },
            "throughput": throughput,
            "goodput": self._goodput(whole, whole=True),
            "window": self._window_facts(steady, over_time),
            "steady": None
            if steady is None
            else {
                "latency": self._latency(steady),
                "throughput": self._throughput(steady, whole=False),
                "goodput": self._goodput(steady, whole=False),
            },
            "series": over_time,
            "distributions": series.distributions(columns, over_time),
            "tokens": self._token_facts(),
            "instrument": self._instrument(),
            "compat": {},
        }

    def _counts(self) -> dict[str, Any]:
        columns, outcomes = self._columns, self._columns.outcomes
        succeeded, dropped, interrupted = (
            outcomes[outcome] for outcome in (Outcome.OK, Outcome.DROPPED, Outcome.INTERRUPTED)
        )
        return {
            "planned": self._facts.planned,
            "sent": len(happened(columns.sent)),
            "succeeded": succeeded,
            "failed": outcomes.total() - succeeded - dropped - interrupted,
            "interrupted": interrupted,
            "dropped": dropped,
            "retried": self._count["retried"],
            "by_outcome": {str(o): outcomes[o] for o in Outcome if outcomes[o]},
            "by_status": dict(sorted(Counter(map(series.status_name, columns.status)).items())),
            "warmup": {
                "requests": self._warmup.total(),
                "by_outcome": {str(o): self._warmup[o] for o in Outcome if self._warmup[o]},
            },
        }

    def _error_rows(self) -> list[dict[str, Any]]:
        rows = sorted(self._errors.items(), key=lambda item: (-item[1], item[0]))
        return [
            {"outcome": outcome, "status": status if status else None, "error": text if text else None, "n": n}
            for (outcome, status, text), n in rows[:_ERRORS_SHOWN]
        ]

    def _window(self, over_time: dict[str, Any]) -> Window | None:
        """The steady window; None where nothing was sent over a span of time."""
        sent = happened(self._columns.sent)
        if not sent:
            return None
        first, last = min(sent), max(sent)
        begin = max(first, self._facts.ramp_s * NS_PER_S)
        if self._warmup_end_ns is not None:
            begin = max(begin, self._warmup_end_ns)
        method, warnings = "after ramp and warm-up", []
        if (last - first) / NS_PER_S >= window.MSER_FROM_S:
            method = "MSER-5 after ramp and warm-up"
            step_ns = over_time["step_s"] * NS_PER_S
            start_of_steps = over_time["t_s"][0] * NS_PER_S
            from_step = math.ceil((begin - start_of_steps) / step_ns)
            until_step = math.floor((last - start_of_steps) / step_ns)
            left_out, settled = window.mser(over_time["output_tokens"][from_step:until_step])
            if left_out:
                begin = start_of_steps + (from_step + left_out) * step_ns
            if not settled:
                warnings.append(
                    "Output had not settled after half of the run: the window may hold a part of the start."
                )
        # Token metrics can be cut at the borders of their slices alone; all metrics share one window.
        start = first if begin <= first else self._tokens.slice_start_ns(begin)
        if start >= last:
            return None
        return Window(int(start), int(last), method, warnings)

    def _window_facts(self, steady: Window | None, over_time: dict[str, Any]) -> dict[str, Any]:
        if steady is None:
            why = "none: no request was sent after ramp and warm-up, or all at once"
            return {"start_s": None, "end_s": None, "method": why, "rounds": None, "stationarity": None, "warnings": []}
        warnings = list(steady.warnings)
        medians = happened([self._columns.metrics["e2el_ms"][row] for row in self._rows(steady)])
        rounds = steady.duration_s * 1000 / sorted(medians)[len(medians) // 2] if medians else None
        if rounds is not None and rounds < window.MIN_ROUNDS and not self._facts.open_loop:
            warnings.append(
                f"The window holds {rounds:.1f} rounds of requests: streams in step come in waves, and a cut wave can "
                f"move its rates by up to {1 / max(rounds, 1):.0%}."
            )
        step_s = over_time["step_s"]
        inside = [
            amount
            for at, amount in zip(over_time["t_s"], over_time["output_tokens"], strict=True)
            if at * NS_PER_S >= steady.start_ns and (at + step_s) * NS_PER_S <= steady.end_ns
        ]
        tests = window.stationarity(inside)
        return {
            "start_s": steady.start_ns / NS_PER_S,
            "end_s": steady.end_ns / NS_PER_S,
            "method": steady.method,
            "rounds": rounds,
            "stationarity": tests,
            "warnings": warnings + window.stationarity_warnings(tests),
        }

    def _rows(self, scope: Window | None) -> Sequence[int]:
        if scope is None:
            return range(len(self._columns))
        return list(self._columns.rows(scope.start_ns, scope.end_ns))

    def _latency(self, scope: Window | None) -> dict[str, Any]:
        """Every metric of the catalog, over the requests sent inside the scope (all, without one)."""
        rows, name = self._rows(scope), "run" if scope is None else "steady"
        from_ns = None if scope is None else scope.start_ns
        if scope is not None and scope.start_ns <= min(happened(self._columns.sent)):
            from_ns = None
        sample = self._tokens.sample(from_ns)
        tokens: dict[str, tuple[LogHistogram, list[array[float]]]] = {
            "itl": (self._tokens.itl(from_ns), [request.itl for request in sample]),
            "chunk_gap": (self._tokens.gaps(from_ns), [request.gaps for request in sample]),
        }
        ok_rows = sum(map(self._columns.ok.__getitem__, rows))
        result: dict[str, Any] = {}
        for metric in METRICS.values():
            if isinstance(metric, RequestMetric):
                values = happened(list(map(self._columns.metrics[metric.key].__getitem__, rows)))
                result[metric.key] = self._request_numbers(name, metric.key, values)
            else:
                histogram, clusters = tokens[metric.name]
                result[metric.key] = self._token_numbers(name, metric.key, histogram, clusters, ok_rows)
        return result

    def _request_numbers(self, scope: str, key: str, values: list[float]) -> dict[str, Any]:
        ordered = sorted(values)
        rng = stream(self._facts.seed, "bootstrap", scope, key)
        ci95 = {"mean": mean_interval(values, rng), **quantile_intervals(ordered)}
        return describe(ordered) | _ci95(ci95, len(values)) | {"quantiles": "exact"}

    def _token_numbers(
        self, scope: str, key: str, histogram: LogHistogram, clusters: list[array[float]], requests: int
    ) -> dict[str, Any]:
        snapshot = histogram.snapshot()
        ci95: dict[str, Interval | None] = dict.fromkeys(("mean", *QUANTILES))
        if snapshot.n:
            rng = stream(self._facts.seed, "bootstrap", scope, key)
            mean_ns = histogram.total / histogram.count
            found = clustered_intervals(clusters, requests, snapshot.quantile, mean_ns, rng)
            ci95 = {
                name: None if interval is None else (interval[0] / _NS_PER_MS, interval[1] / _NS_PER_MS)
                for name, interval in found.items()
            }
        how = "exact" if histogram.exact else f"log histogram, relative error <= {RELATIVE_ERROR:.2%}"
        return snapshot.describe(1 / _NS_PER_MS) | _ci95(ci95, snapshot.n) | {"quantiles": how}

    def _throughput(self, scope: Window | None, *, whole: bool) -> dict[str, Any]:
        """Rates: of the whole run from the first send to the last end, of a window by what arrived inside it."""
        names = ("requests_per_s", "input_tokens_per_s", "output_tokens_per_s", "total_tokens_per_s")
        if scope is None or scope.duration_s <= 0:
            return {"duration_s": None, **dict.fromkeys(names), "ci95": dict.fromkeys(names)}
        columns, span = self._columns, scope.duration_s
        ok = [row for row in range(len(columns)) if columns.ok[row]]
        done = [row for row in ok if scope.start_ns <= columns.end[row] <= scope.end_ns]
        output = math.fsum(columns.output_tokens[row] for row in ok)
        if not whole:
            output = self._arrivals.between(scope.start_ns, scope.end_ns)
        inputs = math.fsum(
            columns.input_tokens[row]
            for row in ok
            if columns.input_tokens[row] == columns.input_tokens[row]
            and scope.start_ns <= self._first_token_ns(row) <= scope.end_ns
        )
        return {
            "duration_s": span,
            "requests_per_s": len(done) / span,
            "input_tokens_per_s": inputs / span,
            "output_tokens_per_s": output / span,
            "total_tokens_per_s": (inputs + output) / span,
            "ci95": dict.fromkeys(names) | self._rate_intervals(scope, done),
        }

    def _rate_intervals(self, scope: Window, done: list[int]) -> dict[str, list[float] | None]:
        """Intervals of the rates of requests and output tokens, from the seconds of the scope."""
        steps = int(scope.duration_s)
        label = scope.method
        ends = Counter(int((self._columns.end[row] - scope.start_ns) // NS_PER_S) for row in done)
        amounts = {
            "requests_per_s": [float(ends[step]) for step in range(steps)],
            "output_tokens_per_s": self._arrivals.per_step(scope.start_ns, NS_PER_S, steps),
        }
        result: dict[str, list[float] | None] = {}
        for name, values in amounts.items():
            interval = mean_interval(values, stream(self._facts.seed, "bootstrap", label, name))
            result[name] = None if interval is None else list(interval)
        return result

    def _first_token_ns(self, row: int) -> float:
        ttft_ms = self._columns.metrics["ttft_ms"][row]
        return self._columns.end[row] if ttft_ms != ttft_ms else self._columns.sent[row] + ttft_ms * _NS_PER_MS

    def _goodput(self, scope: Window | None, *, whole: bool) -> dict[str, Any] | None:
        """What met every objective, per second; None where there are no objectives on latencies."""
        if not any(objective.stat is not None for objective in self._facts.objectives):
            return None
        columns = self._columns
        if scope is None or scope.duration_s <= 0:
            return {"requests_per_s": None, "output_tokens_per_s": None, "share": None}
        ended = [row for row in range(len(columns)) if scope.start_ns <= columns.end[row] <= scope.end_ns]
        good = [row for row in ended if columns.good[row]]
        tokens = math.fsum(columns.output_tokens[row] for row in good)
        if not whole:
            tokens = self._good_arrivals.between(scope.start_ns, scope.end_ns)
        return {
            "requests_per_s": len(good) / scope.duration_s,
            "output_tokens_per_s": tokens / scope.duration_s,
            "share": len(good) / len(ended) if ended else None,
        }

    def _load(self, whole: Window | None) -> dict[str, Any]:
        columns, facts = self._columns, self._facts
        sent = happened(columns.sent)
        mean: float | None = None
        at_most: int | None = None
        if whole is not None and whole.duration_s > 0:
            spans = list(self._spans.values())
            start, end = whole.start_ns + facts.start_ns, whole.end_ns + facts.start_ns
            mean = sum(series.overlap_ns(b, e, start, end) for b, e in spans) / (end - start)
            at_most = series.most_at_once((x for b, _ in spans for x in b), (x for _, e in spans for x in e))
        waits = [
            (eligible - intended) / _NS_PER_MS
            for eligible, intended in zip(columns.eligible, columns.intended, strict=True)
            if eligible > intended
        ]
        return {
            "mode": facts.mode,
            "offered_rps": facts.offered_rps,
            "achieved_rps": _rate(sent),
            "concurrency": facts.concurrency,
            "max_concurrency": facts.max_concurrency,
            "concurrency_mean": mean,
            "concurrency_max": at_most,
            "plan": self._plan_against_sent(sent) if facts.open_loop else None,
            "waited_at_cap": {
                "n": len(waits),
                "share": len(waits) / len(columns) if len(columns) else None,
                "wait_ms": describe(sorted(waits)),
            }
            if facts.max_concurrency is not None and facts.open_loop
            else None,
            "littles_law": self._littles_law(),
        }

    def _plan_against_sent(self, sent: list[float]) -> dict[str, Any]:
        """Did the load go out as it was drawn? Rates over the spans of both; dispersion of the counts per 10/rate."""
        intended = list(self._columns.intended)
        planned_rps, sent_rps = _rate(intended), _rate(sent)
        planned, done = (_dispersion(times, planned_rps) for times in (intended, sent))
        return {
            "planned_rps": planned_rps,
            "sent_rps": sent_rps,
            "rate_difference": sent_rps / planned_rps - 1 if planned_rps and sent_rps else None,
            "dispersion_planned": planned,
            "dispersion_sent": done,
            "dispersion_ratio": done / planned if planned and done is not None else None,
        }

    def _littles_law(self) -> dict[str, Any]:
        """Mean in flight as the dispatchers counted it, and as the records give it for the same windows."""
        dispatcher = self._samples.in_flight_mean()
        records: float | None = None
        if dispatcher is not None:
            records = 0.0
            for worker, (start, end) in self._samples.windows().items():
                begins, ends = self._spans.get(worker, (array("d"), array("d")))
                records += series.overlap_ns(begins, ends, start, end) / (end - start)
        difference = None if records is None or not dispatcher else records / dispatcher - 1
        return {"dispatcher_mean": dispatcher, "records_mean": records, "difference": difference}

    def _token_facts(self) -> dict[str, Any]:
        count, total = self._count, self._sum

        def asked(name: str) -> int | None:
            return total[name] if count[name] else None

        def differ(compared: int, n: int) -> dict[str, Any]:
            return {"compared": compared, "differ": n, "share": n / compared if compared else None}

        return {
            "asked": {"input": asked("input_asked"), "output": asked("output_asked")},
            "usage": {"input": asked("input_usage"), "output": asked("output_usage")},
            "counted": {"output": asked("output_counted")},
            "output": total["output"],
            "from": {name: count[f"from {name}"] for name in ("usage", "tokenizer", "chunks")},
            "chunks": {
                "with_tokens": total["token_chunks"],
                "requests_with_several_tokens_a_chunk": count["several_tokens_a_chunk"],
                "requests_with_unknown_tokens_a_chunk": count["chunk_tokens_unknown"],
            },
            "asked_against_got": {
                "input": differ(count["input_compared"], count["input_differ"]),
                "output": differ(count["output_asked"], count["output_differ"]),
            },
            "mismatch": differ(count["usage_compared"], count["usage_differ"])
            | {"off_by_one": count["usage_off_by_one"]},
        }

    def _instrument(self) -> dict[str, Any]:
        count = self._count
        gaps = self._tokens.gaps().snapshot()
        return {
            "send_lateness_ms": describe(sorted(happened(self._columns.lateness_ms))),
            "connect_ms": describe(sorted(self._connects_ms)),
            "loop_lag_ms": self._samples.loop_lag_ms(),
            "cpu": self._samples.cpu(),
            "run_queue": self._samples.run_queue(),
            "workers": self._samples.workers,
            "clock": {name: count[f"clock {name}"] for name in ("kernel", "user", "mixed")},
            "coalesced": {
                "chunks": count["coalesced"],
                "of": count["chunks"],
                "share": count["coalesced"] / count["chunks"] if count["chunks"] else None,
            },
            "stamp_bounds": _bound_facts(self._bounds.snapshot(), gaps, self._sum["token_chunks"]),
        }


def _add_arrivals(arrivals: Arrivals, times: Sequence[int], tokens: Sequence[int] | None, n: int, end_ns: int) -> None:
    """Put the n tokens of a request where they arrived: in the chunks that had them, evenly where that is not known.

    A usage that differs from the chunks' own sum (an end token without text, say) is settled with the last chunk, so
    that the tokens over time add up to the tokens of the run.
    """
    if not times:
        if n:
            arrivals.add(end_ns, n)
    elif tokens is None:
        arrivals.spread(times, n)
    elif n == len(times) == tokens.count(1):
        arrivals.add_each(times)
    else:
        for at, amount in zip(times, tokens, strict=True):
            arrivals.add(at, amount)
        arrivals.add(times[-1], n - sum(tokens))


def _rate(times_ns: Sequence[float]) -> float | None:
    """Events per second over their own span: n - 1 gaps, from the first to the last."""
    if len(times_ns) < 2:
        return None
    span = max(times_ns) - min(times_ns)
    return (len(times_ns) - 1) / span * NS_PER_S if span > 0 else None


def _dispersion(times_ns: Sequence[float], rps: float | None) -> float | None:
    """Variance over mean of the counts in slots of 10/rps: 1 for Poisson arrivals. None for under ten slots."""
    if rps is None:
        return None
    width, first = 10 / rps * NS_PER_S, min(times_ns)
    slots = int((max(times_ns) - first) / width)
    if slots < 10:
        return None
    counted = Counter(int((at - first) / width) for at in times_ns)
    counts = [counted[slot] for slot in range(slots)]
    mean = sum(counts) / slots
    return sum((x - mean) ** 2 for x in counts) / (slots - 1) / mean


def _bound_facts(widths: Snapshot, gaps: Snapshot, token_chunks: int) -> dict[str, Any]:
    """Stamps that are bounds: how many token chunks, how wide, and how many too wide to trust."""
    limit_ns = max(WIDE_BOUND_NS, 0.01 * gaps.quantile(0.5)) if gaps.n else WIDE_BOUND_NS
    wide = widths.count_above(limit_ns) if widths.n else 0
    return {
        "chunks": widths.n,
        "wide": wide,
        "wide_share": wide / token_chunks if token_chunks else None,
        "width_ms": widths.describe(1 / _NS_PER_MS),
    }


def _ci95(intervals: Mapping[str, Interval | None], n: int) -> dict[str, Any]:
    """Intervals as lists, and the names of those that too few values could not give."""
    return {
        "ci95": {name: None if interval is None else list(interval) for name, interval in intervals.items()},
        "too_few": [name for name, interval in intervals.items() if interval is None] if n else [],
    }


def _rounded(value: Any) -> Any:
    """Numbers to twelve digits: a picosecond in a second, and no noise of the last bit."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
