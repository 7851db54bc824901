from __future__ import annotations

import io
import re
from functools import cache
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml

from bench.config import Settings
from bench.documents import details, formatting, other_tools, run_charts
from bench.documents.configuration import UNITS, configuration
from bench.documents.details import flat
from bench.documents.document import Cell, Code, Facts, Level
from bench.documents.run_document import run_document
from bench.metrics.objectives import parse
from bench.records import Outcome, RequestRecord
from bench.report import text
from bench.results.run import RunOrigin
from tests.support.golden_run import golden_page_data, golden_summary
from tests.support.made_records import made_record
from tests.support.made_summary import made_page, made_summary
from tests.support.rendered import run_page, run_text, typed_summary
from tests.support.results import filled

ALL_FAILED = [made_record(i, outcome=Outcome.HTTP_ERROR, status=503, chunks_ms=(), error="busy") for i in range(5)]


@pytest.mark.parametrize(
    ("stop_reason", "planned", "sentence"),
    [
        ("interrupted", 20, "The run was interrupted after 5 of 20 requests: the numbers are about these."),
        ("interrupted", None, "The run was interrupted after 5 requests: the numbers are about these."),
        (
            "killed",
            20,
            "The run was killed, or its disk was full, after 5 of 20 requests: the numbers are about these.",
        ),
        (
            "errors",
            1_000,
            "Too many requests failed, and --max-errors ended the run after 5 of 1,000 requests: "
            "the numbers are about these.",
        ),
        ("requests", 5, None),
        ("duration", None, None),
    ],
)
def test_a_run_that_ended_early_says_so(stop_reason: str, planned: int | None, sentence: str | None) -> None:
    summary = made_summary([made_record(i) for i in range(5)])
    summary["run"] = {"stop_reason": stop_reason}
    summary["counts"]["planned"] = planned
    assert details.ended_early(typed_summary(summary)) == ([] if sentence is None else [sentence])
    said = "the numbers are about these"
    shown = " ".join(run_text(summary).split())
    assert (said in shown, said in run_page(summary)) == (sentence is not None,) * 2


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "–"), (0, "0"), (0.0034, "0.0034"), (1.23456, "1.235"), (12.3456, "12.35"), (123.456, "123.5"),
     (1234.5, "1,234"), (1e6, "1,000,000"), (7.0, "7"), (-0.5, "-0.500"), (9.9996, "10.00"),
     (99.996, "100.0"), (999.96, "1,000")],
)  # fmt: skip
def test_numbers_have_four_significant_digits(value: float | None, written: str) -> None:
    assert formatting.number(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "–"), (0, "0%"), (0.0185, "1.85%"), (0.5, "50%"), (0.981234, "98.1%"), (1.0, "100%")],
)
def test_shares_are_percent(value: float | None, written: str) -> None:
    assert formatting.share(value) == written


def test_sizes_have_prefixes() -> None:
    assert [formatting.si(v) for v in (12, 1_234, 1.2e6, 3e9)] == ["12", "1.23 k", "1.2 M", "3 G"]
    rounded = (999.4, 999.6, 999_400, 999_600, -999_600_000, 9.996e8)
    assert [formatting.si(v) for v in rounded] == ["999", "1 k", "999 k", "1 M", "-1 G", "1 G"]
    assert formatting.si(None) == "–"


def test_nested_facts_have_dotted_names_and_nothing_empty() -> None:
    rows = flat({"a": {"b": 1.0, "c": None}, "d": [1, 2], "e": [], "f": True, "g": ""})
    assert [(row.name, row.value) for row in rows] == [("a.b", "1"), ("d", "1, 2"), ("f", "yes")]


def test_a_page_shows_what_differs_from_the_defaults_with_units_and_what_starts_it_again() -> None:
    config = {
        "rate": 2.0,
        "limits": {"errors": {"suspect": 0.01, "invalid": None}, "usage": 1},
        "none": {},
        "api_key": "***",
    }
    changed = {"url": "http://x", "rate": 2.0, "duration": 30.0, "ramp_up": 8.0, "output_tokens": "128"}
    run = {"command": ["python", "-m", "bench", "--slo", "a b"], "host": {"cpus": 2, "name": "n"}, "config": config}
    blocks = configuration(filled(RunOrigin, run, changed=changed, notes=["not here"])).blocks
    differ, of_run, whole = (block.rows for block in blocks if isinstance(block, Facts))
    command, text = (block.text for block in blocks if isinstance(block, Code))
    assert [(row.name, row.value) for row in differ] == [
        ("url", "http://x"), ("rate", "2 requests/s"), ("duration", "30 s"), ("ramp_up", "8 s"),
        ("output_tokens", "128 tokens")
    ]  # fmt: skip
    assert [(row.name, row.value) for row in whole][1] == ("limits", "errors.suspect 0.01 · usage 1")
    assert [(row.name, row.value) for row in of_run] == [("Seed", "0"), ("Host", "cpus 2 · name n")]
    assert command == "python -m bench --slo 'a b'"
    assert text.splitlines()[0] == "# Never stored, so give them again: api_key"
    assert yaml.safe_load(text) == changed
    page = re.sub("</?span>", "", run_page(made_summary([made_record()]) | {"run": run | {"changed": changed}}))
    for shown in ("python -m bench --slo &#39;a b&#39;", "cpus 2 · name n", "duration: 30.0"):
        assert shown in page


