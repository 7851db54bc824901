"""Collects the messages of the console's pages into its catalogs (.po), and compiles them (.mo).

Messages are the arguments of `tr` in Python, templates and scripts. The form and the live charts also show texts
declared elsewhere: the settings, the options of commands, the charts of a report.
tests/unit/bench/console/test_translations.py fails if a catalog lacks a message, or has one that no page shows.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from fastapi import FastAPI

from bench.config.flags import GROUPS
from bench.console import api, live_charts, settings_form
from bench.console.form_words import group_title
from bench.console.kinds import KINDS
from bench.console.language import DOMAIN, ENGLISH, LANGUAGES, LOCALES
from bench.console.task import STATES, Task
from bench.endpoints import ENDPOINTS
from bench.results.tokens import input_rate

ROOT = Path(__file__).parents[1]
FOLDERS = ("bench/console", "bench/report/template")
METHODS = [("**.py", "python"), ("**.js", "javascript"), ("**.j2", "jinja2.ext:babel_extract")]
OPTIONS = {"**.js": {"parse_template_string": "true"}, "**.j2": {"silent": "false"}}
WIDTH = 120
_LOADS = ({"rate": "5"}, *({"endpoint": name} for name in ENDPOINTS))


def extracted() -> Catalog:
    """Every message that a page may show, with the files that show it."""
    catalog = Catalog(project="Trueload", fuzzy=False)
    for folder in FOLDERS:
        for name, _, message, _, _ in extract_from_dir(ROOT / folder, METHODS, OPTIONS, {"tr": None}, ()):
            catalog.add(str(message), locations=[(f"{folder}/{name}", 0)])
    for place, message in _declared():
        catalog.add(message, locations=[(place, 0)])
    return catalog


def _declared() -> Iterator[tuple[str, str]]:
    """Texts that pages show but other code declares, each with its source."""
    for kind in KINDS:
        yield "kind", kind
        for field in settings_form.fields(kind):
            yield f"form/{field.name}", str.__str__(field.label)
            yield f"form/{field.name}", str.__str__(field.doc)
            if " " in field.default:  # The others are values to type.
                yield f"form/{field.name}", str.__str__(field.default)
    for are in dict.fromkeys(endpoint.inputs_are for endpoint in ENDPOINTS.values()):
        yield "rate", input_rate(are)
        yield "rate", input_rate(are, title=True)
    for title in GROUPS.values():
        yield "form", str.__str__(group_title(title))
    for settings in _LOADS:
        for text in live_charts.texts(live_charts.charts(Task(id="t", state="running", settings=settings))):
            if any(letter.isalpha() for letter in text):
                yield "charts", text
    for state in STATES:
        yield "state", state
    app = FastAPI()
    app.include_router(api.router)
    for methods in app.openapi()["paths"].values():
        for operation in methods.values():
            yield "api", operation["summary"]


def folder_of(language: str) -> Path:
    """The folder of a language's catalog."""
    return LOCALES / language.replace("-", "_") / "LC_MESSAGES"


def read(language: str) -> Catalog:
    """The committed catalog of a language; an empty one if there is none yet."""
    path = folder_of(language) / f"{DOMAIN}.po"
    if not path.is_file():
        return Catalog(language.replace("-", "_"), project="Trueload", fuzzy=False)
    return read_po(io.BytesIO(path.read_bytes()), language.replace("-", "_"))


def renewed(catalog: Catalog, template: Catalog) -> Catalog:
    """The translations of these messages: none is guessed, and unused ones are dropped."""
    fresh = Catalog(catalog.locale, project="Trueload", fuzzy=False)
    for message in template:
        if message.id:
            known = catalog.get(message.id)
            fresh.add(message.id, known.string if known is not None else "", message.locations)
    fresh.creation_date = fresh.revision_date = catalog.creation_date
    return fresh


def write(language: str, catalog: Catalog) -> None:
    """Write both files. Messages are in alphabetical order without line numbers, so that two changes seldom conflict."""
    folder = folder_of(language)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{DOMAIN}.po").open("wb") as file:
        write_po(file, catalog, width=WIDTH, sort_output=True, include_lineno=False, omit_header=False)
    with (folder / f"{DOMAIN}.mo").open("wb") as file:
        write_mo(file, catalog)


def main() -> int:
    """Renew every catalog. Returns 1 if one lacks a translation."""
    argparse.ArgumentParser(prog="scripts/translations", description=__doc__).parse_args()
    template, missing = extracted(), 0
    for language in LANGUAGES:
        if language == ENGLISH:
            continue
        catalog = renewed(read(language), template)
        write(language, catalog)
        for message in catalog:
            if message.id and not message.string:
                missing += 1
                print(f"{language}: no translation of {message.id!r}", file=sys.stderr)
    print(f"{len(template):,} messages, {missing:,} without a translation")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
