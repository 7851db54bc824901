"""Makes the JSON schema of a file from the types of its content: msgspec's schema, with descriptions and no other keys."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bench.results.base import Result

DRAFT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def schema_of(content: type[Result], title: str, lists: Mapping[str, Sequence[str]]) -> Schema:
    """The schema of a file with this content. `lists`: keys of tables that always have the same keys, by the name in
    `every_key(of=...)`."""
    (root,), parts = msgspec.json.schema_components([content], ref_template="#/$defs/{name}")
    types = {kind.__name__: kind for kind in _results(content)}
    definitions = {
        name: _object(part, types[name], lists) if name in types else {"enum": sorted(part["enum"])}
        for name, part in parts.items()
    }
    body = definitions.pop(root["$ref"].rsplit("/", 1)[1])
    described = {"$schema": DRAFT, "title": title, "description": body.pop("description")}
    return {**described, **body, **({"$defs": dict(sorted(definitions.items()))} if definitions else {})}


def _results(content: type[Result]) -> set[type[Result]]:
    """The types of all parts of a content."""
    types: set[type[Result]] = set()

    def walk(kind: msgspec.inspect.Type) -> None:
        if isinstance(kind, msgspec.inspect.StructType) and kind.cls not in types:
            types.add(kind.cls)  # type: ignore[arg-type]
            for field in kind.fields:
                walk(field.type)
        for name in getattr(kind, "__struct_fields__", ()):
            inner = getattr(kind, name)
            for child in inner if isinstance(inner, tuple) else (inner,):
                if isinstance(child, msgspec.inspect.Type):
                    walk(child)

    walk(msgspec.inspect.type_info(content))
    return types


def _object(part: Schema, kind: type[Result], lists: Mapping[str, Sequence[str]]) -> Schema:
    """The schema of one type: each field with its description, and no other keys."""
    words, properties, conditions = descriptions(kind), {}, []
    always = not kind.__struct_config__.omit_defaults
    names = dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
    for key, value in part["properties"].items():
        field = dict(value)
        default = field.pop("default", ...)
        if default is None and not always:  # It may be missing, but is never null.
            field["anyOf"] = [option for option in field["anyOf"] if option != {"type": "null"}]
        field = _short(field, lists)
        for choice, needed in field.pop("x-needs", {}).items():
            conditions.append({"if": {"properties": {key: {"const": choice}}}, "then": {"required": needed}})
        properties[key] = {**field, **({"description": words[names[key]]} if names.get(key) in words else {})}
    described = {"description": " ".join(part["description"].split())} if "description" in part else {}
    return {
        **described,
        "type": "object",
        "additionalProperties": False,
        "required": [*properties] if always else part["required"],
        "properties": properties,
        **({"allOf": conditions} if conditions else {}),
    }


def _short(node: Schema, lists: Mapping[str, Sequence[str]]) -> Schema:
    """A shorter equivalent: one type with null instead of a choice, and keys instead of a table of them."""
    node = {name: value for name, value in node.items() if name not in ("discriminator", "x-any")}
    for name in ("items", "additionalProperties"):
        if isinstance(node.get(name), dict):
            node[name] = _short(node[name], lists)
    choices = [_short(option, lists) for option in node.pop("anyOf", ())]
    if choices:
        node = {**_together(choices), **node}
    if "enum" in node:
        node.pop("type", None)
    if len(node.get("enum", ())) == 1:
        node["const"] = node.pop("enum")[0]
    if "x-every-key" in node:
        names, of, optional = node.pop("x-every-key"), node.pop("x-of"), node.pop("x-optional")
        every = names if of is None else lists[of]
        node["properties"] = dict.fromkeys([*every, *optional], node["additionalProperties"])
        required = [key for key in every if not names or key in names]
        node |= {"required": required, "additionalProperties": False}
    return node


def _together(choices: list[Schema]) -> Schema:
    """A single schema for a choice between several."""
    if {"type": "number"} in choices:
        choices = [option for option in choices if option != {"type": "integer"}]
    nullable = {"type": "null"} in choices
    others = [option for option in choices if option != {"type": "null"}]
    if len(others) != 1:
        return {"anyOf": choices}
    (only,) = others
    if not nullable:
        return only
    if "enum" in only:
        return {"enum": [*only["enum"], None]}
    return {**only, "type": [only["type"], "null"]} if "type" in only else {"anyOf": [only, {"type": "null"}]}


def descriptions(kind: type[msgspec.Struct]) -> dict[str, str]:
    """The description of each field of a type, including inherited fields: the string below it."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, msgspec.Struct) and base not in (Result, msgspec.Struct):
            texts |= _described(base)
    return texts


def _described(kind: type[msgspec.Struct]) -> dict[str, str]:
    (declared,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(declared, ast.ClassDef)
    texts = {}
    for field, below in zip(declared.body, declared.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            assert isinstance(below.value, ast.Constant)
            texts[field.target.id] = " ".join(str(below.value.value).split())
    return texts
