"""A report's sentences are the same on the terminal, on the page and in Markdown."""

from __future__ import annotations

import html as markup
import re
from typing import Any

import pytest

from bench.documents.document import Banner
from bench.metrics.objectives import parse
from bench.records import Outcome
from tests.support.made_records import made_record
from tests.support.made_summary import made_summary
from tests.support.rendered import run_markdown, run_page, run_text


def _forms(summary: Any) -> dict[str, str]:
    """Each form as plain words: without tags, tables and escapes."""
    page = re.sub(r"<(style|script)>.*?</\1>", "", run_page(summary), flags=re.DOTALL)
    forms = {
        "text": run_text(summary, width=120),
        "page": markup.unescape(re.sub(r"<[^>]*>", " ", page)),
        "markdown": re.sub(r"\\(.)", r"\1", run_markdown(summary)).replace("&lt;", "<").replace("|", " "),
    }
    return {name: " ".join(form.split()) for name, form in forms.items()}


def _in_all(summary: Any, *words: str) -> dict[str, str]:
    """The forms, each of which contains these words."""
    forms = _forms(summary)
    assert [(name, one) for name, form in forms.items() for one in words if one.lower() not in form.lower()] == []
    return forms


def _made(n: int = 30, **facts: Any) -> Any:
    return made_summary(
        [made_record(i, sent_ms=i * 90.0, chunks_ms=(50.0 + i % 7, 70.0 + i % 5)) for i in range(n)], **facts
    )


@pytest.mark.parametrize(
    ("objective", "n", "outcome"),
    [
        ("ttft:p99<100ms", 30, "held, not shown: too few independent values"),
        ("ttft:p99<55.5ms", 30, "missed, not shown: too few independent values"),
        ("ttft:p99<20ms", 30, "missed"),
        ("ttft:p50<53.1ms", 30, "held, not shown"),
        ("ttft:mean<500ms", 300, "held"),
        ("ttft:mean<5ms", 300, "missed"),
    ],
)
def test_an_objective_that_is_not_shown_is_told_as_that_in_every_form(objective: str, n: int, outcome: str) -> None:
    summary = _made(n, objectives=parse([objective]))
    for name, form in _in_all(summary, outcome).items():
        of_it = form[form.index(objective) :][:120]
        assert ("not shown" in of_it) is ("not shown" in outcome), (name, of_it)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("No answer: it ended", ("No answer: it ended", "")),
        (
            "No difference is shown. These would be found: TTFT. So.",
            ("No difference is shown.", "These would be found: TTFT. So."),
        ),
        (
            "VALID, 9 requests: median, P99 and P99.9 of TTFT can be given",
            ("VALID, 9 requests: median, P99 and P99.9 of TTFT can be given", ""),
        ),
    ],
)
def test_a_heading_is_one_sentence(text: str, parts: tuple[str, str]) -> None:
    assert Banner(text[:5], text[5:], "warn").sentences == parts


def test_a_number_with_too_few_values_is_marked_in_every_form() -> None:
    for name, form in _forms(_made()).items():
        assert form.count("too few") >= 3, name
    enough = made_summary(
        [made_record(i, sent_ms=i * 9.0, chunks_ms=(50.0 + i * 7919 % 1009 / 10, 160.0)) for i in range(1200)]
    )
    row = next(line for line in run_markdown(enough).splitlines() if line.startswith("| TTFT (ms) |"))
    assert "too few" not in row


def test_goodput_is_in_every_form() -> None:
    _in_all(_made(objectives=parse(["ttft:p99<100ms"])), "Goodput, requests")


def test_how_requests_ended_is_in_every_form() -> None:
    records = [made_record(i, sent_ms=i * 90.0, attempts=2 if i < 3 else 1) for i in range(8)]
    records += [made_record(i, outcome=Outcome.CANCELLED, sent_ms=i * 90.0) for i in (8, 9)]
    records += [made_record(10, outcome=Outcome.DROPPED, sent_ms=900.0, sent_ns=None, chunks_ms=())]
    summary = made_summary(records)
    forms = _forms(summary)
    for count, what in (("cancelled", "cancelled"), ("dropped", "dropped"), ("retried", "sent again")):
        n = summary["counts"][count]
        assert n > 0
        for name, form in forms.items():
            assert re.search(rf"\b{n} {what}\b|\b{what} {n}\b", form, re.IGNORECASE), (name, what)


def test_warnings_and_notes_are_in_every_form() -> None:
    summary = _made(planned=90)
    summary["run"] = {"stop_reason": "interrupted", "notes": ["the clock of the server is fast"]}
    summary["window"]["warnings"] = ["TPOT had not settled after half of the run."]
    _in_all(
        summary,
        "The run was interrupted after 30 of 90 requests",
        "TPOT had not settled after half of the run.",
        "the clock of the server is fast",
    )


@pytest.mark.parametrize(
    ("records", "words"), [([made_record()], "No request failed"), ([], "No request was answered")]
)
def test_a_run_without_errors_says_the_same_in_every_form(records: list[Any], words: str) -> None:
    _in_all(made_summary(records), words)


def test_how_a_target_failed_is_in_every_form() -> None:
    failed = [made_record(i, outcome=Outcome.HTTP_ERROR, status=503, chunks_ms=(), error="busy") for i in range(5)]
    summary = made_summary(failed, "FAILED")
    summary["verdict"]["reasons"] = ["every request failed"]
    _in_all(summary, "5 failed: busy", "every request failed")


def test_an_error_with_several_outcomes_is_one_reason_of_a_failure() -> None:
    outcomes = [Outcome.RESET] * 3 + [Outcome.CONNECT_ERROR] * 2 + [Outcome.TIMEOUT_TOTAL]
    errors = ["refused"] * 5 + ["slow"]
    failed = [
        made_record(i, outcome=outcome, chunks_ms=(), error=error)
        for i, (outcome, error) in enumerate(zip(outcomes, errors, strict=True))
    ]
    summary = made_summary(failed, "FAILED")
    forms = _in_all(summary, "5 failed: refused")
    assert all(form.count("failed: refused") == 1 for form in forms.values())
