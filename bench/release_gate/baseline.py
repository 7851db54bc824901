"""baseline.json: the runs with which later runs are compared (`bench/report/baseline.schema.json`).

It keeps only the numbers that a gate needs, so that it can be committed or passed on as an artefact. All its runs have
one workload, whose settings it holds. A run of another workload is refused, with the differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import orjson
from msgspec.structs import replace

from bench.comparison.numbers import ERRORS, INPUT_TOKENS, INPUTS, OUTPUT, REQUESTS, Number
from bench.comparison.request_values import read_values
from bench.comparison.settings import LABELS, by_content, data_names, texts_of, workload_of
from bench.comparison.sides import MeasuredRun
from bench.config.renamed import renewed_config
from bench.config.settings import Settings
from bench.errors import UsageError
from bench.metrics.bounds import meaningless
from bench.metrics.catalog import METRICS, REQUEST_METRICS
from bench.results.base import to_bytes
from bench.results.baseline import (
    KEPT,
    SCHEMA,
    Baseline,
    BaselineLoad,
    BaselineOrigin,
    BaselineRun,
    BaselineStats,
    BaselineTarget,
)
from bench.results.certificate import KnownCalibration, LedgerCalibration
from bench.run_files.shape import refuse_misfits
from bench.run_files.writable import write_file
from bench.statistics.autocorrelation import SAFETY
from bench.statistics.between_runs import RunShare
from promptset.whole_file import read_bytes

STATS = ("p50", "p90", "p99")


def entry_of(run: MeasuredRun) -> BaselineRun:
    """The numbers of a run that a baseline keeps."""
    values, summary = read_values(run.directory), run.summary
    load = summary.load
    return BaselineRun(
        id=run.manifest.run_id,
        started=run.manifest.started,
        verdict=run.status,
        load=BaselineLoad(
            mode=load.mode, offered_rps=load.offered_rps, achieved_rps=load.achieved_rps, concurrency=load.concurrency
        ),
        seconds=summary.throughput.duration_s,
        requests=len(values.failed),
        independent_requests=values.independent_requests(),
        error_rate=ERRORS.of(summary),
        failures_act=values.failures().act,
        output_tokens_per_s=OUTPUT.of(summary),
        tokens_by=run.tokens_by,
        inputs_per_s=INPUTS.of(summary),
        inputs_are=None if summary.inputs is None else summary.inputs.are,
        input_tokens_per_s=None if summary.inputs is None else INPUT_TOKENS.of(summary),
        stats={
            metric.key: BaselineStats(
                **{stat: None if meaningless(row, stat) else row.of(stat) for stat in STATS},
                n=row.n,
                act=values.act_of(name),
            )
            for name, metric in REQUEST_METRICS.items()
            if (row := summary.latency.get(metric.key)) is not None
        },
    )


def value_of(number: Number, entry: BaselineRun) -> float | None:
    """The value of a number in a run as stored in a baseline."""
    value: float | None
    if number.inputs_are not in (None, entry.inputs_are):
        value = None
    elif number is REQUESTS:
        value = entry.inputs_per_s  # In a run without tokens an input is a request.
    elif number.stat is None:
        value = getattr(entry, number.metric, None)
    else:
        value = getattr(entry.stats.get(METRICS[number.metric].key), number.stat, None)
    return value


def independent_values(entry: BaselineRun, metric: str) -> float:
    """The number of independent values of a metric in a run: n / D."""
    if metric not in REQUEST_METRICS:
        return float(entry.independent_requests)
    stats = entry.stats.get(REQUEST_METRICS[metric].key)
    if stats is None:
        return 0.0
    return min(1.0, stats.n) if stats.act is None else float(stats.n / max(1.0, SAFETY * stats.act))


def failures(entries: Sequence[BaselineRun]) -> list[RunShare]:
    """The error rates of the runs that have one."""
    return [RunShare(e.error_rate, e.requests, e.failures_act) for e in entries if e.error_rate is not None]


def new(run: MeasuredRun) -> Baseline:
    """A baseline without runs, for the workload of this run."""
    calibration = run.summary.calibration
    return Baseline(
        schema=SCHEMA,
        created=run.manifest.started,
        tool_version=run.manifest.versions.get("trueload", ""),
        config_sha256=_digest({k: v for k, v in run.settings.items() if k not in LABELS}),
        workload_sha256=_digest(workload_of(run)),
        workload=workload_of(run),
        data_sha256=run.manifest.data_sha256,
        target=BaselineTarget(model=run.manifest.model, server=run.settings["url"], gpus=None),
        machine=run.manifest.host,
        certificate=None if calibration is None else _origin(calibration),
        runs=[],
    )


def _origin(calibration: LedgerCalibration | KnownCalibration) -> BaselineOrigin:
    """Where the errors of the numbers come from: the run's own ledger, or a certificate."""
    if isinstance(calibration, KnownCalibration):
        return BaselineOrigin(from_="certificate", status=calibration.status)
    return BaselineOrigin(from_="ledger", status=None)


