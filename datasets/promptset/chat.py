"""Chat templates, rendered as inference servers render them.

Servers render the model's Jinja template in a sandbox with `trim_blocks` and `lstrip_blocks`, the model's special
tokens, `raise_exception`, `strftime_now` and a `tojson` that escapes nothing. Each of them changes the count of tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from promptset.clock import strftime_now
from promptset.errors import SpecError

Message = dict[str, Any]
"""One turn, as in an OpenAI request: at least `role` and `content`."""

Tool = dict[str, Any]
"""A tool that may be called, as in an OpenAI request: `type` and `function`."""


class _Generation(Extension):
    """`{% generation %}` marks what an assistant said, for training; when a prompt is made it means nothing."""

    tags = {"generation"}  # noqa: RUF012 - the base class says a set

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


class ChatTemplate:
    """A compiled template with the special tokens of its tokenizer."""

    def __init__(self, source: str, special_tokens: Mapping[str, str], where: str) -> None:
        """Compiles `source`; `where` names it in errors. Raises SpecError."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = strftime_now
        self._where = where
        self._special_tokens = dict(special_tokens)
        try:
            self._template: Template = environment.from_string(source)
        except TemplateError as e:
            raise SpecError(f"the chat template of {where} cannot be compiled: {e}") from e

    def render(
        self, messages: Sequence[Message], tools: Sequence[Tool] | None = None, add_generation_prompt: bool = True
    ) -> str:
        """The text that the model is given, up to where its answer begins (`add_generation_prompt`). Raises SpecError."""
        try:
            return self._template.render(
                messages=list(messages),
                tools=list(tools) if tools else None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self._special_tokens,
            )
        except (TemplateError, TypeError, KeyError, AttributeError) as e:
            raise SpecError(f"the chat template of {self._where} refuses these messages: {e}") from e
