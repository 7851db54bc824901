"""A custom API as its YAML file defines it: path, body, how replies arrive, and where their text, tokens and errors
are.

docs/endpoints.md has every key. `read_definition` reads a file; `definition_of` checks its content.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import orjson
import yaml

from bench.endpoints.body_template import no_places_in, variables_in
from bench.endpoints.json_path import parse_path, parse_sum
from promptset.header_values import HEADER_NAME, header_problems
from promptset.whole_file import load_yaml, yaml_problem

OF_BODY = ("model", "prompt", "messages", "system", "max_tokens", "stream", "ignore_eos")
"""The names that `{{ }}` in a body may use."""
OF_MESSAGE = ("role", "content")
"""The names that `{{ }}` in a message may use."""
_PATHS = ("text", "reasoning", "finish", "error", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens",
          "end")  # fmt: skip
_PRINTABLE = re.compile(r'[!"$-z|~]*')
"""ASCII without white space, braces and #."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ReplyPaths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where values are in an event, or in a whole reply. Each is a JSONPath."""

    path: str | None = None
    text: str | None = None
    reasoning: str | None = None
    finish: str | None = None
    error: str | None = None
    input_tokens: str | None = None
    output_tokens: str | None = None
    cached_tokens: str | None = None
    reasoning_tokens: str | None = None
    end: str | None = None
    """The last event: a path that has a value there, or PATH=VALUE."""


