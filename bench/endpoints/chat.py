"""Chat completions: messages in; content, reasoning and tool calls out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from bench.endpoints.answer_parts import CallParts
from bench.endpoints.openai import OpenAIEndpoint
from bench.workload.kept_messages import array_of
from promptset.samples import Sample

_REASONING = ("reasoning", "reasoning_content", "reasoning_text", "thinking")
"""The fields of reasoning: of vLLM and OpenRouter; of DeepSeek, SGLang and llama.cpp; of some gateways."""
_BESIDE = (*_REASONING, "tool_calls", "function_call")
"""Fields that may accompany a text in one delta."""


class ChatCompletions(OpenAIEndpoint):
    """`POST /v1/chat/completions`. The text is in the `delta` of a choice, or in its `message`."""

    path = "/chat/completions"
    takes_messages = takes_media = True
    text_field = b'"content":"'

    def prompt_fields(self, sample: Sample) -> dict[str, Any]:
        messages = sample.messages
        chat = [{"role": "user", "content": sample.prompt}] if messages is None else array_of(messages, "chat", list)
        fields: dict[str, Any] = {"messages": chat}
        if sample.tools is not None:
            fields["tools"] = sample.tools
        return fields

    def plain_text(self, event: Mapping[str, Any] | None) -> str | None:
        try:
            (choice,) = event["choices"]  # type: ignore[index]
            delta = choice["delta"]
            text = delta["content"]
            if type(text) is str and text and event.get("usage") is None and choice["finish_reason"] is None:  # type: ignore[union-attr]
                failed = "error" in event or "error" in choice or "error" in delta  # type: ignore[operator]
                return None if failed or (len(delta) > 1 and any(map(delta.get, _BESIDE))) else text
        except (KeyError, ValueError, TypeError):
            pass
        return None

    def kind_and_texts(self, choice: Mapping[str, Any]) -> tuple[str, str, str]:
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return "o", "", ""
        reasoning, answer = _texts_of(delta)
        calls = delta.get("tool_calls") or delta.get("function_call")
        names, arguments = _called(delta) if calls else ("", "")
        if text := reasoning + answer + names + arguments:
            kind = "c" if answer else "t" if reasoning else "f" if arguments else "n"
            return kind, text, answer or reasoning
        return "r" if delta.get("role") and choice.get("finish_reason") is None else "o", "", ""

    def calls_in(self, choice: Mapping[str, Any]) -> list[tuple[object, object]]:
        calls: list[tuple[object, object]] = []
        for message in _messages_in(choice):
            for number, call in _calls_of(message).items():
                if isinstance(call.get("function"), dict):
                    calls.append((call.get("index", number), call.get("id")))
            if isinstance(message.get("function_call"), dict):
                calls.append(("function_call", None))
        return calls

    def add_calls(self, choice: Mapping[str, Any], parts: CallParts) -> None:
        for message in _messages_in(choice):
            for number, call in _calls_of(message).items():
                if isinstance(function := call.get("function"), dict):
                    place, arguments = call.get("index", number), function.get("arguments")
                    parts.add(repr(place), call_id=call.get("id"), name=function.get("name"), arguments=arguments)

    def reasoning_field(self, choice: Mapping[str, Any]) -> str:
        for message in _messages_in(choice):
            for name in _REASONING:
                if isinstance(message.get(name), str) and message[name]:
                    return name
        return ""

    def texts(self, choice: Mapping[str, Any]) -> tuple[str, str]:
        message = choice.get("message")
        if not isinstance(message, dict):
            return "", ""
        thought, answer = _parts_of(message.get("content"))
        content = message.get("content")
        content = content if isinstance(content, str) else answer
        fields = [message.get(name) for name in _REASONING]
        reasoning = "".join(part for part in fields if isinstance(part, str)) or thought or _detailed(message)
        refusal = message.get("refusal")
        refused = refusal if isinstance(refusal, str) else ""
        return reasoning + content + refused + "".join(_called(message)), content


def _texts_of(delta: Mapping[str, Any]) -> tuple[str, str]:
    """The reasoning and the answer in a delta: vLLM sends the last piece of one with the first of the other."""
    thought, answer = _parts_of(delta.get("content"))
    for name in ("content", "refusal"):
        content = delta.get(name)
        if isinstance(content, str) and content:
            answer = content
            break
    for name in _REASONING:
        reasoning = delta.get(name)
        if isinstance(reasoning, str) and reasoning:
            return reasoning, answer
    return thought or _detailed(delta), answer


def _messages_in(choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [message for place in ("delta", "message") if isinstance(message := choice.get(place), dict)]


def _parts_of(content: object) -> tuple[str, str]:
    """For a content in parts (Mistral's reasoning models): the text of its thinking, and the other text."""
    thought = answer = ""
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            thought += _text_in(part.get("thinking"))
            answer += _text_in(part.get("text"))
    return thought, answer


def _detailed(message: Mapping[str, Any]) -> str:
    """Reasoning that is only in `reasoning_details` (MiniMax; other servers repeat it in its own field)."""
    details = message.get("reasoning_details")
    parts = [part for part in details if isinstance(part, dict)] if isinstance(details, list) else []
    return "".join(_text_in(part.get("text")) or _text_in(part.get("summary")) for part in parts)


def _text_in(value: object) -> str:
    if isinstance(value, list):
        return "".join(_text_in(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def _calls_of(message: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """The calls of a delta or a message, by number: from a list, or (older versions of TGI) a single call."""
    calls = message.get("tool_calls")
    listed = calls if isinstance(calls, list) else [calls]
    return {number: call for number, call in enumerate(listed) if isinstance(call, dict)}


def _called(message: Mapping[str, Any]) -> tuple[str, str]:
    """The names and the arguments of its calls, in the current format or the older one. Arguments are a string in the
    dialect; some servers send the object."""
    called = (*(call.get("function") for call in _calls_of(message).values()), message.get("function_call"))
    functions = [function for function in called if isinstance(function, dict)]
    names = [function.get("name") for function in functions]
    arguments = [function.get("arguments") for function in functions]
    text = "".join(a if isinstance(a, str) else orjson.dumps(a).decode() for a in arguments if a)
    return "".join(name for name in names if isinstance(name, str)), text
