"""A load from several nodes, without Ray: nodes are processes, with their own clocks if the system supports them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import cli
from bench.clock import now_ns
from bench.config import resolve
from bench.endpoints.interface import BodyOptions
from bench.errors import Exit
from bench.load.assignment import Assignment
from bench.machine import preflight
from bench.modes.share import WorkerShare
from bench.scale.cluster import crew, node_worker, ray_cluster
from bench.scale.cluster.clock_offset import ClockOffset
from bench.scale.cluster.node_worker import NodeFacts
from bench.scale.messages import Begin, Ready
from tests.support.literal_replies import GOOD, stream
from tests.support.literal_server import Hang, LiteralServer, Received, Step
from tests.support.mock_process import MockProcess, mock_process
from tests.support.node_process import AHEAD_S, BEHIND_S, FakeCluster, clocks_can_differ, own_clock
from tests.support.patience import PATIENCE_S
from tests.support.run_process import flags, loaded, records, summary, wait_for
from tests.support.worker_processes import shard_lines

pytestmark = [pytest.mark.usefixtures("work_folder"), pytest.mark.long]

MEASURED = (Exit.GOOD, Exit.INVALID)
"""INVALID if other programs keep the machine busy: an honest answer."""


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--ttft", "20ms", "--tpot", "1ms") as running:
        yield running


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCluster:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    fake = FakeCluster([[]])
    monkeypatch.setattr(ray_cluster, "RayCluster", fake)
    return fake


def manifest(tmp_path: Path) -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["manifest"]
    return told


@pytest.mark.skipif(not clocks_can_differ(), reason="needs the right to make a time namespace")
@pytest.mark.parametrize("workers", ["1", "3"])
def test_nodes_with_clocks_of_their_own_send_one_load_in_the_driver_s_time(
    mock: MockProcess, tmp_path: Path, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setattr(crew, "CLOCKS_EVERY_NS", 50_000_000)
    cluster.before = [own_clock(), [], own_clock(-BEHIND_S)]
    words = flags(mock.url, tmp_path, "--cluster", "ray", "--rate", "60", "--requests", "120", "--quiet")
    assert cli.main([*words, "--workers", workers]) in MEASURED
    rows = records(tmp_path)
    assert sorted(row["index"] for row in rows) == list(range(120))
    told = manifest(tmp_path)
    expected = [-AHEAD_S, 0, BEHIND_S][: int(workers)]
    for place, away_s in zip(told["places"], expected, strict=True):
        assert abs(place["clock_offset_ns"] - away_s * 10**9) <= place["clock_bound_ns"]
        assert place["clock_drift_ns"] == 0
    # By the driver's clock no record begins before the run, and each matches the request seen by the mock.
    assert min(row["sent_ns"] for row in rows) >= told["start_ns"]
    seen = mock.lines_of([row["id"] for row in rows])
    bound_ns = max(place["clock_bound_ns"] for place in told["places"])
    for row in rows:
        assert row["sent_ns"] - bound_ns <= seen[row["id"]]["received_ns"] <= row["end_ns"] + bound_ns
    assert told["start_ns"] <= told["run_start_ns"] <= min(row["end_ns"] for row in rows)
    assert not any("clock" in reason for reason in summary(tmp_path)["verdict"]["reasons"])
    assert not any(Path(place["directory"]).exists() for place in told["places"])


@pytest.mark.skipif(not clocks_can_differ(), reason="needs the right to make a time namespace")
def test_calibration_compares_durations_where_nodes_have_clocks_of_their_own(
    mock: MockProcess, tmp_path: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    words = flags(
        mock.url, tmp_path, "--cluster", "ray", "--workers", "2", "--rate", "60", "--requests", "60", "--quiet"
    )
    assert cli.main(["calibrate", *words[3:]]) == Exit.USAGE
    assert "name it with --url" in capsys.readouterr().err
    cluster.before = [[], own_clock()]
    assert cli.main(["calibrate", *words[1:]]) in MEASURED
    assert json.loads((tmp_path / "run" / "mock.json").read_text())["clock"] == "other"
    calibration = summary(tmp_path)["calibration"]
    assert calibration["clock"] == "other"
    assert calibration["network_ms"] >= 0
    assert not list((tmp_path / "cache").rglob("certificates.json"))


def test_a_node_that_is_lost_is_named_and_counted_and_what_it_had_shipped_is_there(
    tmp_path: Path, cluster: FakeCluster
) -> None:
    def answer(request: Received) -> Sequence[Step]:
        """Worker 1, whose node will be lost, gets no answer from its 11th request on, so it cannot end before that."""
        number = int(request.headers["x-request-id"].rpartition("-")[2])
        return [Hang()] if number % 3 == 1 and number > 30 else stream(*GOOD)

    shipped: dict[str, bytes] = {}

    def lose() -> None:
        wait_for(lambda: len(shard_lines(tmp_path)) == 3 and min(shard_lines(tmp_path)) >= 5, within_s=PATIENCE_S)
        shipped.update((path.name, path.read_bytes()) for path in (tmp_path / "run").glob("requests-*.jsonl"))
        cluster.nodes[1].kill()

    loser = threading.Thread(target=lose)
    loser.start()
    with LiteralServer(loaded(answer)) as server:
        words = ["--cluster", "ray", "--workers", "3", "--concurrency", "3", "--requests", "60", "--quiet"]
        assert cli.main(flags(server.url, tmp_path, *words)) == Exit.INVALID
    loser.join()
    (died,) = manifest(tmp_path)["died"]
    assert died.startswith("worker 1 on node-1 was lost with its node ")
    assert "after the start" in died
    assert any(died in reason for reason in summary(tmp_path)["verdict"]["reasons"])
    rows = records(tmp_path)
    had = [json.loads(line)["id"] for content in shipped.values() for line in content.splitlines(True) if b"\n" in line]
    assert had
    assert set(had) <= {row["id"] for row in rows}
    for worker in (0, 2):
        assert len([row for row in rows if row["worker"] == worker]) == 20


def test_a_node_that_differs_is_refused_before_the_load(
    mock: MockProcess,
    tmp_path: Path,
    cluster: FakeCluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(crew, "node_facts", lambda: NodeFacts("here", 1, {"python": "2.7"}, "x", {"boot_id": None}))
    assert cli.main(flags(mock.url, tmp_path, "--cluster", "ray", "--workers", "2", "--requests", "4")) == Exit.USAGE
    said = capsys.readouterr().err
    assert "node node-0 has" in said
    assert "node node-1 has" in said
    assert "(here: 2.7)" in said
    assert not (tmp_path / "run").exists()


def test_what_a_worker_refuses_is_said_as_it_says_it(
    mock: MockProcess, tmp_path: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a"}\n')
    words = flags(mock.url, tmp_path, "--cluster", "ray", "--workers", "2", "--requests", "4", "--dataset", str(rows))
    placed = cluster.place

    async def place(workers: int) -> list[Any]:
        rows.unlink()  # The file is on the driver's disk, not on the nodes'.
        nodes: list[Any] = await placed(workers)
        return nodes

    cluster.place = place  # type: ignore[method-assign]
    words = [word for word in words if word not in ("--input-tokens", "16")]
    assert cli.main(words) == Exit.USAGE
    assert f"{rows} cannot be read" in capsys.readouterr().err


def test_a_worker_whose_driver_falls_silent_ends_and_keeps_its_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster
) -> None:
    def answer(request: Received) -> Sequence[Step]:
        return stream(*GOOD)

    monkeypatch.setattr(node_worker, "SILENCE_NS", round(2e9 * PATIENCE_S))
    monkeypatch.setattr("tempfile.tempdir", None)  # tempfile caches the value of TMPDIR.
    with LiteralServer(loaded(answer)) as server:
        config = resolve({"url": server.url, "duration": "100s", "concurrency": 2, "input_tokens": "8"})
        share = WorkerShare(requests=None, duration_ns=100 * 10**9, warmup_requests=0, warmup_ns=0, users=2)
        options = BodyOptions(endpoint="chat", model="m", stream=True, ignore_eos=False)
        given = Assignment(config=config, share=share, run_id="silent", options=options, directory=tmp_path)
        worker = node_worker.NodeWorker()
        started = worker.start(given, None, node_worker.Connections(2, 2, certain=True))
        assert isinstance(started, node_worker.Started)
        folder = Path(started.directory)
        worker.set_clock(ClockOffset(0, 0))
        taken = worker.take(0)
        while not any(isinstance(message, Ready) for message in taken.messages):
            taken = worker.take(taken.number)
        worker.send(Begin(now_ns() + 10**8))
        shard = folder / "requests.jsonl"
        wait_for(lambda: shard.exists() and b"\n" in shard.read_bytes())
        monkeypatch.setattr(node_worker, "SILENCE_NS", 300_000_000)  # The driver will soon have been silent for longer.
        assert worker._process is not None
        assert worker._process.wait(timeout=PATIENCE_S) in (0, 1)  # 1 if it was about to send something.
        assert (folder / "requests.jsonl").read_bytes().count(b"\n") > 0
        # The records were not fetched: everything is still here, and a returning driver learns that.
        worker.close(False)
        assert (folder / "requests.jsonl").exists()
        worker.close(True)
        assert not folder.exists()


def test_the_limits_that_count_are_those_of_the_nodes_and_not_the_driver_s(
    mock: MockProcess,
    tmp_path: Path,
    cluster: FakeCluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(connections: int, *, certain: bool = True) -> None:
        raise AssertionError("the driver sends none of them")

    monkeypatch.setattr(preflight, "check", refuse)
    words = flags(mock.url, tmp_path, "--cluster", "ray", "--workers", "2", "--quiet", "--requests")
    assert cli.main([*words, "8", "--concurrency", "4"]) in MEASURED
    words[words.index("--out") + 1] = str(tmp_path / "more")
    cluster.before = [["bash", "-c", 'ulimit -n 128; exec "$@"', "node"]]
    assert cli.main([*words, "2000", "--concurrency", "1000"]) == Exit.USAGE
    assert "worker 0 on node-0: 500 requests in flight need 564 open files, and the limit here is 128" in (
        capsys.readouterr().err
    )


def test_a_node_with_few_open_files_is_named_where_the_load_has_no_bound(
    mock: MockProcess, tmp_path: Path, cluster: FakeCluster
) -> None:
    cluster.before = [[], ["bash", "-c", 'ulimit -n 128; exec "$@"', "node"]]
    words = flags(mock.url, tmp_path, "--cluster", "ray", "--workers", "2", "--rate", "1000", "--requests", "400")
    assert cli.main([*words, "--quiet"]) in MEASURED
    (warned,) = [note for note in manifest(tmp_path)["notes"] if "open files" in note]
    assert warned.startswith("--cluster: node node-1: the limit of open files here (128) has room for about ")
    lines = [json.loads(line) for line in (tmp_path / "run" / "live.jsonl").read_text().splitlines()]
    assert {one["name"] for line in lines for one in line["workers"]} == {"worker 0 on node-0", "worker 1 on node-1"}
