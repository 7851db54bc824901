"""The committed schemas match the types in bench/results/, and the types write files as they read them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated

import msgspec
import orjson
import pytest
from jsonschema import Draft202012Validator
from msgspec import structs

from bench.results.base import Count, Number, Result, every_key, keys, needs, rounded, to_plain
from bench.results.numbers import Statistics
from bench.results.schema import schema_of
from bench.results.server import ServerReported
from bench.results.summary import from_json
from bench.results.tokens import Tokens
from tests.support.golden_run import golden_summary
from tests.support.results import filled

ROOT = Path(__file__).parents[4]


@pytest.fixture
def script() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        yield importlib.import_module("result_schemas")
    finally:
        sys.path.remove(str(ROOT / "scripts"))
        sys.modules.pop("result_schemas", None)


def test_a_summary_of_before_there_were_doubts_has_none() -> None:
    tokens = {name: value for name, value in golden_summary()["tokens"].items() if name != "doubted"}
    doubted = msgspec.convert(tokens, Tokens).doubted
    assert (doubted.judged, doubted.requests, doubted.share, doubted.first) == (0, 0, None, None)


def test_the_committed_schemas_are_those_of_the_types(script: ModuleType) -> None:
    for path, text in script.texts().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path} is out of date: run scripts/result-schemas"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "bench").rglob("*.schema.json")), ids=lambda path: path.name.partition(".")[0]
)
def test_each_committed_schema_is_a_schema(path: Path) -> None:
    """Checked only here: it takes longer than validating most files against their schema."""
    Draft202012Validator.check_schema(orjson.loads(path.read_bytes()))


def test_the_golden_summary_is_written_as_it_was_read() -> None:
    content = (ROOT / "tests" / "golden" / "summary.json").read_bytes()
    assert orjson.dumps(to_plain(from_json(content))) == orjson.dumps(orjson.loads(content))


class Part(Result, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One part."""

    from_: Number | None
    """In ms."""


class Whole(Part, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A file
    of two lines."""

    n: Count
    """How many."""
    part: Part | None = None
    """May be missing."""
    by_name: Annotated[dict[str, Count], keys("a", "b")] | None = None
    always: Annotated[dict[str, Part], every_key(of="names", optional=("c",))]


def test_a_schema_has_descriptions_limits_and_no_other_keys() -> None:
    schema = schema_of(Whole, "whole.json", {"names": ["a", "b"]})
    assert (schema["title"], schema["description"], schema["additionalProperties"]) == (
        "whole.json", "A file of two lines.", False
    )  # fmt: skip
    assert schema["required"] == ["from", "n", "always"]
    properties = schema["properties"]
    assert properties["from"] == {"type": ["number", "null"], "description": "In ms."}
    assert properties["n"] == {"minimum": 0, "type": "integer", "description": "How many."}
    assert properties["part"] == {"$ref": "#/$defs/Part", "description": "May be missing."}
    assert properties["by_name"]["propertyNames"] == {"enum": ["a", "b"]}
    assert properties["always"]["required"] == ["a", "b"]
    assert list(properties["always"]["properties"]) == ["a", "b", "c"]
    assert schema["$defs"]["Part"]["required"] == ["from"]


def test_numbers_are_written_as_they_are_and_what_may_be_missing_is_left_out() -> None:
    content = b'{"from":500,"n":3,"always":{"a":{"from":1.0}}}'
    whole = msgspec.json.decode(content, type=Whole)
    assert orjson.dumps(to_plain(whole)) == content
    assert msgspec.json.decode(content.replace(b"500", b"500.0"), type=Whole).from_ == 500.0


def test_limits_are_for_the_schema_and_types_for_reading_too() -> None:
    assert msgspec.json.decode(b'{"from":null,"n":-1,"always":{}}', type=Whole).n == -1
    for damaged in (b'{"from":"1","n":1,"always":{}}', b'{"from":1,"n":1.5,"always":{}}', b'{"from":1,"n":1}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(damaged, type=Whole)


def test_numbers_are_rounded_in_every_part() -> None:
    part = Part(from_=float("inf"))
    whole = Whole(from_=1 / 3, n=2, part=part, always={"a": Part(from_=0.1 + 0.2)})
    assert rounded(whole) == Whole(
        from_=0.333333333333, n=2, part=Part(from_=None), always={"a": Part(from_=0.3)}
    )  # fmt: skip
    assert rounded(None) is None


class Choice(Result, frozen=True, kw_only=True):
    """One of two."""

    kind: Annotated[str, needs(one=("a",), two=("a", "b"))]
    a: Count | None = None
    b: Count | None = None


def test_a_value_can_need_keys_beside_it() -> None:
    schema = Draft202012Validator(schema_of(Choice, "t", {}))
    for content, valid in (
        ({"kind": "one", "a": 1}, True), ({"kind": "one", "b": 1}, False), ({"kind": "two", "a": 1, "b": 2}, True),
        ({"kind": "two", "a": 1}, False), ({"kind": "three"}, False),
    ):  # fmt: skip
        assert schema.is_valid(content) is valid, content


def test_every_part_of_a_result_is_frozen_and_leaves_defaults_out_unless_it_says_otherwise() -> None:
    kinds = _below(Result)
    assert len(kinds) > 100
    assert [kind.__name__ for kind in kinds if not kind.__struct_config__.frozen] == []
    assert {kind.__name__ for kind in kinds if not kind.__struct_config__.omit_defaults} == {
        "ComparedNumber", "CountedBy", "SweepNumber", "Tokens"
    }  # fmt: skip


def test_times_that_no_reply_says_are_left_out() -> None:
    some, none = filled(Statistics, n=2), filled(Statistics, n=0)
    said = filled(ServerReported, queue_ms=some, prefill_ms=none, ttft_ms=some, decode_ms=none, outside_ms=none)
    assert said.times() == {"queue_ms": some, "ttft_ms": some}
    lacking = structs.replace(said, queue_ms=None)  # A field that only later versions have.
    assert lacking.times() == {"ttft_ms": some}


def _below(kind: type[Result]) -> set[type[Result]]:
    return {
        one for each in kind.__subclasses__() if each.__module__.startswith("bench.") for one in (each, *_below(each))
    }
