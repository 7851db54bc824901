"""The mock's pacing in virtual time: exact to the ns, with work charged to the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from mockserver.engine import EngineRequest
from mockserver.engine.sampled import SampledEngine
from mockserver.pacing import TURN_CALLS, LoopAlarm, Pacer, Stepper
from mockserver.plans.plan import Plan
from tests.support.virtual_time import VirtualTimeLoop, run_virtual

MS = 1_000_000
# Times of the loop are floats. At its start of a million seconds their resolution is 0.12 us.
GRAIN_NS = 250


def pacer(shared_ns: int = 0) -> Pacer:
    return Pacer(shared_ns, LoopAlarm)


def test_calls_are_made_at_their_deadlines_in_order() -> None:
    async def main(loop: VirtualTimeLoop) -> list[tuple[str, int]]:
        start, seen = loop.virtual_ns, []
        pace = pacer()

        def note(name: str) -> Callable[[], None]:
            return lambda: seen.append((name, loop.virtual_ns - start))

        for name, at in (("c", 30 * MS), ("a", 10 * MS), ("b", 20 * MS)):
            pace.at(start + at, note(name))
        await asyncio.sleep(0.05)
        pace.close()
        return seen

    seen = run_virtual(main)
    assert [name for name, _ in seen] == ["a", "b", "c"]
    assert all(0 <= at - due * MS <= GRAIN_NS for (_, at), due in zip(seen, (10, 20, 30), strict=True)), seen


def test_work_between_two_waits_never_adds_up() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        start = loop.virtual_ns
        seen: list[int] = []
        stepper = Stepper(SampledEngine(), pace := pacer())

        def take(tokens: int) -> None:
            seen.append(loop.virtual_ns - start)
            loop.charge(3 * MS)

        stepper.admit(EngineRequest(start, Plan(50 * MS, (10 * MS,) * 999, 1000)), take)
        await asyncio.sleep(11)
        pace.close()
        return seen

    seen = run_virtual(main)
    assert len(seen) == 1000
    assert all(0 <= at - (50 + 10 * i) * MS <= GRAIN_NS for i, at in enumerate(seen))


def test_after_a_pause_the_tokens_come_in_a_burst_and_the_rest_on_time() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        start = loop.virtual_ns
        seen: list[int] = []
        stepper = Stepper(SampledEngine(), pace := pacer())

        def take(tokens: int) -> None:
            seen.append((loop.virtual_ns - start) // MS)
            if len(seen) == 2:
                loop.charge(35 * MS)

        stepper.admit(EngineRequest(start, Plan(10 * MS, (10 * MS,) * 7, 8)), take)
        await asyncio.sleep(1)
        pace.close()
        return seen

    assert run_virtual(main) == [10, 20, 55, 55, 55, 60, 70, 80]


def test_deadlines_close_to_each_other_share_a_wake_up_and_others_do_not() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        start = loop.virtual_ns
        seen: list[int] = []
        stepper = Stepper(SampledEngine(), pace := pacer(shared_ns=100_000))
        for ttft_ns in (10 * MS, 10 * MS + 90_000, 10 * MS + 150_000):
            stepper.admit(
                EngineRequest(start, Plan(ttft_ns, (), 1)), lambda tokens: seen.append(loop.virtual_ns - start)
            )
        await asyncio.sleep(1)
        pace.close()
        return seen

    first, second, third = run_virtual(main)
    assert abs(first - 10 * MS) <= GRAIN_NS
    assert second == first
    assert abs(third - 10 * MS - 150_000) <= GRAIN_NS


def test_a_released_request_hears_nothing_more() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        start = loop.virtual_ns
        seen: list[int] = []
        stepper = Stepper(SampledEngine(), pace := pacer())
        keys: list[int] = []

        def take(tokens: int) -> None:
            seen.append((loop.virtual_ns - start) // MS)
            if len(seen) == 2:
                stepper.release(keys[0], 2)

        keys.append(stepper.admit(EngineRequest(start, Plan(10 * MS, (10 * MS,) * 7, 8)), take))
        await asyncio.sleep(1)
        pace.close()
        return seen

    assert run_virtual(main) == [10, 20]


def test_a_request_that_follows_its_plan_reports_its_tokens_as_steps() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[int], dict[str, int], dict[str, int]]:
        start = loop.virtual_ns
        sent: list[int] = []
        stepper = Stepper(SampledEngine(), pace := pacer())
        request = EngineRequest(start, Plan(10 * MS, (20 * MS,), 2))

        def step() -> int | None:
            sent.append((loop.virtual_ns - start) // MS)
            return start + 30 * MS if len(sent) == 1 else None

        following = stepper.follow(request, step)
        silent = stepper.follow(request)
        admitted = stepper.admit(request, lambda tokens: None)
        assert len({following, silent, admitted}) == 3
        await asyncio.sleep(1)
        pace.close()
        facts = stepper.release(following, 7).facts, stepper.release(admitted, 7).facts
        assert stepper.release(silent, 3).facts["steps"] == 3
        return sent, *facts

    sent, followed, admitted = run_virtual(main)
    assert sent == [10, 30]
    assert followed["steps"] == 7
    assert admitted["steps"] == 2  # The engine gave two tokens.


def test_a_reply_that_fails_does_not_take_the_others_with_it() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        start = loop.virtual_ns
        seen: list[int] = []
        stepper = Stepper(SampledEngine(), pace := pacer())

        def broken(tokens: int) -> None:
            raise RuntimeError("a defect")

        stepper.admit(EngineRequest(start, Plan(10 * MS, (10 * MS,), 2)), broken)
        stepper.admit(EngineRequest(start, Plan(10 * MS, (10 * MS,), 2)), seen.append)
        await asyncio.sleep(1)
        pace.close()
        return seen

    assert run_virtual(main) == [1, 1]


def test_a_call_may_add_an_earlier_one_and_neither_is_lost() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        start, seen = loop.virtual_ns, []
        pace = pacer()

        def first() -> int | None:
            seen.append("first")
            if len(seen) > 1:
                return None
            pace.at(start + 5 * MS, lambda: seen.append("added"))
            return start + 20 * MS

        pace.at(start + 10 * MS, first)
        await asyncio.sleep(1)
        pace.close()
        return seen

    assert run_virtual(main) == ["first", "added", "first"]


def test_a_wake_up_serves_what_is_due_within_the_shared_span_and_no_more() -> None:
    class Alarm:
        def __init__(self, call: Callable[[], None]) -> None:
            self.call = call

        def now_ns(self) -> int:
            return 5_000

        def set(self, deadline_ns: int) -> None: ...

        def clear(self) -> None: ...

        def close(self) -> None: ...

    alarms: list[Alarm] = []
    seen: list[int] = []

    def alarm(call: Callable[[], None]) -> Alarm:
        alarms.append(Alarm(call))
        return alarms[-1]

    pace = Pacer(100, alarm)
    for deadline_ns in (5_000, 5_100, 5_101):
        pace.at(deadline_ns, partial(seen.append, deadline_ns))
    alarms[0].call()
    assert seen == [5_000, 5_100]


def test_behind_the_first_of_a_wake_up_nothing_more_is_early() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        start, seen = loop.virtual_ns, []
        pace = pacer(shared_ns=100_000)

        def note() -> None:
            seen.append(loop.virtual_ns - start)
            loop.charge(100_000)

        for at in (10 * MS, 10 * MS + 60_000, 10 * MS + 250_000):
            pace.at(start + at, note)
        await asyncio.sleep(1)
        pace.close()
        return seen

    *_, third = run_virtual(main)
    assert third >= 10 * MS + 250_000


def most_calls_between_two_turns_of_the_loop(calls: int, apart_ns: int, work_ns: int) -> int:
    async def main(loop: VirtualTimeLoop) -> int:
        start, served, most = loop.virtual_ns, 0, 0
        pace = pacer()

        def call() -> None:
            nonlocal served
            served += 1
            loop.charge(work_ns)

        for i in range(calls):
            pace.at(start + 10 * MS + i * apart_ns, call)
        await asyncio.sleep(0.0099)
        while served < calls:
            before = served
            await asyncio.sleep(0 if served else 0.0001)
            most = max(most, served - before)
        pace.close()
        return most

    return run_virtual(main)


def test_what_falls_due_meanwhile_is_served_in_the_same_turn() -> None:
    assert most_calls_between_two_turns_of_the_loop(40, MS // 2, MS) == 40


def test_one_reply_with_all_its_tokens_due_leaves_the_loop_its_turns() -> None:
    assert most_calls_between_two_turns_of_the_loop(2000, 0, 0) == TURN_CALLS


def test_an_alarm_that_is_set_again_calls_once_at_its_last_deadline() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        start, seen = loop.virtual_ns, list[int]()
        alarm = LoopAlarm(lambda: seen.append(round((loop.virtual_ns - start) / MS)))
        alarm.set(start + 30 * MS)
        alarm.set(start + 10 * MS)
        alarm.set(start + 20 * MS)
        await asyncio.sleep(0.05)
        alarm.set(start + 60 * MS)
        alarm.clear()
        alarm.clear()
        await asyncio.sleep(0.05)
        alarm.set(start + 110 * MS)
        alarm.close()
        await asyncio.sleep(0.05)
        return seen

    assert run_virtual(main) == [20]


def test_a_wake_up_serves_deadlines_that_are_not_far_away_and_no_others() -> None:
    async def main(loop: VirtualTimeLoop) -> list[tuple[str, int]]:
        start, seen = loop.virtual_ns, list[tuple[str, int]]()
        pace = pacer(shared_ns=2 * MS)

        def note(name: str) -> Callable[[], None]:
            return lambda: seen.append((name, round((loop.virtual_ns - start) / MS)))

        for name, at in (("a", 10), ("b", 11), ("c", 13), ("d", 14)):
            pace.at(start + at * MS, note(name))
        await asyncio.sleep(0.05)
        pace.close()
        return seen

    # The first wake-up is at 10 ms and serves what is due until 12 ms, the second is at 13 ms.
    assert run_virtual(main) == [("a", 10), ("b", 10), ("c", 13), ("d", 13)]


def test_waits_that_are_closed_do_not_call() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        seen: list[str] = []
        pace = pacer()
        pace.at(loop.virtual_ns + MS, lambda: seen.append("late"))
        pace.close()
        await asyncio.sleep(1)
        return seen

    assert run_virtual(main) == []


def test_an_engine_that_gets_earlier_work_steps_earlier() -> None:
    class Engine:
        """Each request is due after as many ms as it has tokens."""

        def __init__(self) -> None:
            self.due: list[tuple[int, int]] = []

        def admit(self, key: int, request: EngineRequest) -> None:
            self.due.append((request.received_ns + request.plan.output_tokens * MS, key))

        def next_ns(self) -> int | None:
            return min(self.due, default=(None,))[0]

        def step(self, at_ns: int) -> list[tuple[int, int]]:
            now = [one for one in self.due if one[0] <= at_ns]
            self.due = [one for one in self.due if one not in now]
            return [(key, 1) for _, key in sorted(now)]

    async def main(loop: VirtualTimeLoop) -> list[tuple[int, int]]:
        start, seen = loop.virtual_ns, list[tuple[int, int]]()
        stepper = Stepper(Engine(), pace := pacer())  # type: ignore[arg-type]  # It does all that is asked of it.
        for tokens in (30, 10, 20):
            plan = Plan(0, (0,) * (tokens - 1), tokens)
            take = partial(lambda tokens, given: seen.append((tokens, round((loop.virtual_ns - start) / MS))), tokens)
            stepper.admit(EngineRequest(start, plan, 1), take)
        await asyncio.sleep(0.1)
        pace.close()
        return seen

    assert run_virtual(main) == [(10, 10), (20, 20), (30, 30)]
