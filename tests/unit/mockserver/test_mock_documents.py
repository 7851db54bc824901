"""Documents for a schema: valid, of the requested length, the same for the same seed; impossible ones are reported."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockserver import rng
from mockserver.dialect.frames import Block
from mockserver.dialect.openai import parse_chat
from mockserver.dialect.params import ToolChoice
from mockserver.documents.grammar import _ENTRIES, Impossible, check_schema, make_document
from mockserver.documents.lengths import ANY_OBJECT, DocumentMaker
from mockserver.documents.script import Script, ScriptWriter, ToolRule, pieces_of, script_of
from promptset.text import TokenText
from promptset.tokens import load_tokenizer

NODE = {
    "type": "object",
    "properties": {"v": {"type": "string"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["v", "next"],
    "additionalProperties": False,
}
FORMATS = ("date", "time", "date-time", "email", "uuid", "uri", "ipv4", "hostname")
SCHEMAS: dict[str, dict[str, Any]] = {
    "json mode": ANY_OBJECT,
    "anything": {},
    "any object": {"type": "object"},
    "optional members": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}},
    "enum": {
        "type": "object",
        "properties": {"u": {"enum": ["C", "F", 3, None]}, "c": {"const": {"x": [1]}}},
        "required": ["u", "c"],
    },
    "numbers": {
        "type": "array",
        "prefixItems": [
            {"type": "integer", "minimum": 100, "maximum": 101},
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            {"multipleOf": 7, "type": "integer"},
        ],
        "minItems": 3,
        "items": False,
    },
    "strings": {
        "type": "object",
        "properties": {
            "p": {"type": "string", "pattern": "^[a-z]{3,5}-\\d{4}$"},
            "q": {"type": "string", "minLength": 10, "maxLength": 12},
        },
        "required": ["p", "q"],
    },
    "formats": {
        "type": "object",
        "properties": {name: {"type": "string", "format": name} for name in FORMATS},
        "required": [*FORMATS],
    },
    "beside an enum": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "unit"],
    },
    "a list": {"type": "array", "items": {"type": "boolean"}, "minItems": 5, "maxItems": 7},
    "a tree": {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
    "parts": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"type": "integer"}}, "required": ["b"]},
        ]
    },
    "unique": {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 2},
    "not": {"type": "object", "properties": {"a": {"not": {"type": "string"}}}, "required": ["a"]},
    "a text": {"type": "string"},
}
LENGTHENED = ("json mode", "any object", "a tree", "beside an enum")
"""Schemas with a string that may be of any length."""


@cache
def maker() -> DocumentMaker:
    tokenizer = load_tokenizer()
    text = TokenText(tokenizer)
    return DocumentMaker(tokenizer, lambda n, chance: "".join(text.pieces(n, chance)))


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("tokens", [1, 40, 300])
def test_a_document_satisfies_its_schema_and_has_the_asked_length_where_a_string_allows_it(
    name: str, tokens: int
) -> None:
    schema = SCHEMAS[name]
    check_schema(schema)
    said = maker().make(schema, tokens, rng.stream(3, "test", name))
    jsonschema.validators.validator_for(schema)(schema).validate(json.loads(said))
    assert said == maker().make(schema, tokens, rng.stream(3, "test", name))
    if name in LENGTHENED and tokens > 1:
        assert maker().count(said) == tokens
    pieces = pieces_of(load_tokenizer(), said)
    assert "".join(pieces) == said
    assert len(pieces) == maker().count(said)


@settings(max_examples=60, deadline=None)
@given(tokens=st.integers(20, 3000), seed=st.integers(0, 999))
def test_a_json_object_has_exactly_the_tokens_that_were_asked(tokens: int, seed: int) -> None:
    said = maker().make(ANY_OBJECT, tokens, rng.stream(seed, "test", 0))
    assert maker().count(said) == tokens


@pytest.mark.parametrize(("behind", "lengthened"), [(7, True), (8, False)])
def test_one_of_the_last_eight_strings_is_made_longer(behind: int, lengthened: bool) -> None:
    names = ["free", *(f"s{n}" for n in range(behind))]
    properties = {name: {"type": "string", "maxLength": 8} for name in names} | {"free": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": names, "additionalProperties": False}
    said = maker().make(schema, 200, rng.stream(3, "test", 0))
    assert (maker().count(said) == 200) is lengthened
    assert [*json.loads(said)] == names


def test_of_documents_without_a_string_the_longest_that_fits_is_taken() -> None:
    schema = {
        "type": "object",
        "properties": {name: {"type": "integer"} for name in "abcdef"},
        "additionalProperties": False,
    }
    made = [maker().make(schema, 500, rng.stream(seed, "test", 0)) for seed in range(8)]
    # Nothing has to be in it; of three attempts at least one has something.
    assert "{}" not in made


def test_a_list_that_may_go_on_ends_after_so_many_entries_however_deep_it_is() -> None:
    lists: dict[str, Any] = {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}
    made = [json.loads(maker().make(lists, 1, rng.stream(seed, "test", 0))) for seed in range(40)]
    made += [
        json.loads(make_document(lists, maker()._words, rng.stream(seed, "test", 1), rich=True)) for seed in range(40)
    ]
    assert max(len(outer) for outer in made) == _ENTRIES
    assert max(len(inner) for outer in made for inner in outer) <= _ENTRIES


def test_another_seed_gives_another_document() -> None:
    found = {maker().make(ANY_OBJECT, 30, rng.stream(seed, "test", 0)) for seed in range(5)}
    assert len(found) == 5


def test_members_that_the_schema_does_not_name_are_left_out() -> None:
    schema = SCHEMAS["optional members"]
    for seed in range(20):
        assert json.loads(maker().make(schema, 12, rng.stream(seed, "test", 0))).keys() <= {"a", "b"}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "animal"}, "not a JSON schema"),
        ({"type": "object", "properties": {"a": {"type": "animal"}}}, r"at \$\.properties\.a\.type"),
        ({"$ref": "#/$defs/missing"}, "cannot be used"),
        ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "nsatisfiable"),
    ],
    ids=str,
)
def test_a_schema_without_documents_is_refused_with_a_sentence(schema: dict[str, Any], says: str) -> None:
    with pytest.raises(Impossible, match=says):
        check_schema(schema)


def test_a_document_that_its_grammar_cannot_bring_to_an_end_is_none() -> None:
    schema = {"type": "string", "pattern": "^(a?){300}a{300}$"}
    with pytest.raises(Impossible, match="its grammar is too complex"):
        make_document(schema, maker()._words, rng.stream(1, "test", 0), rich=False)


def test_a_schema_whose_grammar_says_too_much_is_checked_once_more() -> None:
    schema = {"type": "array", "items": {"enum": [1]}, "minItems": 2, "uniqueItems": True}
    with pytest.raises(Impossible, match="no document"):
        maker().make(schema, 20, rng.stream(0, "test", 0))


@pytest.mark.parametrize("text", ["", "a", "naïve 世界 🙂🙂 end", '{"k":"日本語のテキスト"}', " \n\t  x"])
def test_the_pieces_of_a_text_are_the_text_one_per_token(text: str) -> None:
    tokenizer = load_tokenizer()
    pieces = pieces_of(tokenizer, text)
    assert "".join(pieces) == text
    assert len(pieces) == tokenizer.count_plain([text])[0]
    assert text not in pieces[: len(pieces) - 1], "the first token is not the whole text"


@pytest.mark.parametrize(
    ("change", "calls", "of"),
    [
        ({}, 2, "ab"),
        ({"tool_choice": ToolChoice("none")}, 0, ""),
        ({"tools": []}, 0, ""),
        ({"messages": [{"role": "tool", "content": "x"}]}, 0, ""),
        ({"messages": [{"role": "tool", "content": "x"}], "tool_choice": ToolChoice("required")}, 2, "ab"),
        ({"tool_choice": ToolChoice("required", "b")}, 1, "b"),
        ({"parallel_calls": False}, 1, "ab"),
    ],
)
def test_a_reply_calls_the_tools_that_the_request_lets_it_call(change: dict[str, Any], calls: int, of: str) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in "ab"]
    params = parse_chat({"messages": [{"role": "user", "content": "x"}]})
    given: dict[str, Any] = {"tools": tools, "tool_choice": ToolChoice(), **change}
    script = script_of(replace(params, **given), ToolRule(share=1.0, calls=2), 7, 1)
    called = [] if script is None else [name for name, _ in script.calls]
    assert len(called) == calls
    assert set(called) <= {*of}


def writer() -> ScriptWriter:
    return ScriptWriter(load_tokenizer(), maker())


def test_a_said_text_is_one_block_cut_where_it_may_not_be_longer() -> None:
    said = "Some words, and the number 12345."
    tokens = len(pieces_of(load_tokenizer(), said))
    for most, whole in ((tokens + 1, True), (tokens, True), (tokens - 1, False)):
        scripted = writer().say(said, None, most, rng.stream(3, "test", 0))
        shown = min(most, tokens)
        assert (scripted.blocks, scripted.is_whole) == ((Block("text", 0, shown),), whole)
        assert "".join(scripted.texts) == "".join(pieces_of(load_tokenizer(), said)[:shown])


def test_a_said_call_has_one_token_for_its_name_before_its_arguments() -> None:
    said = '{"city":"Rome"}'
    tokens = len(pieces_of(load_tokenizer(), said))
    for most, whole in ((tokens + 2, True), (tokens + 1, True), (tokens, False)):
        scripted = writer().say(said, "weather", most, rng.stream(3, "test", 0))
        shown = min(most, tokens + 1)
        (block,) = scripted.blocks
        assert (block.kind, block.start, block.stop, scripted.is_whole) == ("tool", 0, shown, whole)
        assert block.call is not None
        assert block.call.name == "weather"
        assert re.fullmatch("call_[0-9a-f]{24}", block.call.id)
        assert scripted.texts == ["", *pieces_of(load_tokenizer(), said)][:shown]


def test_the_last_of_several_calls_takes_the_rest_of_the_length() -> None:
    script = Script((("f", ANY_OBJECT), ("g", {"type": "object"}), ("h", ANY_OBJECT)))
    scripted = writer().write(script, 90, 200, 3, 0)
    assert len(scripted.texts) == 90
    assert scripted.is_whole
    assert [block.call.name for block in scripted.blocks if block.call is not None] == ["f", "g", "h"]
    assert [block.start for block in scripted.blocks] == [0, *(block.stop for block in scripted.blocks[:-1])]
    assert scripted.blocks[-1].stop == 90
    for block in scripted.blocks:
        assert scripted.texts[block.start] == ""
        json.loads("".join(scripted.texts[block.start : block.stop]))
    # The others have their natural length, whatever the length of the reply is.
    longer = writer().write(script, 150, 200, 3, 0)
    assert (longer.blocks[:2], longer.blocks[2].stop) == (scripted.blocks[:2], 150)


def test_a_call_that_does_not_fit_is_left_out_and_the_first_one_is_cut() -> None:
    script = Script((("f", ANY_OBJECT), ("g", ANY_OBJECT)))
    both = writer().write(script, 60, 60, 3, 0)
    first = both.blocks[0].stop
    assert (len(both.texts), both.is_whole, len(both.blocks)) == (60, True, 2)
    one = writer().write(script, 60, 59, 3, 0)
    assert (len(one.texts), one.is_whole, one.blocks) == (first, True, both.blocks[:1])
    cut = writer().write(script, 60, first - 1, 3, 0)
    assert (cut.texts, cut.is_whole) == (one.texts[:-1], False)
    assert cut.blocks == (one.blocks[0]._replace(stop=first - 1),)


def test_a_document_is_one_block_cut_where_it_may_not_be_longer() -> None:
    for most, whole in ((41, True), (40, True), (39, False)):
        scripted = writer().write(Script((), ANY_OBJECT), 40, most, 3, 0)
        shown = min(most, 40)
        assert (scripted.blocks, len(scripted.texts), scripted.is_whole) == ((Block("text", 0, shown),), shown, whole)


def test_a_text_that_must_match_a_pattern_has_words_of_five_letters() -> None:
    schema = {"type": "string", "pattern": "^[a-z ]{47}$"}
    said = json.loads(maker().make(schema, 1, rng.stream(3, "test", 0)))
    assert len(said) == 47
    assert [len(word) for word in said.split(" ")] == [5] * 8


class Bytes:
    """A tokenizer with one token per byte. It may lose the spaces at the start of a text."""

    def __init__(self, strips: bool = False) -> None:
        self._strips = strips

    def encode(self, text: str) -> list[int]:
        return [*text.encode()]

    def decode(self, ids: list[int]) -> str:
        text = bytes(ids).decode(errors="replace")
        return text.lstrip(" ") if self._strips else text


@pytest.mark.parametrize(
    ("text", "strips", "pieces"),
    [
        ("", False, []),
        ("abcdefg", False, [*"abcdefg"]),
        ("a\u00e9b\u4e16", False, ["a", "", "\u00e9", "b", "", "", "\u4e16"]),
        ("\u4e16a b", False, ["", "", "\u4e16", "a", " ", "b"]),
        ("ab c", True, [*"ab c"]),
        # A text that this tokenizer does not return as it was is one piece.
        (" ab", True, [" ab", "", ""]),
    ],
)
def test_a_token_that_ends_inside_a_character_has_no_text(text: str, strips: bool, pieces: list[str]) -> None:
    assert pieces_of(Bytes(strips), text) == pieces  # type: ignore[arg-type]


def documents(schema: dict[str, Any]) -> list[Any]:
    return [
        json.loads(make_document(schema, lambda n, chance: "word", rng.stream(seed, "test", 0), rich=True))
        for seed in range(60)
    ]


def test_a_list_of_any_length_has_one_to_three_entries() -> None:
    assert {len(row) for row in documents({"type": "array", "items": {"type": "boolean"}, "minItems": 1})} == {1, 2, 3}
