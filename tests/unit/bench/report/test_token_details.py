"""A report's facts about tokens, one by one. A fact without a number is left out."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents.token_details import tokens
from bench.results.server import PrefixCache
from bench.results.summary import RunSummary
from bench.results.tokens import InputCounts, MediaCounts, Tokens
from tests.support.results import filled

ALWAYS = {"Input tokens": "–", "Output tokens": "0"}


def facts(of_tokens: dict[str, Any], **of_run: Any) -> dict[str, str]:
    """The facts of a run by their names."""
    run = {"prefix_cache": None, "media": None, "inputs": None, **of_run}
    return {fact.name: str(fact.value) for fact in tokens(filled(RunSummary, tokens=of_tokens, **run))}


@pytest.mark.parametrize(
    ("of_tokens", "said"),
    [
        ({}, {}),
        ({"usage": {"input": 1234}}, {"Input tokens": "1,234"}),
        (
            {"output": 90, "counted_by": {"usage": 2, "tokenizer": 0, "chunks": 1}},
            {"Output tokens": "90", "Tokens counted": "1 of 3 replies by their chunks, one token each"},
        ),
        (
            {"output": 90, "counted_by": {"usage": 0, "tokenizer": 1, "limit": 3, "chunks": 0}},
            {"Output tokens": "90", "Tokens counted": "3 of 4 replies by the limit of tokens at which they ended"},
        ),
        (
            {"asked_against_got": {"input": {"compared": 5, "differ": 0}, "output": {"compared": 6, "differ": 2}}},
            {"Input tokens asked": "0 of 5 requests differ", "Output tokens asked": "2 of 6 requests differ"},
        ),
        (
            {"contradicted": {"judged": 9, "requests": 1, "first": "0 tokens"}},
            {"Usage not believed": "1 of 9 requests; the first: 0 tokens"},
        ),
        (
            {"over_limit": {"judged": 8, "requests": 1}, "doubted": {"judged": 7, "requests": 1, "first": "why"}},
            {
                "Over max_tokens": "1 of 8 replies have more tokens than requested",
                "Tokens in doubt": "1 of 7 replies; the first: why",
            },
        ),
        ({"mismatch": {"compared": 4, "differ": 0}}, {"Usage against our count": "0 of 4 requests differ"}),
        (
            {"mismatch": {"compared": 4, "differ": 3, "off_by_one": 1}},
            {"Usage against our count": "3 of 4 requests differ (1 by one: often an end token without text)"},
        ),
        (
            {"cached": {"tokens": 300, "of": 400, "share": 0.75}},
            {"Cached input tokens": "300 · 75% of the prompt tokens"},
        ),
        ({"cached": {"tokens": 0, "of": 1, "share": 0}}, {"Cached input tokens": "0 · 0% of the prompt tokens"}),
        (
            {"chunks": {"requests_with_unknown_tokens_a_chunk": 1, "requests_with_several_tokens_a_chunk": 2}},
            {"Tokens of chunks unknown": "1 request", "Several tokens in a chunk": "2 requests"},
        ),
        (
            {"kinds": {"reasoning": {"chunks": 2, "tokens": 3}, "content": {"chunks": 1, "tokens": 5}}},
            {"Tokens by kind": "answers 5 in 1 chunk · reasoning 3 in 2 chunks"},
        ),
        ({"kinds": {"tool_calls": {"chunks": 1, "tokens": 5}}}, {"Tokens by kind": "tool calls 5 in 1 chunk"}),
        ({"kinds": {"content": {"chunks": 1, "tokens": 5}, "reasoning_by_usage": 7}}, {"Reasoning tokens": "7"}),
        (
            {"tool_calls": {"judged": 3, "replies": 2, "calls_per_reply": 1}},
            {"Tool calls": "2 of 3 replies call tools"},
        ),
    ],
)  # fmt: skip
def test_each_fact_has_its_numbers_and_is_left_out_without_them(
    of_tokens: dict[str, Any], said: dict[str, str]
) -> None:
    assert facts(of_tokens) == ALWAYS | said


def test_output_tokens_say_who_counted_them() -> None:
    def note(**counted_by: int) -> str:
        summary = filled(RunSummary, tokens={"counted_by": counted_by}, prefix_cache=None, media=None, inputs=None)
        return next(fact.meaning for fact in tokens(summary) if fact.name == "Output tokens")

    assert note(usage=1200, tokenizer=0, chunks=3) == "Counted by: usage 1,200, chunks 3."
    assert note() == "No response had any."


def test_kinds_that_cannot_be_divided_are_counted() -> None:
    def note(unknown: int) -> str:
        kinds = {"reasoning": {"chunks": 1}, "requests_with_unknown_tokens": unknown}
        summary = filled(RunSummary, tokens=filled(Tokens, kinds=kinds), prefix_cache=None, media=None, inputs=None)
        return next(fact.meaning for fact in tokens(summary) if fact.name == "Tokens by kind")

    assert note(0) == "By the chunks that they came in."
    assert note(2) == "By the chunks that they came in; 2 requests cannot be divided."


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ({"planned_share": 0.5}, "planned 50% · measured – of the prompt tokens"),
        ({"planned_share": 0.5, "said_share": 0.25}, "planned 50% · by replies 25% of the prompt tokens"),
        (
            {"planned_share": 0.5, "said_share": 0.25, "measured_share": 0.4, "off_share": -0.25},
            "planned 50% · by replies 25% · measured 40% of the prompt tokens",
        ),
        (
            {"planned_share": 0.5, "said_share": 0.25, "off_share": -0.25, "rounding_share": 0.0123},
            "planned 50% · by replies 25% of the prompt tokens · -25.00 points off the plan, of which rounding to blocks "
            "may be 1.23",
        ),
    ],
)
def test_a_prefix_cache_is_held_against_its_plan(cache: dict[str, float], said: str) -> None:
    assert facts({}, prefix_cache=filled(PrefixCache, cache))["Prefix cache"] == said


SIZES = {"n": 4, "mean": 2.5, "p50": 2, "max": 4}


def test_a_run_with_images_says_what_they_and_the_text_beside_them_are() -> None:
    bytes_of_each = {"bytes": {"n": 2, "mean": 1500, "max": 2000}, "requests": 2}
    said = {"Images, audio, video": "average 1,500 bytes · max 2,000 · in 2 requests"}
    assert facts({}, media=filled(MediaCounts, bytes_of_each, text_tokens={"n": 0})) == ALWAYS | said
    text = {"Text beside them": "average 2.500 tokens · max 4"}
    assert facts({}, media=filled(MediaCounts, bytes_of_each, text_tokens=SIZES)) == ALWAYS | said | text


def test_a_run_without_generated_text_says_what_its_requests_were_made_of() -> None:
    inputs = {"are": "texts", "total": 10, "per_request": SIZES, "dimensions": {"8": 3, "16": 1}}
    assert facts({}, inputs=filled(InputCounts, inputs)) == {
        "Inputs": "10 texts",
        "Inputs a request": "average 2.500 · median 2 · max 4",
        "Dimensions": "8 (3), 16 (1)",
        "Input tokens": "–",
    }
    none = filled(InputCounts, inputs, per_request={"n": 0}, dimensions={})
    assert facts({}, inputs=none) == {"Inputs": "10 texts", "Inputs a request": "–", "Input tokens": "–"}


def test_a_run_of_any_service_says_statuses_and_bytes() -> None:
    inputs = filled(InputCounts, are="requests", bytes_sent=SIZES, bytes_received={"n": 0})
    assert facts({}, inputs=inputs, counts={"by_status": {"200": 1234, "404": 1}}) == {
        "Statuses": "200: 1,234, 404: 1",
        "Bytes sent": "average 2.500 · median 2 · max 4",
    }
    assert facts({}, inputs=filled(InputCounts, are="requests")) == {"Statuses": "–"}
