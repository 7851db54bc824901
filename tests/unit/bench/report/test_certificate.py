"""The certificate as text, JSON and page: complete, reproducible, and valid by its schema."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from jsonschema import Draft202012Validator
from msgspec import structs

from bench.accuracy.coverage import CertificateBrief
from bench.documents.certificate_document import certificate_document, errors
from bench.documents.document import Tiles
from bench.evaluate import evaluate
from bench.metrics import catalog
from bench.results.certificate import METRICS, OF_FEW, SCHEMA, Certificate, KnownCalibration, NumberRow
from bench.run_files.run_directory import RunDirectory
from tests.support.golden_certificate import golden_calibration
from tests.support.rendered import certificate_page, certificate_text
from tests.support.results import filled

Golden = Callable[[str, str], None]

SCHEMA_JSON = orjson.loads(files("bench.report").joinpath("certificate.schema.json").read_bytes())
VALIDATOR = Draft202012Validator(SCHEMA_JSON)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return golden_calibration(tmp_path_factory.mktemp("golden") / "run")


@pytest.fixture
def made(directory: RunDirectory) -> Any:
    found: Any = orjson.loads((directory.path / "certificate.json").read_bytes())
    return found


def summary_of(directory: RunDirectory) -> Any:
    found: Any = orjson.loads((directory.path / "summary.json").read_bytes())
    return found


def test_the_text_of_a_certificate_is_the_golden_one(directory: RunDirectory, golden: Golden) -> None:
    golden("certificate.txt", certificate_text(summary_of(directory)["calibration"]))


@pytest.mark.parametrize("width", [20, 80, 100, 120, 400])
def test_the_text_of_a_certificate_keeps_to_its_width(directory: RunDirectory, width: int) -> None:
    shown = certificate_text(summary_of(directory)["calibration"], width=width)
    assert max(map(len, shown.splitlines())) <= min(max(width, 80), 120)


def test_the_certificate_keeps_its_schema(made: dict[str, Any]) -> None:
    assert [f"{e.json_path}: {e.message}" for e in VALIDATOR.iter_errors(made)] == []
    assert SCHEMA_JSON["properties"]["schema"]["const"] == SCHEMA
    assert SCHEMA_JSON["$defs"]["RequestError"]["properties"]["metric"]["enum"] == list(METRICS)


def test_what_is_calibrated_are_metrics_of_a_result_in_their_units() -> None:
    assert METRICS.items() <= {metric.key: metric.unit for metric in catalog.METRICS.values()}.items(), (
        "METRICS of bench/results/certificate.py must be metrics of bench/metrics/catalog.py, with their units"
    )


def objects(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every object, except those with free keys or data as keys."""
    if isinstance(value, dict):
        if path[-1:] not in (("run",), ("qq",)):
            yield path
        for key, inner in value.items():
            if key != "run":
                yield from objects(inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value[:1]):
            yield from objects(inner, (*path, position))


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shortened(inner) for key, inner in value.items()}
    return [shortened(inner) for inner in value[:2]] if isinstance(value, list) else value


def test_no_object_of_a_certificate_may_have_a_key_too_many(made: dict[str, Any]) -> None:
    small = shortened(made)
    paths = list(objects(small))
    assert len(paths) > 20
    for path in paths:
        planted = copy.deepcopy(small)
        at(planted, path)["planted"] = 1
        assert not VALIDATOR.is_valid(planted), path
    for key in small:
        assert not VALIDATOR.is_valid({k: v for k, v in small.items() if k != key}), key


def test_a_certificate_says_what_it_is_about(made: dict[str, Any]) -> None:
    assert made["problems"] == []
    assert (made["date"], made["version"], made["accuracy"]) == ("2026-01-01T00:00:02+00:00", "0.1.0", "VALID")
    assert made["shape"]["streams"] == 12
    assert {row["what"]: row["here"] for row in made["agreement"]}["status 429"] == 3
    assert made["run"]["host"]["name"] == "somewhere"


def test_the_summary_has_the_certificate_without_its_plots(directory: RunDirectory, made: dict[str, Any]) -> None:
    calibration = summary_of(directory)["calibration"]
    assert calibration["from"] == "ledger"
    assert calibration == {key: made[key] for key in calibration}
    assert set(made) - set(calibration) == {"plots", "schema", "date", "version", "shape", "verdict", "accuracy", "run"}


def test_an_evaluation_again_gives_the_same_bytes(directory: RunDirectory) -> None:
    names = ("certificate.json", "certificate.html", "summary.json", "report.html")
    first = [(directory.path / name).read_bytes() for name in names]
    evaluate(RunDirectory.open(directory.path))
    assert [(directory.path / name).read_bytes() for name in names] == first


def test_the_page_of_a_certificate_shows_every_metric_and_plot_and_asks_for_nothing(made: dict[str, Any]) -> None:
    page = certificate_page(made)
    for title in ("TTFT", "TPOT", "ITL", "E2EL", "TPS", "TTFT from due", "E2EL from due", "TTFO", "Chunk gap"):
        assert f">{title} <small>" in page or f"{title} has the values of" in page
    for key in ("error-ttft_ms", "error-tpot_ms", "error-e2el_ms", "qq-ttft_ms", "qq-itl_ms", "qq-tpot_ms", "qq-e2el_ms",
                "lag-over-time", "lag"):  # fmt: skip
        assert f'id="chart-{key}"' in page
    assert "The mock against its closed form" in page
    assert "over 0.200 ms suspect, over 1 ms invalid" in page
    assert "over 2% suspect, over 10% invalid" in page
    assert re.findall(r"""(?:src|href)=["'](?!data:)([^"']*)""", page) == []


