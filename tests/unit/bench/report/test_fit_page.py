"""The page of a fit: each load's distributions over each other, the held-out ones first."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bench.documents.document import ChartBlock, Document, Facts, Findings, Table, Tiles
from bench.documents.fit_document import cdf, fit_document, share_below
from bench.fit.curves import SHARES, curves_of
from bench.fit.streams import Stream
from bench.results.profile import Profile, ReplayedCurve
from tests.support.rendered import fit_page
from tests.support.results import filled

PROFILE = json.loads((Path(__file__).parents[3] / "support" / "made_profile.json").read_text())


def made_profile(*, server: str = "a server", replays: tuple[tuple[str, bool], ...] = ()) -> dict[str, Any]:
    row = {"number": "ttft_ms", "quantile": "p50", "measured": 50.0, "replayed": 56.0, "off": 0.12}
    curve = {"number": "ttft_ms", "measured": [40.0, 50.0, 90.0], "replayed": [41.0, 56.0, 95.0]}
    made = [{"name": name, "held_out": held, "numbers": [row], "curves": [curve]} for name, held in replays]
    return {
        **PROFILE,
        "decode": [{"tokens": 3, "us": 270.0, "low": 260.0, "high": 280.0}],
        "replay": made,
        "provenance": {**PROFILE["provenance"], "server": server},
    }


def stream(first_ms: float, gaps_ms: list[float], *, sure: bool = True) -> Stream:
    arrivals = [first_ms]
    for gap in gaps_ms:
        arrivals.append(arrivals[-1] + gap)
    us = tuple(1000 * at for at in arrivals)
    return Stream(0.0, us[-1], 10, 0, us, (1,) * len(us), sure)


def test_curves_are_the_quantiles_of_streams_that_are_known_whole() -> None:
    streams = [stream(10, [1, 3]), stream(20, [2, 2]), stream(900, [900], sure=False), stream(30, [])]
    found = curves_of(streams)
    assert (found["ttft_ms"][0], found["ttft_ms"][20], found["ttft_ms"][-1]) == (10, 20, 30)
    assert set(found["tpot_ms"]) == {2}
    assert (found["itl_ms"][0], found["itl_ms"][-1]) == (1, 3)
    assert found["e2el_ms"][-1] == 30
    assert all(len(curve) == len(SHARES) for curve in found.values())
    assert curves_of([]) == {}


def test_a_share_is_read_between_quantiles() -> None:
    assert [share_below([10, 20, 40], at) for at in (5, 10, 15, 20, 30, 40, 50)] == [0, 0, 0.25, 0.5, 0.75, 1, 1]
    # Equal values make a jump.
    assert [share_below([10, 10, 10, 20], at) for at in (9, 10, 15)] == [0, pytest.approx(2 / 3), pytest.approx(5 / 6)]


def test_both_distributions_stand_over_one_axis() -> None:
    chance = Random(1)
    quantiles = sorted(chance.uniform(5, 50) for _ in SHARES)
    chart = cdf("load-0", ReplayedCurve(number="ttft_ms", measured=quantiles, replayed=[2 * q for q in quantiles]))
    measured, replayed = chart.panels[0].lines
    assert measured.values[-1] == replayed.values[-1] == 100
    shares = [value for value in measured.values if value is not None]
    assert shares == sorted(shares)
    # The replay is slower everywhere.
    assert all(
        two <= one
        for one, two in zip(measured.values, replayed.values, strict=True)
        if one is not None and two is not None
    )
    assert len(chart.ticks) >= 2


def test_the_page_shows_held_out_loads_first_and_escapes_what_came_from_outside() -> None:
    profile = made_profile(server="<b>lab</b>", replays=(("one", False), ("eight", True)))
    page = fit_page(profile)
    assert "&lt;b&gt;lab&lt;/b&gt;" in page
    assert "<b>lab</b>" not in page
    assert page.index("eight, held out") < page.index("<h2>one</h2>")
    assert "+12.0%" in page
    assert "3 decodes together" in page


def test_a_profile_without_replays_has_a_page_too() -> None:
    page = fit_page(made_profile())
    assert "Quantile by quantile" not in page
    assert "What a step costs" in page


COEFFICIENTS = {
    name: {"value": 1234.5, "low": 1200.25, "high": None, "told": name != "w0"}
    for name in ("b0", "b1", "b2", "b3", "b4", "a0", "a1", "w0")
}


def tables(document: Document) -> dict[str, list[list[str]]]:
    """The cells of each table or list of facts, by its title."""
    found = {}
    for block in (block for section in document.sections for block in section.blocks):
        if isinstance(block, Table):
            found[block.title] = [[cell.text for cell in row.cells] for row in block.rows]
        elif isinstance(block, Facts):
            found[block.title] = [[fact.name, fact.value] for fact in block.rows]
    return found


def test_the_cost_of_a_step_is_said_with_what_is_not_known_of_it() -> None:
    limits = {"max_num_seqs": {"value": 256, "source": "waiting"}, "max_num_batched_tokens": {"value": None},
              "kv_blocks": {"value": 65_536, "source": "server"}}  # fmt: skip
    residuals = [{"least_decodes": 2, "most_decodes": 9, "rows": 1_200, "p10": -0.0125, "p50": 0.0, "p90": 10.5}]
    fit = {"steps": 2_000, "rows": 1_500, "scale_us": 31.25, "left_out": 0.0125, "residuals": residuals}
    profile = filled(Profile, engine="batching", fit=fit, limits=limits, coefficients=COEFFICIENTS)
    page = fit_document(profile)
    decode = [{"tokens": 3, "us": 270.0, "low": 260.5, "high": 280.0}]
    uneven = fit_document(filled(Profile, engine="batching", fit=fit, limits=limits, decode=decode))
    found = tables(page)
    meant = (
        "a step",
        "a prefill token",
        "a decode token",
        "a context token",
        "a prompt",
        "a request",
        "a prompt token",
    )
    assert found["Coefficients"] == [
        *([name, what, "1,234", "1,200 to ?"] for name, what in zip(COEFFICIENTS, meant, strict=False)),
        ["w0", "an idle server", "1,234", "not determined by these loads"],
    ]
    assert found["Limits"] == [
        ["max_num_seqs", "256 (where waiting begins)"], ["max_num_batched_tokens", "unknown"],
        ["kv_blocks", "65,536 (stated by the server)"],
    ]  # fmt: skip
    assert found["Measured less fitted"] == [["2-9", "1,200", "-1.2%", "+0.0%", "+1,050.0%"]]
    assert tables(uneven)["Coefficients"] == [["D", "3 decodes together", "270", "260.5 to 280"]]
    notes = [
        b.notes for of in (page, uneven) for s in of.sections for b in s.blocks
        if isinstance(b, Table) and b.title == "Coefficients"
    ]  # fmt: skip
    note = (
        "2,000 steps in 1,500 rows; a row is off by 31.25 us (standard deviation); 1.2% of the rows lie far off and have no "
        "weight here; the mock takes them as they came."
    )
    several = " Decodes do not all cost the same: D is their cost together, and b2 is the cost of each further one."
    assert notes == [(note,), (note + several,)]
    (chart,) = (b.chart for s in page.sections for b in s.blocks if isinstance(b, ChartBlock))
    assert [(line.name, line.values) for line in chart.panels[0].lines] == [
        ("p10", [-1.25]),
        ("p50", [0]),
        ("p90", [1050]),
    ]
    assert chart.x_names == ["2-9 decodes, 1,200 rows"]


def test_what_the_load_does_to_sampled_times_is_a_table() -> None:
    times = {"ttft_ms": [1.0, 2.0], "gap_ms": [3.0, 4.0], "ttft_per_input_token_us": 12.5, "between": 0.256,
             "follows": 0.125, "load": [(1.0, 1.0, 1.0), (8.5, 2.0, 3.25)]}  # fmt: skip
    seen = {"requests": 1_234, "gaps": 5_678, "requests_by_load": [1_000, 234]}
    page = fit_document(filled(Profile, engine="sampled", sampled_times=times, seen=seen))
    found = tables(page)
    assert found["Between them"] == [
        ["A prompt token adds to TTFT", "12.50 us"], ["Variance of gaps between requests", "26%"],
        ["Correlation of neighbouring gaps in the rest", "0.12"],
    ]  # fmt: skip
    assert found["What the load does"] == [["1", "1", "1", "1,000"], ["8.5", "2", "3.250", "234"]]
    (table,) = (
        b for s in page.sections for b in s.blocks if isinstance(b, Table) and b.title == "Times at the least load"
    )
    assert table.notes == ("1,234 requests with 5,678 gaps. This fit did not look for steps.",)


def test_the_head_of_a_fit_has_its_runs_doubts_and_held_out_numbers() -> None:
    number = {"number": "tpot_ms", "quantile": "p50", "measured": 20.0, "replayed": 25.0, "off": 0.25}
    replay = [
        {"name": "one", "held_out": False, "numbers": [number]},
        {"name": "two", "held_out": True, "numbers": [number]},
    ]
    runs = [{"name": "one", "run_id": "r1", "started": "today", "requests": 1_000, "most_in_flight": 8}]
    unknown = [{"what": "b1", "why": "all prompts are short", "command": "bench run"}]
    page = fit_document(
        filled(Profile, model="m", engine="batching", provenance={"date": "today", "runs": runs}, replay=replay,
               unknown=unknown, warnings=["it drifts"])
    )  # fmt: skip
    assert (page.title, page.subtitle) == ("Profile of a server", "m · engine batching · today")
    assert [section.title for section in page.sections[1:3]] == ["two, held out", "one"]
    tiles, doubts = page.sections[0].blocks
    assert isinstance(tiles, Tiles)
    assert [(tile.title, tile.value, tile.beside) for tile in tiles.tiles] == [
        ("TTFT p50 of two, held out", "–", ""),
        ("TPOT p50 of two, held out", "+25.0%", "20 measured, 25 replayed, ms"),
    ]
    assert isinstance(doubts, Findings)
    assert [finding.text for finding in doubts.sentences] == ["it drifts"]
    assert tables(page)["The runs"] == [["one", "r1 · today · 1,000 requests, 8 at most in flight"]]
    (told,) = (block for block in page.sections[-1].blocks if isinstance(block, Findings))
    assert [(one.text, one.command) for one in told.sentences] == [("b1: all prompts are short", ""), ("", "bench run")]
    assert tables(page)["Quantile by quantile"] == [["TPOT", "+25.0%"]]
