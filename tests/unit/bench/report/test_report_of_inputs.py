"""The numbers and the report of requests without generated text: what they have, and nothing about tokens."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import bench.report
from bench.documents import run_charts
from bench.documents.details import has_tokens
from bench.documents.server_facts import levels
from bench.metrics.objectives import parse
from bench.metrics.page_data import PageData
from bench.records import Outcome, RequestRecord
from bench.results.summary import RunSummary
from bench.verdict import judge
from bench.verdict.evidence import RunEvidence
from bench.verdict.limits import Limits
from tests.support.made_records import MS, START_NS, made_record
from tests.support.made_summary import made_page, made_summary
from tests.support.rendered import run_csv, run_markdown, run_numbers, run_page, run_text, typed_summary
from tests.support.results import filled

TOKEN_WORDS = (
    "TTFT",
    "generated text",
    "token chunks",
    "TPOT",
    "ITL",
    "TTFO",
    "Output tokens",
    "output tokens",
    "Chunk gap",
    "first token",
)


def reply(index: int, *, took_ms: float, inputs: int, **fields: Any) -> RequestRecord:
    sent_ms = 100.0 * index
    return made_record(
        index,
        sent_ms=sent_ms,
        chunks_ms=(),
        **{
            "end_ns": round(START_NS + (sent_ms + took_ms) * MS),
            "output_tokens": None,
            "output_tokens_from": None,
            "input_tokens_asked": 10 * inputs,
            "input_tokens": 10 * inputs,
            "inputs": inputs,
            "dimensions": 8,
            "bytes_received": 900 * inputs,
        }
        | fields,
    )


RECORDS = [
    *(reply(index, took_ms=50.0 + index, inputs=1 + index % 4) for index in range(40)),
    reply(40, took_ms=9.0, inputs=4, outcome=Outcome.MALFORMED, error="the reply has 3 data, but 4 were requested",
          dimensions=None),
]  # fmt: skip
OBJECTIVES = parse(["e2el:p50<1s", "inputs_per_s>5", "input_tokens_per_s>1000", "error_rate<50%", "requests_per_s>1"])


@pytest.fixture(scope="module")
def page() -> tuple[Any, PageData]:
    return made_page(RECORDS, inputs_are="texts", endpoint="embeddings", objectives=OBJECTIVES)


@pytest.fixture(scope="module")
def summary(page: tuple[Any, Any]) -> Any:
    return page[0]


def test_the_summary_has_the_inputs_of_successful_requests_and_their_rates(summary: Any) -> None:
    assert {key: summary["inputs"][key] for key in ("are", "total", "dimensions")} == {
        "are": "texts",
        "total": 100,  # 10 times 1 + 2 + 3 + 4, without the four inputs of the failed request.
        "dimensions": {"8": 40},
    }
    assert (summary["inputs"]["per_request"]["n"], summary["inputs"]["per_request"]["mean"]) == (40, 2.5)
    rates = summary["throughput"]
    span_s = rates["duration_s"]
    assert rates["requests_per_s"] == pytest.approx(40 / span_s)
    assert rates["inputs_per_s"] == pytest.approx(100 / span_s)
    assert rates["input_tokens_per_s"] == pytest.approx(1000 / span_s)
    assert (rates["output_tokens_per_s"], rates["total_tokens_per_s"]) == (None, None)
    assert summary["latency"]["e2el_ms"]["n"] == 40
    assert summary["latency"]["e2el_ms"]["min"] == 50.0
    assert summary["latency"]["ttft_ms"]["n"] == 0
    assert sum(summary["series"]["inputs"]) == 100
    assert sum(summary["series"]["input_tokens"]) == 1000


def test_the_summary_is_as_the_schema_says(summary: Any) -> None:
    schema = json.loads((Path(bench.report.__file__).parent / "summary.schema.json").read_text())
    whole = {**summary, "prefix_cache": None, "server": None, "gpu": None}
    Draft202012Validator(schema).validate(whole)
    assert summary["counts"]["by_outcome"] == {"ok": 40, "malformed": 1}


def test_objectives_are_held_against_inputs_and_their_tokens(summary: Any) -> None:
    rows = {row["metric"]: row for row in summary["slo"]["objectives"]}
    assert rows["inputs_per_s"]["value"] == summary["throughput"]["inputs_per_s"]
    assert {metric: row["held"] for metric, row in rows.items()} == {
        "e2el": True,
        "inputs_per_s": True,
        "input_tokens_per_s": False,
        "error_rate": True,
        "requests_per_s": True,
    }


def test_no_token_is_counted_that_never_came(summary: Any) -> None:
    tokens = summary["tokens"]
    assert tokens["counted_by"] == {"usage": 0, "tokenizer": 0, "limit": 0, "chunks": 0}
    assert tokens["output"] == 0
    assert tokens["usage"] == {"input": 1000, "output": None}
    assert tokens["asked_against_got"]["input"]["compared"] == 40
    assert tokens["asked_against_got"]["output"]["compared"] == 0


def test_no_sign_of_the_verdict_needs_tokens(summary: Any) -> None:
    evidence = RunEvidence(summary=filled(RunSummary, summary), open_loop=False, exact_lengths=False)
    signs = {finding.sign for finding in judge(evidence, Limits()).findings}
    assert "errors" in signs
    assert signs.isdisjoint({"output_tokens", "usage", "loop_lag", "cache_hits"})


def test_the_terminal_shows_inputs_and_nothing_about_tokens_that_come_out(summary: Any) -> None:
    shown = run_text(summary)
    assert "E2EL (ms)" in shown
    assert "Inputs (texts)" in shown
    assert "Input tokens" in shown
    assert re.search(r"Inputs a request +average 2.500 · median 2.500 · max 4\n", shown)
    assert re.search(r"Dimensions +8 \(40\)\n", shown)
    assert [word for word in TOKEN_WORDS if word in shown] == []


def test_the_page_shows_inputs_and_nothing_about_tokens_that_come_out(
    page: tuple[Any, Any],
) -> None:
    shown = run_page(*page)
    body = re.sub(r"<script.*?</script>", "", shown, flags=re.DOTALL).partition("<main>")[2]
    charts = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', shown, flags=re.DOTALL)
    assert [word for word in TOKEN_WORDS for chart in charts if word in chart] == []
    assert charts
    for words in ("Texts and input tokens per second", "E2EL against texts a request", "Inputs a request", "8 (40)"):
        assert words in body
    assert [word for word in TOKEN_WORDS if word in body] == []


def test_what_the_server_says_of_itself_has_no_output_tokens_either(summary: Any) -> None:
    server = {
        "scrapes": 2, "kind": "vLLM", "urls": ["http://127.0.0.1/metrics"], "limits": [], "restarts": 0,
        "window": {"of": "the whole run", "start_s": 0.0, "end_s": 4.0, "covered": True}, "reconciliation": None,
        "failed_scrapes": 0, "error": None, "levels": {}, "latency": {},
        "counters": {name: {"per_s": 0.0, "total": 0.0} for name in ("prompt_tokens", "generation_tokens")},
    }  # fmt: skip
    for facts, names in ((summary, ["Prompt tokens"]), ({"inputs": None}, ["Prompt tokens", "Output tokens"])):
        found = typed_summary(facts | {"server": server})
        assert found.server is not None
        assert [row.name for row in levels(found.server, generates=has_tokens(found))] == names


def test_charts_are_those_that_have_values(page: tuple[Any, Any]) -> None:
    charts = {chart.key: chart for chart in run_charts.build(run_numbers(*page))}
    # The metrics of this server were not read.
    assert set(charts) == {key for key in run_charts.OF_INPUTS if not key.startswith(("server_", "gpu"))}
    for key in ("inputs_per_s", "e2el_by_inputs", "e2el_by_input_tokens", "response_time_quantiles"):
        values = [value for panel in charts[key].panels for line in panel.lines for value in line.values]
        assert any(value for value in values), key
    assert max(charts["e2el_by_inputs"].x) == 4


def test_a_chart_whose_points_would_all_have_one_place_is_left_out() -> None:
    same = [reply(index, took_ms=50.0 + index, inputs=3) for index in range(9)]
    keys = {chart.key for chart in run_charts.build(run_numbers(*made_page(same, inputs_are="texts")))}
    assert "e2el_by_inputs" not in keys
    assert "e2el_by_input_tokens" in keys


def test_tables_for_other_tools_have_a_row_for_what_there_is(summary: Any) -> None:
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(run_csv(summary)))}
    assert list(rows) == [
        "e2el", "e2el_from_intended", "requests_per_s", "inputs_per_s", "input_tokens_per_s", "error_rate"
    ]  # fmt: skip
    assert float(rows["inputs_per_s"]["mean"]) == summary["throughput"]["inputs_per_s"]
    markdown = run_markdown(summary)
    assert "| Inputs (texts) (texts/s) |" in markdown
    assert [word for word in TOKEN_WORDS if word in markdown] == []


def test_other_tools_print_e2el_of_what_they_can_send(summary: Any) -> None:
    sends = {key for key, tool in summary["compat"].items() if tool["e2el_ms"] is not None}
    assert sends == {"vllm_python", "aiperf", "genai_bench", "sglang"}
    assert summary["compat"]["aiperf"]["e2el_ms"]["p50"] == summary["latency"]["e2el_ms"]["p50"]
    assert summary["compat"]["llmperf"]["missing"] == {"e2el_ms": "it sends no requests of texts"}
    ranked, _ = made_page(RECORDS, inputs_are="documents", endpoint="rerank")
    assert {key for key, tool in ranked["compat"].items() if tool["e2el_ms"] is not None} == {"vllm_python", "aiperf"}


def test_segments_have_the_columns_that_have_numbers() -> None:
    from bench.documents import segments_table
    from bench.metrics.planned_load import PlannedLoad

    loads = (PlannedLoad(1.0, 1.0, 0, 2_000 * MS), PlannedLoad(2.0, 2.0, 2_000 * MS, 4_200 * MS))
    found = typed_summary(made_page(RECORDS, inputs_are="texts", endpoint="embeddings", segments=loads)[0])
    heads, rows = segments_table.heads(found), segments_table.rows(found)
    assert "texts/s" in heads
    assert "TTFT p50" not in heads
    assert {len(row.cells) for row in rows} == {1 + len(heads)}
    assert all("–" not in [cell.text for cell in row.cells] for row in rows)


def test_replies_with_text_have_no_block_of_inputs() -> None:
    found, _ = made_page([made_record(index, sent_ms=10.0 * index) for index in range(9)])
    assert "inputs" not in found
    assert "inputs_per_s" not in found["throughput"]
    assert "inputs" not in found["series"]


def test_a_run_of_images_has_images_a_minute_and_the_bytes_of_its_replies() -> None:
    records = [
        made_record(
            index, sent_ms=500.0 * index, chunks_ms=(100, 200), kinds="ii",
            end_ns=round(START_NS + (500.0 * index + 210) * MS), output_tokens=None, output_tokens_from=None,
            inputs=1, bytes_received=5000,
        )
        for index in range(9)
    ]  # fmt: skip
    summary = made_summary(records, inputs_are="images", endpoint="images", measures=("ttfi",))
    shown = run_text(summary)
    per_s = summary["throughput"]["inputs_per_s"]
    assert re.search(rf"Images/s +{per_s:.3f}.*\nImages/min +{60 * per_s:.1f}\n", shown), shown[:900]
    assert re.search(r"TTFI \(ms\) +100\b", shown), shown[:900]
    assert re.search(r"E2EL \(ms\) +200\b", shown)
    assert "1 image each" in shown
    assert summary["inputs"]["bytes_received"]["max"] == 5000


def test_a_summary_without_amounts_in_time_has_no_chart_of_them(summary: Any) -> None:
    def panels(series: Any) -> list[int]:
        charts = run_charts.build(run_numbers({**summary, "series": series}))
        return [len(chart.panels) for chart in charts if chart.key == "inputs_per_s"]

    without = ({k: v for k, v in summary["series"].items() if k != lacks} for lacks in ("inputs", "input_tokens"))
    assert [panels(series) for series in (summary["series"], *without)] == [[2], [], [1]]


@pytest.mark.parametrize("endpoint", ["rerank", "chat"])
def test_the_rate_of_input_tokens_that_nobody_knows_is_not_known(endpoint: str) -> None:
    records = [
        made_record(k, input_tokens=None, input_tokens_asked=None, inputs=None if endpoint == "chat" else 3)
        for k in range(30)
    ]
    for which, known in ((records, False), ([*records, made_record(30)], True)):
        are = None if endpoint == "chat" else "documents"
        summary = made_summary(which, inputs_are=are, endpoint=endpoint)
        rates = summary["throughput"]
        of_all = rates["total_tokens_per_s"]
        assert ((rates["input_tokens_per_s"] is not None), (of_all is not None)) == (known, known and are is None)
        if are is not None:
            assert ("Input tokens/s" in run_text(summary)) is known
