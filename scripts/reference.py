"""The reference pages of the site, generated from the declarations that the programs themselves read, so that no page
is outdated.

`PAGES` has a function for each page; each returns Markdown. scripts/site_pages.py puts them into the site.
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from result_schemas import fields_of_records

from bench.accuracy.join import OUTCOME_OF_FAULT
from bench.commands.parsers import parser_of, parsers
from bench.config.other_tools import table as other_tools_table
from bench.load.live_log import LIVE_FIELDS
from bench.load.sampling import SAMPLE_FIELDS
from bench.metrics.catalog import METRICS, REQUEST_METRICS
from bench.metrics.compat import TOOLS
from bench.records import RequestRecord, ServerWords
from bench.telemetry.declared import METRICS as EXPORTED
from bench.verdict import SIGNS
from bench.verdict.advice import ADVICE, MORE
from bench.verdict.limits import Limits
from mockserver.config import Flag, MockConfig
from mockserver.faults import FAULTS, GROUPS
from mockserver.faults.options import Option, duration_ns
from mockserver.record.ledger import ENGINE_FIELDS, FIELDS

ROOT = Path(__file__).parents[1]
SCHEMAS = ("report", "load_search", "fit")
"""The folders of bench/ with schemas of files."""
RECIPES = ROOT / "datasets" / "promptset" / "recipes"
FILES = {
    "gate.schema.json": "gate --format json",
    "load_sweep.schema.json": "sweep.json",
    "profile.schema.json": "profile.json",
}
"""Files that are not named after their schemas."""
_FLAG = re.compile(
    r"(?<![\w-])(python -m bench [\w-]+|--[a-z][\w-]*(?: (?:[A-Z]+\b|constant|auto|wire|[\w:=,]*\d[\w:=,]*(?:\.+[\w:=,]+)*))?"
    r"|(?:sweep|search)\b|\w+:\w*[.=]\S*\d|\w+\.(?:jsonl?|html))"
)
"""Words in a sentence about flags that are code."""
MADE = "*Generated from the code when this site is built.*"


def all_parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command and program, by the words that start it."""
    found = {f"python -m bench {name}": parser for name, parser in parsers().items()}
    found["python -m mockserver"] = parser_of(import_module("mockserver.cli").main)
    found["python -m promptset"] = parser_of(import_module("promptset.cli").main)
    return found


def cell(text: str) -> str:
    """Text for a table cell."""
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
    """The text before or after the flags in a help text: sentences unchanged, examples and lists as code blocks."""
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
    """Every metric of results, the definitions of other tools' columns, and the metrics that telemetry exports."""
    parts = ["# Metrics", MADE + " [What the numbers mean](../metrics.md) explains them."]
    parts += ['The name is the one that objectives use: `--slo "ttft:p99<500ms"`.']
    rows = [
        (
            f"`{m.name}`",
            m.title,
            m.unit or "ratio",
            "a request" if m.name in REQUEST_METRICS else "a token",
            cell(m.description),
        )
        for m in METRICS.values()
    ]
    parts.append(table(("name", "title", "unit", "one value", "what it is"), rows))
    parts += [
        "## Columns of other tools",
        "How the numbers of each tool differ from Trueload's; TTFT, TPOT, ITL and E2EL that are not named here have the same "
        "definition. [About these columns](../metrics.md#compatible-columns).",
    ]
    tools = [
        (f"`{key}`", cell(f"{tool.title} {tool.version}"), cell(" ".join(tool.differs.values())))
        for key, tool in TOOLS.items()
    ]
    parts.append(table(("key in `compat`", "tool", "what differs"), tools))
    parts += [
        "## Exported metrics",
        "Sent by `--otlp`, and served at `--metrics-port`. [Telemetry](../server-metrics.md#telemetry).",
    ]
    exported = [(f"`{m.name}`", f"`{m.prometheus}`", m.kind, cell(m.description)) for m in EXPORTED.values()]
    parts.append(table(("metric", "on the page for Prometheus", "kind", "what it is"), exported))
    return "\n\n".join(parts) + "\n"


def signs() -> str:
    """Every sign of the verdict with what to do about it, and every band."""
    parts = ["# Signs of the verdict", MADE + " [The verdict](../troubleshooting.md) explains them."]
    parts.append("A report names the reasons of its verdict, and says what to do about each.")
    for name, sign in SIGNS.items():
        advice = f"**What to do:** {_capital(_sentence(ADVICE[name]))}. {MORE.get(name, '')}"
        parts += [f"## `{name}`", cell(_first(sign.__doc__)), cell(advice)]
    parts += [
        "## Bands",
        "A sign is SUSPECT or worse if its value is above the band. If it has two bands, a share and a size, both must be "
        "passed. [A file of settings](../usage.md#settings-in-a-file) can change each with `limits:`.",
    ]
    bands = [
        (f"`{name}`", cell(field.description or ""), *_band(field.default))
        for name, field in Limits.model_fields.items()
    ]
    parts.append(table(("key", "the value", "SUSPECT above", "INVALID above", "FAILED above"), bands))
    return "\n\n".join(parts) + "\n"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


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
    """(path, type, description) of every key that a schema declares, depth first. `[]` stands for the items of a list,
    `*` for any name. A part with a definition of its own is named and not entered."""
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
    """The table of keys of a schema, or of one of its definitions; empty if it has none."""
    rows = [(f"`{key}`", cell(kind), cell(said)) for key, kind, said in list(keys_of(node, path))[bool(path) :]]
    return table(("key", "type", "what it is"), rows) if rows else ""


