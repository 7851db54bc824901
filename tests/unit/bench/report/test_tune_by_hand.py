"""The page of a race of flags and its charts, from races made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents.charts import Chart
from bench.documents.document import ChartBlock, Code, Document, Findings, Level, Table, shown
from bench.documents.formatting import NOTHING
from bench.documents.tune_document import tune_document
from bench.results.tune import TuneContent
from tests.support.results import filled

GAIN = {"value": 0.25, "low": 0.2, "high": 0.3}
ARMS: list[dict[str, Any]] = [
    {"name": "the default", "place": "worse", "value": 80.0, "turns": 3,
     "against_best": {"value": -0.2, "low": -0.24, "high": 0.0}},
    {"name": "a=1", "place": "best", "value": 100.0, "turns": 3},
    {"name": "a=2", "place": "not told apart", "value": 90.0, "turns": 2},
    {"name": "a=3", "place": "not told apart", "value": 95.0, "turns": 2},
    {"name": "a=4", "place": "not told apart", "value": None, "turns": 0},
    {"name": "a=5", "place": "failed", "value": None, "turns": 1, "why": "it died", "last_words": ["out", "of memory"]},
    {"name": "a=6", "place": "failed", "value": None, "turns": 1, "why": "no reply"},
]  # fmt: skip


def turn(arm: int, round_: int, value: float | None = 100.0, *loads: float, status: str = "VALID") -> dict[str, Any]:
    runs = [{"name": f"r{round_}-a{arm}-{load:g}", "load": load, "status": status} for load in loads]
    return {"arm": arm, "round": round_, "value": value, "seconds": 30.0 * (1 + arm), "loads": runs}


def race(**values: Any) -> TuneContent:
    usual = {"goal": "tokens_per_s", "unit": "tokens/s", "load_unit": "users", "latency": "e2el:p50", "margin": 0.02,
             "arms": ARMS, "best": 1, "ended": "decided"}  # fmt: skip
    return filled(TuneContent, {**usual, **values})


def tables(document: Document) -> dict[str, Table]:
    return {b.title: b for section in document.sections for b in section.blocks if isinstance(b, Table)}


def charts(document: Document) -> dict[str, Chart]:
    blocks = (block for section in document.sections for block in section.blocks)
    return {block.chart.key: block.chart for block in blocks if isinstance(block, ChartBlock)}


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in table.rows]


@pytest.mark.parametrize(
    ("values", "status", "rest", "tone"),
    [
        ({"best": None, "ended": None, "turns": [turn(0, 1)] * 2}, "No answer", ": 2 turns made, and no arm has a value yet",
         "warn"),
        ({"best": None, "ended": "interrupted"}, "No answer", ": 0 turns made, and no arm has a value yet", "warn"),
        ({"best": None, "ended": "interrupted", "turns": [turn(0, 1)]}, "No answer",
         ": 1 turn made, and no arm has a value yet", "warn"),
        ({"best": None, "ended": "nothing works"}, "No answer", ": no arm has a value", "bad"),
        ({"best": 0}, "Best: the default", ": 80 tokens/s, which is the default", "good"),
        ({"ended": None}, "Best so far: a=1", ": 100 tokens/s; the gain over the default is not known", "good"),
        ({"ended": "interrupted", "not_told_apart": [2]}, "Best so far: a=1",
         ": 100 tokens/s; the gain over the default is not known; 1 arm cannot be told from it", "good"),
        ({"gain": GAIN, "not_told_apart": [2, 3]}, "Best: a=1",
         ": 100 tokens/s, 25% more than the default (+20.0% to +30.0%); 2 arms cannot be told from it", "good"),
        ({"gain": {"value": -0.255, "low": -0.3, "high": -0.0004}}, "Best: a=1",
         ": 100 tokens/s, 25.5% less than the default (-30.0% to +0.0%)", "good"),
        ({"gain": {"value": 1.0, "low": 0.999, "high": 12.3456}}, "Best: a=1",
         ": 100 tokens/s, 100% more than the default (+99.9% to +1,235%)", "good"),
        *(({"gain": {"value": 0.04, "low": low, "high": high}}, "Best: a=1",
           f": 100 tokens/s; no gain over the default is shown ({ends})", "good")
          for low, high, ends in ((0.0, 0.1, "+0.0% to +10.0%"), (-0.1, 0.0, "-10.0% to +0.0%"))),
        *(({"gain": {**GAIN, "value": sign * 0.25}, "goal": f"{of}_per_million_tokens", "unit": "$"}, "Best: a=1",
           f": 100 $, 25% {word} for the {what} than the default (+20.0% to +30.0%)", "good")
          for of, what in (("dollars", "money"), ("joules", "energy")) for sign, word in ((1, "more"), (-1, "less"))),
        ({"turns": [turn(0, 1, 80.0, 4, status="at least"), turn(1, 1, 100.0, 4, status="up to")]}, "Best: a=1",
         ": 100 tokens/s; the gain over the default is not known", "good"),
        ({"turns": [turn(1, 1, 100.0, 4, status="at least")]}, "Best: a=1",
         ": at least 100 tokens/s; the gain over the default is not known", "good"),
        ({"turns": [turn(1, 1, None, 4, status="at least")]}, "Best: a=1",
         ": 100 tokens/s; the gain over the default is not known", "good"),
    ],
)  # fmt: skip
def test_the_winner_is_named_with_its_value_and_gain(values: dict[str, Any], status: str, rest: str, tone: str) -> None:
    (banner,) = tune_document(race(**values)).banners
    assert (banner.status, banner.rest, banner.tone) == (status, rest, tone)


DECIDED = ("Ended: every other arm was dropped", "")
MORE_TURNS = ("More turns may tell them apart: --resume with a larger --budget goes on", "warn")


@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        ({"ended": None}, []),
        ({}, [DECIDED]),
        ({"ended": "nothing works", "best": None, "not_told_apart": [1]}, [("Ended: no arm is left", "warn")]),
        ({"ended": "rounds"}, [("Ended: the most rounds that a race has were made", "")]),
        ({"ended": "budget"}, [("Ended: the budget has no room for more rounds", "")]),
        (
            {"ended": "budget", "not_told_apart": [2, 3, 4]},
            [("Not told from the best, or the same within 2%: a=2, a=3, a=4", ""),
             ("Ended: the budget has no room for more rounds", ""), MORE_TURNS],
        ),
        (
            {"ended": "interrupted", "not_told_apart": [2, 3, 4, 5], "margin": 0.015},
            [("Not told from the best, or the same within 1.5%: a=2, a=3, a=4 and 1 more", ""),
             ("Ended: interrupted", "warn"), MORE_TURNS],
        ),
        ({"noise": 0.001}, [("One turn varies by 0.1% (standard deviation, with the restart)", ""), DECIDED]),
        ({"noise": 0.00099}, [("One turn varies by less than 0.1% (standard deviation, with the restart)", ""), DECIDED]),
        (
            {"arms": [{**arm, "place": "worse answers"} if arm["name"] in ("a=2", "a=3") else arm for arm in ARMS]},
            [("Answers got worse than the default's, so these cannot win: a=2, a=3", "bad"), DECIDED],
        ),
        (
            {"turns": [turn(arm, 1, 100.0, 4, status="at least") for arm in (1, 2, 3, 4)]},
            [("A search found no load that is too much for a=1, a=2, a=3 and 1 more: how much more it holds is not shown, so "
              "it is called neither worse nor the same; give the search a higher max or a longer budget", "warn"), DECIDED],
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_said(values: dict[str, Any], sentences: list[tuple[str, str]]) -> None:
    blocks = tune_document(race(**values)).sections[0].blocks
    found = [block for block in blocks if isinstance(block, Findings)]
    assert [(one.text, one.tone) for block in found for one in block.sentences] == sentences
    assert len(found) == bool(sentences)
    assert all(block.level is Level.FIRST for block in found)


def test_arms_are_listed_by_their_place_and_then_by_their_value() -> None:
    document = tune_document(race(turns=[turn(0, 1, 80.0, 4, 16), turn(1, 1, 100.0, 4), turn(0, 2, 80.0, 4)]))
    table = tables(document)["Arms"]
    assert texts(table) == [
        ["a=1", "100", NOTHING, NOTHING, "3", "best"],
        ["a=3", "95", NOTHING, NOTHING, "2", "not told apart"],
        ["a=2", "90", NOTHING, NOTHING, "2", "not told apart"],
        ["a=4", NOTHING, NOTHING, NOTHING, "0", "not told apart"],
        ["the default", "80", "-20.0%", "-24.0% to +0.0%", "3", "worse"],
        ["a=5", NOTHING, NOTHING, NOTHING, "1", "failed"],
        ["a=6", NOTHING, NOTHING, NOTHING, "1", "failed"],
    ]
    assert [(row.quiet, row.cells[-1].tone) for row in table.rows] == [
        (False, "good"), (False, "good"), (False, "good"), (False, "good"), (True, "quiet"), (False, "bad"), (False, "bad"),
    ]  # fmt: skip
    assert table.rows[4].cells[0].links == (
        ("round 1, 4", "r1-a0-4/report.html"), ("round 1, 16", "r1-a0-16/report.html"), ("round 2", "r2-a0-4/report.html"),
    )  # fmt: skip
    assert texts(tables(document)["Turns without a value"]) == [
        ["a=5", "it died", "out | of memory"],
        ["a=6", "no reply", NOTHING],
    ]


def test_of_costs_the_lower_comes_first_and_a_search_has_its_own_page() -> None:
    costs = texts(tables(tune_document(race(goal="dollars_per_million_tokens", unit="$")))["Arms"])
    assert [row[0] for row in costs[:4]] == ["a=1", "a=2", "a=3", "a=4"]
    arms = [{**ARMS[0], "name": "a=0"}, *ARMS[1:]]
    found = tables(tune_document(race(goal="held_load", arms=arms, turns=[turn(0, 1, 8.0, 8, status="at least")])))[
        "Arms"
    ]
    assert (found.rows[4].cells[0].text, found.rows[4].cells[1].text) == ("a=0 (default)", "at least 80")
    assert found.rows[4].cells[0].links == (("round 1", "r1-a0-8/search.html"),)


def test_a_page_has_the_command_that_starts_the_winner_and_what_its_head_counts() -> None:
    document = tune_document(race(start="serve --a 1", seconds=180.0, turns=[turn(0, 1)] * 3, date="today"))
    assert (document.subtitle, document.about) == ("7 arms · 3 turns · 3 min", "today")
    first, *_, last = document.sections[0].blocks
    assert isinstance(first, Code)
    assert (first.text, first.level) == ("serve --a 1", Level.FIRST)
    assert isinstance(last, Code)
    assert not any(
        isinstance(b, Code) and b.title == "Start the winner" for b in tune_document(race()).sections[0].blocks
    )


def point(arm: int, load: float, tokens: float | None, latency: float | None, **more: Any) -> dict[str, Any]:
    return {"arm": arm, "load": load, "tokens_per_s": tokens, "latency": latency, "on_front": True, **more}


def test_the_front_is_a_table_by_latency_and_has_prices_if_a_gpu_has_one() -> None:
    points = [
        point(1, 16, 2_000, 90.5), point(2, 4, 500, 20), point(3, 4, 400, 30, on_front=False), point(0, 1, 90, None),
    ]  # fmt: skip
    table = tables(tune_document(race(points=points)))["Throughput against latency"]
    assert texts(table) == [
        ["the default", "1", "90", NOTHING], ["a=2", "4", "500", "20"], ["a=1", "16", "2,000", "90.50"],
    ]  # fmt: skip
    assert [(column.title, column.unit) for column in table.columns] == [
        ("On the front", ""), ("users", ""), ("tokens/s", ""), ("E2EL p50", "ms"),
    ]  # fmt: skip
    priced = tables(tune_document(race(points=[point(1, 16, 2_000, 90.5, dollars=1.25), points[1]])))
    assert [row[-1] for row in texts(priced["Throughput against latency"])] == [NOTHING, "1.250"]
    assert "Throughput against latency" not in tables(tune_document(race(points=points, goal="held_load")))
    assert "Throughput against latency" not in tables(tune_document(race()))
    many = tables(tune_document(race(points=[point(1, load, 5.0, load) for load in range(1, 25)])))
    assert [row[1] for row in texts(many["Throughput against latency"])] == [str(load) for load in range(1, 21)]


def test_the_race_is_drawn_as_bars_on_the_lines_of_the_table() -> None:
    chart = charts(tune_document(race(turns=[turn(1, 1), turn(0, 1, 80.0), turn(3, 1, 95.0), turn(1, 2, 110.0)])))[
        "race"
    ]
    # Turns of 1, 0.5, 2 and 1 minutes. a=1 is the first line, a=3 the second, the default the fifth.
    assert (list(chart.x), chart.x_span) == ([0, 1, 1.5, 3.5], (0, 4.5))
    assert [(line.name, list(line.values), line.tone) for line in chart.panels[0].lines[:-1]] == [
        ("best", [0, 4, 1, 0], "good"), ("not told apart", [0, 4, 1, 0], "main"), ("worse", [0, 4, 1, 0], "quiet"),
    ]  # fmt: skip
    assert [line.spans for line in chart.panels[0].lines[:-1]] == [
        [(0, 1), None, None, (3.5, 4.5)], [None, None, (1.5, 3.5), None], [None, (1, 1.5), None, None],
    ]  # fmt: skip
    values = chart.panels[0].lines[-1]
    assert (values.name, values.hidden, list(values.values)) == ("tokens/s", True, [100, 80, 95, 110])
    assert list(chart.x_names) == ["round 1: a=1", "round 1: the default", "round 1: a=3", "round 2: a=1"]
    assert chart.ticks == tuple((k, str(k)) for k in range(5))
    assert (chart.panels[0].rows, chart.hover, chart.wide) == (7, "rows", True)


def test_a_race_without_turns_is_not_drawn() -> None:
    assert charts(tune_document(race())) == {}
    assert "The race" not in [section.title for section in tune_document(race()).sections]


def test_an_axis_of_minutes_has_at_most_eight_parts() -> None:
    (longer, longest) = (
        charts(tune_document(race(turns=[{**turn(1, 1), "seconds": 60.0 * minutes}])))["race"].ticks
        for minutes in (8, 8.5)
    )
    assert [at for at, _ in longer] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert [at for at, _ in longest] == [0, 2, 4, 6, 8]


def test_values_by_round_are_a_line_for_each_arm_with_gaps() -> None:
    turns = [turn(1, 1), turn(0, 1, 80.0), turn(1, 2, 104.0), turn(1, 3, None), turn(0, 3, 82.0)]
    chart = charts(tune_document(race(turns=turns, arms=ARMS[:2])))["rounds"]
    assert [(line.name, line.values, line.tone, line.in_legend) for line in chart.panels[0].lines] == [
        ("the default", [80.0, None, 82.0], "quiet", False), ("a=1", [100.0, 104.0, None], "good", True),
    ]  # fmt: skip
    assert (list(chart.x), chart.x_span, list(chart.x_names)) == (
        [1, 2, 3],
        (0.8, 3.2),
        ["round 1", "round 2", "round 3"],
    )
    assert chart.ticks == ((1, "1"), (2, "2"), (3, "3"))
    assert "rounds" not in charts(tune_document(race(turns=turns[:2])))
    many = charts(tune_document(race(turns=[turn(1, 11)])))["rounds"]
    assert [text for _, text in many.ticks] == ["1", "3", "5", "7", "9", "11"]


def test_the_front_is_drawn_over_what_lies_behind_it() -> None:
    points = [
        point(1, 16, 2_000, 120), point(2, 4, 500, 20), point(3, 4, 400, 30, on_front=False), point(0, 1, 9, None),
        point(0, 2, None, 5),
    ]  # fmt: skip
    chart = charts(tune_document(race(points=points)))["front"]
    assert (list(chart.x), chart.x_span[0], chart.x_span[1]) == ([20, 30, 120], 0, pytest.approx(126))
    assert [(line.name, line.values, line.tone) for line in chart.panels[0].lines] == [
        ("on the front", [500, None, 2_000], "good"), ("behind it", [None, 400, None], "quiet"),
    ]  # fmt: skip
    assert list(chart.x_names) == ["a=2, 4 users", "a=3, 4 users", "a=1, 16 users"]
    assert chart.ticks == tuple((at, str(at)) for at in (0, 20, 40, 60, 80, 100, 120))
    assert chart.x_title == "E2EL p50, ms"
    assert "front" not in charts(tune_document(race(points=[points[0], points[3]])))


def test_only_a_page_has_the_charts() -> None:
    document = tune_document(race(turns=[turn(1, 1)]))
    (section,) = (section for section in document.sections if section.title == "The race")
    assert not shown(section, Level.DETAILS)
    assert [shown(block, Level.DETAILS) for block in section.blocks] == [False]
