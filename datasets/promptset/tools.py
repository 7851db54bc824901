"""Tools of a chat, as in an OpenAI request: `[{"type": "function", "function": {"name": ...}}, ...]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson

from promptset.chat import Message, Tool
from promptset.depth import TOO_DEEP, too_deep
from promptset.errors import SpecError
from promptset.large_numbers import large_number
from promptset.tokenizer import Tokenizer
from promptset.whole_file import read_bytes


def tools_problems(tools: object) -> list[str]:
    """Problems with a list of tools. None means no tools."""
    if tools is None:
        return []
    if not isinstance(tools, list) or not tools:
        return ["tools must be a list that is not empty"]
    return [
        f'tool {number} must be {{"type": "function", "function": {{"name": ...}}}}'
        for number, tool in enumerate(tools, 1)
        if not isinstance(tool, dict)
        or tool.get("type") != "function"
        or not isinstance(tool.get("function"), dict)
        or not isinstance(tool["function"].get("name"), str)
    ]


def load_tools(path: Path) -> tuple[Tool, ...]:
    """The tools in a JSON file. Raises SpecError with every problem."""
    try:
        content = read_bytes(path)
        tools = orjson.loads(content)
    except OSError as e:
        raise SpecError(f"{path} cannot be read: {e.strerror}") from e
    except orjson.JSONDecodeError as e:
        raise SpecError(f"{path} is not JSON: {e}") from e
    if too_deep(tools):
        raise SpecError(f"{path} is {TOO_DEEP}")
    if too_large := large_number(content):
        raise SpecError(f"{path}: {too_large}")
    if problems := tools_problems(tools) or ([] if tools else ["it has no tools"]):
        raise SpecError([f"{path}: {problem}" for problem in problems])
    return tuple(tools)


def ignored_note(tokenizer: Tokenizer, tools: Sequence[Tool] | None) -> str | None:
    """A note if the chat template ignores the tools, else None. Raises SpecError."""
    if not tools:
        return None
    chat: list[Message] = [{"role": "user", "content": "the"}]
    if tokenizer.count_chat(chat, tools) != tokenizer.count_chat(chat):
        return None
    return f"the chat template of {tokenizer.name} ignores tools: they are sent and cost no tokens"
