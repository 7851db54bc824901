"""A load over several addresses in virtual time: which address gets which request, sticky sessions, and an address that
dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.clock import LoopClock
from bench.records import Outcome, RequestRecord
from bench.transport.balance import LOST_IN_A_ROW, Balance
from bench.transport.scripted import ScriptedReply, ScriptedTransport
from bench.transport.several import SeveralTargets
from bench.workload import Request, TurnPlace
from tests.support.virtual_time import VirtualTimeLoop, run_virtual

MS = 1_000_000
S = 1000 * MS
Script = Callable[[Request], ScriptedReply]


def good(request: Request) -> ScriptedReply:
    return ScriptedReply(ttft_ns=5 * MS, gaps_ns=(MS, MS))


def request(index: int, place: TurnPlace | None = None, session: str | None = None) -> Request:
    return Request(
        id=f"r-{index}",
        index=index,
        session=session,
        place=place,
        body=b"{}",
        stream=True,
        input_tokens_asked=1,
        output_tokens_asked=3,
    )


def turn(session: int, turn: int, turns: int) -> TurnPlace:
    return TurnPlace(number=session, turn=turn, turns=turns, job=turn, job_step=0, job_steps=1)


class Fleet:
    """Scripted servers, and the transport over all of them."""

    def __init__(self, *scripts: Script, kind: str = "round_robin", keeps_sessions: bool = True) -> None:
        self.clock = LoopClock()
        self.servers = [ScriptedTransport(script, self.clock) for script in scripts]
        balance = Balance(kind, [1.0] * len(scripts))  # type: ignore[arg-type]
        self.transport = SeveralTargets(self.servers, balance, self.clock, keeps_sessions=keeps_sessions)
        self.records: list[RequestRecord] = []

    async def send(self, sent: Request, after_ns: int = 0) -> None:
        """Send the request, and continue after this time."""
        now = self.clock.now_ns()
        self.transport.start(sent, now, now, self.records.append)
        await asyncio.sleep(after_ns / S)

    @property
    def got(self) -> list[list[int]]:
        """The request numbers of each server."""
        return [[sent.index for sent, _ in server.started] for server in self.servers]


def test_requests_take_turns_and_every_one_has_a_record() -> None:
    async def load(loop: VirtualTimeLoop) -> None:
        fleet = Fleet(good, good, good)
        for index in range(7):
            await fleet.send(request(index))
        await asyncio.sleep(1)
        assert fleet.got == [[0, 3, 6], [1, 4], [2, 5]]
        assert Counter(record.outcome for record in fleet.records) == {Outcome.OK: 7}

    run_virtual(load)


def test_the_least_loaded_gets_what_a_slow_one_has_no_room_for() -> None:
    def slow(request: Request) -> ScriptedReply:
        return ScriptedReply(ttft_ns=1 * S)

    async def load(loop: VirtualTimeLoop) -> None:
        fleet = Fleet(good, slow, kind="least_in_flight")
        for index in range(40):
            await fleet.send(request(index), 10 * MS)
        fast, stuck = fleet.got
        assert len(fast) > 30
        assert len(stuck) == 40 - len(fast)

    run_virtual(load)


@pytest.mark.parametrize("keeps", [True, False])
def test_a_session_keeps_its_address_unless_it_need_not(keeps: bool) -> None:
    async def load(loop: VirtualTimeLoop) -> None:
        fleet = Fleet(good, good, good, keeps_sessions=keeps)
        for number in range(3):
            for session in (0, 1, 2, 3):
                await fleet.send(request(10 * session + number, turn(session, number, 3)), 10 * MS)
        homes = [{index // 10 for index in indexes} for indexes in fleet.got]
        assert (homes == [{0, 3}, {1}, {2}]) is keeps
        assert not fleet.transport._of_session  # Ended sessions are forgotten.

    run_virtual(load)


def test_rows_of_one_named_session_go_together() -> None:
    async def load(loop: VirtualTimeLoop) -> None:
        fleet = Fleet(good, good)
        for index, name in enumerate("abcabc"):
            await fleet.send(request(index, session=name))
        assert fleet.got == [[0, 3, 2, 5], [1, 4]] or fleet.got == [[0, 2, 3, 5], [1, 4]]

    run_virtual(load)


def test_an_address_that_dies_fails_its_requests_and_the_others_go_on() -> None:
    died_at = 20

    def dying(request: Request) -> ScriptedReply:
        gone = request.index >= died_at
        return ScriptedReply(ttft_ns=MS, failed=Outcome.CONNECT_ERROR if gone else None)

    async def load(loop: VirtualTimeLoop) -> None:
        fleet = Fleet(good, dying, good)
        for index in range(320):
            await fleet.send(request(index), 20 * MS)
        await asyncio.sleep(1)
        failed = [record for record in fleet.records if record.outcome is Outcome.CONNECT_ERROR]
        assert len(fleet.records) == 320
        # Three before the address is out, then one after 1 s and one 2 s later.
        assert len(failed) == LOST_IN_A_ROW + 2
        assert Counter(record.outcome for record in fleet.records)[Outcome.OK] == 320 - len(failed)

    run_virtual(load)


def test_a_server_that_refuses_stays_in() -> None:
    def refusing(request: Request) -> ScriptedReply:
        return ScriptedReply(ttft_ns=MS, failed=Outcome.TRUNCATED)

    async def load(loop: VirtualTimeLoop) -> None:
        fleet = Fleet(good, refusing)
        for index in range(20):
            await fleet.send(request(index), 20 * MS)
        assert [len(got) for got in fleet.got] == [10, 10]

    run_virtual(load)


def test_replies_in_flight_are_read_from_every_address_and_all_are_cut() -> None:
    def slow(request: Request) -> ScriptedReply:
        return ScriptedReply(ttft_ns=60 * S)

    async def load(loop: VirtualTimeLoop) -> None:
        fleet = Fleet(slow, slow, slow)
        for index in range(5):
            await fleet.send(request(index))
        seen: list[list[int]] = []
        fleet.transport.read_replies(lambda replies: seen.append(sorted(reply.request.index for reply in replies)))
        assert seen == [[0, 1, 2, 3, 4]]
        await fleet.transport.close()
        assert {record.outcome for record in fleet.records} == {Outcome.INTERRUPTED}
        assert fleet.transport._balance.in_flight == [0, 0, 0]

    run_virtual(load)


class Idle(ScriptedTransport):
    """A transport that records what it is told."""

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(good, clock)
        self.told: list[object] = []

    async def open(self) -> None:
        self.told.append("open")

    async def prepare(self, connections: int) -> None:
        self.told.append(connections)

    def cut(self) -> None:
        self.told.append("cut")


@pytest.mark.parametrize(
    ("weights", "connections", "shares"),
    [((1, 1), 10, [5, 5]), ((3, 1), 10, [8, 3]), ((0.5, 0.25, 0.25), 8, [4, 2, 2]), ((1, 1, 1), 1, [1, 1, 1])],
)
def test_each_address_gets_its_share_of_the_connections_rounded_up(
    weights: tuple[float, ...], connections: int, shares: list[int]
) -> None:
    async def load(loop: VirtualTimeLoop) -> None:
        clock = LoopClock()
        servers = [Idle(clock) for _ in weights]
        transport = SeveralTargets(servers, Balance("weighted", weights), clock, keeps_sessions=False)
        await transport.open()
        await transport.prepare(connections)
        transport.cut()
        assert [server.told for server in servers] == [["open", share, "cut"] for share in shares]

    run_virtual(load)


def test_a_scripted_reply_is_a_record_of_its_script() -> None:
    async def load(loop: VirtualTimeLoop) -> None:
        clock = LoopClock()
        transport = ScriptedTransport(good, clock)
        records: list[RequestRecord] = []
        ends: list[tuple[int, bool]] = []
        now = clock.now_ns()
        transport.start(request(0), now - 2, now - 1, records.append, lambda *end: ends.append(end))
        await asyncio.sleep(1)
        (record,) = records
        assert (record.outcome, record.status, record.clock, record.attempts) == (Outcome.OK, 200, "user", 1)
        assert (record.intended_ns, record.eligible_ns, record.sent_ns, record.connect_ns) == (now - 2, now - 1, now, 0)
        assert record.first_byte_ns == now + 5 * MS
        # Three tokens, the end, the count, and that it was all.
        assert record.chunk_ns == tuple(now + ms * MS for ms in (5, 6, 7, 7, 7, 7))
        assert (record.chunk_kind, record.input_tokens, record.output_tokens) == ("cccouo", 1, 3)
        assert record.end_ns == now + 7 * MS
        assert ends == [(now + 7 * MS, True)]
        sizes = (3 * len(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'),
                 len(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'),
                 len(b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":3}}\n\n'),
                 len(b"data: [DONE]\n\n"))  # fmt: skip
        assert record.bytes_received == sum(sizes)
        assert (transport.started, transport.in_flight_max) == ([(request(0), now)], 1)

    run_virtual(load)


def test_a_scripted_failure_has_no_reply() -> None:
    def failing(request: Request) -> ScriptedReply:
        return ScriptedReply(ttft_ns=3 * MS, gaps_ns=(MS,), failed=Outcome.RESET)

    async def load(loop: VirtualTimeLoop) -> None:
        fleet = Fleet(failing)
        await fleet.send(request(0), S)
        (record,) = fleet.records
        assert (record.outcome, record.status, record.first_byte_ns, record.chunk_ns) == (Outcome.RESET, None, None, ())
        assert record.sent_ns is not None
        assert record.end_ns - record.sent_ns == 4 * MS

    run_virtual(load)


@pytest.mark.parametrize(
    ("after_ms", "outcome", "status", "chunks"),
    [
        (4, Outcome.CANCELLED, None, []),
        (5, Outcome.CANCELLED, 200, [5]),
        (6, Outcome.CANCELLED, 200, [5, 6]),
        (7, Outcome.OK, 200, [5, 6, 7, 7, 7, 7]),  # The reply is complete when its user would have left.
        (8, Outcome.OK, 200, [5, 6, 7, 7, 7, 7]),
    ],
)
def test_a_user_who_leaves_has_what_the_script_has_sent_so_far(
    after_ms: int, outcome: Outcome, status: int | None, chunks: list[int]
) -> None:
    async def load(loop: VirtualTimeLoop) -> None:
        fleet = Fleet(good)
        await fleet.send(replace(request(0), cancel_after_ns=after_ms * MS), S)
        (record,) = fleet.records
        sent_ns = record.sent_ns
        assert sent_ns is not None
        assert (record.outcome, record.status) == (outcome, status)
        assert record.chunk_ns == tuple(sent_ns + ms * MS for ms in chunks)
        assert record.first_byte_ns == (sent_ns + 5 * MS if chunks else None)
        assert record.end_ns == sent_ns + min(after_ms, 7) * MS

    run_virtual(load)
