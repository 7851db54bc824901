"""The tables of a report besides the latencies: each row has a name, a value, and a sentence on its meaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from msgspec.structs import asdict

from bench.documents.document import Fact
from bench.documents.formatting import NOTHING, measured, number, seconds, share
from bench.metrics.catalog import METRICS, OF_ANY_RESPONSE, OF_FEW, WHOLE_RESPONSE, Metric
from bench.results.certificate import KnownCalibration, LedgerCalibration, Spread
from bench.results.load import LoopLag
from bench.results.numbers import Statistics
from bench.results.status import Status
from bench.results.summary import ObjectiveResult, RunSummary


def flat(values: Mapping[str, object], prefix: str = "") -> list[Fact]:
    """Nested values as rows with dotted names, without empty values or None."""
    rows: list[Fact] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += flat(value, f"{name}.")
        elif isinstance(value, bool):
            rows.append(Fact(name, "yes" if value else "no"))
        elif isinstance(value, (list, tuple)):
            if value:
                rows.append(Fact(name, ", ".join(map(str, value))))
        elif value is not None and value != "":
            rows.append(Fact(name, f"{value:g}" if isinstance(value, float) else str(value)))
    return rows


def joined(values: Mapping[str, object]) -> list[Fact]:
    """The same with one row per key: nested values share one line."""
    rows: list[Fact] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = " · ".join(f"{fact.name} {fact.value}" for fact in flat(value))
            rows += [Fact(key, inner)] if inner else []
        else:
            rows += flat({key: value})
    return rows


def _of(values: Statistics | Spread | LoopLag | None, *names: str) -> str:
    """The given statistics of a distribution of ms, in one line."""
    if values is None or not values.n:
        return NOTHING
    titles = {"p50": "median", "p99": "P99", "max": "max", "mean": "average"}
    return " · ".join(f"{titles[name]} {number(getattr(values, name))} ms" for name in names)


def counts(summary: RunSummary) -> list[Fact]:
    """The requests of the run, by how they ended."""
    row = summary.counts
    tried = row.succeeded + row.failed
    failed = f"{row.failed:,}" + (f" ({share(row.failed / tried)})" if tried else "")
    rows = [
        Fact("Planned", number(row.planned), "Requests in the plan; a dash if only time ends the run."),
        Fact("Sent", number(row.sent), "Requests whose first byte was sent."),
        Fact("Succeeded", number(row.succeeded), "Complete responses without an error. Only these have latencies."),
        Fact("Failed", failed, "All other requests. They have no latency."),
    ]
    if row.failed_unsent:
        rows.append(Fact("Failed and not sent", number(row.failed_unsent), "No connection could be made."))
    if (gone := row.target_gone) is not None:
        since = "it never answered" if gone.since_s is None else f"last answer at {seconds(gone.since_s)}"
        value = f"{since}, then {requests_text(gone.requests)} lost"
        rows.append(Fact("Target gone", value, "Until the end of the run."))
    if row.interrupted:
        rows.append(Fact("Interrupted", number(row.interrupted), "Cut off when the run stopped; no failures."))
    if row.cancelled:
        rows.append(Fact("Cancelled", number(row.cancelled), "Their users left, as planned; no failures."))
    if (stats := summary.cancelled) is not None and has_tokens(summary):
        received = (
            f"{stats.token_chunks:,} token chunks ({number(stats.token_chunks_per_s)}/s) to {stats.with_tokens:,}"
        )
        rows.append(Fact("Received by them", received, "Until they left; in no throughput."))
    if row.dropped:
        rows.append(Fact("Dropped", number(row.dropped), "Arrivals that found no free slot, so they were not sent."))
    if row.retried:
        rows.append(
            Fact(
                "Sent again",
                number(row.retried),
                "A reused connection died before any byte of a response. Latencies count from the first attempt.",
            )
        )
    if row.warmup.requests:
        found_warmup = summary.run.warmup
        end = "" if found_warmup is None else f" The run found its end after {seconds(found_warmup.lasted_s)}."
        meaning = f"Sent before the run; not in its numbers.{end}"
        rows.append(Fact("Warm-up", number(row.warmup.requests), meaning))
    failures = summary.latency_of_failures_ms
    if failures.n:
        rows.append(Fact("Time until failure", _of(failures, "p50", "max"), "No latency includes it."))
    stalls = summary.stalls
    if stalls.stalls:
        value = f"{stalls.stalls:,} in {requests_text(stalls.requests)}, longest {number(stalls.max_ms)} ms"
        rows.append(Fact("Stalls", value, "Gaps over 5 times the request's median gap and over 100 ms."))
    return rows


def sent_rate(summary: RunSummary) -> str:
    """The rate of the sends; if several requests have no rate, the reason."""
    achieved_rps, sent = summary.load.achieved_rps, summary.counts.sent
    return f"{number(achieved_rps)} requests/s" + (" (all sent at once)" if achieved_rps is None and sent > 1 else "")


def load(summary: RunSummary) -> list[Fact]:
    """The load on the server."""
    row = summary.load
    rows = [Fact("Mode", row.mode, "What decides when a request is sent.")]
    if row.offered_rps is not None:
        rows.append(Fact("Offered", f"{number(row.offered_rps)} requests/s", "The requested rate."))
    rows.append(Fact("Achieved", sent_rate(summary), "Sends, from the first to the last."))
    if row.concurrency is not None:
        rows.append(Fact("Users", number(row.concurrency), "Each sends its next request when a response ends."))
    in_flight = f"average {number(row.concurrency_mean)} · max {number(row.concurrency_max)}"
    rows.append(Fact("In flight", in_flight, "Requests in flight, from the first send to the last end."))
    if row.ready_not_sent is not None:
        value = f"{share(row.ready_not_sent.share)} · max {number(row.ready_not_sent.longest_ms)} ms"
        rows.append(
            Fact("Ready and not sent", value, "Share of the users' time in which the client held a request back.")
        )
    if row.waited_at_cap is not None:
        value = f"{share(row.waited_at_cap.share)} of the arrivals"
        rows.append(Fact("Waited at the cap", value, "Arrivals that found --max-concurrency in use."))
    if row.plan is not None:
        value, ratio = f"rate {_change(row.plan.rate_difference)}", row.plan.dispersion_ratio
        value += "" if ratio is None else f" · dispersion × {number(ratio)}"
        rows.append(Fact("Sent against planned", value, "Whether requests left as the drawn schedule says."))
    return rows


def _change(value: float | None) -> str:
    return NOTHING if value is None else f"{value * 100:+.2f}%"


def window(summary: RunSummary) -> list[Fact]:
    """The steady part of the run."""
    row = summary.window
    if row.start_s is None:
        return [Fact("Steady window", "none", row.method.removeprefix("none: ").capitalize() + ".")]
    span = f"{seconds(row.start_s)} to {seconds(row.end_s)}"
    rows = [Fact("Steady window", span, f"Found by: {row.method}. It ends with the last send.")]
    tested = {name: test for name, test in (row.stationarity or {}).items() if test is not None}
    if tested:
        value = " · ".join(f"{_SERIES[name]} {_change(test.change)}" for name, test in tested.items())
        chance = min(test.p for test in tested.values())
        rows.append(
            Fact("Second half against first", value, f"Chance alone does that in {share(chance)} of steady windows.")
        )
    return rows


_SERIES = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "e2el_ms": "E2EL", "output_tokens": "output"}


def requests_text(n: int) -> str:
    """A number of requests, as text."""
    return f"{n:,} request{'' if n == 1 else 's'}"


def client(summary: RunSummary) -> list[Fact]:
    """The client's own state: whether it was fast enough to trust its numbers."""
    row, law = summary.instrument, summary.load.littles_law
    clocks = ", ".join(f"{name} {n:,}" for name, n in asdict(row.clock).items() if n)
    bounds = row.stamp_bounds
    rows = [
        Fact("Send lateness", _of(row.send_lateness_ms, "p50", "p99", "max"),
             "How late the client sent requests, by its own fault."),
        Fact("Loop lag", _of(row.loop_lag_ms, "p99", "max"), "How late the client's event loop ran."),
        Fact("Time stamps", clocks or NOTHING, "The kernel stamps data on arrival; user stamps wait for the client."),
        *([Fact("Chunks that shared a read", share(row.coalesced.share),
                  f"{bounds.wide:,} token chunks have a time known only within wide bounds.")]
          if has_tokens(summary) else []),
        Fact("Little's law", _change(law.difference),
             "Requests in flight by the records, compared with the dispatcher's count."),
    ]  # fmt: skip
    if (pause := row.pause) is not None and pause.share_of_run is not None:
        value = f"{number(pause.longest_ms)} ms · {share(pause.share_of_run)} of the run"
        rows.append(Fact("Longest pause", value, "The longest time by which a worker's loop was late."))
    if row.cpu is not None:
        value = f"average {share(row.cpu.mean)} · max {share(row.cpu.max)}"
        rows.append(Fact("Processor", value, f"Over 90% in {share(row.cpu.seconds_over_90)} of the seconds."))
    if row.run_queue is not None:
        rows.append(Fact("Waited for a processor", share(row.run_queue.mean), "Ready to run, but waiting."))
    if row.stolen is not None and row.stolen.share:
        rows.append(Fact("Stolen processor time", share(row.stolen.share), "What the hypervisor withheld."))
    if isinstance(priority := summary.run.priority, str):
        rows.append(Fact("Scheduling priority", priority, "Real-time wakes the client at once on a busy machine."))
    if row.connect_ms.n:
        value = f"{row.connect_ms.n:,} · {_of(row.connect_ms, 'p50', 'max')}"
        rows.append(Fact("New connections", value, "No latency includes their set-up."))
    return rows


