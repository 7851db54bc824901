"""The first screen of a run made by hand: its table of numbers cell by cell, its banner, and what it suggests next."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents.document import Banner, Block, Cell, Finding, Findings, Level, Reason, Table
from bench.documents.first_screen import TROUBLESHOOTING, banner, error_row, first_screen, objective_table, sent_words
from bench.results.summary import ErrorCount, RunSummary
from tests.support.golden_run import golden_summary
from tests.support.results import filled


def summary(**changes: Any) -> RunSummary:
    """The golden run with these parts replaced; a dict changes only its keys."""
    golden = golden_summary()
    parts = {
        name: {**golden[name], **part} if isinstance(part, dict) and isinstance(golden.get(name), dict) else part
        for name, part in changes.items()
    }
    return filled(RunSummary, golden | parts)


def blocks(**changes: Any) -> list[Block]:
    return list(first_screen(summary(**changes)))


def numbers(**changes: Any) -> Table:
    (found,) = (b for b in blocks(**changes) if isinstance(b, Table) and b.title == "Latency and throughput")
    return found


def texts(found: Table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in found.rows]


def rates(**values: Any) -> dict[str, Any]:
    ci95 = dict.fromkeys(("requests_per_s", "inputs_per_s", "input_tokens_per_s", "output_tokens_per_s"), None)
    return {"ci95": {**golden_summary()["throughput"]["ci95"], **ci95, **values.pop("ci95", {})}, **values}


def error(metric: str, stat: str, **fields: Any) -> dict[str, Any]:
    return {"metric": metric, "stat": stat, "unit": "ms", "measured": 1.0, **fields}


LEDGER = {"from": "ledger", "clock": "shared", "mock": {"done_minus_planned_ms": {"n": 0}}, "observation_lag_ms": {"n": 0},
          "way_in_ms": {"n": 0}}  # fmt: skip


def test_numbers_have_the_errors_of_their_own_calibration() -> None:
    metrics = [error(metric, stat, true=1.0, error=size) for metric, stat, size in (
        ("e2el_ms", "p50", 9.0), ("ttft_ms", "p99", -0.3), ("ttft_ms", "p50", 0.012),
    )]  # fmt: skip
    throughput = [error(rate, "mean", true=1.0, error_share=share) for rate, share in (
        ("requests_per_s", 0.01), ("output_tokens_per_s", -0.0225),
    )]  # fmt: skip
    found = numbers(calibration={**LEDGER, "metrics": metrics, "throughput": throughput})
    rows = {row.cells[0].text: [cell.below[1] for cell in row.cells[1:]] for row in found.rows}
    assert rows == {
        "TTFT": ["+0.012", "-0.300"], "TPOT": ["", ""], "E2EL": ["+9.000", ""], "Output tokens/s": ["-2.25%"],
        "Requests/s": ["+1.00%"],
    }  # fmt: skip
    assert found.notes == ()
    assert {below for row in numbers().rows for cell in row.cells[1:] for below in cell.below[1:]} == {""}


KNOWN = {"from": "certificate", "date": "d", "version": "v", "shape": {}, "status": "VALID", "age_s": 86_400.0,
         "observation_lag_ms": {"n": 0}, "way_in_ms": {"n": 0}}  # fmt: skip


@pytest.mark.parametrize(
    ("errors", "calibration", "notes"),
    [
        (True, None, ()),
        (False, None, ("No request failed.",)),
        (False, {**KNOWN, "metrics": [error("ttft_ms", "p50", error=0.5)]},
         ("No request failed.", "Errors: what a calibration of a similar load found on this machine, 1 day ago.")),
        (True, {**KNOWN, "metrics": []}, ()),
    ],
)  # fmt: skip
def test_the_table_says_what_stands_beside_its_numbers(errors: bool, calibration: Any, notes: tuple[str, ...]) -> None:
    golden = golden_summary()
    found = numbers(errors=golden["errors"] if errors else [], calibration=calibration)
    assert found.notes == notes
    assert (found.below, found.beside, found.level, found.half, found.lead) == (
        ("95% interval", "error"), True, Level.FIRST, True, True,
    )  # fmt: skip


def test_a_number_without_an_interval_says_what_would_give_it_one() -> None:
    few = {"independent": 3.0, "needed": 20, "run_s": 30}
    golden = golden_summary()
    ttft = golden["latency"]["ttft_ms"] | {"ci95": {"p50": [46.5, 53.4], "p99": None}, "too_few": {"p99": few}}
    output = rates(output_tokens_per_s=112.2, ci95={"requests_per_s": [8.0, 9.5]}, too_few={"output_tokens_per_s": few})
    found = numbers(latency={"ttft_ms": ttft}, throughput=output)
    why = "too few independent values: 3 of 20; a run of about 30 s would do"
    assert found.rows[0].cells[1:] == (
        Cell("50.71", below=("46.50–53.40", ""), key="ttft:p50"),
        Cell("59.49", below=("too few", ""), hint=why, key="ttft:p99"),
    )  # fmt: skip
    assert [row.cells[1] for row in found.rows[-2:]] == [
        Cell("112.2", below=("too few", ""), hint=why, key="output_tokens_per_s"),
        Cell("8.915", below=("8–9.500", ""), key="requests_per_s"),
    ]


@pytest.mark.parametrize(
    ("ttft", "ttfo", "stream", "shown"),
    [
        ({"n": 5, "p50": 2.0}, {"n": 5, "p50": 2.0}, True, ["TTFT", "TPOT", "E2EL"]),
        ({"n": 5, "p50": 2.0}, {"n": 5, "p50": 3.0}, True, ["TTFT", "TTFO", "TPOT", "E2EL"]),
        ({"n": 5, "p50": 2.0}, {"n": 0, "p50": None}, True, ["TTFT", "TPOT", "E2EL"]),
        ({"n": 0, "p50": None}, {"n": 0, "p50": None}, True, ["TTFT", "TPOT", "E2EL"]),
        ({"n": 0, "p50": None}, {"n": 0, "p50": None}, False, ["E2EL"]),
        ({"n": 1, "p50": 2.0}, {"n": 0, "p50": None}, False, ["TTFT", "TPOT", "E2EL"]),
    ],
)  # fmt: skip
def test_the_first_latencies_are_those_that_the_replies_have(
    ttft: dict[str, Any], ttfo: dict[str, Any], stream: bool, shown: list[str]
) -> None:
    golden = golden_summary()["latency"]
    latency = {"ttft_ms": golden["ttft_ms"] | ttft, "ttfo_ms": golden["ttfo_ms"] | ttfo}
    found = numbers(latency=latency, run={"config": {"stream": stream}})
    assert [row[0] for row in texts(found)][: len(shown)] == shown
    assert len(found.rows) == len(shown) + 2


@pytest.mark.parametrize(
    ("are", "input_tokens", "shown"),
    [
        ("texts", 50.0, [["Texts/s", "2.500"], ["Input tokens/s", "50"], ["Requests/s", "8.915"]]),
        ("texts", None, [["Texts/s", "2.500"], ["Requests/s", "8.915"]]),
        ("images", None, [["Images/s", "2.500"], ["Images/min", "150"], ["Requests/s", "8.915"]]),
        ("requests", None, [["Requests/s", "8.915"]]),
    ],
)
def test_rates_are_of_what_the_requests_consist_of(
    are: str, input_tokens: float | None, shown: list[list[str]]
) -> None:
    per_s = rates(inputs_per_s=2.5, input_tokens_per_s=input_tokens, ci95={"inputs_per_s": [2.0, 3.0]})
    found = numbers(inputs={"are": are}, throughput=per_s, calibration=None)
    with_one_value = [row for row in texts(found) if len(row) == 2]
    assert with_one_value == shown
    if are == "images":
        (row,) = (row for row in found.rows if row.cells[0].text == "Images/min")
        assert row.cells[1].below == ("120–180",)
        none = numbers(inputs={"are": are}, throughput=per_s | {"inputs_per_s": None}, calibration=None)
        assert "Images/min" not in [row[0] for row in texts(none)]


JOB_S = {"n": 9, "p50": 12.5, "p99": 30.0, "ci95": {"p50": [12.0, 13.0], "p99": None}, "too_few": {}, "bounds": {}}


@pytest.mark.parametrize(("steps", "shown"), [(1, False), (2, True)])
def test_jobs_of_several_steps_have_their_seconds_and_their_rate(steps: int, shown: bool) -> None:
    jobs = {"job_s": JOB_S, "steps": {"max": steps}, "rates": {"jobs_per_hour": 120.0, "ci95": {"jobs_per_hour": None}}}
    rows = {row.cells[0].text: row.cells for row in numbers(jobs=jobs).rows}
    assert ("Job" in rows, "Jobs/h" in rows) == (shown, shown)
    if shown:
        assert [(cell.text, cell.below) for cell in rows["Job"][1:]] == [
            ("12.50", ("12–13",)), ("30", ("too few",)),
        ]  # fmt: skip
        assert rows["Job"][0].unit == "s"
        assert [(cell.text, cell.below) for cell in rows["Jobs/h"][1:]] == [("120", ("too few",))]
        nothing = jobs | {"rates": {"jobs_per_hour": None, "ci95": {"jobs_per_hour": None}}}
        (row,) = (row for row in numbers(jobs=nothing).rows if row.cells[0].text == "Jobs/h")
        assert (row.cells[1].text, row.cells[1].below) == ("–", ("",))


def objective(text: str, held: bool, **fields: Any) -> dict[str, Any]:
    return {
        "objective": text,
        "held": held,
        "shown": "held" if held else "missed",
        "value": 5.0,
        "unit": "ms",
        **fields,
    }


UNSURE = {"shown": "not shown"}


@pytest.mark.parametrize(
    ("status", "objectives", "missed", "held", "tone"),
    [
        ("VALID", [], "", "", "good"),
        ("VALID", [objective("a", True)], "", "objective held", "good"),
        ("VALID", [objective("a", True)] * 2, "", "2 objectives held", "good"),
        ("VALID", [objective("a", True), objective("b", True, **UNSURE)], "", "2 objectives held, not shown", "warn"),
        ("SUSPECT", [objective("a", True)], "", "objective held", "good"),
        ("INVALID", [objective("a", True)], "", "", "good"),
        ("INVALID", [objective("a", False), objective("b", True)], "objective missed", "", "good"),
        ("VALID", [objective("a", False)] * 3 + [objective("b", True)], "3 objectives missed", "", "good"),
    ],
)
def test_a_banner_says_what_became_of_the_objectives(
    status: str, objectives: list[dict[str, Any]], missed: str, held: str, tone: str
) -> None:
    judged = {"held": not missed, "objectives": objectives}
    (found,) = banner(summary(slo=judged, verdict={"status": status, "reasons": [], "signs": []}))
    assert (found.missed, found.held, found.held_tone) == (missed, held, tone)
    (found,) = banner(summary(slo=judged | {"held": None}, verdict={"status": status, "reasons": [], "signs": []}))
    assert (found.missed, found.held) == ("", "")


def test_a_verdict_has_its_reasons_and_each_advice_once() -> None:
    reasons = {"reasons": ["p50 is off", "p99 is off"], "signs": ["calibration", "calibration"]}
    (found,) = banner(summary(verdict={"status": "SUSPECT", **reasons}))
    assert isinstance(found, Banner)
    assert [(reason.text, bool(reason.advice)) for reason in found.reasons] == [
        ("p50 is off", False),
        ("p99 is off", True),
    ]
    assert found.more == f"Causes and remedies: {TROUBLESHOOTING}"
    (good,) = banner(summary(verdict={"status": "VALID", "reasons": [], "signs": []}))
    assert (good.reasons, good.more) == ((), "")
    errors = [{"outcome": "reset", "n": 1234}]
    (failed,) = banner(summary(verdict={"status": "FAILED", "reasons": ["all"], "signs": None}, errors=errors))
    assert failed.reasons == (Reason("1,234 failed: reset"), Reason("all"))


@pytest.mark.parametrize(
    ("status", "held", "fields", "cell"),
    [
        ("VALID", True, {}, Cell("held", "good")),
        ("SUSPECT", True, {}, Cell("held")),
        ("VALID", True, UNSURE, Cell("held, not shown: too few independent values")),
        ("VALID", False, {}, Cell("missed", "bad")),
        ("SUSPECT", False, UNSURE, Cell("missed, not shown: too few independent values", "bad")),
    ],
)
def test_an_objective_is_good_only_if_the_run_shows_it(
    status: str, held: bool, fields: dict[str, Any], cell: Cell
) -> None:
    row = objective("ttft:p50<9ms", held, **fields)
    of_run = summary(slo={"held": held, "objectives": [row]}, verdict={"status": status, "reasons": []})
    for level, half in ((Level.FIRST, True), (Level.USUAL, False)):
        table = objective_table("t", of_run.slo.objectives, of_run, level=level)
        assert (table.rows[0].cells[2], table.half) == (cell, half)
    assert table.rows[0].cells[0] == Cell("ttft:p50<9ms", code=True)
    assert [(column.title, column.left, column.wrap) for column in table.columns] == [
        ("Objective", False, False), ("Measured", False, False), ("", True, True),
    ]  # fmt: skip


def test_missed_objectives_are_shown_even_with_quiet() -> None:
    for held, level in ((False, Level.BRIEF), (True, Level.FIRST)):
        (found,) = (
            b for b in blocks(slo={"held": held, "objectives": [objective("a", held)]})
            if isinstance(b, Table) and b.title == "Objectives"
        )  # fmt: skip
        assert found.level is level


@pytest.mark.parametrize(
    ("length", "width", "message"),
    [(160, 160, "x" * 160), (161, 160, "x" * 160 + "…"), (161, None, "x" * 161)],
)
def test_a_long_message_is_cut_only_on_the_first_screen(length: int, width: int | None, message: str) -> None:
    row = error_row([filled(ErrorCount, outcome="reset", error="x" * length, n=1234)], width)
    assert [cell.text for cell in row.cells] == ["1,234", "reset", "–", message]
    assert row.cells[1].code


FEW = {"independent": 3.0, "needed": 20, "run_s": 29.2}
CALIBRATED = {**LEDGER, "metrics": []}


def following(**changes: Any) -> list[str]:
    """The suggestions: command and text."""
    usual: dict[str, Any] = {"verdict": {"status": "VALID", "reasons": [], "signs": []}, "calibration": CALIBRATED,
                             "slo": {"held": None, "objectives": []}, "counts": {"succeeded": 9}}  # fmt: skip
    latencies = golden_summary()["latency"]
    enough = {key: {**latencies[key], "too_few": {}} for key in ("ttft_ms", "e2el_ms")}
    run = {"config": {}, **changes.pop("run", {})}
    of_run = blocks(**{**usual, "latency": enough, **changes, "run": run})
    found = [b for b in of_run if isinstance(b, Findings) and b.title == "Next"]
    assert all(block.level is Level.FIRST and block.half for block in found)
    return [f"{finding.command} {finding.text}" for block in found for finding in block.sentences]


def ttft(stat: str = "p99", n: int = 9, run_s: float | None = 29.2) -> dict[str, Any]:
    """Latencies in which one statistic of TTFT, and the median E2EL, have too few values."""
    golden = golden_summary()["latency"]
    return {
        "ttft_ms": golden["ttft_ms"] | {"n": n, "too_few": {stat: {**FEW, "run_s": run_s}}},
        "e2el_ms": golden["e2el_ms"] | {"too_few": {"p50": {**FEW, "run_s": 7}}},
    }


COMPARE = "python -m bench compare RUN OTHER compares it with another run"
CALIBRATE = "python -m bench calibrate (same flags) measures the error of these numbers"
SEARCH = "python -m bench search (same flags) finds {} load that keeps the objectives"


@pytest.mark.parametrize(
    ("changes", "suggestions"),
    [
        ({}, [COMPARE]),
        ({"calibration": None}, [CALIBRATE]),
        ({"verdict": {"status": "INVALID", "reasons": [], "signs": []}}, []),
        ({"counts": {"succeeded": 0}}, []),
        ({"verdict": {"status": "VALID", "reasons": [], "signs": ["imported"]}}, []),
        ({"slo": {"held": False, "objectives": [objective("a", False)]}}, [SEARCH.format("a")]),
        ({"slo": {"held": True, "objectives": [objective("a", True)]}}, [SEARCH.format("the largest")]),
        ({"slo": {"held": True, "objectives": [objective("a", True), objective("b", True, **UNSURE)]}}, [COMPARE]),
        ({"slo": {"held": True, "objectives": []}}, [COMPARE]),
        ({"run": {"stop_reason": "interrupted"}},
         ["python -m bench run (same flags), to its end, measures what was planned"]),
        ({"latency": ttft()}, ["--duration 30s gives P99 its interval"]),
        ({"latency": ttft("p50")}, ["--duration 30s gives the median its interval"]),
        ({"latency": ttft("p95")}, [COMPARE]),
        ({"latency": ttft(run_s=None)}, [COMPARE]),
        ({"latency": ttft(n=0)}, ["--duration 7s gives the median its interval"]),
        ({"latency": ttft(), "run": {"config": {"requests": 9}}},
         ["--duration 30s in place of --requests gives P99 its interval"]),
        ({"latency": ttft(), "run": {"config": {"steps": "1,2:5s", "requests": 9}}},
         ["--steps of 30 s in all gives P99 its interval"]),
        ({"latency": ttft(), "run": {"config": {"ramp": "1..2:5s"}}}, ["--ramp of 30 s in all gives P99 its interval"]),
        ({"latency": ttft(), "run": {"config": {"mode": "trace"}, "stop_reason": "requests"}},
         ["--dataset with 30 s of requests gives P99 its interval"]),
        ({"latency": ttft(), "run": {"config": {"mode": "trace"}, "stop_reason": "duration"}},
         ["--duration 30s gives P99 its interval"]),
        # At most two, and one if the numbers are in doubt.
        ({"latency": ttft(), "calibration": None}, ["--duration 30s gives P99 its interval", CALIBRATE]),
        ({"latency": ttft(), "calibration": None, "slo": {"held": False, "objectives": [objective("a", False)]}},
         [SEARCH.format("a"), "--duration 30s gives P99 its interval"]),
        ({"latency": ttft(), "calibration": None, "verdict": {"status": "SUSPECT", "reasons": [], "signs": []}},
         ["--duration 30s gives P99 its interval"]),
    ],
)  # fmt: skip
def test_what_helps_next_is_said_in_a_command(changes: dict[str, Any], suggestions: list[str]) -> None:
    assert following(**changes) == suggestions


RISES = {"of": "requests", "first": 1.0, "last": 9.0, "e2el_growth": 2.0, "rises": True}


@pytest.mark.parametrize(
    ("backlog", "changes", "suggestions"),
    [
        (RISES, {}, ["python -m bench search --load rate with an objective and the other flags finds a rate the server "
                     "keeps up with"]),
        ({**RISES, "of": "sessions"}, {},
         ["python -m bench search --load sessions with an objective and the other flags finds how many sessions at a "
          "time the server keeps up with"]),
        (RISES, {"run": {"config": {"mode": "trace", "trace_speed": 2.5}}},
         ["--trace-speed below 2.5 sends the rows more slowly, which the server may keep up with"]),
        (RISES, {"run": {"config": {"mode": "trace"}}},
         ["--trace-speed below 1 sends the rows more slowly, which the server may keep up with"]),
        # A search is suggested for the objective already.
        (RISES, {"slo": {"held": False, "objectives": [objective("a", False)]}}, [SEARCH.format("a")]),
        ({**RISES, "rises": False}, {"latency": ttft()}, ["--duration 30s gives P99 its interval"]),
        (RISES, {"latency": ttft()}, ["python -m bench search --load rate with an objective and the other flags finds a rate "
                                      "the server keeps up with"]),
    ],
)  # fmt: skip
def test_a_load_that_piles_up_needs_another_rate_and_not_more_time(
    backlog: dict[str, Any], changes: dict[str, Any], suggestions: list[str]
) -> None:
    assert following(load={"backlog": backlog}, **changes) == suggestions


def test_warnings_stand_above_the_numbers() -> None:
    first, second, *_ = blocks(run={"stop_reason": "interrupted"}, window={"warnings": ["the window is short"]})
    assert isinstance(first, Findings)
    assert isinstance(second, Findings)
    assert [finding.text[:23] for finding in first.sentences] == ["The run was interrupted"]
    assert (first.level, second.level) == (Level.BRIEF, Level.FIRST)
    assert Finding("the window is short", "warn") in second.sentences
    assert not any(finding in second.sentences for finding in first.sentences)


SEGMENT = {"first": 2.0, "last": 8.0}


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"load": {"offered_rps": 12.5}}, "12.50 requests/s, "),
        ({"load": {"offered_rps": None, "concurrency": 1}}, "1 user, "),
        ({"load": {"offered_rps": None, "concurrency": 2}}, "2 users, "),
        (
            {"load": {"offered_rps": None, "concurrency": None}, "sessions": {"offered_per_s": 2.5}},
            "2.500 sessions/s, ",
        ),
        ({"load": {"offered_rps": None, "concurrency": None}, "run": {"config": {"concurrency": 3}}}, "3 users, "),
        ({"load": {"offered_rps": None, "concurrency": None}, "run": {"config": {"concurrency": 0}}}, "mode rate, "),
        ({"load": {"offered_rps": None, "concurrency": None, "mode": "throughput"}}, "all at once, "),
    ],
)
def test_a_load_is_said_in_a_few_words(changes: dict[str, Any], begins: str) -> None:
    assert sent_words(summary(**changes)).startswith(begins)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": {"are": "texts", "per_request": {"n": 1, "mean": 1.0}}}, "1 text each, e, model m"),
        ({"inputs": {"are": "texts", "per_request": {"n": 1, "mean": 2.5}}}, "2.500 texts each, e, model m"),
        ({"inputs": {"are": "requests"}}, "e, model m"),
        ({"run": {"endpoint": "e", "model": None, "config": {"stream": False}}}, "about 13 out, e"),
        ({"run": {"endpoint": "", "model": "a, b"}}, "about 13 out, models a, b"),
    ],
)
def test_the_subject_of_a_run_has_its_inputs_endpoint_and_models(changes: dict[str, Any], words: str) -> None:
    run = {"endpoint": "e", "model": "m"} | changes.pop("run", {})
    assert sent_words(summary(run=run, load={"offered_rps": 12.5}, **changes)).endswith(f", {words}")
