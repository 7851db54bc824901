"""The documentation site: its reference pages cover all declarations, its links work, and it contacts no other host."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import msgspec
import pytest

from bench.commands import COMMANDS
from bench.config import Settings
from bench.config.other_tools import table
from bench.load.live_log import LIVE_FIELDS
from bench.load.sampling import SAMPLE_FIELDS
from bench.metrics.catalog import METRICS
from bench.metrics.compat import TOOLS
from bench.records import RequestRecord
from bench.telemetry.declared import METRICS as EXPORTED
from bench.verdict import SIGNS
from bench.verdict.limits import Limits
from mockserver.config import MockConfig
from mockserver.faults import FAULTS
from mockserver.record.ledger import ENGINE_FIELDS, FIELDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        yield importlib.import_module("reference")
    finally:
        sys.path.remove(str(ROOT / "scripts"))
        sys.modules.pop("reference", None)


@pytest.fixture(scope="module")
def hooks() -> Iterator[ModuleType]:
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    before = list(sys.path)
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        yield importlib.import_module("site_pages")
    finally:
        sys.path[:] = before
        for name in ("site_pages", "reference"):
            sys.modules.pop(name, None)


def rows(page: str) -> list[list[str]]:
    """The cells of every row of every table."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_page_of_flags_has_every_flag_of_every_command(reference: ModuleType) -> None:
    page = reference.flags()
    sections = dict(re.findall(r"^## (python -m [^\n]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert [name for name in COMMANDS if f"python -m bench {name}" not in sections] == []
    run = sections["python -m bench run"]
    flags = [
        f"--{'no-' if field.default is True else ''}{name.replace('_', '-')}"
        for name, field in Settings.model_fields.items()
    ]
    flags.remove("--limits")
    flags.remove("--targets")
    assert [flag for flag in flags if f"| `{flag}" not in run] == []
    mock = sections["python -m mockserver"]
    assert [name for name in MockConfig.model_fields if f"| `--{name.replace('_', '-')} " not in mock] == []
    assert "| `--resume DIR` |" in sections["python -m bench search"]
    assert "| `--recipe NAME\\|FILE` |" in sections["python -m promptset"]
    assert [row for row in rows(page) if len(row) != 2 or not row[1]] == []


def test_the_parser_of_a_command_is_found_and_its_help_is_put_back(reference: ModuleType) -> None:
    before = argparse.ArgumentParser.print_help
    with pytest.raises(AssertionError, match=r"no --help"):
        reference.parser_of(lambda words: None)
    assert argparse.ArgumentParser.print_help is before


def test_the_pages_have_every_metric_column_sign_and_band(reference: ModuleType) -> None:
    page = reference.metrics()
    metrics = rows(page)
    assert [name for name in (*METRICS, *TOOLS) if name not in [row[0].strip("`") for row in metrics]] == []
    exported = re.findall(r"^\| `((?:gen_ai|trueload)\.[^`]*)` \| `\w+` \| (\w+) \| (.*) \|$", page, re.MULTILINE)
    assert exported == [(metric.name, metric.kind, metric.description) for metric in EXPORTED.values()]
    signs = reference.signs()
    assert [
        name for name in SIGNS if not re.search(rf"^## `{name}`\n\n\w.*\n\n\*\*What to do:\*\* \w", signs, re.MULTILINE)
    ] == []
    bands = rows(signs)
    assert [name for name in Limits.model_fields if name not in [row[0].strip("`") for row in bands]] == []
    assert [row for row in (*metrics, *bands) if not row[1] or not row[2]] == []


def test_the_index_says_of_each_made_page_where_github_has_the_same(reference: ModuleType) -> None:
    def unknown(index: str) -> list[str]:
        sections = dict(re.findall(r"^### ([^\n]+)\n(.*?)(?=^#|\Z)", index, re.MULTILINE | re.DOTALL))
        names = {title.lower().replace(" ", "-"): text for title, text in sections.items()}
        return [
            name for name in reference.PAGES if not re.search(r"`python -m|\]\(\.\./\.\./\w+/", names.get(name, ""))
        ]

    index = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    assert unknown(index) == []
    assert unknown(index.replace("### Signs", "### Omens")) == ["signs"]


def test_the_page_of_flags_of_other_tools_has_each(reference: ModuleType) -> None:
    page = reference.other_tools()
    theirs = [flag for tool in table().tools.values() for row in tool for flag, _ in row.spellings()]
    assert [flag for flag in theirs if f"`{flag}" not in page] == []
    assert [row for row in rows(page) if len(row) != 3 or not row[0] or not row[1]] == []


def test_the_page_of_files_has_every_field_and_every_key(reference: ModuleType) -> None:
    page = reference.files()
    first = {row[0].strip("`") for row in rows(page)}
    assert {field.name for field in msgspec.structs.fields(RequestRecord)} | {*SAMPLE_FIELDS, *LIVE_FIELDS} <= first
    nothing_said = [
        f.name for f in msgspec.structs.fields(RequestRecord) if not reference.fields_of_records().get(f.name)
    ]
    assert nothing_said == []
    for path in (ROOT / "bench").rglob("*.schema.json"):
        schema = json.loads(path.read_text(encoding="utf-8"))
        assert [key for key in schema["properties"] if key not in first] == [], path
        parts = {name for name, node in schema.get("$defs", {}).items() if "properties" in node}
        assert [name for name in parts if f"### {name} (" not in page] == [], path


def test_keys_of_a_schema_are_found_at_every_depth(reference: ModuleType) -> None:
    schema = {
        "properties": {
            "a": {"type": "integer", "description": "How many."},
            "rows": {"type": "array", "items": {"properties": {"at": {"enum": ["x", None]}}}},
            "by": {"type": "object", "additionalProperties": {"properties": {"n": {"$ref": "#/$defs/part"}}}},
            "maybe": {"anyOf": [{"type": "null"}, {"properties": {"in": {"const": 1}}}]},
        }
    }
    assert list(reference.keys_of(schema)) == [
        ("a", "integer", "How many."),
        ("rows", "array of object", ""),
        ("rows[].at", "`x`, null", ""),
        ("by", "object", ""),
        ("by.*", "object", ""),
        ("by.*.n", "*part*", ""),
        ("maybe", "null or object", ""),
        ("maybe.in", "`1`", ""),
    ]


def test_the_pages_of_the_mock_have_every_setting_key_and_fault(reference: ModuleType) -> None:
    first = [row[0].strip("`") for row in rows(reference.mock())]
    assert [name for name in (*MockConfig.model_fields, *FIELDS, *ENGINE_FIELDS) if name not in first] == []
    faults = rows(reference.faults())
    assert [name for name in FAULTS if name not in [row[0].strip("`") for row in faults]] == []
    assert [row for row in faults if len(row) != 4 or not row[1] or not row[3]] == []


def test_a_bar_in_a_description_does_not_end_its_cell(reference: ModuleType) -> None:
    assert rows(reference.table(("a", "b"), [("x", reference.cell("on|off\n and <b>"))])) == [
        ["a", "b"],
        ["x", "on\\|off and &lt;b>"],
    ]


@pytest.mark.parametrize(
    ("page", "before", "after"),
    [
        ("usage.md", "[m](metrics.md#objectives)", "[m](metrics.md#objectives)"),
        ("dev/index.md", "[m](../metrics.md)", "[m](../metrics.md)"),
        ("usage.md", "[changes](../CHANGELOG.md)", "[changes](project/changelog.md)"),
        ("dev/index.md", "[GPU](../../gpu/README.md#a)", "[GPU](../project/gpu.md#a)"),
        ("usage.md", "[the code](../bench/records.py)", "the code"),
        ("project/gpu.md", "[search](../docs/search.md#x)", "[search](../search.md#x)"),
        (
            "project/contributing.md",
            "[licence](LICENSE) [how](docs/dev/releasing.md)",
            "licence [how](../dev/releasing.md)",
        ),
        (
            "dev/index.md",
            "[e](../../examples/compare-flags/README.md)",
            "[e](../howto/examples.md#compare-flags)",
        ),
        ("howto/examples.md", "[gate](../../docs/ci.md#the-gate)", "[gate](../ci.md#the-gate)"),
        ("usage.md", "[f](reference/index.md#flags)", "[f](reference/flags.md)"),
        ("reference/index.md", "[*F*](index.md#other-tools)", "[*F*](../reference/other-tools.md)"),
        ("usage.md", "[w](https://semver.org/) [here](#files)", "[w](https://semver.org/) [here](#files)"),
        ("usage.md", "![p](pictures/a.png)", "![p](pictures/a.png)"),
        ("usage.md", "| `on\\|off` | a \\| b |", "| `on|off` | a \\| b |"),
    ],
)
def test_links_lead_to_the_page_in_the_site(hooks: ModuleType, page: str, before: str, after: str) -> None:
    at = SimpleNamespace(file=SimpleNamespace(src_uri=page), meta={})
    assert hooks.on_page_markdown(before, at, None, None) == after


def test_the_search_finds_definitions_first(hooks: ModuleType) -> None:
    def weight(page: str) -> float:
        at = SimpleNamespace(file=SimpleNamespace(src_uri=page), meta={})
        hooks.on_page_markdown("", at, None, None)
        return float(at.meta["search"]["boost"])

    assert weight("glossary.md") > weight("metrics.md") > weight("reference/files.md") > weight("dev/testing.md")


@pytest.mark.parametrize(
    ("page", "asks"),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ('<link rel="stylesheet" href="//fonts.example/css">', True),
        ('<img alt="" src="http://example.org/a.png">', True),
        ('<script src="assets/x.js"></script><a href="https://semver.org/">semver</a>', False),
        ('<link rel="stylesheet" href="../assets/site.css">', False),
    ],
)
def test_a_page_that_asks_another_host_is_refused(hooks: ModuleType, page: str, asks: bool) -> None:
    at = SimpleNamespace(file=SimpleNamespace(src_uri="x.md"))
    if asks:
        with pytest.raises(hooks.PluginError, match=r"x\.md loads something from another host"):
            hooks.on_post_page(page, at, None)
    else:
        assert hooks.on_post_page(page, at, None) == page


@pytest.mark.parametrize(
    ("code", "is_word"), [("--extra-body", True), ("bench/cli.py", True), ("run --rate 5", False), ("a" * 45, False)]
)
def test_code_of_one_word_is_kept_on_one_line(hooks: ModuleType, code: str, is_word: bool) -> None:
    at = SimpleNamespace(file=SimpleNamespace(src_uri="x.md"))
    made = hooks.on_page_content(f"<td><code>{code}</code></td>", at, None, None)
    assert (made == f'<td><code class="word">{code}</code></td>') is is_word


def test_code_of_several_words_breaks_between_them_alone(hooks: ModuleType) -> None:
    at = SimpleNamespace(file=SimpleNamespace(src_uri="x.md"))
    made = hooks.on_page_content(f"<code>run --rate 5 {'a' * 45}</code>", at, None, None)
    assert made == f'<code><span class="word">run</span> <span class="word">--rate</span> 5 {"a" * 45}</code>'


@pytest.mark.parametrize(
    ("cell", "is_figures"),
    [("+0.005 / +0.005", True), ("50.0 / 1576.7", True), ("one a request", False), ("3 " * 20, False)],
)
def test_a_cell_of_figures_is_kept_on_one_line(hooks: ModuleType, cell: str, is_figures: bool) -> None:
    at = SimpleNamespace(file=SimpleNamespace(src_uri="x.md"))
    made = hooks.on_page_content(f"<td>{cell}</td>", at, None, None)
    assert (made == f'<td class="word">{cell}</td>') is is_figures


def test_the_page_of_examples_has_each_with_its_script(hooks: ModuleType) -> None:
    page = hooks.examples()
    for script in (ROOT / "examples").rglob("*.sh"):
        assert f"{{ #{script.parent.name} }}" in page
        assert f'title="{script.relative_to(ROOT)}"\n#!/usr/bin/env bash\n' in page
        assert f"](#{script.parent.name})" in page
    assert "README.md" not in page
    assert "`nightly.yml`" in page
