"""Bodies of `/v1/responses`: what vLLM accepts, with its errors.

As in vLLM, a body is converted to a chat request: `instructions` become the first message, calls and reasoning join the
preceding assistant message, the output of a function becomes a message of the role `tool`. Unknown fields are ignored.

A request that continues a stored response (`previous_response_id`) has the stored conversation, its reply, and then its
own input: the same messages as a request with the whole history, so the same tokens and the same cached blocks. As with
OpenAI, its own `instructions` come first and replace the stored ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mockserver.dialect.formats import parse_document
from mockserver.dialect.params import DocumentFormat, RequestParams, ToolChoice
from mockserver.dialect.refusals import refuse
from mockserver.dialect.sampling import check_sampling, flag, own_length, priority_of, stops, token_limit

Row = dict[str, Any]

_SAMPLING = (
    "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "seed",
    "stop_token_ids",
)  # fmt: skip
_NO_BACKGROUND = "background=true is not supported by this server: it has no background mode."
_PARTS = {"input_text": "text", "output_text": "text", "text": "text", "summary_text": "text"}


def parse_responses(row: Row, earlier: Sequence[Row] = ()) -> RequestParams:
    """A body of /v1/responses. `earlier` holds the messages of the stored response that it continues; it is modified.
    Raises Refusal (400)."""
    if row.get("prompt") is not None:
        refuse("prompt template is not supported", "prompt")
    stream = flag(row, "stream")
    if flag(row, "background"):
        refuse(_NO_BACKGROUND, "background")
    messages: list[Row] = []
    if instructions := _text_or_none(row, "instructions"):
        messages.append({"role": "system", "content": instructions})
    own = len(messages)
    messages += earlier
    content = row.get("input")
    if isinstance(content, str):
        messages.append({"role": "user", "content": content})
    elif isinstance(content, list):
        add_items(messages, content, "input")
        if not content:
            refuse("input must not be empty.", "input")
    else:
        refuse("input must be a text or a list of items.", "input")
    asked = token_limit(row, "max_output_tokens")
    check_sampling({name: row.get(name) for name in _SAMPLING}, asked, chat=True)
    tools = _tools(row.get("tools"))
    return RequestParams(
        stream=stream,
        asked_tokens=asked,
        messages=messages,
        tools=tools or None,
        stop=stops(row),
        keep_stop=flag(row, "include_stop_str_in_output"),
        tool_choice=_tool_choice(row, tools),
        parallel_calls=row.get("parallel_tool_calls") is not False,
        echo=_echo(row, asked),
        document=_document(row),
        **own_length(row),
        priority=priority_of(row),
        previous_response=_text_or_none(row, "previous_response_id"),
        stores=row.get("store") is None or flag(row, "store"),
        own_messages=own,
    )


def add_items(messages: list[Row], items: Sequence[Row], where: str) -> None:
    """Add items of an input or an output to the messages of a conversation. Raises Refusal (400)."""
    for i, item in enumerate(items):
        _add_item(messages, item, f"{where}[{i}]")


def _document(row: Row) -> DocumentFormat | None:
    """`text.format`, or vLLM's own fields."""
    text = row.get("text")
    if text is not None and not isinstance(text, dict):
        refuse("text must be an object.", "text")
    form = None if text is None else text.get("format")
    if form is None:
        return parse_document({"structured_outputs": row.get("structured_outputs")})
    kind = form.get("type") if isinstance(form, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        refuse("text.format must be an object whose type is text, json_object or json_schema.", "text")
    if kind == "json_schema" and not isinstance(form.get("schema"), dict):
        refuse("text.format.schema must be a JSON schema, which is an object.", "text")
    return parse_document({"response_format": {"type": kind, "json_schema": {"schema": form.get("schema")}}})


def _echo(row: Row, asked: int | None) -> Row:
    """The fields of the request that the response repeats, in vLLM's order and with its defaults."""
    default: Row = {"parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0}
    default |= {"service_tier": "auto", "truncation": "disabled", "presence_penalty": 0.0, "frequency_penalty": 0.0}
    names = (
        "instructions", "metadata", "parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p",
        "max_tool_calls", "previous_response_id", "reasoning", "service_tier", "text", "truncation", "user",
        "presence_penalty", "frequency_penalty",
    )  # fmt: skip
    echo = {name: default.get(name) if row.get(name) is None else row[name] for name in names}
    if not echo["tools"] and row.get("tool_choice") is None:
        echo["tool_choice"] = "none"
    return {**echo, "max_output_tokens": asked}


def _text_or_none(row: Row, name: str) -> str | None:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        refuse(f"{name} must be a text.", name)
    return value


def _tools(value: object) -> list[Row]:
    """The functions in chat format. The server's built-in tools (web search and others) are accepted and ignored."""
    if value is None:
        return []
    if not isinstance(value, list):
        refuse("tools must be a list.", "tools")
    tools = []
    for i, tool in enumerate(value):
        if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
            refuse(f"tools[{i}] must be an object with a type.", "tools")
        if tool["type"] != "function":
            continue
        if not isinstance(tool.get("name"), str) or not tool["name"]:
            refuse(f"tools[{i}].name must be a text.", "tools")
        if not isinstance(tool.get("parameters"), dict | None):
            refuse(f"tools[{i}].parameters must be a JSON schema.", "tools")
        names = ("name", "description", "parameters", "strict")
        tools.append({"type": "function", "function": {n: tool[n] for n in names if tool.get(n) is not None}})
    return tools


def _tool_choice(row: Row, tools: list[Row]) -> ToolChoice:
    choice = row.get("tool_choice")
    if choice is None or choice == "auto":
        return ToolChoice()
    if choice == "none":
        return ToolChoice("none")
    if choice == "required":
        if not tools:
            refuse("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")
        return ToolChoice("required")
    if isinstance(choice, dict) and choice.get("type") == "function":
        name = choice.get("name")
        if not isinstance(name, str) or all(tool["function"]["name"] != name for tool in tools):
            refuse("Tool choice 'function' not found in 'tools' parameter.", "tool_choice")
        return ToolChoice("required", name)
    if isinstance(choice, dict) and isinstance(choice.get("type"), str):
        return ToolChoice()  # A built-in tool, which the mock does not have.
    refuse("tool_choice must be none, auto, required, or an object that names a function.", "tool_choice")


def _add_item(messages: list[Row], item: object, where: str) -> None:
    if not isinstance(item, dict):
        refuse(f"{where} must be an object.", "input")
    kind = item.get("type", "message")
    add = _ITEMS.get(kind) if isinstance(kind, str) else None
    if add is None:
        refuse(f"Unsupported input item type: {kind}", "input")
    add(messages, item, where)


def _assistant(messages: list[Row], field: str) -> Row:
    """The assistant message that an item joins: the last message, if it does not have that field yet."""
    if not messages or messages[-1]["role"] != "assistant" or field in messages[-1]:
        messages.append({"role": "assistant"})
    return messages[-1]


def _add_message(messages: list[Row], item: Row, where: str) -> None:
    role = item.get("role")
    if role not in ("user", "assistant", "system", "developer"):
        refuse(f"{where}.role must be user, assistant, system or developer.", "input")
    content = _content(item.get("content"), f"{where}.content")
    if role == "assistant":
        _assistant(messages, "content")["content"] = content
    else:
        messages.append({"role": "system" if role == "developer" else role, "content": content})


def _content(value: object, where: str) -> str | list[Row]:
    """A text, or the parts of a message. A single text part becomes that text."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        refuse(f"{where} must be a text or a list of parts.", "input")
    parts = [_part(part, f"{where}[{i}]") for i, part in enumerate(value)]
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _part(part: object, where: str) -> Row:
    if not isinstance(part, dict):
        refuse(f"{where} must be an object.", "input")
    kind = part.get("type")
    if isinstance(kind, str) and kind in _PARTS:
        if not isinstance(part.get("text"), str):
            refuse(f"{where}.text must be a text.", "input")
        return {"type": "text", "text": part["text"]}
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "text", "text": part["refusal"]}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    refuse(f"{where}: this server does not take parts of the type {kind}.", "input")


def _add_call(messages: list[Row], item: Row, where: str) -> None:
    for name in ("call_id", "name", "arguments"):
        if not isinstance(item.get(name), str):
            refuse(f"{where}.{name} must be a text.", "input")
    function = {"name": item["name"], "arguments": item["arguments"]}
    call = {"id": item["call_id"], "type": "function", "function": function}
    if messages and messages[-1]["role"] == "assistant":
        messages[-1].setdefault("tool_calls", []).append(call)
    else:
        messages.append({"role": "assistant", "tool_calls": [call]})


def _add_output(messages: list[Row], item: Row, where: str) -> None:
    if not isinstance(item.get("call_id"), str):
        refuse(f"{where}.call_id must be a text.", "input")
    content = _content(item.get("output"), f"{where}.output")
    messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": content})


def _add_reasoning(messages: list[Row], item: Row, where: str) -> None:
    if item.get("encrypted_content"):
        refuse("Encrypted content is not supported.", "input")
    parts = item.get("content") or item.get("summary") or []
    if not isinstance(parts, list):
        refuse(f"{where}.content must be a list of parts.", "input")
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    _assistant(messages, "reasoning")["reasoning"] = next((text for text in texts if isinstance(text, str)), "")


_ITEMS = {
    "message": _add_message,
    "function_call": _add_call,
    "function_call_output": _add_output,
    "reasoning": _add_reasoning,
}
