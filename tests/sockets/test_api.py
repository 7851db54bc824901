"""The Python API: runs with typed results, from a script, a test and a notebook."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.errors import Exit, TargetError, UsageError
from bench.load.live import LiveNumbers
from bench.observer import Cadence, Control
from bench.verdict.finding import Status
from tests.support.literal_replies import GOOD, api, stream
from tests.support.literal_server import LiteralServer, Pause, closed_port
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen
from tests.support.run_process import wait_for


class Following(bench.Observer):
    """Records messages; on request, ends the load at the first numbers of ended requests."""

    def __init__(self, *, ends: bool = False) -> None:
        self.told: list[str] = []
        self.numbers: list[LiveNumbers] = []
        self._ends = ends

    def say(self, line: str) -> None:
        self.told.append(line)

    @property
    def cadence(self) -> Cadence:
        return Cadence(first_s=0.6, every_s=0.1)

    def load_begins(self, control: Control) -> None:
        self._control = control

    def progress(self, numbers: LiveNumbers) -> None:
        self.numbers.append(numbers)
        if self._ends and numbers.done:
            self._ends = False
            self._control.interrupt()


def test_a_run_gives_a_typed_result_that_can_be_read_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    following = Following()
    with LiteralServer(api(lambda request: stream(*GOOD))) as server:
        result = bench.run(
            url=server.url,
            model="m",
            concurrency=2,
            requests=6,
            output_tokens="3",
            slo=["ttft:p99<100s", "error_rate<1%"],
            out=str(tmp_path / "run"),
            observer=following,
        )
    assert result.path == tmp_path / "run"
    assert result.report.is_file()
    assert (result.succeeded, result.failed, result.held, result.interrupted) == (6, 0, True, False)
    assert result.exit in (Exit.GOOD, Exit.INVALID)
    assert (result.exit is Exit.INVALID) == (result.verdict is Status.INVALID)
    assert result.headline == result.numbers.verdict.headline
    assert result.headline.startswith(f"{result.verdict}, ")
    assert [(row.objective, row.held, row.shown) for row in result.objectives] == [
        ("ttft:p99<100s", True, "not shown"),  # Six requests prove nothing about a p99 or a 1% error rate.
        ("error_rate<1%", True, "not shown"),
    ]
    assert result.value("ttft:p99") == result.objectives[0].value == result.numbers.latency["ttft_ms"].p99
    assert result.value("error_rate") == 0
    assert result.value("requests_per_s") == result.numbers.throughput.requests_per_s
    assert sum(record.phase == "run" for record in result.records()) == 6
    assert following.told[0].startswith("probing ")
    assert following.numbers[-1].done == 6
    assert capfd.readouterr() == ("", "")
    assert bench.read(tmp_path / "run").summary == result.summary


def test_settings_override_a_file(tmp_path: Path) -> None:
    file = tmp_path / "load.yaml"
    with LiteralServer(api(lambda request: stream(*GOOD))) as server:
        file.write_text(f"url: {server.url}\nmodel: m\nconcurrency: 2\nrequests: 9\noutput-tokens: 3\n")
        result = bench.run(file, requests=4, out=str(tmp_path / "run"))
    assert result.succeeded == 4


def test_an_observer_ends_the_load(tmp_path: Path) -> None:
    slow = api(lambda request: [Pause(0.05), *stream(*GOOD)])
    with LiteralServer(slow) as server:
        result = bench.run(
            url=server.url, model="m", requests=1000, concurrency=1, input_tokens="16", out=str(tmp_path),
            observer=Following(ends=True),
        )  # fmt: skip
    assert result.interrupted
    assert result.exit is Exit.INTERRUPTED
    assert 0 < result.succeeded < 1000


def in_a_loop(call: Callable[[], bench.RunResult]) -> bench.RunResult:
    """The call's result inside a running event loop, as in a notebook. (Browsers leave one in pytest's own thread.)"""

    async def notebook() -> bench.RunResult:
        return call()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(notebook())).result()


def test_a_loop_that_runs_already_is_no_hindrance(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "model": "m",
        "requests": 3,
        "concurrency": 1,
        "output_tokens": "3",
        "out": str(tmp_path / "run"),
    }
    with LiteralServer(api(lambda request: stream(*GOOD))) as server:
        result = in_a_loop(lambda: bench.run(url=server.url, **settings))
    assert result.succeeded == 3


def test_an_error_reaches_a_caller_whose_loop_runs(tmp_path: Path) -> None:
    with closed_port() as url, pytest.raises(TargetError):
        in_a_loop(lambda: bench.run(url=url, model="m", requests=1, out=str(tmp_path / "run")))


IN_A_LOOP = """
import asyncio, sys, bench
class Begun(bench.Observer):
    def load_begins(self, control):
        print("begun", flush=True)
