"""The token counts of a reply: its usage, whether that is possible, and the tokens of each chunk.

Usage is believed unless it is impossible:

- it is not a whole number, or negative, or beyond 10,000,000;
- it is 0, and there is text;
- it is more than was requested, and the text does not show that many;
- it is more than the text can hold (a visible token has at least one byte) and more than special tokens explain;
- it is less than half of our own count of the text;
- it is less than the text chunks that came, and the reply did not end at a limit that the usage reaches.

Then the next source counts, and the reply records why. If there is no other source, a reply that ended at its limit has
as many tokens as the limit, and any other has one token a chunk. A count that the reply itself puts in doubt is used
and marked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bench.records import MOST_TOKENS, TOKEN_KINDS, TokensFrom

_TEXT_KINDS = TOKEN_KINDS | {"n"}

SPECIAL_TOKENS = 16
"""Tokens of a reply that may have no text: its end, the marks of reasoning or of a channel, a stop string that is cut
off."""
TOOL_CALL_TOKENS = 256
"""The same for a tool call: its name and the marks around it are not in the text."""

SPLIT_TOKENS = 1
"""Chunks may exceed tokens by this many: an echoed prompt, half a character."""
LEAST_BYTES = 2
"""Chunks with fewer bytes on average are parts of tokens: some gateways send a reply letter by letter."""
MOST_BYTES, MOST_BYTES_OTHERS = 12, 24
"""A token has at most this many bytes on average (4 or 5 in English, which is ASCII; more in scripts whose letters take
three bytes): longer chunks hold several."""

_HIDDEN = ("reasoning_tokens", "rejected_prediction_tokens", "audio_tokens")
"""Details of usage that count tokens whose text the server hides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyText:
    """The content of a reply, as evidence for its usage. `counted`: our own count, if there is a tokenizer."""

    asked: int | None
    most_bytes: int
    """An upper bound of the text's bytes."""
    token_chunks: int | None
    """None for a reply in one piece."""
    chunks_without_text: int = 0
    chunks_behind_usage: int = 0
    """Token chunks that came after the usage, which may count only the text before them."""
    choices: int = 1
    tool_calls: bool = False
    counted: int | None = None
    least_tokens: int = 0
    """The minimum number of tokens that its chunks show (`least_tokens`)."""
    limited: bool = False
    """Whether the reply states that it ended at the token limit."""
    is_ascii: bool = True

    @property
    def limit(self) -> int | None:
        """The tokens of a reply that states it ended at its limit; None if it did not, or has several choices."""
        return self.asked if self.limited and self.choices == 1 and self.asked else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """The tokens of a reply, their source, and why the server's count was rejected (None if it was not)."""

    input_tokens: int | None
    output_tokens: int | None
    output_tokens_from: TokensFrom | None
    contradiction: str | None
    doubt: str | None = None
    """Why `output_tokens` may still be wrong."""


def token_counts(usage: Mapping[str, Any] | None, text: ReplyText) -> TokenCounts:
    """Use the usage, else our own count, else the limit at which the reply ended, else the number of token chunks."""
    input_tokens = output_tokens = contradiction = None
    if usage is not None:
        input_tokens, wrong_input = _whole_number(usage, "prompt_tokens", "input")
        output_tokens, contradiction = _whole_number(usage, "completion_tokens", "output")
        if output_tokens is not None and (contradiction := _contradiction(output_tokens, usage, text)) is not None:
            output_tokens = None
        contradiction = contradiction if contradiction is not None else wrong_input
    if output_tokens is not None and text.chunks_behind_usage and _is_partial(output_tokens, text):
        output_tokens = None
    source: TokensFrom | None = "usage"
    if output_tokens is None:
        output_tokens, source = text.counted, "tokenizer"
    if output_tokens is None:
        output_tokens, source = text.token_chunks, "chunks" if text.token_chunks is not None else None
        limit = text.limit
        if limit is not None and text.most_bytes and (output_tokens is None or output_tokens < limit):
            output_tokens, source = limit, "limit"
    return TokenCounts(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        output_tokens_from=source,
        contradiction=contradiction,
        doubt=None if output_tokens is None else _doubt(output_tokens, source, usage, text),
    )


def _doubt(tokens: int, source: TokensFrom | None, usage: Mapping[str, Any] | None, text: ReplyText) -> str | None:
    """Why the reply puts this count in doubt, or None."""
    limit, chunks = text.limit, text.token_chunks
    if source == "usage":
        if limit is None or tokens + (reasoning_tokens(usage) or 0) >= limit:
            return None
        return f"usage says {tokens} output tokens, and the reply says that it ended at the limit of {limit}"
    if source == "tokenizer" or not chunks:
        return None
    if limit is not None and chunks != limit:
        chunks_text = f"{chunks} chunk{'s' * (chunks != 1)} of text"
        return f"no count but {chunks_text}, and the reply says that it ended at the limit of {limit} tokens"
    if source == "chunks" and text.most_bytes > (MOST_BYTES if text.is_ascii else MOST_BYTES_OTHERS) * (chunks + 1):
        return f"no count but {chunks} chunks of text, which have {text.most_bytes} bytes: several tokens each"
    return None


