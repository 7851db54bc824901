"""A run in progress, seen from another process: live.jsonl, and the state in run.yaml."""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from bench import cli
from bench.errors import Exit
from bench.run_files.run_directory import RunDirectory
from tests.support import run_process
from tests.support.literal_replies import GOOD, api, stream
from tests.support.literal_server import LiteralServer, Pause, Received, Step, Until
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.run_process import SMALL, finished, loaded, process


def words(url: str, out: Path, *flags: str) -> list[str]:
    return [
        "run", "--url", url, "--out", str(out), *SMALL, "--concurrency", "2", "--quiet", *flags,
    ]  # fmt: skip


def state_of(out: Path) -> str | None:
    try:
        stored = (out / "run.yaml").read_text()
    except FileNotFoundError:
        return None
    (state,) = re.findall(r"^  state: (.+)$", stored, re.MULTILINE)  # Parsing all of it would take 20 ms each time.
    return str(state)


def wait_for(process: subprocess.Popen[str], out: Path, state: str) -> list[str]:
    """The states seen up to this one, each once."""
    seen: list[str] = []
    while not seen or seen[-1] != state:
        assert process.poll() is None, f"ended after {seen}"
        now = state_of(out)
        if now is not None and (not seen or seen[-1] != now):
            seen.append(now)
        time.sleep(0.005)
    return seen


def live_rows(out: Path) -> list[dict[str, Any]]:
    """The complete lines of live.jsonl."""
    path = out / "live.jsonl"
    text = path.read_bytes() if path.exists() else b""
    return [orjson.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


@pytest.mark.parametrize("more", [(), ("--transport", "httpx"), ("--workers", "2")])
def test_tokens_are_seen_while_their_requests_are_in_flight(tmp_path: Path, more: tuple[str, ...]) -> None:
    seen = threading.Event()

    def chat(request: Received) -> Sequence[Step]:
        events = stream(*GOOD)
        return [
            *events[:4],
            Until(seen.is_set),
            *events[4:],
        ]  # The head, the role and two of three tokens come at once.

    out = tmp_path / "run"
    with (
        LiteralServer(loaded(chat)) as server,
        process(words(server.url, out, "--requests", "2", *more)) as running,
    ):

        def arrived() -> list[dict[str, Any]]:
            return [row["second"] for row in live_rows(out)]

        run_process.wait_for(lambda: sum(second["output_tokens"] for second in arrived()) == 4)
        assert sum(second["ttft_ms"]["n"] for second in arrived() if "ttft_ms" in second) == 2
        assert all(row["done"] == 0 for row in live_rows(out))
        seen.set()
        running.communicate(timeout=PATIENCE_S)
    # At the end each token was counted once.
    assert sum(second["output_tokens"] for second in arrived()) == 6
    assert sum(second["ttft_ms"]["n"] for second in arrived() if "ttft_ms" in second) == 2


def test_another_process_sees_every_state_and_a_line_a_second(tmp_path: Path) -> None:
    out = tmp_path / "run"
    # Every state is seen: the server holds a reply back until then.
    seen = {state: threading.Event() for state in ("probing", "warming up", "running")}
    told: list[str] = []
    arrivals = itertools.count()

    def chat(request: Received) -> Sequence[Step]:
        if request.headers["x-request-id"].startswith("probe-"):
            assert seen["probing"].wait(PATIENCE_S)
        else:
            number = next(arrivals)
            assert number < 2 or seen["warming up"].wait(PATIENCE_S)
            assert number < 14 or seen["running"].wait(PATIENCE_S)
        return [Pause(0.02), *stream(*GOOD)]

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(LiteralServer(api(chat)))
        for event in seen.values():
            stack.callback(event.set)
        running = stack.enter_context(process(words(server.url, out, "--warmup", "4", "--requests", "20")))
        for state, event in seen.items():
            told += wait_for(running, out, state)
            assert RunDirectory.open(out).is_held
            if state == "running":
                run_process.wait_for(lambda: [row["state"] for row in live_rows(out)].count("running") >= 2)
            event.set()
        assert running.communicate()[1] == ""
    assert told == sorted(told, key=["preparing", *seen].index)
    assert state_of(out) == "ended"
    assert not RunDirectory.open(out).is_held
    rows = live_rows(out)
    records = list(RunDirectory.open(out).records())
    states = [row["state"] for row in rows]
    assert states == sorted(states, key=["warming up", "running", "draining"].index)
    assert states[-1] == "draining"
    # One line at each whole second of the load, some of which a busy machine may miss, and one at its end.
    assert len(rows) <= rows[-1]["elapsed_s"] + 1
    assert rows[-1]["done"] == len(records) == 24
    assert sum(row["second"]["succeeded"] for row in rows) == len(records)
    assert sum(row["second"]["output_tokens"] for row in rows) == sum(record.output_tokens or 0 for record in records)
    assert sum(row["second"]["bytes_received"] for row in rows) == sum(record.bytes_received for record in records)
    fastest = [row["second"]["ttft_ms"]["p50"] for row in rows if row["second"]["succeeded"]]
    assert min(fastest) >= 20


def test_two_workers_tell_of_both(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with mock_process("--ttft", "20ms", "--tpot", "1ms") as mock:
        assert finished(words(mock.url, out, "--requests", "40", "--workers", "2"))[2] == ""
    rows = live_rows(out)
    assert (rows[-1]["sent"], rows[-1]["done"]) == (40, 40)
    assert sum(row["second"]["succeeded"] for row in rows) == 40
    assert rows[-1]["client"]["cpu"] is None or rows[-1]["client"]["cpu"] > 0


@pytest.mark.parametrize(("state", "flags"), [("warming up", ("--warmup", "600s")), ("running", ())])
def test_a_killed_run_is_not_held_and_keeps_its_last_state(tmp_path: Path, state: str, flags: Sequence[str]) -> None:
    out = tmp_path / "run"
    with (
        mock_process("--ttft", "20ms", "--tpot", "1ms") as mock,
        process(words(mock.url, out, "--duration", "600s", *flags)) as running,
    ):
        wait_for(running, out, state)
        running.send_signal(signal.SIGKILL)
        running.communicate()
    assert state_of(out) == state
    assert not RunDirectory.open(out).is_held


def test_a_run_that_was_killed_before_its_load_has_nothing_to_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest: dict[str, Any] = {
        "run_id": "a",
        "started": "2026-11-25",
        "command": [],
        "model": None,
        "exact_lengths": False,
    }
    stored = {"config": {"url": "http://h"}, "manifest": {**manifest, "start_ns": 0, "state": "probing"}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(stored))
    (tmp_path / "requests.jsonl").touch()
    assert cli.main(["report", str(tmp_path)]) == Exit.USAGE
    assert capsys.readouterr().err == (f"error: {tmp_path}: the run was ended while probing, before it sent any load\n")


def test_a_failed_probe_leaves_files_of_others_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    status = cli.main(["run", "--url", "http://127.0.0.1:9", "--out", str(tmp_path), "--quiet"])
    assert status == Exit.TARGET
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
