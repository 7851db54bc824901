"""The crew of a cluster in virtual time: its clocks, waits, and messages about nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import load_test
from bench.clock import LoopClock
from bench.errors import BenchError, UsageError
from bench.scale.cluster import crew as of_cluster
from bench.scale.cluster import remote_worker
from bench.scale.cluster.crew import ClusterCrew, differences
from bench.scale.cluster.node_worker import Connections, Delivery, NodeFacts, Started
from bench.scale.cluster.remote_worker import PINGS, NodeLostError
from bench.scale.messages import Ready, Refused
from tests.support.changed import replace
from tests.support.scripted_workers import FACTS, Counted
from tests.support.virtual_time import VirtualTimeLoop, run_virtual
from tests.unit.bench.scale.test_node_worker import REPORT, assignment

S = 1_000_000_000
ELSEWHERE = replace(FACTS, clock={"boot_id": "another"})


class Node:
    """A worker on a node. Its load takes `load_s`; its clock is measured `asked_s` after the start of the test."""

    def __init__(
        self, loop: VirtualTimeLoop, node: str = "n", *, load_s: float = 0.0, facts: Any = ELSEWHERE, started: Any = None,
        lost: str = "",
    ) -> None:  # fmt: skip
        self.node, self._loop, self._load_s, self._lost = node, loop, load_s, lost
        self._began = loop.time()
        self._takes = 0
        self._answers = {"facts": facts, "start": started or Started("/there", None), "set_clock": None, "close": None}
        self.asked_s: list[float] = []
        self.given: list[tuple[Any, ...]] = []

    async def call(self, method: str, *arguments: Any) -> Any:
        if method == self._lost:
            raise NodeLostError("was lost with its node")
        if method == "now_ns":
            self.asked_s.append(round(self._loop.time() - self._began, 6))
            return 0
        if method != "take":
            self.given.append((method, *arguments))
            answer = self._answers[method]
            if isinstance(answer, BaseException):
                raise answer
            return answer
        self._takes += 1
        if self._takes == 1:
            return Delivery(1, (Ready(None),))
        if self._takes == 2:
            await asyncio.sleep(self._load_s)
            return Delivery(2, (REPORT,))
        return Delivery(3, ended=True)

    def tell(self, method: str, *arguments: Any) -> None:
        self.given.append(("tell", method, *arguments))


def crew_of(nodes: list[Node], directory: Path, released: list[int], at_once: int = 10) -> ClusterCrew:
    given = [
        replace(one := assignment(directory), share=replace(one.share, worker=number)) for number in range(len(nodes))
    ]
    return ClusterCrew(
        nodes, given, LoopClock(), lambda: released.append(1), at_once=at_once, certain=True
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _pings_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_worker, "now_ns", lambda: 0)


def test_workers_on_a_cluster_are_announced(tmp_path: Path) -> None:
    said: list[str] = []

    async def place(count: int) -> list[Any]:
        return [SimpleNamespace()] * count

    @contextmanager
    def waiting(sentence: str) -> Iterator[None]:
        said.append(sentence)
        yield

    async def announced(count: int) -> None:
        workers: Any = SimpleNamespace(cluster=SimpleNamespace(place=place, release=lambda: None), count=count)
        observer = SimpleNamespace(say=said.append, waiting=waiting)
        run: Any = SimpleNamespace(observer=observer, clock=LoopClock())
        plan: Any = SimpleNamespace(at_once=1, bounded=True)
        given = [assignment(tmp_path)] * count
        assert isinstance(await load_test._several(run, plan, workers, given), ClusterCrew)

    async def main(loop: VirtualTimeLoop) -> None:
        await announced(1)
        await announced(2)

    run_virtual(main)
    waits = "waiting for room on the cluster"
    assert said == ["starting 1 worker on the cluster", waits, "starting 2 workers on the cluster", waits]


def test_clocks_are_measured_before_the_load_soon_after_its_start_and_every_ten_seconds(tmp_path: Path) -> None:
    released: list[int] = []

    async def main(loop: VirtualTimeLoop) -> list[Node]:
        nodes = [Node(loop, "a", load_s=22.0), Node(loop, "a", load_s=1.0), Node(loop, "b", load_s=22.0)]
        crew = crew_of(nodes, tmp_path, released)
        assert crew.preparing == "waiting for workers to get ready: 0 of 3 are"
        await crew.prepare()
        assert crew.preparing == "waiting for workers to get ready: 3 of 3 are"
        assert [place.clock_drift_ns for place in crew.places] == [None] * 3
        crew.begin(0, Counted())
        report = await crew.load()
        assert (len(report.workers), report.died) == (3, ())
        assert [place.clock_drift_ns for place in crew.places] == [0, None, 0]
        crew.close()
        return nodes

    first, second, third = run_virtual(main)
    at_s = [at for at in (0.0, 1.1, 11.1, 21.1) for _ in range(PINGS)]
    assert (first.asked_s, second.asked_s, third.asked_s) == (at_s, [], at_s)
    # 10 connections for 3 workers are 4 each. Two of the workers share a node.
    started = [call for node in (first, third) for call in node.given if call[0] == "start"]
    assert [call[3] for call in started] == [Connections(4, 8, True), Connections(4, 4, True)]
    assert released == [1]


@pytest.mark.parametrize(
    ("node", "error", "sentence"),
    [
        ({"facts": NodeLostError("is gone")}, BenchError, "a worker cannot start on the cluster: it is gone"),
        ({"started": Refused(UsageError("no ports"))}, UsageError, "worker 1 on b: no ports"),
        ({"lost": "now_ns"}, BenchError, "worker 1 on b was lost with its node while it got ready"),
        (
            {"facts": replace(ELSEWHERE, code="other")},
            UsageError,
            "--cluster: node b has other source code of trueload",
        ),
    ],
)
def test_a_node_that_is_not_ready_ends_the_run(
    node: dict[str, Any], error: type[BenchError], sentence: str, tmp_path: Path
) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        nodes = [Node(loop, "a"), Node(loop, "b", **node)]
        crew = crew_of(nodes, tmp_path, [])
        with pytest.raises(BenchError) as raised:
            await crew.prepare()
        assert type(raised.value) is error
        assert sentence in str(raised.value)
        if "facts" not in node:
            assert crew.preparing == "waiting for workers to get ready: 2 of 2 are"
            assert [one.given[-1] for one in nodes] == [("close", True)] * 2

    run_virtual(main)


@pytest.mark.parametrize(("known", "measured"), [(True, 0), (False, PINGS)])
def test_the_clock_of_this_machine_is_not_measured(
    known: bool, measured: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = FACTS if known else replace(FACTS, clock=dict.fromkeys(FACTS.clock))
    monkeypatch.setattr(of_cluster, "node_facts", lambda: here)

    async def main(loop: VirtualTimeLoop) -> Node:
        node = Node(loop, facts=here)
        await crew_of([node], tmp_path, []).prepare()
        return node

    assert len(run_virtual(main).asked_s) == measured


def test_doubts_name_three_nodes_and_how_many_more(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[str, ...]:
        few = Started("/there", "few files")
        nodes = [Node(loop, name, started=few) for name in "aabcde"] + [Node(loop, "f", started=Started("/x", "slow"))]
        crew = crew_of(nodes, tmp_path, [])
        await crew.prepare()
        crew.close()
        assert all(node.given[-1] == ("tell", "close", True) for node in nodes)
        return crew.warnings

    assert run_virtual(main) == ("--cluster: node a, b, c and 2 more: few files", "--cluster: node f: slow")


def facts(code: str = "x", **versions: str) -> NodeFacts:
    return replace(FACTS, code=code, versions=versions)


def test_a_difference_names_the_package_and_what_to_do() -> None:
    ours = facts(trueload="1", httpx="2", python="3.11")
    nodes = [
        ("same", ours),
        ("shipped", facts(httpx="2", python="3.11")),
        ("old", facts(httpx="1", python="3.11", uvloop="5")),
        ("other", facts("y", trueload="0", httpx="2", python="3.11")),
        ("code", facts("y", trueload="1", httpx="2", python="3.11")),
    ]
    assert differences(ours, nodes) == [
        "--cluster: node old has httpx 1 (here: 2), uvloop 5 (here: none): install the same on every node",
        "--cluster: node other has trueload 0 (here: 1): install the same on every node",
        "--cluster: node code has other source code of trueload 1 (y, here: x): leave out --runtime-env none, or install "
        "the same on every node",
    ]
