"""Compares measured with true values: the certificate of a run with our mock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from msgspec import UNSET

from bench.accuracy import plots
from bench.accuracy.causes import MetricComparison, Stats, cause_of, causes_of_outcomes, rate_cause, step_of
from bench.accuracy.closed_form import against_closed_form
from bench.accuracy.distribution import STATS, Distribution
from bench.accuracy.jobs import JobTruth
from bench.accuracy.join import HTTP, SAYS_NO_INPUT_TOKENS, Join
from bench.accuracy.known_mistakes import CONNECT
from bench.accuracy.ledger import Ledger
from bench.accuracy.number_error import number_error
from bench.accuracy.pair_statistics import OVER_TIME, SLICES, PairStatistics
from bench.accuracy.planned_arrivals import PlannedArrivals
from bench.records import RequestRecord
from bench.results.certificate import (
    FROM_SENT,
    METRICS,
    CauseRow,
    LedgerCalibration,
    MockAccuracy,
    NumberRow,
    Plots,
    Spread,
    TargetErrors,
)
from bench.results.numbers import Latency, Metric, Throughput
from bench.results.summary import SummaryNumbers
from bench.run_files.run_directory import LEDGER, RunDirectory

THROUGHPUT = ("requests_per_s", "output_tokens_per_s", "input_tokens_per_s", "total_tokens_per_s", "inputs_per_s")

RESOLUTION = 2.0**-10
"""Quantiles of token metrics from the report's histogram are off by at most this share (docs/metrics.md)."""

TRUNCATED = "its quantiles are values at a truncated index, not between neighbours"
AVERAGED = "quantiles of the workers are averaged"
WARMUP_COUNTED = "warm-up requests are counted, and their time is not"
MeasuredOf = Callable[[Sequence[RequestRecord]], Mapping[str, Sequence[float]]]
"""Returns the metrics of requests, one value per request, by their key in summary.json; NaN if a request has none."""
MEASURED_AT_ONCE = 512

FAILED_COUNTED = "failed requests are counted"


def certify(
    directory: RunDirectory,
    summary: SummaryNumbers,
    measured: MeasuredOf,
    *,
    start_ns: int,
    shared_clock: bool = True,
    truth: Mapping[str, Any] | None = None,
    planned: Iterator[int] | None = None,
    endpoint: str = "chat",
) -> tuple[LedgerCalibration, Plots] | None:
    """The errors of the numbers in a summary, and the data for the plots. Returns None if the run has no ledger.

    `measured` computes the metrics that have one value per request. `start_ns`: the zero of the summary's times.
    `truth`: the body of the mock's GET /truth. Without a shared clock, durations are compared. `planned`: the due times
    of an open loop's arrivals, drawn again. `endpoint`: the endpoint of the run.
    """
    if not (directory.path / LEDGER).exists():
        return None
    arrivals = None if planned is None else PlannedArrivals(planned)
    compared = _compared(directory, summary, measured, start_ns, shared_clock, arrivals, endpoint)
    of_target, lost = _of_targets(summary, compared.of_replica, endpoint)
    joining, pairs = compared.joining, compared.pairs
    job_errors, job_problems, job_causes = compared.jobs.compared(summary.jobs)
    slip = None if arrivals is None else arrivals.slip()
    throughput = _throughput(summary.throughput, pairs, endpoint)
    problems = [*joining.problems(), *_numbers_of_values(summary.latency, pairs, endpoint), *job_problems, *lost]
    causes = [
        *_causes(summary, pairs),
        *job_causes,
        *_causes_of_rates(throughput, pairs),
        *_causes_of_chunks(joining),
        *causes_of_outcomes(joining.confused()),
    ]
    calibration = LedgerCalibration(
        clock="shared" if shared_clock else "other",
        metrics=[*_metrics(summary.latency, pairs, endpoint), *job_errors],
        throughput=throughput,
        observation_lag_ms=_spread(pairs.lag),
        way_in_ms=_spread(pairs.way_in),
        network_ms=None if shared_clock else _network(pairs),
        mock=MockAccuracy(
            done_minus_planned_ms=_spread(pairs.mock_error),
            closed_form=list(against_closed_form(truth, pairs.mock, pairs.mock_series)),
        ),
        counts=joining.counts(),
        agreement=list(joining.agreement()),
        problems=[*problems, *([] if slip is None else [slip.problem])],
        causes=[*causes, *([] if slip is None else [slip.cause])],
        worst=list(pairs.worst()),
        per_target=of_target or UNSET,
    )
    return calibration, plots.build(pairs, summary.latency, summary.throughput.duration_s)


@dataclass(frozen=True, slots=True)
class _Compared:
    """The records of a run joined with the ledger."""

    joining: Join
    pairs: PairStatistics
    jobs: JobTruth
    of_replica: Mapping[str, PairStatistics]
    """As recorded by the ledger, independent of the records."""


