"""The page of a plan for each answer, without a simulation."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents.document import ChartBlock, Document, Facts, Findings, Level, Table
from bench.documents.plan_document import clock, plan_document
from bench.results.plan import PlanContent
from tests.support.results import filled

TTFT, TPOT = "ttft:p99<1s", "tpot:p50<20ms"
HOURS = [
    {"start_s": 0, "duration_s": 3600, "rate": 0, "breaks": "no"},
    {"start_s": 23_400, "duration_s": 3600, "rate": 2.5, "breaks": "perhaps", "replicas": 2},
    {"start_s": 28_800, "duration_s": 3600, "rate": 40, "breaks": "yes", "replicas": 3},
]
KEEPS = {"low": 17.5, "high": None, "estimate": None}


def page(**values: Any) -> Document:
    usual = {"known": True, "least": 1, "most": 1200, "replicas": 3, "draws": 40, "router": "least_in_flight"}
    return plan_document(filled(PlanContent, {**usual, **values}))


def facts(**values: Any) -> dict[str, tuple[str, str]]:
    (block,) = (block for block in page(**values).sections[0].blocks if isinstance(block, Facts))
    return {fact.name: (fact.value, fact.meaning) for fact in block.rows}


@pytest.mark.parametrize(
    ("values", "banner"),
    [
        ({"replicas": 1}, ("1 replica holds the objectives", "", "good")),
        ({"replicas": 1200, "cost_a_day": 99.994}, ("1,200 replicas hold the objectives", ", $99.99 a day", "good")),
        ({"replicas": 2, "cost_a_day": 100}, ("2 replicas hold the objectives", ", $100 a day", "good")),
        ({"replicas": 2, "cost_a_day": 100.4}, ("2 replicas hold the objectives", ", $100 a day", "good")),
        ({"replicas": 2, "cost_a_day": 0.00123}, ("2 replicas hold the objectives", ", $0.0012 a day", "good")),
        ({"replicas": 2, "cost_a_day": 0.01}, ("2 replicas hold the objectives", ", $0.01 a day", "good")),
        (
            {"replicas": 2, "known": False, "cost_a_day": 5},
            ("Not known", ": 2 replicas in the simulation, $5.00 a day, but the fit does not know this server well enough",
             "warn"),
        ),
        (
            {"replicas": None, "broken_alone": [TTFT, TPOT]},
            ("No number of replicas holds the objectives",
             f": a request alone on a replica breaks {TTFT} and {TPOT}", "bad"),
        ),
        *(
            ({"replicas": None, "hours": hours},
             ("No number of replicas in the range holds the objectives",
              f": 1,200 are too few at the busiest hour. {advice}", "bad"))
            for hours, advice in (
                ([], "Raise --replicas, or relax an objective"),
                ([HOURS[2], {**HOURS[1], "breaks": "no"}], "Raise --replicas, or relax an objective"),
                (HOURS, "Nor do they surely hold 2.5/s, so more may not help: relax an objective"),
                ([{**HOURS[1], "rate": 0.5}, HOURS[2]],
                 "Nor do they surely hold 0.5/s, so more may not help: relax an objective"),
            )
        ),
    ],
)  # fmt: skip
def test_the_banner_has_the_answer_and_what_to_do(values: dict[str, Any], banner: tuple[str, ...]) -> None:
    found = page(**values).banners[0]
    assert (found.status, found.rest, found.tone) == banner


@pytest.mark.parametrize(
    ("values", "name", "fact"),
    [
        ({"interval": [3, 3]}, "Replicas needed", ("3", "95% of the draws")),
        ({"interval": [3, 1200]}, "Replicas needed", ("3 to 1,200", "95% of the draws")),
        ({"interval": [3, 1201]}, "Replicas needed", ("3 to over 1,200", "95% of the draws")),
        ({"interval": [1201, 1201], "replicas": None}, "Replicas needed", ("over 1,200", "95% of the draws")),
        ({"interval": [2, 4], "search": KEEPS}, "Replicas needed", ("2 to 4", "the search's interval, about 90%")),
        ({"interval": [1201, 1201], "replicas": None, "broken_alone": [TTFT]}, "Replicas needed",
         ("no number is enough", "95% of the draws")),
        ({"interval": [3, 4], "broken_alone": [TTFT]}, "Replicas needed", ("3 to 4", "95% of the draws")),
        ({"search": KEEPS, "objectives": [TTFT, TPOT]}, "A replica keeps",
         ("at least 17.50 requests/s", f"{TTFT}, {TPOT}")),
        ({"search": {"low": 17.5, "high": None, "estimate": 20}}, "A replica keeps", ("at least 17.50 requests/s", "")),
        ({"search": {"low": 17.5, "high": 23, "estimate": 20}}, "A replica keeps", ("20 (17.50 to 23) requests/s", "")),
        ({"headroom": 1.254}, "Traffic that they hold", ("1.25 times this (at least this)", "")),
        *(({"headroom": 1.254, "headroom_interval": ends}, "Traffic that they hold", ("1.25 times this (at least this)", ""))
          for ends in ([None, 1.5], [1, None])),
        ({"headroom": 1.2, "headroom_interval": [1, 1.5]}, "Traffic that they hold", ("1.20 times this (1.00 to 1.50)", "")),
        (
            {"headroom": 0, "headroom_interval": [0, 1.05]},
            "Traffic that they hold",
            ("less than 1 times this (less than 1 to 1.05)", ""),
        ),
        ({"hours": HOURS[:1]}, "Breaks first with one fewer", ("no hour", "")),
        ({"hours": HOURS}, "Breaks first with one fewer", ("perhaps 06:30, or none", "")),
        ({"replicas": None, "breaks_first_s": 28_800}, "Breaks first with these", ("08:00", "")),
        ({"breaks_first_s": 28_800, "breaks_first_interval": [28_800, 28_800]}, "Breaks first with one fewer",
         ("08:00", "")),
        ({"breaks_first_s": 28_800, "breaks_first_interval": [23_400, 32_400]}, "Breaks first with one fewer",
         ("08:00 (06:30 to 09:00)", "")),
        ({"lost": {"requests_lost": 1234.4, "interval": [900, 1500], "holds": 0.25}}, "A replica dies",
         ("1,234 requests fail (900 to 1,500); the others hold the busiest hour in 25% of the draws", "")),
        ({"cost_a_day": 50, "cost_interval": [40, 120]}, "Cost a day", ("$50.00 ($40.00 to $120)", "")),
        ({"autoscaling": {"cold_start_s": 90, "replica_hours": 31.5, "interval": [30, 33]}}, "Scaled by the hour",
         ("31.50 replica-hours a day (30 to 33)", "started 90 s ahead of the hour")),
        ({"autoscaling": {"replica_hours": 5, "interval": [5, 5], "cost_a_day": 7}}, "Scaled by the hour",
         ("5 replica-hours a day (5 to 5), $7.00", "started 0 s ahead of the hour")),
        ({"autoscaling": {"late_breaks": 0.125, "interval": [1, 1]}}, "Scaled late",
         ("12.5% of the requests break a limit",
          "in the hour that starts the most replicas, from its beginning until they have just started")),
    ],
)  # fmt: skip
def test_each_answer_is_a_fact(values: dict[str, Any], name: str, fact: tuple[str, str]) -> None:
    assert facts(**values)[name] == fact


def test_what_is_not_known_is_no_fact() -> None:
    assert facts(replicas=1) == {}
    assert [*facts()] == ["Breaks first with one fewer"]
    assert [*facts(cost_a_day=5, autoscaling={"interval": [1, 1]})] == [
        "Breaks first with one fewer",
        "Scaled by the hour",
    ]


@pytest.mark.parametrize(
    ("objective", "row"),
    [
        ({"objective": TTFT, "value": 812.5, "interval": [700, 900], "holds_interval": [0.554984, 0.997471]},
         (TTFT, "812.5 ms", "700 to 900", "90% (55 to 100%)")),
        ({"objective": TTFT, "value": None, "interval": None}, (TTFT, "–", "–", "90%")),
        ({"objective": "goodput>99%", "value": 0.995, "interval": [0.99, 1], "holds_interval": None},
         ("goodput>99%", "99.5%", "0.990 to 1", "90%")),
    ],
)  # fmt: skip
def test_an_objective_at_the_busiest_hour_is_a_row(objective: dict[str, Any], row: tuple[str, ...]) -> None:
    shown = page(at_peak=[{"holds": 0.9, **objective}])
    (table,) = (block for block in shown.sections[0].blocks if isinstance(block, Table))
    assert tuple(cell.text for cell in table.rows[0].cells) == row


@pytest.mark.parametrize(
    ("values", "heads", "last", "notes"),
    [
        ({}, ["From", "Requests/s", "One fewer breaks it"], ["08:00", "40", "yes"], ["Perhaps: in some of the draws."]),
        ({"replicas": None}, ["From", "Requests/s", "These break it"], ["08:00", "40", "yes"],
         ["Perhaps: in some of the draws."]),
        ({"replicas": 1}, ["From", "Requests/s"], ["08:00", "40"], []),
        ({"search": KEEPS}, ["From", "Requests/s", "One fewer breaks it"], ["08:00", "40", "yes"],
         ["Perhaps: in a part of the search's interval."]),
        ({"autoscaling": {"interval": [1, 1]}}, ["From", "Requests/s", "Replicas", "One fewer breaks it"],
         ["08:00", "40", "3", "yes"], ["Perhaps: in some of the draws."]),
    ],
)  # fmt: skip
def test_each_hour_is_a_row(values: dict[str, Any], heads: list[str], last: list[str], notes: list[str]) -> None:
    hours = [{**hour, "replicas": hour.get("replicas", 1)} for hour in HOURS]
    (table,) = (block for block in page(hours=hours, **values).sections[1].blocks if isinstance(block, Table))
    assert [column.title for column in table.columns] == heads
    assert [cell.text for cell in table.rows[-1].cells] == last
    assert [*table.notes] == notes
    if "One fewer breaks it" in heads:
        assert [row.cells[-1].text for row in table.rows] == ["–", "perhaps", "yes"]


def test_the_day_is_drawn_by_its_rates() -> None:
    (chart,) = (block.chart for block in page(hours=HOURS).sections[1].blocks if isinstance(block, ChartBlock))
    (line,) = chart.panels[0].lines
    assert ([*line.values], line.style, chart.panels[0].unit) == ([0, 2.5, 40], "bars", "/s")
    assert [*chart.x_names] == ["00:00, 0 requests/s", "06:30, 2.500 requests/s", "08:00, 40 requests/s"]
    assert [text for _, text in chart.ticks] == ["00:00", "06:30", "08:00"]


def test_the_head_names_the_server_and_what_was_looked_at() -> None:
    shown = page(server="a-server", date="today", least=2)
    head = (shown.title, shown.subtitle, shown.about)
    assert head == ("Plan for a-server", "least in flight · 2 to 1,200 replicas · 40 draws", "today")
    assert page().title == "Plan for a fitted server"
    searched = page(search=KEEPS, server="a-server")
    assert (searched.title, searched.subtitle) == ("Plan for a server that was searched", "1 to 1,200 replicas")


def test_what_is_missing_and_doubted_is_said_at_its_level() -> None:
    shown = page(unknown=["no run at 40/s"], not_shown=["a router"], warnings=["few runs"])
    found = [block for block in shown.sections[0].blocks if isinstance(block, Findings)]
    assert [(block.sentences[0].text, block.level) for block in found] == [
        ("no run at 40/s", Level.FIRST), ("Not shown: a router", Level.FIRST), ("few runs", Level.USUAL),
    ]  # fmt: skip
    assert not [block for block in page().sections[0].blocks if isinstance(block, Findings | Table)]


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00"), (23_400, "06:30"), (86_340, "23:59"), (59, "00:01")])
def test_a_time_of_the_day_has_minutes(seconds: float, text: str) -> None:
    assert clock(seconds) == text
