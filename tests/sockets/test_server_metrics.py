"""A run reads its server's metrics during the load: the counts match the client's, and no other server gets the key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

import bench
from bench import cli
from bench.errors import Exit
from bench.load.live import LiveNumbers
from bench.observer import Cadence, Control, Observer
from bench.server_metrics.block import NOT_SEEN
from tests.support.literal_replies import GOOD, api, stream, whole
from tests.support.literal_server import LiteralServer, Received, Responder, Step, Until
from tests.support.mock_process import MockProcess, mock_process

WORDS = ("--input-tokens", "32", "--output-tokens", "6", "--requests", "12", "--concurrency", "4", "--quiet")


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--engine", "batching") as running:
        yield running


def run(url: str, out: Path, *more: str) -> dict[str, Any]:
    assert cli.main(["run", "--url", url, "--out", str(out), *WORDS, *more]) in (
        Exit.GOOD,
        Exit.INVALID,
        Exit.TARGET,
    )
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return found


@pytest.mark.parametrize("workers", ["1", "2"])
def test_requests_and_tokens_are_counted_alike_and_the_probe_is_not_among_them(
    mock: MockProcess, tmp_path: Path, workers: str
) -> None:
    server = run(mock.url, tmp_path / "run", "--warmup", "3", "--workers", workers)["server"]
    assert (server["kind"], server["urls"]) == ("vLLM", [f"{mock.url}/metrics"])
    counts = {
        line["what"]: (line["server"], line["client"], line["agree"]) for line in server["reconciliation"]["counts"]
    }
    assert counts == {
        "requests": (15, 15, True),
        "prompt_tokens": (480, 480, True),
        "generation_tokens": (90, 90, True),
    }
    assert server["reconciliation"]["ttft"]["same_requests"]
    assert ("running" in server["levels"]) != (NOT_SEEN in server["limits"])
    page = (tmp_path / "run" / "report.html").read_text()
    assert "server and client counted the same" in page.lower().replace("&#39;", "'")


class Meddler(Observer):
    """Sends its own request when the load begins, and ends the load once it is answered."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.thread = threading.Thread(target=self._send)

    @property
    def cadence(self) -> Cadence:
        return Cadence(first_s=0.1, every_s=0.1)

    def load_begins(self, control: Control) -> None:
        self._end: Callable[[], None] | None = control.interrupt
        self.thread.start()

    def progress(self, numbers: LiveNumbers) -> None:
        if self._end is not None and numbers.done and not self.thread.is_alive():
            self._end()
            self._end = None

    def _send(self) -> None:
        body = {"model": "mock-model", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
        assert httpx.post(f"{self._url}/v1/chat/completions", json=body).status_code == 200


def test_what_somebody_else_sends_meanwhile_makes_the_run_suspect(mock: MockProcess, tmp_path: Path) -> None:
    meddler = Meddler(mock.url)
    settings: dict[str, Any] = {"concurrency": 2, "duration": "600s", "input_tokens": "32", "output_tokens": "6"}
    result = bench.run(url=mock.url, out=str(tmp_path / "run"), observer=meddler, **settings)
    meddler.thread.join()
    assert "1 are somebody else's" in " ".join(result.reasons)


CLOSED_WHILE_IT_WAITS = """
import asyncio, sys
from bench.process.event_loop import loop_factory
from bench.target.scrape_task import ScrapeTask
from bench.target.scraper import Scraper

async def main() -> None:
    scraper = Scraper(ScrapeTask((), sys.argv[1], sys.argv[1]))
    waiting = asyncio.create_task(scraper.begin())
    await asyncio.sleep(0)  # It has asked the loop to watch for an answer, and the loop has not begun to.
    scraper.close()
    await asyncio.sleep(0)
    waiting.cancel()

with asyncio.Runner(loop_factory=loop_factory()) as runner:
    runner.run(main())
"""


def test_it_can_be_closed_while_it_waits_for_the_first_answer(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CLOSED_WHILE_IT_WAITS, str(tmp_path / "server.jsonl")], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_off_reads_nothing(mock: MockProcess, tmp_path: Path) -> None:
    assert run(mock.url, tmp_path / "run", "--server-metrics", "off")["server"] is None
    assert not (tmp_path / "run" / "server.jsonl").exists()


def asked(seen: list[Received], page: bytes | None, before_replies: Callable[[], Sequence[Step]] = list) -> Responder:
    others = api(lambda request: [*before_replies(), *stream(*GOOD)])

    def script(request: Received) -> Sequence[Step]:
        if request.path != "/metrics":
            return others(request)
        seen.append(request)
        return whole("404 Not Found", b"{}") if page is None else whole("200 OK", page)

    return script


def test_a_page_that_is_read_while_the_load_runs_has_its_levels(tmp_path: Path) -> None:
    """A page is read once per second, however short the load is. Here no reply begins before it was read twice."""
    seen: list[Received] = []

    def until_read_twice() -> Sequence[Step]:
        before = len(seen)
        return [Until(lambda: len(seen) >= before + 2)] if loads else []

    def script(request: Received) -> Sequence[Step]:
        if not request.headers.get("x-request-id", "probe-").startswith("probe-"):
            loads.append(request)
        return page(request)

    loads: list[Received] = []
    page = asked(seen, b"vllm:num_requests_running 7\n", until_read_twice)
    with LiteralServer(script) as server:
        found = run(server.url, tmp_path / "run", "--requests", "4")["server"]
    assert len(loads) == 4
    assert found["levels"]["running"] == {"mean": 7.0, "max": 7.0}
    assert NOT_SEEN not in found["limits"]


def test_a_server_without_known_metrics_leaves_no_file(tmp_path: Path) -> None:
    with LiteralServer(asked([], b"something_else 1\n")) as server:
        assert run(server.url, tmp_path / "run")["server"] is None
    assert not (tmp_path / "run" / "server.jsonl").exists()


class Listener(Observer):
    """Keeps the sentences of a run."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def test_a_page_that_was_named_and_is_none_is_told_at_once_and_in_the_report(tmp_path: Path) -> None:
    listener = Listener()
    with LiteralServer(asked([], None)) as server:
        page = f"{server.url}/metrics"
        bench.run(url=server.url, out=str(tmp_path / "run"), observer=listener, server_metrics=[page], requests=2)
    found = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert found["server"] is None
    note = f"--server-metrics: {page} has no metrics (status 404)"
    assert note in found["run"]["notes"]
    assert f"note: {note}" in listener.said


def test_the_key_goes_to_the_targets_own_page_and_to_no_other(tmp_path: Path) -> None:
    own: list[Received] = []
    other: list[Received] = []
    with (
        LiteralServer(asked(own, b"vllm:num_requests_running 0\n")) as server,
        LiteralServer(asked(other, b"vllm:num_requests_running 0\n")) as replica,
    ):
        pages = ["--server-metrics", f"{server.url}/metrics", "--server-metrics", f"{replica.url}/metrics"]
        found = run(server.url, tmp_path / "run", "--api-key", "secret-key", *pages)
    assert len(found["server"]["urls"]) == 2
    scrapes = [request for request in own if request.headers.get("accept") == "text/plain"]
    assert scrapes
    assert all(request.headers["authorization"] == "Bearer secret-key" for request in scrapes)
    assert other
    assert not any("authorization" in request.headers for request in other)
    assert b"secret-key" not in b"".join(path.read_bytes() for path in (tmp_path / "run").iterdir())


NVML = """
class NVMLError(Exception):
    pass


class Memory:
    used = 1 << 30


class Rates:
    gpu = 50


NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0
nvmlClocksThrottleReasonHwSlowdown = 8


def nvmlInit():
    pass


def nvmlDeviceGetCount():
    return 2


def nvmlDeviceGetHandleByIndex(number):
    return number


def nvmlDeviceGetPowerUsage(handle):
    return 250_000


def nvmlDeviceGetMemoryInfo(handle):
    return Memory


def nvmlDeviceGetUtilizationRates(handle):
    return Rates


def nvmlDeviceGetClockInfo(handle, kind):
    raise NVMLError("not supported")


def nvmlDeviceGetTemperature(handle, kind):
    return 50 + handle


def nvmlDeviceGetCurrentClocksThrottleReasons(handle):
    return 8 if handle == 1 else 4
"""
"""A stand-in for the driver: two GPUs, one of them throttled; neither reports its clock."""


def test_the_gpus_of_this_machine_are_read_where_the_server_is_on_it(
    mock: MockProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pynvml.py").write_text(NVML)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = run(mock.url, tmp_path / "run", "--gpus", "2", "--gpu-hour-cost", "3")
    gpu = found["gpu"]
    assert gpu["source"] == "NVML"
    assert {name: level["mean"] for name, level in gpu["levels"].items()} == {
        "gpu_power_w": 500.0,
        "gpu_memory_bytes": 2 << 30,
        "gpu_utilisation": 0.5,
        "gpu_temperature_c": 50.5,
        "gpu_throttled": 0.5,
    }
    rates = (found["throughput"] if found["steady"] is None else found["steady"]["throughput"])["output_tokens_per_s"]
    assert gpu["joules_per_output_token"] == pytest.approx(500.0 / rates)
    assert gpu["cost_per_million_output_tokens"] == pytest.approx(6.0 * 1e6 / 3_600 / rates)
    assert found["server"]["kind"] == "vLLM"
    assert "The GPU" in (tmp_path / "run" / "report.html").read_text()


AMD_SMI = """
# A stand-in for AMD's package, with the functions and units of amdsmi 7.0: no AMD GPU is needed.
from enum import IntEnum


class AmdSmiException(Exception):
    pass


class AmdSmiClkType(IntEnum):
    GFX = 1


class AmdSmiTemperatureType(IntEnum):
    HOTSPOT = 1


class AmdSmiTemperatureMetric(IntEnum):
    CURRENT = 0


def amdsmi_init():
    print("noise")


def amdsmi_get_processor_handles():
    return [0, 1]


def amdsmi_get_power_info(handle):
    return {"socket_power": "N/A", "current_socket_power": 700 + handle, "average_socket_power": "N/A"}


def amdsmi_get_gpu_vram_usage(handle):
    return {"vram_total": 196592, "vram_used": 1024}


def amdsmi_get_gpu_activity(handle):
    return {"gfx_activity": 40 + 20 * handle, "umc_activity": 0, "mm_activity": "N/A"}


def amdsmi_get_clock_info(handle, kind):
    assert isinstance(kind, AmdSmiClkType)
    raise AmdSmiException("not supported")


def amdsmi_get_temp_metric(handle, sensor, metric):
    assert isinstance(sensor, AmdSmiTemperatureType) and isinstance(metric, AmdSmiTemperatureMetric)
    return 60


def amdsmi_get_violation_status(handle):
    return {"active_ppt_pwr": handle == 1, "active_prochot_thrm": False, "active_vr_thrm": "N/A"}
"""


def test_amds_gpus_of_this_machine_are_read_too(
    mock: MockProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "amdsmi.py").write_text(AMD_SMI)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = run(mock.url, tmp_path / "run")
    gpu = found["gpu"]
    assert gpu["source"] == "AMD SMI"
    assert {name: level["mean"] for name, level in gpu["levels"].items()} == {
        "gpu_power_w": 1_401.0,
        "gpu_memory_bytes": 2 << 30,
        "gpu_utilisation": 0.5,
        "gpu_temperature_c": 60.0,
        "gpu_throttled": 0.5,
    }
    rates = (found["throughput"] if found["steady"] is None else found["steady"]["throughput"])["output_tokens_per_s"]
    assert gpu["joules_per_output_token"] == pytest.approx(1_401.0 / rates)


@pytest.mark.parametrize(
    ("package", "sentence"),
    [
        ("raise ImportError", "amdsmi is not installed (pip install amdsmi)"),
        (
            "print('Unable to find libamd_smi.so')\n{}['libamd_smi.so']",
            "amdsmi does not find its library libamd_smi.so",
        ),
        (AMD_SMI.replace('print("noise")', 'raise AmdSmiException("no driver")'), "AMD SMI finds no GPU: no driver"),
        (AMD_SMI.replace("return [0, 1]", "return []"), "AMD SMI finds no GPU"),
    ],
)
def test_why_amds_driver_says_nothing_is_told(package: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "amdsmi.py").write_text(package)
    code = "from bench.target.gpu_pages import AmdSmiPage; print(AmdSmiPage().read())"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert told.stdout.splitlines()[-1].startswith(sentence)
    assert "Unable" not in told.stdout


def test_a_page_of_an_exporter_is_read_and_one_that_is_none_is_told(mock: MockProcess, tmp_path: Path) -> None:
    seen: list[Received] = []
    with LiteralServer(asked(seen, b'DCGM_FI_DEV_POWER_USAGE{gpu="0"} 300\n')) as exporter:
        page = f"{exporter.url}/metrics"
        found = run(mock.url, tmp_path / "run", "--gpu-metrics", page, "--api-key", "secret-key")
        none = run(mock.url, tmp_path / "none", "--gpu-metrics", f"{exporter.url}/v1/nothing")
    assert found["gpu"]["levels"] == {"gpu_power_w": {"mean": 300.0, "max": 300.0}}
    assert not any("authorization" in request.headers for request in seen)
    assert none["gpu"] is None
    assert any(note.startswith(f"--gpu-metrics: {exporter.url}/v1/nothing has no") for note in none["run"]["notes"])
