"""Runs in the forms of other tools: what their own packages read of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from llmd_benchmark_report.core import load_benchmark_report

from bench.cli import main
from bench.comparison.sides import read_run
from bench.errors import Exit
from bench.exports import FORMATS
from bench.exports.interface import numbers_of, settings_of

RESULTS = Path(__file__).parent / "imports" / "results"


def run_of(name: str, folder: Path) -> Path:
    """A run directory of another tool's result, which costs no load."""
    assert main(["import", str(RESULTS / name), "--out", str(folder / "run"), "--quiet"]) == Exit.GOOD
    return folder / "run"


@pytest.mark.parametrize("name", ["vllm-closed.json", "vllm-rate.json", "vllm-closed-errors.json"])
def test_llm_d_reads_the_numbers_of_its_report(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, file = run_of(name, tmp_path), tmp_path / "report.yaml"
    assert main(["export", str(path), "--format", "llm-d", "--out", str(file)]) == Exit.GOOD
    capsys.readouterr()
    assert main(["export", str(path), "--format", "llm-d"]) == Exit.GOOD
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(file.read_text())
    report: Any = load_benchmark_report(yaml.safe_load(file.read_text()))
    summary = read_run(path).summary
    found = report.results.request_performance.aggregate
    ttft = summary.latency["ttft_ms"]
    assert (found.latency.time_to_first_token.mean, found.latency.time_to_first_token.p99) == (ttft.mean, ttft.p99)
    assert found.latency.time_to_first_token.stddev == ttft.std
    assert found.requests.total == summary.counts.sent
    assert found.requests.failures == summary.counts.failed
    assert found.throughput.request_rate.mean == summary.throughput.requests_per_s
    load = report.scenario.load.standardized
    assert (load.tool, load.rate_qps, load.concurrency) == (
        "trueload",
        20.0 if "rate" in name else None,
        None if "rate" in name else 2,
    )
    assert report.run.keywords == ["SUSPECT"]


def test_numbers_and_settings_have_flat_names(tmp_path: Path) -> None:
    summary = read_run(run_of("vllm-closed.json", tmp_path)).summary
    numbers, settings = numbers_of(summary), settings_of(summary)
    assert numbers["ttft_ms.p99"] == summary.latency["ttft_ms"].p99
    assert numbers["requests_per_s"] == summary.throughput.requests_per_s
    assert (numbers["sent"], numbers["failed"]) == (8.0, 0.0)
    assert (settings["verdict"], settings["concurrency"], settings["model"]) == ("SUSPECT", "2", "mock-model")


@pytest.mark.parametrize(("name", "package"), [("mlflow", "mlflow-skinny"), ("wandb", "wandb")])
def test_a_package_that_is_missing_is_named(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_of("vllm-closed.json", tmp_path)
    monkeypatch.setitem(sys.modules, name, None)
    assert main(["export", str(path), "--format", name]) == Exit.USAGE
    assert f"not installed: pip install {package}\n" in capsys.readouterr().err


def test_a_flag_of_another_format_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path)
    assert main(["export", path, "--format", "llm-d", "--project", "x"]) == Exit.USAGE
    assert main(["export", path, "--format", "mlflow", "--out", "x"]) == Exit.USAGE
    assert main(["export", path, "--format", "llm-d"]) == Exit.USAGE
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == [
        "error: --project does not go with --format llm-d",
        "error: --out does not go with --format mlflow",
    ]
    assert "is not a run directory" in said[2]
    assert set(FORMATS) == {"llm-d", "mlflow", "wandb"}


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_keeps_a_run_in_a_file_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    path = run_of("vllm-closed.json", tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    assert main(["export", str(path), "--format", "mlflow", "--project", "mine"]) == Exit.GOOD
    client = mlflow.tracking.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert run.data.metrics == pytest.approx(numbers_of(read_run(path).summary))
    assert (run.data.params["concurrency"], run.data.tags["verdict"]) == ("2", "SUSPECT")
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"summary.json", "report.html"}


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_a_run_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    path = run_of("vllm-closed.json", tmp_path)
    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    assert main(["export", str(path), "--format", "wandb"]) == Exit.GOOD
    assert "wandb run: " in capsys.readouterr().out
    (kept,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    content = kept.read_bytes()
    assert all(json.dumps(name)[1:-1].encode() in content for name in ("ttft_ms.p99", "requests_per_s", "SUSPECT"))


@pytest.mark.parametrize("words", [(), ("--format", "excel")])
def test_a_missing_or_an_unknown_format_lists_those_that_there_are(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "run", *words]) == Exit.USAGE
    assert ", ".join(FORMATS) in capsys.readouterr().err
