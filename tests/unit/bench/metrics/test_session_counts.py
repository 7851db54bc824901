"""How sessions ended, and how many of their turns were not sent."""

from __future__ import annotations

from typing import Any

from bench.documents.jobs import rows
from bench.metrics.session_counts import SessionCounts
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from bench.results.summary import RunSummary
from tests.support.made_records import made_record
from tests.support.results import filled
from tests.support.tables import table_of


def turn(session: int, number: int, *, turns: int = 4, outcome: Outcome = Outcome.OK, **fields: Any) -> RequestRecord:
    place: dict[str, Any] = {
        "session": "row-1",
        "session_number": session,
        "session_turns": turns,
        "turn": number,
        "job": 0,
    }
    return made_record(10 * session + number, outcome=outcome, **place, **fields)


def counted(*records: RequestRecord) -> dict[str, Any]:
    counts = SessionCounts()
    counts.add(table_of(*records))
    found = counts.describe(None)
    assert found is not None
    return to_plain(found)


def numbers(**given: int) -> dict[str, Any]:
    names = ("held", "whole", "failed", "unfinished", "begun_in_middle", "turns_not_sent")
    return {"offered_per_s": None, **dict.fromkeys(names, 0), **given}


def test_a_session_is_whole_when_all_its_turns_were_answered() -> None:
    assert counted(*(turn(0, number) for number in range(4))) == numbers(held=1, whole=1)


def test_a_failed_turn_ends_its_session_and_what_was_not_sent_is_counted() -> None:
    failed = [turn(0, 0), turn(0, 1, outcome=Outcome.RESET)]
    left = [turn(1, 0, turns=9, outcome=Outcome.CANCELLED)]
    assert counted(*failed, *left) == numbers(held=2, failed=2, turns_not_sent=2 + 8)


def test_a_session_that_failed_once_has_failed_whatever_came_after() -> None:
    turns = [turn(0, 0, outcome=Outcome.RESET), turn(0, 1), turn(0, 2)]
    for order in (turns, turns[::-1]):
        assert counted(*order) == numbers(held=1, failed=1, turns_not_sent=1)


def test_a_session_of_the_warm_up_alone_is_not_counted_and_one_that_went_on_is() -> None:
    warmed = [turn(0, number, phase="warmup") for number in range(4)]
    half = [turn(1, number, phase="warmup" if number < 2 else "run") for number in range(4)]
    assert counted(*warmed, *half) == numbers(held=1, whole=1)
    assert counted(*half[::-1]) == numbers(held=1, whole=1)


def test_a_failed_last_turn_leaves_nothing_unsent() -> None:
    assert counted(turn(0, 0, turns=1, outcome=Outcome.NO_TOKENS)) == numbers(held=1, failed=1)


def test_what_the_end_of_the_run_cut_off_is_unfinished_and_not_counted_as_unsent() -> None:
    assert counted(turn(0, 0), turn(1, 0, outcome=Outcome.INTERRUPTED)) == numbers(held=2, unfinished=2)


def test_turns_before_a_beginning_in_the_middle_are_missed_by_nobody() -> None:
    whole = [turn(0, number, session_turns_before=1) for number in (1, 2, 3)]
    failed = [turn(1, 2, session_turns_before=2, outcome=Outcome.RESET)]
    assert counted(*whole, *failed) == numbers(held=2, whole=1, failed=1, begun_in_middle=2, turns_not_sent=1)


def test_a_session_that_began_in_the_warm_up_is_known_whole_and_one_that_ended_there_is_not_counted() -> None:
    began = [turn(0, 0, phase="warmup"), *(turn(0, number) for number in (1, 2, 3))]
    ended = [turn(1, 0, phase="warmup", outcome=Outcome.RESET)]
    assert counted(*began, *ended) == numbers(held=1, whole=1)


def test_a_run_without_sessions_has_none() -> None:
    counts = SessionCounts()
    counts.add(table_of(made_record(0), made_record(1, session_number=3), made_record(2, session_turns=2)))
    assert counts.describe(3.0) is None


def test_the_report_names_them() -> None:
    summary = {"sessions": counted(turn(0, 0, outcome=Outcome.RESET), turn(1, 0)) | {"offered_per_s": 2.5}}
    assert [(row.name, row.value) for row in rows(filled(RunSummary, summary))] == [
        ("Sessions", "2 · 0 whole · 1 failed · 1 unfinished"),
        ("New sessions", "2.500/s"),
        ("Turns not sent", "3"),
    ]
    assert rows(filled(RunSummary)) == []
