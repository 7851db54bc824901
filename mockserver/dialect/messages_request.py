"""Bodies of `/v1/messages` and of `/v1/messages/count_tokens`: what vLLM accepts, with errors in Anthropic's format.

As in vLLM, a body is converted to a chat request: `system` becomes the first message, a `tool_result` a message of the
role `tool`, `tool_use` blocks the calls of a message, `thinking` its reasoning. Unknown fields are ignored.
"""

from __future__ import annotations

from typing import Any, NoReturn

import orjson

from mockserver.dialect.params import DocumentFormat, RequestParams, ToolChoice
from mockserver.dialect.refusals import refuse
from mockserver.dialect.sampling import check_sampling, own_length

Row = dict[str, Any]

_BILLING = "x-anthropic-billing-header"
"""Prefix of a text that differs in each request of a client. vLLM drops it."""
_LEAST_BUDGET = 1024
_BLOCKS = (
    "text", "image", "tool_use", "tool_result", "tool_reference", "thinking", "redacted_thinking", "tool_addition",
    "tool_removal",
)  # fmt: skip
_SAMPLING = ("temperature", "top_p", "top_k")


def parse_messages(row: Row) -> RequestParams:
    """A body of /v1/messages. Raises Refusal (400)."""
    prompt = parse_prompt(row)
    asked = row.get("max_tokens")
    if asked is None:
        _wrong("max_tokens", "Field required")
    if type(asked) is not int:
        _wrong("max_tokens", "Input should be a valid integer")
    if asked < 1:
        _wrong("max_tokens", "Input should be greater than or equal to 1")
    stream = _flag(row, "stream", "stream")
    _check_thinking(row.get("thinking"), asked)
    check_sampling({name: row.get(name) for name in _SAMPLING}, asked, chat=True)
    choice, parallel = _tool_choice(row.get("tool_choice"), prompt.tools)
    return RequestParams(
        stream=stream,
        # The first event carries the input tokens.
        continuous_usage=stream,
        asked_tokens=asked,
        messages=prompt.messages,
        tools=prompt.tools,
        stop=_stops(row.get("stop_sequences")),
        tool_choice=choice,
        parallel_calls=parallel,
        document=_document(row.get("output_config")),
        **own_length(row),
    )


def parse_prompt(row: Row) -> RequestParams:
    """The fields of a body that form the prompt. Raises Refusal (400)."""
    if not isinstance(row.get("model"), str) or not row["model"]:
        _wrong("model", "Field required" if row.get("model") is None else "Input should be a valid string")
    entries = row.get("messages")
    if entries is None:
        _wrong("messages", "Field required")
    if not isinstance(entries, list):
        _wrong("messages", "Input should be a valid list")
    messages: list[Row] = []
    if system := _system(row.get("system"), "system"):
        messages.append({"role": "system", "content": system})
    for i, message in enumerate(entries):
        messages += _message(message, f"messages.{i}")
    if all(message["role"] == "system" for message in messages):
        _wrong("messages", "at least one message is required")
    return RequestParams(stream=False, messages=messages, tools=_tools(row.get("tools")))


def _wrong(where: str, problem: str) -> NoReturn:
    refuse(f"{where}: {problem}", where)


def _object(value: object, where: str) -> Row:
    if not isinstance(value, dict):
        _wrong(where, "Input should be a valid dictionary")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        _wrong(where, "Field required" if value is None else "Input should be a valid string")
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        _wrong(where, "Input should be a valid list")
    return value


def _flag(row: Row, name: str, where: str) -> bool:
    value = row.get(name)
    if value is not None and not isinstance(value, bool):
        _wrong(where, "Input should be a valid boolean")
    return bool(value)


def _stops(value: object) -> tuple[str, ...]:
    stops = () if value is None else _list(value, "stop_sequences")
    for i, stop in enumerate(stops):
        if not _text(stop, f"stop_sequences.{i}"):
            _wrong(f"stop_sequences.{i}", "stop sequences cannot be empty")
    return tuple(stops)


def _document(value: object) -> DocumentFormat | None:
    """`output_config.format`: the schema of a JSON reply."""
    form = None if value is None else _object(value, "output_config").get("format")
    if form is None:
        return None
    where = "output_config.format"
    kind = _object(form, where).get("type")
    if kind != "json_schema":
        _wrong(f"{where}.type", "Input should be 'json_schema'")
    return DocumentFormat(_object(form.get("schema"), f"{where}.schema"))


def _check_thinking(value: object, asked: int) -> None:
    if value is None:
        return
    thinking = _object(value, "thinking")
    if thinking.get("type") not in ("enabled", "disabled", "adaptive"):
        _wrong("thinking.type", "Input should be 'enabled', 'disabled' or 'adaptive'")
    if thinking["type"] != "enabled":
        return
    budget = thinking.get("budget_tokens")
    if type(budget) is not int:
        _wrong("thinking.budget_tokens", "Field required" if budget is None else "Input should be a valid integer")
    if budget < _LEAST_BUDGET:
        _wrong("thinking.budget_tokens", f"Input should be greater than or equal to {_LEAST_BUDGET}")
    if budget >= asked:
        _wrong("max_tokens", "must be greater than `thinking.budget_tokens`")