def test_settings_to_copy_keep_their_order_and_stay_readable() -> None:
    words = " ".join(["word"] * 18)  # 89 characters.
    changed = {"url": "http://x", "name": "für alle", "model": words, "body": f"{words} {words}"}
    run = {
        "config": {"api_key": None, "header": [], "name": "x"},
        "changed": changed | {"header": ["a: b"], "api_key": "k"},
    }
    (copied,) = (block for block in configuration(filled(RunOrigin, run)).blocks if isinstance(block, Code))
    lines = copied.text.splitlines()
    assert lines[:3] == ["url: http://x", "name: für alle", f"model: {words}"]
    assert [len(line) for line in lines[3:]] == [105, 81]  # A line ends with the word that goes over 100.
    assert yaml.safe_load(copied.text) == changed
    assert copied.level is Level.PAGE


def test_units_are_of_settings_that_exist() -> None:
    assert UNITS.keys() <= Settings.model_fields.keys()


class _Page(HTMLParser):
    """Tags, ids and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "rect", "path", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_is_well_formed_and_asks_for_nothing() -> None:
    page = _Page(run_page(golden_summary(), golden_page_data()))
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in ("iframe", "object", "embed", "form", "img")
        assert "src" not in attributes
        href = attributes.get("href")
        assert href in (None, "data:,", "requests.jsonl") or (
            tag == "image" and href.startswith("data:image/png;base64,")
        )
        assert not any(name.startswith("on") for name in attributes)
    assert sum(tag == "figure" for tag, _ in page.tags) == len(run_charts.CHARTS)


def test_what_a_server_says_is_never_code() -> None:
    evil = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>'
    record = made_record(outcome=Outcome.HTTP_ERROR, status=500, chunks_ms=(), error=evil)
    summary = made_summary([record]) | {"run": {"name": evil, "model": evil, "config": {"headers": [evil]}}}
    page = run_page(summary)
    assert "<img" not in page
    assert page.count("<script>") == 1
    assert "&lt;img src=x" in page


def test_the_same_summary_gives_the_same_bytes() -> None:
    pages = [run_page(golden_summary(), golden_page_data()) for _ in range(2)]
    assert pages[0] == pages[1]
    assert run_text(golden_summary()) == run_text(golden_summary())


@pytest.mark.parametrize("records", [[], ALL_FAILED, [made_record()], [made_record(chunks_ms=())]])
def test_every_run_has_a_report(records: list[RequestRecord]) -> None:
    summary = made_summary(records)
    assert "Latency over the whole run" in run_page(*made_page(records))
    assert "TTFT" in run_text(summary)


def test_the_steady_window_has_a_table_of_its_own_where_it_differs() -> None:
    records = [made_record(i, sent_ms=i * 10.0) for i in range(300)]
    assert "Latency in the steady window" not in run_page(made_summary(records))
    assert "Latency in the steady window, 1.0 s to 3.0 s" in run_page(made_summary(records, ramp_s=1.0))


def test_a_certificate_is_shown() -> None:
    row = {"metric": "ttft_ms", "stat": "p50", "unit": "ms", "measured": 50.01, "true": 50.0, "error": 0.01,
           "error_share": 0.0002}  # fmt: skip
    lag = {"n": 3, "p50": 0.004, "p99": 0.02, "max": 0.1}
    cause = {"metric": "ttft_ms", "stat": "p99", "size": 1.5, "unit": "ms", "cause": "some mistake"}
    calibration = {
        "from": "ledger",
        "metrics": [row, row | {"metric": "tps", "unit": "tokens/s"}, row | {"stat": "p75", "error": 7.0}],
        "observation_lag_ms": lag,
        "way_in_ms": {"n": 0},
        "mock": {"done_minus_planned_ms": {"n": 0}},
        "agreement": [{"what": "requests", "here": 3, "there": 3}, {"what": "chunks", "here": 3, "there": 4}],
        "problems": ["one is missing"],
        "causes": [cause],
    }
    page = run_page(made_summary([made_record()]) | {"calibration": calibration})
    for shown in ("Error of each number", ">50<", "+0.010", "+0.02%", "median 0.004 ms", "3 here, 4 there",
                  "one is missing", "TTFT is +1.500 ms off at p99; likely cause: some mistake",
                  "certificate.html"):  # fmt: skip
        assert shown in page
    assert "+7.000" not in page


def test_the_errors_of_an_earlier_calibration_are_shown_with_their_age() -> None:
    row = {"metric": "ttft_ms", "stat": "p50", "unit": "ms", "measured": 50.01, "error": 0.01, "error_share": 0.0002}
    calibration = {
        "from": "certificate",
        "date": "2026-01-02T03:04:05+00:00",
        "age_s": 7_300.0,
        "status": "VALID",
        "metrics": [row, row | {"metric": "e2el_ms", "error": -0.02}],
        "observation_lag_ms": {"n": 0},
        "way_in_ms": {"n": 0},
        "problems": [],
    }
    summary = made_summary([made_record()]) | {"calibration": calibration}
    sentence = "p50 -0.020 ms (calibrated at such a load on this machine 2 hours ago: VALID)"
    assert sentence in run_page(summary)
    assert "certificate.html" not in run_page(summary)
    assert sentence in " ".join(run_text(summary, width=120).split())


def test_the_verdict_stands_first() -> None:
    summary = golden_summary()
    headline = "SUSPECT, 42 requests, 3 failed: median of TTFT can be given, no P90"
    assert run_text(summary).splitlines()[1:3] == [
        headline,
        "  - 7.1% of the requests failed: the latencies are those of the others",
    ]
    page = run_page(summary)
    order = (
        "<h1>golden",
        "10 requests/s, 42 requests, 100 tokens in, about 13 out, model made &lt;by&gt; hand",
        # The page begins with the missed objectives; the verdict next to them keeps its colour.
        'class="verdict bad"',
        '<span class="pill missed">objective missed</span> <span class="pill warn">SUSPECT</span> 42 requests',
        "<h3>Objectives",
        "<h3>Latency and throughput",
        "<h3>Errors</h3>",
        "<h3>Next</h3>",
        "<h3>Latency over",
        "<h3>Throughput",
        "<h3>Requests</h3>",
        "<h2>Charts",
        "<h2>What other tools",
        "<h2>Configuration and",
        "YAML, for",
    )
    places = [page.index(part) for part in order]
    assert places == sorted(places)
    assert page.count('<details class="card fold">') == 2


def test_every_table_has_a_caption() -> None:
    page = run_page(golden_summary())
    assert page.count("<table") == len(re.findall(r"<table[^>]*>\s*<caption>[^<]+</caption>", page)) > 10


@cache
def of_a_slow_server() -> Any:
    return made_summary(
        [made_record(i, sent_ms=i * 90_000.0, chunks_ms=(123_456.7 + i * 777, 234_567.8 + i * 999)) for i in range(60)]
    )


@pytest.mark.parametrize("width", [20, 80, 100, 120, 400])
def test_text_keeps_to_its_width_and_cuts_no_number(width: int) -> None:
    for summary in (golden_summary(), of_a_slow_server()):
        shown = run_text(summary, width=width)
        assert max(map(len, shown.splitlines())) <= min(max(width, 80), 120)
        assert "…" not in shown


def test_columns_are_left_out_before_a_number_is_broken_over_two_lines() -> None:
    wide = [
        made_record(
            i, sent_ms=i * 90.0, chunks_ms=tuple(50.123 + i % 7 + k * (10.017 + i % 11 / 100) for k in range(9))
        )
        for i in range(400)
    ]
    shown = run_text(made_summary(wide), width=80)
    table = shown[shown.index("Average") : shown.index("Left out for lack of room")]
    assert "P95" not in table
    assert [line for line in table.splitlines() if line.startswith(" " * 10) and line.strip()] == []


def test_brief_text_is_verdict_and_errors() -> None:
    shown = run_text(golden_summary(), level=Level.BRIEF)
    assert "SUSPECT" in shown
    assert "reset" in shown
    assert "TTFT (ms)" not in shown


def test_a_server_cannot_steer_the_terminal() -> None:
    record = made_record(outcome=Outcome.HTTP_ERROR, status=500, chunks_ms=(), error="\x1b[2J[red]gone[/red]\r\nx")
    shown = run_text(made_summary([record]))
    assert "\x1b" not in shown
    assert "[2J[red]gone[/red]  x" in shown


def test_text_is_plain_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    text.show(run_document(typed_summary(golden_summary())), file=out)
    assert out.getvalue() == run_text(golden_summary(), level=Level.FIRST)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_text_has_colour_on_a_terminal_unless_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = _Terminal(), _Terminal()
    text.show(run_document(typed_summary(golden_summary())), file=coloured)
    monkeypatch.setenv("NO_COLOR", "1")
    text.show(run_document(typed_summary(golden_summary())), file=plain)
    assert "\x1b[1;33mSUSPECT" in coloured.getvalue()
    assert "33m" not in plain.getvalue()


def shown_on_a_terminal(summary: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = _Terminal()
    text.show(run_document(typed_summary(summary)), file=terminal)
    return terminal.getvalue()


def test_a_run_in_which_everything_failed_says_so_first_in_red_with_the_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    reset = made_record(9, outcome=Outcome.RESET, chunks_ms=(), error="\x1b[2Jgone")
    summary = made_summary([*ALL_FAILED, reset], "FAILED")
    summary["verdict"]["reasons"] = ["every request failed"]
    assert (
        run_text(summary)
        .partition("\n")[2]
        .startswith(
            "FAILED, 6 requests, 6 failed\n  - 5 failed: busy\n  - 1 failed:  [2Jgone\n  - every request failed\n"
            "  Causes and remedies: docs/"
        )
    )
    assert run_text(summary, level=Level.BRIEF).startswith("FAILED, 6 requests, 6 failed\n  - 5 failed: busy\n")
    assert "\x1b[1;31mFAILED\x1b[0m" in shown_on_a_terminal(summary, monkeypatch)
    page = run_page(summary)
    assert page.index('class="verdict bad"') < page.index("<li>5 failed: busy</li>") < page.index("Latency and")
    assert "The target failed" in page


def test_nothing_good_is_green_where_the_run_is_not_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"objectives": parse(["ttft:p50<5s", "ttft:p50<1ms"])}
    for status, green in (("VALID", True), ("SUSPECT", False), ("INVALID", False)):
        summary = made_summary(_streamed(), status, **facts)
        told, page = shown_on_a_terminal(summary, monkeypatch), run_page(summary)
        assert (re.search(r"\x1b\[32m *held", told) is not None) is green
        assert re.search(r"\x1b\[31m *missed", told)
        assert ('class="tone good">held' in page) is green
        assert 'class="tone bad">missed' in page


def _streamed(n: int = 40) -> list[RequestRecord]:
    """Replies as vLLM sends them: the role chunk with the first token, usage and [DONE] 30 ms after the last token."""
    times = [50, *(50 + 20 * k for k in range(16)), 380, 380]
    return [made_record(i, sent_ms=i * 5.0, chunks_ms=times, kinds=f"r{'c' * 16}uo") for i in range(n)]


def test_other_tools_stand_beside_our_own_numbers_and_what_differs_is_marked() -> None:
    rows = {row.title: row for row in other_tools.rows(typed_summary(made_summary(_streamed())))}
    assert rows["Trueload"].cells[0] == Cell("50", below=("50", "50"))
    marked = {title: [cell.tone == "apart" for cell in row.cells] for title, row in rows.items()}
    #                                      TTFT   TPOT   ITL   E2EL  tokens TPS
    assert marked["Trueload"] == [False, False, False, False, False, False]
    assert marked["vllm bench serve"] == [False, False, False, False, False, False]
    assert marked["guidellm"] == [False, True, False, True, False, False]
    assert marked["genai-bench"] == [False, True, False, True, False, False]
    assert rows["genai-bench"].cells[2] == Cell(formatting.NOTHING)
    assert "No ITL: it prints no such number." in rows["genai-bench"].why
    assert any(why.startswith("E2EL ends when the usage chunk has come") for why in rows["genai-bench"].why)


def test_a_tool_that_cannot_send_to_the_endpoint_has_no_number_at_all() -> None:
    rows = other_tools.rows(typed_summary(made_summary(_streamed(), endpoint="transcriptions")))
    assert {cell for row in rows if row.title != "Trueload" for cell in row.cells} == {Cell(formatting.NOTHING)}


def test_a_page_without_numbers_has_no_other_tools() -> None:
    assert other_tools.rows(typed_summary(made_summary(ALL_FAILED))) == []
    assert "What other tools would print" not in run_page(made_summary(ALL_FAILED))
    assert "What other tools would print" in run_page(made_summary(_streamed()))
