"""The rows of a report about tokens, and about the inputs of requests whose replies are not generated text."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import asdict

from bench.documents.details import requests_text
from bench.documents.document import Fact
from bench.documents.formatting import NOTHING, number, share
from bench.results.server import PrefixCache
from bench.results.summary import RunSummary
from bench.results.tokens import InputCounts, MediaCounts, Tokens


def tokens(summary: RunSummary) -> list[Fact]:
    """Tokens requested, tokens received, and how they were counted."""
    if summary.inputs is not None and not summary.inputs.have_tokens:
        return _responses(summary, summary.inputs)
    row, counted_by = summary.tokens, asdict(summary.tokens.counted_by)
    by = ", ".join(f"{name} {n:,}" for name, n in counted_by.items() if n)
    rows = [Fact("Input tokens", number(row.usage.input), "From the server's usage.")]
    if summary.media is not None:
        rows = [*_media(summary.media), *rows]
    if summary.inputs is not None:
        rows = [*_inputs(summary.inputs), *rows]
    else:
        rows.append(Fact("Output tokens", number(row.output), f"Counted by: {by}." if by else "No response had any."))
    for side, comparison in asdict(row.asked_against_got).items():
        if comparison.compared:
            text = f"{comparison.differ:,} of {comparison.compared:,} requests differ"
            counted = "Tokens received" if side == "output" else "The server's usage"
            rows.append(
                Fact(f"{side.capitalize()} tokens asked", text, f"{counted}, compared with the tokens requested.")
            )
    if (contradicted := row.contradicted).requests:
        text = f"{contradicted.requests:,} of {contradicted.judged:,} requests; the first: {contradicted.first}"
        rows.append(Fact("Usage not believed", text, "Impossible counts are not used: the next source counted."))
    rows += _uncounted(row)
    mismatch = row.mismatch
    if mismatch.compared:
        text = f"{mismatch.differ:,} of {mismatch.compared:,} requests differ"
        note = f" ({mismatch.off_by_one:,} by one: often an end token without text)" if mismatch.off_by_one else ""
        rows.append(Fact("Usage against our count", text + note, "The server's usage, compared with the text it sent."))
    rows += _kinds(row)
    if (cached := row.cached).of:
        text = f"{number(cached.tokens)} · {share(cached.share)} of the prompt tokens"
        rows.append(Fact("Cached input tokens", text, "Taken from the server's cache, as its replies say."))
    if (cache := summary.prefix_cache) is not None:
        meaning = (
            "Planned: the share that prompts have in common. By replies: as each reply says. "
            "Measured: by the server's metrics."
        )
        rows.append(Fact("Prefix cache", _shares(cache), meaning))
    unknown = row.chunks.requests_with_unknown_tokens_a_chunk
    if unknown:
        rows.append(Fact("Tokens of chunks unknown", requests_text(unknown), "Their ITL has one sample per chunk gap."))
    several = row.chunks.requests_with_several_tokens_a_chunk
    if several:
        rows.append(Fact("Several tokens in a chunk", requests_text(several), "The tokens of a chunk share its gap."))
    return rows


_BY = {
    "chunks": ("by their chunks, one token each", "The server counts no tokens: --tokenizer counts them exactly."),
    "limit": (
        "by the limit of tokens at which they ended",
        "The server counts no tokens: --tokenizer counts them exactly.",
    ),
}


def _shares(cache: PrefixCache) -> str:
    """The known shares of the prompt tokens, and how far the count deviates from the plan, in points."""
    reported, off = cache.said_share, cache.off_share
    parts = [f"planned {share(cache.planned_share)}"]
    parts += [] if reported is None else [f"by replies {share(reported)}"]
    if cache.measured_share is not None or reported is None:
        parts.append(f"measured {share(cache.measured_share)}")
    text = f"{' · '.join(parts)} of the prompt tokens"
    if off is None or cache.rounding_share is None:
        return text
    rounding = f", of which rounding to blocks may be {100 * cache.rounding_share:.2f}"
    return f"{text} · {100 * off:+.2f} points off the plan{rounding}"


def _uncounted(row: Tokens) -> list[Fact]:
    """Replies whose tokens were not counted exactly, and replies that are longer than requested."""
    counted_by = asdict(row.counted_by)
    replies = sum(counted_by.values())
    rows = [
        Fact("Tokens counted", f"{counted_by[by]:,} of {replies:,} replies {how}", meaning)
        for by, (how, meaning) in _BY.items()
        if counted_by[by]
    ]
    over, doubted = row.over_limit, row.doubted
    if over.requests:
        text = f"{over.requests:,} of {over.judged:,} replies have more tokens than requested"
        rows.append(Fact("Over max_tokens", text, "The server does not keep to max_tokens."))
    if doubted.requests:
        text = f"{doubted.requests:,} of {doubted.judged:,} replies; the first: {doubted.first}"
        rows.append(Fact("Tokens in doubt", text, "Nothing better is known: the count was used."))
    return rows


_KINDS = {"content": "answers", "reasoning": "reasoning", "tool_calls": "tool calls"}


def _kinds(row: Tokens) -> list[Fact]:
    """The kinds of text, if there is more than answers."""
    rows: list[Fact] = []
    kinds = row.kinds
    if kinds.reasoning.chunks or kinds.tool_calls.chunks:
        counts = [(name, count) for kind, name in _KINDS.items() if (count := getattr(kinds, kind)).chunks]
        unknown = kinds.requests_with_unknown_tokens
        note = "By the chunks that they came in" + (
            f"; {requests_text(unknown)} cannot be divided." if unknown else "."
        )
        text = " · ".join(
            f"{name} {number(count.tokens)} in {count.chunks:,} chunk{'s' * (count.chunks != 1)}"
            for name, count in counts
        )
        rows.append(Fact("Tokens by kind", text, note))
    if kinds.reasoning_by_usage:
        rows.append(Fact("Reasoning tokens", number(kinds.reasoning_by_usage), "From the server's usage."))
    calls = row.tool_calls
    if calls.replies:
        text = f"{calls.replies:,} of {calls.judged:,} replies call tools"
        if calls.calls_per_reply != 1:
            text += f" · {calls.calls_per_reply:.3g} calls each on average"
        rows.append(Fact("Tool calls", text, "The name of the tool is the first sign of a call: TTFT ends there."))
    return rows


def _media(row: MediaCounts) -> list[Fact]:
    """The images, audio and video in requests, and the accompanying text."""
    text = f"average {number(row.bytes.mean)} bytes · max {number(row.bytes.max)} · in {requests_text(row.requests)}"
    rows = [Fact("Images, audio, video", text, "Of a request, before Base64 and without those named by an address.")]
    if row.text_tokens.n:
        words = f"average {number(row.text_tokens.mean)} tokens · max {number(row.text_tokens.max)}"
        rows.append(Fact("Text beside them", words, "By our tokenizer. The rest of the input tokens is theirs."))
    return rows


def _responses(summary: RunSummary, row: InputCounts) -> list[Fact]:
    """The responses of a plain HTTP service: statuses and bytes."""
    by_status = ", ".join(f"{status}: {n:,}" for status, n in summary.counts.by_status.items())
    rows = [Fact("Statuses", by_status or NOTHING, "Responses by their status.")]
    for name, each, noun in (
        ("Bytes sent", row.bytes_sent, "requests"),
        ("Bytes received", row.bytes_received, "responses"),
    ):
        if each is not UNSET and each.n:
            text = f"average {number(each.mean)} · median {number(each.p50)} · max {number(each.max)}"
            rows.append(Fact(name, text, f"Bodies of the successful {noun}."))
    return rows


def _inputs(row: InputCounts) -> list[Fact]:
    """The inputs of requests whose replies are not generated text."""
    are, each = row.are, row.per_request
    rows = [
        Fact("Inputs", f"{row.total:,} {are}", f"The {are} of the successful requests."),
        Fact(
            "Inputs a request",
            f"average {number(each.mean)} · median {number(each.p50)} · max {number(each.max)}" if each.n else NOTHING,
            f"How many {are} a request has.",
        ),
    ]
    if row.dimensions:
        counts = ", ".join(f"{dimensions} ({n:,})" for dimensions, n in row.dimensions.items())
        rows.append(Fact("Dimensions", counts, "Numbers in each embedding, and the replies that have so many."))
    return rows
