"""The tasks of the httpx transport, without httpx: every one ends in a record, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.clock import LoopClock
from bench.records import Outcome, RequestRecord
from bench.transport.exchange import Exchange
from bench.transport.httpx_transport import HttpxTransport
from bench.transport.interface import Reading, Target
from bench.workload import Request
from tests.support.virtual_time import VirtualTimeLoop, run_virtual

MS = 1_000_000
Attempt = Callable[[Exchange], Coroutine[Any, Any, tuple[Outcome | None, str | None]]]


class Run:
    """A transport whose attempts are scripted, its records, and what the loop was told."""

    def __init__(self, attempt: Attempt, **target: Any) -> None:
        self.clock = LoopClock()
        self.transport = HttpxTransport(Target(url="http://h/", **target), Reading(), self.clock)
        self.transport._client = cast("Any", SimpleNamespace(aclose=self._aclose))
        self.transport._attempt = attempt  # type: ignore[method-assign, assignment]
        self.records: list[RequestRecord] = []
        self.ends: list[tuple[int, bool]] = []
        self.told: list[dict[str, Any]] = []
        self.closed = 0
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.told.append(context))

    async def _aclose(self) -> None:
        self.closed += 1

    def start(self, cancel_after_ns: int | None = None) -> None:
        request = Request(
            id="r", index=0, body=b"{}", stream=True, input_tokens_asked=None, output_tokens_asked=None,
            cancel_after_ns=cancel_after_ns,
        )  # fmt: skip
        self.transport.start(request, 1, 2, self.records.append, lambda *end: self.ends.append(end))


async def hangs(exchange: Exchange) -> tuple[Outcome | None, str | None]:
    exchange.mark_sent(LoopClock().now_ns())
    await asyncio.get_running_loop().create_future()
    raise AssertionError


def test_a_cut_ends_what_is_in_flight_and_a_close_waits_for_it() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        run = Run(hangs)
        run.start()
        run.start()
        await asyncio.sleep(0.001)
        told: list[list[str]] = []
        run.transport.read_replies(lambda replies: told.append([reply.request.id for reply in replies]))
        assert told == [["r", "r"]]
        await run.transport.close()
        await asyncio.sleep(0)
        assert [(record.outcome, record.error) for record in run.records] == [
            (Outcome.INTERRUPTED, "cut when the run was stopped")
        ] * 2
        assert [whole for _, whole in run.ends] == [False, False]
        assert (run.closed, run.told, run.transport._tasks) == (1, [], {})
        await run.transport.close()
        assert run.closed == 2

    run_virtual(main)


def test_a_defect_of_ours_ends_its_request_and_is_told_to_the_loop() -> None:
    async def defective(exchange: Exchange) -> tuple[Outcome | None, str | None]:
        raise ZeroDivisionError

    async def main(loop: VirtualTimeLoop) -> None:
        run = Run(defective)
        run.start()
        await asyncio.sleep(0.001)
        (record,) = run.records
        assert (record.outcome, record.error) == (
            Outcome.INTERRUPTED, "a defect of the load tester ended this request",
        )  # fmt: skip
        (told,) = run.told
        assert (told["message"], type(told["exception"])) == (record.error, ZeroDivisionError)

    run_virtual(main)


@pytest.mark.parametrize(
    ("total_ms", "leaves_ms", "outcome", "after_ms"),
    [
        (5, None, Outcome.TIMEOUT_TOTAL, 5),
        (None, 3, Outcome.CANCELLED, 3),
        (5, 3, Outcome.CANCELLED, 3),
        (3, 5, Outcome.TIMEOUT_TOTAL, 3),
    ],
)
def test_a_request_ends_with_the_total_limit_or_when_its_user_leaves(
    total_ms: int | None, leaves_ms: int | None, outcome: Outcome, after_ms: int
) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        run = Run(hangs, timeout_total_ns=None if total_ms is None else total_ms * MS)
        begins_ns = run.clock.now_ns()
        run.start(None if leaves_ms is None else leaves_ms * MS)
        await asyncio.sleep(1)
        (record,) = run.records
        why = "the request took longer than the total timeout" if outcome is Outcome.TIMEOUT_TOTAL else None
        assert (record.outcome, record.error, record.end_ns - begins_ns) == (outcome, why, after_ms * MS)
        assert not run.transport._left
        assert not run.transport._timed_out

    run_virtual(main)


@pytest.mark.parametrize(
    ("after_ms", "sent", "attempts", "outcome"),
    [(0, True, 2, Outcome.OK), (10_000, True, 1, Outcome.RESET), (0, False, 1, Outcome.OK)],
)
def test_a_request_whose_kept_connection_was_dead_is_sent_again_once(
    after_ms: int, sent: bool, attempts: int, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.transport.httpx_transport._was_stale", lambda exchange: True)
    tried: list[int] = []

    async def main(loop: VirtualTimeLoop) -> None:
        async def attempt(exchange: Exchange) -> tuple[Outcome | None, str | None]:
            tried.append(exchange.attempts)
            if sent or len(tried) > 1:
                exchange.mark_sent(run.clock.now_ns())
            await asyncio.sleep(after_ms / 1000)
            if len(tried) == 1:
                return Outcome.RESET, "dead"
            exchange.first_byte_ns = exchange.last_read_ns = run.clock.now_ns()
            exchange.head(200, "text/event-stream", "", None)
            exchange.feed(b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n', 5, 5)
            exchange.feed(b"data: [DONE]\n\n", 5, 5)
            return None, None

        run = Run(attempt)
        run.start()
        await asyncio.sleep(60)
        (record,) = run.records
        assert (record.outcome, record.attempts) == (outcome, attempts)
        assert tried == ([1, 2] if attempts == 2 else [1, 1] if not sent else [1])

    run_virtual(main)
