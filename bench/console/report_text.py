"""The report of a task as text to copy: Markdown of a run for a ticket, otherwise the output of a terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.accuracy.sweep import Sweep
from bench.answer_quality import stored as stored_quality
from bench.console.kinds import CALIBRATION_SWEEP, SHOWN
from bench.documents.calibration_sweep_document import calibration_sweep_document
from bench.documents.document import Document, Level
from bench.documents.plan_document import plan_document
from bench.documents.quality_document import quality_document
from bench.documents.run_document import run_document
from bench.documents.sweep_document import sweep_document
from bench.documents.tune_document import tune_document
from bench.load_search import search_file, visit_numbers
from bench.load_search.answer import answer
from bench.load_search.search_document import search_document
from bench.load_sweep import stored
from bench.report import markdown, text
from bench.results.plan import PlanContent
from bench.results.summary import from_json
from bench.run_files.shape import read_object
from bench.tuning import tune_file


def _run(path: Path) -> str:
    return markdown.render(run_document(from_json(path.read_bytes())))


def _search(path: Path) -> str:
    record = search_file.stored(read_object(path, "search"))
    search = record.search
    numbers = visit_numbers.read(path.parent, search.results)
    conclusion = answer(search, record.stopped_by, numbers, require=record.require)
    return text.render(search_document(conclusion, search, numbers), Level.USUAL, width=text.NARROW)


_DOCUMENTS: dict[str, Callable[[Path], Document]] = {
    "sweep": lambda path: sweep_document([stored.read(path)]),
    "quality": lambda path: quality_document(stored_quality.read(path)),
    "tune": lambda path: tune_document(tune_file.read(path)),
    CALIBRATION_SWEEP: lambda path: calibration_sweep_document(Sweep.read(path)),
    "plan": lambda path: plan_document(msgspec.json.decode(path.read_bytes(), type=PlanContent)),
}
_MAKERS: dict[str, Callable[[Path], str]] = {"run": _run, "calibrate": _run, "search": _search}


def report_text(kind: str, directory: Path) -> str:
    """The text. Raises OSError if there are no results yet."""
    path = directory / SHOWN[kind].numbers
    return _MAKERS[kind](path) if kind in _MAKERS else text.render(_DOCUMENTS[kind](path), Level.USUAL)