def test_the_command_line_can_be_typed_again_as_it_stands(made: dict[str, Any]) -> None:
    made["run"]["command"] = ["python", "-m", "bench", "calibrate", "--mock", "--ttft 5ms"]
    assert "python -m bench calibrate --mock &#39;--ttft 5ms&#39;" in certificate_page(made)


def test_the_page_escapes_what_came_from_outside(made: dict[str, Any]) -> None:
    made["problems"] = ["<script>alert(1)</script>"]
    made["causes"] = [{"metric": "ttft_ms", "stat": "p75", "size": 1.0, "unit": "ms", "cause": "<b>x</b>"}]
    page = certificate_page(made)
    assert "<script>alert" not in page
    assert "<b>x</b>" not in page
    assert "TTFT is +1.000 ms off at p75; likely cause: &lt;b&gt;" in page


def test_a_certificate_without_a_shared_clock_says_what_it_leaves_out(made: dict[str, Any]) -> None:
    nothing = {"n": 0}
    made |= {"clock": "other", "network_ms": 3.2, "observation_lag_ms": nothing, "way_in_ms": nothing}
    made["plots"]["lag"] = []
    for text in (certificate_text(made), certificate_page(made)):
        told = " ".join(text.split())
        assert "The mock runs on another machine" in told
        assert "The lags of the stamps are not known" in told
    assert "The network takes at least 3.200 ms." in " ".join(certificate_text(made).split())


def test_a_run_that_a_kept_certificate_covers_is_told_its_errors(directory: RunDirectory, tmp_path: Path) -> None:
    kept = CertificateBrief.of(
        msgspec.json.decode((directory.path / "certificate.json").read_bytes(), type=Certificate)
    ).to_json()
    run = golden_calibration(tmp_path / "run", ended="2026-01-01T02:00:02+00:00")
    (run.path / "ledger.jsonl").unlink()
    evaluate(run)
    assert summary_of(run)["calibration"] is None
    run.write("certificates.json", orjson.dumps([kept]))
    result = evaluate(run)
    calibration = result.summary.calibration
    assert isinstance(calibration, KnownCalibration)
    assert (calibration.age_s, calibration.status) == (7_200.0, "VALID")
    assert {row.metric for row in calibration.metrics} == set(METRICS) - {"tps", "ttfb_ms", *OF_FEW}
    (p50,) = [r for r in calibration.metrics if (r.metric, r.stat) == ("ttft_ms", "p50")]
    assert p50.measured == result.summary.latency["ttft_ms"].p50
    assert result.verdict.of("calibration") == "VALID"
    bad = kept | {"metrics": [{"metric": "ttft_ms", "stat": "p50", "unit": "ms", "error": 5.0}]}
    run.write("certificates.json", orjson.dumps([bad]))
    assert evaluate(run).verdict.of("calibration") == "INVALID"
    run.write("certificates.json", orjson.dumps([kept | {"version": "9.9.9"}]))
    assert evaluate(run).summary.calibration is None


def test_a_metric_that_the_ledger_cannot_tell_has_a_row_that_says_so(made: dict[str, Any]) -> None:
    rows = msgspec.convert(made, Certificate).metrics
    (tps,) = (metric for metric in catalog.METRICS.values() if metric.key == "tps")
    table, usual = errors([row for row in rows if row.metric != "tps"], [tps]), errors(rows, [])
    name, *cells = table.rows[-1].cells
    assert (name.text, name.unit, {cell.text for cell in cells}) == (tps.title, "tokens/s", {"no truth"})
    assert len(cells) == len(table.columns) - 1
    assert (len(table.rows), len(table.notes)) == (len(usual.rows), len(usual.notes) + 1)
    assert table.notes[-1] == "No truth: the ledger of the mock does not say it."
    assert not any("no truth" in cell.text for row in usual.rows for cell in row.cells)


def test_a_tile_of_a_certificate_has_the_worst_error_of_a_statistic_in_ms(made: dict[str, Any]) -> None:
    rows = [
        {"metric": metric, "stat": stat, "unit": unit, "error": error}
        for metric, stat, unit, error in (
            ("ttft_ms", "p50", "ms", 0.01), ("e2el_ms", "p50", "ms", -0.02), ("tps", "p50", "tokens/s", 9.0),
            ("ttft_ms", "p99", "ms", 0.3), ("ttft_ms", "max", "ms", 5.0),
        )
    ]  # fmt: skip
    worst = [filled(NumberRow, row) for row in rows]
    document = certificate_document(structs.replace(msgspec.convert(made, Certificate), metrics=worst))
    (tiles,) = (block for section in document.sections for block in section.blocks if isinstance(block, Tiles))
    found = {tile.title: (tile.value, tile.beside) for tile in tiles.tiles}
    assert ("-0.020", "of E2EL") in found.values()
    assert ("+0.300", "of TTFT") in found.values()
    assert not any("TPS" in beside or value == "+5.000" for value, beside in found.values())
