"""Charts as data, as SVG, and as the data from which a page's script computes periods."""

from __future__ import annotations

import base64
import itertools
import random
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from bench.documents import charts, distribution_charts, packing, period_data, request_tables, run_charts, time_charts
from bench.documents.charts import FEW, Cells, Chart, Line, Panel
from bench.records import Outcome
from bench.report import heat_map, plot
from tests.support.golden_run import golden_page_data, golden_summary
from tests.support.made_records import made_record
from tests.support.made_summary import made_page, made_summary
from tests.support.rendered import run_numbers, run_page

GOLDEN = run_numbers(golden_summary(), golden_page_data())


def test_a_report_has_its_charts() -> None:
    built = run_charts.build(GOLDEN)
    assert [chart.key for chart in built] == list(run_charts.CHARTS), "the key of a chart must be its name in CHARTS"
    # The nine charts that every load tester has, and the ones that they lack.
    assert set(run_charts.CHARTS) == {
        "requests_per_s", "responses_per_s", "traffic", "response_time_intervals", "response_time_quantiles",
        "status_codes", "ttft", "tpot", "tps",
        "itl", "in_flight", "errors", "ttft_heat_map", "ttft_distribution", "tpot_distribution", "itl_distribution",
        "ttft_by_prompt", "e2el_by_output", "tokens_asked", "timeline",
        "server_requests", "server_memory", "server_tokens", "gpu",
    }, "add each chart of CHARTS to this set"  # fmt: skip
    assert not any(chart.empty for chart in built)
    for chart in built:
        for line in (line for panel in chart.panels for line in panel.lines):
            assert len(line.values) == len(chart.x) == len(chart.x_names)


def test_a_summary_alone_gives_the_charts_that_it_can() -> None:
    keys = [chart.key for chart in run_charts.build(run_numbers(golden_summary()))]
    assert set(run_charts.CHARTS) - set(keys) == {
        "itl", "ttft_heat_map", "ttft_distribution", "tpot_distribution", "itl_distribution", "ttft_by_prompt",
        "e2el_by_output", "tokens_asked", "timeline", "server_requests", "server_memory", "server_tokens", "gpu",
    }  # fmt: skip


