"""`bench sweep`, `run --repeats` and `report` of sweeps, against a mock: what is written, resumed, refused and kept."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import bench.report
from bench.cli import main
from bench.errors import Exit
from tests.support.literal_replies import GOOD, stream
from tests.support.literal_server import LiteralServer, Received, Step, Until
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen, run_to_end
from tests.support.run_process import load_of, loaded, wait_for

SCHEMAS = Path(bench.report.__file__).parent
SHORT = ["--input-tokens", "20", "--output-tokens", "4", "--quiet"]
MEASURED = (Exit.GOOD, Exit.INVALID)
"""INVALID if other programs keep the machine busy: an honest answer."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with mock_process("--ttft", "10ms", "--tpot", "2ms") as mock:
        yield mock.url


def sweep(url: str, *words: str) -> int:
    return main(["sweep", "--url", url, *SHORT, *words])


def kept(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "sweep.json").read_text())
    Draft202012Validator(json.loads((SCHEMAS / "load_sweep.schema.json").read_text())).validate(content)
    return content


def test_a_sweep_visits_every_load_in_both_orders_and_is_resumed_with_more(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a"
    more = ["--requests", "10", "--gpus", "2", "--slo", "e2el:p90<200s"]
    assert sweep(url, "--loads", "concurrency=1,2", "--repeats", "2", "--out", str(folder), *more) in MEASURED
    content = kept(folder)
    assert [run["name"] for run in content["runs"]] == [
        "concurrency-1-1", "concurrency-2-1", "concurrency-2-2", "concurrency-1-2",
    ]  # fmt: skip
    assert [point["runs"] for point in content["points"]] == [2, 2]
    assert content["points"][0]["numbers"]["goodput"]["value"] == 1
    assert content["points"][0]["per_gpu"]["value"] > 0
    assert content["ended"] is None
    seeds = {json.loads((folder / run["name"] / "summary.json").read_text())["run"]["seed"] for run in content["runs"]}
    assert seeds == {0, 1, 2, 3}
    table = capsys.readouterr().out
    assert str(folder / "sweep.html") in table
    before = (folder / "concurrency-2-1" / "requests.jsonl").read_bytes()
    # One more load: the four runs are not repeated.
    assert sweep(url, "--loads", "concurrency=1..4x2", "--repeats", "2", "--resume", str(folder), *more) in MEASURED
    content = kept(folder)
    assert [point["load"] for point in content["points"]] == [1, 2, 4]
    assert (folder / "concurrency-2-1" / "requests.jsonl").read_bytes() == before
    # A different workload is a different sweep.
    capsys.readouterr()
    assert sweep(url, "--loads", "concurrency=1", "--resume", str(folder), "--requests", "10", "--text", "code") == 2
    assert "that sweep has another configuration: give the same flags" in capsys.readouterr().err
    assert sweep(url, "--loads", "concurrency=1", "--out", str(folder), *more) == Exit.USAGE
    assert "already holds a sweep: go on with --resume, or name another --out" in capsys.readouterr().err


def test_rates_are_swept_and_several_sweeps_stand_on_one_page(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        words = ["--loads", "rate=20,40", "--requests", "8", "--name", name, "--out", str(tmp_path / name)]
        assert sweep(url, *words) in MEASURED
    content = kept(tmp_path / "one")
    assert (content["unit"], content["knee"]) == ("requests/s", None)
    page = tmp_path / "both.html"
    capsys.readouterr()
    assert main(["report", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(page)]) == Exit.GOOD
    assert f"page: {page}" in capsys.readouterr().out
    assert 'href="two/rate-40-1/report.html"' in page.read_text()
    was = (tmp_path / "one" / "sweep.html").read_text()
    assert main(["report", str(tmp_path / "one")]) == Exit.GOOD
    assert (tmp_path / "one" / "sweep.html").read_text() == was


def test_ctrl_c_keeps_what_is_done_and_prints_the_table_so_far(tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    is_heard = threading.Event()

    def chat(request: Received) -> Sequence[Step]:
        held = "concurrency=1,2,3" in command  # The added load: none of its requests ends before the signal is handled.
        return [*([Until(is_heard.is_set)] if held else []), *stream(*GOOD)]

    with LiteralServer(loaded(chat)) as server:
        words = ["--url", server.url, "--model", "m", "--input-tokens", "20", "--output-tokens", "4", "--requests", "9"]
        command = [sys.executable, "-m", "bench", "sweep", *words, "--loads", "concurrency=1,2", "--out", str(folder)]
        assert run_to_end(command).returncode in MEASURED
        command = [*command[:-3], "concurrency=1,2,3", "--resume", str(folder)]
        with popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as cut:
            assert cut.stderr is not None
            wait_for(lambda: len(load_of(server)) == 2 * 9 + 3)
            cut.send_signal(signal.SIGINT)
            assert any(line.startswith("stopping") for line in cut.stderr)
            is_heard.set()
            out, err = cut.communicate(timeout=PATIENCE_S)
    assert cut.returncode == Exit.INTERRUPTED, err
    assert "Not complete (interrupted): 2 of 3 runs." in out
    assert f"--resume {folder}" in out
    assert [run["load"] for run in kept(folder)["runs"]] == [1, 2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--loads is missing: give for example --loads concurrency=1..256x2"),
        (["--loads", "users=3"], "--loads users=3: write concurrency=1..256x2 (users), rate=5,10,20"),
        (["--loads", "concurrency=1..8"], "'1..8' is not a load: write numbers"),
        (["--loads", "rate=5", "--repeats", "0"], "--repeats 0: give a whole number of at least 1"),
        (["--loads", "rate=5", "--gpus", "two"], "--gpus two: give a whole number of at least 1"),
        (["--loads", "rate=5", "--rate", "3"], "--rate"),
        (["--loads", "rate=5", "--ramp-up", "3s"], "--ramp-up is for users, and mode rate has none"),
        (["--loads", "rate=5", "--resume", "nowhere"], "--resume nowhere: there is no sweep (no sweep.json)"),
        (["--loads", "rate=5", "--resume", "a", "--out", "b"], "--resume and --out both name the directory"),
        (["--loads", "rate=5", "--output-tokens", "x"], "--output-tokens"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "--url", "http://127.0.0.1:1", *words]) == Exit.USAGE
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_not_there_ends_a_sweep_with_its_own_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep("http://127.0.0.1:1", "--loads", "concurrency=1", "--out", str(tmp_path / "none")) == Exit.TARGET
    assert "cannot connect" in capsys.readouterr().err


# Repeats


def test_repeats_tell_how_numbers_vary_from_run_to_run(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "three"
    words = ["--concurrency", "2", "--requests", "10", "--repeats", "3", "--out", str(folder)]
    assert main(["run", "--url", url, *SHORT, *words]) in MEASURED
    content = json.loads((folder / "repeats.json").read_text())
    Draft202012Validator(json.loads((SCHEMAS / "repeats.schema.json").read_text())).validate(content)
    assert [run["name"] for run in content["runs"]] == ["run-1", "run-2", "run-3"]
    ttft = content["numbers"]["ttft:p50"]
    of_runs = [run["numbers"]["ttft:p50"]["value"] for run in content["runs"]]
    if all(run["usable"] for run in content["runs"]):
        assert ttft["value"] == pytest.approx((of_runs[0] * of_runs[1] * of_runs[2]) ** (1 / 3))
        assert ttft["low"] <= ttft["value"] <= ttft["high"]
    out = capsys.readouterr().out
    assert "Sd between runs" in out
    seeds = [json.loads((folder / f"run-{k}" / "summary.json").read_text())["run"]["seed"] for k in (1, 2, 3)]
    assert seeds == [0, 1, 2]


@pytest.mark.parametrize("number", ["1", "x", "0", "1000"])
def test_a_number_of_repeats_that_is_none_is_refused(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--url", "http://127.0.0.1:1", "--repeats", number]) == Exit.USAGE
    assert f"--repeats {number}: give a whole number of runs, from 2 to 100" in capsys.readouterr().err
