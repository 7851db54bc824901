"""Where a cluster's workers are placed. A stub of Ray answers from a table; tests over sockets use the real one."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bench.errors import UsageError
from bench.scale.cluster import ray_cluster
from bench.scale.cluster.node_worker import NodeWorker
from bench.scale.cluster.ray_cluster import RayCluster


class RayError(Exception):
    pass


class Group:
    def __init__(self, room: bool) -> None:
        self._room, self.waited = room, list[float]()

    def wait(self, within_s: float) -> bool:
        self.waited.append(within_s)
        return self._room


class Ray(ModuleType):
    """Nodes: name, id, processors, whether it lives."""

    def __init__(self, *nodes: tuple[str, str, int, bool], room: bool = True) -> None:
        super().__init__("ray")
        self.table = nodes
        self.calls: list[tuple[Any, ...]] = []
        self.group = Group(room)
        self.joined, self.error = False, None
        self.names: list[tuple[object, object]] = []
        self.private = SimpleNamespace(
            get_entrypoint_name=lambda: "bench run --api-key secret", listen_error_messages=lambda told: told
        )
        self.exceptions = SimpleNamespace(RayError=RayError)

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "NodeManagerHostname": name,
                "NodeID": identity,
                "Alive": alive,
                "Resources": {"CPU": cpus} if cpus else {},
            }
            for name, identity, cpus, alive in self.table
        ]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(sum(cpus for *_, cpus, _ in self.table))} if self.table else {}

    def available_resources(self) -> dict[str, float]:
        return {"CPU": 3.0} if self.table else {}

    def remote(self, actor: type) -> SimpleNamespace:
        assert actor is NodeWorker
        return SimpleNamespace(options=lambda **given: SimpleNamespace(remote=lambda: given))

    def wait(self, answers: Sequence[object], *, num_returns: int, timeout: float) -> None:
        self.calls.append(("wait", list(answers), num_returns, timeout))

    def is_initialized(self) -> bool:
        return self.joined

    def init(self, address: str | None, **given: Any) -> None:
        self.calls.append(("init", address, given))
        self.names.append((self.private.get_entrypoint_name(), self.private.listen_error_messages("all")))
        if self.error is not None:
            raise self.error


def with_util(ray: Ray, monkeypatch: pytest.MonkeyPatch, bundles_at: Sequence[str] = ()) -> Ray:
    """The Ray modules that the code imports on demand."""
    util, strategies = ModuleType("ray.util"), ModuleType("ray.util.scheduling_strategies")

    def placement_group(bundles: list[dict[str, int]], *, strategy: str) -> Group:
        ray.calls.append(("group", bundles, strategy))
        return ray.group

    def strategy_of(group: Group, *, placement_group_bundle_index: int) -> int:
        assert group is ray.group
        return placement_group_bundle_index

    def table_of(group: Group) -> dict[str, Any]:
        assert group is ray.group
        return {"bundles_to_node_id": dict(enumerate(bundles_at))}

    vars(util).update(
        placement_group=placement_group, placement_group_table=table_of,
        remove_placement_group=lambda group: ray.calls.append(("removed", group is ray.group)),
    )  # fmt: skip
    vars(strategies)["PlacementGroupSchedulingStrategy"] = strategy_of
    for module in (ray, util, strategies):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("utils", "worker"):
        monkeypatch.setitem(sys.modules, f"ray._private.{name}", ray.private)
    monkeypatch.setitem(sys.modules, "ray._private", ModuleType("ray._private"))
    return ray


NODES = (("a", "a" * 20, 8, True), ("b", "b" * 20, 4, True), ("b", "c" * 20, 4, True), ("a", "d" * 20, 8, False),
         ("head", "e" * 20, 0, True))  # fmt: skip


def test_workers_are_spread_as_ray_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = with_util(Ray(*NODES), monkeypatch, ["a" * 20, "b" * 20, "c" * 20])
    cluster = RayCluster(ray, None, 30.0)
    assert (cluster.processors, cluster.workers("3"), cluster.workers("auto")) == (24, "3", "auto")
    handles = asyncio.run(cluster.place(3))
    assert ray.calls == [("group", [{"CPU": 1}] * 3, "SPREAD")]
    assert ray.group.waited == [ray_cluster.PLACED_AFTER_S]
    assert [handle.node for handle in handles] == ["a", "b (bbbbbbbb)", "b (cccccccc)"]
    actors: Any = [handle._actor for handle in handles]
    assert actors[2] == {
        "num_cpus": 1, "max_restarts": 0, "max_task_retries": 0, "max_concurrency": ray_cluster.AT_ONCE,
        "scheduling_strategy": 2,
    }  # fmt: skip
    assert [handle._within_s for handle in handles] == [30.0] * 3


@pytest.mark.parametrize(
    ("per_node", "workers", "bundles", "at"),
    [
        (4, 12, 3, [0, 1, 2] * 4),
        (4, 5, 2, [0, 1, 0, 1, 0]),
        (4, 4, 1, [0] * 4),
        (8, 16, 1, [0] * 16),  # A single node has only 8 processors.
    ],
)
def test_so_many_workers_share_a_node(
    per_node: int, workers: int, bundles: int, at: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = with_util(Ray(*NODES), monkeypatch, ["a" * 20, "b" * 20, "c" * 20])
    handles = asyncio.run(RayCluster(ray, per_node, 30.0).place(workers))
    assert ray.calls == [("group", [{"CPU": per_node}] * bundles, "STRICT_SPREAD")]
    actors: Any = [handle._actor for handle in handles]
    assert [actor["scheduling_strategy"] for actor in actors] == at
    assert [handle.node for handle in handles] == [["a", "b (bbbbbbbb)", "b (cccccccc)"][k] for k in at]


def test_workers_by_node_are_as_many_as_nodes_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [RayCluster(Ray(*NODES), each, 1.0).workers("auto") for each in (4, 5, 8)] == ["12", "5", "8"]
    with pytest.raises(UsageError, match="--workers-per-node 9: no node of the cluster has so many processors"):
        RayCluster(Ray(*NODES), 9, 1.0).workers("auto")
    assert RayCluster(Ray(), None, 1.0).processors == 0


@pytest.mark.parametrize(("nodes", "said"), [(NODES, "3 of 24 on 3 nodes"), ((), "0 of 0 on 0 nodes")])
def test_without_room_the_run_does_not_begin(nodes: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = with_util(Ray(*nodes, room=False), monkeypatch)
    cluster = RayCluster(ray, None, 1.0)
    with pytest.raises(UsageError) as refused:
        asyncio.run(cluster.place(30))
    assert str(refused.value) == (
        f"--cluster: 30 workers need a processor each, and {said} are free: wait until others have ended, "
        "or give fewer --workers"
    )
    cluster.release()
    cluster.release()
    assert ray.calls[1:] == [("removed", True)]


def test_what_was_told_last_is_done_before_the_nodes_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = with_util(Ray(*NODES), monkeypatch, ["a" * 20, "b" * 20])
    cluster = RayCluster(ray, None, 1.0)
    first, _ = asyncio.run(cluster.place(2))
    first.told = ["earlier", "last"]
    cluster.release()
    cluster.release()
    assert ray.calls[1:] == [("wait", ["last"], 1, ray_cluster.CLOSED_AFTER_S), ("removed", True)]


@pytest.mark.parametrize(
    ("environment", "within_s"),
    [
        (None, ray_cluster.STARTED_AFTER_S),
        ({"py_modules": [], "env_vars": {}}, ray_cluster.STARTED_AFTER_S),
        ({"py_modules": [], "pip": ["httpx"]}, ray_cluster.MADE_AFTER_S),
    ],
)
def test_a_cluster_is_joined_once(
    environment: dict[str, Any] | None, within_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = with_util(Ray(*NODES), monkeypatch)
    monkeypatch.setattr(logging.getLogger("ray"), "level", logging.INFO)
    cluster = asyncio.run(RayCluster.join("head:6379", 4, environment))
    assert (cluster._per_node, cluster._first_within_s) == (4, within_s)
    given = {"configure_logging": False, "log_to_driver": False, "runtime_env": environment}
    assert ray.calls == [("init", "head:6379", given)]
    assert logging.getLogger("ray").level == logging.ERROR
    # Ray publishes the driver's command line, which may contain a key, and prints what nodes report.
    assert ray.names == [("python -m bench", None)]
    assert ray.private.get_entrypoint_name() == "bench run --api-key secret"
    assert ray.private.listen_error_messages("all") == "all"
    ray.joined = True
    asyncio.run(RayCluster.join("head:6379", None))
    assert len(ray.calls) == 1


def test_this_machine_s_cluster_is_started_or_found_by_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = with_util(Ray(*NODES), monkeypatch)
    asyncio.run(RayCluster.join("ray", None))
    assert ray.calls[0][1] is None


@pytest.mark.parametrize(
    "error", [RayError, ConnectionError, TimeoutError, RuntimeError, ValueError, OSError, ImportError]
)
def test_a_cluster_that_cannot_be_joined_is_named_with_what_ray_says(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray: Any = with_util(Ray(*NODES), monkeypatch)
    ray.error = error("no\n such  head")
    with pytest.raises(UsageError, match="--cluster head:1: Ray says: no such head"):
        asyncio.run(RayCluster.join("head:1", None))


def test_without_ray_a_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"--cluster needs Ray: pip install 'ray\[client\]', here and on every node"):
        asyncio.run(RayCluster.join("ray", None))


@pytest.mark.parametrize("name", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", None])
def test_a_token_is_named_where_there_is_none(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(variable, raising=False)
    if name is not None:
        monkeypatch.setenv(name, "x")
    ray: Any = with_util(Ray(*NODES), monkeypatch)
    ray.error = RayError("x" * 501)
    with pytest.raises(UsageError) as refused:
        asyncio.run(RayCluster.join("head:1", None))
    said = str(refused.value)
    assert said.startswith(f"--cluster head:1: Ray says: {'x' * 500}")
    assert said.endswith("(docs/cluster.md)" if name is None else "x" * 500)
