"""The report of a run over replicas: the table, the charts, and the server metrics of each page."""

from __future__ import annotations

import re
from typing import Any

from bench.documents import run_charts
from bench.documents.document import Level
from tests.support.made_records import made_record
from tests.support.made_summary import made_summary
from tests.support.rendered import run_markdown, run_numbers, run_page, run_text
from tests.unit.bench.report.test_schema import ADDED, _problems

NAMES = ("http://10.0.0.1:8000", "http://10.0.0.2:8000")


def over_two(**changes: Any) -> Any:
    records = [
        made_record(i, sent_ms=10.0 * i, chunks_ms=(30.0 + 20 * (i % 2), 60.0, 70.0), target=NAMES[i % 2], **changes)
        for i in range(40)
    ]
    return made_summary(records, replicas="address", targets=NAMES) | ADDED


def test_the_numbers_of_replicas_keep_the_schema() -> None:
    assert _problems(over_two()) == []
    assert [part["target"] for part in over_two()["per_target"]] == [*NAMES]


def test_every_form_has_the_table() -> None:
    row = r"http://10\.0\.0\.2:8000\W+20\W+50"
    assert re.search(row, run_text(over_two(), level=Level.USUAL))
    assert re.search(row, run_markdown(over_two()))
    page = re.sub(r"<[^>]+>", " ", run_page(over_two()))
    assert "Replica by replica" in page
    assert "so the rates of all replicas add up" in page


def test_two_charts_show_the_replicas_beside_each_other() -> None:
    charts = {chart.key: chart for chart in run_charts.build(run_numbers(over_two(), None))}
    median, p99 = charts["replica_latency"].panels[0].lines
    assert ([*median.values], [*p99.values]) == ([30, 50], [30, 50])
    assert [*charts["replica_requests"].panels[0].lines[0].values] == [20, 20]
    assert [*charts["replica_latency"].x_names] == [f"{name}: 20 requests" for name in NAMES]


def test_a_run_with_one_address_has_none_of_it() -> None:
    charts = run_charts.build(run_numbers(made_summary([made_record(i) for i in range(9)]) | ADDED, None))
    assert not {chart.key for chart in charts} & run_charts.OF_REPLICAS.keys()
