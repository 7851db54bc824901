"""The terminal: the lines about a load. A stopped terminal stops nothing else."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest

from bench.clock import NS_PER_S, LoopClock, sleep_until
from bench.load.live import Live, LoadGoal
from bench.load.progress_tally import ProgressTally
from bench.load.worker_health import WorkerHealth
from bench.metrics import objectives
from bench.records import Outcome, RequestRecord
from bench.run_files.load_change import LoadChange
from bench.terminal import Terminal, _Writer, load_lines
from bench.workload import Phase
from tests.support.changed import replace
from tests.support.made_records import made_record
from tests.support.terminal_output import written
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual

COUNTS = {"planned": 0, "sent": 0, "done": 0, "in_flight": 0}
SLO = objectives.parse(["ttft:p99<60ms", "error_rate<1%", "itl:max<15ms", "output_tokens_per_s>1"])


@pytest.fixture
def pipe() -> Iterator[tuple[TextIO, TextIO]]:
    """(writer, reader) of a pipe, which is no terminal."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as writer, os.fdopen(reading) as reader:
        yield writer, reader


HUNDRED = LoadGoal(requests=100)


class Uncontrolled:
    """An endless load."""

    def interrupt(self) -> None:
        raise AssertionError

    terminate = interrupt

    def set_load(self, load: float) -> LoadChange:
        raise AssertionError("nobody changes it")


def drawn(goal: LoadGoal, at: list[tuple[float, dict[str, int], list[RequestRecord]]]) -> list[list[str]]:
    """The lines at these seconds, with these counts, after these records."""

    async def main(loop: VirtualTimeLoop) -> list[list[str]]:
        counts = dict(COUNTS)
        live = Live(LoopClock(), lambda at_ns: dict(counts), goal)
        live.start()
        shown = []
        for second, now, records in at:
            counts |= now
            for record in records:
                live.add(record)
            shown.append(load_lines(live.numbers(START_NS + round(second * NS_PER_S)), unicode=True))
        return shown

    return run_virtual(main)


def test_the_slowest_of_several_workers_is_named_with_those_that_are_lost() -> None:
    names = {0: "worker 0 on a", 1: "worker 1 on b", 2: "worker 2 on b"}
    workers = tuple(
        WorkerHealth(
            worker=number, name=names.get(number, f"worker {number} on c"), loop_lag_ms=lag_ms, cpu=cpu,
            run_queue_share=None, in_flight=0, done=0, died=died,
        )
        for number, lag_ms, cpu, died in [(0, 0.3, 0.31, None), (1, 9.14, None, None), (2, 0.0, 0.2, "was lost"),
                                          *((number, 0.1, 0.2, None) for number in range(3, 12))]
    )  # fmt: skip

    async def main(loop: VirtualTimeLoop) -> list[str]:
        live = Live(LoopClock(), lambda at_ns: dict(COUNTS), HUNDRED)
        live.start()
        live.workers = lambda: workers
        return load_lines(live.numbers(START_NS + NS_PER_S), unicode=True)

    lines = run_virtual(main)
    assert "  slowest: worker 1 on b, 9.1 ms late; lost: worker 2 on b" in lines
    (each,) = [line for line in lines if "ms late and CPU" in line]
    assert each.startswith("  workers, ms late and CPU:  1: 9.1 -  0: 0.3 31%  3: 0.1 20%")
    assert each.endswith("and 3 more")


def test_each_replica_has_a_line_the_failing_one_first() -> None:
    def lines_of(replicas: int) -> list[str]:
        async def main(loop: VirtualTimeLoop) -> list[str]:
            tallies = [ProgressTally(), ProgressTally()]  # From two workers.
            for number in range(replicas):
                for tally in tallies:
                    tally.add(made_record(number, chunks_ms=(50 + number, 90), target=f"http://r{number:02}"))
            tallies[1].add(made_record(99, target="http://r01", outcome=Outcome.RESET))
            tallies[1].add(made_record(98, target="http://r00", outcome=Outcome.RESET, phase="warmup"))
            live = Live(LoopClock(), lambda at_ns: dict(COUNTS), HUNDRED)
            live.start()
            for tally in tallies:
                live.merge(tally)
            return load_lines(live.numbers(START_NS + 2 * NS_PER_S), unicode=True)

        return [line for line in run_virtual(main) if "http://r" in line or "more replicas" in line]

    assert lines_of(3) == [
        "  http://r01: 1.5 requests/s  mean 51.0 ms  failed 1",
        "  http://r02: 1.0 requests/s  mean 52.0 ms  failed 0",
        "  http://r00: 1.5 requests/s  mean 50.0 ms  failed 0",
    ]
    assert lines_of(20)[0].endswith("failed 1")
    assert (len(lines_of(20)), lines_of(20)[-1]) == (9, "  and 12 more replicas")