def _compared(
    directory: RunDirectory,
    summary: SummaryNumbers,
    measured: MeasuredOf,
    start_ns: int,
    shared_clock: bool,
    arrivals: PlannedArrivals | None,
    endpoint: str,
) -> _Compared:
    """Read the ledger and the records, and join them."""
    path = directory.path / LEDGER
    replicas: list[str] = directory.mock().get("replicas", [])  # The index is the number in the ledger.
    with path.open("rb") as file:
        joining = Join(Ledger(file, str(path)), endpoint)
        duration_s = summary.throughput.duration_s
        duration_s = 1.0 if duration_s is None else duration_s
        pairs, *of_each = (
            PairStatistics(shared_clock=shared_clock, start_ns=start_ns, duration_s=duration_s)
            for _ in [None, *replicas]
        )
        jobs = JobTruth(shared_clock=shared_clock)
        joined = joining.pairs(_passed(directory.records(), arrivals))
        while several := list(islice(joined, MEASURED_AT_ONCE)):
            values = measured([pair.record for pair in several])
            for row, pair in enumerate(several):
                of_request = {metric: of_requests[row] for metric, of_requests in values.items()}
                pairs.add(pair, of_request)
                if of_each:
                    of_each[pair.line["engine"]["replica"]].add(pair, of_request)
                jobs.add(pair)
    return _Compared(joining, pairs, jobs, dict(zip(replicas, of_each, strict=True)))


def _passed(records: Iterator[RequestRecord], arrivals: PlannedArrivals | None) -> Iterator[RequestRecord]:
    """Pass the records through, adding each to `arrivals`."""
    for record in records:
        if arrivals is not None:
            arrivals.add(record)
        yield record


def _units(endpoint: str) -> dict[str, str]:
    """The metrics that the ledger can check, with their units. It has the time of the first byte only if nothing of the
    response is read."""
    return METRICS if endpoint == HTTP else {metric: unit for metric, unit in METRICS.items() if metric != "ttfb_ms"}


def _metrics(latency: Latency, pairs: PairStatistics, endpoint: str) -> list[NumberRow]:
    rows: list[NumberRow] = []
    for metric, unit in _units(endpoint).items():
        measured, true = latency.get(metric), pairs.true[metric].stats()
        if measured is None:
            continue
        allowed = _allowed(metric, measured, pairs)
        rows += [
            number_error(
                metric,
                stat,
                unit,
                measured=value,
                true=true[stat],
                spread=true["p99"] - true["p50"],
                allowed=allowed.get(stat),
            )
            for stat in STATS
            if stat in true and (value := measured.of(stat)) is not None
        ]
    return rows


def _of_targets(
    summary: SummaryNumbers, of_replica: Mapping[str, PairStatistics], endpoint: str
) -> tuple[list[TargetErrors], list[str]]:
    """The errors of each replica's numbers, and a sentence for each difference in the number of values."""
    parts = {part.name: part for part in summary.per_target or ()}
    rows, problems = [], []
    for name, pairs in of_replica.items():
        if (part := parts.get(name)) is None:
            if pairs.served:
                problems.append(f"replica {name}: no numbers, and {pairs.served} requests in the ledger")
            continue
        if part.succeeded != pairs.served:
            problems.append(f"replica {name}: {part.succeeded} requests succeeded, and {pairs.served} in the ledger")
        problems += [f"replica {name}: {problem}" for problem in _numbers_of_values(part.latency, pairs, endpoint)]
        metrics = _metrics(part.latency, pairs, endpoint)
        rows.append(TargetErrors(name=name, requests=pairs.served, metrics=metrics))
    return rows, problems


def _allowed(metric: str, measured: Metric, pairs: PairStatistics) -> dict[str, tuple[float, float]]:
    """For each statistic, the range that the report's histogram and the stamps (if they are bounds) allow."""
    from_histogram = measured.quantiles != "exact"
    if not pairs.least[metric].n and not from_histogram:
        return {}
    ends = []
    for side in (pairs.least, pairs.greatest):
        whole = Distribution()
        whole.add_all(pairs.exact[metric])
        whole.add_all(side[metric])
        ends.append(whole.stats())
    if ends[0] == ends[1] and not from_histogram:
        return {}  # No bounded stamp affects this metric.
    rough = RESOLUTION if from_histogram else 0.0
    return {
        stat: (ends[0][stat] * (1 - rough), ends[1][stat] * (1 + rough))
        if stat not in ("mean", "max")
        else (ends[0][stat], ends[1][stat])
        for stat in ends[0]
        if stat in ends[1]
    }


def _throughput(measured: Throughput, pairs: PairStatistics, endpoint: str) -> list[NumberRow]:
    span_s = pairs.span_s
    if span_s is None:
        return []
    amounts = {
        "requests_per_s": pairs.served,
        "output_tokens_per_s": pairs.output_tokens,
        "input_tokens_per_s": pairs.input_tokens,
        "total_tokens_per_s": pairs.input_tokens + pairs.output_tokens,
        "inputs_per_s": pairs.inputs,
    }
    if endpoint in SAYS_NO_INPUT_TOKENS:
        del amounts["input_tokens_per_s"], amounts["total_tokens_per_s"]
    return [
        number_error(name, "mean", "1/s", measured=value, true=amounts[name] / span_s)
        for name in THROUGHPUT
        if name in amounts and (value := getattr(measured, name)) not in (None, UNSET)
    ]


