"""Errors in the file of an API, and their sentences."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.config import resolve
from bench.endpoints.definition import ApiDefinition, definition_of
from bench.errors import UsageError

MINE: dict[str, Any] = {"path": "/talk", "body": {"q": "Ask: {{ prompt }}", "n": "{{ max_tokens }}"}, "reply": "chunks"}

RINGED: dict[str, Any] = {"a": "{{ prompt }}"}
RINGED["b"] = RINGED


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "talk"}, "path must be the path of the API, beginning with /"),
        ({"path": "/a b"}, "without white space, not '/a b'"),
        ({"path": "/{{ model }}/talk"}, "write {model} where the model's name stands"),
        ({"whole": {"path": "talk"}}, "whole: path must be the path of the API"),
        ({"root": "v1"}, "root must begin with /, not 'v1'"),
        ({"reply": "stream"}, "reply must be one of sse, lines, chunks, whole, not 'stream'"),
        ({"replay": "sse"}, "there is no key replay: did you mean reply?"),
        ({"whole": {"txt": "$.a"}}, "there is no key whole.txt: did you mean text?"),
        ({"whole": {"text": 1}}, "whole.text must be a string, not a whole number: put it in quotes"),
        ({"limit": "length"}, "limit must be a list, not a string"),
        ({"good": [True]}, "good[0] must be a string, not true or false: put it in quotes"),
        ({"good": ["a"]}, "good has no effect without finish"),
        ({"headers": {"a b": "c"}}, "headers: 'a b' is not the name of a header"),
        ({"headers": {"a": "b\nc"}}, "headers: the value of a has characters that a header cannot carry"),
        ({"headers": {"Host": "h"}}, "headers: Host is set for each request"),
        ({"key": ""}, "key must be the name of the header that carries the API key, or bearer, not ''"),
        ({"key_variable": "A=B"}, "key_variable must be the name of an environment variable, not 'A=B'"),
        ({"body": {"a": "{{ prompt }}", 1: 2}}, "body has a key that must be a string, not a whole number"),
        ({"body": {"a": "{{ prompt }}", "b": 2**70}}, "body cannot be written as JSON (Integer exceeds 64-bit range)"),
        ({"body": RINGED}, "body cannot be written as JSON (Recursion limit reached)"),
        (
            {"body": {"a": "{{ prompt }}", "b": "{{ max-tokens }}"}},
            "body: '{{ max-tokens }}' has {{ without the name of a",
        ),
        ({"body": {"a": "{{ prompt }}", "{{ model }}": 1}}, "body: '{{ model }}' has {{ without the name of a value"),
        ({"body": {"a": "{{ prompt }}", "b": "{{ role }}"}}, "body: {{ role }} is not known"),
        ({"message": {"r": "{{ role }}"}, "body": {"a": "{{ messages }}"}}, "message must hold {{ content }}"),
        ({"message": {"c": "{{ content }}"}}, "message has no effect: body has no {{ messages }}"),
        ({"system": "apart", "body": {"a": "{{ messages }}"}}, "put {{ system }} into body"),
        ({"body": None}, "body"),
        ({"body": {"a": "{{ question }}"}}, "body: {{ question }} is not known: use one of model, prompt"),
        ({"body": {"a": 1}}, "body must hold {{ prompt }} or {{ messages }}"),
        ({"reply": "sse"}, "text must be the path of the text"),
        ({"reply": "sse", "text": "a.b"}, "text: 'a.b' is not a path of JSON"),
        ({"reply": "sse", "text": "$.a", "output_tokens": "$.a + b"}, "output_tokens: 'b' is not a path of JSON"),
        ({"reply": "sse", "text": "$.a", "end": "x=1"}, "end: 'x' is not a path of JSON"),
        ({"reply": "sse", "text": "$.a", "whole": {"finish": "b"}}, "whole: finish: 'b' is not a path of JSON"),
    ],
)
def test_what_is_wrong_with_a_definition_is_said(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        definition_of({**MINE, **change})


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (
            {"a": 1, "path": "b", "reply": "x", "limit": [1], "headers": {"": "b"}, "body": {"a": "{{ b }}"}, "key": "",
             "whole": {"error": "e", "end": 1}},
            ["there is no key a", "reply must be one of", "limit[0] must be", "whole.end must be", "headers: ",
             "path must be", "whole: error: 'e' is not a path", "key must be the name", "body: {{ b }} is not known",
             "body must hold {{ prompt }}"],
        ),
        (
            {"path": "a", "reply": "sse", "text": "t", "body": {"a": "{{ b }}"}, "limit": ["c"]},
            ["path must be", "text: 't' is not a path", "body: {{ b }} is not known", "body must hold", "limit has no"],
        ),
        # A wrong value does not cause a second problem.
        ({**MINE, "reply": "sse", "txt": "$.a"}, ["there is no key txt: did you mean text?"]),
        ({**MINE, "body": RINGED, "system": "apart"}, ["body cannot be written as JSON"]),
        ({**MINE, "limit": ["a"], "whole": {"finish": 1}}, ["whole.finish must be a string"]),
        ({**MINE, "pathe": "/b", "path": "b"}, ["there is no key pathe: did you mean path?", "path must be"]),
        ({"path": "/a", "body": 1, "roles": {"a": "b"}}, ["body must be keys with values", "reply is missing"]),
    ],
)  # fmt: skip
def test_all_that_is_wrong_with_a_definition_is_said_at_once(content: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (the words are compared)
        definition_of(content)
    told = str(refused.value).split("; ")
    assert [words[: len(start)] for words, start in zip(told, problems, strict=True)] == problems


def test_each_required_key_has_a_value_that_stands_in_for_it() -> None:
    missing = [f"{field.name} is missing" for field in msgspec.structs.fields(ApiDefinition) if field.required]
    with pytest.raises(ValueError, match="^" + "; ".join(missing) + "$"):  # Otherwise _HARMLESS lacks one.
        definition_of({"path": "/a"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("- a", "must hold keys with values"),
        ("a: [", "not YAML"),
        ("path: /a", "body is missing"),
    ],
)
def test_a_wrong_file_is_refused_by_the_flag(text: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError) as refused:
        resolve({"url": "http://h", "endpoint": str(path)})
    assert all(problem.startswith("--endpoint") for problem in refused.value.problems)
    assert words in refused.value.problems[0]


def test_an_unknown_name_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"'ollame' is not one of chat, .*http, cohere, .*gemini.*my-api.yaml"):
        resolve({"url": "http://h", "endpoint": "ollame"})
