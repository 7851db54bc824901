"""`bench tune` against mocks: a fast arm, a wrong one, and one that does not start. A race resumes, and no process
remains."""

from __future__ import annotations

import json
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import bench
import bench.report
from bench.cli import main
from bench.errors import Exit
from tests.support.calm import CALM
from tests.support.timing import timing

SCHEMA = Path(bench.report.__file__).parent / "tune.schema.json"
SLOW, FAST, WRONG, BROKEN = range(4)


def spec_of(port: int = 0) -> dict[str, Any]:
    engine = "--engine batching --step-cost b0=5000,b1=1,b2=100"
    return {
        "server": {"command": f"{sys.executable} -m mockserver --port {{port}} {engine} {{flags}}", "ports": [port]},
        "default": {"max-num-seqs": 2},
        "arms": [
            {"max-num-seqs": 8},
            {"max-num-seqs": 8, "fault": "wrong_answer"},
            {"max-num-seqs": 8, "kv-blocks": "many"},
        ],
        "objectives": ["error_rate<50%"],
        "loads": "concurrency=8",
        # On a slow machine prompts are late, and an arm fails if its runs are INVALID twice.
        "load": {
            "input_tokens": 20,
            "output_tokens": 8,
            "check_answers": "50%",
            "probes": "arithmetic=20",
            **yaml.safe_load(CALM),
        },
        "visit": "0.5s",
        "warmup": "0.1s",
        "budget": "5m",
    }


@timing(
    tries=3,
    why="which of two arms is faster, four times as fast where nothing else runs; other programs can slow a whole run down",
)
def test_a_race_names_the_best_arm_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = tmp_path / "flags.yaml", tmp_path / "race"
    file.write_text(yaml.safe_dump(spec_of()))
    status = main(["tune", str(file), "--out", str(folder), "--quiet"])
    said = capsys.readouterr()
    assert status == Exit.GOOD, said.err
    content = json.loads((folder / "tune.json").read_text())
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(content)
    arms = content["arms"]
    # The arm whose server does not start has failed, with the server's last output.
    assert arms[BROKEN]["place"] == "failed"
    assert arms[BROKEN]["why"] == "the server ended with status 2 before it was ready"
    assert any("kv-blocks" in line for line in arms[BROKEN]["last_words"])
    # Each turn is an ordinary run directory.
    for turn in content["turns"]:
        for row in turn["loads"]:
            assert (folder / row["name"] / "report.html").is_file()
    logs = "".join(log.read_text() for log in folder.glob("*.log"))
    for listened in re.findall(r"mockserver ready at http://127.0.0.1:(\d+)", logs):
        with socket.socket() as asked:
            assert asked.connect_ex(("127.0.0.1", int(listened))) != 0, "a server still runs"
    assert (content["best"], content["ended"]) == (FAST, "decided")
    assert (arms[WRONG]["place"], arms[WRONG]["worse_answers"]) == ("worse answers", ["right answers"])
    assert arms[SLOW]["place"] in ("worse", "far behind")
    assert content["gain"]["value"] > 0.5
    assert "--max-num-seqs 8" in content["start"]
    assert "Best: max-num-seqs=8" in said.out
    page = (folder / "tune.html").read_text()
    assert "The race" in page
    # The race is over: with the same file nothing more is run, and a different one is refused.
    assert main(["tune", str(file), "--resume", str(folder), "--quiet"]) == status
    assert json.loads((folder / "tune.json").read_text())["turns"] == content["turns"]
    assert main(["tune", str(file), "--out", str(folder)]) == Exit.USAGE
    file.write_text(yaml.safe_dump({**spec_of(), "visit": "2s"}))
    assert main(["tune", str(file), "--resume", str(folder)]) == Exit.USAGE
    assert "that race has another file" in capsys.readouterr().err
    assert main(["report", str(folder), "--format", "json"]) == status
    assert json.loads(capsys.readouterr().out)["arms"] == arms
    # The same from Python.
    found = bench.tune(spec_of(), out=folder, resume=True)
    assert (found.exit, found.page) == (status, folder / "tune.html")
    assert found.best is not None
    assert found.best.name == arms[FAST]["name"]


def test_a_port_that_another_server_has_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        file = tmp_path / "flags.yaml"
        file.write_text(yaml.safe_dump({**spec_of(other.getsockname()[1]), "visit": "9s"}))
        assert main(["tune", str(file), "--out", str(tmp_path / "race"), "--budget", "30s"]) == Exit.USAGE
    said = capsys.readouterr()
    assert "is taken: another server answers there" in said.err
    assert "the budget is short: two rounds of 4 arms take 73 s, without starts" in said.out + said.err


def test_what_is_wrong_with_the_file_and_the_directory_is_said_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", str(tmp_path / "none.yaml"), "--resume", str(tmp_path / "nowhere")]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "none.yaml: cannot be read: No such file or directory" in said
    assert "nowhere: there is no race (no tune.json)" in said


def test_a_server_that_dies_is_an_arm_that_failed(tmp_path: Path) -> None:
    spec = spec_of() | {"arms": [], "default": {}, "flags": {"status": [3, 4]}}
    spec["server"] = {"command": "sh -c 'echo dies now >&2; exit {status}' {port}"}
    found = bench.tune(spec, out=tmp_path / "race")
    assert (found.exit, found.content.ended, found.best) == (Exit.TARGET, "nothing works", None)
    assert [arm.why for arm in found.content.arms] == [
        f"the server ended with status {status} before it was ready" for status in (3, 4)
    ]
    assert {tuple(arm.last_words) for arm in found.content.arms} == {("dies now",)}
