"""Recomputes the detection rates in docs/quality.md."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from bench.answers.compared import ThreePhases, compare
from bench.answers.cross_talk import cross_talk
from promptset.probes import Probe, make_probes, parse_probes
from tests.support import scipy_stats as stats
from tests.support.made_answers import answered

PAGE = (Path(__file__).parents[4] / "docs" / "quality.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (100|400|1000) \| (\d+)% \| (\d+)% \| (\d+)% \| (\d+)% \|$", PAGE, re.MULTILINE)
RATES = (0.01, 0.02, 0.05, 0.1)


@pytest.mark.parametrize(("wrong", "decision"), [(4, "not shown"), (5, "changed")])
@pytest.mark.parametrize("probes", [100, 400])
def test_five_wrong_answers_show_a_change(probes: int, wrong: int, decision: str) -> None:
    asked = make_probes(parse_probes(f"arithmetic={probes}"), seed=0)
    bad = {probe.probe_id for probe in asked[:wrong]}
    loaded = answered(asked, 1, lambda probe, _: "12345678" if probe.probe_id in bad else "")
    found = compare(ThreePhases(asked, answered(asked, 2), loaded, answered(asked)))
    assert {row.name: row.decision for row in found.measures}["right"] == decision


@pytest.mark.parametrize("row", ROWS)
def test_the_table_of_the_page_follows(row: tuple[str, ...]) -> None:
    probes, *shown = map(int, row)
    assert shown == [round(100 * stats.binom.sf(4, probes, rate)) for rate in RATES]


def test_the_table_has_its_rows() -> None:
    assert [int(row[0]) for row in ROWS] == [100, 400, 1000]


def test_cross_talk_of_one_in_a_thousand_is_found_among_five_thousand() -> None:
    probes = make_probes(parse_probes("canary=5000"), seed=0)
    rng, found = random.Random(3), 0

    def mixed_up(probe: Probe, _: int) -> str:
        return f"It is {rng.choice(probes).code}" if rng.random() < 1e-3 else ""

    for _ in range(8):
        talk = cross_talk(probes, {"loaded": answered(probes, 1, mixed_up)})
        found += talk is not None and talk.found > 0
    assert found >= 7
    clean = cross_talk(probes, {"loaded": answered(probes)})
    assert clean is not None
    assert clean.found == 0