@contextmanager
def following(terminal: Terminal) -> Iterator[None]:
    """An empty load that the terminal follows."""
    live = Live(LoopClock(), lambda at_ns: dict(COUNTS), HUNDRED)
    terminal.load_begins(Uncontrolled())
    live.start()
    if terminal.cadence is not None:
        live.follow(terminal.progress, *terminal.cadence)
    yield
    live.stop()
    terminal.load_ended()
    terminal.run_ended()


def sent(n: int, done: int | None = None) -> dict[str, int]:
    done = n if done is None else done
    return {"planned": n, "sent": n, "done": done, "in_flight": n - done}


def good(n: int, phase: Phase = "run") -> list[RequestRecord]:
    return [made_record(i, chunks_ms=(50 + i, 60 + i, 80 + i), phase=phase) for i in range(n)]


def test_the_lines_have_the_way_counts_rates_latencies_and_errors() -> None:
    failed = [
        made_record(5, outcome=Outcome.RESET),
        *(made_record(i, outcome=Outcome.HTTP_ERROR, status=500) for i in (6, 7)),
    ]
    first, second, third = drawn(HUNDRED, [(0, {}, []), (2, sent(20, 7), [*good(4), *failed]), (4, sent(100, 20), [])])
    assert first == [
        "  ────────────────────   0%  0 of 100 requests",
        "  sent 0  done 0  in flight 0  failed 0 (0.0%)",
        "  0.0 requests/s  0 tokens/s",
    ]
    assert second == [
        "  ━───────────────────   7%  7 of 100 requests, about 27 s left",
        "  sent 20  done 7  in flight 13  failed 3 (42.9%)",
        "  3.5 requests/s  6 tokens/s",
        "  TTFT p50 51.5 p99 53.0 ms  TPOT p50 15.0 p99 15.0 ms",
        "  errors: 2 http_error, 1 reset",
    ]
    assert third[0] == "  ━━━━────────────────  20%  20 of 100 requests, all sent, 80 in flight"


@pytest.mark.parametrize(
    ("load", "unit", "told"), [(1, "users", "1 user"), (2, "users", "2 users"), (1, "requests/s", "1 requests/s")]
)
def test_one_user_is_not_called_users(load: float, unit: str, told: str) -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        live = Live(LoopClock(), lambda at_ns: dict(COUNTS), LoadGoal(requests=100, load_unit=unit))
        live.start()
        return load_lines(replace(live.numbers(START_NS), load=load), unicode=True)

    assert run_virtual(main)[1] == f"  {told}:  sent 0  done 0  in flight 0  failed 0 (0.0%)"


@pytest.mark.parametrize(("load", "unit"), [(None, "users"), (3.0, "")])
def test_a_load_that_is_not_known_is_not_told(load: float | None, unit: str) -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        live = Live(LoopClock(), lambda at_ns: dict(COUNTS), LoadGoal(requests=100, load_unit=unit))
        live.start()
        return load_lines(replace(live.numbers(START_NS), load=load), unicode=True)

    assert run_virtual(main)[1] == "  sent 0  done 0  in flight 0  failed 0 (0.0%)"


def test_a_duration_never_reads_more_than_it_is() -> None:
    at: list[tuple[float, dict[str, int], list[RequestRecord]]] = [
        (45.0, sent(45, 30), []),
        (87.0, sent(60, 58), []),
        (99.0, sent(60), []),
    ]
    lines = [seen[0] for seen in drawn(LoadGoal(duration_s=60), at)]
    assert lines == [
        "  ━━━━━━━━━━━━━━━─────  75%  45 of 60 s, 15 s left",
        "  ━━━━━━━━━━━━━━━━━━━━ 100%  60 of 60 s, all sent, 2 in flight",
        "  ━━━━━━━━━━━━━━━━━━━━ 100%  60 of 60 s",
    ]


def test_the_limit_that_is_nearer_decides() -> None:
    goal = LoadGoal(requests=100, duration_s=60)
    ((line, *_),) = drawn(goal, [(30.0, sent(20), good(20))])
    assert line == "  ━━━━━━━━━━──────────  50%  20 of 100 requests, 30 of 60 s, about 30 s left"


@pytest.mark.parametrize(("seconds", "left"), [(200, "3 min"), (9000, "2.5 h")])
def test_long_times_are_told_in_minutes_and_hours(seconds: int, left: str) -> None:
    ((line, *_),) = drawn(LoadGoal(duration_s=seconds), [(0.0, sent(1), [])])
    assert line.endswith(f", {left} left")


