"""A run's report about a mock that scales, against the mock's ledger.

The bounds hold on a machine of any speed: a refused request was sent before its refusal was decided, and an answer came
after it. Both sides read one clock.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.held_port import held_port
from tests.support.mock_process import MockProcess, mock_process
from tests.support.run_process import SMALL, finished, summary

pytestmark = pytest.mark.usefixtures("work_folder")

STARTS = ("--ttft", "20ms", "--tpot", "1ms", "--scale", "start=6s")
"""From the probe's request on: a busy machine takes some seconds until the first request of the load."""
LOAD = ("--rate", "8", "--duration", "9s", "--arrivals", "constant")
NAMED = ("--model", "mock-model")
SCALE = "start=1500ms,replicas=2,above=4,delay=1500ms"


def watched(mock: MockProcess, tmp_path: Path, *more: str) -> tuple[dict[str, Any], list[float], str]:
    """The block of the summary, and the time at which each replica came, in seconds of the run."""
    words = ["run", "--url", mock.url, "--config", str(tmp_path / "calm.yaml"), *SMALL]
    _, out, err = finished([*words, "--watch-scale", "--details", "--out", str(tmp_path / "run"), *more])
    assert (tmp_path / "run" / "summary.json").exists(), err
    assert "the probe found no server that is ready (status 503): the load is sent" in err
    told = summary(tmp_path)
    start_ns = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["manifest"]["start_ns"]
    sent = next(
        (part["sent"] for part in told.get("per_target", ()) if part["target"] == mock.url), told["counts"]["sent"]
    )
    engines = [line["engine"] for line in mock.ledger_lines(sent)]
    came_ns = sorted({engine["replica_ns"] for engine in engines if "replica_ns" in engine})
    assert {engine["replicas"] for engine in engines} == set(range(len(came_ns) + 1))
    return told, [(at - start_ns) / 1e9 for at in came_ns], out


def test_the_time_to_ready_is_the_ledgers_within_what_the_load_can_see(tmp_path: Path) -> None:
    with mock_process(*STARTS) as mock:
        told, (came_s,), out = watched(mock, tmp_path, *NAMED, *LOAD)
        refused = [line for line in mock.ledger_lines() if line["status"] == 503 and "probe" not in str(line["id"])]
    time = told["scaling"]["times"][0]
    assert time["not_ready_s"] < came_s < time["ready_s"]
    assert time["refusals"] == {"503": time["refused"]}
    # Nothing is hidden: refused requests have failed, in every number.
    assert told["counts"]["failed"] == told["scaling"]["lost"] == sum(told["scaling"]["refused"])
    assert len(refused) == told["counts"]["failed"] > 0
    assert "Lost while scaling" in out


@pytest.mark.parametrize("more", [(), ("--workers", "2")])
def test_the_replica_that_starts_has_the_lost_time_and_the_ready_one_has_none(
    more: tuple[str, ...], tmp_path: Path
) -> None:
    with mock_process("--ttft", "20ms", "--tpot", "1ms") as ready, mock_process(*STARTS) as starting:
        told, (came_s,), out = watched(starting, tmp_path, *NAMED, "--url", ready.url, *LOAD, *more)
    (time,) = told["scaling"]["times"]
    assert time["target"] == starting.url
    assert time["not_ready_s"] < came_s < time["ready_s"]
    failed = {part["target"]: part["failed"] for part in told["per_target"]}
    assert failed == {starting.url: told["scaling"]["lost"], ready.url: 0}
    assert time["lost"] == told["scaling"]["lost"] > 0
    assert starting.url in out.partition("Lost while scaling")[2]


def test_the_ready_address_tells_the_model_and_an_absent_one_has_a_time_without_an_end(tmp_path: Path) -> None:
    with mock_process("--ttft", "20ms", "--tpot", "1ms") as ready, held_port() as port:
        absent = f"http://127.0.0.1:{port}"
        words = ["run", "--url", absent, "--url", ready.url, "--config", str(tmp_path / "calm.yaml"), *SMALL]
        load = ("--concurrency", "2", "--requests", "40", "--watch-scale")
        _, _, err = finished([*words, *load, "--out", str(tmp_path / "run")])
    assert (tmp_path / "run" / "summary.json").exists(), err
    told = summary(tmp_path)
    assert [(time["target"], "ready_s" in time) for time in told["scaling"]["times"]] == [(absent, False)]
    parts = {part["target"]: part for part in told["per_target"]}
    assert parts[ready.url]["failed"] == parts[absent]["succeeded"] == 0
    assert parts[ready.url]["succeeded"] > 0


def test_requests_are_slow_until_the_late_replica_of_the_ledger_is_there(tmp_path: Path) -> None:
    # One replica runs 2 requests at once, of 3 steps of 100 ms: 6.7 per second. At 10 per second requests wait until
    # there are two.
    engine = ("--engine", "batching", "--step-cost", "b0=100000,b1=1,b2=0.1", "--max-num-seqs", "2", "--scale", SCALE)
    load = (*NAMED, "--mode", "rate", "--steps", "10,11:4s", "--arrivals", "constant", "--slo", "ttft:p90<400ms")
    with mock_process(*engine) as mock:
        told, came_s, out = watched(mock, tmp_path, *load)
    scaling = told["scaling"]
    assert len(came_s) == 2
    assert scaling["limits"] == ["ttft:p90<400ms"]
    assert sum(scaling["slow"]) > 0
    spans = [(time["start_s"], time["end_s"]) for time in scaling["times"] if time["slow"]]
    assert any(start < came_s[1] and (end is None or came_s[1] < end) for start, end in spans)
    assert "11 requests/s from 4.0 s on" in " ".join(out.split())  # A narrow table wraps the text.
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Requests by how they ended" in page
