"""The request fields that determine the form of the reply: tools, and the response format."""

from __future__ import annotations

from typing import Any

from mockserver.dialect.params import DocumentFormat, ToolChoice
from mockserver.dialect.refusals import refuse

_TOOL = '{"type": "function", "function": {"name": ..., "parameters": ...}}'


def parse_tools(row: dict[str, Any]) -> list[dict[str, Any]] | None:
    """`tools`. Raises Refusal (400)."""
    tools = row.get("tools")
    if tools is None:
        return None
    if not isinstance(tools, list):
        refuse("tools must be a list.", "tools")
    for i, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            refuse(f"tools[{i}] must be a function with a name: {_TOOL}.", "tools")
        if not isinstance(function.get("parameters"), dict | None):
            refuse(f"tools[{i}].function.parameters must be a JSON schema, which is an object.", "tools")
    return tools


def parse_tool_choice(row: dict[str, Any], tools: list[dict[str, Any]] | None) -> ToolChoice:
    """`tool_choice`, with vLLM's refusals. Raises Refusal (400)."""
    choice = row.get("tool_choice")
    if choice is None or choice == "auto":
        return ToolChoice("auto")
    if choice == "none":
        return ToolChoice("none")
    name = None
    if isinstance(choice, dict):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if choice.get("type", "function") != "function" or not isinstance(name, str):
            refuse('tool_choice must name a function: {"type": "function", "function": {"name": ...}}.', "tool_choice")
    elif choice != "required":
        refuse(f"tool_choice must be none, auto, required or a function, not {choice!r:.80}.", "tool_choice")
    if not tools:
        refuse("When using `tool_choice`, `tools` must be set.", "tool_choice")
    if name is not None and all(tool["function"]["name"] != name for tool in tools):
        refuse("The tool specified in `tool_choice` does not match any of the specified `tools`.", "tool_choice")
    return ToolChoice("required", name)


def parse_document(row: dict[str, Any]) -> DocumentFormat | None:
    """`response_format`, or vLLM's own equivalent fields. Raises Refusal (400)."""
    form = row.get("response_format")
    if form is None:
        return _own_fields(row)
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return DocumentFormat()
    if kind != "json_schema":
        refuse("response_format must be an object whose type is text, json_object or json_schema.", "response_format")
    inner = form.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, dict) else None
    if not isinstance(schema, dict):
        refuse("response_format.json_schema.schema must be a JSON schema, which is an object.", "response_format")
    return DocumentFormat(schema)


def _own_fields(row: dict[str, Any]) -> DocumentFormat | None:
    """`structured_outputs` with `json` or `json_object`, and the older `guided_json`."""
    outputs = row.get("structured_outputs")
    schema = outputs.get("json") if isinstance(outputs, dict) else row.get("guided_json")
    if isinstance(schema, dict):
        return DocumentFormat(schema)
    if isinstance(outputs, dict) and outputs.get("json_object") is True:
        return DocumentFormat()
    return None
