"""Checks a fit: sends the loads of its runs again, to the mock with the profile, and compares quantile by quantile."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import manifest
from bench.comparison.sides import read_run
from bench.config import RunConfig, Settings
from bench.errors import BenchError, Interrupted, TargetError
from bench.fit.curves import curves_of
from bench.fit.replayed import NUMBERS, QUANTILES
from bench.fit.streams import streams_of
from bench.observer import Observer
from bench.process.child_process import death
from bench.process.mock_process import running_mock
from bench.results.base import Interval
from bench.results.numbers import Latency
from bench.results.profile import Replay, ReplayedCurve, ReplayedNumber
from bench.run_files.run_directory import RunDirectory
from bench.series.drive import End, drive, in_order
from bench.series.runs import RunSeries


@dataclass(frozen=True, slots=True)
class _NotReplayed:
    """Why a load was not replayed."""

    why: str


def replay(
    profile: Path, fitted: Sequence[Path], held_out: Sequence[Path], observer: Observer
) -> tuple[list[Replay], list[str], End]:
    """Replay each load. Returns the original and new numbers for the profile's `replay`, why some loads were not
    replayed, and how the series ended: with Interrupted on Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="trueload-replay-") as folder:
        series = RunSeries(Path(folder), observer=observer)

        def again(step: tuple[int, Path]) -> Replay | _NotReplayed:
            number, path = step
            return _unless_it_fails(
                path, lambda: _replayed(profile, path, series, str(number), held_out=path in held_out)
            )

        results, end = drive(in_order([*enumerate((*fitted, *held_out))]), again)
    problems = [result.why for result in results if isinstance(result, _NotReplayed)]
    return [result for result in results if isinstance(result, Replay)], problems, end


def _unless_it_fails(path: Path, make: Callable[[], Replay]) -> Replay | _NotReplayed:
    """The replay, or why it failed: a failed replay must not cost the profile. Raises Interrupted."""
    try:
        return make()
    except Interrupted:
        raise
    except (BenchError, OSError) as e:
        return _NotReplayed(f"{path} was not replayed: {' '.join(str(e).split())}")


def _replayed(profile: Path, path: Path, series: RunSeries, name: str, *, held_out: bool) -> Replay:
    """Send the load of a run to a mock with the profile. Raises TargetError or UsageError if that is impossible."""
    directory = RunDirectory.open(path)
    config = manifest.read(directory).config
    flags = f"--profile {shlex.quote(str(profile))}"
    with running_mock(flags, seed=config.seed, tokenizer=None if config.server_counts else config.tokenizer) as mock:
        made = series.make(name, _against(config, mock.url), before=f"replaying {path}").result
        if (status := mock.process.poll()) is not None:
            raise TargetError(f"the mock {death(status)} under this load")
    numbers = compared(read_run(path).summary.latency, made.summary.latency)
    curves = _curves(directory, RunDirectory.open(Path(made.directory.path)))
    return Replay(name=path.name, held_out=held_out, numbers=numbers, curves=curves)


_OF_THE_SERVER = (
    "targets", "balance", "affinity", "resolve_all", "replica_header", "watch_scale", "wait_for_server", "proxy",
    "model", "api_key", "header", "ca_file", "insecure", "client_cert", "client_key",
    "cluster", "workers_per_node", "runtime_env", "otlp", "trace_share", "metrics_port", "metrics_linger", "slo",
)  # fmt: skip
"""Settings for the server of a run, the route to it, and the receivers of its results. With the original values, the
server's addresses would get the load again."""


def _against(config: RunConfig, url: str) -> RunConfig:
    """The same load against the mock alone, from this machine."""
    usual = {name: Settings.model_fields[name].get_default(call_default_factory=True) for name in _OF_THE_SERVER}
    # If a server counts the tokens, it is now the mock, which has its own tokenizer.
    tokenizer = "server" if config.server_counts else config.tokenizer
    return config.with_values(
        **usual, url=url, tokenizer=tokenizer, server_metrics=("off",), gpu_metrics="off", quiet=True
    )


def _curves(measured: RunDirectory, replayed: RunDirectory) -> list[ReplayedCurve]:
    """For each number that both runs have, the quantiles of both."""
    a, b = (
        curves_of(streams_of(record for record in directory.records() if record.phase == "run"))
        for directory in (measured, replayed)
    )
    return [
        ReplayedCurve(number=name, measured=a[name], replayed=b[name])
        for name in NUMBERS
        if {name} <= a.keys() & b.keys()
    ]


def compared(measured: Latency, replayed: Latency) -> list[ReplayedNumber]:
    """A row for each number and quantile that both runs have: both values in ms, and the difference as a share."""
    rows = []
    for name in NUMBERS:
        for quantile in QUANTILES:
            a, b = (side[name].of(quantile) if name in side else None for side in (measured, replayed))
            if a is not None and b is not None:
                off = b / a - 1 if a > 0 else None
                apart = is_apart(*(side[name].ci95.get(quantile) for side in (measured, replayed)))
                row = ReplayedNumber(number=name, quantile=quantile, measured=a, replayed=b, off=off, apart=apart)
                rows.append(row)
    return rows


def is_apart(a: Interval | None, b: Interval | None) -> bool | None:
    """Whether two intervals are disjoint; None if one is missing."""
    if a is None or b is None:
        return None
    return a[1] < b[0] or b[1] < a[0]