def calibration(certificate: LedgerCalibration | KnownCalibration) -> list[Fact]:
    """The client's stamps and counts, compared with the mock's ledger."""
    lags = [
        (certificate.observation_lag_ms, "Observation lag",
         "The client's time of a chunk minus the mock's time of its write."),
        (certificate.way_in_ms, "Way in", "The mock's time of a request's arrival minus the client's time of its send."),
    ]  # fmt: skip
    if isinstance(certificate, LedgerCalibration):
        meaning = "The mock's time of a write minus the planned time."
        lags.append((certificate.mock.done_minus_planned_ms, "The mock's own accuracy", meaning))
    rows = [Fact(name, _of(row, "p50", "p99", "max"), meaning) for row, name, meaning in lags if row.n]
    for sums in certificate.agreement if isinstance(certificate, LedgerCalibration) else ():
        same = sums.here == sums.there
        value = f"{sums.here:,}" if same else f"{sums.here:,} here, {sums.there:,} there"
        rows.append(Fact(sums.what.capitalize(), value, "" if same else "Must agree with the mock's ledger."))
    return rows


def has_tokens(summary: RunSummary) -> bool:
    """Whether replies are generated text; otherwise there are no output tokens and none of their latencies."""
    return summary.inputs is None


def counts_tokens(summary: RunSummary) -> bool:
    """Whether there are any tokens, at least of inputs."""
    return summary.inputs is None or summary.inputs.have_tokens


