"""What the runs of a search measured, apart from the violations on which it decides; read from their summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import MsgspecError

from bench.load_search.visits import Result
from bench.results.numbers import Metric
from bench.results.summary import ObjectiveResult, RunSummary, from_json
from bench.run_files.run_directory import SUMMARY

LATENCIES = ("ttft_ms", "tpot_ms", "e2el_ms")


@dataclass(frozen=True, slots=True)
class VisitNumbers:
    """Numbers of one visit. None if the summary is gone or has no such value.

    `latency`: statistics by metric key. `objectives`: the rows of `slo` in the summary, by the text of the objective.
    """

    latency: Mapping[str, Metric] = field(default_factory=dict)
    objectives: Mapping[str, ObjectiveResult] = field(default_factory=dict)
    requests_per_s: float | None = None
    output_tokens_per_s: float | None = None
    inputs_per_s: float | None = None
    """Set only if replies are not generated text."""
    inputs_are: str | None = None
    """The input type of these requests."""
    failed: int = 0
    reasons: tuple[str, ...] = ()
    unsteady: bool = False
    """Whether the server became slower or faster within the visit, beyond chance."""

    def stat(self, key: str, stat: str) -> float | None:
        row = self.latency.get(key)
        return None if row is None else row.of(stat)


def of_inputs(numbers: Mapping[int, VisitNumbers]) -> bool:
    """Whether the visits' replies are not generated text."""
    return any(visit.inputs_per_s is not None for visit in numbers.values())


def of_requests(numbers: Mapping[int, VisitNumbers]) -> bool:
    """Whether the visits count neither tokens nor inputs."""
    return inputs_are(numbers) == "requests"


def inputs_are(numbers: Mapping[int, VisitNumbers]) -> str | None:
    """The input type of the requests; None if replies are generated text."""
    return next((visit.inputs_are for visit in numbers.values() if visit.inputs_are is not None), None)


def of_summary(summary: RunSummary) -> VisitNumbers:
    """The numbers from a summary."""
    return VisitNumbers(
        latency={key: summary.latency[key] for key in LATENCIES if key in summary.latency},
        objectives={row.objective: row for row in summary.slo.objectives},
        requests_per_s=summary.throughput.requests_per_s,
        output_tokens_per_s=summary.throughput.output_tokens_per_s,
        inputs_per_s=summary.throughput.inputs_per_s or None,
        inputs_are=None if summary.inputs is None else summary.inputs.are,
        failed=summary.counts.failed,
        reasons=tuple(summary.verdict.reasons),
        unsteady=any(test is not None and test.drifted for test in (summary.window.stationarity or {}).values()),
    )


def read(path: Path, results: Sequence[Result]) -> dict[int, VisitNumbers]:
    """The numbers of a search's visits, by number of the visit; empty for a run directory that is missing or damaged."""
    numbers = {}
    for result in results:
        try:
            numbers[result.n] = of_summary(from_json((path / result.run_dir / SUMMARY).read_bytes()))
        except (OSError, MsgspecError):
            numbers[result.n] = VisitNumbers()
    return numbers
