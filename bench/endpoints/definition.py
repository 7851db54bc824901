"""A custom API as its YAML file defines it: path, body, how replies come, and where their text, tokens and errors are.

docs/endpoints.md has every key. `read_definition` reads a file; `definition_of` checks its content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from bench.endpoints.body_template import variables_in
from bench.endpoints.json_path import parse_path
from promptset.whole_file import load_yaml, yaml_problem

VARIABLES = ("model", "prompt", "messages", "system", "max_tokens", "stream", "ignore_eos", "role", "content")
"""What `{{ }}` in a body may name; the last two in the shape of a message."""
_PATHS = ("text", "reasoning", "finish", "error", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")


class ReplyPaths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where things are in an event, or in a whole reply. Each is a JSONPath."""

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
    """The shape of a message, with {{ role }} and {{ content }}; without it, messages are those of OpenAI's chat."""
    roles: dict[str, str] = {}
    system: Literal["apart", "message"] = "message"
    """`apart`: system messages are {{ system }}, and no messages."""
    reply: Literal["sse", "lines", "chunks", "whole"]
    limit: tuple[str, ...] = ()
    """Values of `finish` that say that a reply ended at its limit of tokens."""
    good: tuple[str, ...] = ()
    """Values of `finish` that are a success; none: all are."""
    whole: ReplyPaths = ReplyPaths()
    """What differs if the reply comes in one piece."""

    def paths(self, *, stream: bool) -> ReplyPaths:
        """Where things are in an event of a stream, or in a whole reply."""
        own = {name: getattr(self, name) for name in ReplyPaths.__struct_fields__}
        if not stream:
            found = {name: getattr(self.whole, name) for name in ReplyPaths.__struct_fields__}
            own |= {name: value for name, value in found.items() if value is not None}
        return ReplyPaths(**own)


def definition_of(content: Mapping[str, Any]) -> ApiDefinition:
    """Raises ValueError with every problem."""
    try:
        definition = msgspec.convert(content, ApiDefinition)
    except msgspec.ValidationError as e:
        raise ValueError(_plainly(str(e))) from None
    if problems := list(_problems(definition)):
        raise ValueError("; ".join(problems))
    return definition


def _plainly(words: str) -> str:
    """A sentence of msgspec in ours."""
    words = words.replace("Object contains unknown field", "there is no key").replace(
        "Object missing required field", "it lacks"
    )
    return words.replace(" - at `$", " at `").replace("`.", "`")


def _problems(definition: ApiDefinition) -> Iterator[str]:
    if definition.path is None or not definition.path.startswith("/"):
        yield "path must be the path of the API, beginning with /"
    for where, paths in (("", definition.paths(stream=True)), ("whole: ", definition.paths(stream=False))):
        for name in _PATHS:
            if (value := getattr(paths, name)) is None:
                continue
            try:
                parse_path(value)
            except ValueError as e:
                yield f"{where}{name}: {e}"
        if paths.end is not None:
            try:
                parse_path(paths.end.partition("=")[0])
            except ValueError as e:
                yield f"{where}end: {e}"
        if paths.text is None and definition.reply != "chunks":
            yield f"{where}text must be the path of the text, for example $.text"
    used = {*variables_in(definition.body), *variables_in(definition.message)}
    for name in sorted(used - {*VARIABLES}):
        yield f"body: {{{{ {name} }}}} is not known: use one of {', '.join(VARIABLES)}"
    if not used & {"prompt", "messages"}:
        yield "body must hold {{ prompt }} or {{ messages }}"


def is_file(name: str) -> bool:
    """Whether an endpoint is given as a file."""
    return name.endswith((".yaml", ".yml", ".json"))


def read_definition(path: Path) -> dict[str, Any]:
    """The content of a file, checked. Raises ValueError with what is wrong."""
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
