"""A run as CSV and Markdown: every metric has a row, and no text from a server breaks a table."""

from __future__ import annotations

import csv
import io

from bench.metrics.catalog import METRICS, OF_FEW
from bench.records import Outcome
from tests.support.golden_run import golden_summary
from tests.support.made_records import made_record
from tests.support.made_summary import made_summary
from tests.support.rendered import run_csv, run_markdown


def test_csv_has_every_metric_in_full_precision() -> None:
    summary = golden_summary()
    summary["latency"]["ttft_ms"]["ci95"] |= {"p50": [49.05, 52.792], "p99": None}
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(run_csv(summary)))}
    shown = [name for name in METRICS if name != "ttfb" and name not in OF_FEW]
    assert list(rows)[: len(shown)] == shown
    for metric in (METRICS[name] for name in shown):
        of = summary["latency"][metric.key]
        assert int(rows[metric.name]["values"]) == of["n"]
        assert float(rows[metric.name]["p99"]) == of["p99"]
    assert (rows["ttft"]["p50_low"], rows["ttft"]["p50_high"]) == ("49.05", "52.792")
    # With too few values for an interval the cell is empty, not zero.
    assert rows["ttft"]["p99_low"] == ""
    assert float(rows["requests_per_s"]["mean"]) == summary["throughput"]["requests_per_s"]
    counts = summary["counts"]
    assert float(rows["error_rate"]["mean"]) == counts["failed"] / (counts["failed"] + counts["succeeded"])


def test_csv_has_no_number_of_which_only_bounds_are_known() -> None:
    summary = golden_summary()
    summary["latency"]["ttft_ms"]["bounds"] = {"p50": [0.0, 9_000.0], "p90": [58.0, 58.2]}
    summary["latency"]["ttft_ms"]["ci95"] |= {"p50": [49.05, 52.792]}
    (row,) = [row for row in csv.DictReader(io.StringIO(run_csv(summary))) if row["metric"] == "ttft"]
    assert (row["p50"], row["p50_low"], row["p50_high"]) == ("", "", "")
    assert float(row["p90"]) == summary["latency"]["ttft_ms"]["p90"]


def test_markdown_has_verdict_numbers_objectives_and_errors() -> None:
    summary = golden_summary()
    summary["latency"]["ttft_ms"]["ci95"]["mean"] = [48.56, 52.11]
    shown = run_markdown(summary)
    lines = shown.splitlines()
    assert lines[0] == "# golden"
    assert "**SUSPECT**, 42 requests, 3 failed: median of TTFT can be given, no P90" in lines
    assert any(line.startswith("| TTFT (ms) | 50.37 (48.56–52.11) | ") for line in lines)
    assert any(
        line.startswith("| ttft:p90&lt;100ms | 58.07 ms | held, not shown: too few independent values |")
        for line in lines
    )
    assert "made &lt;by> hand & small" in shown
    latency = lines[lines.index("### Latency over the whole run") :]
    widths = [line.count("|") for line in latency[:6] if line.startswith("|")]
    assert len(set(widths)) == 1


def test_what_a_server_says_breaks_no_table() -> None:
    evil = "a | b\n<img src=x>![y](http://z)`c`"
    summary = made_summary([made_record(outcome=Outcome.HTTP_ERROR, status=500, chunks_ms=(), error=evil)])
    assert "| 1 | `http_error` | 500 | a \\| b &lt;img src=x>!\\[y](http://z)\\`c\\` |" in run_markdown(summary)


def test_a_run_without_numbers_has_no_values() -> None:
    summary = made_summary([])
    assert "| TTFT (ms) | – | – |" in run_markdown(summary)
    (ttft,) = [row for row in csv.DictReader(io.StringIO(run_csv(summary))) if row["metric"] == "ttft"]
    assert (ttft["values"], ttft["p50"]) == ("0", "")
