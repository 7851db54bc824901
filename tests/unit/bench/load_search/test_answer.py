"""The answer of a search in words and as an exit status, for each possible end."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.documents.formatting import duration
from bench.errors import Exit, TargetError, UsageError
from bench.load_search.answer import Answer, answer, known_text, load_text, percent
from bench.load_search.conclusion import conclude
from bench.load_search.decisions import Ending, Search
from bench.load_search.goals import Goal
from bench.load_search.visit_numbers import VisitNumbers
from bench.load_search.visits import Visit
from tests.support.made_visits import ERRORS, P99, in_turn, made_search, made_visit
from tests.unit.bench.load_search.test_conclusion import CALM, CHANGES, CLOSE, SCOUTS


def told(search: Search, ending: Ending | None = Ending.BUDGET, **given: Any) -> Answer:
    return answer(search, ending, given.pop("numbers", {}), **given)


def required(search: Search, load: float, ending: Ending = Ending.BUDGET) -> tuple[str, Exit]:
    found = told(search, ending, require=load)
    (line,) = [line for line in found.lines if line.startswith("required: ")]
    return line.removeprefix("required: "), found.exit


def flat(share: float, *loads: float, goal: Goal = ERRORS, **settings: Any) -> Search:
    """The same share of requests breaks the objective at any load. The first three visits are scouts."""
    visits = [
        made_visit(n, load, share, goal=goal, phase="scout" if n < 4 else "visit") for n, load in enumerate(loads, 1)
    ]
    return made_search(*visits, goals=(goal,), **settings)


BRACKET = made_search(*in_turn(*SCOUTS, *CLOSE))
NEVER = made_search(*in_turn(*CALM[:5], *[("visit", 32.0, 0.0)] * 3), most=32.0)


def test_up_to() -> None:
    found = told(BRACKET, Ending.PRECISION)
    assert found.headline == "It holds up to 38.4/s: between 36.7 and 39.8/s (about 90% sure)."
    assert found.lines == (
        "what binds: ttft:p99<500ms",
        "held: 35/s (99% sure)",
        "not held: 40/s (99% sure)",
        "ended: the interval is as narrow as asked for, after 11 visits and 13.2 min",
    )
    assert found.exit is Exit.GOOD


def test_visits_that_scatter_are_told_of() -> None:
    shares = (0.0, 0.05, 0.0, 0.06, 0.001, 0.04)
    rows = [("visit", load, share) for load, share in zip((30.0, 31.0) * 3, shares, strict=True)]
    search = made_search(*in_turn(*CALM, *rows, act={P99.text: 10.0}))
    assert search.estimates.fits[P99.text].spread > 2
    (line,) = [line for line in told(search).lines if "scatter" in line]
    spread = f"{search.estimates.fits[P99.text].spread:.1f}"
    assert line == f"visits scatter {spread} times as much as chance explains: the interval allows for it"
    assert not [line for line in told(BRACKET).lines if "scatter" in line]


def test_an_objective_that_every_request_breaks_at_any_load_is_named() -> None:
    every = made_search(*in_turn(("scout", 1.0, 1.0), ("scout", 2.0, 1.0), ("visit", 0.5, 1.0)))
    line = "every request broke ttft:p99<500ms, even at 0.5/s: the server may miss it without any load"
    assert line in told(every).lines
    spared = made_search(*in_turn(("scout", 1.0, 1.0), ("scout", 2.0, 1.0), ("visit", 0.5, 0.98)))
    at_one_load = made_search(*in_turn(("scout", 2.0, 1.0)))
    for search in (spared, at_one_load, BRACKET):
        assert not [line for line in told(search).lines if line.startswith("every request")]


def test_a_server_that_does_not_keep_up_is_what_binds() -> None:
    rows = [*in_turn(*CALM), made_visit(7, 30.0), made_visit(8, 40.0, kept_up=False)]
    search = made_search(*rows, made_visit(9, 40.0, phase="again", kept_up=False))
    assert told(search).lines[0] == "what binds: the server keeps up, and beyond it requests pile up"


def test_a_tenth_that_fails_at_any_load() -> None:
    search = flat(0.1, 1, 2, 4, 5, 6, 7, 8)
    assert search.next() is Ending.NOTHING_HOLDS
    found = told(search, Ending.NOTHING_HOLDS)
    assert found.headline == (
        "No load from 1 to 8/s held: the share of requests that break error_rate<1% does not depend on the load: 10% over "
        "7 visits. Lower loads were not tried: --max 1 searches there."
    )
    lowest = told(made_search(*search.results, goals=search.settings.goals, least=1.0), Ending.NOTHING_HOLDS)
    assert lowest.headline == (
        "No load held: the share of requests that break error_rate<1% does not depend on the load: 10% over 7 visits from "
        "1 to 8/s."
    )
    assert found.exit is Exit.OBJECTIVE_FAILED
    assert required(search, 5.0) == ("5/s is not held: 1/s broke", Exit.OBJECTIVE_FAILED)
    assert required(search, 1.0) == ("1/s is not held: 1/s broke", Exit.OBJECTIVE_FAILED)
    assert required(search, 0.5) == ("0.5/s; whether it is held is not shown", Exit.OBJECTIVE_FAILED)


def test_a_share_that_is_the_same_at_any_load_ends_a_search_after_four_visits() -> None:
    loads = (1, 2, 4, 5, 6, 7, 8)
    assert conclude(flat(0.1, *loads[:6])).flat is not None
    assert isinstance(flat(0.1, *loads[:6]).next(), Visit)
    assert flat(0.1, *loads).next() is Ending.NOTHING_HOLDS


def test_two_percent_that_fail_up_to_the_limit() -> None:
    search = flat(0.02, 5, 10, 20, 40, 40, 35, 30, 25, most=40.0)
    found = told(search, Ending.NOTHING_HOLDS)
    assert found.headline.startswith("No load from 25 to 40/s held: ")
    end = "2% over 5 visits. At lower loads too few were sent to tell: --max 25 searches there."
    assert found.headline.endswith(f"does not depend on the load: {end}")
    assert (found.exit, required(search, 33.0)[1]) == (Exit.OBJECTIVE_FAILED, Exit.OBJECTIVE_FAILED)


def test_jobs_that_fail_at_any_load_are_called_jobs() -> None:
    goal = Goal("job:p99<60s", 0.01)
    visits = [made_visit(n, load, 0.1, goal=goal, jobs={goal.text: 4_000}) for n, load in enumerate((1, 2, 4, 5, 8))]
    assert "the share of jobs that break job:p99<60s" in told(made_search(*visits, goals=(goal,))).headline


def test_a_server_that_never_breaks_up_to_the_limit() -> None:
    assert NEVER.next() is Ending.NEVER_FAILS
    found = told(NEVER, Ending.NEVER_FAILS)
    assert found.headline == (
        "At least 32/s (99% sure): --max ends the search there, and the server may hold more; 0% broke ttft:p99<500ms there."
    )
    assert (found.exit, len(found.lines)) == (Exit.GOOD, 1)
    assert required(NEVER, 32.0, Ending.NEVER_FAILS) == ("32/s is held (99% sure)", Exit.GOOD)


def test_a_short_visit_that_broke_at_a_lower_load_is_not_hidden() -> None:
    """A server that gets faster with load: without load, 2 of 2 requests were too slow, which is too few for a hint."""
    slow = [made_visit(n, load, 1.0, phase="scout", requests=2) for n, load in ((1, 2.0), (2, 1.0))]
    lost = made_visit(3, 0.5, 1.0, verdict="INVALID")
    held = in_turn(*CALM[:5], *[("visit", 32.0, 0.0)] * 3)[2:]
    begin = "At least 32/s (99% sure): --max ends the search there, and the server may hold more; "
    begin += "0% broke ttft:p99<500ms there. "
    for short, said in ((slow[1:], "1 short visit broke an objective, at 1/s."),
                        (slow, "2 short visits broke an objective, the lowest at 1/s.")):  # fmt: skip
        search = made_search(*short, lost, *held, most=32.0)
        assert told(search, Ending.NEVER_FAILS).headline == begin + said


def test_an_interval_that_ends_where_the_loads_do_is_open() -> None:
    rows = in_turn(("scout", 20.0, 0.0), ("scout", 41.0, 0.5), ("visit", 36.0, 0.0), ("visit", 40.0, 0.012))
    assert told(made_search(*rows)).headline == (
        "It holds up to 40.3/s: between 37.8 and 41/s or more (about 90% sure)."
    )


def test_a_server_that_never_broke_before_the_client_was_the_limit() -> None:
    rows = in_turn(*CALM[:5], ("visit", 32.0, 0.0), ("visit", 64.0, 0.0))
    lost = [made_visit(n, 120.0, 1.0, verdict="INVALID", phase="scout") for n in (8, 9, 10)]
    search = made_search(*rows, *lost)
    numbers = {10: VisitNumbers(reasons=("the processor was busy", "and more"))}
    found = told(search, Ending.CLIENT, numbers=numbers, require=4.0)
    assert found.headline == (
        "The client is the limit: three visits in a row were INVALID, the last at 120/s (the processor was busy). "
        "Until then: at least 64/s."
    )
    assert found.exit is Exit.INVALID
    assert found.lines[-1] == "ended: this client cannot measure more, after 10 visits (3 INVALID) and 12 min"
    assert told(search).headline.endswith("% sure): 0% broke ttft:p99<500ms there. No full visit above it counts.")


def test_the_client_may_be_the_limit_before_or_after_there_is_an_answer() -> None:
    lost = [made_visit(n, 120.0, 1.0, verdict="INVALID", phase="scout") for n in (20, 21, 22)]

    def headline(*visits: Any, **settings: Any) -> str:
        return told(made_search(*visits, *lost, **settings), Ending.CLIENT).headline

    begin = "The client is the limit: three visits in a row were INVALID, the last at 120/s."
    assert headline() == f"{begin} No visit has ended."
    assert headline(*in_turn(*CALM)) == f"{begin} Short visits only hint: nothing clearly broke up to 32/s."
    assert headline(*in_turn(*SCOUTS, *CLOSE)) == f"{begin} Until then: between 36.7 and 39.8/s."
    assert headline(*in_turn(*SCOUTS, ("visit", 35.0, 0.5))) == f"{begin} Until then: below 35/s."
    assert headline(*changing().results).startswith(f"{begin} No capacity is named: at 30/s and 32/s, ")
    assert headline(*flat(0.1, 1, 2, 4, 5, 6, 7, 8).results, goals=(ERRORS,)).startswith(
        f"{begin} No load from 1 to 8/s held: the share"
    )


def test_short_visits_above_the_highest_load_that_held_are_no_answer() -> None:
    found = told(made_search(*in_turn(*CALM[:5], ("visit", 16.0, 0.0), ("scout", 32.0, 0.0))))
    assert found.headline == "At least 16/s (99% sure): 0% broke ttft:p99<500ms there. No full visit above it counts."


def test_one_visit_below_a_scout_that_broke() -> None:
    sure = told(made_search(*in_turn(*SCOUTS, ("visit", 20.0, 0.0))))
    assert sure.headline == (
        "At least 20/s (97% sure): 0% broke ttft:p99<500ms there. Above it a short visit broke, and no full visit counts."
    )
    assert sure.exit is Exit.GOOD
    unsure = told(made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.0))))
    assert unsure.headline == "Not shown: no objective broke at 35/s, but it is only 87% sure that this load is held."
    assert unsure.exit is Exit.OBJECTIVE_FAILED


def test_one_visit_of_seven_that_broke_at_the_limit() -> None:
    visits = [*in_turn(("scout", 20.0, 0.0)), made_visit(2, 40.0, 0.0105), *(made_visit(n, 40.0) for n in range(3, 9))]
    found = told(made_search(*visits, most=40.0))
    assert found.headline == (
        "At least 40/s (99% sure): --max ends the search there, and the server may hold more; 0% broke ttft:p99<500ms there. "
        "1 of 7 visits did not hold."
    )


def test_below() -> None:
    found = told(made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.5))))
    assert (
        found.headline == "Below 35/s: there 50% of the requests break ttft:p99<500ms. No full visit below it counts."
    )
    assert found.exit is Exit.OBJECTIVE_FAILED
    lowest = made_search(*in_turn(*SCOUTS, ("visit", 45.0, 0.9), ("visit", 35.0, 0.5), ("visit", 40.0, 0.8)))
    assert told(lowest).headline == found.headline
    first = told(made_search(*in_turn(("scout", 50.0, 0.9), ("visit", 35.0, 0.5))))
    assert first.headline == (
        "Below 35/s: the lowest load that was measured, and there 50% of the requests break ttft:p99<500ms."
    )


def test_no_load_held_at_the_lowest_allowed() -> None:
    rows = in_turn(("scout", 1.0, 0.9), ("visit", 2.0, 0.5), ("visit", 1.0, 0.3))
    search = made_search(*rows, made_visit(4, 1.0, 1.0, verdict="FAILED"), least=1.0)
    found = told(search, Ending.NOTHING_HOLDS)
    assert found.headline == "No load held: at 1/s, the lowest allowed, 30% of the requests break ttft:p99<500ms."
    assert (found.exit, required(search, 2.0)[0]) == (Exit.OBJECTIVE_FAILED, "2/s is not held: 1/s broke")


def changing(goal: Goal = P99, *, back: bool = False) -> Search:
    rows = CHANGES[::-1] if back else CHANGES
    visits = [made_visit(n, load, share, goal=goal) for n, (load, share) in enumerate(rows, 1)]
    return made_search(*visits, goals=(goal,))


@pytest.mark.parametrize(("measure_s", "told_of"), [(6.0, True), (19.9, True), (20.0, False)])
def test_an_answer_of_short_visits_says_what_they_cannot_see(measure_s: float, told_of: bool) -> None:
    for rows in ([*SCOUTS, *CLOSE], [*CALM, ("visit", 32.0, 0.0)]):
        lines = told(made_search(*in_turn(*rows, measure_s=measure_s))).lines
        assert any(line.startswith("no visit measured over ") for line in lines) is told_of
    one_short = told(made_search(*in_turn(*SCOUTS, *CLOSE), made_visit(12, 37.0, measure_s=6.0)))
    assert not [line for line in one_short.lines if line.startswith("no visit measured over ")]


@pytest.mark.parametrize(("requests", "told_of"), [(74, True), (75, False)])
def test_an_answer_of_few_requests_says_how_many_would_show_it(requests: int, told_of: bool) -> None:
    rows = in_turn(
        ("scout", 8.0, 0.0), ("visit", 8.0, 0.0), ("visit", 9.0, 0.0), ("visit", 10.0, 0.0), ("visit", 11.0, 0.0)
    )
    visits = [replace(row, requests=requests if row.n < 5 else requests - 1) for row in rows]
    line = (
        f"ttft:p99<500ms was seen on {4 * requests - 1} requests in the visits that held, and 299 are the least that show "
        "that at most 1% break it: how sure the answer is rests on how servers usually break"
    )
    assert (line in told(made_search(*visits)).lines) is told_of


def test_a_failed_visit_in_the_middle_is_counted_and_not_judged() -> None:
    search = made_search(*in_turn(*SCOUTS, *CLOSE), made_visit(12, 36.0, 1.0, verdict="FAILED"))
    found = told(search)
    assert found.headline == told(BRACKET).headline
    assert found.lines[:3] == told(BRACKET).lines[:3]
    assert found.lines[-1] == "ended: the budget was spent, after 12 visits (1 FAILED) and 14.4 min"


def test_three_failed_visits_in_a_row_end_a_search() -> None:
    lost = [made_visit(n, 35.0, 1.0, verdict="FAILED") for n in (12, 13, 14)]
    before = in_turn(*SCOUTS, *CLOSE)
    search = made_search(*before)
    for result in lost:
        search.add(result)
    assert search.next() is Ending.TARGET
    found = told(search, Ending.TARGET, require=30.0)
    until_then = f"The server could no longer be measured. Until then: {told(BRACKET).headline}"
    assert (found.headline, found.exit) == (until_then, Exit.TARGET)
    assert found.lines[-1].startswith("ended: the server could no longer be measured, after 14 visits (3 FAILED)")


def test_a_search_of_which_every_visit_failed() -> None:
    search = made_search(least=1.0, start=2.0)
    for n, load in enumerate((2.0, 1.0, 1.0, 1.0, 1.0), 1):
        search.add(made_visit(n, load, 1.0, verdict="FAILED", phase="scout" if n < 3 else "visit"))
    assert search.next() is Ending.NOTHING_HOLDS
    found = told(search, Ending.NOTHING_HOLDS)
    assert (found.headline, found.exit) == ("No load held: every visit FAILED, down to 1/s.", Exit.TARGET)
    search.add(made_visit(6, 0.5, verdict="INVALID"))
    found = told(search, Ending.NOTHING_HOLDS)
    assert (found.headline, found.exit) == ("No load held: every valid visit FAILED, down to 1/s.", Exit.TARGET)
    one = made_search(made_visit(1, 8.0, 1.0, verdict="FAILED", phase="scout"))
    stopped = told(one, Ending.INTERRUPTED)
    assert (stopped.headline, stopped.exit) == ("No answer yet: every visit FAILED, down to 8/s.", Exit.INTERRUPTED)


def test_a_search_that_was_interrupted() -> None:
    scouting = told(made_search(*in_turn(*SCOUTS)), Ending.INTERRUPTED)
    assert scouting.headline == "No answer yet. Short visits only hint: nothing clearly broke up to 32/s, 64/s broke."
    assert scouting.exit is Exit.INTERRUPTED
    failed = told(made_search(*in_turn(*CALM), made_visit(7, 64.0, 1.0, verdict="FAILED")), Ending.INTERRUPTED)
    assert failed.headline == scouting.headline
    assert told(made_search(*in_turn(*SCOUTS))).exit is Exit.OBJECTIVE_FAILED
    assert told(made_search(), Ending.INTERRUPTED).headline == "No answer yet. No visit has ended."
    with_answer = told(BRACKET, Ending.INTERRUPTED)
    assert (with_answer.headline, with_answer.exit) == (told(BRACKET).headline, Exit.GOOD)
    changed = told(changing(), Ending.INTERRUPTED)
    assert changed.exit is Exit.OBJECTIVE_FAILED


def test_an_error_decides_the_status() -> None:
    assert told(BRACKET, Ending.TARGET, error=TargetError("gone")).exit is Exit.TARGET
    assert told(BRACKET, Ending.MACHINE, error=UsageError("disk full"), require=5.0).exit is Exit.USAGE


@pytest.mark.parametrize(
    ("ending", "more"),
    [
        (None, ""),
        (Ending.BUDGET, " --budget 1h"),
        (Ending.INTERRUPTED, ""),
        (Ending.TARGET, ""),
        (Ending.MACHINE, ""),
        (Ending.PRECISION, None),
        (Ending.CLIENT, None),
        (Ending.NEVER_FAILS, None),
        (Ending.NOTHING_HOLDS, None),
    ],
)
def test_how_to_go_on(ending: Ending | None, more: str | None) -> None:
    last = told(BRACKET, ending, directory=Path("runs/x")).lines[-1]
    if more is None:
        assert last.startswith("ended: ")
    else:
        assert last == f"to continue: python -m bench search --resume runs/x{more}"
    assert told(BRACKET, ending).lines[-1].startswith("ended: ")


def test_what_is_known_so_far() -> None:
    def text(search: Search, at: float | None = None) -> str:
        return known_text(search, conclude(search), at)

    assert text(BRACKET) == "between 36.7 and 39.8/s"
    assert text(BRACKET, 35.0) == "between 36.7 and 39.8/s, 99% sure of >= 35/s"
    assert text(NEVER, 32.0) == "at least 32/s, 99% sure of >= 32/s"
    assert re.fullmatch(
        r"below 35/s, \d+% sure of >= 20/s", text(made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.5))), 20.0)
    )
    assert text(made_search(*in_turn(*SCOUTS)), 20.0) == "no conclusion yet"
    assert text(made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.0))), 20.0).startswith("no conclusion yet, ")


@pytest.mark.parametrize(
    ("p", "text"), [(0.0, "1%"), (0.004, "1%"), (0.016, "2%"), (0.5, "50%"), (0.985, "98%"), (1.0, "99%")]
)
def test_nothing_is_certain(p: float, text: str) -> None:
    assert percent(p) == text


def test_one_visit_that_broke_by_little_is_not_shown_to_be_too_much() -> None:
    search = made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.0105)))
    sure = search.sure_of(35.0)
    assert 0.05 < sure < 0.95
    assert told(search).headline == (
        f"Not shown: a visit to 35/s broke, but that it is not held is only {100 * (1 - sure):.0f}% sure."
    )
    twice = made_search(*in_turn(*SCOUTS, ("visit", 35.1, 0.0102), ("visit", 35.0, 0.0102)))
    assert told(twice).headline.startswith("Not shown: a visit to 35/s broke, ")


@pytest.mark.parametrize(
    ("load", "kind", "text"),
    [
        (0.1, "rate", "0.1/s"),
        (12.345, "rate", "12.3/s"),
        (999.4, "rate", "999/s"),
        (999.5, "rate", "1,000/s"),
        (1_000.0, "rate", "1,000/s"),
        (12_345.6, "rate", "12,346/s"),
        (0.9999999999, "concurrency", "1 user"),
        (24.6, "concurrency", "24 users"),
        (1_234.0, "concurrency", "1,234 users"),
    ],
)
def test_a_load_has_three_digits_and_whole_users(load: float, kind: str, text: str) -> None:
    assert load_text(load, kind) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.42, "0.42 s"),
        (1.0, "1 s"),
        (89.9, "90 s"),
        (90.0, "1.5 min"),
        (5_399.0, "90 min"),
        (5_400.0, "1.5 h"),
        (7_200.0, "2 h"),
    ],
)
def test_a_time_is_in_seconds_minutes_or_hours(seconds: float, text: str) -> None:
    assert duration(seconds) == text
