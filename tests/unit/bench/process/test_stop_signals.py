"""Ctrl-C, SIGTERM and SIGHUP between the beginning of a load and the end of its report, sent to this process."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import threading
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from typing import Any

import pytest

from bench.process import interpreter, stop_signals
from bench.process.event_loop import loop_factory
from bench.process.stop_signals import StopSignals


class Told:
    """The effects of the signals."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.changed = asyncio.Event()

    def note(self, word: str) -> Callable[[], None]:
        def noted() -> None:
            self.words.append(word)
            self.changed.set()

        return noted

    async def has(self, *words: str) -> None:
        while self.words != [*words]:
            self.changed.clear()
            await self.changed.wait()


def taken(told: Told) -> StopSignals:
    return StopSignals(told.note("interrupt"), told.note("terminate"), told.note("acknowledge"))


def send(number: int) -> None:
    """Send the signal to this thread, whose handler runs at once. Two signals taken by another thread can become one."""
    signal.pthread_kill(threading.get_ident(), number)


@pytest.fixture(params=["uvloop", "asyncio"])
def in_loop(request: pytest.FixtureRequest) -> Any:
    """Run a coroutine in the event loop of a load and in the standard one. Restores the signal handlers afterwards."""

    def run(work: Callable[[Told], Coroutine[Any, Any, None]]) -> Told:
        told: list[Told] = []

        async def main() -> None:
            told.append(Told())
            await work(told[0])

        with asyncio.Runner(loop_factory=loop_factory() if request.param == "uvloop" else None) as runner:
            runner.run(main())
        return told[0]

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    yield run
    assert [signal.getsignal(number) for number in numbers] == before


def test_during_the_load_each_signal_is_told_in_the_event_loop(in_loop: Any) -> None:
    async def work(told: Told) -> None:
        signals = taken(told)
        send(signal.SIGINT)
        await told.has("interrupt")
        send(signal.SIGINT)
        await told.has("interrupt", "interrupt")
        send(signal.SIGTERM)
        await told.has("interrupt", "interrupt", "terminate")
        send(signal.SIGHUP)
        await told.has("interrupt", "interrupt", "terminate", "terminate")
        signals.report()
        signals.release()

    in_loop(work)


@pytest.mark.parametrize("signals_sent", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP]])
@pytest.mark.parametrize("blocked", [False, True])
def test_a_load_that_does_not_end_is_abandoned(
    in_loop: Any, signals_sent: list[int], blocked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop_signals, "ABANDONED_AFTER_S", 0.05)
    left: list[StopSignals] = []

    async def work(told: Told) -> None:
        left.append(taken(told))
        for number in signals_sent:
            send(number)
        if blocked:
            never, other = os.pipe()
            try:
                select.select([never], [], [])
            finally:
                os.close(never)
                os.close(other)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(KeyboardInterrupt):
        in_loop(work)
    left[0].release()


def test_a_third_ctrl_c_abandons_the_load_at_once(in_loop: Any) -> None:
    left: list[StopSignals] = []

    async def work(told: Told) -> None:
        left.append(taken(told))
        for _ in range(3):
            send(signal.SIGINT)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(KeyboardInterrupt):
        in_loop(work)
    left[0].release()


@pytest.mark.parametrize(("in_load", "spared"), [(0, 1), (1, 1), (2, 0)])
def test_one_ctrl_c_spares_the_report_and_the_third_of_a_run_does_not(in_loop: Any, in_load: int, spared: int) -> None:
    async def work(told: Told) -> None:
        signals = taken(told)
        for count in range(in_load):
            send(signal.SIGINT)
            await told.has(*["interrupt"] * (count + 1))
        signals.report()
        for _ in range(spared):
            send(signal.SIGINT)
        assert told.words == ["interrupt"] * in_load + ["acknowledge"] * spared
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        signals.release()

    in_loop(work)


def test_a_load_that_ended_in_time_is_not_abandoned_later(in_loop: Any) -> None:
    async def work(told: Told) -> None:
        signals = taken(told)
        send(signal.SIGTERM)
        await told.has("terminate")
        assert signal.getsignal(signal.SIGALRM) == signals._on_alarm
        # Another thread may take an alarm, so it may not wake a blocked main thread. The next alarm does.
        assert signal.getitimer(signal.ITIMER_REAL)[1] == stop_signals.ABANDONED_AFTER_S
        signals.report()
        assert signal.getsignal(signal.SIGALRM) != signals._on_alarm
        assert signal.getitimer(signal.ITIMER_REAL)[1] == 0
        signals.release()

    in_loop(work)


@pytest.mark.parametrize("number", interpreter.TERMINATE)
def test_sigterm_outside_a_load_is_like_ctrl_c_and_so_it_stays_after_a_load(in_loop: Any, number: int) -> None:
    async def work(told: Told) -> None:
        before = {number: signal.getsignal(number) for number in interpreter.TERMINATE}
        interpreter.end_as_ctrl_c()
        try:
            signals = taken(told)
            send(number)
            await told.has("terminate")
            signals.report()
            with pytest.raises(KeyboardInterrupt) if number == signal.SIGTERM else nullcontext():
                send(number)  # SIGHUP lets the report finish.
            signals.release()
            with pytest.raises(KeyboardInterrupt):
                send(number)
            assert told.words == ["terminate"]
        finally:
            for number_before, handler in before.items():
                signal.signal(number_before, handler)

    in_loop(work)


def test_a_process_that_ignores_sighup_goes_on_ignoring_it(in_loop: Any) -> None:
    async def work(told: Told) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            signals = taken(told)
            send(signal.SIGHUP)
            signals.report()
            signals.release()
            assert (told.words, signal.getsignal(signal.SIGHUP)) == ([], signal.SIG_IGN)
        finally:
            signal.signal(signal.SIGHUP, before)

    in_loop(work)