@pytest.mark.parametrize(("rows", "middles"), [(1, [0.5]), (2, [0.25, 0.75]), (0, [])])
def test_spans_lie_in_the_middle_of_their_rows(rows: int, middles: list[float]) -> None:
    line = Line("l", [*range(rows)], spans=[(0.0, 5.0)] * rows)
    chart = Chart("k", "t", "m", "s", [*range(rows)], (0, 10), [""] * rows, (), 1, (Panel("s", (line,), rows=rows),))
    spans = re.findall(r"M(\d+) (\d+)h(\d+)", plot.draw(chart, chart.panels[0]).svg.partition('class="span"')[2])
    drawn = [[int(number) for number in span] for span in spans]
    assert drawn == [[0, round(share * plot.HEIGHT), plot.WIDTH // 2] for share in middles]


@pytest.mark.parametrize("name", run_charts.CHARTS)
def test_a_chart_is_drawn_inside_its_box(name: str) -> None:
    chart = run_charts.CHARTS[name](GOLDEN)
    assert chart is not None
    for panel in chart.panels:
        drawn = plot.draw(chart, panel)
        if panel.cells is not None or panel.rows is not None:
            continue
        highest = max(v for line in panel.lines if not line.hidden for v in line.values if v is not None)
        assert drawn.top >= highest
        assert drawn.top <= 2.5 * highest or highest < 1
        for path in re.findall(r' d="(M[^"]*)"', drawn.svg):
            assert all(0 <= x <= plot.WIDTH and 0 <= y <= plot.HEIGHT for x, y in places(path))
        assert 2 <= len(drawn.y_ticks) <= 6


def places(path: str) -> list[tuple[float, float]]:
    """The points of a path written by plot.py."""
    x = y = 0.0
    found = []
    for command, numbers in re.findall(r"([MlhvHVZ])([^MlhvHVZ]*)", path):
        values = [float(number) for number in re.findall(r"-?[\d.]+", numbers)]
        if command == "M":
            x, y = values
        elif command == "l":
            x, y = x + values[0], y + values[1]
        elif command in "hH":
            x = values[0] + (x if command == "h" else 0)
        elif command in "vV":
            y = values[0] + (y if command == "v" else 0)
        found.append((x, y))
    return found


def test_a_path_goes_through_the_values() -> None:
    records = [made_record(i, sent_ms=i * 1_000.0, chunks_ms=(10.0 * (i + 1), 100.0)) for i in range(4)]
    chart = time_charts.ttft(run_numbers(made_summary(records)))
    stroke = re.search(r'data-line="0"><path class="stroke" d="([^"]+)"', plot.draw(chart, chart.panels[0]).svg)
    assert stroke is not None
    # The axis ends at 40 ms.
    assert [(x / plot.WIDTH * 4, 40 - y / plot.HEIGHT * 40) for x, y in places(stroke[1])] == [
        (0.5, 10), (1.5, 20), (2.5, 30), (3.5, 40)
    ]  # fmt: skip


def test_few_values_are_points_and_not_an_invisible_line() -> None:
    few, many = ([made_record(i, sent_ms=i * 1_000.0) for i in range(n)] for n in (5, 50))
    for records, shown in ((few, True), (many, False)):
        chart = time_charts.ttft(run_numbers(made_summary(records)))
        assert ('class="dots"' in plot.draw(chart, chart.panels[0]).svg) is shown


def test_a_distribution_has_every_value_in_its_interval() -> None:
    ttfts = [10.0, 10.0, 20.0, 40.0, 80.0, 81.0]
    records = [made_record(i, sent_ms=i * 300.0, chunks_ms=(ms, 100.0)) for i, ms in enumerate(ttfts)]
    chart = distribution_charts.distribution(run_numbers(*made_page(records)), "ttft")
    assert chart is not None
    shares, below = (panel.lines[0].values for panel in chart.panels)
    assert sum(share or 0 for share in shares) == pytest.approx(100)
    assert below[-1] == pytest.approx(100)
    for name, share, until in zip(chart.x_names, shares, below, strict=True):
        low, high = (float(end) for end in name.removesuffix(" ms").split("–"))
        inside = sum(low * 0.999 <= ms < high * 1.001 for ms in ttfts)
        assert share == pytest.approx(inside / 6 * 100)
        assert until == pytest.approx(sum(ms < high * 1.001 for ms in ttfts) / 6 * 100)
    assert [text for _, text in chart.ticks] == ["10", "20", "50"]


@pytest.mark.parametrize(
    ("ttfts", "first_bar", "share"),
    [
        # A gap of zero has no place on a logarithmic axis, so it goes into the first bar.
        ([0.0] * 10 + [20.0] * 80 + [30.0] * 10, "under 10.3", 10),
        # One tiny value in 200 must not squeeze the others into a line at the right.
        ([0.002] + [20.0] * 150 + [40.0] * 49, "under 10.3", 0.5),
        # One in a hundred is not more than that.
        ([0.5] + [20.0] * 99, "under 10.", 1),
        # Two in 100 get their own bars.
        ([0.5] * 2 + [20.0] * 98, "0.498–", 2),
        ([0.0] * 10, "under 0.000", 100),
    ],
)  # fmt: skip
def test_the_axis_of_a_distribution_begins_where_the_values_do(
    ttfts: list[float], first_bar: str, share: float
) -> None:
    records = [made_record(i, sent_ms=i * 300.0, chunks_ms=(ms, 100.0)) for i, ms in enumerate(ttfts)]
    chart = distribution_charts.distribution(run_numbers(*made_page(records)), "ttft")
    assert chart is not None
    assert chart.x_names[0].startswith(first_bar)
    shares, below = (panel.lines[0].values for panel in chart.panels)
    assert (shares[0], below[-1]) == (pytest.approx(share), pytest.approx(100))
    at = [place for place, _ in chart.ticks]
    assert 3 <= len(at) <= 7
    assert (
        min(later - earlier for earlier, later in itertools.pairwise(at)) > len(shares) / 20
    )  # Labels do not overlap.
    heat = distribution_charts.ttft_heat_map(run_numbers(*made_page(records)))
    assert heat is not None
    assert heat.panels[0].cells is not None
    assert sum(map(sum, heat.panels[0].cells.columns)) == len(ttfts)


def test_errors_stand_by_outcome_and_the_rarest_together() -> None:
    outcomes = [o for o in Outcome if o not in (Outcome.OK, Outcome.INTERRUPTED, Outcome.DROPPED)]
    records = [
        made_record(10 * k + i, sent_ms=100.0 * i, outcome=outcome, chunks_ms=())
        for k, outcome in enumerate(outcomes)
        for i in range(10 - k if k < 10 else 1)
    ]
    (panel,) = time_charts.errors(run_numbers(made_summary(records))).panels
    assert [(line.name, sum(v or 0 for v in line.values)) for line in panel.lines] == [
        *((str(outcome), 10 - k) for k, outcome in enumerate(outcomes[:5])), ("others", 5 + 4 + 3 + 2 + 1 + 1 + 1)
    ]  # fmt: skip
    assert "No request failed." in run_page(made_summary([made_record()]))


def test_packed_histograms_are_what_they_were() -> None:
    chance = random.Random(3)
    slices = [
        {chance.randrange(5_000, 6_000): chance.choice((1, 2, 20, 21, 5_000)) for _ in range(chance.randrange(60))}
        for _ in range(40)
    ]
    base = min(min(counts) for counts in slices if counts) - 1
    assert unpacked(packing.pack(slices, base), base) == slices
    assert unpacked(packing.pack([], 7), 7) == []


def unpacked(text: str, base: int) -> list[dict[int, int]]:
    """As recompute.js decodes it."""
    digits: Iterator[int] = iter(map("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index, text))

    def number() -> int:
        value = shift = 0
        for digit in digits:
            value |= (digit & 31) << shift
            if digit < 32:
                break
            shift += 5
        return value

    found: list[dict[int, int]] = []
    for first in digits:
        digits = itertools.chain([first], digits)
        at, counts = base, {}
        for _ in range(number()):
            digit = next(digits)
            distance, n = (
                (1, number())
                if digit == 62
                else (number(), number())
                if digit == 63
                else (digit // 20 + 1, digit % 20 + 1)
            )
            at += distance
            counts[at] = n
        found.append(counts)
    return found


def test_slices_grow_until_the_histograms_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [made_record(i, sent_ms=i * 50.0, chunks_ms=(1.1 ** (i % 60), 900.0)) for i in range(400)]
    run = run_numbers(*made_page(records))
    whole = period_data.period_data(run)
    assert whole is not None
    assert (whole["slice"], whole["steps"]) == (1, 21)
    size = sum(len(row["packed"]) for row in whole["histograms"].values())
    monkeypatch.setattr(period_data, "BUDGET", size - 1)
    smaller = period_data.period_data(run)
    assert smaller is not None
    assert smaller["slice"] == 2
    assert sum(len(row["packed"]) for row in smaller["histograms"].values()) < size


def test_the_slowest_and_the_failed_requests_have_their_ids() -> None:
    records = [made_record(i, chunks_ms=(10.0, 20.0 + i)) for i in range(30)]
    records.append(made_record(30, outcome=Outcome.HTTP_ERROR, status=503, chunks_ms=(), error="busy <b>"))
    summary, page = made_page(records)
    assert [row.id for row in request_tables.slowest(page)] == [f"made-{i}" for i in range(29, 9, -1)]
    (failed,) = request_tables.failed(page)
    assert (failed.id, failed.error, dict(failed.cells)["Outcome"], dict(failed.cells)["Status"]) == (
        "made-30", "busy <b>", "http_error", "503"
    )  # fmt: skip
    shown = run_page(summary, page)
    assert '<a href="requests.jsonl">' in shown
    assert "busy &lt;b&gt;" in shown


def test_a_heat_map_is_an_image_whose_darkest_cell_has_most() -> None:
    url = heat_map.data_url(Cells([[0, 4], [16, 0], [1, 0]], ()))
    png = base64.b64decode(url.partition(",")[2])
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", png[16:24]) == (3, 2)
    pixels = zlib.decompress(png[png.index(b"IDAT") + 4 : png.index(b"IEND") - 8])
    # The upper row comes first: a byte for its filter, then four bits per cell.
    assert pixels == bytes([0, 0x80, 0x00, 0, 0x0F, 0x40])


@pytest.mark.parametrize(("counts", "pixels"), [([1, 0, 1], [0, 0xF0, 0xF0]), ([0, 0], [0, 0])])
def test_a_heat_map_is_a_whole_png_of_one_colour_and_sixteen_opacities(counts: list[int], pixels: list[int]) -> None:
    """The opacity goes from 12% for the least to 100% for the most; cells without requests are transparent."""
    png = base64.b64decode(heat_map.data_url(Cells([[n] for n in counts], ())).partition(",")[2])
    parts, at = {}, 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        name, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size]) == (zlib.crc32(name + content),)
        parts[name], at = content, at + 12 + size
    assert list(parts) == [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"]
    # Width, height, four bits per pixel (an index into the palette), no other options.
    assert parts[b"IHDR"] == struct.pack(">II", len(counts), 1) + bytes([4, 3, 0, 0, 0])
    assert parts[b"PLTE"] == bytes([58, 118, 226]) * 16
    assert list(parts[b"tRNS"]) == [0, 46, 61, 75, 90, 105, 120, 135, 150, 165, 180, 195, 210, 225, 240, 255]
    assert zlib.decompress(parts[b"IDAT"]) == bytes(pixels)


def test_a_heat_map_of_more_than_a_block_of_64_kb_is_an_image_too() -> None:
    columns = [[0] * 130 for _ in range(1_100)]
    columns[0][129] = 16
    png = base64.b64decode(heat_map.data_url(Cells(columns, ())).partition(",")[2])
    pixels = zlib.decompress(png[png.index(b"IDAT") + 4 : png.index(b"IEND") - 8])
    assert pixels == bytes([0, 0xF0]) + bytes(130 * (1 + 550) - 2)


@pytest.mark.parametrize(("count", "size"), [(2 * FEW, "points large"), (2 * FEW + 1, "points")])
def test_few_points_are_large(count: int, size: str) -> None:
    line = Line("l", [1.0] * count, style="points")
    chart = Chart("k", "t", "m", "s", [*range(count)], (0, count), [""] * count, (), 1, (Panel("s", (line,)),))
    assert f'<path class="{size}" ' in plot.draw(chart, chart.panels[0]).svg


def test_a_line_breaks_where_a_second_has_no_value() -> None:
    records = [made_record(0), made_record(1, sent_ms=3_000), made_record(2, sent_ms=4_000)]
    chart = time_charts.ttft(run_numbers(made_summary(records)))
    svg = plot.draw(chart, chart.panels[0]).svg
    stroke = re.search(r'class="stroke" d="([^"]+)"', svg)
    assert stroke is not None
    assert stroke[1].count("M") == 2
    assert "h0M" in stroke[1]


def test_a_round_step_divides_a_span() -> None:
    assert [charts.round_step(span, 4) for span in (0, 0.7, 3, 4, 9, 41, 1e6)] == [1, 0.2, 1, 1, 5, 20, 500_000]


def test_the_page_of_a_long_run_of_unequal_requests_is_small() -> None:
    chance = random.Random(6)
    records = []
    for index in range(4_000):
        at = chance.lognormvariate(5, 1)
        chunks = [at := at + chance.lognormvariate(3, 1) for _ in range(4)]
        lost = chance.random() < 0.02
        outcome = chance.choice((Outcome.RESET, Outcome.TIMEOUT_IDLE, Outcome.TRUNCATED)) if lost else Outcome.OK
        tokens: dict[str, Any] = {
            "input_tokens": chance.randrange(9_000),
            "output_tokens_asked": chance.randrange(9_000),
        }
        records.append(made_record(index, sent_ms=index * 98.0, chunks_ms=chunks, outcome=outcome, **tokens))
    summary, page = made_page(records)
    assert len(page.series.t_s) > 390
    shown = run_page(summary, page).encode()
    assert 250_000 < len(shown) <= 400_000, (
        f"the page of a long run may have 400 KB, and has {len(shown):,} bytes: draw fewer lines, or replace a chart"
    )
