"""Work that can wait until sockets have been checked, in virtual time. A due send precedes the record of a reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bench.clock import LoopClock, sleep_until
from bench.transport.work_queue import WorkQueue
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual

MS = 1_000_000


class Clock(LoopClock):
    """A clock that knows its next deadline, like a process clock."""

    def __init__(self) -> None:
        super().__init__()
        self.deadlines: list[int] = []

    def next_ns(self) -> int | None:
        return min((at for at in self.deadlines if at > self.now_ns()), default=None)

    def due(self, at_ms: int, call: Callable[[], None]) -> None:
        self.deadlines.append(START_NS + at_ms * MS)
        self.call_at(self.deadlines[-1], call)


def order(work: Callable[[WorkQueue, Clock, Callable[[str], Callable[[], None]]], None]) -> list[str]:
    """The events within a second, in order."""

    async def main(loop: VirtualTimeLoop) -> list[str]:
        clock, happened = Clock(), []
        queue = WorkQueue(clock)
        work(queue, clock, lambda what: lambda: happened.append(what))
        await sleep_until(clock, START_NS + 1000 * MS)
        return happened

    return run_virtual(main)


def test_a_record_waits_for_what_is_due_before_it_could_be_made_twice() -> None:
    def work(queue: WorkQueue, clock: Clock, happens: Callable[[str], Callable[[], None]]) -> None:
        queue.takes_ns = 5 * MS
        clock.due(9, happens("due in 9 ms"))
        clock.due(90, happens("due in 90 ms"))
        queue.later(happens("record"))

    assert order(work) == ["due in 9 ms", "record", "due in 90 ms"]


def test_a_record_does_not_wait_for_what_is_due_later_than_that() -> None:
    def work(queue: WorkQueue, clock: Clock, happens: Callable[[str], Callable[[], None]]) -> None:
        queue.takes_ns = 5 * MS
        clock.due(10, happens("due in 10 ms"))
        queue.later(happens("record"))

    assert order(work) == ["record", "due in 10 ms"]


def test_a_record_waits_once() -> None:
    def work(queue: WorkQueue, clock: Clock, happens: Callable[[str], Callable[[], None]]) -> None:
        queue.takes_ns = 5 * MS
        clock.due(4, happens("due in 4 ms"))
        clock.due(8, happens("due in 8 ms"))
        queue.later(happens("record"))

    assert order(work) == ["due in 4 ms", "record", "due in 8 ms"]


def test_a_queue_that_grows_is_worked_off_whatever_is_due() -> None:
    def work(queue: WorkQueue, clock: Clock, happens: Callable[[str], Callable[[], None]]) -> None:
        queue.takes_ns = 1000 * MS  # Falls by an eighth for each task that takes no time: to 103 ms after 17.
        clock.due(30, happens("due in 30 ms"))
        for _ in range(80):
            queue.later(happens("record"))

    # 63 tasks are few enough to wait.
    assert order(work) == ["record"] * (80 - 63) + ["due in 30 ms"] + ["record"] * 63


def test_sockets_are_looked_at_when_a_quarter_of_a_millisecond_has_passed() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        happened: list[str] = []
        queue = WorkQueue(Clock())

        def takes(ns: int) -> Callable[[], None]:
            def do() -> None:
                happened.append("record")
                loop.charge(ns)

            return do

        for ns in (150_000, 100_000, 249_999, 0, 1):
            queue.later(takes(ns))
        for _ in range(3):
            await asyncio.sleep(0)
            happened.append("sockets")
        return happened

    assert run_virtual(main) == ["record"] * 2 + ["sockets"] + ["record"] * 3 + ["sockets"] * 2


def test_what_is_left_is_done_at_the_end_and_what_fails_takes_nothing_with_it() -> None:
    failures: list[object] = []

    async def main(loop: VirtualTimeLoop) -> list[str]:
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        happened: list[str] = []
        queue = WorkQueue(Clock())
        queue.later(lambda: happened.append("first"))
        queue.later([].pop)
        queue.later(lambda: happened.append("last"))
        queue.finish()
        return happened

    assert run_virtual(main) == ["first", "last"]
    assert [type(one) for one in failures] == [IndexError]


def test_a_piece_of_work_is_taken_to_last_half_a_millisecond_at_first() -> None:
    def due_at(ns: int) -> list[str]:
        def work(queue: WorkQueue, clock: Clock, happens: Callable[[str], Callable[[], None]]) -> None:
            clock.deadlines.append(START_NS + ns)
            clock.call_at(START_NS + ns, happens("due"))
            queue.later(happens("record"))

        return order(work)

    # Twice that, and it could not be made in time.
    assert due_at(MS - 1) == ["due", "record"]
    assert due_at(MS) == ["record", "due"]


def test_how_long_work_takes_follows_what_it_took_by_an_eighth() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        queue, seen = WorkQueue(Clock()), list[int]()
        for ns in (4_500_000, 0):
            queue.later(lambda ns=ns: loop.charge(ns))  # type: ignore[misc]
            await asyncio.sleep(0)
            seen.append(queue.takes_ns)
        return seen

    assert run_virtual(main) == [1_000_000, 875_000]
