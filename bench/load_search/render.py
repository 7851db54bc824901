"""A search as text, as JSON and as a page, made from its directory alone, at its end or later."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.documents.document import Document, Level
from bench.errors import BenchError, Exit, UsageError
from bench.load_search import search_file, visit_numbers
from bench.load_search.answer import answer
from bench.load_search.decisions import Ending, Search
from bench.load_search.files import PAGE, SEARCH, SearchDirectory
from bench.load_search.search_document import search_document
from bench.report import html, text


@dataclass(frozen=True, slots=True)
class Rendered:
    """The printable forms of a search, and its exit status."""

    document: Document
    page: Path
    brief: str
    json: str
    exit: Exit

    @property
    def text(self) -> str:
        whole = text.render(self.document, Level.USUAL, width=text.NARROW)
        return f"{whole}\npage: {self.page}\n"


def render(
    directory: SearchDirectory,
    search: Search,
    stopped_by: Ending | None,
    require: float | None,
    error: BenchError | None = None,
) -> Rendered:
    """Write search.html, and return the other forms."""
    numbers = visit_numbers.read(directory.path, search.results)
    result = answer(search, stopped_by, numbers, require=require, error=error, directory=directory.path)
    document = search_document(result, search, numbers, _settings(directory))
    directory.write_page(html.render(document))
    return Rendered(
        document=document,
        page=directory.path / PAGE,
        brief=textwrap.fill(result.headline, text.NARROW) + "\n",
        json=(directory.path / SEARCH).read_text(encoding="utf-8"),
        exit=result.exit,
    )


def render_again(path: Path) -> Rendered:
    """Render a search that has ended or was killed. Raises UsageError if there is none."""
    directory = SearchDirectory.open(path)
    content = directory.kept()
    if content is None:
        raise UsageError(f"{path} holds a search of which no visit has ended: --resume {path} goes on with it")
    stored = search_file.stored(content)
    return render(directory, stored.search, stored.stopped_by, stored.require)


def _settings(directory: SearchDirectory) -> dict[str, object]:
    try:
        content = yaml.safe_load(directory.settings.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as e:
        raise UsageError(f"{directory.settings} is damaged: {' '.join(str(e).split())}") from e
    return content if isinstance(content, dict) else {}
