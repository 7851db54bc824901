"""Ctrl-C before the mock serves, and more than once."""

from __future__ import annotations

import asyncio
import runpy
import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import pytest
import uvicorn

import mockserver
from mockserver import cli
from mockserver.http.server import _Server


def _ctrl_c(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def test_while_the_mock_is_imported_it_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    loading = ModuleType("mockserver.cli")
    vars(loading)["__getattr__"] = _ctrl_c
    monkeypatch.setitem(sys.modules, "mockserver.cli", loading)
    with pytest.raises(SystemExit, match=r"^130$"):
        runpy.run_path(str(Path(mockserver.__file__).with_name("__main__.py")), run_name="__main__")


def test_while_the_mock_gets_ready_it_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "read_arguments", _ctrl_c)
    assert cli.main([]) == 130
    assert capsys.readouterr().err == "mockserver: interrupted before it served\n"


@pytest.mark.parametrize(
    ("drain_s", "running", "ends"), [(0, 1, True), (0, 0, True), (1_000_000, 0, True), (1_000_000, 1, False)]
)
def test_a_drain_ends_with_its_time_or_its_last_request(drain_s: int, running: int, ends: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    unused: Any = None
    worker = SimpleNamespace(running=running, drain=lambda: None)
    mock: Any = SimpleNamespace(state=SimpleNamespace(worker=worker))
    priority: Any = SimpleNamespace(look=lambda: None)
    server = _Server(uvicorn.Config(app, timeout_graceful_shutdown=drain_s), mock, unused, lambda: None, None, priority)
    server.started = True
    server.handle_exit(signal.SIGINT, None)
    assert asyncio.run(server.on_tick(1)) is ends


def test_the_second_one_leaves_out_nothing_of_the_end() -> None:
    unused: Any = None
    server = _Server(uvicorn.Config(unused), unused, unused, lambda: None, None, unused)
    for _ in range(3):
        server.handle_exit(signal.SIGINT, None)
    assert (server.should_exit, server.force_exit) == (True, False)