def _type(field: str) -> str:
    """The type of a record's field, without numeric limits."""
    declared = str({**ServerWords.__annotations__, **RequestRecord.__annotations__}[field])
    return re.sub(r"\b(Asked|Count|Tokens)\b", "int", declared).replace("Milliseconds", "float")


def files() -> str:
    """Every field of requests.jsonl, and every key of every file with a schema."""
    parts = [
        "# Files and their schemas",
        MADE + " [The report and the run directory](../report.md#files-of-a-run) lists the files.",
    ]
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
        "Each line is a JSON object with the record of one request ([about its fields](../report.md#requestsjsonl)).",
        table(("field", "type", "what it is"), rows),
        "## samples.jsonl",
        "One line for each second and worker.",
        _described(SAMPLE_FIELDS),
        "## live.jsonl",
        "One line for each second of the load.",
        _described(LIVE_FIELDS),
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


def _described(fields: Mapping[str, str]) -> str:
    return table(("key", "what it is"), [(f"`{name}`", cell(words)) for name, words in fields.items()])


def mock() -> str:
    """Every setting of the mock, and every key of its ledger."""
    parts = ["# The mock's settings and ledger", MADE + " [The mock server](../mock.md) explains them.", "## Settings"]
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
    parts += ["## The ledger", "Times are ns of `CLOCK_MONOTONIC` on the mock's machine.", _described(FIELDS)]
    parts += ["### `engine`", "What the engine did; a key is there if it applies.", _described(ENGINE_FIELDS)]
    return "\n\n".join(parts) + "\n"


def faults() -> str:
    """Every fault of the mock with its options, and the outcome that a client should record."""
    parts = [
        "# Faults",
        MADE + " [Faults of the mock](../mock.md#faults) explains them.",
        "`--fault NAME:option=value,...`. [Which requests it hits](../mock.md#which-requests-it-hits). The outcome is "
        "the one that `python -m bench` records ([what they mean](../metrics.md#how-a-request-can-end)); "
        "[exceptions](../mock.md#what-a-client-should-conclude).",
    ]
    for group, title in GROUPS.items():
        rows = [
            (
                f"`{kind.name}`",
                cell(kind.doc),
                "; ".join(f"`{option.name}`: {cell(option.doc)}{_default(option)}" for option in kind.options),
                f"`{OUTCOME_OF_FAULT.get(kind.name, 'connect_error')}`",
            )
            for kind in FAULTS.values()
            if kind.group == group
        ]
        parts += [f"## {title[0].upper()}{title[1:]}", table(("fault", "what it does", "options", "outcome"), rows)]
    return "\n\n".join(parts) + "\n"


def _default(option: Option) -> str:
    """The default of a fault's option, as a user writes it."""
    if option.default is None:
        return ""
    if option.read is not duration_ns:
        return f" (default: `{option.default}`)"
    seconds = option.default / 1e9
    return f" (default: `{seconds:g}s`)" if seconds >= 1 else f" (default: `{seconds * 1e3:g}ms`)"


def other_tools() -> str:
    """The flags of other load testers and ours: one table per tool."""
    parts = [
        "# Flags of other tools",
        MADE + " [Coming from another tool](../comparison.md#coming-from-another-tool) has whole commands.",
        "What to write after `python -m bench run`; a row that begins with another word names another command.",
    ]
    for tool, rows in other_tools_table().tools.items():
        if tool == "other tools":
            parts += ["## Further spellings"]
        else:
            parts += [f"## {tool}"]
        merged: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            merged.setdefault((row.ours, row.differs), []).extend(row.theirs.split(", "))
        parts.append(
            table(
                ("theirs", "ours", "note"),
                [
                    (", ".join(dict.fromkeys(map(_theirs, theirs))), _code(ours) if ours else "–", _sentence(differs))
                    for (ours, differs), theirs in merged.items()
                ],
            )
        )
    return "\n\n".join(parts) + "\n"


def _theirs(flag: str) -> str:
    """One of their flags, with its value only if the row is for that value."""
    name, _, value = flag.partition(" ")
    return _code(name if value.isupper() else flag)


def _sentence(differs: str) -> str:
    return differs if "`" in differs else _FLAG.sub(r"`\1`", differs)


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def recipes() -> str:
    """Every built-in recipe in full."""
    parts = ["# Recipes", MADE + " [Prompts and data sets](../datasets.md#recipes-of-known-traffic) explains them."]
    for path in sorted(RECIPES.glob("*.yaml")):
        parts += [f"## {path.stem}", f"```yaml\n{path.read_text(encoding='utf-8')}```"]
    return "\n\n".join(parts) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "flags": flags,
    "metrics": metrics,
    "signs": signs,
    "files": files,
    "mock": mock,
    "faults": faults,
    "recipes": recipes,
    "other-tools": other_tools,
}
"""The site's pages under reference/, by name. docs/reference/index.md has a heading for each: `#flags`."""
