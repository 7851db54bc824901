"""The parts of a run, one row each, for page, terminal and Markdown: its models, its classes of traffic, its replicas."""

from __future__ import annotations

from collections.abc import Iterator

from bench.documents.details import counts_tokens, has_tokens
from bench.documents.document import Column, Row, Table
from bench.documents.formatting import number, statistic
from bench.metrics.run_numbers import parts_of
from bench.results.summary import JudgedClass, PartNumbers, RunSummary, Segment
from bench.results.tokens import input_rate

KINDS = {"class": ("classes", "Class"), "model": ("models", "Model"), "target": ("replicas", "Replica")}
"""For each kind, the plural noun and the first column head."""
NOTE = "Latencies in ms, of the whole run. Rates are per second of the whole run, so the rates of all {} add up."


def number_heads(summary: RunSummary) -> list[str]:
    """The heads of `numbers`. Replies that are not generated text have no token latencies."""
    inputs = summary.inputs
    times = ("TTFT", "TPOT", "E2EL") if inputs is None else ("E2EL",)
    rates = ["tokens/s"] if inputs is None else [input_rate(inputs.are)] if inputs.have_tokens else []
    return [*(head for name in times for head in (f"{name} p50", "p99")), "req/s", *rates]


def numbers(part: PartNumbers | Segment, summary: RunSummary) -> list[str]:
    """The latencies and the rates of a part or a segment."""
    keys = ("ttft_ms", "tpot_ms", "e2el_ms") if has_tokens(summary) else ("e2el_ms",)
    times = (statistic(part.latency[key], stat) for key in keys for stat in ("p50", "p99"))
    rates = [part.throughput.requests_per_s]
    if counts_tokens(summary):
        rates.append(part.throughput.of("output_tokens_per_s" if has_tokens(summary) else "inputs_per_s"))
    return [*times, *map(number, rates)]


def tables(summary: RunSummary) -> Iterator[Table]:
    """A table for each kind of part that the run has several of."""
    for kind, (where, head) in KINDS.items():
        if parts := parts_of(summary, kind):
            notes = (NOTE.format(where), *(note for part in parts for note in _notes(part, summary)))
            columns = (Column(head, wrap=True), *map(Column, ("Sent", *number_heads(summary), "Failed")))
            rows = (Row(part.name, f"{part.sent:,}", *numbers(part, summary), f"{part.failed:,}") for part in parts)
            yield Table(f"{head} by {head.lower()}", columns, tuple(rows), notes=notes)


def of_every_kind(summary: RunSummary) -> Iterator[tuple[str, PartNumbers]]:
    """Every part, with its name in objectives: `{class=chat}`."""
    for kind in KINDS:
        for part in parts_of(summary, kind):
            yield f"{{{kind}={part.name}}}", part


def _notes(part: PartNumbers, summary: RunSummary) -> Iterator[str]:
    """A note if a class has a problem that the whole run does not have."""
    if not isinstance(part, JudgedClass) or part.verdict.reasons == summary.verdict.reasons:
        return
    verdict, whole = part.verdict, summary.verdict
    of_it = [reason for reason in verdict.reasons if reason not in whole.reasons]
    yield f"Class {part.name} is {verdict.status}" + (f": {'; '.join(of_it)}." if of_it else ".")
