"""Translates chats from OpenAI's format, which all data uses, to the formats of Messages and Responses.

A server that renders either format with its chat template gets the same prompt, with the tokens that were counted.
Parts without a counterpart stay unchanged, and the server may refuse them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from bench.endpoints import decoding
from bench.endpoints.interface import TOOL_CHOICES
from bench.workload.kept_messages import array_of

Fields = dict[str, Any]

_SYSTEM = ("system", "developer")


def messages_of(chat: Sequence[Mapping[str, Any]]) -> tuple[str, Sequence[Any] | orjson.Fragment]:
    """The system prompt and the messages in Anthropic's format. Later system messages stay in place."""
    system, rest = instructions_of(chat)
    return system, array_of(rest, "messages", _messages, together=lambda message: message.get("role") == "tool")


def _messages(chat: Sequence[Mapping[str, Any]]) -> list[Fields]:
    messages: list[Fields] = []
    for message in chat:
        role = "system" if message.get("role") in _SYSTEM else message.get("role")
        if role == "tool":
            result = {
                "type": "tool_result",
                "tool_use_id": message.get("tool_call_id"),
                "content": message.get("content"),
            }
            if messages and messages[-1]["role"] == "user" and _holds_results(messages[-1]):
                messages[-1]["content"].append(result)  # The results of parallel calls form one message.
            else:
                messages.append({"role": "user", "content": [result]})
            continue
        content = _blocks(message.get("content"))
        calls = [
            {"type": "tool_use", "id": call_id, "name": name, "input": _object(arguments)}
            for call_id, name, arguments in _calls(message)
        ]
        thinking = _thinking(message)
        if calls or thinking:
            text = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or []
            messages.append({"role": role, "content": [*thinking, *text, *calls]})
        elif content or role != "assistant":  # An empty assistant message would be refused.
            messages.append({"role": role, "content": content})
    return messages


def instructions_of(chat: Sequence[Mapping[str, Any]]) -> tuple[str, Sequence[Mapping[str, Any]]]:
    """The system messages at the start, as the `instructions` of Responses, and the remaining messages."""
    begin = next((i for i, message in enumerate(chat) if message.get("role") not in _SYSTEM), len(chat))
    return "\n\n".join(map(text_of, chat[:begin])), chat[begin:]


def items_of(chat: Sequence[Mapping[str, Any]]) -> Sequence[Any] | orjson.Fragment:
    """The items of Responses. An answer becomes an output message, as the API itself writes it: every server accepts
    that."""
    return array_of(chat, "responses", _items)


def _items(chat: Sequence[Mapping[str, Any]]) -> list[Fields]:
    items: list[Fields] = []
    for message in chat:
        role, content = message.get("role"), message.get("content")
        if role == "tool":
            call_id = message.get("tool_call_id")
            items.append({"type": "function_call_output", "call_id": call_id, "output": text_of(message)})
        elif role == "assistant":
            items += _reasoning_items(message)
            if text := text_of(message):
                part = {"type": "output_text", "text": text, "annotations": []}
                items.append({"type": "message", "role": "assistant", "status": "completed", "content": [part]})
            items += [
                {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
                for call_id, name, arguments in _calls(message)
            ]
        else:
            items.append({"role": role, "content": _input_parts(content)})
    return items


def messages_tools(tools: Iterable[Mapping[str, Any]]) -> list[Fields]:
    """Tools of a chat in Anthropic's format."""
    named = {"name": "name", "description": "description", "parameters": "input_schema", "strict": "strict"}
    functions = [
        {to: tool["function"][name] for name, to in named.items() if name in tool["function"]} for tool in tools
    ]
    return [{"input_schema": {"type": "object"}, **tool} for tool in functions]


def responses_tools(tools: Iterable[Mapping[str, Any]]) -> list[Fields]:
    """Tools of a chat in the format of Responses."""
    return [{"type": "function", "parameters": None, **tool["function"]} for tool in tools]


def messages_tool_choice(choice: str) -> Fields:
    """`--tool-choice` in the format of Messages."""
    types = {"auto": "auto", "required": "any", "none": "none"}
    return {"type": types[choice]} if choice in types else {"type": "tool", "name": choice}


def responses_tool_choice(choice: str) -> str | Fields:
    """`--tool-choice` in the format of Responses."""
    return choice if choice in TOOL_CHOICES else {"type": "function", "name": choice}


def _calls(message: Mapping[str, Any]) -> list[tuple[Any, Any, str]]:
    """Id, name and arguments (JSON) of the calls in an assistant's message."""
    calls = message.get("tool_calls")
    entries = []
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            arguments = function.get("arguments", "{}")
            text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
            entries.append((call.get("id"), function.get("name"), text))
    return entries


def _thinking(message: Mapping[str, Any]) -> list[Fields]:
    """The thinking blocks of an earlier answer of Messages: sent back unchanged, with their signatures."""
    blocks = message.get("thinking_blocks")
    return list(blocks) if isinstance(blocks, list) else []


def _reasoning_items(message: Mapping[str, Any]) -> list[Fields]:
    """The reasoning items of an earlier answer of Responses, unchanged."""
    items = message.get("reasoning_items")
    return list(items) if isinstance(items, list) else []


def _object(arguments: str) -> object:
    """Arguments as the object that Messages require; models may write other things."""
    try:
        made = decoding.loads(arguments.encode()) if arguments else {}
    except orjson.JSONDecodeError:
        made = arguments
    return made if isinstance(made, dict) else {"arguments": made}


def _holds_results(message: Fields) -> bool:
    content = message["content"]
    return isinstance(content, list) and bool(content) and content[-1].get("type") == "tool_result"


def text_of(message: Mapping[str, Any]) -> str:
    """The text of all parts of a message."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _blocks(content: str | list[Fields] | None) -> str | list[Fields]:
    if not isinstance(content, list):
        return "" if content is None else content
    return [_image_block(part) if _is_image(part) else part for part in content]


def _input_parts(content: object) -> object:
    if not isinstance(content, list):
        return "" if content is None else content
    parts = []
    for part in content:
        if _is_image(part):
            parts.append({"type": "input_image", "image_url": _url(part), "detail": "auto"})
        elif isinstance(part, dict) and part.get("type") == "text":
            parts.append({**part, "type": "input_text"})
        else:
            parts.append(part)
    return parts


def _is_image(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "image_url"


def _url(part: Mapping[str, Any]) -> str:
    image = part.get("image_url")
    return str(image.get("url", "") if isinstance(image, dict) else image)


def _image_block(part: Mapping[str, Any]) -> Fields:
    """An image by its URL, or as bytes if the URL contains them (`data:image/jpeg;base64,...`)."""
    url = _url(part)
    head, comma, data = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        media_type = head.removeprefix("data:").removesuffix(";base64")
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
    return {"type": "image", "source": {"type": "url", "url": url}}
