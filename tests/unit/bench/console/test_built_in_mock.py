"""The mock that a console starts and stops, without its process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from bench.console import mock
from bench.console.errors import Conflict, Refused
from bench.console.mock import DEFAULT_FLAGS, BuiltInMock
from bench.errors import BenchError, UsageError


class Process:
    """A process that has ended when that is set."""

    ended: int | None = None

    def poll(self) -> int | None:
        return self.ended


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was asked of each process and, at its end, its number."""
    asked: list[Any] = []

    @contextmanager
    def running(flags: str, *, seed: int, tokenizer: str | None) -> Iterator[object]:
        if flags == "--nonsense":
            raise UsageError(["--mock: --nonsense is not known", "--mock: see --help"])
        if flags == "--port 80":
            raise BenchError("the mock did not start")
        asked.append((flags, seed, tokenizer))
        process = Process()
        number = len([each for each in asked if isinstance(each, tuple)])
        asked.append(process)
        yield SimpleNamespace(url=f"http://127.0.0.1:{number}", process=process)
        asked.append(number)

    monkeypatch.setattr(mock, "running_mock", running)
    return asked


def test_one_mock_runs_until_it_is_stopped(started: list[Any]) -> None:
    built_in = BuiltInMock()
    assert (built_in.url, built_in.flags) == (None, DEFAULT_FLAGS)
    assert built_in.start() == built_in.url == "http://127.0.0.1:1"
    assert started[0] == (DEFAULT_FLAGS, 0, None)
    with pytest.raises(Conflict) as refused:
        built_in.start("--seed 7")
    assert str(refused.value) == "the mock is already running: stop it first"
    built_in.stop()
    assert (built_in.url, started[2:], built_in.flags) == (None, [1], DEFAULT_FLAGS)
    assert built_in.start("--seed 7") == "http://127.0.0.1:2"
    assert (built_in.flags, started[3]) == ("--seed 7", ("--seed 7", 0, None))
    built_in.stop()
    built_in.stop()
    assert started[5:] == [2]


def test_a_mock_whose_process_has_ended_can_be_started_again(started: list[Any]) -> None:
    built_in = BuiltInMock()
    built_in.start()
    started[1].ended = 0
    assert built_in.url is None
    assert built_in.start() == "http://127.0.0.1:2"
    built_in.stop()


def test_flags_that_the_mock_refuses_are_named_without_the_setting_of_a_run(started: list[Any]) -> None:
    built_in = BuiltInMock()
    with pytest.raises(Refused) as refused:
        built_in.start("--nonsense")
    assert refused.value.problems == (("flags", "--nonsense is not known"), ("flags", "see --help"))
    with pytest.raises(Conflict, match=r"^the mock did not start$"):
        built_in.start("--port 80")
    assert (built_in.url, built_in.flags, started) == (None, DEFAULT_FLAGS, [])
