"""Chat templates, rendered as inference servers render them.

Servers render the model's Jinja template in a sandbox with `trim_blocks` and `lstrip_blocks`, the model's special
tokens, `raise_exception`, `strftime_now` and a `tojson` that escapes nothing. Each of these affects the token count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jinja2 import Template, TemplateError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from promptset.chat import Message, Tool
from promptset.clock import strftime_now
from promptset.errors import SpecError

if TYPE_CHECKING:
    from jinja2.parser import Parser


_OF_A_TEMPLATE = (
    TemplateError,
    ArithmeticError,  # A range beyond the sandbox's 100,000 raises OverflowError.
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,  # Raised by Python for blocks that are nested too deeply.
    TypeError,
    ValueError,
)
"""Exceptions from the template's code, which belongs to the user. They are not defects of ours."""


_PROBE = "probe"


class _Generation(Extension):
    """`{% generation %}` marks assistant text for training. In a prompt it has no effect."""

    tags = {"generation"}  # noqa: RUF012 - the base class says a set

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _by_chance(*args: object, **named: object) -> str:
    del args, named
    raise TemplateError("it draws by chance (random, lipsum), so that no count of its tokens holds")


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _loops_over_content(template: nodes.Template) -> bool:
    """Whether a template loops over message content, and so accepts a list of parts. vLLM decides the same way
    (`--chat-template-content-format auto`)."""
    for loop in template.find_all(nodes.For):
        over = [loop.iter, *loop.iter.find_all((nodes.Getattr, nodes.Getitem, nodes.Name))]
        for node in over:
            if isinstance(node, nodes.Getattr) and node.attr == "content":
                return True
            if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and node.arg.value == "content":
                return True
            if isinstance(node, nodes.Name) and node.name == "content":
                return True
    return False


def _with_text(message: Message) -> Message:
    """The message with its text parts joined by line breaks, as vLLM does for templates that accept only text.

    A message with any other part (such as an image) stays unchanged.
    """
    parts = message.get("content")
    if not isinstance(parts, list):
        return message
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        return message
    return {**message, "content": "\n".join(text for text in texts if text is not None)}


def _as_parts(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def _with_objects(message: Message) -> Message:
    """The message with call arguments as objects, as vLLM and transformers pass them to templates."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [_call_with_object(call) for call in calls]}


def _call_with_object(call: object) -> object:
    if not isinstance(call, dict):
        return call
    function = call.get("function")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(arguments, str):
        return call
    try:
        parsed = json.loads(arguments) if arguments else {}
    except json.JSONDecodeError:
        return call
    return {**call, "function": {**function, "arguments": parsed}}


def _why(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def special_tokens_of(source: str) -> frozenset[str]:
    """The special tokens that a template needs, such as `bos_token`: it uses them without testing whether they are
    defined.

    Empty if the template cannot be compiled.
    """
    try:
        parsed = _environment().parse(source)
        names = {name for name in meta.find_undeclared_variables(parsed) if name.endswith("_token")}
    except _OF_A_TEMPLATE:
        return frozenset()
    tested = {
        test.node.name
        for test in parsed.find_all(nodes.Test)
        if test.name in ("defined", "undefined") and isinstance(test.node, nodes.Name)
    }
    return frozenset(names - tested)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = strftime_now
    environment.filters["random"] = environment.globals["lipsum"] = _by_chance
    return environment


class ChatTemplate:
    """A compiled template with the special tokens of its tokenizer."""

    def __init__(self, source: str, special_tokens: Mapping[str, str], where: str) -> None:
        """Compiles `source`. `where` names it in error messages. Raises SpecError."""
        environment = _environment()
        self._where = where
        self._special_tokens = dict(special_tokens)
        try:
            self._template: Template = environment.from_string(source)
            self._takes_parts = _loops_over_content(environment.parse(source))
            self._needs_parts = False
            # Some templates that accept parts accept nothing else, and vLLM then sends only parts.
            if self._takes_parts and not self._writes(_PROBE):
                self._needs_parts = self._writes(_as_parts(_PROBE))
        except _OF_A_TEMPLATE as e:
            raise SpecError(f"the chat template of {where} cannot be compiled: {_why(e)}") from e

    def _writes(self, content: object) -> bool:
        """Whether the rendered text contains the user's text."""
        try:
            return _PROBE in self.render([{"role": "user", "content": content}])
        except SpecError:
            return False

    def render(
        self, messages: Sequence[Message], tools: Sequence[Tool] | None = None, add_generation_prompt: bool = True
    ) -> str:
        """The rendered prompt, up to the start of the answer (`add_generation_prompt`). Raises SpecError."""
        try:
            return self._template.render(
                messages=[_with_objects(self._with_content(message)) for message in messages],
                tools=list(tools) if tools else None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self._special_tokens,
            )
        except _OF_A_TEMPLATE as e:
            raise SpecError(f"the chat template of {self._where} refuses these messages: {_why(e)}") from e

    def _with_content(self, message: Message) -> Message:
        """The message with its content in the form that the template accepts."""
        if not self._takes_parts:
            return _with_text(message)
        content = message.get("content")
        return {**message, "content": _as_parts(content)} if self._needs_parts and isinstance(content, str) else message
