"""The document of a comparison, block by block: its answer, its tables, its sides and its charts."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents import comparison, comparison_document
from bench.documents.charts import Chart
from bench.documents.document import Block, ChartBlock, Document, DrawnInterval, Facts, Findings, Level, Table
from bench.documents.formatting import NOTHING
from bench.results.comparison import ComparedNumber, ComparisonResult
from tests.support.results import filled

SIDES = [
    {"name": "A", "path": "a/", "model": "m", "left_out": [{"directory": "a/3", "why": "INVALID"}],
     "runs": [{"id": "a1", "started": "08:00", "verdict": "VALID"}, {"id": "a2", "started": "10:00", "verdict": "VALID"}]},
    {"name": "B", "path": "b/", "runs": [{"id": "b1", "started": "09:00", "verdict": "SUSPECT"}]},
]  # fmt: skip


def number(name: str = "ttft:p90", **fields: Any) -> dict[str, Any]:
    usual = {"title": "TTFT P90", "unit": "ms", "primary": True, "ratio": True, "margin": 0.05, "answer": "not shown"}
    return {"name": name, **usual, **fields}


def made(
    *numbers: dict[str, Any], method: str = "runs", sides: list[dict[str, Any]] = SIDES, **fields: Any
) -> Document:
    versus = {"a": "A", "b": "B", "method": method, "headline": "B is B.", "numbers": numbers, "warnings": []}
    content = {"kind": "runs", "margin": 0.05, "sides": sides, "versus": [versus], **fields}
    return comparison_document.comparison_document(filled(ComparisonResult, content))


def blocks(document: Document) -> list[Block]:
    return [block for section in document.sections for block in section.blocks]


def tables(document: Document) -> dict[str, list[list[str]]]:
    """The cells of each table, by its title."""
    return {
        block.title: [[str(getattr(cell, "text", cell)) for cell in row.cells] for row in block.rows]
        for block in blocks(document) if isinstance(block, Table)
    }  # fmt: skip


def charts(document: Document) -> list[Chart]:
    return [block.chart for block in blocks(document) if isinstance(block, ChartBlock)]


CHANGED: dict[str, Any] = {"change": 0.1, "low": 0.08, "high": 0.12, "seen_from": 0.03, "a": 10.0, "b": 11.0}


def test_numbers_that_decide_stand_apart_from_those_that_are_explored() -> None:
    document = made(
        number(**CHANGED, answer="differs", worse=True),
        number("e2el:p50", title="E2EL P50", primary=False, **CHANGED, answer="differs", worse=False),
        number("tpot:p50", title="TPOT P50", primary=False, change=0.001, a=1.0, b=1.001),
        number("itl:p50", primary=False, change=None),
        number("error_rate", title="Error rate", unit="share", ratio=False, a=0.0, b=0.02, change=0.02, answer=None,
               missing="too few requests"),
    )  # fmt: skip
    said = tables(document)
    assert said["The numbers that decide"] == [
        ["TTFT P90 (ms)", "10", "11", "+10.0%", "[+8.0, +12.0]", "", "3.0%", "worse"],
        ["Error rate", "0%", "2%", "+2.0 pts", "", "", "–", "too few"],
    ]
    assert [row[0] for row in said["Explored: better or worse"]] == ["E2EL P50"]
    assert [row[0] for row in said["Explored: no change shown"]] == ["TPOT P50"]


def test_margins_that_a_calibration_widened_are_named_for_ratios_that_decide() -> None:
    document = made(
        number(margin=0.08),
        number("e2el:p50", title="E2EL P50", margin=0.05),
        number("tpot:p50", title="TPOT P50", margin=0.09, primary=False, change=0.001, a=1.0, b=1.001),
        number("error_rate", title="Error rate", unit="share", ratio=False, margin=0.07),
    )
    (table,) = (b for b in blocks(document) if isinstance(b, Table) and b.title == "The numbers that decide")
    assert table.notes[0].endswith(
        " The margin is 5.0% (by the error that a calibration found: TTFT P90 8.0%), and one point of shares. Corrected for "
        "the number of tests."
    )
    (plain,) = (b for b in blocks(made(number())) if isinstance(b, Table) and b.title == "The numbers that decide")
    assert " The margin is 5.0%, and one point of shares." in plain.notes[0]


@pytest.mark.parametrize(
    ("numbers", "tone"),
    [
        ([number(answer="differs", worse=True), number(answer="differs", worse=False)], "bad"),
        ([number(answer="differs", worse=False), number()], "good"),
        ([number(answer="same within the margin"), number("error_rate")], "good"),
        ([number(answer="same within the margin"), number()], "warn"),
        ([number(answer="same within the margin"), number(primary=False, answer="differs", worse=True)], "good"),
    ],
)
def test_the_answer_has_the_colour_of_the_numbers_that_decide(numbers: list[dict[str, Any]], tone: str) -> None:
    (banner,) = made(*numbers).banners
    assert (banner.status, banner.tone) == ("B is B.", tone)
    assert banner.meaning == "2 and 1 runs: Welch's t over the runs."


@pytest.mark.parametrize(
    ("fields", "reach"),
    [
        (CHANGED, 0.126),  # The widest end, plus 5% of space.
        ({**CHANGED, "low": -0.3}, 0.315),
        ({**CHANGED, "high": 0.9}, 0.5),
        ({**CHANGED, "margin": 0.1}, 0.21),  # At least twice the margin.
    ],
)
def test_an_interval_is_drawn_as_far_as_the_widest_reaches(fields: dict[str, Any], reach: float) -> None:
    (table,) = (
        block for block in blocks(made(number(**fields))) if isinstance(block, Table) and "decide" in block.title
    )
    drawn = table.rows[0].cells[5].drawn
    low, high, margin = fields["low"], fields["high"], fields.get("margin", 0.05)
    assert drawn is not None
    assert drawn == DrawnInterval(low, 0.1, high, margin, drawn.reach, "warn")
    assert drawn.reach == pytest.approx(reach)


@pytest.mark.parametrize("lacks", ["change", "low", "high"])
def test_an_interval_that_lacks_an_end_is_not_drawn(lacks: str) -> None:
    without: dict[str, Any] = {**CHANGED, lacks: None}
    row = filled(ComparedNumber, number(**without))
    assert comparison_document._row(row, 0.5).cells[5].drawn is None
    assert comparison.interval_text(row) == ("[+8.0, +12.0]" if lacks == "change" else "")


def test_sides_say_which_runs_they_have_and_which_were_left_out() -> None:
    (facts,) = (block for block in blocks(made(number())) if isinstance(block, Facts))
    assert [(fact.name, fact.value, fact.meaning) for fact in facts.rows] == [
        ("A", "a/ · m · 2 runs", "a1 · 08:00 · VALID; a2 · 10:00 · VALID; left out: a/3, INVALID"),
        ("B", "b/ · 1 run", "b1 · 09:00 · SUSPECT"),
    ]


@pytest.mark.parametrize(("sides", "half"), [(4, True), (5, False)])
def test_what_differs_is_beside_the_sides_where_both_have_room(sides: int, half: bool) -> None:
    names = [{"name": name, "path": name} for name in "ABCDE"[:sides]]
    differs = [{"name": "gpu", "group": "machine", "values": ["x"] * sides}]
    document = made(number(runs_a=[], runs_b=[]), sides=names, variations=differs)
    (table,) = (block for block in blocks(document) if isinstance(block, Table) and block.title == "What differs")
    assert (table.half, len(table.columns)) == (half, sides + 1)
    assert tables(document)["What differs"] == [["gpu", *["x"] * sides]]


def test_runs_stand_in_the_order_in_which_they_were_made() -> None:
    document = made(
        number(runs_a=[1.0, 2.0], runs_b=[3.0]),
        number("error_rate", runs_a=[0.0, 0.0], runs_b=[0.0]),
        number("tpot:p50", primary=False, runs_a=[1.0, 2.0], runs_b=[3.0]),
        number("itl:p50", runs_a=[1.0], runs_b=[2.0]),
    )
    (chart,) = charts(document)
    assert (chart.key, chart.title, chart.panels[0].unit) == ("B-ttft-p90", "TTFT P90 (ms)", "ms")
    assert (chart.x, chart.x_span) == ([1, 2, 3], (0.4, 3.6))
    assert chart.x_names == ["A, run 1", "B, run 1", "A, run 2"]
    assert chart.ticks == ((1, "A"), (2, "B"), (3, "A"))
    assert {line.name: [*line.values] for line in chart.panels[0].lines} == {"A": [1, None, 2], "B": [None, 3, None]}


@pytest.mark.parametrize(("runs", "first"), [(6, "A"), (7, "1")])
def test_bars_of_many_runs_are_numbered(runs: int, first: str) -> None:
    sides = [{"name": name, "path": name, "runs": [{"started": f"{n:02}"} for n in range(runs)]} for name in "AB"]
    (chart,) = charts(made(number(runs_a=[1.0] * runs, runs_b=[2.0] * runs), sides=sides))
    assert chart.ticks[0] == (1, first)


def test_sweeps_are_drawn_over_the_loads_that_both_visited() -> None:
    numbers = [
        number(f"{metric} at {load}", title=f"{load} users: {metric}", a=float(load), b=2.0 * load)
        for load in (8, 16)
        for metric in ("ttft:p90", "tpot:p50")
    ]
    first, second = charts(made(*numbers, method="sweeps"))
    assert (first.key, second.key, first.title) == ("B-ttft-p90", "B-tpot-p50", "ttft:p90")
    assert (first.x, first.x_span, first.x_names) == ([0, 1], (-0.5, 1.5), ["8 users", "16 users"])
    assert first.ticks == ((0, "8"), (1, "16"))
    assert {line.name: [*line.values] for line in first.panels[0].lines} == {"A": [8, 16], "B": [16, 32]}


def findings_of(document: Document) -> list[tuple[list[str], Level]]:
    return [
        ([f.text for f in block.sentences], block.level) for block in blocks(document) if isinstance(block, Findings)
    ]


def test_a_number_that_decides_and_is_missing_says_why() -> None:
    few = number(answer=None, missing="too few requests")
    other = number("e2el:p50", title="E2EL P50", primary=False, answer=None, missing="too few replies")
    document = made(few, few, other)
    assert findings_of(document) == [(["TTFT P90: too few requests"], Level.USUAL)]
    assert findings_of(made(number())) == []


@pytest.mark.parametrize(
    ("of", "said"),
    [("BC", ["TTFT P90: too few"]), ("BD", ["B, D against A: TTFT P90: too few"]), ("BCD", ["TTFT P90: too few"]),
     ("B", None)],
)  # fmt: skip
def test_a_warning_that_several_sides_share_is_said_once(of: str, said: list[str] | None) -> None:
    names = "ABC" if of == "BC" else "ABCD"
    sides = [{**SIDES[1], "name": name} for name in names]

    def versus(b: str, numbers: list[dict[str, Any]], warnings: list[str]) -> dict[str, Any]:
        return {"a": "A", "b": b, "method": "runs", "headline": f"{b}.", "numbers": numbers, "warnings": warnings}

    few = number(answer=None, missing="too few")
    document = made(sides=sides, versus=[versus(b, [few] if b in of else [number()], []) for b in names[1:]])
    assert findings_of(document) == ([(["TTFT P90: too few"], Level.USUAL)] if said is None else [(said, Level.BRIEF)])
    # The answer about a side shows the warnings about that side alone.
    warned = made(sides=sides, versus=[versus(b, [number()], ["it is slow"] if b in of else []) for b in names[1:]])
    reasons = {banner.status: [reason.text for reason in banner.reasons] for banner in warned.banners}
    assert reasons == {f"{b}.": ["it is slow"] if said is None and b in of else [] for b in names[1:]}


@pytest.mark.parametrize(
    ("ends", "written"),
    [((-0.0004, 0.0004), "[0.0, 0.0]"), ((-1.5, 1.5), "[-150, +150]"), ((0.9994, 0.9996), "[+99.9, +100]")],
)
def test_an_interval_has_the_digits_of_its_ends(ends: tuple[float, float], written: str) -> None:
    low, high = ends
    assert comparison.interval_text(filled(ComparedNumber, number(low=low, high=high))) == written


def test_a_share_cannot_change_by_more_than_all_of_it() -> None:
    row = filled(ComparedNumber, number(ratio=False, low=-1.5, high=1.25, seen_from=1.0))
    assert (comparison.interval_text(row), comparison.seen_text(row)) == ("[-100, +100]", NOTHING)
    assert comparison.seen_text(filled(ComparedNumber, number(ratio=False, seen_from=0.999))) == "99.9 pts"
    assert comparison.seen_text(filled(ComparedNumber, number(seen_from=1.0))) == "100%"


def test_many_sides_that_show_nothing_have_one_answer_and_those_that_differ_come_first() -> None:
    names = "ABCDEFG"
    sides = [{**SIDES[1], "name": name} for name in names]
    answers = ["not shown", "not shown", "differs", "not shown", "not shown", "not shown"]

    def versus(b: str, answer: str) -> dict[str, Any]:
        warnings = [f"{b}: slow"] if b == "C" else []
        numbers = [number(answer=answer, worse=answer == "differs" or None), number("n", answer=None)]
        return {"a": "A", "b": b, "method": "runs", "headline": f"{b}.", "numbers": numbers, "warnings": warnings}

    def document(count: int) -> Document:
        made_of = [versus(*each) for each in zip(names[1:count], answers, strict=False)]
        return made(sides=sides[:count], versus=made_of)

    many = document(7)
    assert many.title == "A against 6 others"
    assert [(banner.status, len(banner.reasons)) for banner in many.banners] == [
        ("D.", 0),
        ("No difference is shown between A and B, C, E, F or G.", 1),
    ]
    answers[2] = "not shown"
    assert [banner.status for banner in document(7).banners] == [
        "No difference is shown between A and B, C, D, E, F or G."
    ]
    few = document(4)
    assert (few.title, [banner.status for banner in few.banners]) == (
        "A against B against C against D",
        ["B.", "C.", "D."],
    )
