"""`--until`: the judging process, the run that it ends, and what remains when one of them dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import cli, clock
from bench.errors import Exit
from bench.load.precision_watch import PrecisionTask, PrecisionWatch
from bench.metrics.precision import PRECISE_ENOUGH, Look
from bench.records import RequestRecord, to_line
from bench.statistics.intervals import TooFew
from tests.support.calm import CALM
from tests.support.changed import replace
from tests.support.literal_replies import GOOD, api, stream
from tests.support.literal_server import LiteralServer
from tests.support.made_records import made_record
from tests.support.patience import PATIENCE_S
from tests.support.run_process import process, wait_for
from tests.support.worker_processes import gone

pytestmark = pytest.mark.long

PROGRAM = b"bench.load.precision_program"
KILLED = (
    "--until could not end the run: the process that judges it was killed by SIGKILL "
    "(which the system does when memory runs out)"
)


@pytest.fixture
def server() -> Iterator[str]:
    with LiteralServer(api(lambda request: stream(*GOOD))) as running:
        yield running.url


def words(url: str, tmp_path: Path, *more: str) -> list[str]:
    (tmp_path / "calm.yaml").write_text(CALM)
    small = ["--model", "m", "--rate", "60", "--input-tokens", "16", "--output-tokens", "3"]
    return ["run", "--url", url, "--config", str(tmp_path / "calm.yaml"), "--out", str(tmp_path / "run"), *small, *more]


def manifest(tmp_path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["manifest"]
    return content


def judging(parent: int) -> list[int]:
    """The judging processes started by this one."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            of_parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent
            if of_parent and PROGRAM in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def size(tmp_path: Path) -> int:
    """The number of written bytes of records."""
    return sum(path.stat().st_size for path in (tmp_path / "run").glob("requests*.jsonl"))


def recent(numbers: range) -> list[RequestRecord]:
    """Requests of the last seconds, whose TTFT varies by a hundredth."""
    shift_ns = clock.now_ns() - 10_000_000_000 - made_record().intended_ns
    records = [made_record(i, sent_ms=i, chunks_ms=[100 + i * 7 % 11 / 10]) for i in numbers]
    return [replace(one, intended_ns=one.intended_ns + shift_ns) for one in records]


async def looks_of(watch: PrecisionWatch, until: Callable[[Look], bool]) -> list[Look]:
    """The checks received, up to the one that is enough."""
    found: list[Look] = []
    done = asyncio.Event()

    def tell(look: Look) -> None:
        found.append(look)
        if until(look):
            done.set()

    await watch.ready()
    watch.begin(tell)
    await done.wait()
    return found


def test_the_records_of_every_worker_are_judged_and_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    lines = [[to_line(record) for record in recent(range(part, 400, 2))] for part in (0, 1)]
    torn = lines[1].pop()
    (tmp_path / "requests-0.jsonl").write_bytes(b"".join(lines[0]))
    (tmp_path / "requests-1.jsonl").write_bytes(b"".join(lines[1]) + torn[:50])

    async def main() -> tuple[list[Look], PrecisionWatch]:
        watch = PrecisionWatch(PrecisionTask(("ttft:p50=5%", "ttft:mean=5%"), str(tmp_path), 2, 20.0))
        try:
            return await looks_of(watch, lambda look: look.enough), watch
        finally:
            watch.close()

    looks, watch = asyncio.run(main())
    assert [look.enough for look in looks] == [False, True]
    assert [one.name for one in looks[-1].known] == ["ttft:p50", "ttft:mean"]
    assert all(one.reached for look in looks for one in look.known)
    assert looks[-1].at_s >= 10
    assert watch.why(PRECISE_ENOUGH) == f"stopped: {looks[-1]}"
    assert watch.why("duration") == f"the cap came first: {looks[-1]}"
    assert watch.died is None
    assert watch.process.returncode is not None


def test_few_independent_values_are_told_and_are_not_enough(tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_bytes(b"".join(to_line(record) for record in recent(range(30))))

    async def main() -> list[Look]:
        watch = PrecisionWatch(PrecisionTask(("ttft:p99=90%",), str(tmp_path), 1, 2.0))
        try:
            return await looks_of(watch, lambda look: True)
        finally:
            watch.close()

    (look,) = asyncio.run(main())
    reach = look.known[0].reach
    assert isinstance(reach, TooFew)
    assert reach.needed == 368
    assert str(look).startswith("ttft:p99 has too few independent values (")


def test_a_process_that_died_before_the_load_is_told(tmp_path: Path) -> None:
    async def main() -> str:
        watch = PrecisionWatch(PrecisionTask(("ttft:p99=10%",), str(tmp_path), 1, 60.0))
        try:
            os.kill(watch.process.pid, signal.SIGKILL)
            await watch.ready()
            watch.begin(lambda look: None)
            return watch.why("duration")
        finally:
            watch.close()

    assert asyncio.run(main()) == KILLED


def test_a_run_of_two_workers_ends_when_its_number_is_known(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    more = ("--duration", "300s", "--until", "ttft:p50=99%", "--workers", "2", "--format", "json")
    assert cli.main(words(server, tmp_path, *more)) == Exit.GOOD
    printed = capfd.readouterr()
    written = manifest(tmp_path)
    assert written["stop_reason"] == PRECISE_ENOUGH
    (why,) = [note for note in written["notes"] if note.startswith("stopped: ttft:p50 is known to ±")]
    assert why.endswith(" s; asked for 99%")
    assert why in printed.err
    summary = json.loads(printed.out)
    assert summary["run"]["stop_reason"] == PRECISE_ENOUGH
    assert why in summary["run"]["notes"]
    assert summary["counts"]["failed"] == 0
    assert why in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_the_cap_ends_a_run_whose_number_is_not_known(server: str, tmp_path: Path) -> None:
    assert cli.main(words(server, tmp_path, "--requests", "2", "--until", "ttft:p99=1%", "--quiet")) == Exit.GOOD
    written = manifest(tmp_path)
    assert written["stop_reason"] == "requests"
    assert written["notes"][-1] == "--until had no effect: the run ended before its first look"


@contextlib.contextmanager
def judged(server: str, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """An endless run with requests, and the process that judges it."""
    with process(words(server, tmp_path, "--duration", "600s", "--until", "ttft:p99=0.001%")) as running:
        wait_for(lambda: size(tmp_path) > 0 or running.poll() is not None)
        (pid,) = judging(running.pid)
        yield running, pid


def test_a_dead_judge_ends_no_run(server: str, tmp_path: Path) -> None:
    with judged(server, tmp_path) as (running, pid):
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: gone(pid))
        before = size(tmp_path)
        wait_for(lambda: size(tmp_path) > before)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INTERRUPTED, err
    assert KILLED in out + err
    assert manifest(tmp_path)["notes"][-1] == KILLED
    assert manifest(tmp_path)["stop_reason"] == "interrupted"


def test_the_judge_ends_with_a_run_that_is_killed(server: str, tmp_path: Path) -> None:
    with judged(server, tmp_path) as (running, pid):
        running.kill()
        running.communicate(timeout=PATIENCE_S)
        wait_for(lambda: gone(pid))