def read(path: Path) -> Baseline | None:
    """Read a baseline. Returns None if there is no file. Raises UsageError if the file is not a baseline."""
    try:
        content = orjson.loads(read_bytes(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (orjson.JSONDecodeError, OSError) as e:
        why = e.strerror if isinstance(e, OSError) else f"it is not JSON: {e}"
        raise UsageError(f"--baseline {path} cannot be read ({why}): name a file that --update made") from e
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema is None:
            raise UsageError(f"--baseline {path} is not a baseline: name a file that --update made")
        raise UsageError(
            f"--baseline {path} has schema {schema!r}, and this version reads {SCHEMA!r}: make it anew (--update)"
        )
    advice = "; make it anew (--update with a file that does not exist yet)"
    refuse_misfits(content, Baseline, f"--baseline {path} is damaged:", _impossible, advice)
    return msgspec.convert(content, Baseline)


def _impossible(content: Mapping[str, Any]) -> Iterator[str]:
    """Values that no run can have, in a baseline whose types are right. They are refused because a gate computes with
    them."""
    for number, run in enumerate(content["runs"]):
        if run["error_rate"] is not None and not 0 <= run["error_rate"] <= 1:
            yield f"runs[{number}].error_rate must be from 0 to 1, not {run['error_rate']}"
        if (act := run.get("failures_act")) is not None and (not act >= 1 or not run["requests"]):
            yield f"runs[{number}].failures_act must be at least 1, and of requests, not {act} of {run['requests']}"
        counts = {name: run[name] for name in ("requests", "independent_requests")}
        counts |= {f"stats.{metric}.n": row["n"] for metric, row in run["stats"].items()}
        yield from (f"runs[{number}].{name} must be at least 0, not {n}" for name, n in counts.items() if n < 0)


def refuse_other_workload(path: Path, baseline: Baseline, run: MeasuredRun) -> None:
    """Raises UsageError, with the differences, if the baseline has another workload."""
    files, files_there = run.manifest.data_sha256, baseline.data_sha256
    names = data_names([files_there, files])
    ours = by_content(workload_of(run), files, names)
    theirs = by_content(renewed_config(dict(baseline.workload)), files_there, names)
    # A setting that is missing in the baseline is newer than it: the run had the default.
    before = {name: _plain(_default(name)) for name in ours if name not in theirs} | theirs
    differing = [name for name in dict.fromkeys((*theirs, *ours)) if before.get(name) != _plain(ours.get(name))]
    if not differing:
        return
    differences = ", ".join(
        "{} ({} there, {} here)".format(name, *texts_of(name, (before.get(name), ours.get(name)))) for name in differing
    )
    raise UsageError(
        f"--baseline {path} is of another workload: {differences}. Send the load of the baseline, or begin another baseline "
        "(--update with a file that does not exist yet)"
    )


def appended(baseline: Baseline, entries: Sequence[BaselineRun]) -> Baseline:
    """The baseline with these runs added, each once; it keeps only the newest runs."""
    known = {entry.id for entry in baseline.runs}
    runs = sorted((*baseline.runs, *(e for e in entries if e.id not in known)), key=lambda entry: entry.started)
    return replace(baseline, runs=runs[-KEPT:])


def add(path: Path, run: MeasuredRun, entries: Sequence[BaselineRun]) -> Baseline:
    """Add entries, of runs like this one, to the current content of the file: another gate may have added runs since it
    was read. Raises UsageError if the file cannot be written or has another workload."""
    stored = read(path)
    if stored is not None:
        refuse_other_workload(path, stored, run)
    grown = appended(new(run) if stored is None else stored, entries)
    write(path, grown)
    return grown


def write(path: Path, baseline: Baseline) -> None:
    """Write the file atomically. Raises UsageError if it cannot be written."""
    write_file("--baseline", path, to_bytes(baseline), makes_directories=True)


def _digest(content: Mapping[str, object]) -> str:
    return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _default(setting: str) -> object:
    """The default of a setting."""
    field = Settings.model_fields.get(setting)
    return None if field is None else field.get_default(call_default_factory=True, validated_data={})


def _plain(value: object) -> object:
    """A value after a round trip through JSON."""
    return orjson.loads(orjson.dumps(value))
