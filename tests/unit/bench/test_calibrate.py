"""Calibration: where its load goes, and which certificates are kept for later runs. No load is sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from bench.accuracy import coverage
from bench.calibrate import measure
from bench.commands import calibrate
from bench.config import RunConfig, resolve
from bench.errors import Exit, UsageError
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


@pytest.mark.parametrize(
    ("words", "store", "kept"),
    [
        ([], True, True),
        ([], False, False),
        (["--no-store"], True, False),
        (["--url", "http://127.0.0.1:2"], True, True),
    ],
)
def test_a_calibration_checks_the_usage_reads_no_page_and_is_kept_unless_asked_not_to(
    words: list[str], store: bool, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    made: list[RunConfig] = []
    result: Any = SimpleNamespace()

    def here(config_at: Any, *, mock_flags: str, command: list[str], observer: object) -> object:
        made.append(config_at("http://127.0.0.1:1"))
        assert (mock_flags, command[:4]) == ("--ttft 9ms", ["python", "-m", "bench", "calibrate"])
        return result

    def there(config: RunConfig, *, command: list[str], observer: object) -> object:
        made.append(config)
        return result

    monkeypatch.setattr(measure, "calibrate", here)
    monkeypatch.setattr(measure, "calibrate_at", there)
    monkeypatch.setattr(measure, "keep", lambda result: store)
    monkeypatch.setattr(measure, "default_path", lambda: tmp_path / "certificates.json")
    monkeypatch.setattr(calibrate, "finish", lambda config, found: 0 if found is result else 1)
    mock = [] if "--url" in words else ["--mock", "--ttft 9ms"]
    assert calibrate.main(["--requests", "5", *mock, *words]) == 0
    (config,) = made
    assert (config.check_usage, config.server_metrics, config.gpu_metrics) == (True, ("off",), "off")
    assert (config.url, config.name) == (words[1] if "--url" in words else "http://127.0.0.1:1", "calibration")
    said = f"kept in {tmp_path / 'certificates.json'}: later runs of such a load show these errors\n"
    assert capsys.readouterr().err == (said if kept else "")


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        (["--mock", "--ttft 9ms", "--url", "http://h"], [calibrate.NOT_BOTH]),
        (["--url", "http://h", "--url", "http://g"], [calibrate.ONE_MOCK]),
        (["--sweep", "rate=5", "--url", "http://h", "--rate", "5", "--concurrency", "3"],
         ["--sweep starts a mock for each load, and --url names one that runs: use only one of them",
          "--concurrency and --sweep cannot be combined: give the loads to --sweep",
          "--rate and --sweep cannot be combined: give the loads to --sweep"]),
        (["--full", "--url", "http://h", "--mock", "--ttft 9ms", "--sweep", "rate=5", "--duration", "5"],
         ["--duration and --full cannot be combined: each check has its own",
          "--mock and --full cannot be combined: each check has its own",
          "--url and --full cannot be combined: each check has its own",
          "--sweep and --full cannot be combined: each check has its own"]),
    ],
)  # fmt: skip
def test_flags_of_a_calibration_that_do_not_go_together_are_named(words: list[str], problems: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        calibrate.main(words)
    assert [problem for problem in refused.value.problems if problem in problems] == problems


def test_instants_of_nodes_with_clocks_of_their_own_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[object] = []
    said: list[str] = []
    places = [{"worker": 0, "node": "a", "address": "1", "process": 1, "clock_bound_ns": bound} for bound in (0, 5)]
    directories = [SimpleNamespace(path=tmp_path, write=lambda name, content: written.append((name, content)))] * 2
    found = iter([SimpleNamespace(manifest=SimpleNamespace(places=[SimpleNamespace(**place)])) for place in places])

    def run(config: RunConfig, *, before_evaluation: Any, **more: object) -> None:
        assert more["wait"] is False
        for directory in directories:
            before_evaluation(directory)

    monkeypatch.setattr(measure, "run", run)
    monkeypatch.setattr(measure, "wait_until_ready", lambda config, observer: None)
    monkeypatch.setattr("bench.manifest.read", lambda directory: next(found))
    monkeypatch.setattr("bench.calibrate.remote.truth_of", lambda *of: {"clock": "it", "ledger_lines": 3, "of": of})
    monkeypatch.setattr("bench.calibrate.remote.same_clock", lambda theirs, ours: theirs == "it")
    monkeypatch.setattr("bench.calibrate.remote.fetch_ledger", lambda *of: written.append(of))
    observer: Any = SimpleNamespace(say=said.append)
    measure.calibrate_at(resolve({"url": "http://h:1/v1", "output_tokens": "7"}), observer=observer)
    truth = {"clock": "it", "ledger_lines": 3, "of": ["http://h:1", 7]}
    ledger = ("http://h:1", 3, tmp_path / "ledger.jsonl")
    assert written == [
        ledger, ("mock.json", orjson.dumps({"clock": "shared", "truth": truth})),
        ledger, ("mock.json", orjson.dumps({"clock": "other", "truth": truth})),
    ]  # fmt: skip
    assert said == ["the mock shares our clock", "the nodes have clocks of their own: durations are compared"]
