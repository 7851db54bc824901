"""search.html: its head, its tiles, its table of visits and its settings."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from bench.errors import Exit
from bench.load_search.answer import Answer
from bench.load_search.decisions import Search
from bench.load_search.search_document import search_document
from bench.load_search.visit_numbers import VisitNumbers
from bench.report.html import render
from bench.results.numbers import Metric
from bench.statistics.capacity import Mean
from tests.support.made_visits import MEAN, P99, TPOT, in_turn, made_search, made_visit
from tests.support.results import filled
from tests.unit.bench.load_search.test_conclusion import CALM, CLOSE, SCOUTS

BRACKET = made_search(*in_turn(*SCOUTS, *CLOSE))


def rendered(
    search: Search, status: Exit = Exit.GOOD, numbers: dict[int, VisitNumbers] | None = None, **settings: Any
) -> str:
    found = Answer("It holds.", ("a line",), status)
    return render(search_document(found, search, numbers or {}, settings))


def text(part: str) -> str:
    """The text of a part of a page, with a bar for each tag."""
    return html.unescape(re.sub(r"(\s*<[^>]*>\s*)+", "|", part).strip("|"))


def tiles(search: Search) -> list[str]:
    return [text(tile) for tile in re.findall(r'<div class="tile">.*?</div>', rendered(search))]


def facts(shown: str, title: str) -> dict[str, str]:
    """The rows of a table of facts."""
    table = shown.partition(f"<caption>{title}</caption>")[2].partition("</table>")[0]
    return dict(text(row).split("|") for row in table.split("<tr>")[1:])


@pytest.mark.parametrize(
    ("status", "look", "mark"),
    [
        (Exit.GOOD, "good", "✓"),
        (Exit.OBJECTIVE_FAILED, "warn", "!"),
        (Exit.INVALID, "bad", "✕"),
        (Exit.TARGET, "bad", "✕"),
    ],
)
def test_the_mark_is_that_of_the_exit_status(status: Exit, look: str, mark: str) -> None:
    verdict = rendered(BRACKET, status).partition('<section class="verdict ')[2].partition("</section>")[0]
    assert verdict.startswith(f'{look}"')
    assert text(verdict.partition(">")[2]) == f"{mark}|It holds.|a line"


def test_the_head_names_the_model_the_server_and_the_start_as_far_as_they_are_known() -> None:
    def subtitle(**settings: Any) -> str:
        return rendered(BRACKET, **settings).partition('<p class="about">')[2].partition("</p>")[0]

    config = {"model": "small", "url": "http://127.0.0.1:8000", "name": "nightly"}
    started = {"started": "2026-01-02"}
    assert subtitle(config=config, manifest=started) == "small · http://127.0.0.1:8000 · 2026-01-02"
    assert subtitle(config=config | {"model": None}, manifest=started) == "http://127.0.0.1:8000 · 2026-01-02"
    assert subtitle() == ""
    assert "<title>nightly: which load it holds" in rendered(BRACKET, config=config)
    assert "<title>search: which load it holds" in rendered(BRACKET)


def test_the_configuration_leaves_out_limits_and_the_machine_is_the_command_the_host_and_the_versions() -> None:
    shown = rendered(
        BRACKET,
        config={"name": "nightly", "limits": {"files": 1024}, "seed": 3},
        manifest={"command": "bench search", "host": {"cpu": "old"}, "versions": {"bench": "1.0"}, "started": "now"},
    )
    assert facts(shown, "Configuration of the runs (2)") == {"name": "nightly", "seed": "3"}
    assert facts(shown, "The command and the machine") == {
        "command": "bench search", "host": "cpu old", "versions": "bench 1.0"
    }  # fmt: skip


def test_a_bracket_has_its_interval_and_the_loads_that_are_sure_in_tiles() -> None:
    known = BRACKET.known()
    assert known is not None
    width = f"{100 * (known.high / known.low - 1):.0f}"
    lost = [made_visit(12, 36.0, verdict="FAILED"), made_visit(13, 36.0, verdict="INVALID")]
    # 13 visits of 72 s are 15.6 min.
    assert tiles(made_search(*BRACKET.results, *lost, budget_s=1_800.0)) == [
        "Holds up to|38.4|/s|36.7 to 39.8", "Held|35|/s|99% sure", "Not held|40|/s|99% sure",
        f"Width of the interval|{width}|%|asked for 10%",
        "Visits|13|2 INVALID or FAILED", "Time|15.6|min|of 30 min",
    ]  # fmt: skip


def test_a_load_that_is_not_sure_has_a_tile_that_says_so() -> None:
    held = made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.0), ("visit", 40.0, 0.0)))
    known = held.known()
    assert known is not None
    assert (known.held, known.failed) == ((35.0, pytest.approx(known.held[1] if known.held else 0)), None)
    assert tiles(held)[2] == "Not held|–|no load tried is sure"
    # Half of the allowed violations and twice as many, at loads close to each other: neither is certain.
    neither = made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.008), ("visit", 36.0, 0.012), act={P99.text: 200.0}))
    known = neither.known()
    assert known is not None
    assert (known.held, known.failed) == (None, None)
    assert tiles(neither)[1:3] == ["Held|–|no load tried is sure", "Not held|–|no load tried is sure"]


def test_without_an_interval_the_tiles_are_the_load_that_held_or_that_broke() -> None:
    assert tiles(made_search(*in_turn(*CALM, ("visit", 32.0, 0.0))))[0] == "At least|32|/s|nothing broke"
    assert tiles(made_search(*in_turn(*SCOUTS, ("visit", 35.0, 0.5))))[0] == "Below|35|/s|broken there"
    assert tiles(made_search()) == ["Visits|0|0 INVALID or FAILED", "Time|0|s|of 15 min"]
    users = made_search(*in_turn(*CALM, ("visit", 32.0, 0.0), kept_up=None), load_kind="concurrency")
    assert tiles(users)[0] == "At least|32|users|nothing broke"


@pytest.mark.parametrize(
    ("kind", "load", "beside", "span"),
    [
        ("rate", "requests per second", "the server keeps up with what is sent", ("2/s", "0.5/s", "64/s")),
        ("concurrency", "users of a closed loop", None, ("2 users", "1 user", "64 users")),
        ("sessions", "sessions that are live at once", None, ("2 sessions", "1 session", "64 sessions")),
    ],
)
def test_what_was_looked_for(kind: str, load: str, beside: str | None, span: tuple[str, str, str]) -> None:
    limits = {"start": 2.0, "least": 0.5 if kind == "rate" else 1.0, "most": 64.0, "precision": 0.05}
    shown = rendered(made_search(goals=(P99, MEAN), load_kind=kind, **limits))
    expected = {
        "load": load, "objectives": f"{P99.text}, {MEAN.text}", "beside them": beside, "start": span[0],
        "from": span[1], "to": span[2], "precision": "5%", "budget": "15 min",
    }  # fmt: skip
    told = facts(shown, "What was looked for")
    assert told == {name: value for name, value in expected.items() if value is not None}
    assert ("Kept up" in shown) is False
    assert "No visit has ended." in shown


@pytest.mark.parametrize(("precision", "told"), [(0.995, "99.5%"), (1.0, "1"), (1.5, "1.5")])
def test_a_precision_of_a_whole_or_more_is_a_factor(precision: float, told: str) -> None:
    assert facts(rendered(made_search(precision=precision)), "What was looked for")["precision"] == told


def visits_table(shown: str) -> list[list[str]]:
    """The cells of the table of visits, from its head on."""
    table = shown.partition('aria-label="Visits">')[2].partition("</table>")[0]
    rows = [re.findall(r"<t[hd][ >].*?</t[hd]>", row) for row in table.split("<tr>")[1:]]
    return [[text(cell) for cell in row] for row in rows]


def test_every_visit_is_a_row_with_what_it_broke() -> None:
    search = made_search(
        made_visit(1, 12.5, 0.02, phase="scout", requests=1_000, means={MEAN.text: Mean(12.5, 0.2, 0.1)},
                   jobs={TPOT.text: 1_200}, violations={P99.text: 20, TPOT.text: 120}),
        made_visit(2, 25.0, phase="again", requests=0, kept_up=False, verdict="INVALID", seconds=90.0),
        made_visit(3, 50.0, 0.01, kept_up=None, verdict="SUSPECT", means={MEAN.text: Mean(50.0, -0.2, 0.1)}),
        goals=(P99, MEAN, TPOT),
    )  # fmt: skip
    numbers = {
        1: VisitNumbers(
            latency={"ttft_ms": filled(Metric, {"p50": 40.0, "p99": 300.0})}, output_tokens_per_s=640.0, reasons=("x",)
        ),
        2: VisitNumbers(reasons=("busy", "late", "more")),
    }
    shown = rendered(search, numbers=numbers)
    assert visits_table(shown) == [
        ["Visit", "Load", "Requests", f"{P99.text}|1% may break it", f"{MEAN.text}|mean over its limit",
         f"{TPOT.text}|10% may break it", "TTFT p50 / p99, ms", "Output tokens/s", "Kept up", "Verdict", "Took"],
        ["1 scout", "12.5/s", "1,000", "2%", "+22.1%", "10% of 1,200", "40 / 300", "640", "yes", "VALID", "72 s"],
        ["2 again|busy; late", "25/s", "0", "–", "–", "–", "– / –", "–", "no", "INVALID", "1.5 min"],
        ["3 visit", "50/s", "4,000", "1%", "-18.1%", "0%", "– / –", "–", "–", "SUSPECT", "72 s"],
    ]  # fmt: skip
    # Values beyond the objective are red.
    assert re.findall(r'<span class="tone bad">(\d.*?|\+.*?)</span>', shown) == ["2%", "+22.1%"]
    assert re.findall(r'href="(\d.*?)"', shown) == [f"{r.run_dir}/report.html" for r in search.results]


def test_visits_whose_replies_are_no_text_have_inputs_and_whole_replies_in_the_table() -> None:
    search = made_search(made_visit(1, 12.0, kept_up=None), load_kind="concurrency")
    latency = {
        "ttft_ms": filled(Metric, {"p50": 40.0, "p99": 300.0}),
        "e2el_ms": filled(Metric, {"p50": 50.0, "p99": 400.0}),
    }
    numbers = {1: VisitNumbers(latency=latency, output_tokens_per_s=640.0, inputs_per_s=32.0)}
    head, row = visits_table(rendered(search, numbers=numbers))
    assert head[4:] == ["E2EL p50 / p99, ms", "Inputs/s", "Verdict", "Took"]
    assert row == ["1 visit", "12 users", "4,000", "0%", "50 / 400", "32", "VALID", "72 s"]