def input_tokens(reply: Mapping[str, Any]) -> tuple[int | None, str | None]:
    """The input tokens of a reply without output tokens, and why its own count was rejected.

    `usage.prompt_tokens`, `usage.input_tokens` (images), else `usage.total_tokens`; Cohere's dialect: `meta.tokens` or
    `meta.billed_units`.
    """
    usage, meta = reply.get("usage"), reply.get("meta")
    if isinstance(usage, dict):
        named = (name for name in ("prompt_tokens", "input_tokens") if usage.get(name) is not None)
        return _whole_number(usage, next(named, "total_tokens"), "input")
    if isinstance(meta, dict):
        for holder in (meta.get("tokens"), meta.get("billed_units")):
            if isinstance(holder, dict) and "input_tokens" in holder:
                return _whole_number(holder, "input_tokens", "input")
    return None, None


def usage_in(reply: Mapping[str, Any], choices: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The usage of an event or a whole reply with these choices: its own, Groq's in `x_groq`, or Moonshot's in a
    choice."""
    for holder in (reply, reply.get("x_groq"), *choices):
        if isinstance(holder, dict) and isinstance(usage := holder.get("usage"), dict):
            return usage
    return None


def whole_number(value: object) -> int | None:
    """The value if it is a plausible whole number (JSON's 8.0 counts), else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MOST_TOKENS:
        return None
    return int(value) if value == int(value) else None


def cached_tokens(usage: Mapping[str, Any] | None, timings: object) -> int | None:
    """Prompt tokens that the server took from its cache, or None if it does not report them.

    `usage.prompt_tokens_details.cached_tokens`, else Moonshot's or DeepSeek's own field of the usage, else `cache_n` of
    llama.cpp's `timings`.
    """
    details = usage.get("prompt_tokens_details") if usage is not None else None
    for holder, field in (
        (details, "cached_tokens"), (usage, "cached_tokens"), (usage, "prompt_cache_hit_tokens"), (timings, "cache_n"),
    ):  # fmt: skip
        if isinstance(holder, dict) and (count := whole_number(holder.get(field))) is not None and count >= 0:
            return count
    return None


def reasoning_tokens(usage: Mapping[str, Any] | None) -> int | None:
    """Output tokens that were reasoning, from the details of usage or (SGLang) usage itself. Returns None if neither
    has them."""
    details = usage.get("completion_tokens_details") if usage is not None else None
    for holder in (details, usage):
        count = whole_number(holder.get("reasoning_tokens")) if isinstance(holder, dict) else None
        if count is not None and count >= 0:
            return count
    return None


def _whole_number(usage: Mapping[str, Any], field: str, kind: str) -> tuple[int | None, str | None]:
    value = usage.get(field)
    if value is None:
        return None, None
    number = whole_number(value)
    if number is None or number < 0:
        return None, f"usage says {str(value)[:40]!r} {kind} tokens"
    return number, None


def _contradiction(tokens: int, usage: Mapping[str, Any], text: ReplyText) -> str | None:
    """Why this count of output tokens cannot be right, or None."""
    counted, chunks = text.counted, text.token_chunks
    if not tokens and text.most_bytes:
        return "usage says 0 output tokens, and there is text"
    shown = max(chunks if chunks is not None else 0, counted if counted is not None else 0)
    if text.asked is not None and tokens > text.asked and tokens > shown:
        return f"usage says {tokens} output tokens, but {text.asked} were requested"
    details = usage.get("completion_tokens_details")
    hidden = [whole_number(details.get(name)) for name in _HIDDEN] if isinstance(details, dict) else []
    silent = SPECIAL_TOKENS + (TOOL_CALL_TOKENS if text.tool_calls else 0) + text.chunks_without_text
    silent += sum(number for number in hidden if number is not None and number > 0)
    if text.choices == 1 and tokens > text.most_bytes + silent:
        return f"usage says {tokens} output tokens, and the text has {text.most_bytes} bytes at most"
    if counted is not None and 2 * tokens + SPECIAL_TOKENS < counted:
        return f"usage says {tokens} output tokens, and the text has {counted}"
    return _too_few(tokens, usage, text)


def _too_few(tokens: int, usage: Mapping[str, Any], text: ReplyText) -> str | None:
    """Why the chunks show more tokens than this count, or None.

    If a reply ended at its limit and its usage equals the limit, it has that many tokens: its chunks are parts of
    tokens.
    """
    chunks, limit = text.token_chunks, text.limit
    if chunks is None or text.chunks_behind_usage or (text.limited and tokens == text.asked):
        return None
    # If a tokenizer counts no more than the usage, chunks are parts of tokens too.
    shown = text.least_tokens if text.counted is None else min(text.least_tokens, text.counted)
    if limit is not None:
        if shown > tokens and tokens + (reasoning_tokens(usage) or 0) < limit:
            return f"usage says {tokens} output tokens, and the text came in {chunks} chunks, to the limit of {limit} tokens"
        return None
    if shown > tokens + SPLIT_TOKENS and text.most_bytes >= LEAST_BYTES * chunks:
        return f"usage says {tokens} output tokens, and the text came in {chunks} chunks"
    return None


def least_tokens(chunk_kind: str) -> int:
    """The minimum number of tokens that these chunks show: one for each chunk of an answer or of reasoning, and one for
    two chunks of different kinds, which a server may make in one step. Servers split tool arguments freely, so these do
    not count."""
    text = [kind for kind in chunk_kind if kind in _TEXT_KINDS]
    changes = sum(kind != before for before, kind in pairwise(text))
    return max(0, chunk_kind.count("c") + chunk_kind.count("t") - changes)


def says_each(running: Sequence[int | None]) -> bool:
    """Whether the usage on every token chunk counts only that chunk: it stays the same from first to last, so it does
    not accumulate. Two chunks may share a token."""
    return len(running) > 2 and running[0] is not None and running.count(running[0]) == len(running)


def _is_partial(tokens: int, text: ReplyText) -> bool:
    """Whether a usage sent before the last text is smaller than the whole reply, as far as known. Such a usage is not
    wrong."""
    return tokens < (text.counted if text.counted is not None else text.token_chunks or 0)


def tokens_of_chunks(
    chunk_kind: str,
    running: Sequence[int | None],
    pieces: Sequence[str],
    output_tokens: int | None,
    count: Callable[[str], int] | None,
) -> tuple[int, ...] | None:
    """The tokens of each chunk: from usage on every chunk, else one each if that adds up, else counted, else unknown.

    `running` and `pieces` have one entry a token chunk (`pieces` is empty without a tokenizer): the usage so far, and
    the text. `chunk_kind` is a record's, plus an `e` for a text chunk whose text is empty. Such a chunk may carry a
    token (the first half of a character, a hidden token). If the usage counts these, each counts for the text after it.
    An `n` bears only the name of a tool: if the other chunks make up the usage, it has no token.
    """
    if running and None not in running:
        so_far = [tokens for tokens in running if tokens is not None]
        steps = [after - before for before, after in pairwise([0, *so_far])]
        # Some servers send 0 on each chunk, and the tokens after the last.
        if so_far[-1] > 0 and min(steps) >= 0 and (output_tokens is None or so_far[-1] <= output_tokens):
            return _placed(chunk_kind, steps)
    if output_tokens is None or not running:
        return None if running else _placed(chunk_kind, [])
    if output_tokens == len(running):
        return _placed(chunk_kind, [1] * len(running))
    if output_tokens == len(running) - chunk_kind.count("n"):
        return _placed(chunk_kind, [0 if kind == "n" else 1 for kind in chunk_kind if kind in _TEXT_KINDS])
    if (tokens := _with_empty_chunks(chunk_kind, output_tokens)) is not None:
        return _placed(chunk_kind, tokens)
    if count is not None:
        counts = [count(piece) for piece in pieces]
        # Pieces tokenize separately as they do together only if the chunks end at token borders, so check the sum.
        if sum(counts) == output_tokens:
            return _placed(chunk_kind, counts)
    return None


def _with_empty_chunks(chunk_kind: str, output_tokens: int) -> list[int] | None:
    """Tokens of the token chunks, if each has one, each empty chunk before the last of them has one, and those after it
    have the rest of the count. Returns None if that does not add up."""
    tokens: list[int] = []
    waiting = 0
    for kind in chunk_kind:
        if kind in _TEXT_KINDS:
            tokens.append(1 + waiting)
            waiting = 0
        elif kind == "e":
            waiting += 1
    return tokens if 0 <= output_tokens - sum(tokens) <= waiting else None


def _placed(chunk_kind: str, tokens: Sequence[int]) -> tuple[int, ...]:
    """One entry a chunk: the tokens of the token chunks in order, and 0 for the others."""
    each = iter(tokens)
    return tuple([next(each) if kind in _TEXT_KINDS else 0 for kind in chunk_kind])
