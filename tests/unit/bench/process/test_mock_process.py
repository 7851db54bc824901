"""A mock that ends before it is ready, and how many servers it has."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from bench.errors import BenchError, UsageError
from bench.process.mock_process import Mock, _addresses, replicas_of, running_mock


@pytest.mark.processes
def test_a_mock_that_is_killed_before_it_is_ready_is_no_defect(tmp_path: Path) -> None:
    log = tmp_path / "mock.log"
    log.touch()
    dies = "import os; os.kill(os.getpid(), 9)"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen([sys.executable, "-c", dies], text=True, **pipes) as process,  # type: ignore[call-overload]
        pytest.raises(UsageError, match=r"the mock was killed by SIGKILL \(.*\) before it was ready: no load was sent"),
    ):
        _addresses(process, log, [])


@pytest.mark.parametrize(
    ("flags", "servers"),
    [
        ("", 1),
        ("--ttft 5ms", 1),
        ("--replicas 3 --replica 1:ttft=9ms", 3),
        ("--replicas=2", 2),
        ("--replicas 0", 1),
        ("x=2 --replicas 3", 3),
        ("--replicas x", 1),
        ("--config 'FOLDER/a mock.yaml'", 4),
        ("--config='FOLDER/a mock.yaml' --replicas 2", 2),
        ("--config FOLDER/none.yaml", 1),
        ("--config FOLDER/list.yaml", 1),
        ("--config 'FOLDER", 1),
    ],
)
def test_the_flags_and_the_file_of_a_mock_say_how_many_servers_it_is(tmp_path: Path, flags: str, servers: int) -> None:
    (tmp_path / "a mock.yaml").write_text("replicas: 4\nttft: 5ms\n")
    (tmp_path / "list.yaml").write_text("- replicas\n")
    assert replicas_of(flags.replace("FOLDER", str(tmp_path))) == servers


class Started(subprocess.Popen[str]):
    """A mock that prints these lines and then ends with a status, or keeps running (None)."""

    def __init__(self, command: Sequence[str], said: str, status: int | None, *, obeys: bool = True) -> None:
        self.command, self.obeys = list(command), obeys
        self.stdin, self.stdout = io.StringIO(), io.StringIO(said)
        self.status, self.calls = status, list[object]()

    def wait(self, timeout: float | None = None) -> int:
        self.calls.append(("wait", timeout))
        if timeout is not None and not self.obeys:
            raise subprocess.TimeoutExpired("mock", timeout)
        return 0 if self.status is None else self.status

    def terminate(self) -> None:
        self.calls.append("terminate")

    def kill(self) -> None:
        self.calls.append("kill")

    def __del__(self) -> None:
        """There is no process."""


def mocks(monkeypatch: pytest.MonkeyPatch, said: str, status: int | None = None, log: str = "") -> list[Started]:
    """The mocks started from here on."""
    made: list[Started] = []

    def popen(command: Sequence[str], *, stderr: IO[str], **how: Any) -> Started:
        # A terminal's Ctrl-C must not end the mock before the calibration has requested its ledger.
        assert how == {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "start_new_session": True}
        stderr.write(log)
        stderr.flush()
        made.append(Started(command, said, status))
        return made[-1]

    monkeypatch.setattr("bench.process.mock_process.subprocess.Popen", popen)
    return made


def test_a_mock_is_started_with_flags_and_ends_with_its_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = mocks(
        monkeypatch, "a warning\nmockserver ready at http://127.0.0.1:7\nmockserver ready at http://not-asked\n"
    )
    with running_mock("--ttft '5 ms'", seed=3, tokenizer="words") as mock:
        (process,) = made
        assert (mock.url, mock.urls) == ("http://127.0.0.1:7", ("http://127.0.0.1:7",))
        scratch = process.command[4]
        assert process.command == [
            sys.executable, "-m", "mockserver.child", "--scratch", scratch, "--host", "127.0.0.1", "--port", "0",
            "--ledger", f"{scratch}/ledger.jsonl", "--seed", "3", "--tokenizer", "words", "--ttft", "5 ms",
        ]  # fmt: skip
        assert (mock.ledger, Path(scratch).is_dir()) == (Path(scratch) / "ledger.jsonl", True)
        assert process.calls == []
    assert process.calls == ["terminate", ("wait", 20)]
    assert process.stdin is not None and process.stdin.closed  # noqa: PT018
    assert process.stdout is not None and process.stdout.closed  # noqa: PT018
    assert not Path(scratch).exists()


def test_flags_of_the_user_win_over_those_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    made = mocks(monkeypatch, "mockserver ready at http://a\nmockserver ready at http://b\n")
    with running_mock("--seed 9 --tokenizer t --replicas 2", seed=3, tokenizer="words") as mock:
        assert mock.urls == ("http://a", "http://b")
    assert made[0].command[11:] == ["--seed", "9", "--tokenizer", "t", "--replicas", "2"]
    with running_mock("", seed=3, tokenizer=None):
        assert made[1].command[11:] == ["--seed", "3"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--ttft '5", '--mock: no closing quotation in "--ttft \'5"'),
        ("--port 1 --host=x --ttft 5ms", "--mock: --port, --host=x is set by calibrate itself; leave it out"),
        ("--ledger l", "--mock: --ledger is set by calibrate itself; leave it out"),
    ],
)
def test_flags_that_a_calibration_sets_are_refused(flags: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = mocks(monkeypatch, "")
    with pytest.raises(UsageError) as refused, running_mock(flags, seed=1, tokenizer=None):
        pass
    assert (str(refused.value), made) == (sentence, [])


@pytest.mark.parametrize(
    ("status", "log", "error", "sentence"),
    [
        (2, "mockserver: one\nmockserver: two\n", UsageError, "--mock: one\n--mock: two"),
        (-15, "", UsageError, "the mock was killed by SIGTERM before it was ready: no load was sent"),
        (0, "x" * 2001, BenchError, f"the mock ended with status 0 before it was ready: {'x' * 2000}"),
        (1, "Traceback", BenchError, "the mock ended with status 1 before it was ready: Traceback"),
    ],
)
def test_a_mock_that_does_not_start_says_why(
    status: int, log: str, error: type[BenchError], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = mocks(monkeypatch, "no address\n", status, log)
    with pytest.raises(BenchError) as raised, running_mock("", seed=1, tokenizer=None):
        pass
    assert type(raised.value) is error
    assert "\n".join(getattr(raised.value, "problems", [str(raised.value)])) == sentence
    assert made[0].stdin is not None
    assert made[0].stdin.closed


def test_a_mock_that_does_not_end_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "mock"
    folder.mkdir()
    (folder / "ledger.jsonl").write_text("lines")
    process = Started([], "", None, obeys=False)
    Mock(("http://a",), folder / "ledger.jsonl", process).end_with_ledger(tmp_path / "kept.jsonl")
    assert process.calls == ["terminate", ("wait", 20), "kill", ("wait", None)]
    assert (tmp_path / "kept.jsonl").read_text() == "lines"
    assert not folder.exists()


def test_a_mock_may_have_removed_its_folder_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = tmp_path / "mock" / "ledger.jsonl"
    ledger.parent.mkdir()
    ledger.touch()
    move = shutil.move

    def move_and_lose(ledger: Path, place: Path) -> None:
        move(ledger, place)
        ledger.parent.rmdir()

    monkeypatch.setattr(shutil, "move", move_and_lose)
    Mock(("http://a",), ledger, Started([], "", 0)).end_with_ledger(tmp_path / "kept.jsonl")
    assert [*tmp_path.iterdir()] == [tmp_path / "kept.jsonl"]