def _network(pairs: PairStatistics) -> float | None:
    """The least time of the network, both ways: the smallest difference between a measured TTFT (or E2EL) and the mock's."""
    least = [
        d.min for (metric, _), d in pairs.over_time.items() if d.n and (metric == "ttft_ms" or not pairs.true["ttft_ms"].n)
        and metric in FROM_SENT
    ]  # fmt: skip
    return max(min(least), 0.0) if least else None


def _numbers_of_values(latency: Latency, pairs: PairStatistics, endpoint: str) -> list[str]:
    problems = []
    for metric in _units(endpoint):
        measured, true = latency[metric].n if metric in latency else 0, pairs.true[metric].n
        if measured != true:
            problems.append(f"{metric}: {measured} values measured, and {true} in the ledger")
    return problems


def _causes(summary: SummaryNumbers, pairs: PairStatistics) -> list[CauseRow]:
    counts = summary.counts
    extra = {"failed requests": counts.failed, "warm-up requests": counts.warmup.requests}
    workers = sorted({worker for _, worker in pairs.of_worker})
    lags = [pairs.over_time["lag_ms", i] for i in range(SLICES)]
    step_ms = step_of([d.quantile(0.5) if d.n else None for d in lags])
    early = pairs.sent_before_connecting
    causes = []
    for metric, unit in METRICS.items():
        measured = summary.latency.get(metric)
        if measured is None or not measured.n or not unit:  # A ratio errs for the same reason as its latency.
            continue
        recounted = Distribution()
        recounted.add_all(pairs.exact[metric])
        recounted.add_all(pairs.bounded[metric])
        others: dict[str, Stats] = {mistake: d.stats() for (of, mistake), d in pairs.mistaken.items() if of == metric}
        if recounted.n:
            others[TRUNCATED] = _truncated(recounted)
        if len(workers) > 1 and metric in OVER_TIME:
            others[AVERAGED] = _averaged([pairs.of_worker[metric, worker].stats() for worker in workers])
        comparison = MetricComparison(
            unit=unit,
            n=measured.n,
            true_n=pairs.true[metric].n,
            measured={s: value for s in STATS if (value := measured.of(s)) is not None},
            true=pairs.true[metric].stats(),
            allowed=_allowed(metric, measured, pairs),
            recounted=recounted.stats(),
            mistaken=others,
            extra=extra,
            step_ms=step_ms,
        )
        if (cause := cause_of(metric, comparison)) is not None:
            causes.append(cause)
    if early.n:
        causes.append(CauseRow(metric="ttft_ms", stat="max", size=early.max, unit="ms", cause=CONNECT))
    return causes


def _causes_of_rates(rates: Sequence[NumberRow], pairs: PairStatistics) -> list[CauseRow]:
    """Causes for rates that count requests outside their span of time."""
    span_s = pairs.span_s
    if span_s is None:
        return []
    others = {
        mistake: {
            "requests_per_s": (pairs.served + requests) / span_s,
            "output_tokens_per_s": (pairs.output_tokens + output) / span_s,
            "input_tokens_per_s": (pairs.input_tokens + input_) / span_s,
            "total_tokens_per_s": (pairs.output_tokens + output + pairs.input_tokens + input_) / span_s,
        }
        for mistake, (requests, output, input_) in {WARMUP_COUNTED: pairs.warmup, FAILED_COUNTED: pairs.failed}.items()
    }
    causes = (rate_cause(row, {m: of[row.metric] for m, of in others.items() if row.metric in of}) for row in rates)
    return [cause for cause in causes if cause is not None]


def _truncated(values: Distribution) -> Stats:
    ranks = {"p50": 500, "p75": 750, "p90": 900, "p95": 950, "p99": 990, "p999": 999}
    return {
        "mean": values.mean,
        "max": values.max,
        **{s: values.at_rank(min(values.n * thousandths // 1000, values.n - 1)) for s, thousandths in ranks.items()},
    }


def _averaged(stats: list[dict[str, float]]) -> Stats:
    shared = [s for s in STATS if all(s in row for row in stats)]
    return {s: sum(row[s] for row in stats) / len(stats) for s in shared}


def _causes_of_chunks(joining: Join) -> list[CauseRow]:
    """The cause if only one side has certain chunks: how many per request, in how many requests."""
    off = joining.chunks_off()
    if not off:
        return []
    usual = max(off, key=lambda n: off[n])
    if usual < 0:
        symptom, why = "chunks are lost", "at the borders of buffers, or read as something else"
    else:
        symptom, why = "the client reports chunks that the mock never wrote", "events are split in the middle"
    size = float(sum(n * times for n, times in off.items()))
    sentence = f"{symptom} in {sum(off.values())} requests, mostly {abs(usual)} in each: {why}"
    return [CauseRow(metric="chunks", stat="number", size=size, unit="chunks", cause=sentence)]


def _spread(values: Distribution) -> Spread:
    return Spread(n=values.n, min=values.min, **values.stats()) if values.n else Spread(n=0)
