"""Runs in the formats of other tools, read by the tools' own packages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from bench.cli import main
from bench.comparison.sides import read_run
from bench.errors import Exit
from bench.exports import FORMATS
from bench.exports.interface import numbers_of, settings_of
from bench.exports.llm_d import report_of
from bench.results.summary import RunSummary
from tests.support.golden_run import golden_summary
from tests.support.results import filled

RESULTS = Path(__file__).parent / "imports" / "results"


def run_of(name: str, folder: Path) -> Path:
    """A run directory from another tool's result, so that no load is needed."""
    assert main(["import", str(RESULTS / name), "--out", str(folder / "run"), "--quiet"]) == Exit.GOOD
    return folder / "run"


@pytest.mark.parametrize("name", ["vllm-closed.json", "vllm-rate.json", "vllm-closed-errors.json"])
def test_llm_d_reads_the_numbers_of_its_report(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Imported only here, because every process collects all tests.
    from llmd_benchmark_report.core import load_benchmark_report

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


def test_a_latency_of_which_only_bounds_are_known_is_left_out() -> None:
    content = golden_summary()
    content["latency"]["ttft_ms"]["bounds"] = {"p50": [0.0, 9_000.0], "p90": [58.0, 58.2]}
    content["latency"]["e2el_ms"]["bounds"] = {"mean": [0.0, 9_000.0]}
    summary = filled(RunSummary, content)
    numbers = numbers_of(summary)
    assert [name for name in ("ttft_ms.p50", "ttft_ms.p90", "e2el_ms.mean", "e2el_ms.p50") if name in numbers] == [
        "ttft_ms.p90", "e2el_ms.p50"
    ]  # fmt: skip
    found = report_of(summary)["results"]["request_performance"]["aggregate"]["latency"]
    assert "request_latency" not in found
    assert found["time_to_first_token"].keys() >= {"mean", "p90"}
    assert "p50" not in found["time_to_first_token"]


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


class Run:
    """A run of a tracker. Records its input."""

    id = "id-1"

    def __init__(self, notes: dict[str, Any]) -> None:
        self.notes = notes
        self.info = SimpleNamespace(run_id=self.id)
        self.summary = notes.setdefault("summary", {})

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        self.notes["ended"] = True

    def log_artifact(self, kept: Any) -> None:
        self.notes["artifact"] = kept


class TrackerError(Exception):
    """A tracker's exception."""


def tracker(name: str, notes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that behaves like the real one, as far as an export uses it, and sends nothing."""

    class Artifact:
        def __init__(self, name: str, type: str) -> None:
            self.named, self.files = (name, type), list[str]()

        def add_file(self, path: str) -> None:
            self.files.append(Path(path).name)

    def init(**given: Any) -> Run:
        if given["project"] == "refused":
            raise TrackerError("no such project")
        notes.update(given)
        return Run(notes)

    def start_run(run_name: str) -> Run:
        notes["name"] = run_name
        return Run(notes)

    def set_experiment(project: str) -> None:
        if project == "refused":
            raise TrackerError("no such project")
        notes["project"] = project

    if name == "wandb":
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(init=init, Artifact=Artifact, Error=TrackerError))
        return
    module = SimpleNamespace(
        set_experiment=set_experiment, start_run=start_run, log_params=lambda params: notes.update(config=params),
        log_metrics=lambda numbers: notes.update(summary=numbers), set_tags=lambda tags: notes.update(tags=tags),
        log_artifact=lambda file: notes.setdefault("files", []).append(Path(file).name),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, f"{name}.exceptions", SimpleNamespace(MlflowException=TrackerError))


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tracker_is_given_settings_numbers_and_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, notes = run_of("vllm-closed.json", tmp_path), dict[str, Any]()
    tracker(name, notes, monkeypatch)
    capsys.readouterr()
    assert main(["export", str(path), "--format", name]) == Exit.GOOD
    assert capsys.readouterr().out == f"{name} run: id-1\n"
    summary = read_run(path).summary
    assert (notes["project"], notes["name"], notes["ended"]) == ("trueload", "imported", True)
    assert notes["config"] == settings_of(summary)
    assert notes["summary"] == numbers_of(summary)
    files = notes["files"] if name == "mlflow" else notes["artifact"].files
    assert files == ["summary.json", "report.html"]
    if name == "mlflow":
        assert notes["tags"] == {"verdict": "SUSPECT", "run_id": summary.run.id}
    else:
        assert (notes["tags"], notes["artifact"].named) == (["SUSPECT"], (f"run-{summary.run.id}", "benchmark"))
    assert main(["export", str(path), "--format", name, "--project", "mine"]) == Exit.GOOD
    assert notes["project"] == "mine"
    assert main(["export", str(path), "--format", name, "--project", "refused"]) == Exit.USAGE
    assert capsys.readouterr().err == f"error: --format {name}: no such project\n"


def made(**changed: Any) -> RunSummary:
    summary = golden_summary()
    for name, value in changed.items():
        summary[name] = summary[name] | value
    return filled(RunSummary, summary)


def test_the_report_of_llm_d_has_its_times_rates_and_lengths() -> None:
    summary = made(
        run={"id": "u", "started": "2026-11-24T10:00:00+00:00", "versions": {"trueload": "9"},
             "config": {"rate": 2.5, "concurrency": 0, "input_tokens": "100", "output_tokens": "lognormal:mean=9"}},
        counts={"sent": 14, "succeeded": 8, "failed": 3, "interrupted": 1, "cancelled": 2},
    )  # fmt: skip
    report = report_of(summary)
    seconds = summary.throughput.duration_s
    assert seconds is not None
    run, load = report["run"], report["scenario"]["load"]["standardized"]
    assert run["time"] == {
        "start": "2026-11-24T10:00:00+00:00",
        "end": f"2026-11-24T10:00:{seconds:09.6f}+00:00",
        "duration": f"PT{seconds}S",
    }
    assert (run["uid"], run["keywords"]) == ("u", [str(summary.verdict.status)])
    assert load == {
        "tool": "trueload", "tool_version": "9", "source": "random",
        "input_seq_len": {"distribution": "fixed", "value": 100}, "rate_qps": 2.5, "concurrency": 0,
    }  # fmt: skip
    found = report["results"]["request_performance"]["aggregate"]
    assert found["requests"] == {"total": 14, "failures": 3, "incomplete": 3}
    rates = summary.throughput
    assert found["throughput"] == {
        "input_token_rate": {"units": "tokens/s", "mean": rates.input_tokens_per_s},
        "output_token_rate": {"units": "tokens/s", "mean": rates.output_tokens_per_s},
        "total_token_rate": {"units": "tokens/s", "mean": rates.total_tokens_per_s},
        "request_rate": {"units": "queries/s", "mean": rates.requests_per_s},
    }
    ours = {"time_to_first_token": "ttft_ms", "time_per_output_token": "tpot_ms", "inter_token_latency": "itl_ms",
            "request_latency": "e2el_ms"}  # fmt: skip
    assert {name: row["mean"] for name, row in found["latency"].items()} == {
        name: summary.latency[metric].mean for name, metric in ours.items()
    }
    assert [row["units"] for row in found["latency"].values()] == ["ms", "ms/token", "ms/token", "ms"]
    row = summary.latency["e2el_ms"]
    assert found["latency"]["request_latency"]["p99p9"] == row.p999


def test_the_report_of_llm_d_leaves_out_what_is_not_known() -> None:
    summary = made(
        run={"id": None, "config": {"dataset": "a.jsonl", "output_tokens": "7"}, "versions": {}},
        throughput={"duration_s": None, "total_tokens_per_s": None},
        counts={"succeeded": 8},
        tokens={"usage": {**golden_summary()["tokens"]["usage"], "input": 20}},
        latency={"itl_ms": {**golden_summary()["latency"]["itl_ms"], "mean": None},
                 "ttft_ms": {**golden_summary()["latency"]["ttft_ms"], "std": None}},
    )  # fmt: skip
    report = report_of(summary)
    assert report["run"]["uid"] == summary.run.started
    assert (report["run"]["time"]["duration"], report["run"]["time"]["end"]) == (
        "PT0.0S", report["run"]["time"]["start"],
    )  # fmt: skip
    load = report["scenario"]["load"]["standardized"]
    assert (load["source"], load["tool_version"]) == ("sampled", "unknown")
    assert load["input_seq_len"] == {"distribution": "other", "value": 2.5}  # 20 tokens over 8 requests.
    assert load["output_seq_len"] == {"distribution": "fixed", "value": 7}
    assert not {"rate_qps", "concurrency"} & load.keys()
    found = report["results"]["request_performance"]["aggregate"]
    assert set(found["latency"]) == {"time_to_first_token", "time_per_output_token", "request_latency"}
    assert "stddev" not in found["latency"]["time_to_first_token"]
    assert "total_token_rate" not in found["throughput"]
    uncounted = {"usage": {**golden_summary()["tokens"]["usage"], "input": None}}
    unknown = made(run={"config": {}}, counts={"succeeded": 8}, tokens=uncounted)
    assert report_of(unknown)["scenario"]["load"]["standardized"]["input_seq_len"]["value"] == 0.0
    nothing = made(run={"config": {}}, counts={"succeeded": 0})
    assert report_of(nothing)["scenario"]["load"]["standardized"]["input_seq_len"]["value"] == 0.0


def test_settings_are_those_that_differ_from_the_default() -> None:
    changed = {"url": "http://h", "out": "a", "name": "b", "rate": 2.0, "slo": None}
    summary = made(run={"changed": changed, "model": None, "url": "http://h", "endpoint": "chat", "mode": "rate"})
    assert settings_of(summary) == {
        "url": "http://h", "endpoint": "chat", "mode": "rate", "verdict": str(summary.verdict.status), "rate": "2.0",
    }  # fmt: skip
