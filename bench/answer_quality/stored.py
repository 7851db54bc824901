"""Writes quality.json and its page after each run of the series, and reads them."""

from __future__ import annotations

from pathlib import Path

from bench.documents.quality_document import quality_document
from bench.report import html
from bench.results.quality import SCHEMA, QualityContent
from bench.run_files.run_directory import RunDirectory
from bench.run_files.shape import read_result
from bench.series import files

QUALITY, PAGE = "quality.json", "quality.html"


def read(path: Path) -> QualityContent:
    """The content of a quality.json. Raises UsageError with the problems if the file is damaged."""
    return read_result(path, QualityContent, SCHEMA, "result of quality")


def write(folder: Path, content: QualityContent) -> None:
    """Write quality.json and its page atomically."""
    files.write(folder, QUALITY, content)
    RunDirectory(folder).write(PAGE, html.render(quality_document(content)).encode())
