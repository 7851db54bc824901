"""`report --requests`: every request as a row, the same in CSV and Parquet; `--format csv` for the whole run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bench import cli
from bench.commands import request_table
from bench.config import resolve
from bench.errors import Exit
from bench.metrics.request_rows import request_rows
from bench.records import Outcome, RequestRecord, to_line
from bench.report.metric_table import inert
from bench.run_files.run_directory import REQUESTS, SAMPLES, RunDirectory
from tests.support.made_records import START_NS, made_record
from tests.support.tables import table_of
from tests.unit.bench.scale.test_cluster_parts import left_on_a_node

RECORDS = [
    *(made_record(i, sent_ms=100.0 * i, input_tokens_asked=None if i else 7) for i in range(3)),
    made_record(3, outcome=Outcome.RESET, chunks_ms=(), error="gone, \"away\"\nnow", status=None, input_tokens=None),
]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = RunDirectory.create(tmp_path / "run")
    config = resolve({"url": "http://127.0.0.1:1", "concurrency": 1, "requests": 4})
    manifest = {"run_id": "made", "started": "", "command": [], "model": "made", "notes": [], "exact_lengths": False,
                "versions": {}, "host": {}, "start_ns": START_NS - 5, "run_start_ns": START_NS,
                "stop_reason": "requests"}  # fmt: skip
    directory.write_manifest({"config": config.public(), "manifest": manifest})
    (directory.path / REQUESTS).write_bytes(b"".join(map(to_line, RECORDS)))
    return directory.path


def _expected(record: RequestRecord) -> dict[str, str]:
    (row,) = request_rows(table_of(record), START_NS)
    return {name: "" if value is None else str(value) for name, value in row.items()}


def test_csv_has_a_row_for_each_request(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["report", str(run), "--requests", "csv", "--format", "csv"])
    told = capsys.readouterr()
    assert f"requests: {run / 'requests.csv'}" in told.err
    assert told.out.startswith("metric,unit,values,mean,")
    with (run / "requests.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows == [_expected(record) for record in RECORDS]
    assert (rows[1]["sent_s"], rows[1]["first_token_s"], rows[1]["ttft_ms"]) == ("0.1", "0.15", "50.0")


def test_parquet_has_the_same_rows_with_types(run: Path) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    cli.main(["report", str(run), "--requests", "parquet", "--quiet"])
    table = parquet.read_table(run / "requests.parquet")
    assert table.to_pylist() == list(request_rows(table_of(*RECORDS), START_NS))
    types = {name: str(table.schema.field(name).type) for name in ("id", "status", "input_tokens_asked", "ttft_ms")}
    assert types == {"id": "string", "status": "int64", "input_tokens_asked": "int64", "ttft_ms": "double"}


def test_the_formats_of_a_run_are_refused_for_several(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", str(run), str(run), "--format", "csv"]) == 2
    assert "name its directory" in capsys.readouterr().err
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    assert cli.main(["report", str(tmp_path / "sweep"), "--requests", "csv"]) == 2
    assert "name its directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-1+2", "'-1+2"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t=1"),
        ("gone\r=1", "gone\n=1"),
        ("a=1", "a=1"),
    ],
)
def test_no_text_of_a_server_is_a_formula_of_a_spreadsheet(text: str, cell: str, run: Path) -> None:
    failed = made_record(0, outcome=Outcome.RESET, chunks_ms=(), error=text, status=None)
    (run / REQUESTS).write_bytes(to_line(failed))
    cli.main(["report", str(run), "--requests", "csv", "--quiet"])
    with (run / "requests.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["error"], row["outcome"]) == (cell, "reset")
    assert inert({"metric": text, "mean": -1.5, "max": None}) == {"metric": cell, "mean": -1.5, "max": None}


@pytest.mark.parametrize("name", ["sweep.json", "search.yaml", "quality.json", "tune.json"])
@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--out", "page.html"], "--out is for the page of several sweeps"),
        (["--requests", "csv"], "work with one run"),
        (["--format", "csv"], "work with one run"),
    ],
)
def test_no_flag_that_a_series_does_not_know_is_passed_over(
    name: str, flags: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).touch()
    assert cli.main(["report", str(tmp_path), *flags]) == Exit.USAGE
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 2])
def test_shards_of_nodes_become_the_file_of_one_worker_or_those_of_several(
    workers: int, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = RunDirectory.open(run)
    directory.write_manifest(
        {**directory.manifest(), "manifest": {**directory.manifest()["manifest"], "workers": workers}}
    )
    (run / REQUESTS).write_bytes(b"")
    left_on_a_node(tmp_path / "node", 0, 1_000, directory.manifest()["manifest"]["run_id"])
    (tmp_path / "node" / REQUESTS).write_bytes(to_line(RECORDS[1]))
    (tmp_path / "node" / SAMPLES).write_bytes(b"")
    cli.main(["report", str(run), "--shards", str(tmp_path / "node"), "--quiet"])
    assert f"shards: of 1 of {workers} workers" in capsys.readouterr().err
    # One worker alone writes a file without its number.
    (record,) = RunDirectory.open(run).records()
    assert record.index == (1 if workers == 1 else 0)


def test_a_table_that_cannot_be_finished_leaves_an_older_one_and_no_draft(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "requests.csv").write_text("old")

    def broken(path: Path, rows: object) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(request_table.FORMATS, "csv", broken)
    before = sorted(path.name for path in run.iterdir())
    with pytest.raises(OSError, match="No space left"):
        request_table.write(RunDirectory.open(run), "csv")
    assert (run / "requests.csv").read_text() == "old"
    assert sorted(path.name for path in run.iterdir()) == before
    monkeypatch.undo()
    assert request_table.write(RunDirectory.open(run), "csv") == run / "requests.csv"
    assert sorted(path.name for path in run.iterdir()) == before
