"""Faults of connections: which connections are held or refused, and what happens to the listening socket."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from mockserver.faults import parse_rule
from mockserver.http import connection_faults
from mockserver.http.connection_faults import ConnectionFaults, ListenerSwitch

S = 1_000_000_000


def faults_of(*rules: str, arrivals: int = 0) -> ConnectionFaults:
    """The faults of a worker whose rules apply from second 100."""
    taken = {"connections": 0, "arrivals": arrivals}

    def take(name: str) -> int:
        taken[name] += 1
        return taken[name] - 1

    current = SimpleNamespace(since_ns=100 * S, config=SimpleNamespace(seed=1, fault=tuple(map(parse_rule, rules))))
    worker = SimpleNamespace(
        sync=lambda: None, settings=SimpleNamespace(current=current), shared=SimpleNamespace(take=take, taken=taken.get)
    )
    app: Any = SimpleNamespace(state=SimpleNamespace(worker=worker))
    return ConnectionFaults(app)


@pytest.mark.parametrize(
    ("rules", "held_ms"),
    [
        ((), [0, 0, 0]),
        (("reset", "refuse:skip=0"), [0, 0, 0]),
        (("slow_accept:for=30ms",), [30, 30, 30]),
        (("reset", "slow_accept:for=30ms,index=1", "slow_accept:for=50ms"), [50, 30, 50]),
        (("slow_accept:for=30ms,rate=0",), [0, 0, 0]),
        (("slow_accept:for=30ms,from=6s",), [0, 0, 0]),
        (("slow_accept:for=30ms,from=5s,skip=1",), [0, 30, 30]),
    ],
)
def test_a_connection_is_held_by_the_first_rule_that_hits_its_number(
    rules: tuple[str, ...], held_ms: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_faults, "now_ns", lambda: 105 * S)
    faults = faults_of(*rules)
    assert [faults.hold_ns() for _ in held_ms] == [ms * 1_000_000 for ms in held_ms]


@pytest.mark.parametrize(
    ("rules", "arrivals", "refuses"),
    [
        ((), 0, False),
        (("slow_accept:for=30ms",), 0, False),
        (("refuse:from=5s,until=6s",), 0, True),
        (("refuse:from=4s,until=5s",), 0, False),
        (("refuse:skip=3",), 2, False),
        (("refuse:skip=3",), 3, True),
    ],
)
def test_connections_are_refused_between_two_times_or_behind_so_many_requests(
    rules: tuple[str, ...], arrivals: int, refuses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_faults, "now_ns", lambda: 105 * S)
    assert faults_of(*rules, arrivals=arrivals).refuses() is refuses


class Listening:
    """A listening socket, or a connection: records its calls."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.close = self.shutdown = lambda: self.said.append("closed")


def test_a_refusing_server_listens_no_more_until_it_can_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listening, connection = Listening(), Listening()
    made: dict[str, Any] = {}
    config = SimpleNamespace(backlog=7, http_protocol_class=lambda **given: given)
    server: Any = SimpleNamespace(
        servers=[listening],
        config=config,
        server_state=SimpleNamespace(connections={connection}),
        lifespan=SimpleNamespace(state="state"),
    )
    refuses = iter([False, True, True, False, False, False])
    faults: Any = SimpleNamespace(refuses=lambda: next(refuses))
    sockets = iter([OSError(98, "Address already in use"), "a socket"])

    def listen() -> Any:
        if isinstance(found := next(sockets), OSError):
            raise found
        return found

    async def main() -> None:
        async def create_server(make: Any, **how: Any) -> str:
            made.update(how, protocol=make())
            return "listening again"

        monkeypatch.setattr(asyncio.get_running_loop(), "create_server", create_server, raising=False)
        switch = ListenerSwitch(server, faults, listen)
        await switch.tick()
        assert (listening.said, connection.said) == ([], [])
        for _ in range(2):
            await switch.tick()
            assert (server.servers, listening.said, connection.said) == ([], ["closed"], ["closed"])
        await switch.tick()
        assert caplog.messages == ["cannot listen again: Address already in use; will retry"]
        for _ in range(2):
            await switch.tick()
            assert server.servers == ["listening again"]

    asyncio.run(main())
    assert made.pop("protocol") == {"config": config, "server_state": server.server_state, "app_state": "state"}
    assert made == {"sock": "a socket", "backlog": 7}
