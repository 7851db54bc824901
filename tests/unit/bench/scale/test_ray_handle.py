"""How a call of an actor ends, without Ray: an answer, a timeout, or an error from Ray."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bench.scale.cluster import ray_cluster
from bench.scale.cluster.ray_cluster import RayHandle
from bench.scale.cluster.remote_worker import NodeLostError


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class RuntimeEnvSetupError(RayError):
    pass


RAY = ModuleType("ray")
vars(RAY)["exceptions"] = SimpleNamespace(
    RayError=RayError, RayTaskError=RayTaskError, RuntimeEnvSetupError=RuntimeEnvSetupError
)


class Actor:
    """Its one method answers with these futures, one after the other."""

    def __init__(self, *futures: Future[Any]) -> None:
        self._futures = iter(futures)
        self.take = SimpleNamespace(remote=lambda *_: SimpleNamespace(future=lambda: next(self._futures)))


def failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def test_only_the_first_answer_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "LOST_AFTER_S", 0.01)
    slow: Future[Any] = Future()

    async def main() -> None:
        handle = RayHandle(RAY, Actor(slow, Future()), "a", first_within_s=60)
        asyncio.get_running_loop().call_later(0.05, slow.set_result, "here")
        assert await handle.call("take") == "here"
        with pytest.raises(NodeLostError, match=r"has not answered for 0 s"):
            await handle.call("take")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RayError("The actor failed to import"), "finds no trueload there: leave out --runtime-env none"),
        (RuntimeEnvSetupError("Failed to set up runtime environment.\nCould not  find a version of nix"),
         "cannot make the environment of --runtime-env: Failed to set up runtime environment. Could not find a version"),
        (RayError("the actor died"), r"was lost with its node \(RayError\)"),
        (ConnectionError("gone"), r"was lost with its node \(ConnectionError\)"),
    ],
)  # fmt: skip
def test_what_ray_says_becomes_a_sentence(error: Exception, said: str) -> None:
    async def main() -> None:
        await RayHandle(RAY, Actor(failed(error)), "a").call("take")

    with pytest.raises(NodeLostError, match=said):
        asyncio.run(main())


def test_a_defect_of_ours_on_a_node_is_told_as_it_is() -> None:
    async def main() -> None:
        await RayHandle(RAY, Actor(failed(RayTaskError("KeyError"))), "a").call("take")

    with pytest.raises(RayTaskError):
        asyncio.run(main())


def test_the_answers_of_the_last_orders_are_kept_and_a_lost_actor_hears_nothing() -> None:
    handle = RayHandle(RAY, SimpleNamespace(send=SimpleNamespace(remote=lambda number: number)), "a")
    for number in range(12):
        handle.tell("send", number)
    assert handle.told == [*range(3, 12)]

    def lost(number: int) -> None:
        raise RayError

    handle._actor = SimpleNamespace(send=SimpleNamespace(remote=lost))
    handle.tell("send", 12)
    assert handle.told == [*range(3, 12)]
