"""The load from a Ray cluster of three nodes on this machine: one load, its losses, its end, its secrets."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.errors import Exit
from tests.support.mock_process import mock_process
from tests.support.ray_nodes import RayNodes, ray_nodes
from tests.support.run_process import flags, process, records, summary, wait_for
from tests.support.worker_processes import PROGRAM, gone, shard_lines

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed"),
    pytest.mark.usefixtures("work_folder"),
]

ENDED_WITHIN_S = 200
KEY, HEADER = "sk-key-a1b2c3", "tenant-d4e5f6"

MEASURED = (Exit.GOOD, Exit.INVALID)
"""INVALID where other programs keep the machine busy: an honest answer."""


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with mock_process("--ttft", "20ms", "--tpot", "1ms") as running:
        yield running.url


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayNodes]:
    with ray_nodes(3, processors=3) as running:
        yield running


def ran(cluster: RayNodes | None, words: list[str]) -> tuple[int, str, str]:
    environment = None if cluster is None else cluster.environment
    with process(words, env=environment, start_new_session=True) as running:
        out, err = running.communicate(timeout=ENDED_WITHIN_S)
    return running.returncode, out, err


def on_cluster(mock: str, tmp_path: Path, *more: str, out: str = "run") -> list[str]:
    return flags(
        mock, tmp_path, "--cluster", "ray", "--api-key", KEY, "--header", f"X-Tenant: {HEADER}", *more, out=out
    )


def manifest(tmp_path: Path) -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["manifest"]
    return told


def programs(run: str) -> list[int]:
    """Workers' programs whose files are in the directory of this run."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and PROGRAM in (entry / "cmdline").read_bytes().split(b"\0"):
                links = [str(link.readlink()) for link in (entry / "fd").iterdir()]
                found += [int(entry.name)] if any(run in link for link in links) else []
        except OSError:
            continue
    return found


