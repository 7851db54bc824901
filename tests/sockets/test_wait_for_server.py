"""`--wait-for-server`: a run waits while a server answers that it is starting. Everything else is reported at once."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from bench import cli
from bench.errors import Exit
from tests.support.held_port import held_port
from tests.support.literal_replies import GOOD, api, error, models, stream, whole
from tests.support.literal_server import LiteralServer, Received, Reset, Step, closed_port, in_turn
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen
from tests.support.run_process import finished, flags, load_of, process, summary

pytestmark = pytest.mark.usefixtures("work_folder")

FOREVER = ("--wait-for-server", f"{PATIENCE_S}s")
SHORT = ("--wait-for-server", "500ms")
Script = Callable[[Received], Sequence[Step]]


def starting(*early: Sequence[Step], afterwards: Script | None = None) -> Script:
    """A server that gives these replies to its first requests for tokens, and lists no models until then."""
    replies = iter(early)
    state = {"early": len(early)}
    ready = api(in_turn(stream(*GOOD))) if afterwards is None else afterwards

    def script(request: Received) -> Sequence[Step]:
        if not state["early"]:
            return ready(request)
        if request.path == "/v1/models":
            return early[0]
        state["early"] -= 1
        return next(replies)

    return script


def unready(status: str) -> Sequence[Step]:
    return whole(status, error("loading the model"))


# tests/unit/bench/test_readiness.py tests which answers are worth waiting.
@pytest.mark.parametrize("reply", [unready("503 Later"), [Reset()]], ids=["503", "reset"])
def test_a_server_that_is_starting_is_waited_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], reply: Sequence[Step]
) -> None:
    with LiteralServer(starting(reply)) as server:
        assert cli.main(flags(server.url, tmp_path, "--requests", "3", *FOREVER)) == Exit.GOOD
    assert "the server is ready after" in capfd.readouterr().err
    assert len(load_of(server)) == 3
    assert yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["config"]["wait_for_server"] == PATIENCE_S


def no_model(request: Received) -> Sequence[Step]:
    return models("real") if request.path == "/v1/models" else unready("404 Not Found")


AT_ONCE: dict[str, tuple[Script, tuple[str, ...], str]] = {
    "no key": (lambda _: unready("401 Unauthorized"), (), "the server needs a key (status 401"),
    "a wrong model": (no_model, ("--model", "dream"), "the server has no model 'dream'"),
    "several models": (api(in_turn(stream(*GOOD)), "first", "second"), (), "the server has several models"),
}


@pytest.mark.parametrize(("script", "words", "sentence"), AT_ONCE.values(), ids=AT_ONCE.keys())
def test_what_no_wait_changes_is_said_at_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], script: Script, words: tuple[str, ...], sentence: str
) -> None:
    with LiteralServer(script) as server:
        assert cli.main(flags(server.url, tmp_path, *words, *FOREVER)) == Exit.TARGET
    assert sentence in capfd.readouterr().err
    ids = [request.headers.get("x-request-id", "") for request in server.received]
    assert sum(name.startswith("probe-ready-") for name in ids) == 1


@pytest.mark.parametrize("command", ["run", "repeats", "search", "sweep", "calibrate"])
def test_when_the_time_is_up_one_sentence_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    own = {"search": ["--slo", "ttft:p90<1s"], "sweep": ["--loads", "concurrency=1,2"], "repeats": ["--repeats", "2"]}
    name = "run" if command == "repeats" else command
    with closed_port() as url:
        assert cli.main([name, *flags(url, tmp_path, *SHORT)[1:], *own.get(command, [])]) == Exit.TARGET
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "the server was not ready within 0.5 s (--wait-for-server): cannot connect to http://127.0.0.1:" in errors[0]


def test_without_the_flag_nothing_is_waited_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with LiteralServer(starting(unready("503 Later"))) as server:
        assert cli.main(flags(server.url, tmp_path, "--requests", "3")) == Exit.TARGET
    assert "not taking requests" in capfd.readouterr().err
    assert not [r for r in server.received if r.headers.get("x-request-id", "").startswith("probe-ready-")]


def test_the_wait_is_named_and_is_no_part_of_the_load(tmp_path: Path) -> None:
    is_named = threading.Event()
    ready = api(in_turn(stream(*GOOD)))
    named = f"waiting up to {PATIENCE_S:g} s for the server: status 503, loading the model ("
    with (
        LiteralServer(lambda request: ready(request) if is_named.is_set() else unready("503 Later")) as server,
        process(flags(server.url, tmp_path, "--requests", "3", "--concurrency", "1", *FOREVER)) as running,
    ):
        assert running.stderr is not None
        while not (line := running.stderr.readline()).startswith(named):
            assert line
        is_named.set()
        _, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.GOOD, err
    assert re.fullmatch(r"\d+ s\)\n", line.removeprefix(named))
    assert "\r" not in err
    # Requests before the load do not count, and the load begins after the last of them.
    assert summary(tmp_path)["counts"]["sent"] == 3
    first = load_of(server)[0]
    assert server.received.index(first) == len(server.received) - 3


@pytest.fixture
def late_mock() -> Iterator[tuple[str, Callable[[], subprocess.Popen[str]]]]:
    """The URL of a free port, and a function that starts a mock there."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "mockserver", "--port", str(port), "--ttft", "1ms", "--tpot", "1ms"]
        started.append(popen(words, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return started[-1]

    with held_port() as port:
        yield f"http://127.0.0.1:{port}", start
        for mock in started:
            mock.terminate()
            mock.wait(timeout=PATIENCE_S)


def test_a_series_waits_once(tmp_path: Path) -> None:
    with LiteralServer(starting(unready("503 Later"))) as server:
        words = flags(server.url, tmp_path, "--requests", "3", "--repeats", "2", *FOREVER)
        status, _, err = finished(words)
    assert status == Exit.GOOD, err
    assert err.count("the server is ready after") == 1
    asked = [r.headers.get("x-request-id", "") for r in server.received]
    # One that the server refused, and one that it answered.
    assert sum(name.startswith("probe-ready-") for name in asked) == 2


def test_a_calibration_waits_for_a_mock_that_is_started_elsewhere(
    tmp_path: Path, late_mock: tuple[str, Callable[[], subprocess.Popen[str]]]
) -> None:
    url, start = late_mock
    words = flags(url, tmp_path, "--requests", "4", "--concurrency", "2", "--no-store", *FOREVER)
    with process(["calibrate", *words[1:]]) as running:
        assert running.stderr is not None
        while "for the server: Connection refused" not in (line := running.stderr.readline()):
            assert line
        start()
        running.communicate(timeout=PATIENCE_S)
    assert running.returncode in (Exit.GOOD, Exit.INVALID)
    assert (tmp_path / "run" / "certificate.json").exists()


def test_a_mock_that_is_ready_costs_one_request(tmp_path: Path) -> None:
    with mock_process("--ttft", "1ms", "--tpot", "1ms") as mock:
        status, _, err = finished(flags(mock.url, tmp_path, "--requests", "3", *FOREVER))
    assert status == Exit.GOOD, err
    assert "the server is ready after" not in err
