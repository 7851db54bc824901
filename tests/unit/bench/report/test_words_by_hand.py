"""Single words and numbers of documents, on results made by hand: each with its full text."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from msgspec.structs import replace

from bench.documents import (
    certificate_document,
    comparison,
    details,
    parts_table,
    quality_document,
    request_tables,
    sweep_document,
    sweep_words,
    time_charts,
)  # fmt: skip
from bench.documents.calibration_words import cause_sentence
from bench.documents.comparison_document import comparison_document as document_of
from bench.documents.document import (
    Block,
    Cell,
    Code,
    Column,
    Document,
    Findings,
    Level,
    Paragraph,
    Row,
    Section,
    Table,
    TwoTexts,
)
from bench.documents.fit_document import _tile, fit_document
from bench.documents.formatting import NOTHING, number
from bench.documents.gate_document import gate_document, objective_interval
from bench.documents.load_curves import build as load_charts
from bench.documents.run_document import run_document
from bench.documents.sweep_document import repeats_document
from bench.metrics.chosen_requests import ShownRequest
from bench.metrics.objectives import parse
from bench.metrics.page_data import PageData
from bench.records import Outcome
from bench.report import metric_table, text
from bench.results.certificate import CauseRow, NumberRow
from bench.results.comparison import ComparedNumber, ComparisonResult
from bench.results.gate import GateObjective, GateResult
from bench.results.profile import Profile, Replay
from bench.results.quality import QualityMeasure
from bench.results.summary import JudgedClass, RunSummary
from bench.results.sweep import NUMBERS, RepeatsContent, SweepContent
from tests.support.golden_run import golden_summary
from tests.support.made_records import made_record
from tests.support.made_summary import made_summary
from tests.support.rendered import typed_summary
from tests.support.results import filled
from tests.unit.bench.report.test_segments_table import SEGMENT


def blocks(document: Document) -> list[Block]:
    return [block for section in document.sections for block in section.blocks]


def shown(*made: Block, width: int = 100) -> str:
    return text.render(Document("t", (), (Section("s", made),)), Level.USUAL, width=width)


def compared(**fields: Any) -> ComparedNumber:
    return filled(ComparedNumber, {"name": "ttft:p90", "title": "TTFT p90", "ratio": True, "margin": 0.05, **fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"answer": "differs", "worse": True}, "worse"),
        ({"answer": "differs", "worse": False}, "better"),
        ({"answer": "differs", "worse": None}, "differs"),
        ({"answer": "same within the margin"}, "same"),
        ({"answer": "not shown", "spread_known": True, "p": 0.0499}, "at margin"),
        ({"answer": "not shown", "spread_known": True, "p": 0.05}, "not shown"),
        ({"answer": "not shown", "spread_known": True, "p": None}, "not shown"),
        ({"answer": "not shown", "spread_known": False, "p": 0.01}, "not shown"),
        ({"answer": "these two differ"}, "two differ"),
        ({"answer": None, "missing": "too few values"}, "too few"),
        ({"answer": None, "missing": None}, "–"),
    ],
)  # fmt: skip
def test_the_answer_of_a_number_is_a_word(fields: dict[str, Any], words: str) -> None:
    assert comparison.answer_text(compared(**fields)) == words


def comparison_of(*knowns: bool | None, versus: int = 1) -> ComparisonResult:
    rows = [compared(primary=True, spread_known=known, answer="not shown") for known in knowns]
    sides = [{"name": name, "path": name, "runs": [{"directory": name}]} for name in "ABC"[: versus + 1]]
    against = [{"a": "A", "b": name, "method": "pairs", "numbers": rows} for name in "BC"[:versus]]
    return filled(ComparisonResult, kind="runs", margin=0.05, sides=sides, versus=against)


@pytest.mark.parametrize(
    ("knowns", "two", "several"),
    [((False,), True, False), ((False, None), True, False), ((False, True), True, True), ((True,), False, True),
     ((None,), False, True)],
)  # fmt: skip
def test_a_comparison_explains_the_answers_that_it_can_have(
    knowns: tuple[bool | None, ...], two: bool, several: bool
) -> None:
    tables = (block for block in blocks(document_of(comparison_of(*knowns))) if isinstance(block, Table))
    notes = " ".join(note for table in tables for note in table.notes)
    assert ("two differ: " in notes, "at margin: " in notes, "worse, better, differs: " in notes) == (
        two,
        several,
        several,
    )


def test_a_comparison_names_its_sides_where_there_are_more_than_two_and_says_that_nothing_else_differs() -> None:
    for versus, titles in ((1, set[str]()), (2, {"B against A", "C against A"})):
        document = document_of(comparison_of(True, versus=versus))
        assert {section.title for section in document.sections} - {""} == titles
        (same,) = (block for block in blocks(document) if isinstance(block, Paragraph))
        assert same.text == "Configuration, versions, machine and server are the same."


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        ({"metric": "chunks", "size": -1234.0, "cause": "chunks are lost"}, "chunks are lost (-1,234 in all)"),
        ({"metric": "requests", "size": 1234.0, "cause": "confused"}, "confused (1,234 requests)"),
        ({"metric": "arrivals", "size": 0.5, "cause": "a slip"},
         "arrivals are up to +0.500 ms off the drawn plan; likely cause: a slip"),
        ({"metric": "requests_per_s", "size": -2.0, "cause": "c"}, "requests/s is -2.000 off; likely cause: c"),
        ({"metric": "ttft_ms", "stat": "p50", "unit": "ms", "size": 1.5, "cause": "c"},
         "TTFT is +1.500 ms off at median; likely cause: c"),
    ],
)  # fmt: skip
def test_a_cause_is_said_with_its_size(cause: dict[str, Any], sentence: str) -> None:
    assert cause_sentence(filled(CauseRow, cause)) == sentence


def sweep(name: str | None, load: float = 8.0, **knee: Any) -> SweepContent:
    number = {"value": 20.0, "low": 18.0, "high": 22.0}
    point = {"load": load, "status": "VALID", "usable": True, "runs": 1, "usable_runs": 1,
             "numbers": dict.fromkeys(NUMBERS, number)}  # fmt: skip
    config = {} if name is None else {"name": name}
    more = {"knee": knee} if knee else {}
    return filled(SweepContent, kind="concurrency", unit="users", config=config, points=[point], **more)


def test_sweeps_are_named_by_their_runs_by_their_place_or_by_a_number() -> None:
    names = sweep_document.names_of
    assert names([sweep("a"), sweep("b")], ["x", "y"]) == ["a", "b"]
    assert names([sweep("a"), sweep("a")], ["x", "y"]) == ["x", "y"]
    assert names([sweep("a"), sweep("a")], []) == ["a 1", "a 2"]
    assert names([sweep(None), sweep("")], []) == ["sweep 1", "sweep 2"]
    assert names([sweep(None)], ["x"]) == ["sweep"]


def test_ninety_percent_of_a_ceiling_is_reached_at_nine_times_the_load_of_its_half() -> None:
    """x / (x + h) is 0.9 if x is 9 h."""
    content = sweep("a", load=90.0, half_at=5.0, ceiling=100.0)
    assert content.knee is not None
    assert sweep_words.ninety_percent(content, content.knee) == "45"
    beyond = sweep("a", load=44.0, half_at=5.0, ceiling=100.0)
    assert sweep_words.ninety_percent(beyond, content.knee) == f"{sweep_words.BEYOND} 44"


def test_the_interval_of_one_sweep_is_drawn_dashed_and_without_a_legend_and_of_two_stays_hidden() -> None:
    for sweeps, hidden in (([sweep("a")], False), ([sweep("a"), sweep("b")], True)):
        chart = next(chart for chart in load_charts(sweeps, ["a", "b"]) if chart.key == "throughput")
        edges = [line for line in chart.panels[0].lines if "95%" in line.name]
        assert [line.name.rpartition(" ")[2] for line in edges] == ["low", "high"] * len(sweeps)
        assert [list(line.values) for line in edges[:2]] == [[18.0], [22.0]]
        assert {(line.dashed, line.hidden, line.in_legend, line.over_gaps) for line in edges} == {
            (True, hidden, False, True)
        }


def test_a_gate_that_shows_nothing_says_which_change_it_would_find_and_in_which_direction() -> None:
    rows = [
        {"name": name, "title": name, "verdict": "not shown", "ratio": True, "higher_is_worse": worse, "change": 0.0,
         "low": -0.1, "high": 0.1, "seen_from": 0.125, "margin": 0.05}
        for name, worse in (("TTFT p90", True), ("Requests/s", False))
    ]  # fmt: skip
    found = blocks(gate_document(filled(GateResult, metrics=rows, counts={"failed": 0, "held": 0, "not shown": 2})))
    assert [finding.text for block in found if isinstance(block, Findings) for finding in block.sentences] == [
        "TTFT p90: not shown; these runs find a change of +12.5% or more in four gates of five",
        "Requests/s: not shown; these runs find a change of -12.5% or more in four gates of five",
    ]


def test_the_residuals_of_a_fit_name_the_decodes_of_a_step() -> None:
    sizes = [(1, 1), (1, 2), (4, 7)]
    residuals = [{"least_decodes": least, "most_decodes": most, "rows": 5} for least, most in sizes]
    profile = filled(Profile, engine="batching", fit={"residuals": residuals}, limits={}, coefficients={}, decode=[])
    (table,) = (b for b in blocks(fit_document(profile)) if isinstance(b, Table) and b.title == "Measured less fitted")
    assert [row.cells[0].text for row in table.rows] == ["1", "1-2", "4-7"]


def test_two_texts_show_where_they_begin_to_differ() -> None:
    common = "x" * 50
    short, long = common + "a" * 160, common + "b" * 161
    lines = shown(TwoTexts("two", ("one", "other"), (short, long), 50), width=1000)
    said = " ".join(lines.split())
    assert f"one: …{'x' * 40}»{'a' * 160}«" in said.replace(" ", "").replace("one:", "one: ")
    assert f"other:…{'x' * 40}»{'b' * 160}…" in said.replace(" ", "")
    whole = " ".join(shown(TwoTexts("two", ("one", "other"), ("same", "same"), None), width=100).split())
    assert whole.endswith("one: same other: same")
    assert "»" not in whole


def test_a_line_below_the_cells_is_left_out_unless_a_number_has_it() -> None:
    def table(*below: tuple[str, ...]) -> Table:
        cells = (Cell("TTFT", below=("not a number's",)), *(Cell("7", below=of) for of in below))
        return Table("t", (Column("m"), *(Column("n") for _ in below)), (Row(*cells),), ("average",), beside=True)

    assert "average" in shown(table(("5",)))
    assert "average" not in shown(table(()))


def test_the_table_for_other_tools_has_the_share_of_the_cache_and_the_errors_of_each_part_where_they_are_known() -> (
    None
):
    said: dict[str, Any] = {"server_queue_ms": 1.0, "server_prefill_ms": 2.0, "draft_tokens": 4, "accepted_tokens": 3}
    rows = {
        cached: {row["metric"]: row for row in metric_table.rows(typed_summary(made_summary([record])))}
        for cached, record in (
            (None, made_record(**said)),
            (0, made_record(input_tokens=0, cached_tokens=0, **said)),
            (5, made_record(input_tokens=20, cached_tokens=5, **said)),
        )
    }
    assert "cached_share" not in rows[None]
    assert "cached_share" not in rows[0], "0 of 0 is no share"
    assert rows[5]["cached_share"]["mean"] == 0.25
    assert (rows[5]["draft_acceptance"]["mean"], "tokens_per_step" in rows[5]) == (0.75, False)
    steps = metric_table.rows(typed_summary(made_summary([made_record(**said, draft_steps=2, n=5)])))
    assert {row["metric"]: (row["mean"], row["values"]) for row in steps if "values" in row}["tokens_per_step"] == (
        2.5,
        1,
    )
    assert "draft_acceptance" not in {
        row["metric"] for row in metric_table.rows(typed_summary(made_summary([made_record()])))
    }
    several = [
        made_record(0, model="a"), made_record(1, model="a", outcome=Outcome.RESET), made_record(2, model="b"),
        made_record(3, model="b"), made_record(4, model="b", outcome=Outcome.RESET),
    ]  # fmt: skip
    table = metric_table.rows(typed_summary(made_summary(several, models=("a", "b"))))
    found = {
        row["metric"]: (row["values"], row["mean"]) for row in table if str(row["metric"]).startswith("error_rate")
    }
    assert found == {
        "error_rate": (5, 0.4), "error_rate{model=a}": (2, 0.5), "error_rate{model=b}": (3, pytest.approx(1 / 3))
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "words"), [(0.01, "0.010"), (0.0099, "0.0099"), (-0.01, "-0.010"), (0.00999996, "0.010")]
)
def test_a_hundredth_has_three_decimals_and_less_two_digits(value: float, words: str) -> None:
    assert number(value) == words


def test_the_interval_of_an_objective_has_its_unit() -> None:
    share = filled(GateObjective, unit="share", value=0.02, low=0.01, high=0.035)
    ms = filled(GateObjective, unit="ms", value=7.0, low=6.5, high=8.0)
    assert (objective_interval(share), objective_interval(ms)) == ("[1%, 3.50%]", "[6.500, 8] ms")
    assert objective_interval(filled(GateObjective, unit="ms")) == ""


def test_repeats_show_the_spread_between_runs_where_it_is_known() -> None:
    numbers = {
        "requests_per_s": {"value": 20.0, "low": 18.0, "high": 22.0, "sd": 0.05},
        "error_rate": {"value": 0.01, "low": 0.0, "high": 0.02, "sd": 0.005},
        "ttft:p50": {"value": 50.0},
        "ttft:p90": {"value": None},
    }
    (table,) = (b for b in blocks(repeats_document(filled(RepeatsContent, numbers=numbers))) if isinstance(b, Table))
    rows = [[cell.text for cell in row.cells][1:] for row in table.rows]
    assert sorted(rows) == sorted(
        [["20", "5.00%", "18–22"], ["1%", "0.50% of all", "0%–2%"], ["50", "–", "–"]]
    )  # fmt: skip


def test_the_points_of_a_sweep_with_a_knee_stand_beside_its_curve_and_others_are_joined() -> None:
    def styles(*sweeps: SweepContent) -> set[tuple[str, str]]:
        charts = {chart.key: chart for chart in load_charts(sweeps, ["a", "b"])}
        return {(key, charts[key].panels[0].lines[0].style) for key in charts if key in ("throughput", "ttft")}

    fitted = sweep("a", half_at=5.0, ceiling=100.0)
    assert ("throughput", "points") in styles(fitted)
    assert ("throughput", "line") in styles(sweep("a"))
    assert ("throughput", "line") in styles(fitted, sweep("b"))
    assert ("throughput", "points") not in styles(fitted, sweep("b"))
    others = {
        chart.key: chart.panels[0].lines[0].style for chart in load_charts([fitted], ["a"]) if chart.key != "throughput"
    }
    assert set(others.values()) == {"line"}


def test_the_times_of_a_sampled_profile_are_read_at_their_shares() -> None:
    times = {"ttft_ms": list(range(101)), "gap_ms": [10.0 * k for k in range(11)], "load": [(2.0, 1.0, 1.5)]}
    profile = filled(Profile, engine="sampled", sampled_times=times, seen={"requests_by_load": [7], "gaps": 3})
    first, *_ = (block for block in blocks(fit_document(profile)) if isinstance(block, Table))
    assert [[cell.text for cell in row.cells] for row in first.rows] == [
        ["TTFT without its prompt, ms", "10", "50", "90", "99"],
        ["Gap between tokens, ms", "10", "50", "90", "100"],
    ]


def test_objectives_that_are_missed_stand_in_the_shortest_form_and_held_ones_do_not() -> None:
    records = [made_record(i, sent_ms=90.0 * i, chunks_ms=(50.0, 70.0)) for i in range(30)]
    levels = {
        limit: {
            block.level
            for block in blocks(
                run_document(typed_summary(made_summary(records, objectives=parse([f"ttft:p50<{limit}"]))))
            )
            if isinstance(block, Table) and block.title == "Objectives"
        }
        for limit in ("10ms", "500ms")
    }
    assert min(levels["10ms"]) is Level.BRIEF
    assert min(levels["500ms"]) is Level.FIRST


def test_a_run_of_segments_has_their_table() -> None:
    summary = golden_summary()
    assert "Segment by segment" not in {
        b.title for b in blocks(run_document(typed_summary(summary))) if isinstance(b, Table)
    }
    summary["segments"] = [SEGMENT]
    (table,) = (
        block for block in blocks(run_document(typed_summary(summary)))
        if isinstance(block, Table) and block.title == "Segment by segment"
    )  # fmt: skip
    assert [(cell.text, cell.tone) for cell in (table.rows[0].cells[0], table.rows[0].cells[-1])] == [
        ("5–10", ""),
        ("1", "bad"),
    ]


def test_a_step_of_the_load_is_marked_where_it_begins_and_a_ramp_is_not() -> None:
    steps = [(0.0, 5.0, 5.0), (4.0, 10.0, 10.0), (8.0, 10.0, 20.0)]
    summary = golden_summary() | {
        "segments": [SEGMENT | {"start_s": at, "first": first, "last": last} for at, first, last in steps]
    }
    unit = {"rate": "requests/s"}.get(summary["load"]["mode"], "users")
    assert time_charts.marks(typed_summary(summary)) == ((4.0, f"10 {unit} from 4.0 s on"),)


def test_the_scheduling_priority_is_told_where_there_is_one() -> None:
    def facts(priority: Any) -> list[str]:
        summary = golden_summary()
        summary["run"]["priority"] = priority
        return [fact.value for fact in details.client(typed_summary(summary)) if fact.name == "Scheduling priority"]

    assert (facts("real-time"), facts(None)) == (["real-time"], [])


@pytest.mark.parametrize(
    ("tokens", "heads"),
    [
        (True, ["Sent", "E2EL ms", "TTFT ms", "TPOT ms", "Prompt tokens", "Output tokens"]),
        (False, ["Sent", "E2EL ms", "Inputs", "Input tokens"]),
        (None, ["Sent", "E2EL ms"]),
    ],
)
def test_a_slow_request_shows_what_is_counted(tokens: bool | None, heads: list[str]) -> None:
    page = filled(PageData, requests={"slowest": [filled(ShownRequest)]})
    (row,) = request_tables.slowest(page, tokens=tokens)
    assert [head for head, _ in row.cells] == heads


@pytest.mark.parametrize(
    ("title", "fall", "interval", "words"),
    [
        ("right answers", 0.2, (0.1, 0.3), "right answers fall by 20 points (10 to 30)"),
        ("right answers", -0.2, (-0.3, -0.1), "right answers rise by 20 points (10 to 30)"),
        ("valid JSON", 0.0, (-0.01, 0.01), "valid JSON falls by 0 points (-1 to 1)"),
    ],
)
def test_answers_fall_or_rise_by_points(title: str, fall: float, interval: tuple[float, float], words: str) -> None:
    assert quality_document._by_how_much(filled(QualityMeasure, title=title, fall=fall, interval=interval)) == words


def test_a_held_out_number_without_a_difference_has_none_in_its_tile() -> None:
    row = {"number": "ttft_ms", "quantile": "p50", "measured": 50.0, "replayed": 51.0}
    for numbers, value in (([row | {"off": 0.02}], "+2.0%"), ([row | {"off": None}], NOTHING), ([], NOTHING)):
        assert _tile(filled(Replay, name="r", numbers=numbers), "ttft_ms").value == value


def test_errors_are_the_same_if_each_statistic_is() -> None:
    row, other = (filled(NumberRow, measured=measured, true=5.0) for measured in (6.0, 7.0))
    same = certificate_document._same
    assert same({"p50": row}, {"p50": row, "p99": other})
    assert [same({"p50": row}, of) for of in ({"p50": other}, {"p99": row}, None)] == [False, False, False]


@pytest.mark.parametrize(
    ("addresses", "words"), [(["u"], "u"), (["u", "v"], "u and 1 more"), (["u", "v", "w"], "u and 2 more")]
)
def test_a_run_against_several_addresses_names_the_first(addresses: list[str], words: str) -> None:
    summary = golden_summary()
    summary["run"] |= {"url": "u", "started": ""}
    summary["run"]["config"]["targets"] = addresses
    assert run_document(typed_summary(summary)).about == words


def test_each_of_several_sweeps_has_its_table_of_loads() -> None:
    def titles(*names: str) -> list[str]:
        found = blocks(sweep_document.sweep_document([sweep(name) for name in names]))
        return [b.title for b in found if isinstance(b, Table) and b.title.startswith("Every load")]

    assert (titles("a"), titles("a", "b")) == (["Every load"], ["Every load of a", "Every load of b"])


def test_the_command_of_a_sweep_can_be_copied_into_a_shell() -> None:
    words = ["python", "-m", "bench", "sweep", "--slo", "ttft:p99<500ms", "--name", "a b"]
    of_a = replace(sweep("a"), command=words)
    found = blocks(sweep_document.sweep_document([of_a, sweep("b")]))
    assert [(shlex.split(code.text), "<500ms'" in code.text) for code in found if isinstance(code, Code)] == [
        (words, True)
    ]


def test_the_verdict_on_an_objective_is_text_and_stands_to_the_left() -> None:
    row = {"name": "ttft:p90<1s", "unit": "ms", "value": 7.0, "verdict": "held"}
    counts = {"failed": 0, "held": 1, "not shown": 0}
    found = blocks(gate_document(filled(GateResult, objectives=[row], counts=counts)))
    (table,) = (block for block in found if isinstance(block, Table) and block.title == "Objectives")
    assert [column.left for column in table.columns] == [False, False, False, True]


@pytest.mark.parametrize(("reasons", "words"), [(["a", "b", "c"], [": b; c."]), ([], ["."]), (["a"], [])])
def test_a_class_names_the_reasons_that_the_run_does_not_have(reasons: list[str], words: list[str]) -> None:
    part = filled(JudgedClass, name="chat", verdict={"status": "SUSPECT", "reasons": reasons})
    notes = parts_table._notes(part, filled(RunSummary, verdict={"status": "SUSPECT", "reasons": ["a"]}))
    assert list(notes) == [f"Class chat is SUSPECT{word}" for word in words]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"decision": "not shown", "probes_to_show": 400}, "about 400"),
        ({"decision": "not shown", "probes_to_show": None}, "over 10,000,000"),
        ({"decision": "not shown", "probes_to_show": 400, "blamed_on_time": True}, ""),
        ({"decision": "changed", "probes_to_show": 400}, ""),
    ],
)
def test_more_probes_are_named_where_they_would_show_something(fields: dict[str, Any], words: str) -> None:
    assert quality_document._to_show(filled(QualityMeasure, **fields)) == words


@pytest.mark.parametrize(
    ("since_s", "words"),
    [(None, "it never answered, then 3 requests lost"), (2.0, "last answer at 2.0 s, then 3 requests lost")],
)
def test_a_target_that_is_gone_has_its_last_answer_if_it_gave_one(since_s: float | None, words: str) -> None:
    summary = golden_summary()
    summary["counts"]["target_gone"] = {"since_s": since_s, "requests": 3}
    assert [f.value for f in details.counts(typed_summary(summary)) if f.name == "Target gone"] == [words]
