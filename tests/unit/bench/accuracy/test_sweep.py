"""A sweep: its loads, when it ends, and the highest load at which a machine is trusted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.accuracy.sweep import LoadPoint, Sweep, SweepRow, next_point, points_of
from bench.calibrate import measure
from bench.cli import main
from bench.documents.calibration_sweep_document import calibration_sweep_document, sentence
from bench.documents.document import ChartBlock, Table
from bench.errors import Exit, UsageError
from bench.results.certificate import Certificate
from tests.support.rendered import calibration_sweep_page, calibration_sweep_text
from tests.support.results import filled


def test_loads_are_taken_by_rising_size() -> None:
    assert points_of(["rate=200,50", "concurrency=10,1,10"]) == [
        LoadPoint("rate", 50), LoadPoint("rate", 200), LoadPoint("concurrency", 1), LoadPoint("concurrency", 10)
    ]  # fmt: skip
    usual = [("concurrency", n) for n in (1, 10, 100, 500, 1000)] + [("rate", n) for n in (20, 100, 400)]
    assert points_of([]) == [LoadPoint(*point) for point in usual]


@pytest.mark.parametrize(
    "word", ["100", "streams=1", "rate=", "rate=a", "rate=0", "concurrency=1.5", "rate=1e9", "rate=nan"]
)
def test_other_words_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match="write concurrency=1,10,100"):
        points_of([word])


def test_every_wrong_word_is_named_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        points_of(["a", "rate=1", "b"])
    assert len(refused.value.problems) == 2


def test_a_point_sets_its_load_and_what_was_not_given() -> None:
    assert LoadPoint("concurrency", 100).flags({}) == {"concurrency": 100, "requests": 200, "output_tokens": "64"}
    assert [LoadPoint("concurrency", n).flags({})["requests"] for n in (1, 30, 31)] == [60, 60, 62]
    assert LoadPoint("rate", 20).flags({}) == {"rate": 20, "duration": 3.0, "output_tokens": "64"}
    given = {"requests": "5", "output_tokens": "8"}
    assert LoadPoint("concurrency", 100).flags(given) == {"concurrency": 100}
    assert LoadPoint("rate", 0.5).flags({"duration": "9", "dataset": "x"}) == {"rate": 0.5}


def row(kind: str, asked: float, good: bool = True, error: float = 0.01) -> SweepRow:
    certificate: dict[str, Any] = {
        "shape": {"streams": asked, "requests_per_s": asked, "chunks_per_s": asked * 50},
        "verdict": {"status": "VALID" if good else "INVALID", "reasons": [] if good else ["too much"]},
        "accuracy": "VALID",
        "metrics": [
            {"metric": metric, "stat": stat, "unit": unit, "error": error * (3 if stat == "p99" else 1)}
            for metric, unit in (("ttft_ms", "ms"), ("e2el_ms", "ms"), ("tps", "tokens/s"))
            for stat in ("mean", "p50", "p90", "p99")
        ],
        "observation_lag_ms": {"n": 0} if kind == "rate" else {"n": 1, "p50": 0.002, "p99": 0.01, "max": 0.1},
    }
    return SweepRow.of(LoadPoint(kind, asked), filled(Certificate, certificate), f"{kind}-{asked:g}")


def test_a_point_is_trusted_where_its_errors_are_small_and_its_run_is_not_invalid() -> None:
    certificate: dict[str, Any] = {"shape": dict.fromkeys(("streams", "requests_per_s", "chunks_per_s"), 1.0), "metrics": [],
                   "observation_lag_ms": {"n": 0}}  # fmt: skip
    for status, accuracy, good in (("VALID", "VALID", True), ("SUSPECT", "VALID", True), ("INVALID", "VALID", False),
                                   ("SUSPECT", "SUSPECT", False), ("INVALID", "INVALID", False)):  # fmt: skip
        found = SweepRow.of(
            LoadPoint("rate", 1),
            filled(Certificate, certificate, verdict={"status": status, "reasons": []}, accuracy=accuracy),
            "rate-1",
        )
        assert found.trusted is good


def test_a_point_shows_the_quantiles_of_times_and_of_no_speed() -> None:
    assert row("concurrency", 1, error=2.0).errors_ms == {
        metric: {"p50": 2.0, "p90": 2.0, "p99": 6.0} for metric in ("ttft_ms", "e2el_ms")
    }
    assert row("concurrency", 1).lag_ms == {"p50": 0.002, "p99": 0.01, "max": 0.1}
    assert row("rate", 1).lag_ms == {"p50": None, "p99": None, "max": None}


def test_a_machine_is_trusted_up_to_the_first_point_that_fails() -> None:
    rows = [row("concurrency", n, good=n not in (100, 1000)) for n in (1, 10, 100, 500, 1000)]
    found = swept(*rows[::-1], row("rate", 20, good=False)).trusted
    assert found["concurrency"] == rows[1]
    assert found["rate"] is None


def test_a_kind_of_load_ends_after_two_failures_in_a_row() -> None:
    points = points_of([])
    assert next_point(points, []) == LoadPoint("concurrency", 1)
    rows = [row("concurrency", 1, good=False), row("concurrency", 10), row("concurrency", 100, good=False)]
    assert next_point(points, rows) == LoadPoint("concurrency", 500)
    rows = [*rows, row("concurrency", 500, good=False)]
    assert next_point(points, rows) == LoadPoint("rate", 20)
    rows = [*rows, *(row("rate", rate) for rate in (20, 100))]
    assert next_point(points, rows) == LoadPoint("rate", 400)
    assert next_point(points, [*rows, row("rate", 400)]) is None


def swept(*rows: SweepRow) -> Sweep:
    host: dict[str, str | int] = {"name": "somewhere", "cpu": "A Processor", "processors": 2}
    return Sweep(date="2026-01-02T03:04:05+00:00", version="0.1.0", host=host, rows=rows)


SWEPT = swept(
    row("concurrency", 1), row("concurrency", 10), row("concurrency", 100, good=False, error=2.5), row("rate", 20)
)


def test_the_text_says_up_to_where_to_trust_the_machine_and_why_not_further() -> None:
    text = calibration_sweep_text(SWEPT)
    assert " ".join(text.split()).startswith(
        "Loads that this machine measures correctly: up to 10 streams at once (500 chunks/s); "
        "up to 20 requests/s (1,000 chunks/s), the largest load tried."
    )
    assert "100 streams at once: too much" in text
    assert "+7.500 ms (TTFT)" in text
    assert "none of the tried numbers of streams at once" in sentence(swept(row("concurrency", 1, good=False)))


def test_the_json_of_a_sweep_has_every_point_and_the_trusted_ones() -> None:
    found = SWEPT.to_json()
    assert found["schema"] == "trueload/sweep/1"
    assert [(point["kind"], point["asked"], point["trusted"]) for point in found["points"]] == [
        ("concurrency", 1, True), ("concurrency", 10, True), ("concurrency", 100, False), ("rate", 20, True)
    ]  # fmt: skip
    assert found["trusted"] == {"concurrency": found["points"][1], "rate": found["points"][3]}
    assert found["points"][2]["errors_ms"]["ttft_ms"] == {"p50": 2.5, "p90": 2.5, "p99": 7.5}
    assert list(found["points"][2]["reasons"]) == ["too much"]


def test_the_page_shows_every_point_with_a_link_to_its_certificate() -> None:
    page = calibration_sweep_page(SWEPT)
    for name in ("concurrency-1", "concurrency-10", "concurrency-100", "rate-20"):
        assert f'href="{name}/certificate.html"' in page
    assert page.count("<figure") == page.count('class="area"><svg') == 2  # The rate has one point: no line.


def test_a_point_names_its_first_reason_and_has_two_more_to_point_at() -> None:
    point = replace(row("concurrency", 1, good=False), reasons=("one", "two", "three", "four"))
    page = calibration_sweep_page(swept(point))
    assert "1 streams at once: one" in page
    assert '<span class="meaning">two; three<' in page
    assert "four" not in page


def test_the_worst_error_is_taken_of_the_quantiles_that_a_point_has() -> None:
    point = replace(row("rate", 20), errors_ms={"ttft_ms": {"p50": 0.25, "p99": 2.5}, "e2el_ms": {"p50": -1.5}})
    (table,) = (
        block
        for section in calibration_sweep_document(swept(point)).sections
        for block in section.blocks
        if isinstance(block, Table)
    )
    assert [cell.text for cell in table.rows[0].cells[3:5]] == ["-1.500 ms (E2EL)", "+2.500 ms (TTFT)"]


@pytest.mark.parametrize(("last", "ends"), [(100, (-0.1, 2.1)), (10**0.25, (-0.025, 0.275))])
def test_the_axis_of_the_errors_has_a_twentieth_of_room_on_each_side(last: float, ends: tuple[float, float]) -> None:
    # The logarithms of the loads are 0, and 2 or 0.25; a short axis has the room of half a decade.
    document = calibration_sweep_document(swept(row("rate", 1), row("rate", last)))
    spans = [
        block.chart.x_span for section in document.sections for block in section.blocks if isinstance(block, ChartBlock)
    ]
    assert spans == [pytest.approx(ends)] * 2


TONES = {"VALID": "good", "SUSPECT": "warn", "INVALID": "bad"}


@pytest.mark.parametrize(("accuracy", "status"), [("VALID", "SUSPECT"), ("VALID", "VALID"), ("INVALID", "INVALID")])
def test_only_a_valid_load_has_the_colour_of_a_valid_one(accuracy: str, status: str) -> None:
    page = calibration_sweep_page(swept(replace(row("rate", 20), accuracy=accuracy, status=status)))
    assert page.count(f'<span class="tone {TONES[status]}">{status}</span>') == 1
    assert page.count('class="tone good"') == (status == "VALID")
    assert "<figure" not in page


def test_report_renders_a_sweep_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measure.write(tmp_path, SWEPT)
    page = (tmp_path / "sweep.html").read_bytes()
    (tmp_path / "sweep.html").unlink()
    assert main(["report", str(tmp_path)]) == Exit.GOOD
    assert capsys.readouterr().out.startswith("Loads that this machine measures correctly: ")
    assert (tmp_path / "sweep.html").read_bytes() == page
    assert main(["report", str(tmp_path), "--format", "json"]) == Exit.GOOD
    assert capsys.readouterr().out.encode() == (tmp_path / "sweep.json").read_bytes()
    assert main(["report", str(tmp_path), str(tmp_path)]) == Exit.USAGE
    assert "shares no page with others: name it alone" in capsys.readouterr().err
    (tmp_path / "sweep.json").write_text('{"schema": "trueload/sweep/1"}')
    assert main(["report", str(tmp_path)]) == Exit.USAGE
    assert "is damaged: " in capsys.readouterr().err