def latencies(summary: RunSummary) -> dict[str, Metric]:
    """The metrics that a run has, by name."""
    extra = of_few(summary)
    if has_tokens(summary):
        return {name: metric for name, metric in METRICS.items() if name != "ttfb" and name not in OF_FEW} | extra
    names = WHOLE_RESPONSE if counts_tokens(summary) else OF_ANY_RESPONSE
    metrics: dict[str, Metric] = {name: metric for name, metric in METRICS.items() if name in names}
    # No text arrives in such a reply, so the catalog's description does not fit.
    return metrics | extra | {"e2el": replace(metrics["e2el"], description=_E2EL_OF_REPLY)}


def of_few(summary: RunSummary) -> dict[str, Metric]:
    """The metrics that only a few endpoints have, if the run has values of them, by name."""
    metrics = {name: summary.latency.get(metric.key) for name, metric in METRICS.items() if name in OF_FEW}
    return {name: METRICS[name] for name, values in metrics.items() if values is not None and values.n}


_E2EL_OF_REPLY = "End-to-end latency: from sending the request until its whole reply has arrived."


def rate_names(summary: RunSummary) -> dict[str, tuple[str, str]]:
    """The rates that a run has, by key: title and unit."""
    if summary.inputs is None:
        return RATE_NAMES
    if not summary.inputs.have_tokens:
        return {"requests_per_s": RATE_NAMES["requests_per_s"]}
    are = summary.inputs.are
    return {
        "requests_per_s": RATE_NAMES["requests_per_s"],
        "inputs_per_s": (f"Inputs ({are})", f"{are}/s"),
        "input_tokens_per_s": RATE_NAMES["input_tokens_per_s"],
    }


RATE_NAMES = {
    "requests_per_s": ("Requests", "requests/s"),
    "output_tokens_per_s": ("Output tokens (TPS)", "tokens/s"),
    "input_tokens_per_s": ("Input tokens", "tokens/s"),
    "total_tokens_per_s": ("All tokens", "tokens/s"),
}


def uncertainty(objective: ObjectiveResult) -> str:
    """If the interval of an objective's value does not show whether it is held: why not. Otherwise empty."""
    if objective.shown != "not shown" or objective.value is None or objective.stat in ("min", "max"):
        return ""
    if objective.between is not None:
        return "not shown: the stamps leave it open"
    ends = objective.ci95
    if ends is None:
        return "not shown: too few independent values"
    low, high = (measured(end, objective.unit) for end in ends)
    return f"not shown: 95% interval {low} to {high}"


_FAILURES_SHOWN, _FAILURE_WIDTH = 3, 200


_ENDED_EARLY = {
    "interrupted": "The run was interrupted",
    "killed": "The run was killed, or its disk was full,",
    "errors": "Too many requests failed, and --max-errors ended the run",
}


def ended_early(summary: RunSummary) -> list[str]:
    """A sentence if something ended the run before its load was complete."""
    why = _ENDED_EARLY.get(summary.run.stop_reason or "")
    if why is None:
        return []
    planned, begun = summary.counts.planned, summary.counts.sent + summary.counts.failed_unsent
    when = f"after {begun:,} of {planned:,} requests" if planned is not None else f"after {begun:,} requests"
    return [f"{why} {when}: the numbers are about these."]


def failures(summary: RunSummary) -> list[str]:
    """For a failed run: how requests failed, and how many, the most frequent first."""
    if summary.verdict.status != Status.FAILED:
        return []
    by_text: Counter[str] = Counter()  # The same text may come with several outcomes.
    for row in summary.errors:
        if row.is_failure:
            by_text[(row.error or row.outcome)[:_FAILURE_WIDTH]] += row.n
    return [f"{n:,} failed: {text}" for text, n in by_text.most_common(_FAILURES_SHOWN)]
