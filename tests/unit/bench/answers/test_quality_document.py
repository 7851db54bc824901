"""The page of `quality`: the answer in a sentence, the table, answers side by side, and untrusted texts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from bench.answers.compared import ThreePhases, compare
from bench.answers.cross_talk import cross_talk
from bench.answers.examples import examples
from bench.documents.document import Level
from bench.documents.quality_document import answer_line, quality_document
from bench.report import html, markdown, text
from bench.results.base import rounded
from bench.results.quality import SCHEMA, QualityContent, QualityLength, QualityRun
from promptset.probes import Probe, make_probes, parse_probes
from tests.support.made_answers import Change, answered
from tests.support.results import filled


def content_of(probes: Sequence[Probe], change: Change | None, back: Change | None = None) -> QualityContent:
    """The content of a series whose loaded answers are changed."""
    phases = {"alone": answered(probes, 2), "loaded": answered(probes, 1, change), "back": answered(probes, 1, back)}
    answers = ThreePhases(probes, *phases.values())
    compared = compare(answers)
    runs = [
        QualityRun(name=name, phase=name, status="VALID", reasons=(), answers=kept.probes, failed=0)
        for name, kept in phases.items()
    ]
    return rounded(
        QualityContent(
            schema=SCHEMA,
            date="2026-11-29T12:00:00+00:00",
            version="1",
            host={},
            command=["python", "-m", "bench", "quality", "--url", "http://h"],
            config={"url": "http://h"},
            ended=None,
            exit=0,
            strict=False,
            margin=0.01,
            alpha=0.01,
            probes=len(probes),
            asked_alone=2,
            runs=runs,
            measures=compared.measures,
            kinds=compared.kinds,
            difference=compared.difference,
            length=compared.length,
            cross_talk=cross_talk(probes, phases),
            examples=examples(answers),
            notes=(),
        )
    )


def _set(spec: str) -> list[Probe]:
    return make_probes(parse_probes(spec), seed=7)


SOME = _set("canary=60")
MANY = _set("canary=400")


def _every(step: int, said: str) -> Change:
    return lambda probe, _: said if int(probe.probe_id.partition("-")[2]) % step == 0 else ""


@pytest.mark.parametrize(
    ("probes", "change", "back", "head", "rest"),
    [
        (SOME, None, None, "No change is shown", ": right answers fall by no more than 6 points (95%). To be sure of 1"),
        (MANY, None, None, "The answers hold", ": load changes them by no more than 1 point"),
        (SOME, _every(3, "no"), None, "Load changes the answers", ": right answers fall by 33.3 points (21."),
        (SOME, lambda p, _: f"{p.answer}.", None, "Load changes the answers, but no fault is shown to be more frequent",
         ": same text"),
        (SOME, _every(30, SOME[5].answer), None, "Cross-talk: 2 answers with another request's code word", ", and one"),
        (SOME, _every(1, "no"), _every(1, "no"), "The answers changed over time", ", also without load (right answers, same"),
    ],
)  # fmt: skip
def test_the_answer_is_a_sentence(
    probes: list[Probe], change: Change | None, back: Change | None, head: str, rest: str
) -> None:
    said, more, _ = answer_line(content_of(probes, change, back))
    assert said == head
    assert more.startswith(rest)


def test_an_answer_that_too_few_probes_gave_is_not_drawn_as_good() -> None:
    assert [answer_line(content_of(probes, None, None))[2] for probes in (SOME, MANY)] == ["warn", "good"]


def test_one_bad_answer_is_told_to_show_nothing() -> None:
    shown = text.render(quality_document(content_of(_set("canary=20"), _every(20, "no"))), Level.FIRST, width=120)
    assert "right answers: 1 bad answer of 20 under load and 0 of 60 alone show nothing: chance does that too" in shown


def test_a_hint_is_called_one_and_shows_nothing_yet() -> None:
    shown = text.render(quality_document(content_of(_set("canary=60"), _every(15, "no"))), Level.FIRST, width=120)
    assert (
        "right answers: 4 bad answers of 60 under load and 0 of 180 alone are a hint, and show nothing yet (p 0.0"
        in shown
    )


@pytest.mark.parametrize(
    ("p", "longer", "said"),
    [
        (0.009, 7, "Answers are longer under load: 50 characters in the mean, 40 alone"),
        (0.009, 3, "Answers are shorter under load: 50 characters in the mean, 40 alone"),
        (0.01, 7, None),
    ],
)
def test_a_change_of_length_is_told_where_chance_is_below_the_level(p: float, longer: int, said: str | None) -> None:
    length = filled(QualityLength, p_corrected=p, longer=longer, shorter=5, loaded=50.0, alone=40.0)
    document = quality_document(replace(content_of(SOME, None), length=length))
    shown = " ".join(text.render(document, Level.FIRST, width=120).split())
    assert ("Answers are" in shown) is (said is not None)
    assert said is None or said in shown


def test_probes_without_code_words_are_told_not_to_see_cross_talk() -> None:
    shown = text.render(quality_document(content_of(_set("arithmetic=10"), None)), Level.FIRST, width=120)
    assert "Cross-talk was not looked for: no probe has a code word" in shown


def test_answers_without_a_text_are_told_not_to_show_cross_talk() -> None:
    shown = text.render(quality_document(content_of(SOME, _every(1, " "))), Level.FIRST, width=120)
    assert "Cross-talk could not be seen: no answer under load has a text" in shown
    assert "is excluded" not in shown


def test_a_change_over_time_is_not_blamed_on_load() -> None:
    wrong = _every(1, "no")
    shown = text.render(quality_document(content_of(SOME, wrong, wrong)), Level.FIRST, width=120)
    assert "not load: time" in shown
    assert "The server changed over time, so this is not blamed on load" in " ".join(shown.split())


def test_probes_that_the_model_cannot_answer_are_told() -> None:
    wrong = _every(1, "no")
    answers = ThreePhases(SOME, answered(SOME, 2, wrong), answered(SOME, 1, wrong), answered(SOME, 1, wrong))
    content = content_of(SOME, None)
    content = QualityContent(
        **{name: getattr(content, name) for name in content.__struct_fields__} | {"measures": compare(answers).measures}
    )
    shown = " ".join(text.render(quality_document(content), Level.FIRST, width=120).split())
    assert "right answers: none even without load, so load can take nothing" in shown
    assert "answers 180 of 180 bad 60 of 60 bad" in shown
    assert answer_line(content)[0] == "Nothing can be shown of right answers"


def test_answers_stand_side_by_side_with_the_difference_marked() -> None:
    document = quality_document(content_of(SOME, _every(20, f"{SOME[0].answer[:4]}<b>|`x`")))
    page = html.render(document)
    same, rest = SOME[0].answer[:4], SOME[0].answer[4:]
    assert f"{same}<mark>{rest}</mark>" in page
    assert f"{same}<mark>&lt;b&gt;|`x`</mark>" in page
    assert "<b>|" not in page
    written = markdown.render(document)
    assert f"- Alone: {same}»{rest}«" in written
    assert f"- Under load: {same}»&lt;b>\\|\\`x\\`«" in written
    shown = text.render(document, Level.USUAL)
    assert f"Alone: {same}»{rest}«" in shown
    assert "canary-0 (under load wrong)" in shown


def test_texts_from_outside_do_not_steer_a_terminal() -> None:
    shown = text.render(quality_document(content_of(SOME, _every(20, "\x1b[31mred [bold]x"))), Level.USUAL)
    assert "\x1b" not in shown
    assert "[bold]x" in shown


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_first_screen_fits_its_width(width: int) -> None:
    content = content_of(_set("60"), _every(5, SOME[1].answer))
    assert max(map(len, text.render(quality_document(content), Level.FIRST, width=width).splitlines())) <= width
