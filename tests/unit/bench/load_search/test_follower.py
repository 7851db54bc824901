"""The terminal's view of a running search: the current load, what is known so far, and the time left."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.load.live import LiveNumbers, LoadGoal, ObjectiveSoFar
from bench.load_search.decisions import Ending, Search, Settings
from bench.load_search.follower import SearchTerminal, ended_lines, progress_lines, situation
from bench.load_search.goals import Goal
from bench.load_search.visits import Visit
from bench.metrics.objectives import parse_one
from bench.observer import Cadence
from bench.records import Outcome
from bench.run_files.load_change import LoadChange
from bench.statistics.capacity import Mean
from bench.terminal import Terminal
from tests.support.changed import replace
from tests.support.made_visits import MEAN, in_turn, made_search, made_visit
from tests.support.searched_server import FormulaVisits, logistic
from tests.support.terminal_output import written
from tests.support.virtual_time import VirtualTimeLoop, run_virtual
from tests.unit.bench.load_search.test_conclusion import SCOUTS

P99 = Goal("ttft:p99<500ms", 0.01)

NUMBERS = LiveNumbers(
    goal=LoadGoal(duration_s=60.0, warmup_s=25.0), elapsed_s=37.0, run_s=12.0, warming_up=False, all_sent=False,
    share_done=0.4, left_s=48.0, planned=1300, sent=1300, done=1266, in_flight=34, dropped=0, failures=(), failed=0,
    failed_share=0.0, requests_per_s=35.0, output_tokens_per_s=4500.0, latencies={},
    objectives=(ObjectiveSoFar(parse_one(P99.text), 312.0),),
)  # fmt: skip


def searched(visits: int, **settings: object) -> Search:
    """A search after this many visits to a server that holds 38 requests/s."""
    search = Search(replace(Settings("rate", (P99,), start=8.0), **settings))
    server = FormulaVisits({P99.text: logistic(38.0)})
    for _ in range(visits):
        step = search.next()
        assert not isinstance(step, Ending)
        result = server.make(search, step)
        assert result is not None
        search.add(result)
    return search


def test_a_visit_shows_its_stage_what_is_known_and_the_time_left() -> None:
    search = searched(9)
    visit = Visit(10, "visit", 36.2, 25.0, 60.0)
    lines = progress_lines(situation(search, visit, None), NUMBERS)
    known = search.known()
    assert known is not None
    assert lines[0] == "  visit 10, at 36.2/s: measuring, 12 s of 60 s"
    assert lines[1] == "  in flight 34, ttft:p99<500ms: held so far"
    sure = search.sure_of(36.2)
    assert lines[2] == f"  known: between {known.low:.3g} and {known.high:.3g}/s, {sure:.0%} sure of >= 36.2/s"
    assert (
        lines[3]
        == f"  {(search.seconds + 37) / 60:.1f} min of 15 min, about {(900 - search.seconds - 37) / 60:.1f} min left"
    )
    assert max(map(len, lines)) <= 80


def test_the_stages_of_a_visit() -> None:
    now = situation(searched(2), Visit(3, "scout", 32.0, 3.0, 10.0), None)
    settling = replace(NUMBERS, warming_up=True, elapsed_s=1.4, run_s=0.0)
    assert progress_lines(now, settling)[:2] == [
        "  visit 3, a short one at 32/s: settling, 1 s of 3 s",
        "  in flight 34",
    ]
    brief = replace(now, settle_s=0.1)
    assert progress_lines(brief, settling)[0] == "  visit 3, a short one at 32/s: settling, 0.1 s of 0.1 s"
    sent = replace(NUMBERS, all_sent=True, run_s=10.0, failed=3, failures=((Outcome.RESET, 3),))
    assert progress_lines(now, sent)[0] == "  visit 3, a short one at 32/s: waiting for 34 in flight"
    assert progress_lines(now, replace(sent, in_flight=0))[0] == "  visit 3, a short one at 32/s: ending"
    assert "failed 3" in progress_lines(now, sent)[1]
    assert progress_lines(now, sent)[2] == "  known: nothing clearly broke up to 16/s (short visits, a hint)"


def test_nothing_is_known_before_the_first_visit() -> None:
    now = situation(searched(0), Visit(1, "scout", 8.0, 3.0, 10.0), None)
    assert progress_lines(now, NUMBERS)[2] == "  known: nothing yet"


def test_with_a_load_that_is_required_it_says_how_sure_that_one_is() -> None:
    search = searched(9)
    now = situation(search, Visit(10, "visit", 36.2, 25.0, 60.0), 30.0)
    assert now.known.endswith("% sure of >= 30/s")


def test_what_stays_of_a_visit() -> None:
    search = searched(5)
    lines = ended_lines(search, search.results[-1], None)
    assert lines[0].startswith("visit 5: ")
    assert f"({P99.text} " not in lines[0]
    assert "% broke ttft:p99<500ms; " in lines[0]
    assert lines[1].startswith("  known: no conclusion yet, ")
    scouts = ended_lines(searched(4), searched(4).results[-1], None)
    assert scouts[0].startswith("visit 4: 64/s broke")
    assert scouts[1] == "  known: nothing clearly broke up to 32/s, 64/s broke (short visits, a hint)"
    invalid = replace(search.results[-1], verdict="INVALID")
    assert ended_lines(search, invalid, None) == [
        f"visit 5: {invalid.load:.3g}/s: INVALID, the client could not measure it"
    ]
    failed = replace(search.results[-1], verdict="FAILED")
    assert ended_lines(search, failed, None) == [
        f"visit 5: {failed.load:.3g}/s: FAILED, which says nothing about the load"
    ]
    alone = ended_lines(search, replace(search.results[-1], requests=1), None)
    assert alone[0].endswith("; 1 request)")
    calm = ended_lines(searched(3), searched(3).results[-1], None)
    assert calm[0].startswith("visit 3: 32/s did not clearly break (")
    silent = ended_lines(search, replace(search.results[-1], about={P99.text: 0}, violations={}), None)
    assert " does not show ttft:p99<500ms (" in silent[0]
    piling = ended_lines(search, replace(search.results[-1], kept_up=False), None)
    assert "requests pile up" in piling[0]


def test_without_a_terminal_there_is_a_line_as_a_visit_begins_and_when_it_has_ended() -> None:
    stream = io.StringIO()
    terminal = SearchTerminal(stream)
    search = searched(8)
    visit = Visit(9, "visit", 36.2, 25.0, 60.0)
    terminal.visit_begins(search, visit)
    terminal.visit_ended(search, search.results[-1])
    terminal.search_ended()
    first, second, third = stream.getvalue().splitlines()
    assert first.startswith("visit 9, at 36.2/s (25 s to settle, 60 s to measure; about ")
    assert second.startswith("visit 8: ")
    assert third.startswith("  known: between ")
    quiet = io.StringIO()
    silent = SearchTerminal(quiet, quiet=True)
    silent.visit_begins(search, visit)
    silent.visit_ended(search, search.results[-1])
    assert quiet.getvalue() == ""


def test_a_visit_that_only_piled_up_has_not_failed_yet() -> None:
    def line(share: float, phase: str) -> str:
        visit = made_visit(8, 35.0, share, kept_up=False, phase=phase)
        return ended_lines(made_search(*in_turn(*SCOUTS), visit), visit, None)[0]

    assert (
        line(0.0, "visit")
        == "visit 8: 35/s is to be repeated (0% broke ttft:p99<500ms, requests pile up; 4,000 requests)"
    )
    assert line(0.0, "again").startswith("visit 8: 35/s did not hold (")
    assert line(0.5, "visit").startswith("visit 8: 35/s did not hold (")
    assert line(0.0, "scout").startswith("visit 8: 35/s broke (")


def test_a_mean_is_told_by_how_far_it_is_from_its_limit() -> None:
    visit = made_visit(8, 35.0, means={MEAN.text: Mean(35.0, -0.2, 0.03)})
    assert ended_lines(made_search(*in_turn(*SCOUTS), visit, goals=(MEAN,)), visit, None)[0] == (
        "visit 8: 35/s held (ttft:mean<200ms: -18.1%; 4,000 requests)"
    )


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.0, "0 s"), (0.5, "0.5 s"), (9.94, "9.9 s"), (10.0, "10 s"), (10.6, "11 s")]
)
def test_a_short_time_has_a_fraction(seconds: float, told: str) -> None:
    stream = io.StringIO()
    SearchTerminal(stream).visit_begins(searched(0), Visit(1, "scout", 8.0, seconds, seconds))
    assert f"({told} to settle, {told} to measure; about " in stream.getvalue()


class Uncontrolled:
    """An endless load."""

    def interrupt(self) -> None: ...

    def terminate(self) -> None: ...

    def set_load(self, load: float) -> LoadChange:
        raise AssertionError("nobody changes it")


def test_without_a_terminal_a_load_of_which_all_is_sent_is_told_of_no_more(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    with file.open("w") as stream:

        async def main(loop: VirtualTimeLoop) -> None:
            terminal = SearchTerminal(stream)
            terminal.visit_begins(searched(8), Visit(9, "visit", 36.2, 25.0, 60.0))
            terminal.load_begins(Uncontrolled())
            terminal.progress(NUMBERS)
            terminal.progress(replace(NUMBERS, all_sent=True))
            terminal.load_ended()
            terminal.run_ended()
            terminal.search_ended()

        run_virtual(main)
    said = file.read_text()
    assert said.count("measuring, 12 s of 60 s") == 1
    assert "waiting for 34 in flight" not in said


def test_one_thing_is_waited_for_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[str] = []

    @contextmanager
    def waiting(terminal: Terminal, what: str) -> Iterator[None]:
        waits.append(f"begins {what}")
        yield
        waits.append(f"ends {what}")

    monkeypatch.setattr(Terminal, "waiting", waiting)
    with (tmp_path / "lines").open("w") as stream:

        async def main(loop: VirtualTimeLoop) -> None:
            terminal, search = SearchTerminal(stream), searched(8)
            terminal.visit_begins(search, Visit(9, "visit", 36.2, 25.0, 60.0))
            with terminal.waiting("the server"):
                pass
            terminal.visit_begins(search, Visit(9, "visit", 36.2, 25.0, 60.0))
            terminal.load_begins(Uncontrolled())
            waits.append("the load")
            terminal.load_ended()
            terminal.run_ended()
            terminal.visit_ended(search, search.results[-1])
            waits.append("the next")
            terminal.visit_begins(search, Visit(10, "visit", 36.2, 25.0, 60.0))
            terminal.search_ended()

        run_virtual(main)
    preparing, reading = "preparing visit 9, at 36.2/s", "reading what it brought back"
    assert waits == [
        f"begins {preparing}", f"ends {preparing}", "begins the server", "ends the server",
        f"begins {preparing}", f"ends {preparing}", "the load", f"begins {reading}", f"ends {reading}", "the next",
        "begins preparing visit 10, at 36.2/s", "ends preparing visit 10, at 36.2/s",
    ]  # fmt: skip


def test_lines_are_drawn_each_second_on_a_terminal_and_written_each_half_minute_elsewhere() -> None:
    leader, follower = os.openpty()
    with os.fdopen(leader), os.fdopen(follower, "w") as stream:
        assert SearchTerminal(stream).cadence == Cadence(first_s=0.5, every_s=1.0)
    assert SearchTerminal(io.StringIO()).cadence == Cadence(first_s=30.0, every_s=30.0)
    assert SearchTerminal(io.StringIO(), quiet=True).cadence is None


def test_a_visit_that_has_just_its_time_is_measured_and_two_objectives_are_told() -> None:
    now = situation(searched(2), Visit(3, "scout", 32.0, 3.0, 12.0), None)
    assert progress_lines(now, NUMBERS)[0].endswith(": waiting for 34 in flight")
    assert progress_lines(now, replace(NUMBERS, run_s=11.9))[0].endswith(": measuring, 12 s of 12 s")
    texts = ("ttft:p99<300ms", "tpot:p90<50ms", "e2el:p90<9s")
    several = tuple(ObjectiveSoFar(parse_one(text), 312.0) for text in texts)
    told = "in flight 34, ttft:p99<300ms: missed so far, tpot:p90<50ms: missed so far"
    assert progress_lines(now, replace(NUMBERS, objectives=several))[1] == f"  {told}"
    none = tuple(replace(entry, value=None) for entry in several)
    assert progress_lines(now, replace(NUMBERS, objectives=none))[1] == "  in flight 34"
    assert progress_lines(now, replace(NUMBERS, elapsed_s=5_000.0))[3].endswith(", about 0 s left")


def test_on_a_terminal_the_lines_of_a_visit_are_drawn_over_and_go_when_it_is_over() -> None:
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as stream:

        async def main(loop: VirtualTimeLoop) -> None:
            terminal, search = SearchTerminal(stream), searched(8)
            terminal.visit_begins(search, Visit(9, "visit", 36.2, 25.0, 60.0))
            terminal.load_begins(Uncontrolled())
            terminal.progress(NUMBERS)
            terminal.progress(replace(NUMBERS, run_s=13.0))
            terminal.load_ended()
            terminal.run_ended()
            terminal.visit_ended(search, search.results[-1])
            terminal.search_ended()

        run_virtual(main)
    said = written(leader)
    assert said.index("measuring, 12 s of 60 s") < said.index("measuring, 13 s of 60 s") < said.index("visit 8: ")
    assert said.count("\x1b[4A\x1b[J") == 2
    between = said[said.index("measuring, 13 s of 60 s") : said.index("visit 8: ")]
    assert "\x1b[4A\x1b[J" in between
