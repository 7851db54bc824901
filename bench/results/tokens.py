"""Tokens of the successful requests, and inputs of those without generated text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import UNSET, UnsetType

from bench.results.base import Amount, Count, FromOne, Portion, Result, keys, one_of
from bench.results.numbers import Statistics


class InputOutput(Result, frozen=True, kw_only=True):
    """Tokens of prompts and of replies; null if no reply says it."""

    input: int | None
    output: int | None


class PromptTokens(Result, frozen=True, kw_only=True):
    """Replies whose prompt length is known, by the usage or else as it was asked for, and the sum of these lengths."""

    requests: Count
    tokens: Count


class CountedTokens(Result, frozen=True, kw_only=True):
    """Tokens by our own count over the received text; null without a tokenizer."""

    output: int | None


class CachedTokens(Result, frozen=True, kw_only=True):
    """Prompt tokens that replies say came from the server's cache, of the prompt tokens of those replies."""

    tokens: Count
    of: Count
    share: Portion | None
    share_beyond_head: Portion | None
    """The same without the first 15 of each prompt, which a chat template may have put there."""
    share_of_probes: Portion | None = None
    """The share of all prompt tokens that are of probes (--check-answers), which are asked again."""


class CountedBy(Result, frozen=True, kw_only=True, omit_defaults=False):
    """Replies by the source of their number of output tokens."""

    usage: Count
    tokenizer: Count
    limit: Count = 0
    """Replies that nobody counted and that ended at the limit of tokens: they have as many."""
    chunks: Count


class TokenChunks(Result, frozen=True, kw_only=True):
    """Chunks that bear text, and what is known of their tokens."""

    with_tokens: Count
    requests_with_several_tokens_a_chunk: Count
    requests_with_unknown_tokens_a_chunk: Count


class KindCount(Result, frozen=True, kw_only=True):
    """Chunks of one kind of text, and their tokens."""

    chunks: Count
    tokens: Count


class Kinds(Result, frozen=True, kw_only=True):
    """The chunks that bear text, and their tokens, by what the text is. A request with several kinds whose chunks do
    not tell their tokens is in requests_with_unknown_tokens, and in no number of tokens."""

    content: KindCount
    reasoning: KindCount
    tool_calls: KindCount
    requests_with_unknown_tokens: Count
    reasoning_by_usage: Count | None


class ToolCalls(Result, frozen=True, kw_only=True):
    """Replies that call tools, of those of an API that has tool calls."""

    judged: Count
    replies: Count
    share: Portion | None
    calls: Count
    calls_per_reply: FromOne | None


class Difference(Result, frozen=True, kw_only=True):
    """How often two counts of one thing differ."""

    compared: Count
    differ: Count
    share: Portion | None


class AskedAgainstGot(Result, frozen=True, kw_only=True):
    """Tokens asked for, against those of the usage."""

    input: Difference
    output: Difference


class Reported(Result, frozen=True, kw_only=True):
    """Replies with a count that is contradicted or doubted, of those that were judged; `first` has the reason of the
    first one."""

    judged: Count
    requests: Count
    share: Portion | None
    first: str | None


class OverLimit(Result, frozen=True, kw_only=True):
    """Replies with more output tokens than were asked for (max_tokens), of those that asked for a number."""

    judged: Count
    requests: Count
    share: Portion | None


class Mismatch(Result, frozen=True, kw_only=True):
    """Output tokens of the usage against our own count over the text."""

    compared: Count
    differ: Count
    share: Portion | None
    off_by_one: Count
    usage_over_counted: Amount | None
    """Tokens of the usage / tokens counted."""


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
    """Replies whose tokens differ from what was asked for."""
    contradicted: Reported
    doubted: Reported = Reported(judged=0, requests=0, share=None, first=None)
    """Replies whose output tokens may be wrong though nothing better is known, of all replies; and what speaks
    against the first of them."""
    over_limit: OverLimit = OverLimit(judged=0, requests=0, share=None)
    mismatch: Mismatch


class MediaCounts(Result, frozen=True, kw_only=True):
    """Images, audio and video in the chats of the successful requests."""

    requests: Count
    """Requests that have any."""
    bytes: Statistics
    """Of all in a request, before Base64 and without those named by an address."""
    text_tokens: Statistics
    """Input tokens of the text of a request, by our tokenizer."""


def input_rate(are: str | None, *, title: bool = False) -> str:
    """The unit of the rate of what requests are made of (`images/s`), or its title (`Images/s`); None: not known."""
    name = "inputs" if are is None else are
    return f"{name.capitalize() if title else name}/s"


class InputCounts(Result, frozen=True, kw_only=True):
    """What requests were made of whose replies are no generated text."""

    are: Annotated[str, one_of("texts", "documents", "images", "utterances", "requests")]
    """`images` are those of the replies. `requests`: of any HTTP service, whose tokens nobody counts; then inputs are
    requests."""
    total: Count
    """Of the successful requests."""
    per_request: Statistics
    dimensions: Annotated[Mapping[str, Count], keys(pattern=r"^[0-9]+$")]
    """Replies by the numbers in each of their embeddings."""
    bytes_sent: Statistics | UnsetType = UNSET
    """Bodies of requests, in bytes; of images and any HTTP service."""
    bytes_received: Statistics | UnsetType = UNSET
    """Bodies of their responses."""

    @property
    def have_tokens(self) -> bool:
        """Whether inputs are texts, whose tokens are counted."""
        return self.are != "requests"

    @property
    def have_several(self) -> bool:
        """Whether a request may have several."""
        return self.are not in ("requests", "utterances")
