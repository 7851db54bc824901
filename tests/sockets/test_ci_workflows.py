"""action.yml, the GitLab component and the workflows of examples/ci: they match the published schemas, and the commands
of the action and the component work against the mock."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
import yaml
from jsonschema import Draft7Validator

from bench.cli import main
from bench.errors import Exit
from tests.support.calm import CALM
from tests.support.documentation import ROOT
from tests.support.literal_replies import whole
from tests.support.literal_server import LiteralServer, in_turn
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S

SCHEMAS = files("check_jsonschema.builtin_schemas").joinpath("vendor")
EXAMPLES = ROOT / "examples" / "ci"
ACTION, COMPONENT = ROOT / "action.yml", ROOT / "templates" / "trueload.yml"
SCHEMA_OF = {
    ACTION: "github-actions.json",
    COMPONENT: "gitlab-ci.json",
    EXAMPLES / "latency.yml": "github-workflows.json",
    EXAMPLES / "latency-server.yml": "github-workflows.json",
    EXAMPLES / "gitlab-ci.yml": "gitlab-ci.json",
    ROOT / ".github" / "workflows" / "release.yml": "github-workflows.json",
}


def documents(path: Path) -> list[dict[str, Any]]:
    # YAML 1.1 reads the key `on` as true; GitHub does not.
    contents: list[dict[Any, Any]] = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return [{"on" if key is True else key: value for key, value in content.items()} for content in contents]


def problems(path: Path, contents: list[dict[str, Any]]) -> list[str]:
    """The errors of a file by the published schema. GitLab's schema takes a component's two documents one by one."""
    validator = Draft7Validator(orjson.loads(SCHEMAS.joinpath(SCHEMA_OF[path]).read_bytes()))
    return [f"{error.json_path}: {error.message}" for content in contents for error in validator.iter_errors(content)]


@pytest.mark.parametrize("path", SCHEMA_OF, ids=lambda path: path.name)
def test_a_file_keeps_its_published_schema(path: Path) -> None:
    assert problems(path, documents(path)) == []


def test_a_mistake_is_seen() -> None:
    (action,) = documents(ACTION)
    del action["runs"]["steps"][1]["shell"]
    assert problems(ACTION, [action]) != []
    spec, jobs = documents(COMPONENT)
    spec["spec"]["inputs"]["url"]["options"] = "any"
    assert problems(COMPONENT, [spec]) != []
    (job,) = jobs.values()
    job["artifacts"]["reports"]["junit"] = {"path": "gate.xml"}
    assert problems(COMPONENT, [jobs]) != []
    (workflow,) = documents(EXAMPLES / "latency.yml")
    workflow["jobs"]["mock"]["steps"][0]["uzes"] = "x"
    assert problems(EXAMPLES / "latency.yml", [workflow]) != []


def inputs_of(uses: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, str]:
    """The inputs of a use of the action or the component: given values and defaults."""
    assert set(uses) <= set(known), "the example uses an input that does not exist"
    return {name: str(uses.get(name, spec.get("default", ""))) for name, spec in known.items()}


def test_the_examples_give_inputs_that_exist_and_every_one_that_has_no_default() -> None:
    (action,) = documents(ACTION)
    for name in ("latency.yml", "latency-server.yml"):
        (workflow,) = documents(EXAMPLES / name)
        (step,) = [step for job in workflow["jobs"].values() for step in job["steps"]]
        inputs_of(step["with"], action["inputs"])
    spec, _ = documents(COMPONENT)
    (pipeline,) = documents(EXAMPLES / "gitlab-ci.yml")
    for include in pipeline["include"]:
        given = inputs_of(include["inputs"], spec["spec"]["inputs"])
        assert given["install"]
        assert include["component"].partition("@")[0].endswith(f"/{COMPONENT.stem}")


def test_no_input_is_a_part_of_a_command() -> None:
    (action,) = documents(ACTION)
    assert [step["run"] for step in action["runs"]["steps"] if "${{" in step.get("run", "")] == []
    _, jobs = documents(COMPONENT)
    (job,) = jobs.values()
    assert [line for line in (*job["before_script"], *job["script"]) if "$[[" in line] == []


def test_a_use_of_the_action_never_gets_the_baseline_of_another() -> None:
    """The cache returns the newest entry whose key begins with the requested one."""
    (action,) = documents(ACTION)
    read, kept = (step["with"] for step in action["runs"]["steps"] if "actions/cache/" in step.get("uses", ""))
    assert kept["key"] == read["key"]
    names = ("trueload", "trueload-server", "trueload-1")
    asked, keys = (
        {name: text.strip().replace("${{ inputs.name }}", name) for name in names}
        for text in (read["restore-keys"], kept["key"])
    )
    assert [(one, other) for one in names for other in names if keys[other].startswith(asked[one])] == [
        *zip(names, names, strict=True)
    ]


class Runner:
    """A CI machine: a work space, a shell, and an installed Trueload.

    Its speed fails no gate: its runs have limits that no busy machine exceeds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.temp = folder / "work", folder / "temp"
        bin_ = self.temp / "trueload-env" / "bin"
        bin_.mkdir(parents=True)
        self.folder.mkdir()
        (folder / "calm.yaml").write_text(CALM)
        (bin_ / "trueload").write_text(
            f'#!/bin/sh\nif [ "$1" = run ]; then shift; set -- run --config "{folder}/calm.yaml" "$@"; fi\n'
            f'exec "{sys.executable}" -m bench "$@"\n'
        )
        (bin_ / "trueload").chmod(0o755)
        (bin_ / "trueload-mock").symlink_to(Path(sys.executable).parent / "trueload-mock")
        kept = {name: value for name, value in os.environ.items() if name not in ("OPENAI_API_KEY", "PYTHONWARNINGS")}
        self.env = {
            **kept,
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_OUTPUT": str(folder / "output"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "CI_API_V4_URL": "http://127.0.0.1:9/api/v4",
            "CI_JOB_NAME": "latency",
        }
        self.results = self.temp / "trueload-results"
        self.results.mkdir()

    def write_down(self) -> Path:
        """Replace the programs by ones that only record their arguments, each followed by a zero byte, with another one
        at the end."""
        seen = self.temp / "arguments"
        for name in ("trueload", "trueload-mock"):
            program = self.temp / "trueload-env" / "bin" / name
            program.unlink()
            program.write_text(
                f'#!/bin/sh\nprintf "%s\\0" "$@" "" >> "{seen}"\necho mockserver ready at http://mock\nexec sleep 0\n'
            )
            program.chmod(0o755)
        return seen

    def run(self, commands: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run commands as GitHub's runner does; GitLab's has the same options."""
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", commands],
            cwd=self.folder, env={**self.env, **env}, capture_output=True, text=True, timeout=2 * PATIENCE_S,
        )  # fmt: skip

    def action(self, *names: str, **given: str) -> subprocess.CompletedProcess[str]:
        """Run steps of the action with these inputs, in order, until one fails."""
        (action,) = documents(ACTION)
        inputs = inputs_of(given, action["inputs"])
        steps = {step["name"]: step for step in action["runs"]["steps"] if "run" in step}

        def filled(text: str) -> str:
            text = text.replace("${{ steps.install.outputs.results }}", str(self.results))
            return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], text)

        for name in names:
            env = {key: filled(value) for key, value in steps[name]["env"].items()}
            ran = self.run(steps[name]["run"], env)
            if ran.returncode:
                break
        return ran

    def component(self, **given: str) -> subprocess.CompletedProcess[str]:
        """Run the component's job with these inputs, in one shell, as GitLab's runner does; Trueload is installed
        already."""
        spec, jobs = documents(COMPONENT)
        inputs = inputs_of(given, spec["spec"]["inputs"])
        (job,) = jobs.values()
        lines = [line for line in (*job["before_script"], *job["script"]) if not line.startswith("pip install")]
        fill = re.compile(r"\$\[\[ inputs\.(\w+) \]\]")
        env = {key: fill.sub(lambda found: inputs[found[1]], value) for key, value in job["variables"].items()}
        return self.run("\n".join(lines), env)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


SHORT = "--concurrency 4 --requests 40 --input-tokens 20 --output-tokens 4"


@pytest.mark.long
def test_the_action_measures_the_mock_and_holds_the_next_job_to_the_baseline(runner: Runner, tmp_path: Path) -> None:
    objectives = "ttft:p90<500s\n  error_rate<50%  \n\n"
    ran = runner.action("Measure", "Gate", load=SHORT, objectives=objectives)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    root = ElementTree.parse(runner.results / "gate.xml").getroot()
    cases = [case.get("name") for case in root.iter("testcase")]
    assert [name for name in cases if "<" in str(name)] == ["ttft:p90<500s", "error_rate<50%"]
    assert (tmp_path / "summary.md").read_text().startswith("### ✅ The gate passed")
    assert (tmp_path / "output").read_text() == "status=0\n"
    assert (runner.results / "calibration" / "certificate.html").is_file()
    path = runner.folder / "trueload-baseline.json"
    baseline = orjson.loads(path.read_bytes())
    assert len(baseline["runs"]) == 3

    # The next job has the baseline from the cache. Its own runs are the same ones under other names, since no run is
    # compared with itself: the test is about the way to the gate.
    earlier = [{**run, "id": f"{run['id']}-earlier"} for run in baseline["runs"]]
    path.write_bytes(orjson.dumps({**baseline, "runs": earlier}))
    again = runner.action("Gate", load=SHORT)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Against the baseline" in again.stdout

    failed = runner.action("Gate", objectives="ttft:p90<1ms")
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert (tmp_path / "output").read_text().splitlines()[-1] == "status=1"


@pytest.mark.long
def test_the_action_measures_a_server_with_its_key(runner: Runner) -> None:
    with mock_process("--ttft", "20ms", "--tpot", "3ms", "--api-key", "the-key") as mock:
        ran = runner.action("Measure", url=mock.url, load=SHORT, runs="1", **{"api-key": "the-key"})
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert len(mock.ledger_lines(at_least=40)) >= 40
        refused = runner.action("Measure", url=mock.url, load=SHORT, runs="1", **{"api-key": "another"})
    assert refused.returncode != 0


@pytest.mark.parametrize(("status", "ends"), [(0, 0), (1, 0), (3, 0), (2, 2), (4, 4)])
def test_a_run_that_breaks_an_objective_or_is_invalid_is_left_to_the_gate(
    runner: Runner, tmp_path: Path, status: int, ends: int
) -> None:
    """--slo may be among the flags of the load."""
    (runner.temp / "trueload-env" / "bin" / "trueload").write_text(
        f'#!/bin/sh\nif [ "$1" = run ]; then exit {status}; fi\n'
    )
    assert runner.action("Measure", url="http://server", runs="1").returncode == ends
    output = tmp_path / "output"
    assert (output.read_text() if output.exists() else "") == (f"status={ends}\n" if ends else "")


HOSTILE = (
    '"; touch owned; "',
    "$(touch owned)",
    "`touch owned`",
    "a[$(touch owned)]",
    "x\ntouch owned",
    "-h; touch owned",
    "*",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_an_input_is_never_a_command(runner: Runner, text: str) -> None:
    """The shell's treatment of it matters, so the program only records its arguments."""
    seen = runner.write_down()
    (runner.folder / "a-file").touch()
    of_runs = ("url", "mock", "load", "api-key")
    for names, step in ((of_runs, "Measure"), (("objectives", "baseline", "margin", "strict"), "Gate")):
        for name in names:
            seen.unlink(missing_ok=True)
            runner.action(step, **{"url": "" if name == "mock" else "http://server", "runs": "1", name: text})
            given = seen.read_text().split("\0")
            split = name in ("mock", "load", "objectives")
            flags = [f"--{'slo' if name == 'objectives' else name}={part}" for part in text.splitlines()]
            wanted = text.split() if name in ("mock", "load") else flags if split else [f"--{name}={text}"]
            if name not in ("api-key", "strict"):
                assert [word for word in wanted if word not in given] == []
            assert "a-file" not in given
    assert runner.action("Measure", url="http://server", runs=text).returncode == 2
    assert sorted(path.name for path in runner.folder.iterdir()) == ["a-file"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({}, ("job-token", "of-the-job")),
        ({"TRUELOAD_GITLAB_TOKEN": "of-the-project"}, ("private-token", "of-the-project")),
    ],
)
def test_the_component_reads_its_baseline_with_the_token_that_may(
    runner: Runner, variables: dict[str, str], sent: tuple[str, str]
) -> None:
    """Trueload itself is not run."""
    _, jobs = documents(COMPONENT)
    (job,) = jobs.values()
    (read,) = [line for line in job["before_script"] if "curl" in line]
    results = {"TRUELOAD_BASELINE": "baseline.json", "TRUELOAD_RESULTS": "results"}
    (runner.folder / "results").mkdir()
    with LiteralServer(in_turn(whole("200 OK", b"{}"))) as server:
        gitlab = {"CI_API_V4_URL": server.url, "CI_JOB_TOKEN": "of-the-job", "CI_PROJECT_ID": "1"}
        ran = runner.run(read, {**results, **gitlab, **variables, "CI_DEFAULT_BRANCH": "main"})
    assert ran.returncode == 0, ran.stderr
    (request,) = server.received
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert {sent} == set(headers.items()) & {("job-token", "of-the-job"), ("private-token", "of-the-project")}
    assert (runner.folder / "results" / "baseline.json").read_text() == "{}"


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.long)])
def test_the_component_runs_the_commands_of_the_action(
    whole: bool, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell does not run everything: it records its commands, which are run here instead."""
    (action,) = documents(ACTION)
    _, jobs = documents(COMPONENT)
    (job,) = jobs.values()
    of_action = "".join(step["run"] for step in action["runs"]["steps"] if step.get("name") in ("Measure", "Gate"))
    theirs = "".join(job["script"]).splitlines()
    assert [line for line in theirs if line not in of_action.replace("::warning::", "").splitlines()] == []

    seen = None if whole else runner.write_down()
    with mock_process("--ttft", "20ms", "--tpot", "3ms") as mock:
        ran = runner.component(install="trueload", url=mock.url, load=SHORT, runs="1", objectives="ttft:p90<500s")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "no baseline yet" in ran.stdout
        if seen is not None:
            monkeypatch.chdir(runner.folder)
            monkeypatch.delenv("OPENAI_API_KEY", raising=False)
            *calls, _ = seen.read_text().split("\0\0")
            calibrate, run, gate = (call.split("\0") for call in calls)
            assert main(calibrate) in (Exit.GOOD, Exit.INVALID)
            assert main([*run, "--config", str(runner.folder.parent / "calm.yaml")]) in (Exit.GOOD, Exit.INVALID)
            assert main(gate) == Exit.GOOD
    kept = runner.folder / "trueload-results"
    assert (kept / "gate.md").read_text().startswith("### ✅ The gate passed")
    assert len(orjson.loads((kept / "baseline.json").read_bytes())["runs"]) == 1
    assert ElementTree.parse(kept / "gate.xml").getroot().get("failures", "0") == "0"
