"""The parts of a run, one row each, for the page, the terminal and Markdown: its models, its classes of traffic, its
replicas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.documents.details import counts_tokens, has_tokens
from bench.documents.document import Column, Row, Table
from bench.documents.formatting import number, statistic
from bench.metrics.run_numbers import parts_of
from bench.results.summary import JudgedClass, PartNumbers, RunSummary
from bench.results.tokens import input_rate

KINDS = {"class": ("classes", "Class"), "model": ("models", "Model"), "target": ("replicas", "Replica")}
"""Where the parts of each kind stand in a summary, and what the first head says."""
_HEADS_OF_INPUTS = ("Sent", "E2EL p50", "p99", "req/s", "inputs/s", "Failed")
_HEADS_OF_REQUESTS = tuple(head for head in _HEADS_OF_INPUTS if head != "inputs/s")
_HEADS = ("Sent", "TTFT p50", "p99", "TPOT p50", "p99", "E2EL p50", "p99", "req/s", "tokens/s", "Failed")
NOTE = "Latencies in ms, of the whole run. Rates are per second of the whole run, so the rates of all {} add up."


def heads_of_inputs(heads: Sequence[str], summary: RunSummary) -> tuple[str, ...]:
    """The heads with the name of what requests are made of."""
    return tuple(
        input_rate(None if summary.inputs is None else summary.inputs.are) if head == "inputs/s" else head
        for head in heads
    )


def tables(summary: RunSummary) -> Iterator[Table]:
    """A table for each kind of part that the run has several of."""
    tokens = has_tokens(summary) if counts_tokens(summary) else None
    of_inputs = _HEADS_OF_REQUESTS if tokens is None else heads_of_inputs(_HEADS_OF_INPUTS, summary)
    for kind, (where, head) in KINDS.items():
        if parts := parts_of(summary, kind):
            notes = (NOTE.format(where), *(note for part in parts for note in _notes(part, summary)))
            columns = (Column(head, wrap=True), *map(Column, _HEADS if tokens else of_inputs))
            rows = tuple(_row(part, tokens=tokens) for part in parts)
            yield Table(f"{head} by {head.lower()}", columns, rows, notes=notes)


def of_every_kind(summary: RunSummary) -> Iterator[tuple[str, PartNumbers]]:
    """Every part, with what an objective calls it: `{class=chat}`."""
    for kind in KINDS:
        for part in parts_of(summary, kind):
            yield f"{{{kind}={part.name}}}", part


def _row(part: PartNumbers, *, tokens: bool | None) -> Row:
    """`tokens` is None if no tokens are counted, and True if replies are generated text."""
    latency, rates = part.latency, part.throughput
    keys = ("ttft_ms", "tpot_ms", "e2el_ms") if tokens else ("e2el_ms",)
    times = (statistic(latency[key], stat) for key in keys for stat in ("p50", "p99"))
    delivered = [] if tokens is None else [number(rates.of("output_tokens_per_s" if tokens else "inputs_per_s"))]
    return Row(part.name, f"{part.sent:,}", *times, number(rates.requests_per_s), *delivered, f"{part.failed:,}")


def _notes(part: PartNumbers, summary: RunSummary) -> Iterator[str]:
    """What is wrong with one class that is not so with the whole run."""
    if not isinstance(part, JudgedClass) or part.verdict.reasons == summary.verdict.reasons:
        return
    verdict, whole = part.verdict, summary.verdict
    of_it = [reason for reason in verdict.reasons if reason not in whole.reasons]
    yield f"Class {part.name} is {verdict.status}" + (f": {'; '.join(of_it)}." if of_it else ".")
