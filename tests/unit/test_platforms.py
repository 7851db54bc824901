"""Systems other than Linux, as far as Linux can test them: names are removed from a process to imitate what they lack."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mockserver.api import MockServer
from tests.support.other_platform import OURS
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


def without_what(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"tests.support.{program}", *words]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran


def test_every_module_can_be_imported_on_other_systems() -> None:
    # Each file is a module, except for those that run on import.
    folders = [ROOT / ("datasets" if package == "promptset" else "") / package for package in OURS]
    files = [path for folder in folders for ending in ("*.py", "*.so") for path in folder.rglob(ending)]
    files = [path for path in files if not path.stem.endswith(("__main__", "_program"))]
    found = json.loads(without_what("other_platform").stdout)
    assert found == {platform: [f"{len(files)} modules"] for platform in ("darwin", "win32")}


CARELESS = {
    "import fcntl": ("win32",),
    "import select; READABLE = select.EPOLLIN": ("darwin", "win32"),
    "import os; PROCESSORS = os.sched_getaffinity(0)": ("darwin", "win32"),
    "from socket import AF_UNIX": ("win32",),
    "import signal; ENDS = signal.SIGKILL": ("win32",),
}
"""What a module may do on import, and where that fails."""


def test_a_module_that_needs_linux_to_be_imported_is_named(tmp_path: Path) -> None:
    package = tmp_path / "planted_package"
    package.mkdir()
    (package / "__init__.py").touch()
    for number, line in enumerate(CARELESS):
        (package / f"careless_{number}.py").write_text(line + "\n")
    for platform, (*problems, _) in json.loads(without_what("other_platform", str(tmp_path)).stdout).items():
        wrong = [f"planted_package.careless_{n}" for n, where in enumerate(CARELESS.values()) if platform in where]
        assert [problem.partition(":")[0] for problem in problems] == wrong


def test_without_epoll_httpx_sends_the_load(mock_llm: MockServer, tmp_path: Path) -> None:
    out, url = str(tmp_path / "run"), ["--url", mock_llm.url]
    run = ["run", *url, "--concurrency", "2", "--requests", "6", "--output-tokens", "4", "--quiet", "--out", out]
    refused = [
        ["run", *url, "--transport", "wire"],
        ["run", *url, "--websocket", "--endpoint", "responses"],
        ["limits"],
    ]
    # A system that cannot send loads still renders runs from elsewhere.
    later = [["report", out], ["run", *url, "--requests", "3", "--out", f"{out}-2"]]
    ran = without_what("as_platform", "darwin", json.dumps([run, *refused]), "win32", json.dumps(later))
    (status, *others), (report, load) = json.loads(ran.stdout.splitlines()[-1])
    assert status in (0, 3), ran.stderr  # A busy machine measures badly.
    assert "transport: httpx" in (tmp_path / "run" / "run.yaml").read_text()
    assert len((tmp_path / "run" / "requests.jsonl").read_text().splitlines()) == 6
    assert others == [2, 2, 2]
    wire, websocket, limits, *_ = (line for line in ran.stderr.splitlines() if line.startswith("error: "))
    assert wire.startswith("error: --transport: wire needs Linux")
    assert websocket.endswith("httpx has no WebSocket, and wire needs Linux")
    assert limits.startswith("error: limits needs Linux")
    assert report == status, ran.stderr
    assert "6 requests" in ran.stdout
    assert load == 2
    assert "on Windows run Trueload inside WSL 2" in ran.stderr.splitlines()[-1]


def test_the_versions_of_python_that_are_named_are_those_that_are_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    assert project["requires-python"] == f">={named[0]}"
    assert named == [f"3.{minor}" for minor in range(11, 11 + len(named))]
