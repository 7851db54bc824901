"""Ordinary requests served without the application get the same bytes and the same ledger lines."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mockserver.cli import read_arguments
from mockserver.clock import now_ns
from mockserver.generation import most_tokens
from mockserver.http.app import create_app
from mockserver.http.exchange import Exchange
from mockserver.http.protocol import MockProtocol
from tests.support.mock_protocol import Mock, request
from tests.support.virtual_time import VirtualTimeLoop, run_virtual

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
TO_THE_APPLICATION = {"te": "trailers"}
"""A header that does not change the answer, and rules out the short path."""
QUICK = ("--ttft", "0ms", "--tpot", "0ms", "--output-tokens", "9")
ALWAYS = ("--max-model-len", "200", "--model", "one", "--model", "two")


def is_plain(protocol: MockProtocol) -> bool:
    """Whether the last request is served without the application."""
    return protocol.exchange is not None and protocol.exchange.is_plain


def is_complete(protocol: MockProtocol) -> bool:
    """Whether the response to the last request is complete."""
    return protocol.exchange is not None and protocol.exchange.complete


def with_mock(call: Callable[[Mock], Awaitable[None]], *flags: str) -> None:
    async def main() -> None:
        app = create_app(read_arguments([*ALWAYS, *(() if "batching" in flags else QUICK), *flags]))
        async with app.router.lifespan_context(app):
            await call(Mock(app))

    asyncio.run(main())


def told(answer: bytes) -> bytes:
    """An answer without the parts that depend on the time."""
    return re.sub(rb'"created":\d+', b'"created":0', answer)


def kept(line: dict[str, Any]) -> dict[str, Any]:
    """A ledger line without its times and the number of its attempt."""
    return {**line, "received_ns": 0, "handled_ns": 0, "end_ns": 0, "attempt": 0, "write_ns": len(line["write_ns"])}


async def both_ways(mock: Mock, path: str, body: bytes, headers: dict[str, str]) -> bool:
    """Whether the request took the short path. Checks that both paths answer alike."""
    answer, plain = await mock.ask(path, body, headers)
    line = await mock.line()
    again, through_application = await mock.ask(path, body, {**headers, **TO_THE_APPLICATION})
    assert not through_application
    assert told(answer) == told(again)
    assert kept(line) == kept(await mock.line())
    return plain


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["word " * 60, "x" * 500, "x" * 9000])
ODD: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})
)


Strategy = st.SearchStrategy[Any]


def as_it_is(usual: Strategy) -> Strategy:
    return usual


def now_and_then_odd(usual: Strategy) -> Strategy:
    return st.integers(0, 99).flatmap(lambda n: ODD if 40 < n < 50 else usual)


def bodies(endpoint: str, some: Callable[[Strategy], Strategy]) -> Strategy:
    """Bodies of an endpoint, each of whose values `some` may replace."""
    roles = some(st.sampled_from(["user", "system", "assistant", "robot"]))
    message = st.fixed_dictionaries({"role": roles, "content": some(TEXTS)}, optional={"name": some(TEXTS)})
    prompt = {"prompt": some(TEXTS)}
    if endpoint == CHAT:
        prompt = {
            "messages": some(st.lists(message | st.just({"role": "user", "content": "x"}), min_size=1, max_size=3))
        }
    usage = st.fixed_dictionaries({}, optional={"include_usage": some(st.booleans())})
    optional = {
        "max_tokens": some(st.integers(1, 12)),
        "max_completion_tokens": some(st.integers(1, 12)),
        "model": some(st.sampled_from(["one", "two"])),
        "stream_options": some(usage),
        "temperature": some(st.floats(0, 2)),
        "ignore_eos": ODD,
    }
    return st.fixed_dictionaries({"stream": some(st.just(True)), **prompt}, optional=optional)


def more() -> Strategy:
    """Fields that need the application."""
    names = {"stop": TEXTS, "n": st.integers(0, 2), "seed": ODD, "user": TEXTS, "min_tokens": st.integers(0, 20)}
    return st.fixed_dictionaries({}, optional=names)


PLAIN = {
    CHAT: {"messages": [{"role": "user", "content": "x"}], "max_tokens": 3, "stream": True},
    COMPLETIONS: {"prompt": "x", "max_tokens": 3, "stream": True},
}


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS], ids=["chat", "completion"])
def test_both_ways_answer_any_body_alike(path: str) -> None:
    short = 0

    async def call(mock: Mock) -> None:
        number = 0

        async def one(body: dict[str, Any]) -> None:
            nonlocal number, short
            number += 1
            text = json.dumps(body).encode()  # including NaN and lone surrogates
            short += await both_ways(mock, path, text, {"X-Request-Id": f"r-{number}"})

        loop = asyncio.get_running_loop()

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(st.one_of(bodies(path, as_it_is), bodies(path, now_and_then_odd)), st.just({}) | more())
        @example(PLAIN[path], {})
        def examples(body: dict[str, Any], extra: dict[str, Any]) -> None:
            asyncio.run_coroutine_threadsafe(one({**body, **extra}), loop).result(60)

        await asyncio.to_thread(examples)

    with_mock(call)
    assert short, "not even the simplest body took the short path"


BODY = json.dumps({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5, "stream": True}).encode()
PROBE = BODY.replace(b"hello", b"What is 2 + 2? Write the number and nothing else.")
ENDLESS = json.dumps({"messages": [{"role": "user", "content": "hello"}], "stream": True}).encode()
OF_PARTS = BODY.replace(b'"hello"', b'[{"type": "text", "text": "hello"}]')


@pytest.mark.parametrize(
    ("flags", "headers", "body", "plain"),
    [
        ((), {"X-Request-Id": "a-7"}, BODY, True),
        ((), {"X-Request-Id": "no number"}, BODY, True),
        ((), {"X-Request-Id": "a-7"}, ENDLESS, True),
        (("--output-tokens", "uniform:1..9"), {"X-Request-Id": "a-7"}, ENDLESS, True),
        (("--output-tokens", "199"), {"X-Request-Id": "a-7"}, ENDLESS, False),  # More than fits into the context.
        ((), {"X-Request-Id": "a-7", "Authorization": "Bearer key", "X-Odd": "a b"}, BODY, True),
        (("--ttft", "uniform:0ms..2ms", "--itl", "exp:mean=1ms"), {"X-Request-Id": "a-8"}, BODY, True),
        (("--api-key", "key"), {"X-Request-Id": "a-7", "Authorization": "Bearer key"}, BODY, False),
        (("--api-key", "key"), {"X-Request-Id": "a-7"}, BODY, False),
        (("--fault", "stall:index=7,for=1ms"), {"X-Request-Id": "a-7"}, BODY, False),
        (("--cors", "http://page"), {"X-Request-Id": "a-7", "Origin": "http://page"}, BODY, False),
        (("--finish", "separate"), {"X-Request-Id": "a-7"}, BODY, False),
        (("--reasoning-tokens", "2"), {"X-Request-Id": "a-7"}, BODY, False),
        (("--engine", "batching"), {"X-Request-Id": "a-7"}, BODY, False),
        (("--ttft-per-input-token", "1us"), {"X-Request-Id": "a-7"}, BODY, False),
        (("--stream-interval", "2"), {"X-Request-Id": "a-7"}, BODY, True),
        (("--num-speculative-tokens", "2"), {"X-Request-Id": "a-7"}, BODY, True),
        ((), {"X-Request-Id": "a-7", "x-mock-ttft": "1ms"}, BODY, False),
        ((), {"X-Request-Id": "a-7"}, PROBE, False),
        ((), {"X-Request-Id": "a-7"}, OF_PARTS, False),
        ((), {"X-Request-Id": "a-7", "x-mock-fault": "429"}, BODY, False),
        (("--max-body-mb", "0.00002"), {"X-Request-Id": "a-7"}, BODY, False),
    ],
)
def test_configurations_and_headers(flags: tuple[str, ...], headers: dict[str, str], body: bytes, plain: bool) -> None:
    async def call(mock: Mock) -> None:
        assert await both_ways(mock, CHAT, body, headers) is plain

    with_mock(call, *flags)


HELLO = {"role": "user", "content": "hello"}


@pytest.mark.parametrize(
    ("path", "fields", "plain"),
    [
        (CHAT, [
            {}, {"max_completion_tokens": 1}, {"max_tokens": 1}, {"max_tokens": None}, {"temperature": 0},
            {"temperature": 2.0}, {"temperature": None}, {"model": "one"}, {"model": "two"}, {"model": None},
            {"stream_options": None}, {"stream_options": {}}, {"stream_options": {"include_usage": True}},
            {"messages": [HELLO, HELLO]}, {"ignore_eos": True},
        ], True),
        (CHAT, [
            {"stream": False}, {"stream": 1}, {"stream": None}, {"temperature": 2.01}, {"temperature": -0.01},
            {"temperature": True}, {"temperature": "1"}, {"model": "three"}, {"model": 5}, {"stream_options": []},
            {"stream_options": {"x": 1}}, {"stream_options": {"include_usage": 1}}, {"max_tokens": 0},
            {"max_tokens": True}, {"max_tokens": 1.0}, {"max_completion_tokens": 0}, {"max_completion_tokens": "3"},
            {"max_completion_tokens": True}, {"messages": []}, {"messages": {}}, {"messages": None},
            {"messages": [HELLO, "x"]}, {"messages": [{**HELLO, "name": "x"}]}, {"messages": [{**HELLO, "role": 5}]},
            {"messages": [{**HELLO, "content": None}]}, {"prompt": "x"}, {"stop": "x"},
        ], False),
        (COMPLETIONS, [{}, {"prompt": ""}, {"max_tokens": 12}], True),
        (COMPLETIONS, [
            {"prompt": ["x"]}, {"prompt": None}, {"prompt": [1]}, {"max_completion_tokens": 3}, {"messages": [HELLO]},
        ], False),
    ],
)  # fmt: skip
def test_each_field_decides_whether_a_request_is_ordinary(path: str, fields: list[dict[str, Any]], plain: bool) -> None:
    async def call(mock: Mock) -> None:
        for number, each in enumerate(fields):
            body = json.dumps({**PLAIN[path], **each}).encode()
            assert await both_ways(mock, path, body, {"X-Request-Id": f"r-{number}"}) is plain, each

    with_mock(call)


@pytest.mark.parametrize("tokens", [0, 1])
def test_a_request_is_ordinary_if_it_fits_into_the_context_for_sure(tokens: int) -> None:
    most = 200 - most_tokens("x")
    body = json.dumps({**PLAIN[COMPLETIONS], "max_tokens": most + tokens}).encode()

    async def call(mock: Mock) -> None:
        assert await both_ways(mock, COMPLETIONS, body, {"X-Request-Id": "r-1"}) is (tokens == 0)

    with_mock(call)


@pytest.mark.parametrize("more", [0, 1])
def test_an_ordinary_body_may_have_as_many_bytes_as_any(more: int) -> None:
    async def call(mock: Mock) -> None:
        _, plain = await mock.ask(CHAT, BODY + b" " * more, {"X-Request-Id": "r-1"})
        assert plain is (more == 0)

    with_mock(call, "--max-body-mb", f"{len(BODY) / 1e6:.6f}")


def test_a_stream_interval_joins_the_tokens_of_ordinary_requests() -> None:
    async def call(mock: Mock) -> None:
        _, plain = await mock.ask(CHAT, BODY, {"X-Request-Id": "a-7"})
        assert plain
        assert (await mock.line())["chunk_tokens"] == [0, 1, 2, 2, 0]

    with_mock(call, "--stream-interval", "2")


def test_requests_without_an_id_take_the_next_number_whichever_way_they_come() -> None:
    async def call(mock: Mock) -> None:
        ids = []
        for headers in ({}, TO_THE_APPLICATION, {}):
            answer, plain = await mock.ask(CHAT, BODY, headers)
            assert plain is not bool(headers)
            ids += re.findall(rb'"id":"chatcmpl-mock-(\d+)"', answer)[:1]
        assert ids == [b"0", b"1", b"2"]
        counts = await mock.app.state.worker.all_counts()
        assert counts["plans_keyed_by"] == {"index": 0, "id": 0, "arrival_order": 3}
        assert counts["arrival_clock"] == {"kernel": 3, "user": 0}

    with_mock(call)


def test_a_connection_changes_between_the_ways_and_keeps_its_order() -> None:
    """Requests one after another, and three in one read, which go to the parser."""

    async def call(mock: Mock) -> None:
        protocol, transport = mock.connect()
        one, odd = request(CHAT, BODY, {}), request(CHAT, BODY, TO_THE_APPLICATION)
        ways = []
        for sent, answers in ((one, 1), (odd, 1), (one, 1), (one + odd + one, 3), (one, 1)):
            before = transport.written.count(b"[DONE]")
            protocol.feed(sent, now_ns(), "kernel")
            ways.append(is_plain(protocol))
            while transport.written.count(b"[DONE]") < before + answers:
                await asyncio.sleep(0)
        assert ways == [True, False, True, False, True]
        ids = [int(n) for n in re.findall(rb'"id":"chatcmpl-mock-(\d+)"', bytes(transport.written))]
        assert ids == sorted(ids)
        assert not mock.state.tasks or not any(isinstance(task, Exchange) for task in mock.state.tasks)

    with_mock(call)


def test_a_connection_that_is_held_delays_its_requests_by_a_fault() -> None:
    async def call(mock: Mock) -> None:
        faults: Any = SimpleNamespace(hold_ns=lambda: 1_000_000)
        arrived_ns = now_ns()
        protocol, transport = mock.connect(faults)
        protocol.feed(request(CHAT, BODY, {}), arrived_ns, "kernel")
        while not transport.written.count(b"[DONE]"):
            await asyncio.sleep(0)
        line = await mock.line()
        assert line["fault"] == line["planned"]["fault"] == "slow_accept"
        assert line["planned"]["ttft_ns"] >= 1_000_000
        assert line["received_ns"] == arrived_ns

    with_mock(call)


def test_a_client_that_leaves_and_a_shutdown_cut_it_as_any_other() -> None:
    async def call(mock: Mock) -> None:
        for end, why in (("leave", "client_closed"), ("cancel", "shutdown")):
            protocol, transport = mock.connect()
            protocol.feed(request(CHAT, BODY, {}), now_ns(), "kernel")
            (task,) = mock.state.tasks
            assert isinstance(task, Exchange)
            if end == "cancel":
                task.cancel(msg="over")
                assert transport.closed
            protocol.connection_lost(None)
            line = await mock.line()
            assert (line["engine"]["cut"], line["chunk_kind"]) == (why, "")
            assert not mock.state.tasks

    with_mock(call, "--ttft", "100s")


def test_a_client_that_leaves_cuts_all_that_it_has_asked_for_ahead() -> None:
    async def call(mock: Mock) -> None:
        protocol, _ = mock.connect()
        for _ in range(2):
            protocol.feed(request(CHAT, BODY, {"X-Request-Id": "a-1"}), now_ns(), "kernel")
        assert is_plain(protocol) is False  # The second request is parsed and waits for the first.
        await asyncio.sleep(0)
        protocol.connection_lost(None)
        line = await mock.line()
        assert (line["id"], line["engine"]["cut"]) == ("a-1", "client_closed")
        assert mock.app.state.worker.running == 0

    with_mock(call, "--ttft", "100s")


def test_a_draining_mock_refuses() -> None:
    async def call(mock: Mock) -> None:
        mock.app.state.worker.drain()
        answer, plain = await mock.ask(CHAT, BODY, {})
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert not plain

    with_mock(call)


def test_an_idle_connection_is_closed_after_its_last_response_and_not_after_an_earlier_one() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        app = create_app(read_arguments([*ALWAYS, *QUICK]))
        async with app.router.lifespan_context(app):
            mock = Mock(app)
            mock.config.timeout_keep_alive = 10
            protocol, transport = mock.connect()

            async def ask() -> None:
                protocol.feed(request(CHAT, BODY, {}), now_ns(), "kernel")
                assert is_plain(protocol)
                while not is_complete(protocol):
                    await asyncio.sleep(0)

            await ask()
            await asyncio.sleep(8)
            await ask()
            ended_s = loop.time()
            await asyncio.sleep(9.9)
            assert not transport.closed
            # A connection with an unfinished response is not idle.
            protocol.feed(request(CHAT, BODY, {**TO_THE_APPLICATION}), now_ns(), "kernel")
            while not is_complete(protocol):
                await asyncio.sleep(0)
            assert loop.time() == ended_s + 9.9
            await ask()
            ended_s = loop.time()
            while not transport.closed:
                await asyncio.sleep(0.001)
            assert loop.time() == pytest.approx(ended_s + 10, abs=0.002)
            protocol.connection_lost(None)

    run_virtual(main)
