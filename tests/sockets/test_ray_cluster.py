"""The load from a Ray cluster of three nodes on this machine: one load, its losses, its end, its secrets.

Each run takes seconds to begin, so the tests are few, and each checks several things.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

import bench
import promptset
from bench.accuracy.join import Join
from bench.accuracy.ledger import Ledger
from bench.config import resolve
from bench.errors import Exit
from bench.modes.rate import Rate
from bench.run_files.run_directory import RunDirectory
from bench.workload.tracing import ids_of
from tests.support.balancer import balanced
from tests.support.cluster_runs import dispersion, programs, whole_lines
from tests.support.literal_replies import GOOD, stream
from tests.support.literal_server import LiteralServer, Received, Step, Until
from tests.support.mock_process import mock_process
from tests.support.otlp_receiver import otlp_receiver
from tests.support.patience import PATIENCE_S
from tests.support.ray_nodes import RayNodes, ray_nodes
from tests.support.run_process import flags, loaded, process, records, summary, wait_for
from tests.support.worker_processes import gone, shard_lines

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed"),
    pytest.mark.usefixtures("work_folder"),
]

KEY, HEADER = "sk-key-a1b2c3", "tenant-d4e5f6"

MEASURED = (Exit.GOOD, Exit.INVALID)
"""INVALID if other programs keep the machine busy: an honest answer."""


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with mock_process("--ttft", "20ms", "--tpot", "1ms") as running:
        yield running.url


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayNodes]:
    with ray_nodes(3, processors=3) as running:
        yield running


def ran(words: list[str], environment: dict[str, str] | None = None) -> tuple[int, str, str]:
    with process(words, env=environment, start_new_session=True) as running:
        out, err = running.communicate(timeout=PATIENCE_S)
    return running.returncode, out, err


def on_cluster(mock: str, tmp_path: Path, *more: str, out: str = "run") -> list[str]:
    return flags(
        mock, tmp_path, "--cluster", "ray", "--api-key", KEY, "--header", f"X-Tenant: {HEADER}", *more, out=out
    )


def manifest(tmp_path: Path, out: str = "run") -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((tmp_path / out / "run.yaml").read_text())["manifest"]
    return told


def test_five_workers_on_three_nodes_send_the_arrivals_of_one_process(
    mock: str, tmp_path: Path, cluster: RayNodes
) -> None:
    load = ("--rate", "200", "--requests", "1000", "--seed", "5", "--quiet", "--workers", "5")
    status, out, err = ran(on_cluster(mock, tmp_path, *load), cluster.environment)
    assert status in MEASURED, err + out
    rows = sorted(records(tmp_path), key=lambda row: row["index"])
    assert [row["index"] for row in rows] == list(range(1000))
    assert {row["worker"] for row in rows} == set(range(5))
    config = resolve({"url": mock, "rate": 200, "requests": 1000, "seed": 5})
    assert isinstance(config.load, Rate)
    alone = list(islice(config.load.offsets(), 1000))
    offsets = [row["intended_ns"] - rows[0]["intended_ns"] for row in rows]
    assert offsets == [at - alone[0] for at in alone]
    assert 0.9 < dispersion(offsets, 10_000_000) < 1.1
    told = manifest(tmp_path)
    assert len({place["node"] for place in told["places"]}) == 3
    # All on one machine, so the clock is the same throughout.
    assert {(place["clock_offset_ns"], place["clock_bound_ns"]) for place in told["places"]} == {(0, 0)}
    assert any("5 workers on 3 nodes of a cluster" in note for note in told["notes"])
    # A run that ended well leaves nothing on the nodes.
    assert not [place["directory"] for place in told["places"] if Path(place["directory"]).exists()]
    # Checked against the server's own counts, Little's law and the plan.
    assert summary(tmp_path)["verdict"]["reasons"] == []
    last = json.loads((tmp_path / "run" / "live.jsonl").read_text().splitlines()[-1])
    assert sum(one["done"] for one in last["workers"]) == 1000
    assert last["client"]["slowest"] in {one["name"] for one in last["workers"]}


@pytest.mark.long
def test_a_cluster_has_one_export_with_the_sum_of_its_workers(mock: str, tmp_path: Path, cluster: RayNodes) -> None:
    with otlp_receiver() as collector:
        export = ("--otlp", collector.url, "--trace-share", "30%")
        load = ("--rate", "50", "--requests", "60", "--quiet", "--workers", "3", *export)
        status, out, err = ran(on_cluster(mock, tmp_path, *load), cluster.environment)
        assert status in MEASURED, err + out
    rows = records(tmp_path)
    assert {row["worker"] for row in rows} == {0, 1, 2}
    assert sum(point.count for point in collector.last["trueload.ttft"].histogram.data_points) == 60
    traces = {ids_of(row["traceparent"])[0] for row in rows if row["traceparent"] is not None}
    assert {span.trace_id.hex() for span in collector.spans} == traces
    assert traces


@pytest.mark.long
def test_code_is_shipped_to_nodes_that_load_two_mocks_and_no_secret_is_told(tmp_path: Path, cluster: RayNodes) -> None:
    # A different Trueload than the nodes', which would be refused.
    for package in (Path(bench.__file__).parent, Path(promptset.__file__).parent):
        shutil.copytree(package, tmp_path / "other" / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "other" / "bench" / "clock.py").open("a") as file:
        file.write("# another version\n")
    more = ("--concurrency", "6", "--requests", "60", "--workers-per-node", "1", "--quiet")
    mocked = ("--ttft", "20ms", "--tpot", "1ms", "--workers", "2")
    with mock_process(*mocked) as one, mock_process(*mocked) as two, balanced([one.url, two.url]) as url:
        words = on_cluster(url, tmp_path, *more)
        status, out, err = ran(words, {**cluster.environment, "PYTHONPATH": str(tmp_path / "other")})
        assert status in MEASURED, err + out
        directory = RunDirectory.open(tmp_path / "run")
        ids = {record.id for record in directory.records()}
        wait_for(lambda: ids <= {line["id"] for mock in (one, two) for line in mock.ledger_lines()})
        ledgers = [
            [line for line in mock.ledger_lines() if line["id"] in ids or not line["id"].startswith("probe-")]
            for mock in (one, two)
        ]
    assert len({place["node"] for place in manifest(tmp_path)["places"]}) == 3
    # Each mock had a share, and both ledgers together are the load's.
    assert all(ledgers)
    whole = "".join(json.dumps(line) + "\n" for line in [*ledgers[0], *ledgers[1]]).encode()
    joining = Join(Ledger(io.BytesIO(whole)), "chat")
    pairs = list(joining.pairs(directory.records()))
    assert joining.problems() == []
    assert len(pairs) == len(ids) == 60
    for pair in pairs:
        assert (pair.record.sent_ns or 0) <= pair.line["received_ns"] <= pair.record.end_ns
    # Ray's own data has the names of this load, and no secret.
    known = cluster.known()
    assert "NodeWorker" in known
    assert "python -m bench" in known
    contents = {"what Ray tells": known.encode()}
    contents |= {str(path): path.read_bytes() for path in cluster.logs.rglob("*") if path.is_file()}
    contents |= {str(path): path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert len(contents) > 10
    for secret in (KEY, HEADER):
        assert [name for name, content in contents.items() if secret.encode() in content] == []


def test_ctrl_c_ends_the_sending_everywhere_and_so_does_the_death_of_the_driver(
    mock: str, tmp_path: Path, cluster: RayNodes
) -> None:
    load = ("--duration", "300s", "--concurrency", "4", "--workers", "3", "--runtime-env", "none")
    killed = process(on_cluster(mock, tmp_path, *load), env=cluster.environment, start_new_session=True)
    interrupted = process(
        on_cluster(mock, tmp_path, *load, out="other"), env=cluster.environment, start_new_session=True
    )
    with killed as dying, interrupted as ending:
        for out in ("run", "other"):
            wait_for(lambda out=out: min(shard_lines(tmp_path, out), default=0) >= 2, within_s=PATIENCE_S)  # type: ignore[misc]
        told = manifest(tmp_path)
        sending = programs(told["run_id"])
        assert sum(name != "feed_program" for name in sending.values()) == 3
        os.kill(dying.pid, signal.SIGKILL)
        os.killpg(ending.pid, signal.SIGINT)
        dying.communicate()
        out, err = ending.communicate(timeout=PATIENCE_S)
    assert ending.returncode == Exit.INTERRUPTED, err + out
    assert summary(tmp_path, "other")["run"]["stop_reason"] == "interrupted"
    assert {row["worker"] for row in records(tmp_path, "other")} == {0, 1, 2}
    wait_for(lambda: all(gone(pid) for pid in sending), within_s=PATIENCE_S)
    folder = cluster.temporary / f"trueload-{told['run_id']}"
    assert {place["directory"] for place in told["places"]} == {str(folder)}
    shipped = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("requests-*.jsonl")}
    assert len(shipped) == 3
    for name, content in shipped.items():
        # The driver has the shipped part, the nodes have everything.
        assert (folder / name).read_bytes().startswith(b"".join(whole_lines(content)))
    # Put into the run directory they form one load again.
    lines = [json.loads(line) for path in folder.glob("requests-*") for line in path.read_text().splitlines()]
    # Other requests were cut off when their driver had died.
    ids = {line["id"] for line in lines if line["outcome"] == "ok"}
    _, _, err = ran(["report", str(tmp_path / "run"), "--shards", str(folder), "--quiet"])
    assert "shards: of 3 of 3 workers" in err
    assert summary(tmp_path)["counts"]["succeeded"] == len(ids) >= 6


def test_a_lost_node_is_named_and_the_others_go_on(tmp_path: Path, cluster: RayNodes) -> None:
    is_lost = threading.Event()

    def chat(request: Received) -> Sequence[Step]:
        held = int(request.headers["x-request-id"].rpartition("-")[2]) >= 120
        return [*([Until(is_lost.is_set)] if held else []), *stream(*GOOD)]

    raylet = cluster.add()
    more = ("--requests", "200", "--concurrency", "8", "--workers-per-node", "1", "--format", "json")
    with (
        LiteralServer(loaded(chat)) as server,
        process(on_cluster(server.url, tmp_path, *more), env=cluster.environment, start_new_session=True) as running,
    ):
        wait_for(lambda: min(shard_lines(tmp_path), default=0) >= 20, within_s=PATIENCE_S)
        shipped = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("requests-*.jsonl")}
        cluster.kill(raylet)
        is_lost.set()
        out, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INVALID, err + out
    told = summary(tmp_path)
    assert told["verdict"]["status"] == "INVALID"
    assert len(manifest(tmp_path)["places"]) == 4
    (died,) = manifest(tmp_path)["died"]
    place = manifest(tmp_path)["places"][int(died.split()[1])]
    assert died.startswith(f"worker {place['worker']} on {place['node']} ")
    assert "after the start" in died
    others = Counter(row["worker"] for row in records(tmp_path) if row["worker"] != int(died.split()[1]))
    assert sorted(others.values()) == [50, 50, 50]
    assert any(died in reason for reason in told["verdict"]["reasons"])
    assert json.loads(out) == told, "Ray must print nothing into our results"
    assert not any("somebody else's" in reason for reason in told["verdict"]["reasons"])
    had = [line for content in shipped.values() for line in whole_lines(content)]
    assert {json.loads(line)["id"] for line in had} <= {row["id"] for row in records(tmp_path)}
    assert "Traceback" not in err