class ApiDefinition(ReplyPaths, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a file."""

    body: dict[str, Any]
    about: str = ""
    root: str = ""
    key: str = "bearer"
    """The header of the API key; `bearer`: authorization."""
    key_variable: str = "TRUELOAD_API_KEY"
    headers: dict[str, str] = {}
    message: dict[str, Any] | None = None
    """The format of a message, with {{ role }} and {{ content }}; without it, messages use the format of OpenAI's chat."""
    roles: dict[str, str] = {}
    system: Literal["apart", "message"] = "message"
    """`apart`: system messages become {{ system }} instead of messages."""
    reply: Literal["sse", "lines", "chunks", "whole"]
    limit: tuple[str, ...] = ()
    """Values of `finish` for a reply that ended at its token limit."""
    good: tuple[str, ...] = ()
    """Values of `finish` that are a success; if empty, all are."""
    whole: ReplyPaths = ReplyPaths()
    """Paths that differ if the reply comes in one piece."""

    def paths(self, *, stream: bool) -> ReplyPaths:
        """The paths for an event of a stream, or for a whole reply."""
        fields = {name: getattr(self, name) for name in ReplyPaths.__struct_fields__}
        if not stream:
            overrides = {name: getattr(self.whole, name) for name in ReplyPaths.__struct_fields__}
            fields |= {name: value for name, value in overrides.items() if value is not None}
        return ReplyPaths(**fields)


_HARMLESS: Mapping[str, Any] = {
    "path": "/",
    "body": {"a": "{{ prompt }}{{ messages }}{{ system }}"},
    "reply": "chunks",
    "text": "$",
    "finish": "$",
}
"""Replaces a wrong or missing value while the others are checked: another value would make them look wrong too."""


def definition_of(content: Mapping[str, Any]) -> ApiDefinition:
    """Validate a definition. Raises ValueError with every problem."""
    wrong = [*_wrong_keys(content, ApiDefinition), *_wrong_values(content)]
    definition = msgspec.convert(_right(content, ApiDefinition, {key for key, _ in wrong}), ApiDefinition)
    problems = [*(words for _, words in wrong), *_problems(definition), *_without_effect(definition)]
    if problems:
        raise ValueError("; ".join(problems))
    return definition


def _right(content: Mapping[str, Any], kind: type[ReplyPaths], wrong: Set[str], where: str = "") -> dict[str, Any]:
    """The content without its unknown keys and wrong values."""
    right: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        name, key = field.name, where + field.name
        if key in wrong:
            right |= {name: _HARMLESS[name]} if name in _HARMLESS else {}
        elif field.type is ReplyPaths and name in content:
            right[name] = _right(content[name], ReplyPaths, wrong, f"{key}.")
        elif name in content:
            right[name] = content[name]
    return right


_IN_WORDS = {"str": "a string", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list",
             "object": "keys with values", "null": "nothing"}  # fmt: skip
_TYPES = re.compile(r"Expected `(\w+)(?: \| null)?`, got `(\w+)`(?: - at `\$(?P<place>.*)`)?(?P<key> - at `key` in)?")


def _wrong_keys(content: Mapping[str, Any], kind: type[ReplyPaths], where: str = "") -> Iterator[tuple[str, str]]:
    """Unknown keys, missing keys, and values of the wrong type: the wrong or intended key, and a sentence."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for name in content:
        if name not in fields:
            near = next(iter(difflib.get_close_matches(str(name), fields, n=1)), None)
            meant = near if near is not None and near not in content else name
            yield f"{where}{meant}", f"there is no key {where}{name}" + (f": did you mean {near}?" if near else "")
    for name, field in fields.items():
        key = where + name
        if name not in content:
            if field.required:
                yield key, f"{name} is missing"
        elif field.type is ReplyPaths and isinstance(content[name], Mapping):
            yield from _wrong_keys(content[name], ReplyPaths, f"{key}.")
        elif name != "headers":
            try:
                msgspec.convert(content[name], field.type)
            except msgspec.ValidationError as e:
                yield key, f"{key}{_plainly(str(e), get_args(field.type))}"


def _plainly(words: str, choices: Sequence[object]) -> str:
    """A message of msgspec in plain words, preceded by the place that it names."""
    types = _TYPES.search(words)
    if types is None:
        return f" must be one of {', '.join(map(str, choices))}, not {words.partition('value ')[2]}"
    wanted, actual = (_IN_WORDS.get(word, word) for word in types.group(1, 2))
    quoted = ": put it in quotes" if types[1] == "str" and types[2] in ("int", "float", "bool") else ""
    place = " has a key that" if types["key"] else types["place"] or ""
    return f"{place} must be {wanted}, not {actual}{quoted}"


def _wrong_values(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Headers that cannot be sent, and bodies that are not JSON, in the form of `_wrong_keys`."""
    yield from (("headers", words) for words in header_problems(content.get("headers")))
    for name in ("body", "message"):
        try:
            orjson.dumps(content.get(name), option=orjson.OPT_NON_STR_KEYS)  # Such keys are reported elsewhere.
        except TypeError as e:
            yield name, f"{name} cannot be written as JSON ({e})"


def _problems(definition: ApiDefinition) -> Iterator[str]:
    if definition.path is None:
        yield "path must be the path of the API, beginning with /"
    for where, paths in (("", definition), ("whole: ", definition.whole)):
        if paths.path is not None and not _is_path(paths.path):
            words = f"path must be the path of the API, beginning with / and without white space, not {paths.path!r}"
            yield f"{where}{words}: write {{model}} where the model's name stands"
        yield from (f"{where}{problem}" for problem in _wrong_paths(paths))
    if definition.root and not _is_path(definition.root):
        yield f"root must begin with /, not {definition.root!r}"
    for stream, where in ((True, ""), (False, "whole: ")):
        if definition.paths(stream=stream).text is None and definition.reply != "chunks":
            yield f"{where}text must be the path of the text, for example $.text"
            break
    if not HEADER_NAME.fullmatch(definition.key):
        yield f"key must be the name of the header that carries the API key, or bearer, not {definition.key!r}"
    if not _VARIABLE.fullmatch(definition.key_variable):
        yield f"key_variable must be the name of an environment variable, not {definition.key_variable!r}"
    yield from _wrong_body("body", definition.body, OF_BODY)
    yield from _wrong_body("message", definition.message, OF_MESSAGE)


def _is_path(text: str) -> bool:
    plain = text.replace("{model}", "")
    return plain.startswith("/") and _PRINTABLE.fullmatch(plain) is not None


def _wrong_paths(paths: ReplyPaths) -> Iterator[str]:
    for name in _PATHS:
        value = getattr(paths, name)
        try:
            if value is not None and name.endswith("_tokens"):
                parse_sum(value)
            elif value is not None:
                parse_path(value.partition("=")[0] if name == "end" else value)
        except ValueError as e:
            yield f"{name}: {e}"


def _wrong_body(where: str, template: Mapping[str, Any] | None, known: Sequence[str]) -> Iterator[str]:
    for name in sorted({*variables_in(template)} - {*known}):
        yield f"{where}: {{{{ {name} }}}} is not known: use one of {', '.join(known)}"
    for text in no_places_in(template):
        yield f"{where}: {text!r} has {{{{ without the name of a value: use one of {', '.join(known)}"


def _without_effect(definition: ApiDefinition) -> Iterator[str]:
    """Keys that have no effect, and what they need."""
    used = {*variables_in(definition.body)}
    if not used & {"prompt", "messages"}:
        yield "body must hold {{ prompt }} or {{ messages }}"
    elif "messages" not in used:
        for name in ("message", "roles"):
            if getattr(definition, name):
                yield f"{name} has no effect: body has no {{{{ messages }}}}"
    elif definition.system == "apart" and "system" not in used:
        yield "system: apart takes the system messages out of {{ messages }}: put {{ system }} into body"
    if definition.message is not None and "content" not in {*variables_in(definition.message)}:
        yield "message must hold {{ content }}"
    for name in ("limit", "good"):
        if getattr(definition, name) and definition.finish is None and definition.whole.finish is None:
            yield f"{name} has no effect without finish, the path of why a reply ended"


def is_file(name: str) -> bool:
    """Whether the endpoint is a file name."""
    return name.endswith((".yaml", ".yml", ".json"))


def read_definition(path: Path) -> dict[str, Any]:
    """The validated content of a file. Raises ValueError with what is wrong."""
    try:
        return dict(_read(path, path.stat().st_mtime_ns))
    except OSError as e:
        raise ValueError(f"the file {path} cannot be read ({e.strerror})") from e


@lru_cache(maxsize=16)
def _read(path: Path, changed_ns: int) -> Mapping[str, Any]:
    del changed_ns
    try:
        content = load_yaml(path)
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise ValueError(f"{path}{yaml_problem(e)}") from e
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold keys with values: path, body, reply, text")
    try:
        definition_of(content)
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e
    return content


SHIPPED = Path(__file__).with_name("apis")


@lru_cache(maxsize=1)
def shipped() -> dict[str, Path]:
    """The APIs that come with Trueload, by the name that `--endpoint` takes."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}
