"""The report of a task as text to copy: of a run Markdown for a ticket, of a search and a sweep what a terminal shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.answer_quality import stored as stored_quality
from bench.console.kinds import SHOWN
from bench.documents.document import Level
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
    kept = search_file.stored(read_object(path, "search"))
    search = kept.search
    numbers = visit_numbers.read(path.parent, search.results)
    found = answer(search, kept.stopped_by, numbers, require=kept.require)
    return text.render(search_document(found, search, numbers), Level.USUAL, width=text.NARROW)


def _sweep(path: Path) -> str:
    return text.render(sweep_document([stored.read(path)]), Level.USUAL)


def _quality(path: Path) -> str:
    return text.render(quality_document(stored_quality.read(path)), Level.USUAL)


def _tune(path: Path) -> str:
    return text.render(tune_document(tune_file.read(path)), Level.USUAL)


def _plan(path: Path) -> str:
    return text.render(plan_document(msgspec.json.decode(path.read_bytes(), type=PlanContent)), Level.USUAL)


_MAKERS: dict[str, Callable[[Path], str]] = {
    "run": _run,
    "calibrate": _run,
    "search": _search,
    "sweep": _sweep,
    "quality": _quality,
    "tune": _tune,
    "plan": _plan,
}


def report_text(kind: str, directory: Path) -> str:
    """The text. Raises OSError where there are no numbers yet."""
    return _MAKERS[kind](directory / SHOWN[kind].numbers)
