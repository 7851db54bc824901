"""The received parts of unfinished replies are counted once per second."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest

from bench.clock import NS_PER_MS, NS_PER_S, LoopClock, sleep_until
from bench.load.live import Live, LoadGoal
from bench.load.progress_tally import ProgressTally
from bench.load.replies_in_flight import LEAD_NS, Arrived, Counted, RepliesInFlight
from bench.records import Outcome
from bench.records.request_record import Phase
from bench.transport.exchange import Exchange
from bench.transport.interface import Reading, ReplyInFlight
from bench.workload import Request
from tests.support.made_records import made_record
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual

COUNTS = {"planned": 2, "sent": 2, "done": 0, "in_flight": 2}


def request(number: int, phase: Phase = "run") -> Request:
    return Request(
        id=f"r{number}", index=number, phase=phase, body=b"{}", stream=True,
        input_tokens_asked=None, output_tokens_asked=None,
    )  # fmt: skip


@dataclass
class Reply:
    request: Request
    tokens_so_far: int = 0
    ttft_ns: int | None = None


class Replies:
    """A transport that has read these replies. `reads`: the instants at which the counts were requested from it."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self.replies = list(replies)
        self.reads: list[int] = []

    def read_replies(self, then: Callable[[Iterable[ReplyInFlight]], None]) -> None:
        self.reads.append(LoopClock().now_ns())
        then(cast("list[ReplyInFlight]", self.replies))


def test_tokens_are_told_once_and_the_first_of_each_reply_with_its_time() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[Arrived], list[int], list[Counted]]:
        early, late = Reply(request(0)), Reply(request(1, "warmup"))
        transport, told = Replies([early, late]), list[Arrived]()
        counts = RepliesInFlight(cast("Any", transport), LoopClock(), told.append)
        counts.start(START_NS)
        early.tokens_so_far, early.ttft_ns = 3, 20 * NS_PER_MS
        await sleep_until(LoopClock(), START_NS + NS_PER_S)
        early.tokens_so_far = 10
        late.tokens_so_far, late.ttft_ns = 1, 1500 * NS_PER_MS
        await sleep_until(LoopClock(), START_NS + 2 * NS_PER_S)
        await sleep_until(LoopClock(), START_NS + 3 * NS_PER_S)
        ended = [counts.take(one) for one in ("r0", "r1", "r0", "r7")]
        counts.stop()
        await sleep_until(LoopClock(), START_NS + 5 * NS_PER_S)
        return told, transport.reads, ended

    told, reads, ended = run_virtual(main)
    assert told == [
        Arrived("run", 3, (20 * NS_PER_MS,)),
        Arrived("run", 7, ()),
        Arrived("warmup", 1, (1500 * NS_PER_MS,)),
        Arrived("run", 0, ()),
        Arrived("warmup", 0, ()),
    ]
    assert reads == [START_NS + second * NS_PER_S - LEAD_NS for second in (1, 2, 3)]
    assert ended == [Counted(10, True), Counted(1, True), Counted(), Counted()]


def test_what_was_counted_in_flight_is_not_counted_again_at_the_end() -> None:
    async def main(loop: VirtualTimeLoop) -> list[tuple[int, int, float | None]]:
        live = Live(LoopClock(), lambda at_ns: dict(COUNTS), LoadGoal(requests=10))
        live.start()
        seconds = []

        def second(number: int) -> None:
            live.numbers(START_NS + number * NS_PER_S)
            of = live.second()
            ttft = of.latencies.get("ttft")
            seconds.append((of.output_tokens, of.succeeded, None if ttft is None else ttft.p50))

        live.arrive(Arrived("run", 2, (50 * NS_PER_MS,)))
        second(1)
        live.add(made_record(0, chunks_ms=(50, 60, 80)), Counted(2, has_first=True))
        live.add(made_record(1, chunks_ms=(70, 75, 95)), Counted())
        second(2)
        # The tokens of a failed request have arrived, but no number of ended requests counts them.
        live.arrive(Arrived("run", 4, (30 * NS_PER_MS,)))
        live.add(made_record(2, outcome=Outcome.RESET), Counted(4, has_first=True))
        second(3)
        second(4)
        return seconds

    assert run_virtual(main) == [(2, 0, 50.0), (4, 2, 70.0), (4, 0, 30.0), (0, 0, None)]


def test_a_reply_that_told_more_chunks_than_tokens_takes_nothing_from_the_next() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[int, float]:
        live = Live(LoopClock(), lambda at_ns: dict(COUNTS), LoadGoal(requests=10))
        live.start()
        live.add(made_record(0, chunks_ms=(50, 60)), Counted(5, has_first=True))
        rate = live.numbers(START_NS + NS_PER_S).output_tokens_per_s
        return live.second().output_tokens, rate

    assert run_virtual(main) == (0, 0)


def test_workers_tell_what_arrived_in_their_tallies() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[float, float]:
        live = Live(LoopClock(), lambda at_ns: dict(COUNTS), LoadGoal(requests=10))
        live.start()
        phases: tuple[tuple[Phase, int], ...] = (("run", 30), ("warmup", 12))
        for phase, tokens in phases:
            tally = ProgressTally()
            tally.arrive(Arrived(phase, tokens, (40 * NS_PER_MS,)))
            live.merge(tally)
        now = live.numbers(START_NS + 2 * NS_PER_S)
        return now.output_tokens_per_s, now.latencies["ttft"].p50

    assert run_virtual(main) == (21, 40)


def event(text: str, usage: int | None = None) -> bytes:
    said = "" if usage is None else f',"usage":{{"completion_tokens":{usage},"prompt_tokens":1}}'
    return f'data: {{"choices":[{{"delta":{{"content":"{text}"}}}}]{said}}}\n\n'.encode()


@pytest.mark.parametrize(("usage", "tokens"), [((None, None), 2), ((3, 7), 7)])
def test_an_exchange_says_how_many_tokens_it_has_read_and_when_the_first_came(
    usage: tuple[int | None, int | None], tokens: int
) -> None:
    exchange = Exchange(request(0), 0, 0, Reading(), clock="kernel")
    exchange.mark_sent(1_000)
    exchange.head(200, "text/event-stream", "", None)
    assert (exchange.tokens_so_far, exchange.ttft_ns) == (0, None)
    exchange.feed(b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n', 4_000, 4_000)
    for number, said in enumerate(usage):
        exchange.feed(event("x", said), 6_000 + number, 6_000)
    assert exchange.tokens_so_far == 0
    exchange.digest()
    assert (exchange.tokens_so_far, exchange.ttft_ns) == (tokens, 5_000)
