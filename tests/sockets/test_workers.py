"""Worker processes as they run: one load and one record of it, whoever is killed, interrupted, or never gets ready."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.clock import process_clock
from bench.config import resolve
from bench.endpoints.interface import BodyOptions
from bench.errors import BenchError, Exit, UsageError
from bench.load.assignment import Assignment
from bench.load.crew import CrewReport
from bench.load.live import ProgressTally
from bench.modes.share import RunLength, divide
from bench.records import RequestRecord
from bench.scale.processes import WorkerProcesses
from tests.support.calm import CALM
from tests.support.literal_replies import GOOD, api, stream, whole
from tests.support.literal_server import Hang, LiteralServer, Pause, Received, Step
from tests.support.mock_process import mock_process

SMALL = ("--input-tokens", "16", "--output-tokens", "3", "--workers", "2")
PROGRAM = b"bench.scale.program"


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "calm.yaml").write_text(CALM)


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with mock_process("--ttft", "20ms", "--tpot", "1ms") as running:
        yield running.url


def flags(url: str, tmp_path: Path, *more: str) -> list[str]:
    return ["run", "--url", url, "--config", str(tmp_path / "calm.yaml"), "--out", str(tmp_path / "run"), *SMALL, *more]


def process(words: Sequence[str]) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a shell starts it: `os.killpg` is what Ctrl-C on a terminal does."""
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(what: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def worker_processes(parent: int) -> dict[int, list[bytes]]:
    """Processes of workers that this one started: pid -> command line. Those that have ended are none."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            of_parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if of_parent and PROGRAM in words:
            found[int(entry.name)] = words
    return found


def gone(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def records(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "run" / "requests.jsonl").read_text().splitlines()]


def shard_lines(tmp_path: Path, folder: str = "run") -> list[int]:
    """How many lines each worker has written."""
    return [path.read_bytes().count(b"\n") for path in sorted((tmp_path / folder).glob("requests-*.jsonl"))]


def summary(tmp_path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((tmp_path / "run" / "summary.json").read_text())
    return told


def most_at_once(rows: Sequence[dict[str, Any]]) -> int:
    spans = [(row["sent_ns"], row["end_ns"]) for row in rows]
    return max(sum(a <= at < b for a, b in spans) for at, _ in spans)


def loaded(chat: Callable[[Received], Sequence[Step]]) -> Callable[[Received], Sequence[Step]]:
    """A server that satisfies the probe, and answers the load by `chat`."""

    def script(request: Received) -> Sequence[Step]:
        return stream(*GOOD) if request.headers["x-request-id"].startswith("probe-") else chat(request)

    return api(script)


# ---- One load ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "warmup", "most"),
    [
        (("--concurrency", "5"), 3, 5),
        (("--rate", "150"), 3, None),
        (("--rate", "300", "--max-concurrency", "3"), 0, 3),
        (("--mode", "throughput", "--max-concurrency", "7"), 0, 7),
        (("--mode", "throughput"), 0, 40),
    ],
    ids=["concurrency", "rate", "rate with a cap", "throughput with a cap", "all at once"],
)
def test_two_workers_leave_one_record_of_one_load(
    mock: str, tmp_path: Path, words: tuple[str, ...], warmup: int, most: int | None
) -> None:
    more = ("--requests", "40", "--warmup", str(warmup), "--quiet")
    assert cli.main(flags(mock, tmp_path, *words, *more)) == Exit.GOOD
    rows = records(tmp_path)
    # A gap in the numbers would be a lost record, a number seen twice the same prompt sent twice.
    assert sorted(row["index"] for row in rows) == list(range(40 + warmup))
    assert len({row["id"] for row in rows}) == 40 + warmup
    assert Counter(row["phase"] for row in rows) == Counter({"run": 40, "warmup": warmup} if warmup else {"run": 40})
    assert {row["worker"] for row in rows} == {0, 1}
    assert all(row["index"] % 2 == row["worker"] for row in rows)
    if most != 40:  # In order of time, not one after the other.
        assert len(list(itertools.groupby(rows, lambda row: row["worker"]))) > 4
    if most is not None:
        assert most_at_once(rows) <= most
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"run.yaml", "requests.jsonl", "samples.jsonl", "live.jsonl", "summary.json", "report.html"}
    told = summary(tmp_path)
    assert told["counts"]["succeeded"] == 40
    assert told["instrument"]["workers"] == 2
    reasons = [reason for reason in told["verdict"]["reasons"] if "the cap set the rate" not in reason]
    assert reasons == []


def test_two_workers_send_the_arrivals_that_one_would(mock: str, tmp_path: Path) -> None:
    intended = []
    for out, workers in (("one", "1"), ("two", "2")):
        words = flags(mock, tmp_path, "--rate", "200", "--requests", "60", "--seed", "9", "--quiet")
        words[words.index("--out") + 1] = str(tmp_path / out)
        words[words.index("--workers") + 1] = workers
        assert cli.main(words) == Exit.GOOD
        lines = (tmp_path / out / "requests.jsonl").read_text().splitlines()
        rows = sorted((json.loads(line) for line in lines), key=lambda row: row["index"])
        intended.append([row["intended_ns"] - rows[0]["intended_ns"] for row in rows])
    assert intended[0] == intended[1]


def test_a_duration_ends_both_workers_and_fewer_arrivals_than_workers_are_no_trouble(mock: str, tmp_path: Path) -> None:
    words = ("--rate", "2", "--arrivals", "constant", "--duration", "300ms", "--workers", "3", "--quiet")
    assert cli.main(flags(mock, tmp_path, *words)) == Exit.GOOD
    assert [row["index"] for row in records(tmp_path)] == [0]


# ---- Who dies, and who is told to end ------------------------------------------------------------------------------


def test_a_killed_worker_loses_nothing_that_had_ended_and_is_named_while_the_other_goes_on(
    mock: str, tmp_path: Path
) -> None:
    with process(flags(mock, tmp_path, "--duration", "2s", "--concurrency", "4")) as running:
        wait_for(lambda: min(shard_lines(tmp_path), default=0) >= 5)
        written = sorted((tmp_path / "run").glob("requests-*.jsonl"))
        first, *_ = worker_processes(running.pid)
        killed_ns = time.monotonic_ns()
        os.kill(first, signal.SIGKILL)
        # What the kernel has of it then is what it had written.
        wait_for(lambda: gone(first))
        had_ended = [path.read_bytes() for path in written]
        out, err = running.communicate(timeout=30)
    assert running.returncode == Exit.INVALID, err
    told = summary(tmp_path)
    assert told["verdict"]["status"] == "INVALID"
    (dead,) = [k for k in (0, 1) if f"worker {k} was killed by SIGKILL" in told["verdict"]["reasons"][0]]
    rows = records(tmp_path)
    lines = [json.loads(line)["id"] for line in had_ended[dead].splitlines(keepends=True) if line.endswith(b"\n")]
    assert lines
    assert lines == [row["id"] for row in rows if row["worker"] == dead]
    assert max(row["end_ns"] for row in rows if row["worker"] != dead) > killed_ns + 500_000_000
    assert told["counts"]["succeeded"] == len([row for row in rows if row["phase"] == "run"])
    assert f"worker {dead}" in out
    assert "Traceback" not in err


def test_ctrl_c_lets_all_workers_end_what_is_in_flight(tmp_path: Path) -> None:
    def slow(request: Received) -> Sequence[Step]:
        return [Pause(0.1), *stream(*GOOD)]

    with (
        LiteralServer(loaded(slow)) as server,
        process(flags(server.url, tmp_path, "--duration", "60s", "--concurrency", "4")) as running,
    ):
        wait_for(lambda: min(shard_lines(tmp_path), default=0) >= 2)
        workers = worker_processes(running.pid)
        assert len(workers) == 2
        os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=20)
    assert running.returncode == Exit.INTERRUPTED, err
    assert all(gone(pid) for pid in workers)
    told = summary(tmp_path)
    assert told["run"]["stop_reason"] == "interrupted"
    assert told["counts"]["by_outcome"] == {"ok": len(records(tmp_path))}
    assert "TTFT" in out
    assert "waiting for" in err
    assert "Traceback" not in err


def test_a_second_ctrl_c_cuts_what_all_workers_have_in_flight(tmp_path: Path) -> None:
    def hanging(request: Received) -> Sequence[Step]:
        return [*stream(*GOOD)[:3], Hang()]

    with (
        LiteralServer(loaded(hanging)) as server,
        process(flags(server.url, tmp_path, "--requests", "50", "--concurrency", "4")) as running,
    ):
        # The list of models, the probe, and four users.
        wait_for(lambda: len(server.received) >= 6)
        assert running.stderr is not None
        os.killpg(running.pid, signal.SIGINT)
        for line in running.stderr:
            if line.startswith("stopping"):
                break
        os.killpg(running.pid, signal.SIGINT)
        running.communicate(timeout=20)
    assert running.returncode == Exit.INTERRUPTED
    assert [row["outcome"] for row in records(tmp_path)] == ["interrupted"] * 4
    assert {row["worker"] for row in records(tmp_path)} == {0, 1}


def test_ctrl_c_while_workers_get_ready_ends_them_with_a_sentence(mock: str, tmp_path: Path) -> None:
    with process(flags(mock, tmp_path, "--requests", "2000", "--concurrency", "4")) as running:
        wait_for(lambda: len(worker_processes(running.pid)) == 2)
        workers = worker_processes(running.pid)
        os.killpg(running.pid, signal.SIGINT)
        _, err = running.communicate(timeout=20)
    assert running.returncode == Exit.INTERRUPTED
    assert "nothing was measured" in err
    assert "Traceback" not in err
    assert all(gone(pid) for pid in workers)


def test_a_killed_parent_leaves_no_worker_behind_and_a_run_that_can_be_rendered(mock: str, tmp_path: Path) -> None:
    with process(flags(mock, tmp_path, "--duration", "60s", "--concurrency", "4")) as running:
        wait_for(lambda: min(shard_lines(tmp_path), default=0) >= 5)
        workers = worker_processes(running.pid)
        assert len(workers) == 2
        running.kill()
        # The workers have its stderr, and this ends when the last one has closed it.
        _, err = running.communicate(timeout=20)
        wait_for(lambda: all(gone(pid) for pid in workers), within_s=1.0)
    assert "Traceback" not in err
    written = sum(shard_lines(tmp_path))
    assert written >= 10
    assert cli.main(["report", str(tmp_path / "run"), "--quiet"]) in (Exit.GOOD, Exit.INVALID)
    told = summary(tmp_path)
    assert told["run"]["stop_reason"] == "killed"
    assert sum(told["counts"]["by_outcome"].values()) == written


def test_a_parent_that_is_killed_while_workers_get_ready_leaves_none(mock: str, tmp_path: Path) -> None:
    with process(flags(mock, tmp_path, "--requests", "20000", "--concurrency", "4")) as running:
        wait_for(lambda: len(worker_processes(running.pid)) == 2)
        workers = worker_processes(running.pid)
        running.kill()
        _, err = running.communicate(timeout=20)
        wait_for(lambda: all(gone(pid) for pid in workers), within_s=1.0)
    assert "Traceback" not in err


def test_a_parent_that_dies_before_it_has_said_what_to_do_is_no_defect() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        command = [sys.executable, "-m", "bench.scale.program", str(theirs.fileno())]
        ran = subprocess.run(command, pass_fds=[theirs.fileno()], capture_output=True, text=True, timeout=20)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_too_many_errors_end_the_run_on_all_workers(tmp_path: Path) -> None:
    def failing(request: Received) -> Sequence[Step]:
        # All failures are those of one worker: the other one has to be told.
        index = int(request.headers["x-request-id"].rpartition("-")[2])
        # Failures are fewer than half, so that the run is not FAILED.
        return [Pause(0.2), *whole("500 Oops", b"no")] if index % 2 else [Pause(0.02), *stream(*GOOD)]

    with LiteralServer(loaded(failing)) as server:
        words = ("--requests", "100000", "--concurrency", "2", "--max-errors", "5", "--quiet")
        began = time.monotonic()
        assert cli.main(flags(server.url, tmp_path, *words)) == Exit.OBJECTIVE_FAILED
        assert time.monotonic() - began < 20
    told = summary(tmp_path)
    assert told["run"]["stop_reason"] == "errors"
    assert told["counts"]["failed"] > 5
    assert {row["worker"] for row in records(tmp_path) if row["outcome"] == "ok"} == {0}
    assert {row["worker"] for row in records(tmp_path) if row["outcome"] != "ok"} == {1}


# ---- Who never gets ready ------------------------------------------------------------------------------------------


def assignments(tmp_path: Path, **config: Any) -> list[Assignment]:
    shares = divide(2, 2, RunLength(requests=4, duration_ns=None))
    settings = {"url": "http://127.0.0.1:1", "input_tokens": "16", "output_tokens": "3", **config}
    one = Assignment(
        config=resolve(settings),
        share=shares[0],
        run_id="made",
        options=BodyOptions(endpoint="chat", model="m"),
        directory=tmp_path,
    )
    return [replace(one, share=share) for share in shares]


class Nobody:
    """Follows a load and does nothing."""

    def add(self, record: RequestRecord) -> None: ...

    def merge(self, tally: ProgressTally) -> None: ...


def with_crew(given: Sequence[Assignment], work: Callable[[WorkerProcesses], Any]) -> WorkerProcesses:
    """The crew, after `work` and closed."""

    async def run() -> WorkerProcesses:
        crew = WorkerProcesses(given)
        try:
            async with asyncio.timeout(30):
                await work(crew)
        finally:
            crew.close()
        return crew

    return asyncio.run(run())


def test_a_worker_that_cannot_get_ready_says_why_and_leaves_no_orphan(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good, _ = assignments(tmp_path)
    _, bad = assignments(tmp_path, tokenizer=str(tmp_path / "no-such-tokenizer.json"))

    async def refused(crew: WorkerProcesses) -> None:
        with pytest.raises(UsageError, match=r"--tokenizer: .*no-such-tokenizer"):
            await crew.prepare()

    crew = with_crew([good, bad], refused)
    assert all(gone(worker.process.pid) for worker in crew.workers)
    assert [worker.process.returncode for worker in crew.workers] == [0, Exit.USAGE]
    assert "Traceback" not in capfd.readouterr().err


def test_a_worker_that_is_killed_while_it_gets_ready_is_named(tmp_path: Path) -> None:
    async def killed(crew: WorkerProcesses) -> None:
        os.kill(crew.workers[1].process.pid, signal.SIGKILL)
        with pytest.raises(BenchError, match="worker 1 was killed by SIGKILL while it got ready"):
            await crew.prepare()

    crew = with_crew(assignments(tmp_path), killed)
    assert all(gone(worker.process.pid) for worker in crew.workers)


def test_a_worker_with_a_defect_ends_before_the_load_with_its_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def broken(crew: WorkerProcesses) -> None:
        with pytest.raises(BenchError, match="worker 0 ended with status 70 while it got ready: its error is above"):
            await crew.prepare()

    # The directory has vanished: its files cannot be opened, which nobody foresaw.
    with_crew([replace(one, directory=tmp_path / "nowhere") for one in assignments(tmp_path)], broken)
    assert "FileNotFoundError" in capfd.readouterr().err


def test_a_worker_with_a_defect_during_the_load_ends_and_is_named_and_the_other_goes_on(
    mock: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken, good = (
        replace(
            one,
            share=replace(one.share, users=None, requests=3, offsets_ns=[0, 10_000_000, third]),  # type: ignore[arg-type]
        )
        for one, third in zip(
            assignments(tmp_path, url=mock, rate=50.0, concurrency=None), ("no number", 700_000_000), strict=True
        )
    )
    reports: list[CrewReport] = []

    async def load(crew: WorkerProcesses) -> None:
        await crew.prepare()
        clock = process_clock()
        crew.begin(clock.now_ns() + 10_000_000, Nobody())
        reports.append(await crew.load())
        clock.close()

    with_crew([broken, good], load)
    assert reports[0].died == ("worker 0 ended with status 70",)
    assert len(reports[0].workers) == 1
    assert "TypeError" in capfd.readouterr().err
    assert shard_lines(tmp_path, "") == [2, 3]


# ---- Secrets, and the truth ----------------------------------------------------------------------------------------


def test_no_secret_is_on_the_command_line_of_a_worker(mock: str, tmp_path: Path) -> None:
    key, header = "sk-key-a1b2c3", "tenant-d4e5f6"
    more = ("--api-key", key, "--header", f"X-Tenant: {header}", "--duration", "30s", "--concurrency", "2")
    with process(flags(mock, tmp_path, *more)) as running:
        wait_for(lambda: min(shard_lines(tmp_path), default=0) >= 1)
        workers = worker_processes(running.pid)
        shown = [
            (Path("/proc") / str(pid) / "environ").read_bytes() + b" ".join(words) for pid, words in workers.items()
        ]
        os.killpg(running.pid, signal.SIGINT)
        running.communicate(timeout=20)
    assert len(shown) == 2
    for text in shown:
        assert PROGRAM in text
        assert key.encode() not in text
        assert header.encode() not in text


def test_two_workers_agree_with_the_ledger(tmp_path: Path) -> None:
    words = ["calibrate", "--config", str(tmp_path / "calm.yaml"), "--out", str(tmp_path / "run"), *SMALL]
    words += ["--requests", "60", "--concurrency", "8", "--mock", "--ttft 30ms --tpot 5ms", "--quiet"]
    assert cli.main(words) in (Exit.GOOD, Exit.INVALID)  # How exact it is on a busy machine is another test's matter.
    certificate = summary(tmp_path)["calibration"]
    assert certificate["problems"] == []
    assert {row["worker"] for row in records(tmp_path)} == {0, 1}
    rows = {(row["metric"], row["stat"]): row for row in certificate["metrics"]}
    assert abs(rows["ttft_ms", "p50"]["error"]) < 5.0


def test_a_crew_that_never_begins_lets_its_workers_go(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ready_at: list[float] = []

    async def ready(crew: WorkerProcesses) -> None:
        await crew.prepare()
        ready_at.append(time.monotonic())

    crew = with_crew(assignments(tmp_path), ready)
    assert time.monotonic() - ready_at[0] < 3
    assert [worker.process.returncode for worker in crew.workers] == [0, 0]
    assert capfd.readouterr().err == ""
