"""bench/documents/: what is in summary.json, as types for mypy, made of bench/report/summary.schema.json.

An object of the schema becomes a TypedDict, so that a name that the schema does not have, or a None that nobody looks at, is
found before it is run. Nothing of it is imported at run time.
"""

from __future__ import annotations

import argparse
import keyword
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "bench" / "report" / "summary.schema.json"
FOLDER = ROOT / "bench" / "documents"
NUMBERS, SUMMARY = "NumbersDocument", "SummaryDocument"

FILES = {
    "numbers": ("numbers that stand in several places", ()),
    "load": ("the load, and the state of the client", ("load", "instrument", "stalls", "window")),
    "tokens": ("tokens and inputs", ("tokens", "inputs")),
    "sessions": ("sessions and jobs", ("sessions", "jobs", "cancelled")),
    "server": ("what the server says", ("server_requests", "server", "gpu", "prefix_cache")),
    "series": ("the run over time", ("series", "distributions")),
    "summary": ("the whole, and its parts", ()),
}
"""The files: what each has, and of which keys of a summary. `numbers` has the definitions, `summary` all that is left."""
OPEN = {
    "run": "Mapping[str, Any]",
    "calibration": "Mapping[str, Any] | None",
}
"""Keys of a summary that have documents of their own."""
ADDED = ("run", "verdict", "calibration", "prefix_cache", "server", "gpu")
"""Keys of a summary that bench/evaluate.py adds to the numbers of the records."""
BY_NAME = re.compile("Latency|Compat|.*Ci95")
"""Objects whose keys are looked up by the name of a metric or of a statistic: their values are of one type."""
_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_WIDTH = 120


@dataclass
class Types:
    """The TypedDicts of a schema: their text by name, in the order in which one can be read after the other."""

    schema: Mapping[str, Any]
    found: dict[str, str] = field(default_factory=dict)
    of_defs: dict[str, str] = field(default_factory=dict)

    def of(self, schema: Mapping[str, Any], name: str) -> str:
        """The type of what a schema describes; `name` is what a TypedDict of it is called."""
        if "$ref" in schema:
            key = schema["$ref"].rsplit("/", 1)[1]
            if key not in self.of_defs:
                self.of_defs[key] = self.of(self.schema["$defs"][key], _name(key))
            return self.of_defs[key]
        if "anyOf" in schema:
            return _either([self.of(one, name) for one in schema["anyOf"]])
        if "const" in schema or "enum" in schema:
            values = schema.get("enum", [schema.get("const")])
            return _either(["None" if value is None else type(value).__name__ for value in values])
        kinds = schema.get("type", "object")
        return _either([self._kind(kind, schema, name) for kind in ([kinds] if isinstance(kinds, str) else kinds)])

    def _kind(self, kind: str, schema: Mapping[str, Any], name: str) -> str:
        if kind in _PLAIN:
            return _PLAIN[kind]
        if kind == "array":
            return f"Sequence[{self.of(schema['items'], f'{name}Row')}]"
        inner = schema.get("properties")
        if not inner:
            others = [*schema.get("patternProperties", {}).values()]
            if isinstance(schema.get("additionalProperties"), dict):
                others.append(schema["additionalProperties"])
            return f"Mapping[str, {_either([self.of(one, f'{name}Value') for one in others])}]"
        own = "" if name == SUMMARY else name
        types = {key: self.of(value, own + _name(key)) for key, value in inner.items() if own or key not in OPEN}
        if BY_NAME.fullmatch(name):
            return f"Mapping[str, {_either([*types.values()])}]"
        if not own:
            types = {key: OPEN.get(key) or types[key] for key in inner}
        needed = schema.get("required", ())
        fields = {key: kind if key in needed else f"NotRequired[{kind}]" for key, kind in types.items()}
        if not own:
            numbers = {key: fields.pop(key) for key in inner if key not in ADDED}
            self.found[NUMBERS] = _text(NUMBERS, numbers, "The numbers of the records and of the client")
        text = _text(name, fields, schema.get("description"), "TypedDict" if own else NUMBERS)
        assert self.found.setdefault(name, text) == text, f"two objects of the schema would be called {name}"
        return name


def _name(key: str) -> str:
    return "".join(part.capitalize() for part in key.split("_"))


def _either(types: list[str]) -> str:
    """One of these types, None last; a whole number is a number."""
    distinct = dict.fromkeys(one for joined in types for one in re.split(r" \| (?![^[]*\])", joined))
    if "float" in distinct:
        distinct.pop("int", None)
    return " | ".join(sorted(distinct, key=lambda one: one == "None")) or "object"


def _text(name: str, fields: Mapping[str, str], doc: str | None, base: str = "TypedDict") -> str:
    if any(keyword.iskeyword(key) for key in fields):  # Such names cannot be written as those of a class.
        inside = "".join(f'        "{key}": "{kind}",\n' for key, kind in fields.items())
        return f'{name} = TypedDict(\n    "{name}",\n    {{\n{inside}    }},\n)\n'
    said = "" if doc is None else f'    """{doc[0].upper()}{doc[1:].rstrip(".")}."""\n\n'
    said = textwrap.indent("\n".join(textwrap.wrap(said.strip(), _WIDTH - 6)), "    ") + "\n\n" if said else ""
    return f"class {name}({base}):\n{said}" + "".join(f"    {key}: {kind}\n" for key, kind in fields.items())


def files() -> dict[str, str]:
    """The files by name, made anew."""
    schema = orjson.loads(SCHEMA.read_bytes())
    types = Types(schema)
    homes: dict[str, str] = {}

    def made(file: str) -> None:
        for name in types.found:
            homes.setdefault(name, file)

    for key in schema["$defs"]:
        types.of({"$ref": f"#/$defs/{key}"}, "")
    made("numbers")
    for file, (_, keys) in FILES.items():
        for key in keys:
            types.of(schema["properties"][key], _name(key))
        made(file)
    types.of(schema, SUMMARY)
    made("summary")
    return {file: _file(file, types.found, homes) for file in FILES}


def _file(file: str, found: Mapping[str, str], homes: Mapping[str, str]) -> str:
    body = "\n\n".join(text for name, text in found.items() if homes[name] == file)
    words = set(re.findall(r"\w+", re.sub(r'""".*?"""', "", body, flags=re.DOTALL)))
    imports = [f"from collections.abc import {', '.join(n for n in ('Mapping', 'Sequence') if n in words)}"]
    imports.append(f"from typing import {', '.join(n for n in ('Any', 'NotRequired', 'TypedDict') if n in words)}")
    others: dict[str, list[str]] = {}
    for name in sorted(words & homes.keys()):
        if homes[name] != file:
            others.setdefault(homes[name], []).append(name)
    own = [f"from bench.documents.{other} import {', '.join(names)}" for other, names in sorted(others.items())]
    parts = [
        f'"""summary.json: {FILES[file][0]}. Made of bench/report/summary.schema.json by scripts/document-types."""',
        "from __future__ import annotations",
        "\n".join(line for line in imports if not line.endswith("import ")),
        *(["\n".join(own)] if own else []),
    ]
    return "\n\n".join(parts) + f"\n\n\n{body}"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for name, text in files().items():
        (FOLDER / f"{name}.py").write_text(text)
