"""The report of the server's details about each request: the page, its charts, and the terminal lines."""

from __future__ import annotations

import re
from typing import Any

from bench.documents import run_charts, server_requests
from bench.documents.document import Level
from bench.report import metric_table
from tests.support.changed import replace
from tests.support.golden_run import golden_summary
from tests.support.made_records import made_record
from tests.support.made_summary import made_summary
from tests.support.rendered import run_markdown, run_numbers, run_page, run_text, typed_summary
from tests.unit.bench.report.test_schema import ADDED, _problems


def said(**changes: Any) -> Any:
    record = made_record(
        chunks_ms=(30.0, 50.0, 70.0),
        server_queue_ms=2.0,
        server_prefill_ms=25.0,
        server_decode_ms=40.0,
        input_tokens=100,
        cached_tokens=64,
        draft_steps=5,
        draft_tokens=10,
        accepted_tokens=6,
        acceptance=(4, 2),
    )
    records = [replace(record, id=f"r-{i}", index=i, **changes) for i in range(20)]
    return made_summary(records) | ADDED


def test_the_block_keeps_the_schema() -> None:
    assert _problems(said()) == []
    assert _problems(said(draft_steps=None, acceptance=None, server_queue_ms=None, cached_tokens=None)) == []
    assert _problems(said(draft_steps=0, draft_tokens=0, accepted_tokens=0, acceptance=(0, 0))) == []


def test_a_page_has_a_section_with_times_cache_and_drafts() -> None:
    page = re.sub(r"<[^>]+>", " ", run_page(said()))
    assert "What the server says of each request" in page
    rows = {row.cells[0].text: row.cells[1].text for row in server_requests.times(typed_summary(said()))}
    assert rows == {
        "Queue": "2", "Prefill": "25", "TTFT": "27", "Decode": "40", "TTFT outside": "3"
    }  # fmt: skip
    facts = {row.name: row.value for row in server_requests.facts(typed_summary(said()))}
    assert facts["Cached"] == "64% of 2,000 prompt tokens"
    assert facts["Accepted drafts"] == "120 of 200 (60%)"
    assert facts["Tokens a step"] == "2.200 in 100 steps"
    assert facts["Accepted at each position"] == "80%, 40%"
    for value in facts.values():
        assert value in page


def test_charts_show_acceptance_by_position_and_tokens_a_step() -> None:
    charts = {chart.key: chart for chart in run_charts.build(run_numbers(said(), None))}
    assert charts.keys() >= run_charts.OF_DRAFTS.keys()
    assert list(charts["draft_acceptance"].panels[0].lines[0].values) == [80, 40]
    # One of five steps gave only the model's token, two gave one draft with it, and two gave both drafts.
    assert list(charts["tokens_a_step"].panels[0].lines[0].values) == [20, 40, 40]


def test_a_terminal_has_it_in_its_details() -> None:
    shown = run_text(said())
    assert re.search(r"Queue +2 +2 +2 +2 +20\n", shown)
    assert re.search(r"Tokens a step +2.200 in 100 steps\n", shown)
    assert "by its replies" not in run_text(said(), level=Level.FIRST)


def test_tables_for_other_tools_have_rows_of_it() -> None:
    rows = {
        row["metric"]: (row["unit"], row.get("values"), row["mean"]) for row in metric_table.rows(typed_summary(said()))
    }
    assert rows["server_queue"] == ("ms", 20, 2.0)
    assert rows["server_outside"] == ("ms", 20, 3.0)
    assert rows["cached_share"] == ("share", 20, 0.64)
    assert (rows["draft_acceptance"], rows["tokens_per_step"]) == (("share", 20, 0.6), ("tokens", 20, 2.2))
    markdown = run_markdown(said())
    assert "| Prefill | 25 | 25 | 25 | 25 |" in markdown
    assert "| Accepted drafts | 120 of 200 (60%) |" in markdown
    assert len(metric_table.rows(typed_summary(golden_summary()))) == len(
        [r for r in metric_table.rows(typed_summary(said())) if r["metric"] not in OURS]
    )


OURS = {"server_queue", "server_prefill", "server_decode", "server_ttft", "server_outside", "cached_share",
        "draft_acceptance", "tokens_per_step"}  # fmt: skip


def test_other_runs_say_nothing_of_it() -> None:
    assert "What the server says of each request" not in run_page(golden_summary())
    assert not run_charts.OF_DRAFTS.keys() & {
        chart.key for chart in run_charts.build(run_numbers(golden_summary(), None))
    }
