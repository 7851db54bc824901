"""The live view: what its lines say, and that a terminal which has stopped stops nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TextIO

import pytest

from bench.clock import NS_PER_S, LoopClock, sleep_until
from bench.load.live import Live
from bench.records import Outcome
from tests.support.made_records import made_record
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual

COUNTS = {"planned": 0, "sent": 0, "done": 0, "in_flight": 0}


@pytest.fixture
def pipe() -> Iterator[tuple[TextIO, TextIO]]:
    """(writer, reader): no terminal."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as writer, os.fdopen(reading) as reader:
        yield writer, reader


def live_of(stream: TextIO, counts: dict[str, int], *, quiet: bool = False) -> Live:
    return Live(LoopClock(), lambda at_ns: dict(counts), "100 requests", stream, quiet=quiet)


def test_the_lines_have_counts_rates_latencies_and_errors(pipe: tuple[TextIO, TextIO]) -> None:
    async def main(loop: VirtualTimeLoop) -> list[list[str]]:
        counts = dict(COUNTS)
        live = live_of(pipe[0], counts)
        live.start()
        first = live.lines(START_NS)
        for i in range(4):
            live.add(made_record(i, chunks_ms=(50 + i, 60 + i, 80 + i)))
        live.add(made_record(5, outcome=Outcome.RESET))
        live.add(made_record(6, outcome=Outcome.HTTP_ERROR, status=500))
        live.add(made_record(7, outcome=Outcome.HTTP_ERROR, status=500))
        counts |= {"planned": 30, "sent": 20, "done": 8, "in_flight": 12}
        second = live.lines(START_NS + 2 * NS_PER_S)
        counts |= {"planned": 31, "done": 20}
        third = live.lines(START_NS + 3 * NS_PER_S)
        live.stop()
        return [first, second, third]

    first, second, third = run_virtual(main)
    assert "planned 0   sent 0   done 0 of 100 requests   in flight 0" in first[0]
    assert "TTFT -" in first[2]
    assert first[3] == "  errors: none"
    assert second[0].startswith("   2.0 s   planned 30   sent 20   done 8 of 100 requests   in flight 12")
    assert second[1] == "  per second: planned 15.0  sent 10.0  done 4.0"
    assert "TTFT p50 51.5 p99 53.0 ms" in second[2]
    assert "TPOT p50 15.0 p99 15.0 ms" in second[2]
    assert second[3] == "  errors: 2 http_error, 1 reset"
    assert third[1] == "  per second: planned 1.0  sent 0.0  done 12.0"


def test_a_load_without_streams_shows_the_whole_latency(pipe: tuple[TextIO, TextIO]) -> None:
    async def main(loop: VirtualTimeLoop) -> str:
        live = live_of(pipe[0], COUNTS)
        live.start()
        live.add(made_record(0, chunks_ms=()))
        line = live.lines(START_NS + 1)[2]
        live.stop()
        return line

    assert "E2EL p50 1.0 p99 1.0 ms" in run_virtual(main)


def test_what_is_no_terminal_gets_a_plain_line_every_ten_seconds(pipe: tuple[TextIO, TextIO]) -> None:
    writer, reader = pipe

    async def main(loop: VirtualTimeLoop) -> None:
        live = live_of(writer, COUNTS)
        live.start()
        await sleep_until(LoopClock(), START_NS + 25 * NS_PER_S)
        live.stop()

    run_virtual(main)
    writer.close()
    said = reader.read()
    assert said.count("\n") == 2
    assert "\x1b" not in said


def test_quiet_says_nothing(pipe: tuple[TextIO, TextIO]) -> None:
    writer, reader = pipe

    async def main(loop: VirtualTimeLoop) -> None:
        live = live_of(writer, COUNTS, quiet=True)
        live.start()
        live.say("a word")
        await sleep_until(LoopClock(), START_NS + 25 * NS_PER_S)
        live.stop()

    run_virtual(main)
    writer.close()
    assert reader.read() == ""


def test_a_terminal_is_drawn_over_in_place() -> None:
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as terminal:

        async def main(loop: VirtualTimeLoop) -> None:
            live = live_of(terminal, COUNTS)
            live.start()
            await sleep_until(LoopClock(), START_NS + NS_PER_S)
            live.say("a word that stays")
            live.stop()

        run_virtual(main)
        said = os.read(leader, 65536).decode()
    os.close(leader)
    # Drawn at 0.5 s, over that at 1 s, wiped for the word, and drawn a last time.
    assert said.count("errors: none") == 3
    assert said.count("\x1b[4A\x1b[J") == 2
    assert "a word that stays" in said


def test_a_reader_that_has_stopped_stops_nothing(pipe: tuple[TextIO, TextIO]) -> None:
    writer, _ = pipe
    os.set_blocking(writer.fileno(), False)
    full = b"x" * 65_536
    try:
        while True:
            os.write(writer.fileno(), full)
    except BlockingIOError:
        os.set_blocking(writer.fileno(), True)  # The pipe is full: each write of the view now waits for ever.

    async def main(loop: VirtualTimeLoop) -> int:
        live = live_of(writer, COUNTS)
        live.start()
        for _ in range(100):
            live.say("word")
        return loop.virtual_ns

    assert run_virtual(main) == START_NS
