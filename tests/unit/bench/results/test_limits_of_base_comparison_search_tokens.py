"""Limits of the numbers of results, as stated in their schemas, and numbers by their names."""

from __future__ import annotations

from typing import Any

import pytest

from bench.results.base import Amount, Between, Count, FromOne, Interval, Portion, Positive, Result, keys, to_plain
from bench.results.comparison import Share
from bench.results.schema import schema_of
from bench.results.search import LoadAmount
from bench.results.tokens import CountedBy, InputCounts, Tokens, input_rate
from tests.support.results import filled


class Limited(Result, frozen=True, kw_only=True):
    """A number of each kind."""

    count: Count
    positive: Positive
    amount: Amount
    portion: Portion
    from_one: FromOne
    interval: Interval
    between: Between
    share: Share
    load: LoadAmount


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("count", {"minimum": 0}),
        ("positive", {"minimum": 1}),
        ("amount", {"minimum": 0}),
        ("portion", {"minimum": 0, "maximum": 1}),
        ("from_one", {"minimum": 1}),
        ("interval", {"minItems": 2, "maxItems": 2}),
        ("between", {"minItems": 2, "maxItems": 2}),
        ("share", {"exclusiveMinimum": 0, "exclusiveMaximum": 1}),
        ("load", {"exclusiveMinimum": 0}),
    ],
)
def test_a_schema_limits_each_kind_of_number(name: str, limits: dict[str, int]) -> None:
    schema = schema_of(Limited, "t", {})["properties"][name]
    assert {key: value for key, value in schema.items() if key not in ("type", "items")} == limits


def test_a_table_has_the_keys_of_a_list_or_of_a_pattern() -> None:
    assert keys("a", "b").extra_json_schema == {"propertyNames": {"enum": ["a", "b"]}}
    assert keys(pattern="^x$").extra_json_schema == {"propertyNames": {"pattern": "^x$"}}


def test_replies_that_nobody_counted_are_none_in_older_files() -> None:
    assert CountedBy(usage=1, tokenizer=2, chunks=3).limit == 0


@pytest.mark.parametrize(
    ("are", "tokens", "several"),
    [("texts", True, True), ("images", True, True), ("utterances", True, False), ("requests", False, False)],
)
def test_inputs_are_counted_by_what_they_are(are: str, tokens: bool, several: bool) -> None:
    counts: Any = filled(InputCounts, are=are)
    assert (counts.have_tokens, counts.have_several) == (tokens, several)
    assert (input_rate(are), input_rate(are, title=True)) == (f"{are}/s", f"{are.capitalize()}/s")
    assert input_rate(None) == "inputs/s"


def test_what_older_files_lack_counts_nothing() -> None:
    tokens = filled(Tokens)
    assert to_plain(tokens)["doubted"] == {"judged": 0, "requests": 0, "share": None, "first": None}
    assert to_plain(tokens)["over_limit"] == {"judged": 0, "requests": 0, "share": None}
