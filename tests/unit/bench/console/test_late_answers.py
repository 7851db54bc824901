"""Answers that come late, in virtual time: wrong tokens, and the events of a task that goes on."""

from __future__ import annotations

from typing import Any, cast

import pytest
from starlette.types import Message, Receive, Scope, Send

from bench.clock import NS_PER_S, LoopClock
from bench.console.api import results
from bench.console.people import proxy_of
from bench.console.security import Guard, Keys
from bench.console.service import Console
from bench.console.task import Task
from tests.support.console_process import TOKEN
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual

Answer = tuple[float, int, str | None]
"""The seconds since the beginning, the status, and Retry-After."""


async def through(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def answer(guard: Guard, token: str, address: str = "10.0.0.7", forwarded: str | None = None) -> Answer:
    seen: list[Message] = []

    async def send(message: Message) -> None:
        seen.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    headers = [(b"host", b"127.0.0.1"), (b"authorization", b"Bearer " + token.encode())]
    if forwarded is not None:
        headers.append((b"x-forwarded-for", forwarded.encode()))
    scope = {"type": "http", "method": "GET", "path": "/api/tasks", "query_string": b"", "headers": headers,
             "client": (address, 1)}  # fmt: skip
    await guard(scope, receive, send)
    after = {name.decode(): value.decode() for name, value in seen[0]["headers"]}.get("retry-after")
    return (LoopClock().now_ns() - START_NS) / NS_PER_S, seen[0]["status"], after


def test_after_three_wrong_tokens_answers_come_a_second_later_and_after_ten_not_at_all_for_a_minute() -> None:
    said: list[str] = []

    async def main(loop: VirtualTimeLoop) -> list[Answer]:
        guard = Guard(through, Keys(TOKEN), host="127.0.0.1", cookie="c", say=said.append)
        answers = [await answer(guard, "wrong") for _ in range(11)]
        answers.append(await answer(guard, TOKEN))
        answers.append(await answer(guard, TOKEN, "10.0.0.8"))
        loop.charge(58_500_000_000)
        answers.append(await answer(guard, TOKEN))
        loop.charge(500_000_000)
        answers.append(await answer(guard, TOKEN))
        return answers

    assert run_virtual(main) == [
        (0, 401, None), (0, 401, None), (0, 401, None), *((second, 401, None) for second in range(1, 8)),
        (7, 429, "59"), (7, 429, "59"), (7, 299, None), (65.5, 429, "1"), (66, 299, None),
    ]  # fmt: skip
    assert said == ["10 wrong tokens from 10.0.0.7: locked out for 60 s"]


def test_behind_a_proxy_the_sender_that_it_names_is_locked_out_alone() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        proxy = proxy_of("10.0.0.9", "X-User")
        guard = Guard(through, Keys(TOKEN), host="127.0.0.1", cookie="c", proxy=proxy, say=lambda sentence: None)
        for _ in range(10):
            await answer(guard, "wrong", "10.0.0.9", "203.0.113.7")
        return [(await answer(guard, TOKEN, "10.0.0.9", sender))[1] for sender in ("203.0.113.7", "203.0.113.8")]

    assert run_virtual(main) == [429, 299]


def test_the_events_of_a_task_are_looked_for_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(["running", "running", "draining", "ended"])
    looked: list[float] = []

    async def at_once(function: Any, *of: object) -> object:
        return function(*of)

    class Seen:
        def task(self, name: str) -> Task:
            looked.append((LoopClock().now_ns() - START_NS) / NS_PER_S)
            return Task(id=name, state=next(states))

        def followed_live(self, name: str, run: str | None, after: int, position: int | None) -> tuple[list[Any], int]:
            return [], 0

        class ending:
            @staticmethod
            def is_set() -> bool:
                return False

    async def main(loop: VirtualTimeLoop) -> list[str | None]:
        return [event.event async for event in results._events(cast(Console, Seen()), "a", 0, None)]

    monkeypatch.setattr(results, "run_in_threadpool", at_once)
    assert run_virtual(main) == ["task", "task", "task"]
    assert looked == [0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize("run", ["01", None])
def test_whoever_followed_a_run_of_a_series_that_is_over_hears_of_no_other(
    run: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(function: Any, *of: object) -> object:
        return function(*of)

    class Seen:
        def task(self, name: str) -> Task:
            return Task(id=name, state="ended")

        def followed_live(self, name: str, run: str | None, after: int, position: int | None) -> tuple[list[Any], int]:
            return [], 0

    async def main(loop: VirtualTimeLoop) -> list[str | None]:
        return [event.event async for event in results._events(cast(Console, Seen()), "a", 0, run)]

    monkeypatch.setattr(results, "run_in_threadpool", at_once)
    assert run_virtual(main) == ["task"]
