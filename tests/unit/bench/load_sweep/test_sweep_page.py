"""How a sweep is shown: its table, its page and its curves."""

from __future__ import annotations

import re

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from bench.documents import load_curves, sweep_document
from bench.load_sweep.points import numbers_of
from bench.results.summary import RunSummary
from bench.results.sweep import NUMBERS, OF_JOBS
from bench.results.sweep import SweepNumber as Number
from tests.support.jobs_run import summary_of_jobs
from tests.support.made_sweeps import LADDER, SCHEMA, content, made_run, typed
from tests.support.rendered import sweep_page, sweep_text
from tests.support.results import filled


def test_the_table_fits_its_columns_and_marks_what_was_not_measured() -> None:
    runs = [*LADDER, made_run(512, 1, "INVALID")]
    text = sweep_text(content(runs, ended="interrupted"))
    assert max(map(len, text.splitlines())) <= 100
    assert "Not complete (interrupted): 10 of 10 runs." in text
    assert "Half of the greatest throughput is reached with 20 users (95%: 20–20)" in text.replace("\n", " ")
    assert "512 users is INVALID; its numbers are not used elsewhere: the client was busy" in " ".join(text.split())
    assert "909.0–946.1" in text


@pytest.mark.parametrize(
    ("upto", "text", "tiles", "kept"),
    [
        (
            256,
            "with 20 users (95%: 20–20), 90% with 180; the ceiling of the fitted",
            ("20", "180"),
            180,
        ),
        (
            128,
            "with 20 users (95%: 20–20), 90% beyond 128; the ceiling of the fitted",
            ("20", "beyond 128"),
            None,
        ),
        (
            16,
            "beyond 16 users (95%: beyond 16), 90% beyond 16; the ceiling of the fitted",
            ("beyond 16", "beyond 16"),
            None,
        ),
    ],
)
def test_no_load_above_the_highest_that_was_measured_is_given_as_a_number(
    upto: int, text: str, tiles: tuple[str, str], kept: float | None
) -> None:
    # A load whose run is INVALID was not measured.
    swept = content([*(run for run in LADDER if run.load <= upto), made_run(512, 1, "INVALID")])
    Draft202012Validator(SCHEMA).validate(swept)
    assert swept["knee"]["ninety_percent_at"] == (None if kept is None else pytest.approx(kept))
    assert text in " ".join(sweep_text(swept).split())
    page = sweep_page([swept])
    assert tuple(re.findall(r"of the ceiling</p><p class=.figure.><span>([^<]*)<", page)) == tiles
    assert ("No load above" in page) == (kept is None)


def test_a_throughput_that_is_flat_from_the_lowest_load_on_has_its_knee_below_it() -> None:
    tokens = {4: 100.0, 8: 101.0, 16: 99.0, 32: 100.0}
    flat = content([made_run(load, output_tokens_per_s=Number(per_s)) for load, per_s in tokens.items()])
    assert "is reached below 4 users, 90% below 4; the ceiling" in " ".join(sweep_text(flat).split())


def test_the_interval_of_half_the_ceiling_ends_at_the_highest_load() -> None:
    swept = content([run for run in LADDER if run.load <= 64])
    swept["knee"]["half_at_interval"] = [15.0, 90.0]
    assert "with 20 users (95%: 15 to beyond 64), 90% beyond 64" in " ".join(sweep_text(swept).split())


def test_the_page_has_a_curve_for_each_metric_and_a_mark_for_what_was_not_measured() -> None:
    page = sweep_page([content([*LADDER, made_run(512, 1, "INVALID")])])
    for title in ("Throughput", "TTFT", "TPOT", "E2EL", "Goodput", "Throughput of a GPU against speed for a user"):
        assert f"<h3>{title}</h3>" in page
    assert len(re.findall(r'<g class="bad" data-line="\d+"><path class="points', page)) == 5
    assert '<span class="tone bad">INVALID</span>' in page
    assert 'href="concurrency-512-1/report.html"' in page
    assert "INVALID or FAILED" in page


def test_what_was_not_measured_is_in_no_curve() -> None:
    charts = load_curves.build([typed(content([*LADDER, made_run(512, 1, "FAILED")]))], ["a"])
    throughput = charts[0].panels[0].lines
    assert [line.name for line in throughput] == ["measured", "95% low", "95% high", "fitted", "INVALID or FAILED"]
    assert throughput[0].values[-1] is None
    assert [value for value in throughput[-1].values if value is not None] == [pytest.approx(1000 * 512 / 532)]
    assert throughput[-1].tone == "bad"
    assert content([made_run(0.5, 1, "FAILED")])["knee"] is None
    suspect = load_curves.build([typed(content([*LADDER[:-1], made_run(256, 1, "SUSPECT")]))], ["a"])[0].panels[0].lines
    assert (suspect[-1].name, suspect[-1].tone) == ("SUSPECT", "warn")
    assert suspect[0].values[-1] == suspect[-1].values[-1]  # The suspect point is on the curve, too.
    mixed = load_curves.build([typed(content([*LADDER, made_run(256, 2, "INVALID")]))], ["a"])[0].panels[0].lines
    assert mixed[0].values[-1] == mixed[-1].values[-1] == pytest.approx(1000 * 256 / 276)
    assert not any(line.tone == "good" for line in (*throughput, *suspect))


def test_several_sweeps_have_a_curve_each_over_all_their_loads() -> None:
    other = content([made_run(load) for load in (3, 30, 300)], gpus=None, name="b")
    charts = load_curves.build([typed(content(LADDER)), typed(other)], ["a", "b"])
    drawn = {line.name: line for line in charts[0].panels[0].lines if not line.hidden}
    assert set(drawn) == {"a", "b"}
    assert len(charts[0].x) == 12
    assert sum(value is not None for value in drawn["b"].values) == 3
    assert drawn["b"].over_gaps
    page = sweep_page([content(LADDER), other], ["x/one", "x/two"])
    assert "<h2>a</h2>" in page
    assert "<h2>b</h2>" in page
    assert 'href="x/two/concurrency-30-1/report.html"' in page
    assert sweep_document.names_of([typed(content(LADDER))] * 2, ["x", "y"]) == ["x", "y"]


def test_a_sweep_over_sessions_shows_their_jobs() -> None:
    found = numbers_of(filled(RunSummary, summary_of_jobs()))
    jobs = summary_of_jobs()["jobs"]
    assert set(found) == {*NUMBERS, *OF_JOBS}
    assert (found["job:p90"].value, found["jobs_per_hour"].low) == (
        jobs["job_s"]["p90"],
        jobs["rates"]["ci95"]["jobs_per_hour"][0],
    )
    runs = [replace(made_run(n), name=f"sessions-{n}-1", numbers=found) for n in (1, 2, 4, 8)]
    swept = content(runs) | {"kind": "sessions", "unit": "sessions"}
    Draft202012Validator(SCHEMA).validate(swept)
    printed = sweep_text(swept)
    assert printed.startswith("sessions") or "\nsessions " in printed
    for head in ("Jobs/hour", "Job p50 (s)"):
        assert head in printed
    page = sweep_page([swept])
    for said in ("Job p90 (s)", "Job seconds", "Jobs an hour"):
        assert said in page
