"""The page of a fit: each load's distributions over each other, the held-out ones first."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bench.documents.fit_document import cdf, share_below
from bench.fit.curves import SHARES, curves_of
from bench.fit.streams import Stream
from bench.results.profile import ReplayedCurve
from tests.support.rendered import fit_page

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
    # Equal values are a jump.
    assert [share_below([10, 10, 10, 20], at) for at in (9, 10, 15)] == [0, pytest.approx(2 / 3), pytest.approx(5 / 6)]


def test_both_distributions_stand_over_one_axis() -> None:
    chance = Random(1)
    quantiles = sorted(chance.uniform(5, 50) for _ in SHARES)
    chart = cdf("load-0", ReplayedCurve(number="ttft_ms", measured=quantiles, replayed=[2 * q for q in quantiles]))
    measured, replayed = chart.panels[0].lines
    assert measured.values[-1] == replayed.values[-1] == 100
    shares = [value for value in measured.values if value is not None]
    assert shares == sorted(shares)
    # What was replayed is slower everywhere.
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
