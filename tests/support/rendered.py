"""A run's document in each form, as the commands write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.documents.document import Level
from bench.documents.run_document import run_document
from bench.report import html, markdown, text


def run_page(summary: Any, page: Mapping[str, Any] | None = None) -> str:
    return html.render(run_document(summary, page))


def run_text(summary: Any, *, level: Level = Level.DETAILS, width: int = 100) -> str:
    return text.render(run_document(summary), level, width=width)


def run_markdown(summary: Any) -> str:
    return markdown.render(run_document(summary))