async def main():
    return bench.run(url=sys.argv[1], model="m", requests=1000, concurrency=1, out=sys.argv[2], observer=Begun())
# Unlike asyncio.run, which cancels its task at Ctrl-C, a notebook's loop leaves it to the code that runs.
result = asyncio.new_event_loop().run_until_complete(main())
print(result.interrupted, 0 < result.succeeded < 1000)
"""


def test_ctrl_c_in_a_notebook_ends_the_load(tmp_path: Path) -> None:
    slow = api(lambda request: [Pause(0.05), *stream(*GOOD)])
    with LiteralServer(slow) as server:
        command = [sys.executable, "-c", IN_A_LOOP, server.url, str(tmp_path / "run")]
        with popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "begun\n"
                wait_for(lambda: len(_lines(tmp_path / "run" / "requests.jsonl")) >= 2)
                process.send_signal(signal.SIGINT)
                said, _ = process.communicate(timeout=PATIENCE_S)
            finally:
                process.kill()
    assert said == "True True\n"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("tftt:p99", "\"tftt:p99\": no metric is called 'tftt'; did you mean 'ttft'?"),
        ("ttft:p98", "\"ttft:p98\": no statistic is called 'p98'; did you mean 'p99'?"),
        ("error_rate:p99", '"error_rate:p99": error_rate is one number of the run and takes no statistic'),
    ],
)
def test_a_number_that_does_not_exist_is_said_to(name: str, problem: str, tmp_path: Path) -> None:
    with LiteralServer(api(lambda request: stream(*GOOD))) as server:
        result = bench.run(url=server.url, model="m", requests=2, output_tokens="3", out=str(tmp_path / "run"))
    with pytest.raises(UsageError) as raised:
        result.value(name)
    assert raised.value.problems == [problem]


def test_wrong_settings_are_named_all_at_once() -> None:
    with pytest.raises(UsageError) as raised:
        bench.run(url="http://127.0.0.1:9", concurency=3, duration="soon")
    assert raised.value.problems == [
        "--concurency is not known: did you mean --concurrency?",
        "--duration: 'soon' is not a time: write seconds (30) or a number with a unit (500ms, 30s, 5m, 1h)",
    ]


IMPORTED = """
import sys
import bench

class Loaded(bench.Observer):
    def load_begins(self, control):
        self.before = set(sys.modules)
        print("begins", sorted({"bench.report", "scipy", "transformers"} & self.before))

    def load_ended(self):
        print("while it was sent", sorted(sys.modules.keys() - self.before))

few = {"rate": 50, "requests": 6, "output_tokens": "3", "until": "ttft:p50=10%"}
bench.run(url=sys.argv[1], model="m", out=sys.argv[2], observer=Loaded(), **few)
"""


def test_nothing_is_imported_while_a_load_is_sent_and_no_report_before_it(tmp_path: Path) -> None:
    with LiteralServer(api(lambda request: stream(*GOOD))) as server:
        command = [sys.executable, "-c", IMPORTED, server.url, str(tmp_path / "run")]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert ran.stdout.splitlines()[:2] == ["begins []", "while it was sent []"]


def test_a_sweep_from_python_has_a_point_a_load_and_goes_on(tmp_path: Path) -> None:
    slow = api(lambda request: [Pause(0.01), *stream(*GOOD)])
    with LiteralServer(slow) as server:
        shared: dict[str, Any] = {
            "url": server.url,
            "model": "m",
            "output_tokens": "3",
            "requests": 6,
            "out": str(tmp_path / "sweep"),
        }
        first = bench.sweep("concurrency=1,2", **shared)
        more = bench.sweep("concurrency=1..4x2", resume=True, **shared)
        with pytest.raises(UsageError, match="already holds a sweep"):
            bench.sweep("concurrency=1,2", **shared)
    assert [point.load for point in first.points] == [1, 2]
    assert [point.load for point in more.points] == [1, 2, 4]
    assert more.points[0] == first.points[0]
    assert more.page.is_file()
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()) == [
        "concurrency-1-1",
        "concurrency-2-1",
        "concurrency-4-1",
    ]


def test_loads_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="write concurrency="):
        bench.sweep("users=1,2", url="http://127.0.0.1:9")
