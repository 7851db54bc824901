"""The scripts in examples/ and the notebook: each works unchanged against a mock, in an empty directory."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from jsonschema import Draft7Validator

from tests.support.documentation import ROOT, patient
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.long

EXAMPLES = ROOT / "examples"
SHORT = {
    "nightly-gate/gate.sh": {"DURATION": "1s"},
    "compare-flags/compare.sh": {"PAIRS": "2", "REQUESTS": "24"},
    "hosted-capacity/capacity.sh": {"BUDGET": "10s", "MAX": "20", "START": "10"},
    "mooncake-trace/replay.sh": {"SPEED": "4"},
    "before-a-talk/check.sh": {"USERS": "4", "REQUESTS": "40"},
}
"""Every script, with settings that shorten it: seconds instead of a person's minutes."""
LEFT = {
    "nightly-gate/gate.sh": ("baseline.json", "runs/gate.xml", "runs/gate.md"),
    "compare-flags/compare.sh": ("runs/flags/compare.json", "runs/flags/a/1/report.html"),
    "hosted-capacity/capacity.sh": ("runs/capacity/search.json", "runs/one/summary.json"),
    "mooncake-trace/replay.sh": ("runs/trace/report.html",),
    "before-a-talk/check.sh": ("runs/talk-calibration/certificate.html",),
}
"""Files that each must leave behind."""


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a user with the virtual environment active and no variables set."""
    unset = ("URL", "A_URL", "B_URL", "OPENAI_API_KEY", "PYTHONWARNINGS")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    cache = {"XDG_CACHE_HOME": str(folder / "cache"), "MPLCONFIGDIR": str(folder / "matplotlib"), "MPLBACKEND": "agg"}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **cache, **more}


def run(words: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=folder,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )


def patient_copy(script: str, folder: Path) -> str:
    """A copy of a script with objectives that no busy machine fails."""
    copy = folder / "patient" / script
    copy.parent.mkdir(parents=True)
    shutil.copy(EXAMPLES / script, copy)  # Including its mode.
    copy.write_text(patient(copy.read_text(encoding="utf-8")), encoding="utf-8")
    return str(copy)


def test_every_script_is_run_here() -> None:
    scripts = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.sh")}
    assert scripts == set(SHORT) == set(LEFT)
    linked = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [
        path.name for path in EXAMPLES.iterdir() if path.is_dir() and f"({path.name}/README.md)" not in linked
    ] == []


@pytest.mark.parametrize("script", [script for script in SHORT if "trace" not in script])
def test_a_script_works_as_it_stands(script: str, tmp_path: Path) -> None:
    if "nightly" in script:  # Last night's runs still exist.
        (tmp_path / "runs" / "nightly" / "1").mkdir(parents=True)
        (tmp_path / "runs" / "nightly" / "1" / "run.yaml").write_text("config: {}\n")
    ran = run([patient_copy(script, tmp_path)], tmp_path, **SHORT[script])
    # Status 3: this machine is too busy to measure, and the script reports it. Its files exist anyway.
    busy = ran.returncode == 3 and "INVALID" in ran.stdout + ran.stderr
    # On a busy machine, a search of 10 s may end without an answer, but its observations exist.
    short = ran.returncode == 1 and "capacity" in script and (tmp_path / "runs/capacity/search.json").exists()
    assert ran.returncode == 0 or busy or short, ran.stdout + ran.stderr
    absent = [name for name in LEFT[script] if not (tmp_path / name).exists()]
    assert absent == [] or busy, ran.stdout + ran.stderr


def test_the_replayed_trace_is_the_one_in_the_file(tmp_path: Path) -> None:
    script = "mooncake-trace/replay.sh"
    ran = run([str(EXAMPLES / script)], tmp_path, **SHORT[script])
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [name for name in LEFT[script] if not (tmp_path / name).exists()] == []
    lines = (tmp_path / "runs" / "trace" / "requests.jsonl").read_bytes().splitlines()
    records = sorted((orjson.loads(line) for line in lines), key=lambda record: record["index"])
    rows = [json.loads(line) for line in (EXAMPLES / "mooncake-trace" / "trace.jsonl").read_text().splitlines()]
    assert [record["input_tokens"] for record in records] == [row["input_length"] for row in rows]
    assert [record["output_tokens"] for record in records] == [row["output_length"] for row in rows]
    planned = [(record["intended_ns"] - records[0]["intended_ns"]) / 1e6 * 4 for record in records]
    assert planned == pytest.approx([row["timestamp"] for row in rows], abs=0.01)


def test_a_script_whose_mock_does_not_start_ends(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text("#!/bin/sh\nexit 2\n")
    python.chmod(0o755)
    for script in SHORT:
        env = environment(tmp_path) | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        ran = subprocess.run(
            [str(EXAMPLES / script)], cwd=tmp_path, env=env, capture_output=True, timeout=PATIENCE_S, check=False
        )
        assert ran.returncode != 0, script


def test_the_numbers_of_an_invalid_run_are_not_for_a_slide(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$2 $3" != "bench run" ] || exit 3\necho 1ms 1ms\n')
    python.chmod(0o755)
    env = environment(tmp_path) | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "URL": "http://127.0.0.1:1"}
    (tmp_path / "runs").mkdir()
    ran = subprocess.run(
        [str(EXAMPLES / "before-a-talk/check.sh")], cwd=tmp_path, env=env, capture_output=True, timeout=60, check=False
    )
    assert ran.returncode == 3, ran


def test_the_notebook_measures_and_plots(tmp_path: Path) -> None:
    notebook = EXAMPLES / "plot-a-sweep" / "sweep.ipynb"
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert (content["nbformat"], [cell.get("outputs") for cell in content["cells"] if cell.get("outputs")]) == (4, [])
    executed = tmp_path / "executed.ipynb"
    # A Jupyter kernel runs the cells, as for a reader. An error in one fails the command.
    folders = {name: str(tmp_path / name) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")}
    shutil.copy(notebook, tmp_path)
    command = [str(Path(sys.executable).parent / "jupyter-execute"), notebook.name, "--output", executed.stem]
    ran = run(command, tmp_path, USERS_LADDER="1,4", DURATION="500ms", MPLBACKEND="", **folders)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    printed = "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")
    assert re.findall(r"^ +(\d+) users +[\d.]+ tokens/s", printed, re.MULTILINE) == ["1", "4"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1, "the notebook must show the plot"
    assert (tmp_path / "runs" / "notebook-sweep" / "sweep.svg").read_text(encoding="utf-8").count("<path") > 20


def workflow() -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true; GitHub does not.
    content: dict[Any, Any] = yaml.safe_load((EXAMPLES / "nightly-gate" / "nightly.yml").read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in content.items()}


def test_the_workflow_keeps_its_published_schema_and_runs_the_script() -> None:
    vendored = files("check_jsonschema.builtin_schemas").joinpath("vendor", "github-workflows.json")
    validator = Draft7Validator(orjson.loads(vendored.read_bytes()))
    assert [error.message for error in validator.iter_errors(workflow())] == []
    wrong = workflow()
    wrong["jobs"]["gate"]["steps"][-1]["uzes"] = "x"
    assert [error.message for error in validator.iter_errors(wrong)] != []
    runs = [step.get("run") for step in workflow()["jobs"]["gate"]["steps"]]
    assert "examples/nightly-gate/gate.sh" in runs
    names = set(workflow()["jobs"]["gate"]["env"]) - {"OPENAI_API_KEY"}
    text = (EXAMPLES / "nightly-gate" / "gate.sh").read_text(encoding="utf-8")
    assert [name for name in names if f"${{{name}:-" not in text] == []