def dispersion(offsets_ns: list[int], window_ns: int) -> float:
    """Variance over mean of the arrivals in each window: 1 for Poisson."""
    windows = Counter(at // window_ns for at in offsets_ns)
    counts = [windows[k] for k in range(max(offsets_ns) // window_ns)]
    mean = sum(counts) / len(counts)
    return sum((n - mean) ** 2 for n in counts) / (len(counts) - 1) / mean


def test_eight_workers_on_three_nodes_send_the_arrivals_of_one_process(
    mock: str, tmp_path: Path, cluster: RayNodes
) -> None:
    load = ("--rate", "200", "--requests", "1000", "--seed", "5", "--quiet")
    status, out, err = ran(cluster, on_cluster(mock, tmp_path, *load, "--workers", "8"))
    assert status in MEASURED, err + out
    rows = sorted(records(tmp_path), key=lambda row: row["index"])
    assert [row["index"] for row in rows] == list(range(1000))
    assert {row["worker"] for row in rows} == set(range(8))
    status, out, err = ran(None, flags(mock, tmp_path, *load, "--workers", "1", out="alone"))
    assert status in MEASURED, err + out
    alone = sorted(records(tmp_path, "alone"), key=lambda row: row["index"])
    offsets = [[row["intended_ns"] - of[0]["intended_ns"] for row in of] for of in (rows, alone)]
    assert offsets[0] == offsets[1]
    assert 0.9 < dispersion(offsets[0], 10_000_000) < 1.1
    told = manifest(tmp_path)
    assert len({place["node"] for place in told["places"]}) == 3
    # All on one machine, so the clock is the same one, and stays it.
    assert {(place["clock_offset_ns"], place["clock_bound_ns"]) for place in told["places"]} == {(0, 0)}
    assert any("8 workers on 3 nodes of a cluster" in note for note in told["notes"])
    # Nothing is left on the nodes of a run that has ended well.
    assert not [place["directory"] for place in told["places"] if Path(place["directory"]).exists()]


def test_four_workers_of_a_cluster_and_four_processes_see_the_same(
    mock: str, tmp_path: Path, cluster: RayNodes
) -> None:
    load = ("--concurrency", "8", "--requests", "200", "--workers", "4", "--quiet")
    results = [ran(None, flags(mock, tmp_path, *load, out="local")), ran(cluster, on_cluster(mock, tmp_path, *load))]
    assert {status for status, _, _ in results} <= set(MEASURED), results
    local, remote = summary(tmp_path, "local"), summary(tmp_path)
    assert remote["counts"]["succeeded"] == local["counts"]["succeeded"] == 200
    assert remote["instrument"]["workers"] == 4
    # The server's own counts, Little's law and the plan are held against both.
    assert [local["verdict"]["reasons"], remote["verdict"]["reasons"]] == [[], []]
    slowest = [
        json.loads(line)["client"]["slowest"] for line in (tmp_path / "run" / "live.jsonl").read_text().splitlines()
    ]
    assert all(name is None or name.startswith("worker ") for name in slowest)


def test_no_secret_is_in_ray_s_logs_nor_in_what_a_node_keeps(mock: str, tmp_path: Path, cluster: RayNodes) -> None:
    more = ("--concurrency", "2", "--requests", "20", "--workers-per-node", "1", "--quiet")
    status, out, err = ran(cluster, on_cluster(mock, tmp_path, *more))
    assert status in MEASURED, err + out
    assert len({place["node"] for place in manifest(tmp_path)["places"]}) == 2  # As many as there are users.
    read = 0
    for path in [*cluster.logs.rglob("*"), *(tmp_path / "run").iterdir()]:
        if path.is_file():
            content = path.read_bytes()
            read += len(content)
            assert KEY.encode() not in content, path
            assert HEADER.encode() not in content, path
    assert read > 0


def test_ctrl_c_ends_the_sending_everywhere(mock: str, tmp_path: Path, cluster: RayNodes) -> None:
    words = on_cluster(mock, tmp_path, "--duration", "300s", "--concurrency", "4", "--workers", "3")
    with process(words, env=cluster.environment, start_new_session=True) as running:
        wait_for(lambda: min(shard_lines(tmp_path), default=0) >= 2, within_s=ENDED_WITHIN_S)
        os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=ENDED_WITHIN_S)
    assert running.returncode == Exit.INTERRUPTED, err + out
    assert summary(tmp_path)["run"]["stop_reason"] == "interrupted"
    assert {row["worker"] for row in records(tmp_path)} == {0, 1, 2}


def test_workers_stop_when_the_driver_is_killed_and_their_shards_stay(
    mock: str, tmp_path: Path, cluster: RayNodes
) -> None:
    words = on_cluster(mock, tmp_path, "--duration", "300s", "--concurrency", "4", "--workers", "3")
    with process(words, env=cluster.environment, start_new_session=True) as running:
        wait_for(lambda: min(shard_lines(tmp_path), default=0) >= 2, within_s=ENDED_WITHIN_S)
        told = manifest(tmp_path)
        sending = programs(told["run_id"])
        assert len(sending) == 3
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
    wait_for(lambda: all(gone(pid) for pid in sending), within_s=60)
    folder = cluster.temporary / f"trueload-{told['run_id']}"
    assert {place["directory"] for place in told["places"]} == {str(folder)}
    shipped = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("requests-*.jsonl")}
    assert len(shipped) == 3
    for name, content in shipped.items():
        # Here is what was shipped, there is all of it.
        assert (folder / name).read_bytes().startswith(content[: content.rfind(b"\n") + 1])
    # Put into the run they are one load again.
    ids = {json.loads(line)["id"] for path in folder.glob("requests-*") for line in path.read_text().splitlines()}
    _, _, err = ran(None, ["report", str(tmp_path / "run"), "--shards", str(folder), "--quiet"])
    assert "shards: of 3 of 3 workers" in err
    assert summary(tmp_path)["counts"]["succeeded"] == len(ids) >= 6


def test_a_lost_node_is_named_and_the_others_go_on(mock: str, tmp_path: Path) -> None:
    with ray_nodes(3, processors=1) as cluster:
        words = on_cluster(mock, tmp_path, "--duration", "40s", "--concurrency", "6", "--workers", "3")
        with process(words, env=cluster.environment, start_new_session=True) as running:
            wait_for(lambda: min(shard_lines(tmp_path), default=0) >= 20, within_s=ENDED_WITHIN_S)
            shipped = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("requests-*.jsonl")}
            os.kill(cluster.raylets[-1], signal.SIGKILL)
            out, err = running.communicate(timeout=ENDED_WITHIN_S)
    assert running.returncode == Exit.INVALID, err + out
    told = summary(tmp_path)
    assert told["verdict"]["status"] == "INVALID"
    (died,) = manifest(tmp_path)["died"]
    place = manifest(tmp_path)["places"][int(died.split()[1])]
    assert died.startswith(f"worker {place['worker']} on {place['node']} ")
    assert "after the start" in died
    assert any(died in reason for reason in told["verdict"]["reasons"])
    ids = {row["id"] for row in records(tmp_path)}
    assert {json.loads(line)["id"] for content in shipped.values() for line in content.splitlines(True)
            if line.endswith(b"\n")} <= ids  # fmt: skip
    assert "Traceback" not in err
