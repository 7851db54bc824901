"""A gate as plain values: what its text, Markdown, JSON and JUnit XML are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.release_gate.gate import Gate, MetricVerdict
from bench.release_gate.objectives import Objectively
from bench.statistics.gate import Verdict

SCHEMA = "trueload/gate/1"


def to_json(gate: Gate, *, baseline: Path | None, command: Sequence[str], notes: Sequence[str] = ()) -> dict[str, Any]:
    """What a gate found. `command` is what was typed."""
    return {
        "schema": SCHEMA,
        "exit": int(gate.exit),
        "strict": gate.strict,
        "runs": [
            {
                "directory": str(run.directory),
                "id": run.manifest.run_id,
                "verdict": run.status,
                "reasons": list(run.summary.verdict.reasons),
                "seconds": run.summary.throughput.duration_s,
            }
            for run in (*gate.runs, *gate.unusable)
        ],
        "baseline": None
        if baseline is None
        else {"path": str(baseline), "runs": 0 if gate.baseline is None else len(gate.baseline["runs"])},
        "objectives": [_objective(found) for found in gate.objectives],
        "metrics": [_metric(found) for found in gate.metrics],
        "counts": {str(verdict): gate.verdicts.count(verdict) for verdict in Verdict},
        "notes": [*gate.notes, *notes],
        "command": list(command),
    }


def _objective(found: Objectively) -> dict[str, Any]:
    wanted = found.objective
    return {
        "name": "".join(wanted.text.split()),
        "unit": wanted.unit,
        "op": wanted.op,
        "limit": wanted.limit,
        "value": found.value,
        "low": None if found.interval is None else found.interval.low,
        "high": None if found.interval is None else found.interval.high,
        "verdict": str(found.verdict),
        "why": found.why,
    }


def _metric(found: MetricVerdict) -> dict[str, Any]:
    difference = found.judged.difference
    return {
        "name": found.number.name,
        "title": found.number.title,
        "unit": found.number.unit,
        "ratio": difference.ratio,
        "a": found.judged.before,
        "b": found.judged.now,
        "change": difference.change,
        "low": difference.low,
        "high": difference.high,
        "p": found.judged.p,
        "seen_from": found.judged.seen_from,
        "margin": found.margin,
        "higher_is_worse": found.number.higher_is_worse,
        "verdict": str(found.judged.verdict),
    }
