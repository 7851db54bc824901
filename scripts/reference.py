"""The reference pages of the site, made of the declarations that the programs themselves read: no page can be behind.

`PAGES` has a function for each page; each returns Markdown. scripts/site_pages.py puts them into the site.
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from result_schemas import fields_of_records

from bench.commands.parsers import parser_of, parsers
from bench.metrics.catalog import METRICS, REQUEST_METRICS
from bench.records import Outcome, RequestRecord, ServerWords
from bench.verdict import SIGNS
from bench.verdict.limits import Limits
from mockserver.config import Flag, MockConfig
from mockserver.faults import FAULTS, GROUPS
from mockserver.faults.options import Option, duration_ns

ROOT = Path(__file__).parents[1]
SCHEMAS = ("report", "load_search", "fit")
"""The folders of bench/ that have schemas of files."""
FILES = {
    "gate.schema.json": "gate --format json",
    "load_sweep.schema.json": "sweep.json",
    "profile.schema.json": "profile.json",
}
"""The files whose names are not those of their schemas."""
MADE = "*Made of the declarations when this site is built.*"


def all_parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command and program, by the words that start it."""
    found = {f"python -m bench {name}": parser for name, parser in parsers().items()}
    found["python -m mockserver"] = parser_of(import_module("mockserver.cli").main)
    found["python -m promptset"] = parser_of(import_module("promptset.cli").main)
    return found


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").strip()


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _flag_row(action: argparse.Action) -> tuple[str, str]:
    words = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    shown = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.option_strings and action.nargs != 0:
        words += f" {shown}"
    said = action.help or f"one of {', '.join(map(str, action.choices or ()))}"
    return f"`{words}`".replace("|", "\\|"), cell(said % {"default": action.default, "prog": ""})


def prose(text: str) -> str:
    """What a help text says before or behind its flags: sentences as they are, examples and lists as code blocks."""
    parts = []
    for paragraph in filter(str.strip, re.split(r"\n\s*\n", text.strip("\n"))):
        lines = paragraph.splitlines()
        if lines[0].strip().lower().rstrip(":") == "examples":
            parts.append("**Examples**\n\n```sh\n" + textwrap.dedent("\n".join(lines[1:])) + "\n```")
        elif any(line.startswith("  ") for line in lines) or re.match(r"[\w ()]+: \S+   ", lines[0]):
            parts.append("```text\n" + "\n".join(lines) + "\n```")
        else:
            parts.append(cell(paragraph))
    return "\n\n".join(parts)


def flags() -> str:
    """Every flag of every command, with the examples of its help."""
    parts = ["# Commands and flags", MADE + " [Running a load test](../usage.md) explains when to use which."]
    parts.append(
        "`trueload` is short for `python -m bench`, `trueload-mock` for `python -m mockserver`, and `trueload-promptset` for "
        "`python -m promptset`. Each says the same with `--help`; commands with the settings of a run have `--help-all`."
    )
    for words, parser in all_parsers().items():
        parts += [f"## {words}", prose(parser.description or "")]
        for group in parser._action_groups:
            rows = [
                _flag_row(action)
                for action in group._group_actions
                if action.help != argparse.SUPPRESS and action.dest != "help"
            ]
            if rows:
                title = group.title or ""
                parts += [] if title in ("options", "positional arguments") else [f"**{title[0].upper()}{title[1:]}**"]
                if group.description:
                    parts.append("```sh\n" + group.description.removeprefix("example: ") + "\n```")
                parts.append(table(("flag", "what it does"), rows))
        parts.append(prose(parser.epilog or ""))
    return "\n\n".join(part for part in parts if part) + "\n"


def metrics() -> str:
    """Every metric that results show, every sign of the verdict with its band, and every outcome."""
    parts = ["# Metrics, signs and outcomes", MADE + " [What the numbers mean](../metrics.md) has the formulas."]
    parts += ["## Metrics", 'The name is the one that objectives use: `--slo "ttft:p99<500ms"`.']
    rows = [
        (f"`{m.name}`", m.title, m.unit, "a request" if m.name in REQUEST_METRICS else "a token", cell(m.description))
        for m in METRICS.values()
    ]
    parts.append(table(("name", "title", "unit", "one value", "what it is"), rows))
    parts += ["## Signs of the verdict", "[Troubleshooting](../troubleshooting.md) says what to do about each."]
    parts.append(table(("sign", "what it looks at"), [(f"`{n}`", cell(_first(f.__doc__))) for n, f in SIGNS.items()]))
    parts += [
        "### Bands",
        "The keys of `limits:` in a file of settings. A value above the band is what the column says.",
    ]
    bands = [(f"`{name}`", *_band(field.default)) for name, field in Limits.model_fields.items()]
    parts.append(table(("key", "SUSPECT above", "INVALID above", "FAILED above"), bands))
    parts += [
        "## Outcomes of a request",
        "[How a request can end](../metrics.md#how-a-request-can-end) says which is which.",
    ]
    parts.append("\n".join(f"- `{outcome}`" for outcome in Outcome))
    return "\n\n".join(parts) + "\n"


def _first(doc: str | None) -> str:
    return (doc or "").split("\n\n")[0]


def _band(band: Any) -> tuple[str, str, str]:
    values = (getattr(band, part, None) for part in ("suspect", "invalid", "failed"))
    suspect, invalid, failed = ("" if value is None else f"{value:g}" for value in values)
    return suspect, invalid, failed


