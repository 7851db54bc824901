"""The content of a reply that is not plain text: tool calls, or a document.

Rules:
- `tool_choice` required or a named tool: the reply calls tools. `auto`: it does if the last message is the user's and the
  draw of `--tool-share` decides so; otherwise it is text. After a tool result the reply is text.
- A tool call has one token for its id and name, which are sent together, and the tokens of its arguments.
- A reply ends by itself, so its length is drawn and `max_tokens` is its limit; `ignore_eos` and `min_tokens` ask for more
  (generation.py). It has this length if a string of the (last) document may be that long. A shorter complete document
  ends there. One longer than `max_tokens` is truncated, as on a real server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mockserver import rng
from mockserver.dialect.frames import Block, ToolCall
from mockserver.dialect.params import RequestParams
from mockserver.documents.grammar import check_schema
from mockserver.documents.lengths import ANY_OBJECT, DocumentMaker
from mockserver.plans.plan import StreamKey
from mockserver.rng import Random
from promptset.tokens import Tokenizer

_NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class ToolRule:
    """The rule by which a reply calls tools."""

    share: float
    """The share of replies that call a tool if they are free to choose."""
    calls: int
    """The maximum number of tools to call."""
    asked: int | None = None
    """The number of calls set by the request's header, if the reply is free to choose. 0 makes it text."""


@dataclass(frozen=True, slots=True)
class Script:
    """The content to generate: tool calls by name, or a document."""

    calls: tuple[tuple[str, dict[str, Any]], ...]
    """The name and the schema of each tool to call."""
    schema: dict[str, Any] | None = None
    """The schema of the document."""


@dataclass(frozen=True, slots=True)
class Scripted:
    """The tokens of a scripted reply."""

    texts: list[str]
    blocks: tuple[Block, ...]
    is_whole: bool
    """Whether nothing was truncated."""


def script_of(params: RequestParams, rule: ToolRule, seed: int, key: StreamKey) -> Script | None:
    """The content of the reply to a request. None: text."""
    tools = _tools_to_call(params, rule, seed, key)
    if tools:
        return Script(tuple(tools))
    if params.document is not None:
        return Script((), ANY_OBJECT if params.document.schema is None else params.document.schema)
    return None


def _tools_to_call(
    params: RequestParams, rule: ToolRule, seed: int, key: StreamKey
) -> list[tuple[str, dict[str, Any]]]:
    choice = params.tool_choice
    if not params.tools or choice.mode == "none":
        return []
    chance = rng.stream(seed, "tool_calls", key)
    drawn = chance.random()
    calls = rule.calls if rule.asked is None else rule.asked
    if choice.mode == "auto":
        last = params.messages[-1]["role"] if params.messages else None
        if last != "user" or calls == 0 or (rule.asked is None and drawn >= rule.share):
            return []
    functions = [tool["function"] for tool in params.tools]
    if choice.name is not None:
        functions = [function for function in functions if function["name"] == choice.name]
    number = 1 if choice.name is not None or not params.parallel_calls else max(1, calls)
    chosen = [functions[int(chance.random() * len(functions))] for _ in range(number)]
    return [(function["name"], function.get("parameters") or _NO_ARGUMENTS) for function in chosen]


class ScriptWriter:
    """Turns scripts into tokens."""

    def __init__(self, tokenizer: Tokenizer, maker: DocumentMaker) -> None:
        self._tokenizer = tokenizer
        self._maker = maker

    def write(self, script: Script, tokens: int, most: int, seed: int, key: StreamKey) -> Scripted:
        """The tokens of a reply: `tokens` of them if the documents allow it, and never more than `most`. Raises
        Impossible. Slow: call it in a thread."""
        for schema in [schema for _, schema in script.calls] if script.schema is None else [script.schema]:
            check_schema(schema)
        chance = rng.stream(seed, "document", key)
        if script.schema is not None:
            texts = pieces_of(self._tokenizer, self._maker.make(script.schema, tokens, chance))
            whole = len(texts) <= most
            texts = texts[:most]
            return Scripted(texts, (Block("text", 0, len(texts)),), whole)
        texts, blocks, left = [], [], len(script.calls)
        for name, schema in script.calls:
            left -= 1
            # The last call takes the rest of the length; the others have their natural length.
            room = tokens - len(texts) - 1
            arguments = pieces_of(self._tokenizer, self._maker.make(schema, room if left == 0 else 0, chance))
            if texts and len(texts) + 1 + len(arguments) > most:
                break
            blocks.append(Block("tool", len(texts), len(texts) + 1 + len(arguments), _call(name, chance)))
            texts += ["", *arguments]
        whole = len(texts) <= most
        return Scripted(texts[:most], tuple(_cut(block, most) for block in blocks), whole)

    def say(self, text: str, tool: str | None, most: int, chance: Random) -> Scripted:
        """The tokens of a text, or of one call of a tool with these arguments, at most `most`."""
        texts = pieces_of(self._tokenizer, text)
        call = None if tool is None else _call(tool, chance)
        if call is not None:
            texts = ["", *texts]
        block = Block("text" if call is None else "tool", 0, len(texts), call)
        return Scripted(texts[:most], (_cut(block, most),), len(texts) <= most)


def _call(name: str, chance: Random) -> ToolCall:
    return ToolCall(f"call_{chance.getrandbits(96):024x}", name)


def _cut(block: Block, most: int) -> Block:
    return block if block.stop <= most else Block(block.kind, block.start, most, block.call)


_CONTEXT = 4
"""Tokens to decode before a new one, because some tokenizers decode a token differently at the start of a text."""
_CUT = "\ufffd"


def pieces_of(tokenizer: Tokenizer, text: str) -> list[str]:
    """One text per token. A token that ends inside a character has an empty text; the next has the whole character."""
    ids = tokenizer.encode(text)
    pieces: list[str] = []
    start = shown = 0
    for stop in range(1, len(ids) + 1):
        before, now = tokenizer.decode(ids[start:shown]), tokenizer.decode(ids[start:stop])
        if now.endswith(_CUT) and stop < len(ids):
            pieces.append("")
            continue
        pieces.append(now[len(before) :])
        shown = stop
        start = max(start, shown - _CONTEXT)
    if pieces and "".join(pieces) != text:
        # The tokenizer does not round-trip the text, so all of it goes into the first token.
        pieces = [text, *[""] * (len(pieces) - 1)]
    return pieces
