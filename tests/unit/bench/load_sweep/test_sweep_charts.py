"""The charts and words of sweeps and repeats, value by value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from bench.documents import load_curves
from bench.documents.charts import Chart, Line
from bench.documents.document import Banner, Findings, Table
from bench.documents.sweep_document import names_of, repeats_document, sweep_document
from bench.documents.sweep_words import progress_line, sentences
from bench.results.sweep import RepeatsContent, SweepContent, SweepRun
from bench.results.sweep import SweepNumber as Number
from tests.support.made_sweeps import LADDER, content, made_run, typed
from tests.support.results import filled


def lines(chart: Chart) -> dict[str, Line]:
    return {line.name: line for line in chart.panels[0].lines}


def test_one_sweep_has_its_curve_its_interval_and_its_fit() -> None:
    charts = load_curves.build([typed(content(LADDER, gpus=None))], ["a"])
    assert [chart.key for chart in charts] == ["throughput", "ttft", "tpot", "e2el", "goodput"]
    first = charts[0]
    assert (first.title, first.panels[0].unit) == ("Throughput", "tokens/s")
    assert first.meaning == "Output tokens per second. Dashed in grey: the 95% interval."
    assert first.x_title == "users, logarithmic"
    assert first.x == [pytest.approx(math.log10(2) * k) for k in range(9)]
    room = 0.05 * math.log10(256)
    assert first.x_span == (pytest.approx(-room), pytest.approx(math.log10(256) + room))
    assert first.x_names[0] == "1 users"
    # With nine loads every second one has a tick: eight is the maximum.
    assert [text for _, text in first.ticks] == ["1", "4", "16", "64", "256"]
    drawn = lines(first)
    assert [(line.style, line.tone, line.dashed, line.hidden, line.in_legend) for line in drawn.values()] == [
        ("points", "main", False, False, True),
        ("line", "quiet", True, False, False),
        ("line", "quiet", True, False, False),
        ("line", "second", True, False, True),
    ]
    for k, load in enumerate((1, 2, 4, 8, 16, 32, 64, 128, 256)):
        true = 1000 * load / (load + 20)
        assert drawn["measured"].values[k] == pytest.approx(true)
        assert drawn["95% low"].values[k] == pytest.approx(0.98 * true)
        assert drawn["95% high"].values[k] == pytest.approx(1.02 * true)
        assert drawn["fitted"].values[k] == pytest.approx(true)
    tpot = lines(charts[2])
    assert (charts[2].meaning, charts[2].panels[0].unit) == (
        "TPOT of the requests sent in the measured time. Dashed in grey: the 95% interval.", "ms",
    )  # fmt: skip
    assert list(tpot) == ["p50", "95% low", "95% high", "p99", "p99, 95% low", "p99, 95% high"]
    assert (tpot["p50"].style, tpot["p99"].tone, tpot["p99, 95% low"].hidden) == ("line", "second", True)
    ttft = lines(charts[1])
    assert ttft["p50, 95% low"].hidden  # It has no interval.
    assert charts[4].panels[0].unit == "requests/s"


def test_few_loads_have_a_tick_each_and_one_load_has_room() -> None:
    (chart, *_) = load_curves.build([typed(content(LADDER[:8]))], ["a"])
    assert [text for _, text in chart.ticks] == ["1", "2", "4", "8", "16", "32", "64", "128"]
    (chart, *_) = load_curves.build([typed(content([made_run(10)]))], ["a"])
    assert chart.x_span == (pytest.approx(1 - 0.025), pytest.approx(1 + 0.025))
    (chart, *_) = load_curves.build([typed(content([]))], ["a"])
    assert (chart.x, chart.x_span, chart.ticks) == ([], (0, 1), ())


def test_of_several_sweeps_each_has_a_tone_and_its_interval_is_hidden() -> None:
    sweeps = [typed(content(LADDER[:4], gpus=None)), typed(content(LADDER[2:6], gpus=None, name="b"))]
    charts = load_curves.build(sweeps, ["a", "b"])
    assert charts[0].meaning == "Output tokens per second."
    drawn = lines(charts[0])
    assert list(drawn) == ["a", "a, 95% low", "a, 95% high", "b", "b, 95% low", "b, 95% high"]
    assert [(line.tone, line.hidden) for line in drawn.values()] == [
        ("main", False), ("quiet", True), ("quiet", True), ("second", False), ("quiet", True), ("quiet", True),
    ]  # fmt: skip
    assert [value is None for value in drawn["a"].values] == [False, False, False, False, True, True]
    assert [value is None for value in drawn["b"].values] == [True, True, False, False, False, False]
    assert list(lines(charts[1])) == list(drawn)  # Only the median.


def without_tokens(run: SweepRun) -> SweepRun:
    return replace(
        run, numbers={**run.numbers, "output_tokens_per_s": Number(None), "requests_per_s": Number(run.load)}
    )


def test_sweeps_of_several_kinds_have_requests_in_common() -> None:
    tokens, requests = (
        typed(content(LADDER[:3])),
        typed(content([without_tokens(run) for run in LADDER[:3]], gpus=None)),
    )
    charts = load_curves.build([tokens, requests], ["a", "b"])
    assert charts[0].panels[0].unit == "requests/s"
    assert lines(charts[0])["b"].values == [1, 2, 4]
    assert [chart.key for chart in charts] == ["throughput", "ttft", "tpot", "e2el", "goodput", "pareto"]
    alone = load_curves.build([requests], ["b"])
    assert [chart.key for chart in alone] == ["throughput", "e2el", "goodput"]
    assert alone[0].meaning.startswith("Requests per second.")


def test_a_pareto_plot_has_a_frontier_and_what_is_behind_it() -> None:
    slower = made_run(300, 1, output_tokens_per_s=Number(400.0, 399.0, 401.0), tpot_p50=Number(700.0, 690.0, 710.0))
    runs = [*LADDER[3:6], slower]
    pareto = load_curves.build([typed(content(runs))], ["a"])[-1]
    # In order of rising speed per user: 1000 / 700, then 1000 / 52, 1000 / 36, 1000 / 28.
    assert pareto.x == [pytest.approx(x) for x in (1000 / 700, 1000 / 52, 1000 / 36, 1000 / 28)]
    assert pareto.x_span == (0, pytest.approx(1.05 * 1000 / 28))
    assert [text for _, text in pareto.ticks] == ["0", "10", "20", "30"]
    assert [at for at, _ in pareto.ticks] == [0, 10, 20, 30]
    assert pareto.x_names == ["300 users", "32 users", "16 users", "8 users"]
    drawn = lines(pareto)
    assert list(drawn) == ["frontier", "frontier, points", "behind it"]
    # Tokens per second per GPU, for two GPUs.
    per_gpu = [200, 500 * 32 / 52, 500 * 16 / 36, 500 * 8 / 28]
    assert drawn["frontier"].values == [None, *(pytest.approx(value) for value in per_gpu[1:])]
    assert drawn["behind it"].values == [200, None, None, None]
    assert (drawn["behind it"].tone, drawn["frontier, points"].style, pareto.panels[0].unit) == (
        "quiet", "points", "tokens/s per GPU",
    )  # fmt: skip
    assert [name for name, line in drawn.items() if line.in_legend] == ["frontier", "behind it"]
    two = load_curves.build([typed(content(runs)), typed(content(LADDER[:1]))], ["a", "b"])[-1]
    assert [line.name for line in two.panels[0].lines] == ["a", "a, points", "a, behind it", "b", "b, points"]
    assert two.x_names[-1] == "1 users, b"
    assert two.panels[0].lines[3].tone == "second"
    near = [
        made_run(8),
        made_run(9, output_tokens_per_s=Number(280.0, 200.0, 400.0), tpot_p50=Number(29.0, 20.0, 40.0)),
    ]
    names = load_curves.build([typed(content(near))], ["a"])[-1].x_names
    assert names[0] == "9 users, not told apart from the frontier"


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, "  VALID: 285.7 tokens/s, TTFT p50 1 p99 1, TPOT p50 28 p99 1 ms"),
        ({"output_tokens_per_s": Number(None)}, "  VALID: 1 requests/s, E2EL p50 1 p99 1 ms"),
        ({"output_tokens_per_s": Number(None), "requests_per_s": Number(None)},
         "  VALID: – tokens/s, TTFT p50 1 p99 1, TPOT p50 28 p99 1 ms"),
    ],
)  # fmt: skip
def test_a_line_says_what_a_run_found(changed: dict[str, Any], line: str) -> None:
    assert progress_line("VALID", made_run(8, **changed).numbers, None) == line


def test_a_line_of_long_numbers_fits_on_a_narrow_terminal() -> None:
    long: dict[str, Any] = {
        f"{name}_{stat}": Number(123.456) for name in ("ttft", "tpot", "e2el") for stat in ("p50", "p99")
    }
    numbers = made_run(8, output_tokens_per_s=Number(12_345.6), **long).numbers
    assert len(progress_line("VALID", numbers, None)) <= 80


def test_a_sweep_says_what_is_missing_and_what_to_do() -> None:
    swept = typed(content(LADDER[:2], ended="64 users could not be measured: gone"))
    assert sentences(swept) == [
        "Not complete (64 users could not be measured: gone): 2 of 2 runs.",
        "No knee: it needs 4 usable runs over 3 loads, and has 2 over 2: sweep more loads.",
    ]


def test_the_warning_of_a_knee_is_a_sentence() -> None:
    swept = typed(content(LADDER))
    assert swept.knee is not None
    plain = sentences(replace(swept, knee=replace(swept.knee, warning=None)))
    warned = sentences(replace(swept, knee=replace(swept.knee, warning="the curve is not flat: Sweep more")))
    assert warned == [*plain, "The curve is not flat: Sweep more."]


def table_of(swept: SweepContent, places: Sequence[str] = ()) -> Table:
    (table,) = (b for s in sweep_document([swept], places).sections for b in s.blocks if isinstance(b, Table))
    return table


def test_a_load_links_the_reports_of_its_own_runs() -> None:
    runs = [made_run(1), made_run(8, 1), made_run(8, 2, "FAILED"), made_run(16, 1, "INVALID")]
    swept = typed(content(runs))
    for places, place in (((), ""), (("of/a",), "of/a/")):
        cells = [row.cells[2] for row in table_of(swept, places).rows]
        assert [(cell.text, cell.links) for cell in cells] == [
            ("1 of 1", (("run 1", f"{place}concurrency-1-1/report.html"),)),
            (
                "1 of 2",
                (("run 1", f"{place}concurrency-8-1/report.html"), ("run 2", f"{place}concurrency-8-2/report.html")),
            ),
            ("0 of 1", (("run 1", f"{place}concurrency-16-1/report.html"),)),
        ]
    assert [(row.cells[1].tone, row.quiet) for row in table_of(swept).rows] == [
        ("good", False), ("bad", False), ("bad", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "text", "below"),
    [
        ({"error_rate": Number(0.015, 0.01, 0.02)}, "1.50%", ("1%–2%",)),
        ({"error_rate": Number(0.015, None, 0.02)}, "1.50%", ()),
        ({"error_rate": Number(0.015, 0.01, None)}, "1.50%", ()),
        ({"error_rate": Number(None)}, "–", ()),
    ],
)
def test_a_share_has_its_interval_if_both_ends_are_known(
    changed: dict[str, Any], text: str, below: tuple[str, ...]
) -> None:
    table = table_of(typed(content([made_run(8, **changed)])))
    place = [column.title for column in table.columns].index("Failed")
    assert (table.rows[0].cells[place].text, table.rows[0].cells[place].below) == (text, below)


def test_a_number_has_its_interval_below_it() -> None:
    table = table_of(typed(content([made_run(80)])))  # 800 tokens/s, within 2%.
    assert (table.rows[0].cells[3].text, table.rows[0].cells[3].below) == ("800", ("784–816",))
    assert [column.title for column in table.columns] == [
        "users", "Verdict", "Runs", "Output tokens/s", "Requests/s", "TTFT p50", "TTFT p99", "TPOT p50", "TPOT p99",
        "E2EL p50", "E2EL p99", "Failed", "Goodput",
    ]  # fmt: skip
    assert [column.drop for column in table.columns] == [0, 0, 0, 0, 7, 0, 8, 10, 4, 6, 3, 2, 9]


@pytest.mark.parametrize(("marked", "more"), [(5, None), (6, "1 more loads"), (7, "2 more loads")])
def test_of_many_loads_that_are_not_valid_five_say_why(marked: int, more: str | None) -> None:
    runs = [made_run(2**k, 1, "SUSPECT" if k % 2 else "FAILED") for k in range(marked)]
    blocks = sweep_document([typed(content([*runs, made_run(1000)]))]).sections[-1].blocks
    (found,) = (block for block in blocks if isinstance(block, Findings))
    texts = [finding.text for finding in found.sentences]
    assert texts[:2] == [
        "1 users is FAILED; its numbers are not used elsewhere: the client was busy",
        "2 users is SUSPECT: the client was busy",
    ]  # fmt: skip
    assert texts[5:] == ([] if more is None else [f"{more} are not VALID: see their reports"])


def test_loads_that_the_server_did_not_keep_up_with_are_named() -> None:
    swept = typed(content([made_run(load) for load in (1, 2, 1000)]))
    behind = [
        replace(point, kept_up=kept_up) for point, kept_up in zip(swept.points, (True, False, False), strict=True)
    ]
    blocks = sweep_document([replace(swept, points=behind)]).sections[-1].blocks
    (found,) = (block for block in blocks if isinstance(block, Findings))
    assert [finding.text for finding in found.sentences] == [
        "At 2, 1,000 users: requests in flight kept rising, so the server may not keep up, and latencies grow with the "
        "length of the run.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "places", "shown"),
    [
        (["a", "b"], [], ["a", "b"]),
        (["a", "b"], ["x", "y"], ["a", "b"]),
        (["a", "a"], ["x", "y"], ["x", "y"]),
        (["a", "a"], [], ["a 1", "a 2"]),
    ],
)
def test_sweeps_of_one_name_are_told_apart(names: list[str], places: list[str], shown: list[str]) -> None:
    assert names_of([typed(content(LADDER[:2], name=name)) for name in names], places) == shown


def number(value: float | None, low: float | None = None, high: float | None = None, sd: float | None = None) -> Number:
    return Number(value, low, high, sd)


def repeats(statuses: list[str], **numbers: Any) -> RepeatsContent:
    runs = [
        {"name": f"run-{k}", "status": status, "reasons": [], "usable": status in ("VALID", "SUSPECT"), "numbers": {}}
        for k, status in enumerate(statuses)
    ]
    return filled(RepeatsContent, runs=runs, numbers=numbers)


def test_repeats_have_a_row_for_each_number_with_a_value() -> None:
    found = repeats(
        ["VALID", "SUSPECT"],
        **{"output_tokens_per_s": number(100.0, 90.0, 111.0, 0.0512), "ttft:p50": number(None), "tpot:p50": number(20.0),
           "goodput": number(0.985, 0.97, 1.0, 0.01), "error_rate": number(0.015, sd=None)},
    )  # fmt: skip
    document = repeats_document(found)
    assert document.banners == (Banner("runs:", " VALID, SUSPECT", "warn"),)
    (section,) = document.sections
    (table,) = section.blocks
    assert isinstance(table, Table)
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["Output tokens/s", "100", "5.12%", "90–111"],
        ["TPOT p50 (ms)", "20", "–", "–"],
        ["Goodput", "98.5%", "1.00% of all", "97%–100%"],
        ["Failed", "1.50%", "–", "–"],
    ]


@pytest.mark.parametrize(
    ("statuses", "tone", "said"),
    [
        (["VALID"], "good", ["One run: the spread between runs is not known."]),
        (["VALID", "VALID"], "good", []),
        (["VALID", "INVALID", "VALID"], "bad", ["1 of 3 runs are INVALID or FAILED: the numbers are of the others."]),
        (["VALID", "FAILED"], "bad",
         ["1 of 2 runs are INVALID or FAILED: the numbers are of the others.",
          "One run: the spread between runs is not known."]),
        (["INVALID", "FAILED"], "bad",
         ["2 of 2 runs are INVALID or FAILED: there are no others, so their numbers are shown."]),
        ([], "", []),
    ],
)  # fmt: skip
def test_repeats_say_which_runs_count(statuses: list[str], tone: str, said: list[str]) -> None:
    document = repeats_document(repeats(statuses))
    assert document.banners[0].tone == tone
    blocks = document.sections[0].blocks[1:]
    assert [finding.text for block in blocks if isinstance(block, Findings) for finding in block.sentences] == said
