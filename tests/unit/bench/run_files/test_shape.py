"""Values from files against types: what fits, and the errors about the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from bench.errors import UsageError
from bench.run_files import shape
from bench.run_files.shape import misfits, read_result, refuse_misfits, unlike_json


class Colour(StrEnum):
    """Two."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    """An object in an object."""

    n: int
    rest: tuple[float, ...] = ()


@dataclass(frozen=True)
class Row:
    """All kinds of fields."""

    t_ns: int
    name: str | None
    inner: Inner | None = None
    kind: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    by_name: Mapping[str, int] | None = None
    anything: Any = None
    words: tuple[str, ...] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


class Always(msgspec.Struct, omit_defaults=False):
    """A part of a file that is always written in full."""

    n: int
    share: float | None = None


class Sometimes(msgspec.Struct, omit_defaults=True, rename={"from_": "from"}):
    """A part whose defaults are left out."""

    from_: int
    share: float | None = None


def test_a_part_that_is_written_whole_must_have_its_defaults_too() -> None:
    assert list(misfits({}, Always, "x")) == ["x.n is missing", "x.share is missing"]
    assert list(misfits({"n": 1, "share": None}, Always, "x")) == []
    assert list(misfits({}, Sometimes, "x")) == ["x.from is missing"]
    assert list(misfits({"from": 1}, Sometimes, "x")) == []


def test_true_is_no_number() -> None:
    assert list(misfits(True, float, "x")) == ["x must be a number, not true"]
    assert list(misfits(True, int, "x")) == ["x must be a whole number, not true"]
    assert list(misfits(True, Literal[1, 2], "x")) == ["x must be 1 or 2, not true"]
    assert list(misfits(1, float, "x")) == list(misfits(1.5, float, "x")) == list(misfits(True, bool, "x")) == []


def test_a_choice_of_types_is_named_without_those_that_another_includes() -> None:
    assert list(misfits("a", int | float | None, "x")) == ['x must be a number or null, not "a"']
    assert list(misfits("a", int | None, "x")) == ['x must be a whole number or null, not "a"']
    assert list(misfits([], object, "x")) == list(misfits(None, int | None, "x")) == []


def test_a_value_of_a_type_without_a_rule_is_an_object() -> None:
    assert list(misfits(3, Mapping[str, int], "x")) == ["x must be an object, not 3"]
    assert list(misfits("red", list[Colour], "x")) == ['x must be a list, not "red"']


GOOD: dict[str, Any] = {"t_ns": 1, "name": None}
CASES: list[tuple[str, Any, list[str]]] = [
    ("what must be there", GOOD, []),
    (
        "all of it",
        {
            **GOOD,
            "inner": {"n": 1, "rest": [1, 2.5]},
            "kind": "b",
            "colour": "blue",
            "by_name": {"x": 1, "y": 2**62 - 1},
            "anything": [],
            "words": [],
        },
        [],
    ),
    ("keys of no field", {**GOOD, "more": 1}, []),
    ("no object", [1], ["line 3: must be an object, not [1]"]),
    ("a field that is missing", {"name": "x"}, ["line 3: t_ns is missing"]),
    ("true for a number", {**GOOD, "t_ns": True}, ["line 3: t_ns must be a whole number, not true"]),
    ("a whole number with a dot", {**GOOD, "t_ns": 1.0}, ["line 3: t_ns must be a whole number, not 1.0"]),
    *(
        (
            f"a number as large as {large}",
            {**GOOD, "t_ns": large},
            [f"line 3: t_ns must be a whole number and below 2**62, not {large}"],
        )
        for large in (2**62, -(2**62), 2**63)
    ),
    ("one of two types", {**GOOD, "name": 5}, ["line 3: name must be a text or null, not 5"]),
    ("a text for texts", {**GOOD, "words": "ab"}, ['line 3: words must be a list or null, not "ab"']),
    ("inside an object", {**GOOD, "inner": {"n": "x"}}, ['line 3: inner.n must be a whole number, not "x"']),
    (
        "inside a list",
        {**GOOD, "inner": {"n": 1, "rest": [1, None]}},
        ["line 3: inner.rest[1] must be a number, not null"],
    ),
    (
        "inside a mapping",
        {**GOOD, "by_name": {"w": 1, "x": "y"}},
        ['line 3: by_name.x must be a whole number, not "y"'],
    ),
    ("a word of others", {**GOOD, "kind": "c"}, ["line 3: kind must be 'a' or 'b', not \"c\""]),
    ("an object for a word", {**GOOD, "kind": {}}, ["line 3: kind must be 'a' or 'b', not {}"]),
    ("a colour of others", {**GOOD, "colour": []}, ["line 3: colour must be red or blue, not []"]),
    (
        "two at once",
        {"t_ns": "x", "name": 1},
        ['line 3: t_ns must be a whole number, not "x"', "line 3: name must be a text or null, not 1"],
    ),
]


@pytest.mark.parametrize(("value", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_value_fits_its_type_or_a_sentence_says_where_it_does_not(value: Any, said: list[str]) -> None:
    assert [*misfits(value, Row, "line 3:")] == said


def test_numbers_that_are_no_numbers_and_counts_below_their_least_do_not_fit() -> None:
    assert [*misfits(float("nan"), float, "x")] == ["x must be a number, not null"]
    assert [*misfits(-1, int, "x", least=0)] == ["x must be a whole number from 0 on, not -1"]
    assert [*misfits(0, int, "x", least=0)] == []
    assert [*misfits([0, -1], tuple[int, ...], "x", least=0)] == ["x[1] must be a whole number from 0 on, not -1"]


def test_long_values_are_cut_in_sentences() -> None:
    """They are cut to 60 characters, including the quotation marks."""
    assert [*misfits("x" * 58, int, "n")] == [f'n must be a whole number, not "{"x" * 58}"']
    assert [*misfits("x" * 59, int, "n")] == [f'n must be a whole number, not "{"x" * 56}...']


@pytest.mark.parametrize(("wrong", "rest"), [(1, []), (10, []), (11, ["f: and 1 more"]), (500, ["f: and 490 more"])])
def test_the_first_ten_problems_are_told_and_how_many_there_are(wrong: int, rest: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        refuse_misfits(["x"] * wrong, list[bool], "f:", advice="; mend it")
    said = [f'f:[{number}] must be true or false, not "x"; mend it' for number in range(min(wrong, 10))]
    assert list(refused.value.problems) == said + rest


ITSELF: list[object] = []
ITSELF.append(ITSELF)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"a": {"b": [1, 2**63]}}, "a.b[1] is a whole number of more than 64 bits"),
        ({"a": -(10**400)}, "a is a whole number of more than 64 bits"),
        ({"a": {1, 2}}, "a is no text, no number, and neither true nor false"),
        ({"a": b"x"}, "a is no text, no number, and neither true nor false"),
        ({"a": "x\ud800"}, "a holds half of a character"),
        ({"a": "\udfff"}, "a holds half of a character"),
        ({"a": "\ud7ff\ue000"}, None),
        ({"a": ITSELF}, "it has more than 1,000 values, or an alias (*) that refers to itself"),
        ([0] * 1_000, "it has more than 1,000 values, or an alias (*) that refers to itself"),
        ([0] * 999, None),
        ({"a": {"x" * 58: 2**63}}, f"a.{'x' * 58} is a whole number of more than 64 bits"),
        ({"a": {"x" * 59: [2**63]}}, f"a.{'x' * 55}... is a whole number of more than 64 bits"),
        ({"a": [2**63 - 1, -(2**63), 1.5, None, True, "\U0001f600"]}, None),
    ],
)
def test_what_json_cannot_hold_is_named_by_its_place(
    content: object, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shape.MOST_VALUES == 1_000_000
    monkeypatch.setattr(shape, "MOST_VALUES", 1_000)
    assert unlike_json(content) == problem


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"schema": 2, "n": 1, "share": null}', "x.json is not a thing of this version (schema 1)"),
        ('{"schema": 1, "share": null}', "x.json: n is missing"),
        ("[]", "x.json is not a thing"),
        ('{"schema": 1, "n": 5, "share": null}', "x.json: n is 5"),
    ],
)
def test_a_result_of_another_version_is_refused_and_so_is_a_damaged_one(
    content: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UsageError) as refused:
        read_result(tmp_path / "x.json", Always, 1, "thing", lambda row: ["n is 5"] if row["n"] == 5 else [])
    assert said in str(refused.value)
    (tmp_path / "x.json").write_text('{"schema": 1, "n": 1, "share": null}')
    assert read_result(tmp_path / "x.json", Always, 1, "thing") == Always(n=1)
