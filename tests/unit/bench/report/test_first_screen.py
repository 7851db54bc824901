"""The first screen of a run: in 24 lines the load, the verdict, objectives, one table, errors, and what to do next."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bench.documents.document import Level, Table
from bench.documents.first_screen import by_message, error_row, first_screen, left_out, sent_words
from bench.errors import Exit
from bench.evaluate import exit_status
from bench.metrics.objectives import parse
from bench.metrics.planned_load import PlannedLoad
from bench.records import Outcome
from bench.results.summary import ErrorCount, RunSummary
from bench.verdict import SIGNS
from bench.verdict.advice import ADVICE, MORE
from tests.support.golden_run import golden_summary
from tests.support.made_records import made_record
from tests.support.made_summary import made_summary
from tests.support.rendered import run_page, run_text, typed_summary
from tests.support.results import filled


def first_lines(summary: Any, width: int = 80) -> list[str]:
    return run_text(summary, level=Level.FIRST, width=width).splitlines()


def many(n: int = 60, **facts: Any) -> Any:
    return made_summary(
        [made_record(i, sent_ms=i * 90.0, chunks_ms=(50.0 + i % 7, 70.0 + i % 5)) for i in range(n)], **facts
    )


def test_every_sign_has_its_advice() -> None:
    assert ADVICE.keys() == SIGNS.keys()
    assert MORE.keys() <= SIGNS.keys()


def test_a_first_screen_has_24_lines_at_80_columns() -> None:
    objectives = parse([f"ttft:p99<{limit}ms" for limit in (20, 90, 100, 110, 120, 130, 140, 150)])
    for summary in (golden_summary(), many(), many(objectives=objectives[:4])):
        lines = first_lines(summary)
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 80
    summary = many(objectives=objectives)
    assert "2 more held" in first_lines(summary)
    missed = many(objectives=parse([f"ttft:p99<{limit}ms" for limit in range(1, 41)] + ["ttft:p99<90ms"] * 9))
    assert "28 more missed, 9 more held" in first_lines(missed)
    text, page = run_text(summary), run_page(summary)
    for objective in objectives:
        assert str(objective.text) in text
        assert str(objective.text).replace("<", "&lt;") in page


def test_a_model_that_reasons_has_the_time_to_its_answer_too() -> None:
    reasoning, plain = (
        made_summary([made_record(i, sent_ms=i * 90.0, chunks_ms=(50.0, 70.0, 90.0), kinds=kinds) for i in range(60)])
        for kinds in ("ttc", "ccc")
    )
    (row,) = [line for line in first_lines(reasoning) if line.startswith("TTFO (ms)")]
    assert row.split()[2] == "90"
    assert "TTFO" not in " ".join(first_lines(plain))


@pytest.mark.parametrize(
    ("stream", "chunks_ms", "rows"),
    [
        (False, (), ["E2EL"]),
        (True, (), ["TTFT", "TPOT", "E2EL"]),  # The dashes show that the server streamed nothing.
        (False, (50.0, 70.0), ["TTFT", "TPOT", "E2EL"]),  # The server streams although the request did not ask for it.
    ],
)
def test_replies_that_are_not_streamed_have_no_rows_of_dashes(
    stream: bool, chunks_ms: tuple[float, ...], rows: list[str]
) -> None:
    summary = made_summary([made_record(i, sent_ms=i * 90.0, chunks_ms=chunks_ms) for i in range(9)])
    summary["run"]["config"] = {"stream": stream}
    lines = first_lines(summary)
    assert [name for name in ("TTFT", "TPOT", "E2EL") if any(line.startswith(f"{name} (ms)") for line in lines)] == rows


def test_the_statistic_of_an_objective_that_names_none_is_told() -> None:
    lines = first_lines(many(objectives=parse(["ttft<90ms", "ttft:p50<90ms", "error_rate<50%"])))
    rows = [re.split(r" {2,}", line)[:2] for line in lines if "<" in line]
    assert rows == [["ttft<90ms", "p99 56 ms"], ["ttft:p50<90ms", "53 ms"], ["error_rate<50%", "0%"]]


def test_missed_objectives_stand_first() -> None:
    lines = first_lines(many(objectives=parse(["ttft:p50<90ms", "ttft:mean<5ms"])))
    (first, second) = [line for line in lines if line.startswith("ttft:")]
    assert first.startswith("ttft:mean<5ms")
    assert "missed" in first
    assert "held" in second


def test_a_run_in_which_no_request_ended_misses_no_objective() -> None:
    records = [made_record(i, outcome=Outcome.INTERRUPTED, chunks_ms=()) for i in range(3)]
    objectives = parse(["ttft:p50<90ms", "error_rate<1%"])
    for some in ([], records):
        summary = made_summary(some, objectives=objectives)
        lines = first_lines(summary)
        assert [line.split("  ")[-1].strip() for line in lines if "<" in line][:2] == [
            "not shown: nothing was measured"
        ] * 2
        assert "missed" not in run_text(summary)
        assert "objectives missed" not in run_page(summary)
        assert exit_status(typed_summary(summary), stop_reason="interrupted") is Exit.INTERRUPTED
    failed = made_summary([made_record(outcome=Outcome.RESET, chunks_ms=())], objectives=objectives)
    assert "2 objectives missed" in run_page(failed)


@pytest.mark.parametrize(
    ("objectives", "status", "pill"),
    [
        (["ttft:p50<900ms"], "VALID", '<span class="pill good">objective held</span> VALID, '),
        (
            ["ttft:p50<900ms", "ttft:mean<900ms"],
            "SUSPECT",
            '<span class="pill good">2 objectives held</span> SUSPECT, ',
        ),
        (
            ["ttft:p50<900ms", "ttft:p999<900ms"],
            "VALID",
            '<span class="pill warn">2 objectives held, not shown</span> VALID',
        ),
        (["ttft:p50<900ms"], "INVALID", None),
        (["ttft:p50<900ms", "ttft:p50<1ms"], "VALID", '<span class="pill missed">objective missed</span>'),
        ([], "VALID", None),
    ],
)
def test_a_page_says_first_what_became_of_the_objectives(objectives: list[str], status: str, pill: str | None) -> None:
    summary = many(objectives=parse(objectives))
    summary["verdict"]["status"] = status
    page = run_page(summary)
    assert (pill or "</html>") in page
    assert page.count('<span class="pill') == (0 if pill is None else 2 if "missed" in pill else 1)


def test_only_what_a_run_shows_to_be_held_is_drawn_as_good() -> None:
    page = run_page(many(objectives=parse(["ttft:p50<900ms", "ttft:p99<900ms", "ttft:p50<1ms"])))
    said = re.findall(r'<td class="l w">(?:<span class="tone (\w+)">)?((?:held|missed)[^<]*)', page)
    assert set(said) == {
        ("good", "held"), ("", "held, not shown: too few independent values"), ("bad", "missed")
    }  # fmt: skip


def test_many_errors_are_shortened_on_the_first_screen_and_whole_in_the_details() -> None:
    records = [made_record(i, outcome=Outcome.HTTP_ERROR, status=500, chunks_ms=(), error=f"e{i}") for i in range(9)]
    summary = made_summary(records)
    shown = "\n".join(first_lines(summary))
    assert re.search(r"^5 +with 5 other messages$", shown, re.MULTILINE)
    assert "e8" not in shown
    assert "e8" in run_text(summary)
    assert "e8" in run_page(summary)
    long = made_summary([made_record(outcome=Outcome.HTTP_ERROR, status=500, chunks_ms=(), error="x" * 200 + "end")])
    assert "end" not in "\n".join(first_lines(long))
    assert "end" in run_page(long).partition("All errors")[2]


@pytest.mark.parametrize(
    ("held", "missed", "shown", "note"),
    [
        (6, 0, 6, ()), (7, 0, 6, ("1 more held",)), (5, 7, 7, ("5 more held",)), (1, 5, 6, ()), (0, 12, 12, ()),
        (0, 13, 12, ("1 more missed",)), (2, 14, 12, ("2 more missed, 2 more held",)),
    ],
)  # fmt: skip
def test_of_many_objectives_the_first_screen_has_six_or_up_to_twelve_that_are_missed(
    held: int, missed: int, shown: int, note: tuple[str, ...]
) -> None:
    rows = [{"objective": str(k), "held": k < held} for k in range(held + missed)]
    summary = filled(RunSummary, golden_summary() | {"slo": {"held": not missed, "objectives": rows}})
    of_all = [table for table in left_out(summary) if table.title == "All objectives"]
    (table,) = (b for b in first_screen(summary) if isinstance(b, Table) and b.title == "Objectives")
    assert (len(table.rows), table.notes, table.half) == (shown, note, True)
    assert table.rows[0].cells[0].text == str(held if missed else 0)
    assert [(len(whole.rows), whole.half, whole.level) for whole in of_all] == (
        [(held + missed, False, Level.USUAL)] if note else []
    )


@pytest.mark.parametrize(
    ("messages", "length", "shown", "last", "whole"),
    [(5, 9, 5, "", 0), (6, 9, 5, "with 2 other messages", 6), (1, 160, 1, "", 0), (1, 161, 1, "", 1)],
)
def test_many_or_long_errors_are_whole_in_the_details(
    messages: int, length: int, shown: int, last: str, whole: int
) -> None:
    errors = [{"outcome": "http_error", "error": str(k) * length, "n": 10 - k} for k in range(messages)]
    summary = filled(RunSummary, golden_summary() | {"errors": errors})
    (table,) = (b for b in first_screen(summary) if isinstance(b, Table) and b.title == "Errors")
    assert (len(table.rows), table.half, table.level) == (shown, True, Level.BRIEF)
    # 10 - 4 and 10 - 5 requests had the two messages that the first screen omits.
    assert [cell.text for cell in table.rows[-1].cells[::3]] == ["11", last] or not last
    assert [(len(of.rows), of.half, of.level) for of in left_out(summary)] == [(whole, False, Level.USUAL)] * bool(
        whole
    )


def test_the_advice_of_a_sign_stands_below_its_reason_and_only_once() -> None:
    summary = many(status="SUSPECT")
    summary["verdict"] |= {"reasons": ["p50 is off", "p99 is off"], "signs": ["calibration", "calibration"]}
    lines = first_lines(summary, 120)
    place = lines.index("  - p99 is off")
    assert lines[place - 1] == "  - p50 is off"
    assert lines[place + 1] == f"    to do: {ADVICE['calibration']}"
    del summary["verdict"]["signs"]
    assert "    to do" not in "\n".join(first_lines(summary))


def test_a_message_that_came_with_several_outcomes_is_one_row() -> None:
    errors = [
        filled(ErrorCount, outcome=outcome, status=status, error=error, n=n)
        for outcome, status, error, n in [
            ("timeout_idle", 200, "no byte", 5),
            ("reset", 200, "gone", 4),
            ("reset", None, "gone", 2),
            ("truncated", 200, "gone", 1),
            ("http_error", 500, None, 3),
            ("http_error", 503, None, 2),
        ]
    ]
    rows = [error_row(group) for group in by_message(errors)]
    assert [tuple(cell.text for cell in row.cells) for row in rows] == [
        ("7", "reset 6, truncated 1", "200, –", "gone"),
        ("5", "timeout_idle", "200", "no byte"),
        ("3", "http_error", "500", ""),
        ("2", "http_error", "503", ""),
    ]


def test_the_error_of_a_calibration_stands_beside_its_number() -> None:
    summary = many()
    rows = [{"metric": "ttft_ms", "stat": stat, "unit": "ms", "measured": 50.0, "error": error, "error_share": 0.001}
            for stat, error in (("p50", 0.012), ("p99", -0.3))]  # fmt: skip
    summary["calibration"] = {
        "from": "certificate", "date": "2026-01-02T03:04:05+00:00", "age_s": 7_300.0, "status": "VALID", "metrics": rows,
        "observation_lag_ms": {"n": 0}, "way_in_ms": {"n": 0}, "problems": [],
    }  # fmt: skip
    head, ttft = (line for line in first_lines(summary) if "Median" in line or line.startswith("TTFT"))
    assert head.count("error") == 2
    assert "+0.012" in ttft
    assert "-0.300" in ttft
    note = "Errors: what a calibration of a similar load found on this machine, 2 hours ago."
    assert note in "\n".join(first_lines(summary))
    assert "error" not in "\n".join(first_lines(many())).partition("calibrate")[0]


@pytest.mark.parametrize(
    ("run", "changes", "words"),
    [
        (
            {"endpoint": "chat", "model": "m", "config": {"stream": True}}, {"concurrency": 8},
            "8 users, 60 requests, 100 tokens in, 2 out, streamed chat, model m",
        ),
        ({"endpoint": "chat", "config": {"stream": False}}, {"concurrency": 1},
         "1 user, 60 requests, 100 tokens in, 2 out, chat"),
        ({"endpoint": "chat"}, {"concurrency": 2}, "2 users, 60 requests, 100 tokens in, 2 out, streamed chat"),
        ({"model": "a, b"}, {"offered_rps": 12.5}, "12.50 requests/s, 60 requests, 100 tokens in, 2 out, models a, b"),
        ({}, {"mode": "throughput"}, "all at once, 60 requests, 100 tokens in, 2 out"),
    ],
)  # fmt: skip
def test_the_first_line_says_what_was_sent(run: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    summary = many()
    summary["run"] = run
    summary["load"] |= changes
    assert sent_words(typed_summary(summary)) == words


def test_the_mean_prompt_is_that_of_the_prompts_whose_length_is_known() -> None:
    of: list[dict[str, Any]] = [
        {"input_tokens": None, "input_tokens_asked": None},
        {"input_tokens": None, "input_tokens_asked": 30},
        {"input_tokens": 50, "input_tokens_asked": 30},
    ]
    for which, words in (
        ((1, 2), "40 tokens in, "),
        ((0, 1, 2), "about 40 tokens in, "),
        ((0, 0), "2 requests, 3 tokens out"),
    ):
        summary = made_summary([made_record(k, **of[row]) for k, row in enumerate(which)])
        assert words in sent_words(typed_summary(summary))


def test_what_helps_next_depends_on_the_run() -> None:
    def next_of(summary: Any) -> list[str]:
        return [line for line in first_lines(summary, 120) if line.startswith("next: ")]

    short = many(20)
    assert [line.split()[1] for line in next_of(short)] == ["--duration", "python"]
    assert "P90" in next_of(short)[0]
    # A run that was planned to be longer gets no advice to shorten it.
    short["run"]["stop_reason"] = "interrupted"
    assert next_of(short)[0] == "next: python -m bench run (same flags), to its end, measures what was planned"
    missed = many(objectives=parse(["ttft:p50<1ms"]))
    assert next_of(missed)[0].startswith("next: python -m bench search ")
    held = many(objectives=parse(["ttft:p50<900ms"]))
    assert "finds the largest load that keeps" in next_of(held)[0]
    # At most two commands; one if the numbers of the run are in doubt.
    assert len(next_of(many(20, objectives=parse(["ttft:p50<1ms"])))) == 2
    assert len(next_of(many(20, status="SUSPECT"))) == 1
    unsure = many(objectives=parse(["ttft:p999<900ms"]))
    assert not any("bench search" in line for line in next_of(unsure))
    assert next_of(made_summary([], "INVALID")) == []


@pytest.mark.parametrize(
    ("config", "command"),
    [
        ({"mode": "trace"}, "--dataset with 1 s of requests gives P90"),
        ({"mode": "rate", "steps": "5,10:60s"}, "--steps of 1 s in all gives P90"),
        ({"mode": "rate", "ramp": "5..10:60s"}, "--ramp of 1 s in all gives P90"),
        (
            {"mode": "throughput", "requests": 20, "max_concurrency": 2},
            "--duration 1s in place of --requests gives P90",
        ),
    ],
)
def test_no_load_is_told_a_duration_that_it_refuses(config: dict[str, Any], command: str) -> None:
    short = many(20)
    short["run"]["config"], short["run"]["stop_reason"] = config, "requests"
    (line, *_) = [line for line in first_lines(short, 120) if line.startswith("next: ")]
    assert re.sub(r"\d+ ?s", "1 s", line) == f"next: {command.replace('1s', '1 s')} its interval"


def piling(late_by: float, **facts: Any) -> Any:
    """At a rate of 10/s for 20 s, each reply this many ms later than the previous one."""
    records = [
        made_record(i, sent_ms=100.0 * i, chunks_ms=(50.0 + late_by * i, 90.0 + late_by * i)) for i in range(200)
    ]
    given: dict[str, Any] = {"mode": "rate", "open_loop": True, "offered_rps": 10.0} | facts
    return made_summary(records, **given)


def test_a_rate_that_piles_up_requests_is_told_no_duration_that_would_do() -> None:
    summary = piling(50.0)
    text = " ".join(run_text(summary, width=100).split())
    assert (
        "The number of requests in flight kept rising while the load was sent: 13.4 in its first third, 56.2 in its last. "
        "E2EL became 4.91 times as long. If the server does not keep up with this rate, a longer load has longer latencies."
    ) in text
    assert "python -m bench search --load rate with an objective" in text
    assert "--duration" not in text
    assert "a run of" not in run_page(summary)
    summary = piling(50.0, mode="trace")
    summary["run"]["config"] = {"mode": "trace", "trace_speed": 2.0}
    text = " ".join(run_text(summary, width=100).split())
    assert "does not keep up with these times of the requests, a longer load" in text
    assert "next: --trace-speed below 2 sends the rows more slowly" in " ".join(first_lines(summary))
    assert "--dataset" not in text
    missed = first_lines(piling(50.0, objectives=parse(["ttft:p50<1ms"])), 120)
    assert sum("bench search" in line for line in missed) == 1


@pytest.mark.parametrize(
    ("late_by", "facts"),
    [
        (1.0, {}),
        (50.0, {"mode": "concurrency", "open_loop": False}),
        (50.0, {"ramp_s": 5.0}),
        (50.0, {"segments": (PlannedLoad(5, 15, 0, 20_000_000_000),)}),
    ],
)
def test_a_load_that_does_not_pile_up_or_has_no_fixed_rate_says_nothing_of_it(
    late_by: float, facts: dict[str, Any]
) -> None:
    summary = piling(late_by, **facts)
    assert "kept rising" not in run_text(summary, width=100)
    assert ("backlog" in summary["load"]) is (not facts)


@pytest.mark.parametrize(
    ("facts", "longer"),
    [
        ({"mode": "throughput"}, False),
        ({"mode": "throughput", "max_concurrency": 4}, True),
        ({"mode": "trace", "open_loop": True}, False),
        ({"mode": "concurrency", "concurrency": 20}, True),
    ],
)
def test_what_is_sent_at_once_has_no_length_that_would_do(facts: dict[str, Any], longer: bool) -> None:
    records = [made_record(i, sent_ms=0.0, chunks_ms=(50.0 + 9 * i, 90.0 + 9 * i)) for i in range(20)]
    summary = made_summary(records, **facts)
    missing = summary["latency"]["ttft_ms"]["too_few"]["p50"]
    assert (missing["run_s"] is not None) is longer
    assert any(line.startswith("next: --") for line in first_lines(summary)) is longer


def test_sessions_that_pile_up_are_told_as_sessions() -> None:
    records = [
        made_record(
            2 * i + turn, sent_ms=500.0 * i + turn * (1_000 + 200 * i), chunks_ms=(100.0, 900.0 + 190 * i),
            session=f"s{i}", session_number=i, session_turns=2, turn=turn, after=(turn - 1,) if turn else (),
        )
        for i in range(60) for turn in (0, 1)
    ]  # fmt: skip
    summary = made_summary(records, mode="sessions", open_loop=True, sessions_per_s=2.0)
    text = " ".join(run_text(summary, width=100).split())
    assert "The number of sessions under way kept rising while the load was sent: " in text
    assert "python -m bench search --load sessions with an objective" in text
    assert "--duration" not in text
    closed = made_summary(records, mode="sessions", concurrency=60)
    assert "backlog" not in closed["load"]
