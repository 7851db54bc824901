"""summary.json: tokens and inputs. As the pages take it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from bench.documents.numbers import BothSides, Comparison, Kind, Statistics


class TokensCounted(TypedDict):
    output: int | None


class TokensCached(TypedDict):
    """Prompt tokens that replies say came from the server's cache, of the prompt tokens of those replies."""

    tokens: int
    of: int
    share: float | None
    share_beyond_head: float | None


class TokensCountedBy(TypedDict):
    usage: int
    tokenizer: int
    limit: int
    chunks: int


class TokensChunks(TypedDict):
    with_tokens: int
    requests_with_several_tokens_a_chunk: int
    requests_with_unknown_tokens_a_chunk: int


class TokensKinds(TypedDict):
    """The chunks that bear text, and their tokens, by what the text is. A request with several kinds whose chunks do
    not tell their tokens is in requests_with_unknown_tokens, and in no number of tokens."""

    content: Kind
    reasoning: Kind
    tool_calls: Kind
    requests_with_unknown_tokens: int
    reasoning_by_usage: int | None


class TokensToolCalls(TypedDict):
    """Replies that call tools, of those of an API that has tool calls."""

    judged: int
    replies: int
    share: float | None
    calls: int
    calls_per_reply: float | None


class TokensAskedAgainstGot(TypedDict):
    input: Comparison
    output: Comparison


class TokensContradicted(TypedDict):
    judged: int
    requests: int
    share: float | None
    first: str | None


class TokensDoubted(TypedDict):
    """Replies whose output tokens may be wrong though nothing better is known, of all replies; and what speaks
    against the first of them."""

    judged: int
    requests: int
    share: float | None
    first: str | None


class TokensOverLimit(TypedDict):
    """Replies with more output tokens than were asked for (max_tokens), of those that asked for a number."""

    judged: int
    requests: int
    share: float | None


class TokensMismatch(TypedDict):
    usage_over_counted: float | None
    compared: int
    differ: int
    share: float | None
    off_by_one: int


class Tokens(TypedDict):
    asked: BothSides
    usage: BothSides
    counted: TokensCounted
    cached: TokensCached
    output: int
    counted_by: TokensCountedBy
    chunks: TokensChunks
    kinds: TokensKinds
    tool_calls: TokensToolCalls
    asked_against_got: TokensAskedAgainstGot
    contradicted: TokensContradicted
    doubted: TokensDoubted
    over_limit: TokensOverLimit
    mismatch: TokensMismatch


class Inputs(TypedDict):
    """What requests were made of whose replies are no generated text. Missing where text is generated."""

    are: str
    total: int
    per_request: Statistics
    dimensions: Mapping[str, int]
