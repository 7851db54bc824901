"""The documents of results in each form, as the commands write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.accuracy.metamorphic import ChecksResult
from bench.accuracy.sweep import Sweep
from bench.documents.calibration_sweep_document import calibration_sweep_document
from bench.documents.certificate_document import certificate_document, ledger_document
from bench.documents.checks_document import checks_document
from bench.documents.comparison_document import comparison_document
from bench.documents.document import Level
from bench.documents.fit_document import fit_document
from bench.documents.run_document import run_document
from bench.documents.sweep_document import repeats_document, sweep_document
from bench.report import html, markdown, text
from bench.results.base import to_plain


def run_page(summary: Any, page: Mapping[str, Any] | None = None) -> str:
    return html.render(run_document(_plain(summary), page))


def run_text(summary: Any, *, level: Level = Level.DETAILS, width: int = 100) -> str:
    return text.render(run_document(_plain(summary)), level, width=width)


def run_markdown(summary: Any) -> str:
    return markdown.render(run_document(_plain(summary)))


def _plain(summary: Any) -> Any:
    """The content of a summary, whether it is typed or read from its file."""
    return summary if isinstance(summary, Mapping) else to_plain(summary)


def certificate_text(calibration: Mapping[str, Any], width: int = 100) -> str:
    return text.render(ledger_document(calibration), Level.USUAL, width=width)


def certificate_page(certificate: Mapping[str, Any]) -> str:
    return html.render(certificate_document(certificate))


def comparison_text(content: Mapping[str, Any]) -> str:
    return text.render(comparison_document(content), Level.DETAILS, width=80)


def comparison_page(content: Mapping[str, Any]) -> str:
    return html.render(comparison_document(content))


def comparison_markdown(content: Mapping[str, Any]) -> str:
    return markdown.render(comparison_document(content))


def sweep_text(content: Mapping[str, Any]) -> str:
    return text.render(sweep_document([content]), Level.USUAL)


def sweep_page(contents: Sequence[Mapping[str, Any]], places: Sequence[str] = ()) -> str:
    return html.render(sweep_document(contents, places))


def repeats_text(content: Mapping[str, Any]) -> str:
    return text.render(repeats_document(content), width=80)


def calibration_sweep_text(sweep: Sweep) -> str:
    return text.render(calibration_sweep_document(sweep), Level.USUAL)


def calibration_sweep_page(sweep: Sweep) -> str:
    return html.render(calibration_sweep_document(sweep))


def fit_page(profile: Mapping[str, Any]) -> str:
    return html.render(fit_document(profile))


def checks_text(result: ChecksResult) -> str:
    return text.render(checks_document(result), Level.USUAL)


def fit_text(profile: Mapping[str, Any]) -> str:
    return text.render(fit_document(profile), Level.USUAL)