def test_a_warm_up_is_called_one_and_counts_in_no_objective() -> None:
    goal = LoadGoal(duration_s=10, warmup_requests=4, objectives=SLO[:1])
    slow = [made_record(i, chunks_ms=(500, 510, 520), phase="warmup") for i in range(4)]
    before, after = drawn(goal, [(5.0, sent(4), slow), (6.0, sent(8), good(4))])
    assert before[0] == "  ────────────────────   0%  warm-up, 0 of 10 s, 10 s left"
    assert before[-1] == "  ttft:p99<60ms: nothing yet"
    assert after[0] == "  ────────────────────   0%  0 of 10 s, 10 s left"
    assert after[-1] == "  ttft:p99<60ms: 53.0 ms, held so far"


def test_each_objective_has_its_value_and_state_so_far() -> None:
    goal = LoadGoal(requests=10, objectives=(*SLO, *SLO[:1]))
    ((*_, a, b, c, d, more, errors),) = drawn(goal, [(2.0, sent(5), [*good(4), made_record(5, outcome=Outcome.RESET)])])
    assert a == "  ttft:p99<60ms: 53.0 ms, held so far"
    assert b == "  error_rate<1%: 20.00%, missed so far"
    assert c == "  itl:max<15ms: 20.0 ms, missed so far"
    assert d == "  output_tokens_per_s>1: 6.0/s, held so far"
    assert (more, errors) == ("  and 1 more objectives", "  errors: 1 reset")


def test_arrivals_that_wait_or_are_dropped_are_counted() -> None:
    dropped = [made_record(i, outcome=Outcome.DROPPED) for i in range(3)]
    counts = {"planned": 9, "sent": 4, "done": 4, "in_flight": 0}
    ((way, line, *_),) = drawn(LoadGoal(requests=10), [(1.0, counts, dropped)])
    assert way.startswith("  ━━━━━━━━━━━━━━──────  70%  7 of 10 requests")
    assert line == "  sent 4  done 4  in flight 0  failed 0 (0.0%)  waiting for a slot 2  dropped 3"


def test_latencies_are_those_of_the_last_seconds_and_objectives_of_all() -> None:
    slow = [made_record(9, chunks_ms=(500, 510, 520))]
    _, line = drawn(LoadGoal(requests=10, objectives=SLO[:1]), [(1.0, sent(1), slow), (12.0, sent(2), good(1))])
    assert "TTFT p50 50.0 p99 50.0 ms" in line[3]
    assert line[4] == "  ttft:p99<60ms: 495.5 ms, missed so far"


def test_a_load_without_streams_shows_the_whole_latency() -> None:
    ((_, _, _, line),) = drawn(HUNDRED, [(1.0, sent(1), [made_record(0, chunks_ms=())])])
    assert line == "  E2EL p50 1.0 p99 1.0 ms"


def test_what_is_no_terminal_gets_a_plain_line_after_a_second_and_every_ten_seconds(
    pipe: tuple[TextIO, TextIO],
) -> None:
    writer, reader = pipe

    async def main(loop: VirtualTimeLoop) -> None:
        with following(Terminal(writer)):
            await sleep_until(LoopClock(), START_NS + 25 * NS_PER_S)

    run_virtual(main)
    writer.close()
    said = reader.read()
    # At 1, 11 and 21 s, and at the end.
    line = "0%  0 of 100 requests | sent 0  done 0  in flight 0  failed 0 (0.0%) | 0.0 requests/s  0 tokens/s\n"
    assert said == line * 4


def test_quiet_says_nothing(pipe: tuple[TextIO, TextIO]) -> None:
    writer, reader = pipe

    async def main(loop: VirtualTimeLoop) -> None:
        terminal = Terminal(writer, quiet=True)
        terminal.say("a word")
        with following(terminal):
            terminal.say("a word")
            await sleep_until(LoopClock(), START_NS + 25 * NS_PER_S)

    run_virtual(main)
    writer.close()
    assert reader.read() == ""


def test_a_terminal_is_drawn_over_in_place() -> None:
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as stream:

        async def main(loop: VirtualTimeLoop) -> None:
            terminal = Terminal(stream)
            with following(terminal):
                await sleep_until(LoopClock(), START_NS + NS_PER_S)
                terminal.say("a word that stays")

        run_virtual(main)
    said = written(leader)
    # Drawn at 0.5 s, redrawn at 1 s, erased for the message, and drawn a last time.
    assert said.count("failed 0 (0.0%)") == 3
    assert said.count("\x1b[3A\x1b[J") == 2
    assert "a word that stays" in said