def _tools(value: object) -> list[Row] | None:
    if value is None:
        return None
    tools = []
    for i, entry in enumerate(_list(value, "tools")):
        where = f"tools.{i}"
        tool = _object(entry, where)
        function: Row = {"name": _text(tool.get("name"), f"{where}.name")}
        if tool.get("description") is not None:
            function["description"] = _text(tool["description"], f"{where}.description")
        schema = tool.get("input_schema")
        if schema is None:
            _wrong(f"{where}.input_schema", "Field required")
        function["parameters"] = {**_object(schema, f"{where}.input_schema")}
        function["parameters"].setdefault("type", "object")
        tools.append({"type": "function", "function": function})
    return tools


def _tool_choice(value: object, tools: list[Row] | None) -> tuple[ToolChoice, bool]:
    """The tool choice, and whether one reply may call several tools."""
    if value is None:
        return ToolChoice(), True
    choice = _object(value, "tool_choice")
    kind = choice.get("type")
    if kind not in ("auto", "any", "tool", "none"):
        _wrong("tool_choice.type", "Input should be 'auto', 'any', 'tool' or 'none'")
    parallel = not _flag(choice, "disable_parallel_tool_use", "tool_choice.disable_parallel_tool_use")
    if kind in ("auto", "none"):
        return ToolChoice(kind), parallel
    if not tools:
        _wrong("tool_choice", "tools must be given with this tool choice")
    if kind == "any":
        return ToolChoice("required"), parallel
    name = _text(choice.get("name"), "tool_choice.name")
    if all(tool["function"]["name"] != name for tool in tools):
        _wrong("tool_choice.name", f"Tool '{name}' not found in provided tools")
    return ToolChoice("required", name), parallel


def _system(value: object, where: str) -> str:
    if value is None or isinstance(value, str):
        return "" if value is None or value.startswith(_BILLING) else value
    texts = []
    for i, entry in enumerate(_list(value, where)):
        block = _block(entry, f"{where}.{i}")
        if block["type"] == "text" and not block["text"].startswith(_BILLING):
            texts.append(block["text"])
    return "".join(texts)


def _block(value: object, where: str) -> Row:
    block = _object(value, where)
    if block.get("type") not in _BLOCKS:
        _wrong(f"{where}.type", f"Input should be one of {', '.join(map(repr, _BLOCKS))}")
    for kind, field in (("text", "text"), ("thinking", "thinking"), ("tool_use", "name"), ("tool_use", "id")):
        if block["type"] == kind:
            _text(block.get(field), f"{where}.{field}")
    if block["type"] == "tool_use":
        _object(block.get("input"), f"{where}.input")
    if block["type"] == "tool_result":
        _text(block.get("tool_use_id"), f"{where}.tool_use_id")
    if block["type"] == "image":
        _image(block, where)
    return block


def _image(block: Row, where: str) -> Row:
    source = _object(block.get("source"), f"{where}.source")
    if source.get("type") == "url":
        url = _text(source.get("url"), f"{where}.source.url")
    else:
        data = _text(source.get("data"), f"{where}.source.data")
        media = source.get("media_type", "image/jpeg")
        url = f"data:{_text(media, f'{where}.source.media_type')};base64,{data}"
    return {"type": "image_url", "image_url": {"url": url}}


def _message(value: object, where: str) -> list[Row]:
    message = _object(value, where)
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant", "system"):
        _wrong(f"{where}.role", "Input should be 'user', 'assistant' or 'system'")
    if role == "system":
        text = _system("" if content is None else content, f"{where}.content")
        return [{"role": "system", "content": text}] if text else []
    if content is None:
        _wrong(f"{where}.content", "Field required")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    blocks = [_block(block, f"{where}.content.{i}") for i, block in enumerate(_list(content, f"{where}.content"))]
    results = [
        result
        for i, block in enumerate(blocks)
        if block["type"] == "tool_result"
        for result in _tool_result(block, f"{where}.content.{i}.content")
    ]
    rest = _from_blocks(role, blocks, where)
    # As in vLLM: tool results come before the rest of the user's message.
    return [*results, *([rest] if len(rest) > 1 or role == "assistant" else [])]


def _from_blocks(role: str, blocks: list[Row], where: str) -> Row:
    """One message from the blocks that are not tool results."""
    parts, calls, reasoning = [], [], []
    for i, block in enumerate(blocks):
        if block["type"] == "text" and block["text"]:
            parts.append({"type": "text", "text": block["text"]})
        elif block["type"] == "image":
            parts.append(_image(block, f"{where}.content.{i}"))
        elif block["type"] == "thinking":
            reasoning.append(block["thinking"])
        elif block["type"] == "tool_use":
            function = {"name": block["name"], "arguments": orjson.dumps(block["input"]).decode()}
            calls.append({"id": block["id"], "type": "function", "function": function})
    message: Row = {"role": role}
    if reasoning:
        message["reasoning"] = "".join(reasoning)
    if calls:
        message["tool_calls"] = calls
    if parts:
        message["content"] = parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts
    return message


def _tool_result(block: Row, where: str) -> list[Row]:
    """The message of a tool, and a user message with its images, if any."""
    content = block.get("content")
    texts, images = [content] if isinstance(content, str) else [], []
    if content is not None and not isinstance(content, str):
        for i, entry in enumerate(_list(content, where)):
            part = _block(entry, f"{where}.{i}")
            if part["type"] == "text":
                texts.append(part["text"])
            elif part["type"] == "image":
                images.append(_image(part, f"{where}.{i}"))
    message = {"role": "tool", "tool_call_id": block["tool_use_id"], "content": "\n".join(texts)}
    return [message, {"role": "user", "content": images}] if images else [message]
