"""Ctrl-C, SIGTERM and SIGKILL: what an interrupted run still reports."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bench import cli, load_test
from bench.config import RunConfig, resolve
from bench.errors import Exit
from bench.load.live import LiveNumbers
from bench.observer import Cadence
from bench.terminal import Terminal
from tests.support.literal_replies import GOOD, api, stream
from tests.support.literal_server import Hang, LiteralServer, Received, Step, in_turn
from tests.support.patience import PATIENCE_S
from tests.support.run_process import all_hang, flags, hanging, load_of, loaded, process, records, summary, wait_for

pytestmark = pytest.mark.usefixtures("work_folder")

# ---- Signals -------------------------------------------------------------------------------------------------------


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_ctrl_c_lets_what_is_in_flight_end_reports_it_and_exits_130(tmp_path: Path) -> None:
    heard = threading.Event()

    def chat(request: Received) -> Sequence[Step]:
        if int(request.headers["x-request-id"].rpartition("-")[2]) >= 3:
            heard.wait(PATIENCE_S)
        return stream(*GOOD)

    with (
        LiteralServer(loaded(chat)) as server,
        process(flags(server.url, tmp_path, "--duration", "600s", "--concurrency", "3")) as running,
    ):
        wait_for(lambda: lines_of(tmp_path / "run" / "requests.jsonl") >= 3 and len(load_of(server)) == 6)
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        said = next(line for line in running.stderr if line.startswith("stopping"))
        heard.set()
        out, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INTERRUPTED, err
    told = summary(tmp_path)
    assert told["run"]["stop_reason"] == "interrupted"
    assert told["counts"]["by_outcome"] == {"ok": told["counts"]["sent"]}
    assert told["counts"]["sent"] == len(records(tmp_path)) == 6
    assert "waiting for 3 requests" in said
    assert "TTFT" in out
    assert f"The run was interrupted after {told['counts']['sent']:,} requests: the numbers are about these." in out


def test_a_second_ctrl_c_cuts_what_is_in_flight(tmp_path: Path) -> None:
    with (
        LiteralServer(loaded(hanging)) as server,
        process(flags(server.url, tmp_path, "--requests", "9", "--concurrency", "3")) as running,
    ):
        wait_for(lambda: all_hang(server, 3))
        assert running.stderr is not None
        running.send_signal(signal.SIGINT)
        for line in running.stderr:
            if line.startswith("stopping"):
                break
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INTERRUPTED
    assert [r["outcome"] for r in records(tmp_path)] == ["interrupted"] * 3
    assert all(r["chunk_kind"] == "rc" for r in records(tmp_path))
    assert summary(tmp_path)["counts"]["by_outcome"] == {"interrupted": 3}


def test_sigterm_cuts_at_once_and_reports(tmp_path: Path) -> None:
    with (
        LiteralServer(loaded(hanging)) as server,
        process(flags(server.url, tmp_path, "--requests", "9", "--concurrency", "2")) as running,
    ):
        wait_for(lambda: all_hang(server, 2))
        running.terminate()
        running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INTERRUPTED
    assert [r["outcome"] for r in records(tmp_path)] == ["interrupted"] * 2


def test_ctrl_c_before_the_load_exits_130_with_a_sentence(tmp_path: Path) -> None:
    with LiteralServer(api(in_turn([Hang()]))) as server, process(flags(server.url, tmp_path)) as running:
        wait_for(lambda: len(server.received) >= 2)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INTERRUPTED
    assert "nothing was measured" in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_killed_run_can_be_rendered_with_all_that_had_ended(tmp_path: Path) -> None:
    with (
        LiteralServer(loaded(in_turn(stream(*GOOD)))) as server,
        process(flags(server.url, tmp_path, "--duration", "600s", "--concurrency", "2")) as running,
    ):
        wait_for(lambda: lines_of(tmp_path / "run" / "requests.jsonl") >= 10)
        running.kill()
        running.communicate(timeout=PATIENCE_S)
    whole_lines = lines_of(tmp_path / "run" / "requests.jsonl")
    assert not (tmp_path / "run" / "summary.json").exists()
    assert cli.main(["report", str(tmp_path / "run"), "--quiet"]) in (Exit.GOOD, Exit.INVALID)
    told = summary(tmp_path)
    assert told["counts"]["sent"] == whole_lines
    assert told["run"]["stop_reason"] == "killed"


def test_a_run_that_is_killed_before_any_record_is_invalid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        LiteralServer(loaded(hanging)) as server,
        process(flags(server.url, tmp_path, "--duration", "600s", "--concurrency", "2")) as running,
    ):
        wait_for(lambda: all_hang(server, 2))
        running.kill()
        running.communicate(timeout=PATIENCE_S)
    assert cli.main(["report", str(tmp_path / "run"), "--quiet"]) == Exit.INVALID
    reason = "nothing was measured: the run has no record of any request"
    verdict = summary(tmp_path)["verdict"]
    assert (verdict["status"], verdict["reasons"][0]) == ("INVALID", reason)
    assert reason in " ".join(capsys.readouterr().out.split())
    assert reason in (tmp_path / "run" / "report.html").read_text()


class InterruptedInItsReport(Terminal):
    """Sends Ctrl-C as soon as a request has ended, and again several times when the report begins."""

    cadence = Cadence(first_s=0.01, every_s=0.01)

    def __init__(self, more: int) -> None:
        super().__init__(sys.stderr)
        self._more = more
        self._interrupted = False

    def progress(self, numbers: LiveNumbers) -> None:
        if numbers.done and not self._interrupted:
            self._interrupted = True
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    def waiting(self, what: str | Callable[[], str]) -> AbstractContextManager[None]:
        if what == "making the report":
            for _ in range(self._more):
                signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        return super().waiting(what)


def in_this_process(url: str, tmp_path: Path) -> RunConfig:
    settings = {"url": url, "duration": "600s", "concurrency": "2", "input_tokens": "16", "out": str(tmp_path / "run")}
    return resolve(settings)


def test_a_second_ctrl_c_that_comes_when_the_load_is_over_does_not_cost_the_report(tmp_path: Path) -> None:
    with LiteralServer(loaded(in_turn(stream(*GOOD)))) as server:
        result = load_test.run(in_this_process(server.url, tmp_path), observer=InterruptedInItsReport(1))
    assert result.exit == Exit.INTERRUPTED
    assert result.interrupted
    assert result.summary.counts.succeeded == len(records(tmp_path)) > 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_third_ctrl_c_gives_up_the_report_and_says_how_to_make_it(tmp_path: Path) -> None:
    with (
        LiteralServer(loaded(in_turn(stream(*GOOD)))) as server,
        pytest.raises(KeyboardInterrupt, match=r"what was measured is kept: python -m bench report .*run"),
    ):
        load_test.run(in_this_process(server.url, tmp_path), observer=InterruptedInItsReport(2))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert cli.main(["report", str(tmp_path / "run"), "--quiet"]) == Exit.INTERRUPTED
