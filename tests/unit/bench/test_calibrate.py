"""Calibration: where its load goes, and which certificates are kept for later runs. No load is sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.accuracy import coverage
from bench.calibrate import measure
from bench.config import RunConfig, resolve
from bench.errors import Exit
from bench.machine import machine_cache
from bench.observer import SILENT
from bench.results.certificate import LedgerCalibration
from tests.support.changed import replace
from tests.support.results import filled
from tests.unit.bench.test_evaluate import run_directory


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_every_replica_of_the_mock_gets_a_share_of_the_load(replicas: int, monkeypatch: pytest.MonkeyPatch) -> None:
    listening = [f"http://127.0.0.1:{9000 + n}" for n in range(replicas)]

    @contextmanager
    def running(*args: Any, **more: Any) -> Iterator[Any]:
        yield SimpleNamespace(url=listening[0], urls=listening)

    sent: list[RunConfig] = []
    monkeypatch.setattr(measure, "running_mock", running)
    monkeypatch.setattr(measure, "run", lambda config, **more: sent.append(config))
    measure.calibrate(
        lambda places: resolve({"url": places}), mock_flags=f"--replicas {replicas}", command=(), observer=SILENT
    )
    assert [[address.name for address in config.addresses] for config in sent] == [listening]


WHOLE = filled(LedgerCalibration, {"clock": "shared", "metrics": [{}]})


@pytest.mark.parametrize(
    ("end", "calibration", "kept"),
    [
        (Exit.GOOD, WHOLE, True),
        (Exit.INVALID, WHOLE, True),
        (Exit.INTERRUPTED, WHOLE, False),
        (Exit.GOOD, None, False),
        (Exit.GOOD, replace(WHOLE, metrics=()), False),
        (Exit.GOOD, replace(WHOLE, clock="other"), False),
    ],
)
def test_only_a_whole_comparison_on_one_clock_is_kept_for_later_runs(
    end: Exit, calibration: LedgerCalibration | None, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = run_directory(tmp_path / "run")
    written: list[object] = []
    monkeypatch.setattr(measure, "_certificate", lambda result: "new")
    monkeypatch.setattr(coverage, "CertificateBrief", SimpleNamespace(of=lambda certificate: certificate))
    monkeypatch.setattr(coverage, "kept_with", lambda known, new: [SimpleNamespace(to_json=lambda: new)])
    monkeypatch.setattr(machine_cache, "write_entry", lambda path, host, entry: written.append(entry["certificates"]))
    result: Any = SimpleNamespace(directory=directory, exit=end, summary=SimpleNamespace(calibration=calibration))
    assert measure.keep(result) is kept
    assert written == [["new"]] * kept
