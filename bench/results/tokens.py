"""Tokens of the successful requests, and inputs of requests without generated text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import UNSET, UnsetType

from bench.results.base import Amount, Count, FromOne, Portion, Result, keys, one_of
from bench.results.numbers import Statistics


class InputOutput(Result, frozen=True, kw_only=True):
    """Tokens of prompts and of replies; null if no reply reports them."""

    input: int | None
    output: int | None


class PromptTokens(Result, frozen=True, kw_only=True):
    """Replies whose prompt length is known, by the usage or else as it was asked for, and the sum of these lengths."""

    requests: Count
    tokens: Count


class CountedTokens(Result, frozen=True, kw_only=True):
    """Our own token count of the received text; null without a tokenizer."""

    output: int | None


class CachedTokens(Result, frozen=True, kw_only=True):
    """Prompt tokens from the server's cache, according to replies, as a share of the prompt tokens of those replies."""

    tokens: Count
    of: Count
    share: Portion | None
    share_beyond_head: Portion | None
    """The same without the first 15 tokens of each prompt, which may come from a chat template."""
    share_of_probes: Portion | None = None
    """The share of all prompt tokens that belongs to probes (--check-answers), which are asked repeatedly."""


class CountedBy(Result, frozen=True, kw_only=True, omit_defaults=False):
    """Replies by the source of their number of output tokens."""

    usage: Count
    tokenizer: Count
    limit: Count = 0
    """Replies without a count that ended at the token limit: the limit is their number of tokens."""
    chunks: Count


class TokenChunks(Result, frozen=True, kw_only=True):
    """Chunks with text, and what is known about their tokens."""

    with_tokens: Count
    requests_with_several_tokens_a_chunk: Count
    requests_with_unknown_tokens_a_chunk: Count


class KindCount(Result, frozen=True, kw_only=True):
    """Chunks of one kind of text, and their tokens."""

    chunks: Count
    tokens: Count


class Kinds(Result, frozen=True, kw_only=True):
    """The chunks with text, and their tokens, by the kind of text. A request with several kinds whose chunks do not
    tell their tokens counts in requests_with_unknown_tokens, and in no number of tokens."""

    content: KindCount
    reasoning: KindCount
    tool_calls: KindCount
    requests_with_unknown_tokens: Count
    reasoning_by_usage: Count | None


class ToolCalls(Result, frozen=True, kw_only=True):
    """Replies that call tools, as a share of the replies of an API with tool calls."""

    judged: Count
    replies: Count
    share: Portion | None
    calls: Count
    calls_per_reply: FromOne | None


class Difference(Result, frozen=True, kw_only=True):
    """How often two counts of the same thing differ."""

    compared: Count
    differ: Count
    share: Portion | None


class AskedAgainstGot(Result, frozen=True, kw_only=True):
    """Requested tokens compared with those of the usage."""

    input: Difference
    output: Difference


class Reported(Result, frozen=True, kw_only=True):
    """Replies with a contradicted or doubted count, of all judged replies; `first` has the reason for the first one."""

    judged: Count
    requests: Count
    share: Portion | None
    first: str | None


class OverLimit(Result, frozen=True, kw_only=True):
    """Replies with more output tokens than requested (max_tokens), of those that requested a number."""

    judged: Count
    requests: Count
    share: Portion | None


class Mismatch(Result, frozen=True, kw_only=True):
    """Output tokens of the usage compared with our own count of the text."""

    compared: Count
    differ: Count
    share: Portion | None
    off_by_one: Count
    usage_over_counted: Amount | None
    """Tokens of the usage divided by counted tokens."""


class Tokens(Result, frozen=True, kw_only=True, omit_defaults=False):
    """Tokens of the successful requests."""

    asked: InputOutput
    usage: InputOutput
    prompts: PromptTokens = PromptTokens(requests=0, tokens=0)
    counted: CountedTokens
    cached: CachedTokens
    output: Count
    counted_by: CountedBy
    chunks: TokenChunks
    kinds: Kinds
    tool_calls: ToolCalls
    asked_against_got: AskedAgainstGot
    """Replies whose tokens differ from the requested number."""
    contradicted: Reported
    doubted: Reported = Reported(judged=0, requests=0, share=None, first=None)
    """Replies whose output tokens may be wrong although there is no better source, of all replies; and the reason for
    the first of them."""
    over_limit: OverLimit = OverLimit(judged=0, requests=0, share=None)
    mismatch: Mismatch


class MediaCounts(Result, frozen=True, kw_only=True):
    """Images, audio and video in the chats of the successful requests."""

    requests: Count
    """Requests that have any."""
    bytes: Statistics
    """Bytes of all media in a request, before Base64 and without those given by an address."""
    text_tokens: Statistics
    """Our tokenizer's count of the input tokens in the text of a request."""


def input_rate(are: str | None, *, title: bool = False) -> str:
    """The unit of the input rate (`images/s`), or its title (`Images/s`). `are` is the input type; None if unknown."""
    name = "inputs" if are is None else are
    return f"{name.capitalize() if title else name}/s"


class InputCounts(Result, frozen=True, kw_only=True):
    """The inputs of requests whose replies are not generated text."""

    are: Annotated[str, one_of("texts", "documents", "images", "utterances", "requests")]
    """`images` are those of the replies. `requests`: any HTTP service, without a token count; then inputs are requests."""
    total: Count
    """Inputs of the successful requests."""
    per_request: Statistics
    dimensions: Annotated[Mapping[str, Count], keys(pattern=r"^[0-9]+$")]
    """Replies by the length of each of their embeddings."""
    bytes_sent: Statistics | UnsetType = UNSET
    """Bodies of requests, in bytes; only for images and any HTTP service."""
    bytes_received: Statistics | UnsetType = UNSET
    """Bodies of their responses."""

    @property
    def have_tokens(self) -> bool:
        """Whether inputs are texts, whose tokens are counted."""
        return self.are != "requests"

    @property
    def have_several(self) -> bool:
        """Whether a request may have several inputs."""
        return self.are not in ("requests", "utterances")
