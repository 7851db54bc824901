"""Result documents in each form, as the commands write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from bench.accuracy.metamorphic import ChecksResult
from bench.accuracy.sweep import Sweep
from bench.documents.calibration_sweep_document import calibration_sweep_document
from bench.documents.certificate_document import certificate_document, ledger_document
from bench.documents.checks_document import checks_document
from bench.documents.comparison_document import comparison_document
from bench.documents.document import Level
from bench.documents.fit_document import fit_document
from bench.documents.run_document import run_document
from bench.documents.sweep_document import sweep_document
from bench.documents.time_charts import RunNumbers
from bench.metrics.page_data import PageData
from bench.report import html, markdown, metric_table, text
from bench.results.certificate import Certificate, LedgerCalibration
from bench.results.comparison import ComparisonResult
from bench.results.profile import Profile
from bench.results.summary import RunSummary
from bench.results.sweep import SweepContent
from tests.support.results import filled

R = TypeVar("R", bound=msgspec.Struct)


def run_page(summary: Any, page: PageData | None = None) -> str:
    return html.render(run_document(_typed(RunSummary, summary), page))


def run_text(summary: Any, *, level: Level = Level.DETAILS, width: int = 100) -> str:
    return text.render(run_document(_typed(RunSummary, summary)), level, width=width)


def run_markdown(summary: Any) -> str:
    return markdown.render(run_document(_typed(RunSummary, summary)))


def run_numbers(summary: Any, page: PageData | None = None) -> RunNumbers:
    return RunNumbers(typed_summary(summary), page)


def typed_summary(summary: Any) -> RunSummary:
    return _typed(RunSummary, summary)


def run_csv(summary: Any) -> str:
    return metric_table.to_csv(_typed(RunSummary, summary))


def _typed(kind: type[R], result: Any) -> R:
    """A typed result, from a result or the content of its file."""
    return result if isinstance(result, kind) else filled(kind, result)


def certificate_text(calibration: Any, width: int = 100) -> str:
    fields = LedgerCalibration.__struct_fields__  # A whole certificate has more.
    ledger = filled(LedgerCalibration, {name: calibration[name] for name in fields if name in calibration})
    return text.render(ledger_document(ledger), Level.USUAL, width=width)


def certificate_page(certificate: Any) -> str:
    return html.render(certificate_document(_typed(Certificate, certificate)))


def comparison_text(content: Any) -> str:
    return text.render(comparison_document(_typed(ComparisonResult, content)), Level.DETAILS, width=80)


def comparison_page(content: Any) -> str:
    return html.render(comparison_document(_typed(ComparisonResult, content)))


def comparison_markdown(content: Any) -> str:
    return markdown.render(comparison_document(_typed(ComparisonResult, content)))


def sweep_text(content: Any) -> str:
    return text.render(sweep_document([_typed(SweepContent, content)]), Level.USUAL)


def sweep_page(contents: Sequence[Any], places: Sequence[str] = ()) -> str:
    return html.render(sweep_document([_typed(SweepContent, content) for content in contents], places))


def calibration_sweep_text(sweep: Sweep) -> str:
    return text.render(calibration_sweep_document(sweep), Level.USUAL)


def calibration_sweep_page(sweep: Sweep) -> str:
    return html.render(calibration_sweep_document(sweep))


def fit_page(profile: Any) -> str:
    return html.render(fit_document(_typed(Profile, profile)))


def checks_text(result: ChecksResult) -> str:
    return text.render(checks_document(result), Level.USUAL)


def fit_text(profile: Mapping[str, Any]) -> str:
    return text.render(fit_document(_typed(Profile, profile)), Level.USUAL)
