"""Ray: joining a cluster or starting one, placing the actors of the workers, and calling them.

The only file that uses Ray. It is imported by name, so that neither the rest of the bench nor its type checker needs
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import warnings
from collections.abc import Awaitable, Iterator
from concurrent.futures import Future
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from bench.errors import UsageError
from bench.scale.cluster.node_worker import NodeWorker
from bench.scale.cluster.remote_worker import NodeLostError

HERE = "ray"
"""`--cluster ray`: the cluster of RAY_ADDRESS, or the one running on this machine, or a new local one."""
LOST_AFTER_S = 60.0
"""If a call has no answer for this long, its node is lost. Calls take half a second; on a busy machine 20 s were too
few."""
STARTED_AFTER_S, MADE_AFTER_S = 120.0, 900.0
"""An actor's first answer takes longer because its process starts; longer still if Ray installs packages for it."""
PLACED_AFTER_S = 30.0
CLOSED_AFTER_S = 6.0
AT_ONCE = 8
"""Concurrent calls of one actor: one waits for a delivery, one measures the clock, others are orders."""


class _Reference(Protocol):
    """The object that a call of an actor returns at once."""

    def future(self) -> Future[object]: ...


class RayHandle:
    """The caller's side of one worker's actor."""

    def __init__(self, ray: ModuleType, actor: object, node: str, first_within_s: float = STARTED_AFTER_S) -> None:
        """`first_within_s`: time limit of the first answer."""
        self._ray = ray
        self._within_s = first_within_s
        self._actor = actor
        self.node = node
        self.told: list[object] = []
        """The last few answers that are not awaited: dropping an answer can cancel its call."""

    def call(self, method: str, *arguments: object) -> Awaitable[Any]:
        """Call a method of `NodeWorker`. Raises NodeLostError."""
        return self._answer(getattr(self._actor, method).remote(*arguments))

    async def _answer(self, reference: _Reference) -> object:
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(reference.future()), self._within_s)
        except TimeoutError:
            raise NodeLostError(f"has not answered for {self._within_s:.0f} s") from None
        except self._ray.exceptions.RayTaskError:
            raise
        except (self._ray.exceptions.RayError, ConnectionError) as e:
            if "failed to import" in str(e) or "No module named" in str(e):
                raise NodeLostError(
                    "finds no trueload there: leave out --runtime-env none, or install this version on every node"
                ) from e
            if isinstance(e, self._ray.exceptions.RuntimeEnvSetupError):
                raise NodeLostError(
                    f"cannot make the environment of --runtime-env: {_short(e)}: or install this version of trueload on "
                    "every node, and give --runtime-env none"
                ) from e
            raise NodeLostError(f"was lost with its node ({type(e).__name__})") from e
        self._within_s = LOST_AFTER_S
        return answer

    def tell(self, method: str, *arguments: object) -> None:
        """The same, without waiting for an answer."""
        with contextlib.suppress(self._ray.exceptions.RayError, ConnectionError):
            self.told = [*self.told[-AT_ONCE:], getattr(self._actor, method).remote(*arguments)]


