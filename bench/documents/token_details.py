"""The rows of a report about tokens, and what requests are made of whose replies are no generated text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.documents import prefix_cache
from bench.documents.details import has_tokens, requests_text
from bench.documents.document import Fact
from bench.documents.formatting import NOTHING, number, share

if TYPE_CHECKING:
    from bench.documents.summary import SummaryDocument


def tokens(summary: SummaryDocument) -> list[Fact]:
    """Tokens asked for, tokens received, and how they were counted."""
    row = summary["tokens"]
    by = ", ".join(f"{name} {n:,}" for name, n in row["counted_by"].items() if n)
    rows = [Fact("Input tokens", number(row["usage"]["input"]), "From the server's usage.")]
    if not has_tokens(summary):
        rows = [*_inputs(summary["inputs"]), *rows]
    else:
        rows.append(
            Fact("Output tokens", number(row["output"]), f"Counted by: {by}." if by else "No response had any.")
        )
    for side in ("input", "output"):
        found = row["asked_against_got"][side]
        if found["compared"]:
            text = f"{found['differ']:,} of {found['compared']:,} requests differ"
            rows.append(
                Fact(f"{side.capitalize()} tokens asked", text, "Tokens received, compared with tokens asked for.")
            )
    if (contradicted := row["contradicted"])["requests"]:
        text = (
            f"{contradicted['requests']:,} of {contradicted['judged']:,} requests; the first: {contradicted['first']}"
        )
        rows.append(Fact("Usage not believed", text, "Impossible counts are not used: the next source counted."))
    rows += _uncounted(row)
    found = row["mismatch"]
    if found["compared"]:
        text = f"{found['differ']:,} of {found['compared']:,} requests differ"
        note = f" ({found['off_by_one']:,} by one: often an end token without text)" if found["off_by_one"] else ""
        rows.append(Fact("Usage against our count", text + note, "The server's usage, compared with the text it sent."))
    rows += _kinds(row)
    if (cached := row["cached"])["of"]:
        text = f"{number(cached['tokens'])} · {share(cached['share'])} of the prompt tokens"
        rows.append(Fact("Cached input tokens", text, "Taken from the server's cache, as its replies say."))
    if (cache := summary.get("prefix_cache")) is not None:
        rows.append(Fact("Prefix cache", prefix_cache.shares(cache), prefix_cache.MEANING))
    unknown = row["chunks"]["requests_with_unknown_tokens_a_chunk"]
    if unknown:
        rows.append(Fact("Tokens of chunks unknown", requests_text(unknown), "Their ITL has one sample per chunk gap."))
    several = row["chunks"]["requests_with_several_tokens_a_chunk"]
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


def _uncounted(row: Mapping[str, Any]) -> list[Fact]:
    """Replies whose tokens nobody counted, and those that are longer than was asked for."""
    replies = sum(row["counted_by"].values())
    rows = [
        Fact("Tokens counted", f"{row['counted_by'][by]:,} of {replies:,} replies {how}", meaning)
        for by, (how, meaning) in _BY.items()
        if row["counted_by"].get(by)
    ]
    over, doubted = row.get("over_limit"), row.get("doubted")
    if over is not None and over["requests"]:
        text = f"{over['requests']:,} of {over['judged']:,} replies have more tokens than were asked for"
        rows.append(Fact("Over max_tokens", text, "The server does not keep to max_tokens."))
    if doubted is not None and doubted["requests"]:
        text = f"{doubted['requests']:,} of {doubted['judged']:,} replies; the first: {doubted['first']}"
        rows.append(Fact("Tokens in doubt", text, "Nothing better is known: the count was used."))
    return rows


_KINDS = {"content": "answers", "reasoning": "reasoning", "tool_calls": "tool calls"}


def _kinds(row: Mapping[str, Any]) -> list[Fact]:
    """What the text is, where it is more than answers; runs of older versions do not say it."""
    rows: list[Fact] = []
    kinds = row.get("kinds")
    if kinds is not None and (kinds["reasoning"]["chunks"] or kinds["tool_calls"]["chunks"]):
        found = [(name, kinds[kind]) for kind, name in _KINDS.items() if kinds[kind]["chunks"]]
        unknown = kinds["requests_with_unknown_tokens"]
        note = "By the chunks that they came in" + (
            f"; {requests_text(unknown)} cannot be divided." if unknown else "."
        )
        text = " · ".join(f"{name} {number(one['tokens'])} in {one['chunks']:,} chunks" for name, one in found)
        rows.append(Fact("Tokens by kind", text, note))
    if kinds is not None and kinds["reasoning_by_usage"]:
        rows.append(Fact("Reasoning tokens", number(kinds["reasoning_by_usage"]), "From the server's usage."))
    calls = row.get("tool_calls")
    if calls is not None and calls["replies"]:
        text = f"{calls['replies']:,} of {calls['judged']:,} replies call tools"
        if calls["calls_per_reply"] != 1:
            text += f" · {calls['calls_per_reply']:.3g} calls each on average"
        rows.append(Fact("Tool calls", text, "The name of the tool is the first sign of a call: TTFT ends there."))
    return rows


def _inputs(row: Mapping[str, Any]) -> list[Fact]:
    """What requests were made of whose replies are no generated text."""
    are, each = row["are"], row["per_request"]
    rows = [
        Fact("Inputs", f"{row['total']:,} {are}", f"The {are} of the successful requests."),
        Fact(
            "Inputs a request",
            f"average {number(each['mean'])} · median {number(each['p50'])} · max {number(each['max'])}"
            if each["n"]
            else NOTHING,
            f"How many {are} a request has.",
        ),
    ]
    if row["dimensions"]:
        found = ", ".join(f"{dimensions} ({n:,})" for dimensions, n in row["dimensions"].items())
        rows.append(Fact("Dimensions", found, "Numbers in each embedding, and the replies that have so many."))
    return rows