def schema_files() -> list[Path]:
    """The published schemas."""
    return sorted(path for folder in SCHEMAS for path in (ROOT / "bench" / folder).glob("*.schema.json"))


def keys_of(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """(path, type, description) of every key that a schema declares, depth first. `[]` stands for the items of a list, `*`
    for any name. A part that has a definition of its own is named and not entered."""
    if path:
        yield path, _type_of(node), node.get("description", "")
    for name, child in node.get("properties", {}).items():
        yield from keys_of(child, f"{path}.{name}" if path else name)
    if isinstance(any_name := node.get("additionalProperties"), dict):
        yield from keys_of(any_name, f"{path}.*" if path else "*")
    if isinstance(items := node.get("items"), dict):
        yield from list(keys_of(items, f"{path}[]"))[1:]
    for choice in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        yield from list(keys_of(choice, path))[1:]


def _type_of(node: dict[str, Any]) -> str:
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join("null" if value is None else f"`{value}`" for value in node["enum"])
    choices = (*node.get("anyOf", ()), *node.get("oneOf", ()))
    if choices:
        return " or ".join(dict.fromkeys(_type_of(choice) for choice in choices))
    if "$ref" in node:
        return f"*{node['$ref'].removeprefix('#/$defs/')}*"
    kind = node.get("type", "object" if "properties" in node else "any")
    kinds = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return f"{kinds} of {_type_of(items)}" if isinstance(items := node.get("items"), dict) else kinds


def _keys(node: dict[str, Any], path: str = "") -> str:
    """The table of the keys of a schema, or of one of its definitions; empty where it has none."""
    rows = [(f"`{key}`", cell(kind), cell(said)) for key, kind, said in list(keys_of(node, path))[bool(path) :]]
    return table(("key", "type", "what it is"), rows) if rows else ""


def _type(field: str) -> str:
    """The type of a field of a record, without the limits of its numbers."""
    declared = str({**ServerWords.__annotations__, **RequestRecord.__annotations__}[field])
    return re.sub(r"\b(Asked|Count|Tokens)\b", "int", declared).replace("Milliseconds", "float")


def files() -> str:
    """Every field of requests.jsonl, and every key of every file that has a schema."""
    parts = ["# Files and their schemas", MADE + " [The run directory](../run-directory.md) lists the files."]
    parts.append(
        "A file names its schema and its version: `trueload/summary/1`. A new key leaves the number as it is; a key that "
        "changes its meaning, or goes, raises it. A run directory of an older version renders with the newer one."
    )
    rows = [
        (
            f"`{name}`",
            f"`{_type(name)}`".replace("|", "\\|"),
            words,
        )
        for name, words in fields_of_records().items()
    ]
    parts += [
        "## requests.jsonl",
        "Each line is a JSON object with the record of one request ([about its fields](../run-directory.md#requestsjsonl)).",
        table(("field", "type", "what it is"), rows),
    ]
    for path in schema_files():
        schema = json.loads(path.read_text(encoding="utf-8"))
        name = FILES.get(path.name, path.name.replace(".schema", ""))
        parts += [
            f"## {name}",
            cell(schema.get("description") or schema["title"]),
            f"Schema: `{path.relative_to(ROOT)}`",
        ]
        parts.append(_keys(schema))
        for part, node in schema.get("$defs", {}).items():
            if keys := _keys(node, part):
                parts += [f"### {part} ({name})", cell(node.get("description", "")), keys]
    return "\n\n".join(parts) + "\n"


def mock() -> str:
    """Every setting of the mock, and every fault with its options."""
    parts = [
        "# The mock's settings and faults",
        MADE + " [The mock server](../mock.md) and [its faults](../mock-faults.md) explain them.",
        "## Settings",
    ]
    parts.append("The key is that of the YAML file; the flag has dashes: `max_model_len`, `--max-model-len`.")
    rows = []
    for name, field in MockConfig.model_fields.items():
        flag = next(extra for extra in field.metadata if isinstance(extra, Flag))
        usual = "" if field.default in (None, ()) else f"`{field.default}`"
        rows.append(
            (
                f"`{name}`",
                f"`{flag.metavar}`".replace("|", "\\|"),
                usual,
                "yes" if flag.live else "",
                cell(field.description or ""),
            )
        )
    parts.append(table(("key", "value", "default", "can change while it serves", "what it does"), rows))
    parts += [
        "## Faults",
        "`--fault NAME:option=value,...`. [Which requests it hits](../mock-faults.md#which-requests-it-hits).",
    ]
    for group, title in GROUPS.items():
        kinds = [kind for kind in FAULTS.values() if kind.group == group]
        faults = [
            (
                f"`{kind.name}`",
                cell(kind.doc),
                "; ".join(f"`{option.name}`: {cell(option.doc)}{_default(option)}" for option in kind.options),
            )
            for kind in kinds
        ]
        parts += [f"### {title[0].upper()}{title[1:]}", table(("fault", "what it does", "options"), faults)]
    return "\n\n".join(parts) + "\n"


def _default(option: Option) -> str:
    """The default of an option of a fault, as a user writes it."""
    if option.default is None:
        return ""
    if option.read is not duration_ns:
        return f" (default: `{option.default}`)"
    seconds = option.default / 1e9
    return f" (default: `{seconds:g}s`)" if seconds >= 1 else f" (default: `{seconds * 1e3:g}ms`)"


PAGES: dict[str, Callable[[], str]] = {"flags": flags, "metrics": metrics, "files": files, "mock": mock}
"""The page of the site under reference/, by its name."""