def test_a_terminal_without_movement_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as stream:

        async def main(loop: VirtualTimeLoop) -> None:
            with following(Terminal(stream)):
                await sleep_until(LoopClock(), START_NS + 12 * NS_PER_S)

        run_virtual(main)
    said = written(leader)
    assert "\x1b" not in said
    assert said.count("failed 0 (0.0%)") == 3


@pytest.mark.parametrize(
    ("moves", "no_color", "coloured"), [(True, None, True), (True, "", True), (True, "1", False), (False, None, False)]
)
def test_what_is_bad_is_red_on_a_terminal_that_shows_colours(
    moves: bool, no_color: str | None, coloured: bool, pipe: tuple[TextIO, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.terminal.can_move", lambda stream: moves)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    terminal = Terminal(pipe[0])
    red = "\x1b[31m{}\x1b[0m" if coloured else "{}"
    for line, shown in (
        ("  errors 3 timeout", [red.format("  errors 3 timeout")]),
        ("  ttft:p99<60ms missed so far", [red.format("  ttft:p99<60ms missed"), red.format("    so far")]),
        ("  ttft:p99<60ms held so far", ["  ttft:p99<60ms held so", "    far"]),
    ):
        assert terminal._fitted(line, 24) == shown


def test_a_narrow_terminal_breaks_lines_and_cuts_none() -> None:
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with os.fdopen(follower, "w") as stream:

        async def main(loop: VirtualTimeLoop) -> None:
            with following(Terminal(stream)):
                await sleep_until(LoopClock(), START_NS + NS_PER_S)

        run_virtual(main)
    said = written(leader)
    plain = re.sub("\x1b\\[[0-9]*[AJm]", "", said)
    assert max(map(len, plain.splitlines())) < 40
    assert " ".join(plain.split()).count("failed 0 (0.0%)") == 3
    assert said.count("\x1b[5A\x1b[J") == 2


@pytest.mark.parametrize(("name", "order"), [("SIGINT", "interrupted"), ("SIGTERM", "terminated")])
def test_signals_end_the_load_and_are_given_back_after_the_run(
    name: str, order: str, pipe: tuple[TextIO, TextIO]
) -> None:
    number = signal.Signals[name]
    before = signal.getsignal(number)

    class Noted:
        def __init__(self) -> None:
            self.orders: list[str] = []

        def interrupt(self) -> None:
            self.orders.append("interrupted")

        def terminate(self) -> None:
            self.orders.append("terminated")

        def set_load(self, load: float) -> LoadChange:
            raise AssertionError("nobody changes it")

    async def main() -> list[str]:
        control = Noted()
        terminal = Terminal(pipe[0], quiet=True)
        terminal.load_begins(control)
        signal.pthread_kill(threading.get_ident(), number)
        while not control.orders:
            await asyncio.sleep(0)
        terminal.load_ended()
        terminal.run_ended()
        return control.orders

    assert asyncio.run(main()) == [order]
    assert signal.getsignal(number) == before


def test_a_reader_that_has_stopped_stops_nothing(pipe: tuple[TextIO, TextIO]) -> None:
    writer, _ = pipe
    os.set_blocking(writer.fileno(), False)
    full = b"x" * 65_536
    try:
        while True:
            os.write(writer.fileno(), full)
    except BlockingIOError:
        os.set_blocking(writer.fileno(), True)  # The pipe is full, so each write of the view now blocks forever.

    async def main(loop: VirtualTimeLoop) -> int:
        terminal = Terminal(writer)
        terminal.load_begins(Uncontrolled())
        for _ in range(100):
            terminal.say("word")
        terminal.run_ended()
        return loop.virtual_ns

    assert run_virtual(main) == START_NS


def test_what_is_written_late_goes_into_no_other_file(
    pipe: tuple[TextIO, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = pipe
    begins, write = threading.Event(), os.write

    def late(descriptor: int, content: bytes) -> int:
        begins.wait()
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", late)
    view = _Writer(writer)
    view.write("word")
    reading, writing = os.pipe()
    os.dup2(writing, writer.fileno())  # The stream was closed, and another file has its descriptor.
    begins.set()
    view.close()
    os.close(writing)
    writer.close()
    assert reader.read() == "word"
    with os.fdopen(reading) as other:
        assert other.read() == ""


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize(
    ("line", "bad"),
    [("  errors: 2 reset", True), ("  ttft:p99<60ms: 90.0% good, missed so far", True), ("  no errors here", False)],
)
def test_only_what_is_bad_is_red_and_only_in_colour(
    line: str, bad: bool, colour: bool, pipe: tuple[TextIO, TextIO]
) -> None:
    terminal = Terminal(pipe[0])
    terminal._colour = colour
    red = bad and colour
    assert terminal._fitted(line, 80) == [f"\x1b[31m{line}\x1b[0m" if red else line]
