"""How the server of an arm is found ready, cleared and ended, with processes that only wait and literal replies."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.config import resolve
from bench.errors import TargetError, UsageError
from bench.tuning import servers
from bench.tuning.servers import NotReady, Server
from bench.tuning.spec import ServerSpec
from tests.sockets.test_tune_turns import spec
from tests.support.held_port import held_port
from tests.support.literal_replies import GOOD, api, stream, whole
from tests.support.literal_server import LiteralServer, Received, Step, closed_port, in_turn
from tests.support.run_process import wait_for

WAITS = "sh -c 'echo up; exec sleep 600' {port} {flags}"


@contextmanager
def started(folder: Path, port: int = 0, **server: Any) -> Iterator[tuple[Server, ServerSpec]]:
    of_server = spec({}, **{"command": WAITS, "ready": "up", "ports": [port], **server}).server
    words = [word.replace("{port}", str(port)) for word in ("sh", "-c", of_server.command.split("'")[1])]
    with held_port() as free:
        running = servers.start(of_server, words, port or free, folder / "log")
        try:
            yield running, of_server
        finally:
            running.stop()


def wait(running: Server, of_server: ServerSpec, url: str = "http://127.0.0.1:1") -> None:
    servers.wait_for(running, of_server, resolve({"url": url, "concurrency": 1}))


@pytest.mark.parametrize(
    ("script", "ready", "how"),
    [
        ("exit 0", "up", "ended with status 0 before it was ready"),
        ("exit 3", "up", "ended with status 3 before it was ready"),
        ("kill -TERM $$", "up", "was killed by SIGTERM before it was ready"),
        # The line with the command is not output of the server.
        ("exit 4", "exit 4", "ended with status 4 before it was ready"),
    ],
)
def test_a_server_that_ends_is_not_ready(script: str, ready: str, how: str, tmp_path: Path) -> None:
    with started(tmp_path, command=f"sh -c '{script}' {{port}} {{flags}}", ready=ready) as (running, of_server):
        with pytest.raises(NotReady, match=f"^the server {how}$"):
            wait(running, of_server)
        assert not running.running


def test_a_server_that_ends_as_it_gets_ready_is_not_ready(tmp_path: Path) -> None:
    with started(tmp_path, command="sh -c 'echo up; exit 5' {port} {flags}") as (running, of_server):
        running.process.wait()
        with pytest.raises(NotReady, match=r"^the server ended with status 5 as soon as it was ready$"):
            wait(running, of_server)


def test_a_server_that_says_nothing_is_not_ready_in_time(tmp_path: Path) -> None:
    # The output of the server of an interrupted turn is in the file, too.
    (tmp_path / "log").write_text("$ serve\nnever\n")
    with started(tmp_path, ready="never", start_within=0.3) as (running, of_server):
        with pytest.raises(NotReady, match=r"^the server was not ready within 0\.3 s \(server\.start_within\)$"):
            wait(running, of_server)
        assert running.running
        # It may take longer than that to say its first line.
        wait_for(lambda: running.last_words() == ["up"])


def test_a_server_is_ready_when_its_path_answers_200_and_cleared_when_a_post_gives_2xx(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(request: Received) -> Sequence[Step]:
        asked.append(f"{request.method} {request.path}")
        good = {"GET /v1/health": len(asked) > 1, "POST /v1/reset": True, "POST /v1/empty": True}.get(asked[-1])
        return whole("204 No Content" if "empty" in asked[-1] else "200 OK" if good else "503 Unavailable", b"")

    with LiteralServer(answer) as page, started(tmp_path) as (running, _):
        at = {"ports": [1], "url": f"{page.url}/v1/", "start_within": 60}
        of_server = spec({}, command=WAITS, ready="/health", **at).server
        wait(running, of_server)
        assert asked == ["GET /v1/health"] * 2
        asked.clear()
        for how in ("/reset", "/empty"):
            servers.clear_cache(spec({}, command=WAITS, clear_cache=how, **at).server, running)
        assert asked == ["POST /v1/reset", "POST /v1/empty"]
        with pytest.raises(TargetError, match=r"^server\.clear_cache: POST /none gave 503$"):
            servers.clear_cache(spec({}, command=WAITS, clear_cache="/none", **at).server, running)
        servers.clear_cache(of_server, running)
    with closed_port() as dead, pytest.raises(TargetError, match=r"^server\.clear_cache: POST /none gave no answer$"):
        servers.clear_cache(spec({}, command=WAITS, clear_cache="/none", **at | {"url": dead}).server, running)


def test_a_server_is_ready_when_it_answers_a_request(tmp_path: Path) -> None:
    chat = api(in_turn(whole("503 Service Unavailable", b""), stream(*GOOD)), "m")
    with LiteralServer(chat) as server, started(tmp_path, ready="answer", start_within=60) as (running, of_server):
        wait(running, of_server, server.url)
        assert running.running


def test_a_server_that_refuses_connections_does_not_answer(tmp_path: Path) -> None:
    with held_port() as closed, started(tmp_path, ready="answer", start_within=0.3) as (running, of_server):  # noqa: SIM117
        with pytest.raises(NotReady, match="was not ready within"):
            wait(running, of_server, f"http://127.0.0.1:{closed}")


def test_a_command_clears_a_cache_and_its_status_says_whether_it_did(tmp_path: Path) -> None:
    cleared = tmp_path / "cleared"
    with started(tmp_path) as (running, _):
        for script, fails in (
            (f'open({str(cleared)!r}, "w").write("{{port}}")', None),
            ('import sys; print("x" * 300, file=sys.stderr); sys.exit(3)', "ended with status 3: x{200}$"),
        ):
            how = f"{sys.executable} -c '{script.replace(chr(39), chr(34))}'".replace("{{", "{").replace("}}", "}")
            of_server = spec({}, command=WAITS, clear_cache=how).server
            if fails is None:
                servers.clear_cache(of_server, running)
                assert cleared.read_text() == str(running.port)
            else:
                with pytest.raises(TargetError, match=fails):
                    servers.clear_cache(of_server, running)
        of_server = spec({}, command=WAITS, clear_cache="no-such-program now").server
        with pytest.raises(TargetError, match=r"^server\.clear_cache: no-such-program now cannot be run: No such file"):
            servers.clear_cache(of_server, running)
    assert servers.is_path("/reset")
    assert not servers.is_path("/bin/reset all")
    assert not servers.is_path("reset")


def test_a_server_has_the_environment_of_the_file_and_of_this_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THIS", "kept")
    command = "sh -c 'echo up $OF_THIS $OF_FILE; exec sleep 600' {port} {flags}"
    with started(tmp_path, command=command, environment={"OF_FILE": 7}) as (running, of_server):
        wait(running, of_server)
        assert running.last_words() == ["up kept 7"]


def test_a_server_that_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    command = "sh -c 'trap : TERM; echo up; while :; do sleep 600; done' {port} {flags}"
    with started(tmp_path, command=command, stop_within=0.1) as (running, of_server):
        wait(running, of_server)
        running.stop()
        assert not running.running
        assert running.how_it_ended().startswith("was killed by SIGKILL")


def test_a_port_at_which_something_answers_is_refused() -> None:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.create_server((host, 0), family=family) as other:
            port = other.getsockname()[1]
            at = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            with pytest.raises(UsageError, match=f"^port {port} is taken: another server answers there"):
                servers.refuse_taken(at, port)
        servers.refuse_taken(at, port)
    assert servers.free_port() > 1023


def test_a_host_that_nobody_knows_is_told() -> None:
    with pytest.raises(UsageError, match=r"^server\.url: the host no\.\.body is not known \("):
        servers.refuse_taken("http://no..body:{port}", 8000)  # No DNS has to be asked.


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"$ serve\nfirst  \n\n  \nsecond\n", ["first", "second"]),
        (b"1\n2\n3\n4\n5\n6\n", ["2", "3", "4", "5", "6"]),
        (b"bad \xff byte\n", ["bad \ufffd byte"]),
        # Only the last 65,536 bytes of a long log are read.
        (b"x" * 100 + b"\n" + b"y" * 65_535, ["y" * 65_535]),
        (b"x" * 100 + b"\n" + b"y" * 65_536, ["y" * 65_536]),
        (b"x" * 100 + b"\n" + b"y" * 65_537, ["y" * 65_536]),
    ],
)
def test_the_last_words_are_the_last_lines_that_are_not_empty(content: bytes, lines: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert servers.last_lines(log) == []
    log.write_bytes(content)
    assert servers.last_lines(log) == lines