class RayCluster:
    """A cluster that has been joined. `release` gives back what was placed."""

    def __init__(self, ray: ModuleType, per_node: int | None, first_within_s: float) -> None:
        """`per_node`: workers on each node; None: spread as Ray likes. `first_within_s`: time limit of an actor's first
        answer."""
        self._ray = ray
        self._first_within_s = first_within_s
        self._per_node = per_node
        self._group: object = None
        self._handles: list[RayHandle] = []

    @classmethod
    async def join(cls, address: str, per_node: int | None, environment: dict[str, Any] | None = None) -> RayCluster:
        """Join the cluster at this address; `environment`: what Ray creates on its nodes for our actors.

        Raises UsageError if there is no cluster, or Ray is not installed.
        """
        try:
            ray = import_module("ray")
        except ImportError:
            raise UsageError("--cluster needs Ray: pip install 'ray[client]', here and on every node") from None
        # In a thread, because Ray would replace the signal handlers, which belong to the terminal.
        await asyncio.to_thread(_connect, ray, address, environment)
        packages = environment is not None and bool(environment.keys() - {"py_modules", "env_vars"})
        return cls(ray, per_node, MADE_AFTER_S if packages else STARTED_AFTER_S)

    @property
    def processors(self) -> int:
        """Processors of all nodes, as Ray counts them."""
        return int(self._ray.cluster_resources().get("CPU", 0))

    def _nodes(self, least: int = 1) -> int:
        """How many nodes have at least this many processors."""
        return sum(
            1 for node in self._ray.nodes() if node["Alive"] and node.get("Resources", {}).get("CPU", 0) >= least
        )

    def workers(self, wanted: str) -> str:
        """The number of workers; with `per_node`, computed from the nodes. Raises UsageError if no node has room for
        that many."""
        if self._per_node is None:
            return wanted
        nodes = self._nodes(self._per_node)
        if nodes == 0:
            raise UsageError(f"--workers-per-node {self._per_node}: no node of the cluster has so many processors")
        return str(self._per_node * nodes)

    async def place(self, workers: int) -> list[RayHandle]:
        """An actor for each worker, spread over the nodes or `per_node` on each. Raises UsageError if there is no room."""
        util = import_module("ray.util")
        strategies = import_module("ray.util.scheduling_strategies")
        each = self._per_node
        if each is None:
            bundles, how = [{"CPU": 1}] * workers, "SPREAD"
        else:
            bundles, how = [{"CPU": each}] * min(-(-workers // each), self._nodes(each)), "STRICT_SPREAD"
        group = self._group = util.placement_group(bundles, strategy=how)
        if not await asyncio.to_thread(group.wait, PLACED_AFTER_S):
            free = int(self._ray.available_resources().get("CPU", 0))
            raise UsageError(
                f"--cluster: {workers} workers need a processor each, and {free} of {self.processors} on {self._nodes()} "
                "nodes are free: wait until others have ended, or give fewer --workers"
            )
        # No restarts: a restarted worker would send its load twice.
        remote = self._ray.remote(NodeWorker)
        actors = [
            remote.options(
                num_cpus=1,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=AT_ONCE,
                scheduling_strategy=strategies.PlacementGroupSchedulingStrategy(
                    group, placement_group_bundle_index=number % len(bundles)
                ),
            ).remote()
            for number in range(workers)
        ]
        places = await asyncio.to_thread(self._places, group, len(bundles))
        self._handles = [
            RayHandle(self._ray, actor, places[number % len(bundles)], self._first_within_s)
            for number, actor in enumerate(actors)
        ]
        return self._handles

    def _places(self, group: object, bundles: int) -> list[str]:
        """The node of each bundle: its name, plus its id if several nodes share the name."""
        table = import_module("ray.util").placement_group_table(group)["bundles_to_node_id"]
        nodes = {node["NodeID"]: node for node in self._ray.nodes()}
        names = [node["NodeManagerHostname"] for node in nodes.values() if node["Alive"]]

        def name(identity: str) -> str:
            host = str(nodes[identity]["NodeManagerHostname"])
            return host if names.count(host) == 1 else f"{host} ({identity[:8]})"

        return [name(table[number]) for number in range(bundles)]

    def release(self) -> None:
        """Wait until the actors have handled their last orders, and end them."""
        answers = [answer for handle in self._handles for answer in handle.told[-1:]]
        with contextlib.suppress(self._ray.exceptions.RayError, ConnectionError):
            if answers:
                self._ray.wait(answers, num_returns=len(answers), timeout=CLOSED_AFTER_S)
            if self._group is not None:
                import_module("ray.util").remove_placement_group(self._group)
        self._group, self._handles = None, []


def _connect(ray: ModuleType, address: str, environment: dict[str, object] | None) -> None:
    """Once per process: the runs of a series share the connection, and Ray disconnects when the process ends."""
    if ray.is_initialized():
        return
    # Ray warns that it cannot set signal handlers from here; that is intended.
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), _command_line_kept(), _no_messages():
            warnings.simplefilter("ignore")  # The exception also has the cause.
            ray.init(
                None if address == HERE else address,
                configure_logging=False,
                log_to_driver=False,
                runtime_env=environment,
            )
    except (
        ray.exceptions.RayError,
        ConnectionError,
        TimeoutError,
        RuntimeError,
        ValueError,
        OSError,
        ImportError,
    ) as e:
        raise UsageError(f"--cluster {address}: Ray says: {_short(e)}{_without_token()}") from e


def _without_token() -> str:
    """A possible cause if a cluster refuses the connection: Ray's own error does not always name it."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return ""
    return ". A cluster with a token needs RAY_AUTH_MODE=token and its RAY_AUTH_TOKEN here too (docs/cluster.md)"


def _short(error: BaseException) -> str:
    """Ray's message, as one sentence."""
    return " ".join(str(error).split())[:500]


@contextlib.contextmanager
def _command_line_kept() -> Iterator[None]:
    """Keep our command line from Ray, which publishes it as the job's: it may contain the API key."""
    utils: Any = import_module("ray._private.utils")
    original = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: "python -m bench"
    try:
        yield
    finally:
        utils.get_entrypoint_name = original


@contextlib.contextmanager
def _no_messages() -> Iterator[None]:
    """Keep Ray from printing what its nodes report: it would go to stdout, among our results. For a lost node it prints
    some 36 lines of a log, where the verdict has a sentence."""
    worker: Any = import_module("ray._private.worker")
    original = worker.listen_error_messages
    worker.listen_error_messages = lambda *_: None  # The body of a thread, which then ends.
    try:
        yield
    finally:
        worker.listen_error_messages = original
