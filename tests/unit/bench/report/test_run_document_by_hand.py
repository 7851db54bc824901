"""The document of a run made by hand: which blocks it has, in which order, and the numbers that only it writes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from bench.documents.document import (
    Cell,
    Document,
    Facts,
    Finding,
    Findings,
    Level,
    Paragraph,
    Section,
    Table,
    TwoTexts,
)
from bench.documents.run_document import run_document
from bench.metrics.page_data import PageData
from bench.records import Outcome
from bench.results.summary import RunSummary
from tests.support.golden_run import golden_summary
from tests.support.made_records import made_record
from tests.support.made_summary import made_page
from tests.support.rendered import typed_summary
from tests.support.results import filled


def document(page: PageData | None = None, **changes: Any) -> Document:
    return run_document(filled(RunSummary, golden_summary() | changes), page)


def section(found: Document, title: str) -> Section:
    (one,) = (section for section in found.sections if section.title == title)
    return one


def titles(found: Section) -> list[str]:
    return [getattr(block, "title", "") for block in found.blocks]


def table(found: Document, title: str) -> Table:
    (one,) = (b for s in found.sections for b in s.blocks if isinstance(b, Table) and b.title == title)
    return one


def texts(found: Table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in found.rows]


OBJECTIVE = {"objective": "ttft:p50<90ms", "held": True}


@pytest.mark.parametrize(
    ("errors", "objectives", "first"),
    [([], [], True), ([{"outcome": "reset", "n": 1}], [], False), ([], [OBJECTIVE], False)],
)
def test_the_counts_of_requests_stand_beside_the_first_table_if_there_is_room(
    errors: list[Any], objectives: list[Any], first: bool
) -> None:
    found = document(errors=errors, slo={"held": None, "objectives": objectives})
    in_sections = [one.title for one in found.sections if "Requests" in titles(one)]
    assert in_sections == ["" if first else "Numbers"]
    counts = next(b for s in found.sections for b in s.blocks if isinstance(b, Facts) and b.title == "Requests")
    assert counts.half


@pytest.mark.parametrize(
    ("targets", "started", "about"),
    [
        (None, "now", "http://a/v1 · now"),
        ([], None, "http://a/v1"),
        ([{"url": "http://a/v1"}], "now", "http://a/v1 · now"),
        ([{"url": "http://a/v1"}] * 2, "now", "http://a/v1 and 1 more · now"),
        ([{"url": "http://a/v1"}] * 4, "", "http://a/v1 and 3 more"),
    ],
)
def test_a_run_says_where_and_when_it_was(targets: Any, started: str | None, about: str) -> None:
    run = golden_summary()["run"]
    found = document(run=run | {"url": "http://a/v1", "started": started, "config": {"targets": targets}})
    assert (found.about, found.title, found.name) == (about, "golden", "golden")


def test_a_run_without_a_name_is_a_load_test() -> None:
    found = document(run=golden_summary()["run"] | {"name": None})
    assert (found.title, found.name) == ("Load test", "Load test")


def latency(**of: dict[str, Any]) -> dict[str, Any]:
    """The golden latencies with these changes."""
    golden: dict[str, Any] = golden_summary()["latency"]
    return golden | {key: golden[key] | change for key, change in of.items()}


def test_the_latencies_of_most_interest_come_first() -> None:
    found = table(document(), "Latency over the whole run")
    assert [row[0] for row in texts(found)] == [
        "TTFT", "TPOT", "ITL", "E2EL", "TPS", "TTFT from due", "E2EL from due", "TTFO", "Chunk gap",
    ]  # fmt: skip
    assert [(column.title, column.drop) for column in found.columns] == [
        ("Metric", 0), ("Average", 4), ("Median", 0), ("P90", 5), ("P95", 2), ("P99", 0), ("P99.9", 1), ("Max", 3),
        ("Values", 0),
    ]  # fmt: skip
    assert found.rows[0].cells[0].meaning.startswith("Time to first token: ")
    steady = table(document(), "Latency in the steady window, 0.2 s to 4.1 s")
    assert (steady.rows[0].cells[0].meaning, steady.notes) == ("", ())


@pytest.mark.parametrize(
    ("change", "below"),
    [
        ({"n": 1234, "independent": 1199.9, "quantiles": "exact"}, "~1,199"),
        ({"n": 1234, "independent": 1200.0, "quantiles": "histogram"}, "~1,200 ± 0.1%"),
        ({"n": 0, "independent": 0.0, "quantiles": "histogram"}, "± 0.1%"),
        ({"n": 0, "independent": 0.0, "quantiles": "exact"}, ""),
    ],
)
def test_values_say_how_many_independent_ones_they_are_worth(change: dict[str, Any], below: str) -> None:
    found = table(document(latency=latency(ttft_ms=change)), "Latency over the whole run")
    values = found.rows[0].cells[-1]
    assert (values.text, values.below) == (f"{change['n']:,}", (below,))


def few(independent: float, needed: int, run_s: float | None) -> dict[str, Any]:
    return {"independent": independent, "needed": needed, "run_s": run_s}


NONE: dict[str, Any] = {"too_few": {}}


@pytest.mark.parametrize(
    ("ttft", "e2el", "note"),
    [
        ({}, {}, None),
        ({"p50": few(1234.9, 5678, 30)}, {}, "Median 1,234 of 5,678 (a run of 30 s)"),
        # The metric that needs the longest run counts; one whose need is unknown counts least.
        ({"p99": few(9, 368, 20)}, {"p99": few(8, 368, 21)}, "P99 8 of 368 (a run of 21 s)"),
        ({"p99": few(9, 368, 20)}, {"p99": few(8, 368, 20)}, "P99 9 of 368 (a run of 20 s)"),
        ({"p99": few(9, 368, 21)}, {"p99": few(8, 368, 20)}, "P99 9 of 368 (a run of 21 s)"),
        ({"p99": few(9, 368, None)}, {"p99": few(8, 368, 0)}, "P99 8 of 368 (a run of 0 s)"),
        ({"p99": few(9, 368, None)}, {}, "P99 9 of 368"),
        ({"p99": few(9, 368, 1), "mean": few(2, 20, 2)}, {"p75": few(1, 20, 9)},
         "Average 2 of 20 (a run of 2 s) · P99 9 of 368 (a run of 1 s)"),
    ],
)  # fmt: skip
def test_a_report_says_how_long_a_run_would_give_each_statistic_its_interval(
    ttft: dict[str, Any], e2el: dict[str, Any], note: str | None
) -> None:
    quiet = dict.fromkeys(("tpot_ms", "itl_ms", "tps"), NONE)
    longer = {"ttft_from_intended_ms": {"too_few": {"p50": few(1, 20, 10_000)}}}  # Not one of the main metrics.
    found = table(
        document(latency=latency(ttft_ms={"too_few": ttft}, e2el_ms={"too_few": e2el}, **quiet, **longer)),
        "Latency over the whole run",
    )
    words = [] if note is None else [f"Too few independent values, and the run that would do: {note}."]
    assert list(found.notes[1:]) == words


def test_a_steady_window_has_its_own_latencies_only_if_they_are_others() -> None:
    golden = golden_summary()
    alike = document(steady=golden["steady"] | {"latency": golden["latency"]})
    for found, shown in ((document(), 1), (alike, 0), (document(steady=None), 0)):
        assert (
            sum(title.startswith("Latency in the steady window") for title in titles(section(found, "Numbers")))
            == shown
        )


def test_rates_are_those_of_the_run_and_of_its_steady_window() -> None:
    golden = golden_summary()
    goods = {"requests_per_s": 2.5, "output_tokens_per_s": 30.0}
    found = table(
        document(goodput=goods, steady=golden["steady"] | {"goodput": {**goods, "requests_per_s": 3.5}}), "Throughput"
    )
    assert texts(found)[-2:] == [["Goodput, requests", "2.500", "3.500"], ["Goodput, tokens", "30", "30"]]
    assert [row.cells[0].unit for row in found.rows[-2:]] == ["requests/s", "tokens/s"]
    assert [column.below for column in found.columns] == ["", "4.4 s", "0.2 s to 4.1 s"]
    # No interval is known of a goodput.
    assert [cell.below for cell in found.rows[-1].cells[1:]] == [("",), ("",)]
    without = table(document(goodput=goods, steady=None), "Throughput")
    assert [row[2] for row in texts(without)] == ["–"] * len(without.rows)
    assert without.columns[2].below == "none"
    assert not any(row[0].startswith("Goodput") for row in texts(table(document(goodput=None), "Throughput")))


def test_a_load_that_was_changed_during_the_run_says_when() -> None:
    latencies = {key: {"p50": 1.0, "p99": 2.0, "bounds": {}} for key in ("ttft_ms", "tpot_ms", "e2el_ms")}
    rates = {"requests_per_s": 1.0, "output_tokens_per_s": 2.0}
    segments = [
        {"first": load, "last": load, "measured_from_s": 0.0, "end_s": 4.0, "sent": 2, "latency": latencies,
         "throughput": rates}
        for load in (5.0, 8.0)
    ]  # fmt: skip
    changes = [
        {"at_s": 2.0, "from": 5.0, "to": 8.0, "by": "terminal"},
        {"at_s": 3.0, "from": 8.0, "to": 5.0, "by": "me"},
    ]
    found = section(document(segments=segments, changes=changes), "Numbers")
    place = titles(found).index("Segment by segment")
    assert isinstance(found.blocks[place], Table)
    said = found.blocks[place + 1]
    assert isinstance(said, Findings)
    assert said.sentences == (
        Finding("Load changed at 2.0 s: from 5 to 8 requests/s, set in a terminal", "quiet"),
        Finding("Load changed at 3.0 s: from 8 to 5 requests/s, set by me", "quiet"),
    )
    unchanged = section(document(segments=segments, changes=[]), "Numbers")
    assert not any(isinstance(block, Findings) for block in unchanged.blocks)
    assert "Segment by segment" not in titles(section(document(segments=None, changes=changes), "Numbers"))


def server(**changes: Any) -> dict[str, Any]:
    return {"server": golden_summary()["server"] | changes}


PAGE = {"rank": "0", "finished": 5, "generation_tokens": 1234, "running": 2.5, "waiting": 0, "kv_cache_used": 0.5,
        "ttft_ms": 12.5, "itl_ms": 3}  # fmt: skip


def test_each_page_and_rank_of_a_server_has_its_row() -> None:
    found = table(document(**server(parts=[{"url": "a", **PAGE}, {"url": "b", **PAGE, "rank": "1"}])),
                  "Replicas and ranks by their own metrics")  # fmt: skip
    assert texts(found) == [[url, rank, "5", "1,234", "2.500", "0", "50%", "12.50", "3"] for url, rank in ("a0", "b1")]
    assert [column.wrap for column in found.columns] == [True] + [False] * 8
    assert not found.half


@pytest.mark.parametrize(
    ("changes", "subtitle"),
    [
        ({}, "vLLM, by its own metrics at http://127.0.0.1:8000/metrics, over the steady window, 0.2 s to 4.1 s"),
        (
            {"kind": None, "urls": ["http://a", "http://b"],
             "window": {"start_s": 1.0, "end_s": None, "of": "the whole run", "covered": False}},
            "a server of an unknown kind, by its own metrics at http://a, http://b, over the whole run, 1.0 s to –, of which "
            "only a part was read",
        ),
    ],
)  # fmt: skip
def test_numbers_of_a_server_say_what_they_are_of(changes: dict[str, Any], subtitle: str) -> None:
    assert section(document(**server(**changes)), "Inside the server").subtitle == subtitle


def test_a_server_that_counts_other_requests_is_said_first_and_only_once() -> None:
    limits, reconciliation = ["memory was the limit"], {"mismatch": "it finished 50", "counts": [
        {"what": "requests", "agree": False, "sentence": "it finished 50"}, {"what": "aborted", "sentence": "it aborted 2"},
    ], "ttft": None}  # fmt: skip
    found = section(document(**server(limits=limits, reconciliation=reconciliation)), "Inside the server")
    sentences = found.blocks[0]
    assert isinstance(sentences, Findings)
    assert sentences.sentences == (
        Finding("it finished 50", "warn"), Finding("Memory was the limit", "quiet"), Finding("It aborted 2", "quiet"),
    )  # fmt: skip
    quiet = section(document(**server(limits=[], reconciliation=None)), "Inside the server")
    assert titles(quiet) == ["Levels and rates", "Times by its own clock"]
    assert [getattr(block, "half", None) for block in quiet.blocks] == [True, True]
    for changes in (server(scrapes=0), {"server": None}):
        assert "Inside the server" not in [one.title for one in document(**changes).sections]


def test_single_requests_have_a_section_on_a_page() -> None:
    summary, page = made_page([made_record(0), made_record(1, outcome=Outcome.RESET, chunks_ms=(), error="gone")])

    def requests(**of: Any) -> list[Section]:
        chosen = replace(page, requests=replace(page.requests, **of))
        return [
            one for one in run_document(typed_summary(summary), chosen).sections if one.title == "Requests one by one"
        ]

    (both,) = requests()
    assert (titles(both), both.level) == (["The slowest requests", "Failed requests", ""], Level.PAGE)
    slowest, table_of_failed, link = both.blocks
    assert isinstance(slowest, Table)
    assert isinstance(table_of_failed, Table)
    assert table_of_failed.rows[0].cells[0] == Cell("made-1", code=True, meaning="gone")
    assert [column.title for column in table_of_failed.columns][:3] == ["Request", "Outcome", "Status"]
    assert (slowest.level, table_of_failed.level) == (Level.PAGE, Level.PAGE)
    assert isinstance(link, Paragraph)
    assert (link.link, link.level) == (("requests.jsonl", "requests.jsonl"), Level.PAGE)
    assert [titles(one) for one in requests(failed=[])] == [["The slowest requests", ""]]
    assert requests(slowest=[], failed=[]) == []


SHARE = {"name": "accuracy", "title": "Right", "probes": 1234, "answers": 5678, "bad": 1000, "share": 0.8239,
         "interval": [0.8, 0.85]}  # fmt: skip
WRONG = {"probe": "sum", "request": "r", "question": "1+1?", "wanted": "2", "given": "3", "bad": ["right"]}


def test_checked_answers_have_their_shares_and_the_wrong_ones() -> None:
    more = {
        "probe": "json",
        "request": "r",
        "question": "q",
        "wanted": "",
        "given": "{",
        "bad": ["valid_json", "other"],
    }
    checked = {"shares": [SHARE], "wrong": [WRONG, more], "failed": 0}
    shares, first, second = section(document(answers=checked), "Answers").blocks
    assert isinstance(shares, Table)
    assert texts(shares) == [["Right", "82.4%", "80% to 85%", "1,000 of 5,678", "1,234"]]
    advice = "Whether load changes the answers, python -m bench quality tells: docs/quality.md."
    assert shares.notes == (advice,)
    assert isinstance(first, TwoTexts)
    assert isinstance(second, TwoTexts)
    assert (first.title, first.names, first.texts, first.at) == (
        "sum (wrong)",
        ("Right answer", "Answer"),
        ("2", "3"),
        None,
    )
    assert (first.notes, first.level) == (("question: 1+1?",), Level.DETAILS)
    assert (second.title, second.texts) == ("json (invalid JSON, other)", ("(any that the grader accepts)", "{"))
    lost = table(document(answers=checked | {"failed": 3}), "Checked answers")
    assert lost.notes == ("3 probes were not answered, and count nowhere here.", advice)


@pytest.mark.parametrize("answers", [None, {"shares": [], "failed": 3}])
def test_without_checked_answers_there_is_no_section_of_them(answers: Any) -> None:
    assert "Answers" not in [one.title for one in document(answers=answers).sections]


def test_other_tools_drop_the_columns_that_they_have_last() -> None:
    found = section(document(), "What other tools would print")
    numbers, why = found.blocks
    assert isinstance(numbers, Table)
    assert [(column.title, column.unit, column.drop) for column in numbers.columns] == [
        ("Tool", "", 0), ("TTFT", "ms", 0), ("TPOT", "ms", 0), ("ITL", "ms", 0), ("E2EL", "ms", 0), ("Output", "tokens", 2),
        ("TPS", "tokens/s", 1),
    ]  # fmt: skip
    assert isinstance(why, Findings)
    assert (why.level, why.folded, found.folded) == (Level.PAGE, True, True)
    assert all(": " in sentence.text for sentence in why.sentences)
    assert [type(block) for block in section(document(compat={}), "What other tools would print").blocks] == [Table]


CLOCKS = {"shape": {}, "date": "d", "version": "v", "status": "VALID", "age_s": 60, "observation_lag_ms": {"n": 0},
          "way_in_ms": {"n": 0}}  # fmt: skip


def known(metric: str, stat: str, unit: str = "ms") -> dict[str, Any]:
    return {"metric": metric, "stat": stat, "unit": unit, "error": 0.5, "measured": 50.0, "error_share": 0.01}


def test_the_errors_of_an_earlier_calibration_are_of_three_quantiles_in_ms() -> None:
    rows = [known("ttft_ms", stat) for stat in ("mean", "p50", "p75", "p90", "p95", "p99", "max")]
    earlier = {
        "from": "certificate",
        **CLOCKS,
        "metrics": [*rows, known("tps", "p50", "tokens/s")],
        "problems": ["it is old"],
    }
    blocks = section(document(calibration=earlier), "How good is the measurement?").blocks
    sentences, errors = blocks[-2:]
    assert isinstance(sentences, Findings)
    assert (sentences.sentences[0], len(sentences.sentences)) == (Finding("it is old", "warn"), 2)
    assert isinstance(errors, Table)
    assert texts(errors) == [["TTFT", "+0.500", "+0.500", "+0.500"]]
    assert [column.title for column in errors.columns] == ["Metric", "Median", "P90", "P99"]
    nothing = section(document(calibration=earlier | {"metrics": []}), "How good is the measurement?").blocks
    assert isinstance(nothing[-1], Findings)


def test_a_calibrated_run_links_its_certificate() -> None:
    row = known("ttft_ms", "p50") | {"true": 49.5, "allowed": None, "share_of_spread": None}
    calibration = {
        "from": "ledger", "clock": "shared", "mock": {"done_minus_planned_ms": {"n": 0}}, "observation_lag_ms": {"n": 0},
        "way_in_ms": {"n": 0}, "metrics": [row, row | {"stat": "max"}], "problems": ["one is lost"],
        "causes": [{"metric": "requests", "size": 2.0, "cause": "twice"}],
    }  # fmt: skip
    blocks = section(document(calibration=calibration), "How good is the measurement?").blocks
    sentences, errors, link = blocks[-3:]
    assert isinstance(sentences, Findings)
    assert sentences.sentences == (Finding("one is lost", "warn"), Finding("twice (2 requests)", "warn"))
    assert isinstance(errors, Table)
    assert [column.title for column in errors.columns] == ["Metric", "Median"]
    assert isinstance(link, Paragraph)
    assert (link.link, link.level) == (("certificate.html", "certificate.html"), Level.PAGE)
    right = section(document(calibration=calibration | {"problems": [], "causes": []}), "How good is the measurement?")
    assert [type(block) for block in right.blocks[-3:]] == [Facts, Table, Paragraph]


def test_without_a_calibration_the_error_of_the_numbers_is_not_known() -> None:
    found = section(document(calibration=None), "How good is the measurement?").blocks[-1]
    assert isinstance(found, Findings)
    assert (found.title, found.half, found.sentences[0].text[:32]) == (
        "Calibration",
        True,
        "Error of these numbers: not know",
    )


@pytest.mark.parametrize(
    ("inputs", "title"), [(None, "Tokens"), ({"are": "texts"}, "Inputs"), ({"are": "requests"}, "Responses")]
)
def test_sizes_of_replies_are_named_after_what_comes_back(inputs: Any, title: str) -> None:
    rates = golden_summary()["throughput"]
    rates = rates | {"ci95": rates["ci95"] | {"inputs_per_s": None}}
    numbers = {"throughput": rates, "steady": None, "goodput": None}
    found = section(document(inputs=inputs, **numbers), "How good is the measurement?")
    assert titles(found)[:3] == ["Load", title, "The client itself"]
    client = found.blocks[2]
    assert isinstance(client, Facts)
    assert (client.level, [getattr(block, "half", False) for block in found.blocks[:3]]) == (Level.DETAILS, [True] * 3)
