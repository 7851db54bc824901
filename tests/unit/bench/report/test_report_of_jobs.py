"""The jobs of sessions in every form of a report: text in full, page, CSV and Markdown, and the schema."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from importlib.resources import files

import orjson
from jsonschema import Draft202012Validator

from bench.documents import jobs, run_charts
from tests.support.golden_run import golden_summary
from tests.support.jobs_run import page_data_of_jobs, summary_of_jobs
from tests.support.rendered import run_csv, run_markdown, run_numbers, run_page, run_text, typed_summary

SCHEMA = orjson.loads(files("bench.report").joinpath("summary.schema.json").read_bytes())


def test_the_text_is_the_golden_one(golden: Callable[[str, str], None]) -> None:
    golden("jobs.txt", run_text(summary_of_jobs()))


def test_the_numbers_are_the_golden_ones(golden: Callable[[str, str], None]) -> None:
    lines = orjson.dumps(summary_of_jobs()["jobs"], option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    golden("jobs.json", lines.decode())


def test_the_summary_keeps_the_schema_and_the_schema_knows_no_more() -> None:
    whole = summary_of_jobs()
    validator = Draft202012Validator(SCHEMA)
    assert [error.message for error in validator.iter_errors(orjson.loads(orjson.dumps(whole)))] == []
    for key in whole["jobs"]:
        planted = {**whole, "jobs": {k: v for k, v in whole["jobs"].items() if k != key}}
        assert not validator.is_valid(orjson.loads(orjson.dumps(planted))), key
    assert not validator.is_valid(orjson.loads(orjson.dumps({**whole, "jobs": {**whole["jobs"], "more": 1}})))


def test_the_page_shows_the_jobs_with_their_tables_and_charts() -> None:
    page = run_page(summary_of_jobs(), page_data_of_jobs())
    assert "<h3>Jobs</h3>" in page
    for row in jobs.rows(typed_summary(summary_of_jobs())):
        assert row.name in page
    built = {chart.key: chart for chart in run_charts.build(run_numbers(summary_of_jobs(), page_data_of_jobs()))}
    for key in run_charts.OF_JOBS:
        assert len(built[key].panels[0].lines[0].values) == len(summary_of_jobs()["jobs"][key])
    for title in ("TTFT by context length", "TTFT by turn"):
        assert page.count(title) >= 2, "the title must appear over a table and over a chart"


def test_jobs_of_one_request_are_no_rows_of_the_first_screen() -> None:
    summary = summary_of_jobs()
    assert "Jobs/h  " in run_text(summary)
    summary["jobs"]["steps"]["max"] = 1
    assert "Jobs/h  " not in run_text(summary)


def test_a_run_without_jobs_says_nothing_of_them() -> None:
    assert "jobs" not in golden_summary()
    assert jobs.rows(typed_summary(golden_summary())) == []
    assert "Jobs" not in run_page(golden_summary())


def test_csv_and_markdown_have_them() -> None:
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(run_csv(summary_of_jobs())))}
    found = summary_of_jobs()["jobs"]
    assert float(rows["job"]["p90"]) == found["job_s"]["p90"]
    assert float(rows["jobs_per_hour_per_gpu"]["mean"]) == found["rates"]["jobs_per_hour_per_gpu"]
    assert "| Job seconds | average " in run_markdown(summary_of_jobs())


def test_a_run_that_cut_off_many_jobs_is_warned_of() -> None:
    whole = summary_of_jobs()
    assert jobs.warnings(typed_summary(whole)) == []
    whole["jobs"]["counts"] |= {"completed": 90, "cut": 5}
    (said,) = jobs.warnings(typed_summary(whole))
    assert said.startswith("5 jobs were cut off by the end of the run, and 90 were completed")
    assert said in run_page(whole, page_data_of_jobs())
    assert said in " ".join(run_text(whole).split())
    assert jobs.warnings(typed_summary(golden_summary())) == []
    # 5 of 100 are not too many yet.
    whole["jobs"]["counts"]["completed"] = 95
    assert jobs.warnings(typed_summary(whole)) == []
    # If all other jobs failed, there are no job times to report.
    whole["jobs"]["counts"] |= {"completed": 0, "failed": 5, "cut": 1}
    assert jobs.warnings(typed_summary(whole))[0].startswith("No job was completed, and 1 were cut off")
