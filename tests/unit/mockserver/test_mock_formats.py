"""What a request may state about the format of its reply; other values are refused with a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mockserver.dialect.formats import parse_document, parse_tool_choice, parse_tools
from mockserver.dialect.params import DocumentFormat, ToolChoice
from mockserver.dialect.refusals import Refusal

SCHEMA = {"type": "object"}
ANY, OF_SCHEMA = DocumentFormat(), DocumentFormat(SCHEMA)


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({}, None),
        ({"response_format": None}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, ANY),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, OF_SCHEMA),
        ({"response_format": {"type": "text"}, "guided_json": SCHEMA}, None),
        ({"guided_json": SCHEMA}, OF_SCHEMA),
        ({"guided_json": "text"}, None),
        ({"structured_outputs": {"json": SCHEMA}}, OF_SCHEMA),
        ({"structured_outputs": {"json_object": True}}, ANY),
        ({"structured_outputs": {"json_object": False}}, None),
        ({"structured_outputs": {"regex": "a"}, "guided_json": SCHEMA}, None),
    ],
)
def test_a_document_is_wanted_where_the_request_names_its_format(
    row: dict[str, Any], wanted: DocumentFormat | None
) -> None:
    assert parse_document(row) == wanted


TOOLS = [{"type": "function", "function": {"name": "f"}}, {"function": {"name": "g", "parameters": {}}}]


@pytest.mark.parametrize(
    ("choice", "tools", "wanted"),
    [
        (None, None, ToolChoice("auto")),
        ("auto", None, ToolChoice("auto")),
        ("none", None, ToolChoice("none")),
        ("required", TOOLS, ToolChoice("required")),
        ({"function": {"name": "g"}}, TOOLS, ToolChoice("required", "g")),
        ({"type": "function", "function": {"name": "f"}}, TOOLS, ToolChoice("required", "f")),
    ],
)
def test_tools_are_left_to_the_model_unless_the_request_chooses(
    choice: object, tools: list[dict[str, Any]] | None, wanted: ToolChoice
) -> None:
    assert parse_tool_choice({"tool_choice": choice}, tools) == wanted
    assert parse_tools({"tools": tools}) == tools


NAME_ONE = 'tool_choice must name a function: {"type": "function", "function": {"name": ...}}.'


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"response_format": "json"}, "response_format must be an object whose type is"),
        ({"response_format": {"type": "xml"}}, "response_format must be an object whose type is"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema must be a JSON schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": 1}}}, "response_format.json_schema.schema"),
        ({"tools": {}}, "tools must be a list."),
        ({"tools": [TOOLS[0], 1]}, "tools[1] must be a function with a name: "),
        ({"tools": [{"function": {"name": ""}}]}, "tools[0] must be a function with a name: "),
        ({"tools": [{"function": {"name": 5}}]}, "tools[0] must be a function with a name: "),
        ({"tools": [{"function": "f"}]}, "tools[0] must be a function with a name: "),
        ({"tool_choice": {"type": None, "function": {"name": "f"}}}, NAME_ONE),
        ({"tools": [{"function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters must be a JSON schema"),
        ({"tool_choice": {"type": "other", "function": {"name": "f"}}}, NAME_ONE),
        ({"tool_choice": {"function": "f"}}, NAME_ONE),
        ({"tool_choice": {"function": {"name": 1}}}, NAME_ONE),
        ({"tool_choice": "always"}, "tool_choice must be none, auto, required or a function, not 'always'."),
        ({"tool_choice": "required"}, "When using `tool_choice`, `tools` must be set."),
        ({"tool_choice": "required", "tools": []}, "When using `tool_choice`, `tools` must be set."),
        ({"tool_choice": {"function": {"name": "h"}}, "tools": TOOLS}, "The tool specified in `tool_choice` does not match"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(row: dict[str, Any], words: str) -> None:
    def parse() -> None:
        parse_document(row)
        parse_tool_choice(row, parse_tools(row))

    with pytest.raises(Refusal) as refused:
        parse()
    assert refused.value.status == 400
    assert json.loads(refused.value.body)["error"]["message"].startswith(words)
