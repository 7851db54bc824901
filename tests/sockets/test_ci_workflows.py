"""The workflows of examples/ci: they keep the published schemas, and their commands work, against the mock."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
import yaml
from jsonschema import Draft7Validator

from tests.support.calm import CALM
from tests.support.documentation import ROOT
from tests.support.held_port import held_port
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S

SCHEMAS = files("check_jsonschema.builtin_schemas").joinpath("vendor")
TEXTS = [path.read_text(encoding="utf-8") for path in (ROOT / "examples" / "ci").glob("*.yml")]
BLOCKS = {text.splitlines()[0].lstrip("# ").partition(":")[0]: text for text in TEXTS}
GITHUB, GITHUB_SERVER, GITLAB = (
    ".github/workflows/latency.yml",
    ".github/workflows/latency-server.yml",
    ".gitlab-ci.yml",
)


def workflow(name: str) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true; GitHub does not.
    content: dict[Any, Any] = yaml.safe_load(BLOCKS[name])
    return {"on" if key is True else key: value for key, value in content.items()}


def problems(name: str, content: Mapping[str, Any]) -> list[str]:
    """What the published schema says against a workflow."""
    schema = orjson.loads(
        SCHEMAS.joinpath("gitlab-ci.json" if name == GITLAB else "github-workflows.json").read_bytes()
    )
    return [f"{error.json_path}: {error.message}" for error in Draft7Validator(schema).iter_errors(content)]


@pytest.mark.parametrize("name", [GITHUB, GITHUB_SERVER, GITLAB])
def test_a_workflow_keeps_its_published_schema(name: str) -> None:
    assert problems(name, workflow(name)) == []


def test_a_mistake_in_a_workflow_is_seen() -> None:
    wrong = workflow(GITHUB)
    wrong["jobs"]["mock"]["steps"][2]["rum"] = "pip install ."
    assert problems(GITHUB, wrong) != []
    wrong = workflow(GITLAB)
    wrong["latency"]["artifacts"] = {"reports": {"junit": {"path": "gate.xml"}}}
    assert problems(GITLAB, wrong) != []


def steps(name: str, job: str) -> Iterator[tuple[str, str]]:
    """(name, commands) of the steps of a GitHub job that run something; the installation is done already."""
    for step in workflow(name)["jobs"][job]["steps"]:
        if "run" in step and step["name"] != "Install":
            yield step["name"], step["run"]


def script(job: str) -> str:
    """The commands of a GitLab job, as its runner joins them."""
    content = workflow(GITLAB)
    lines = [*content[".measuring"]["before_script"], *content[job]["script"]]
    return "\n".join(line for line in lines if not line.startswith("pip install"))


class Runner:
    """A machine of a CI server: a checkout with our programs, a shell, and a `gh` that knows one artefact. Without it, `gh`
    fails as it does before the first run; where it is a folder, the run is there and its artefact has expired.

    How fast it is fails no gate: its runs have limits that no busy machine trips, and objectives have seconds for ms.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = "http://127.0.0.1:8000"
        programs = folder / "programs"
        programs.mkdir()
        (folder / "calm.yaml").write_text(CALM)
        (programs / "python").write_text(
            f'#!/bin/sh\npython="{sys.executable}"\n'
            'if [ "$1 $2 $3" = "-m bench run" ]; then shift 3; set -- -m bench run --config calm.yaml "$@"; fi\n'
            'exec "$python" "$@"\n'
        )
        (programs / "gh").write_text(
            '#!/bin/sh\nif [ "$1 $2" = "run list" ]; then [ -e "$ARTEFACT" ] && echo 42; exit; fi\n'
            'if [ "$*" = "run download 42 --name baseline" ]; then cp "$ARTEFACT" baseline.json; exit; fi\nexit 9\n'
        )
        for program in programs.iterdir():
            program.chmod(0o755)
        self.env = {
            **{name: value for name, value in os.environ.items() if name not in ("OPENAI_API_KEY", "PYTHONWARNINGS")},
            "PATH": f"{programs}:{os.environ['PATH']}",
            "ARTEFACT": str(folder / "artefact.json"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "CI_API_V4_URL": "http://127.0.0.1:9/api/v4",
        }

    def run(self, commands: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Commands as GitHub's runner executes them; what they leave in the background ends with them."""
        commands = commands.replace("http://127.0.0.1:8000", self.url)
        port = self.url.rpartition(":")[2]
        commands = commands.replace("python -m mockserver", f"python -m mockserver --port {port}")
        commands = (
            commands.replace("p90<500ms", "p90<500s").replace("p90<1s", "p90<500s").replace("server 30s", "server 500s")
        )
        ending = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", ending + commands],
            cwd=self.folder, env=self.env | env, capture_output=True, text=True, timeout=2 * PATIENCE_S,
        )  # fmt: skip

    def job(self, name: str, job: str, **env: str) -> dict[str, subprocess.CompletedProcess[str]]:
        """Every step of a GitHub job, until one fails."""
        ran: dict[str, subprocess.CompletedProcess[str]] = {}
        for step, commands in steps(name, job):
            ran[step] = self.run(commands, **env)
            # A calibration may say that this machine is too busy to measure with; what follows is tried all the same.
            if ran[step].returncode and not (ran[step].returncode == 3 and "bench calibrate" in commands):
                break
        return ran


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


@pytest.fixture
def free_url() -> Iterator[str]:
    with held_port() as port:
        yield f"http://127.0.0.1:{port}"


def test_the_github_workflow_begins_a_baseline_and_holds_the_next_run_to_it(
    runner: Runner, free_url: str, tmp_path: Path
) -> None:
    runner.url = free_url
    first = runner.job(GITHUB, "mock")
    last = list(first.values())[-1]
    assert list(first) == [step for step, _ in steps(GITHUB, "mock")], last.stdout + last.stderr
    assert last.returncode == 0, last.stdout + last.stderr
    baseline = orjson.loads((tmp_path / "baseline.json").read_bytes())
    assert len(baseline["runs"]) == 3
    root = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert "ttft:p90<500s" in [case.get("name") for case in root.iter("testcase")]
    assert (tmp_path / "summary.md").read_text().startswith("### ✅ The gate passed")

    # The next run downloads the artefact. Its own measurement is the same one under other names, since no run is held to
    # itself: what is judged is the way to the gate.
    earlier = [{**run, "id": f"{run['id']}-earlier"} for run in baseline["runs"]]
    (tmp_path / "baseline.json").write_bytes(orjson.dumps({**baseline, "runs": earlier}))
    (tmp_path / "baseline.json").rename(tmp_path / "kept.json")
    of = dict(steps(GITHUB, "mock"))
    (tmp_path / "artefact.json").mkdir()
    expired = runner.run(of["Get the baseline of main"])
    assert (expired.returncode, expired.stdout) == (0, "no baseline any more\n"), expired.stderr
    (tmp_path / "artefact.json").rmdir()
    (tmp_path / "kept.json").rename(tmp_path / "artefact.json")
    assert runner.run(of["Get the baseline of main"]).returncode == 0
    assert (tmp_path / "baseline.json").read_bytes() == (tmp_path / "artefact.json").read_bytes()
    again = runner.run(of["Gate"])
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Against the baseline" in again.stdout


def test_the_github_workflow_of_a_real_server_measures_it(runner: Runner, tmp_path: Path) -> None:
    with mock_process("--ttft", "20ms", "--tpot", "3ms") as mock:
        ran = runner.job(GITHUB_SERVER, "server", LLM_URL=mock.url, RATE="20", DURATION="2s")
    last = list(ran.values())[-1]
    assert [one.returncode for one in ran.values()] == [0] * 3, last.stdout + last.stderr
    baseline = orjson.loads((tmp_path / "baseline.json").read_bytes())
    assert (baseline["workload"]["rate"], baseline["target"]["server"]) == (20.0, mock.url)


def test_the_gitlab_jobs_do_the_same(runner: Runner, tmp_path: Path) -> None:
    of_github = "\n".join(commands for _, commands in steps(GITHUB, "mock"))
    for words in ("python -m bench calibrate", "python -m bench gate", "python -m mockserver"):
        (ours,) = [line for line in script("latency").splitlines() if line.startswith(words)]
        (theirs,) = [line.strip() for line in of_github.splitlines() if line.strip().startswith(words)]
        assert ours == theirs.replace('"$GITHUB_STEP_SUMMARY"', "gate.md")
    with mock_process("--ttft", "20ms", "--tpot", "3ms") as mock:
        ran = runner.run(
            script("latency-server"), LLM_URL=mock.url, RATE="20", DURATION="2s", CI_JOB_NAME="latency-server"
        )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "no baseline yet" in ran.stdout
    assert (tmp_path / "gate.md").read_text().startswith("### ✅ The gate passed")
    assert len(orjson.loads((tmp_path / "baseline.json").read_bytes())["runs"]) >= 1
