"""The page of answers under load, from results made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents.document import Document, Findings, Level, Table, TwoTexts
from bench.documents.formatting import NOTHING
from bench.documents.quality_document import quality_document
from bench.results.quality import QualityContent
from tests.support.results import filled

RIGHT = {"title": "right answers", "is_fault": True, "decision": "not shown", "fall": 0.01, "interval": (-0.02, 0.06),
         "alone": {"answers": 100, "bad": 2, "share": 0.98}, "loaded": {"answers": 50, "bad": 0, "share": 1.0}}  # fmt: skip
SAME = {**RIGHT, "title": "same text", "is_fault": False, "decision": "within the margin"}
FELL = {**RIGHT, "decision": "changed", "fall": 0.1, "interval": (0.05, 0.155)}
ROSE = {**RIGHT, "title": "valid JSON", "decision": "changed", "fall": -0.1, "interval": (-0.15, -0.05)}
OTHER = {**SAME, "decision": "changed", "fall": 0.1, "interval": (0.05, 0.15)}
NO_WORD = {"cross_talk": None}
VALID = {"phase": "loaded", "name": "loaded", "status": "VALID"}


def content(*measures: dict[str, Any], **values: Any) -> QualityContent:
    usual = {"cross_talk": {"answers": 50}, "margin": 0.01, "alpha": 0.05, "measures": measures, "runs": [VALID] * 3}
    return filled(QualityContent, {**usual, **values})


def sentences(document: Document) -> list[tuple[str, str]]:
    found = [block for block in document.sections[0].blocks if isinstance(block, Findings)]
    assert all(block.level is Level.FIRST and block.sentences for block in found)
    return [(sentence.text, sentence.tone) for block in found for sentence in block.sentences]


def tables(document: Document) -> dict[str, Table]:
    return {block.title: block for block in document.sections[0].blocks if isinstance(block, Table)}


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in table.rows]


FEW = ". To be sure of 1 point takes more probes"
FALL = "right answers fall by 10 points (5 to 15.5)"


@pytest.mark.parametrize(
    ("measures", "values", "answer"),
    [
        ((), {"runs": [{"phase": "alone"}]}, ("Not over", ": 1 run of 3 made", "warn")),
        ((), {"runs": []}, ("Not over", ": 0 runs of 3 made", "warn")),
        ((), {}, ("No answer", ": no probe was answered both alone and under load", "bad")),
        (({**RIGHT, "decision": "within the margin"}, FELL), {"runs": [VALID, {**VALID, "name": "loaded", "status": "FAILED",
                                                                             "reasons": ["all failed", "b"]}, VALID]},
         ("No answer", ": the run loaded is FAILED: all failed", "bad")),
        ((), {"runs": [{**VALID, "name": "alone", "status": "INVALID", "reasons": []}, VALID, VALID]},
         ("No answer", ": the run alone is INVALID: no reason", "bad")),
        ((), {"cross_talk": {"found_alone": 1}},
         ("Cross-talk: 1 answer with another request's code word", ", and one is proof", "bad")),
        ((FELL, OTHER), {"cross_talk": {"found": 2, "found_alone": 1}},
         ("Cross-talk: 3 answers with another request's code word",
          f", and one is proof. Load changes the answers too: {FALL}", "bad")),
        ((ROSE,), {"cross_talk": {"found": 1}},
         ("Cross-talk: 1 answer with another request's code word", ", and one is proof", "bad")),
        ((FELL, {**FELL, "title": "valid JSON"}, ROSE, OTHER), NO_WORD,
         ("Load changes the answers", f": {FALL}; valid JSON falls by 10 points (5 to 15.5)", "bad")),
        ((ROSE, OTHER), {},
         ("Load changes the answers, but no fault is shown to be more frequent",
          ": valid JSON rises by 10 points (5 to 15); same text falls by 10 points (5 to 15)", "warn")),
        # As many probes got better as got worse: a change, and no fault.
        (({**FELL, "fall": 0.0, "interval": (-0.05, 0.05)},), {},
         ("Load changes the answers, but no fault is shown to be more frequent",
          ": right answers fall by 0 points (-5 to 5)", "warn")),
        (({**FELL, "fall": 0.01, "interval": (-0.012, 0.054)},), {},
         ("Load changes the answers", ": right answers fall by 1 point (-1.2 to 5.4)", "bad")),
        (({**RIGHT, "blamed_on_time": True}, SAME, {**SAME, "title": "ends", "blamed_on_time": True}), {},
         ("The answers changed over time", ", also without load (right answers, ends): load is not blamed", "warn")),
        (({**RIGHT, "alone": {"answers": 9, "bad": 9}},), {},
         ("Nothing can be shown of right answers",
          ": no probe is answered rightly even without load. Choose probes that this model can answer", "warn")),
        (({**RIGHT, "decision": "within the margin"}, OTHER | {"decision": "not shown"}), {},
         ("The answers hold", ": load changes them by no more than 1 point", "good")),
        (({**RIGHT, "decision": "within the margin"},), {"margin": 0.015},
         ("The answers hold", ": load changes them by no more than 1.5 points", "good")),
        ((RIGHT, SAME), {},
         ("No change is shown", f": right answers fall by no more than 6 points (95%){FEW}", "warn")),
        (({**RIGHT, "interval": (-0.3, -0.1)},), {},
         ("No change is shown", f": right answers fall by no more than 0 points (95%){FEW}", "warn")),
        (({**RIGHT, "decision": "within the margin", "interval": (0.0, 0.01)}, {**RIGHT, "title": "valid JSON"}), {},
         ("No change is shown", ": right answers fall by no more than 1 point (95%)", "good")),
    ],
)  # fmt: skip
def test_the_answer_is_a_sentence(
    measures: tuple[dict[str, Any], ...], values: dict[str, Any], answer: tuple[str, str, str]
) -> None:
    (banner,) = quality_document(content(*measures, **values)).banners
    assert (banner.status, banner.rest, banner.tone) == answer


def test_a_phase_that_only_a_later_version_knows_has_its_own_name() -> None:
    made = content(
        runs=[{**VALID, "phase": "warm", "name": "warm"}], cross_talk={"answers": 1, "first": [{"phase": "warm"}]}
    )
    found = tables(quality_document(made))
    assert texts(found["The three runs"])[0][0] == texts(found["Answers with another request's code"])[0][1] == "warm"


LOADED = {**RIGHT, "loaded": {"answers": 50, "bad": 1}, "probes_to_show": 4_000}
SHOWN = "right answers: 1 bad answer of 50 under load and 2 of 100 alone"


@pytest.mark.parametrize(
    ("measures", "values", "said"),
    [
        ((), NO_WORD, []),
        ((SAME,), NO_WORD,
         [("Cross-talk was not looked for: no probe has a code word. Add --probes canary=100", "")]),
        ((RIGHT,), {}, []),
        ((), {"cross_talk": {"answers": 1_234, "excluded": 0.0025}},
         [("No cross-talk in 1,234 answers under load: a rate of 0.25% or more is excluded (95%)", "")]),
        ((LOADED,), {}, [(f"{SHOWN} show nothing: chance does that too. It would take about 4,000 probes", "warn")]),
        (({**LOADED, "p_corrected": 0.0501},), {},
         [(f"{SHOWN} show nothing: chance does that too. It would take about 4,000 probes", "warn")]),
        (({**LOADED, "p_corrected": 0.05, "probes_to_show": None},), {},
         [(f"{SHOWN} are a hint, and show nothing yet (p 0.050). It would take over 10,000,000 probes", "warn")]),
        (({**LOADED, "loaded": {"answers": 50, "bad": 2}, "p_corrected": 0.0009},), {},
         [("right answers: 2 bad answers of 50 under load and 2 of 100 alone are a hint, and show nothing yet (p < 0.001). "
           "It would take about 4,000 probes", "warn")]),
        (({**LOADED, "decision": "changed"}, {**LOADED, "is_fault": False}), {}, []),
        (({**LOADED, "alone": {"answers": 9, "bad": 9}},), {},
         [("right answers: none even without load, so load can take nothing: choose probes that this model can answer",
           "warn")]),
        (({**LOADED, "decision": "changed", "blamed_on_time": True},), {},
         [("right answers: answers without load changed as well, and those under load do not lie beyond both the "
           "earlier and the later ones. The server changed over time, so this is not blamed on load", "warn")]),
        ((), {"difference": {"answers": 50, "differing": 0}}, []),
        ((), {"difference": {"answers": 50, "differing": 3, "least": 4, "median": 17.5}},
         [("3 of 50 answers under load differ from the first answer alone, at character 17.50 in the median and 4 at the "
           "earliest", "")]),
        *(((), {"drift": {"tokens": 1_200, "median": 0.01, "most": 0.25, **alone}},
           [("Log probabilities move by 0.010 in the median and 0.250 at most under load, over 1,200 tokens before the first "
             f"that differs{more}", "")])
          for alone, more in (({}, ""), ({"alone_median": 0.0, "alone_most": 0.125}, ", alone 0 and 0.125"))),
        *(((), {"length": {"longer": longer, "shorter": 5, "loaded": 50.0, "alone": 40.0, "p_corrected": p}}, words)
          for longer, p, words in (
              (6, 0.049, [("Answers are longer under load: 50 characters in the mean, 40 alone", "warn")]),
              (4, 0.049, [("Answers are shorter under load: 50 characters in the mean, 40 alone", "warn")]),
              (6, 0.05, []))),
        ((), {"notes": ["a note", "another"], "ended": "interrupted"},
         [("a note", "warn"), ("another", "warn"), ("The series ended early: interrupted", "warn")]),
    ],
)  # fmt: skip
def test_what_a_reader_must_know_besides_the_numbers(
    measures: tuple[dict[str, Any], ...], values: dict[str, Any], said: list[tuple[str, str]]
) -> None:
    assert sentences(quality_document(content(*measures, **values))) == said


def test_each_measure_is_a_row_with_its_decision() -> None:
    rows = (
        {**FELL, "p_corrected": 0.0004}, {**ROSE, "p_corrected": 0.001}, {**OTHER, "p_corrected": 0.0421},
        {**SAME, "fall": -0.0004}, {**RIGHT, "probes_to_show": 1_200},
        {**RIGHT, "blamed_on_time": True, "probes_to_show": 1_200}, {**FELL, "fall": 0.0, "interval": (-0.05, 0.05)},
    )  # fmt: skip
    table = tables(quality_document(content(*rows)))["Alone against under load"]
    assert texts(table) == [
        ["right answers", "98%", "100%", "10", "5 to 15.5", "< 0.001", "changed", ""],
        ["valid JSON", "98%", "100%", "-10", "-15 to -5", "0.001", "changed", ""],
        ["same text", "98%", "100%", "10", "5 to 15", "0.042", "changed", ""],
        ["same text", "98%", "100%", "0", "-2 to 6", NOTHING, "within the margin", ""],
        ["right answers", "98%", "100%", "1", "-2 to 6", NOTHING, "not shown", "about 1,200"],
        ["right answers", "98%", "100%", "1", "-2 to 6", NOTHING, "not load: time", ""],
        ["right answers", "98%", "100%", "0", "-5 to 5", NOTHING, "changed", ""],
    ]
    assert [row.cells[6].tone for row in table.rows] == ["bad", "warn", "warn", "good", "quiet", "warn", "warn"]
    assert [row.cells[0].hint for row in table.rows[1:3]] == ["", "compared with the first answer alone"]
    assert (table.rows[0].cells[1].below, table.rows[0].cells[2].below) == (("2 of 100 bad",), ("0 of 50 bad",))
    assert table.notes == (
        "p is corrected for all measures (Holm); below 5% load changes the answers. Within the margin: the whole interval is "
        "inside ±1 point.",
    )


def test_the_runs_kinds_and_code_words_of_others_are_tables() -> None:
    first = [
        {"phase": "loaded", "request": f"r{k}", "probe": "p" if k else None, "code": "K7", "owner": "q",
         "answer": "x" * (78 + k)}
        for k in range(7)
    ]  # fmt: skip
    document = quality_document(
        content(
            cross_talk={"found": 7, "first": first},
            kinds=[{"kind": "canary", "probes": 1_200, "alone": 0.5, "loaded": None, "loaded_answers": 3_600}],
            runs=[{"phase": phase, "name": f"n{phase}", "status": "VALID", "answers": 1_000, "failed": 2_000}
                  for phase in ("alone", "loaded", "back")],
            config={"url": "http://h"}, probes=5, date="today",
        )
    )  # fmt: skip
    found = tables(document)
    assert texts(found["Answers with another request's code"]) == [
        [f"r{k}", "Under load", "p" if k else NOTHING, "K7", "q", "x" * (78 + k) if k < 3 else "x" * 79 + "…"]
        for k in range(5)
    ]  # fmt: skip
    assert texts(found["By kind of probe"]) == [["canary", "1,200", "50%", NOTHING, "3,600"]]
    assert texts(found["The three runs"]) == [
        [name, "VALID", "1,000", "2,000"] for name in ("Alone", "Under load", "Back alone")
    ]
    assert [row.cells[0].href for row in found["The three runs"].rows[:2]] == [
        "nalone/report.html",
        "nloaded/report.html",
    ]
    assert (document.subtitle, document.about, len(document.sections)) == ("http://h · 5 probes", "today", 1)
    assert list(tables(quality_document(content()))) == ["The three runs"]


def test_two_answers_to_a_probe_say_what_is_wrong_with_the_second() -> None:
    examples = [
        {"probe": "p1", "question": "2 + 2?", "wanted": "4", "alone": "4", "loaded": "5", "at": 0,
         "bad": ["right", "none such"]},
        {"probe": "p2", "question": "Why?", "alone": "so", "loaded": "so.", "at": 2},
    ]  # fmt: skip
    section = quality_document(content(examples=examples)).sections[1]
    assert (section.title, section.level) == ("Answers side by side", Level.USUAL)
    assert [(b.title, b.texts, b.at, b.notes) for b in section.blocks if isinstance(b, TwoTexts)] == [
        ("p1 (under load wrong, none such)", ("4", "5"), 0, ("question: 2 + 2?", "right answer: 4")),
        ("p2 (another text)", ("so", "so."), 2, ("question: Why?",)),
    ]
