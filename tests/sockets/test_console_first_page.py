"""The console answers at once: its sockets do not wait for acknowledgements, and its list does not wait for old runs."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

from starlette.testclient import TestClient

from bench.commands.console import _listen
from bench.console.app import create_app
from bench.console.security import Keys
from bench.console.service import Console
from bench.console.task_queue import READ_AT_ONCE
from tests.support.console_process import TOKEN
from tests.support.made_tasks import made_run

RUNS = 2 * READ_AT_ONCE + 5


def test_connections_send_each_response_at_once() -> None:
    async def main() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there: socket.socket = writer.get_extra_info("socket")
            found.set_result(there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = _listen("127.0.0.1", 0)
        async with await asyncio.start_server(connected, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            delayed_not = await found
            writer.close()
            await writer.wait_closed()
            return delayed_not

    assert asyncio.run(main()) == 1


def test_the_first_list_does_not_wait_for_runs_that_were_never_read(tmp_path: Path) -> None:
    for number in range(RUNS):
        made_run(tmp_path, f"run-{number:02}")
    console = Console(tmp_path)
    # Without the application there is no index.
    states = [task.state for task in console.tasks()]
    assert (states.count("ended"), states.count("being read")) == (READ_AT_ONCE, RUNS - READ_AT_ONCE)
    console.folder.index(lambda: True)
    assert [[task.state for task in console.tasks()].count("ended") for _ in range(2)] == [2 * READ_AT_ONCE, RUNS]
    console.close()

    console = Console(tmp_path)
    assert {task.state for task in console.tasks()} == {"ended"}  # The results are cached.
    console.close()
    (tmp_path / ".console" / "console.sqlite").unlink()

    console = Console(tmp_path)
    user = TestClient(create_app(console, Keys(TOKEN)), base_url="http://127.0.0.1")
    user.headers["authorization"] = f"Bearer {TOKEN}"
    page = user.get("/")
    assert (page.status_code, page.text.count('class="state being-read"')) == (200, RUNS - READ_AT_ONCE)
    # The API waits, so that scripts get true data. The page of a task reads it itself.
    assert user.get("/api/tasks/run-00").json()["verdict"] == "VALID"
    assert {task["state"] for task in user.get("/api/tasks").json()} == {"ended"}
    console.close()
    (tmp_path / ".console" / "console.sqlite").unlink()

    console = Console(tmp_path)
    console.folder.index(lambda: False)
    assert {task.state for task in console.tasks()} == {"ended"}
    console.close()


def test_the_index_is_made_while_the_console_serves(tmp_path: Path) -> None:
    for number in range(RUNS):
        made_run(tmp_path, f"run-{number:02}")
    console = Console(tmp_path)
    with TestClient(create_app(console, Keys(TOKEN)), base_url="http://127.0.0.1"):
        while len(console.store.seen()) < RUNS:
            time.sleep(0.05)
    assert len(console.folder.names()) == RUNS
