"""The result of a gate, from which its text, Markdown, JSON and JUnit XML are rendered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.release_gate.gate import Gate, MetricVerdict
from bench.release_gate.objectives import ObjectiveVerdict
from bench.results.gate import SCHEMA, GateBaseline, GateMetric, GateObjective, GateResult, GateRun
from bench.statistics.gate import Verdict


def result_of(gate: Gate, *, baseline: Path | None, command: Sequence[str], notes: Sequence[str] = ()) -> GateResult:
    """The result of a gate as a document. `command` is the command line."""
    count = 0 if gate.baseline is None else len(gate.baseline.runs)
    return GateResult(
        schema=SCHEMA,
        exit=int(gate.exit),
        strict=gate.strict,
        runs=[
            GateRun(
                directory=str(run.directory),
                id=run.manifest.run_id,
                verdict=run.status,
                reasons=run.summary.verdict.reasons,
                seconds=run.summary.throughput.duration_s,
            )
            for run in (*gate.runs, *gate.unusable)
        ],
        baseline=None if baseline is None else GateBaseline(path=str(baseline), runs=count),
        objectives=[_objective(judged) for judged in gate.objectives],
        metrics=[_metric(judged) for judged in gate.metrics],
        lost=gate.lost,
        counts={str(verdict): gate.verdicts.count(verdict) for verdict in Verdict},
        notes=[*gate.notes, *notes],
        command=list(command),
    )


def _objective(judged: ObjectiveVerdict) -> GateObjective:
    wanted, interval = judged.objective, judged.interval
    return GateObjective(
        name="".join(wanted.text.split()),
        unit=wanted.unit,
        op=wanted.op,
        limit=wanted.limit,
        value=judged.value,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        verdict=str(judged.verdict),
        why=judged.why,
    )


def _metric(verdict: MetricVerdict) -> GateMetric:
    number, judged, difference = verdict.number, verdict.judged, verdict.judged.difference
    return GateMetric(
        name=number.name,
        title=number.title,
        unit=number.unit,
        ratio=difference.ratio,
        a=judged.before,
        b=judged.now,
        change=difference.change,
        low=difference.low,
        high=difference.high,
        p=judged.p,
        seen_from=judged.seen_from,
        margin=verdict.margin,
        higher_is_worse=number.higher_is_worse,
        verdict=str(judged.verdict),
    )
