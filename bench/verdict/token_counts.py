"""Token counts: the requested count, the server's, and our own count of the text."""

from __future__ import annotations

from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Finding, milder
from bench.verdict.limits import Limits


def output_tokens(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """Exact lengths were requested, and some replies were shorter or longer."""
    share = evidence.summary.tokens.asked_against_got.output.share
    if not evidence.exact_lengths or share is None:
        return []
    sentence = f"{share:.1%} of the replies do not have the requested number of output tokens"
    return [Finding("output_tokens", limits.output_tokens_off.of(share), share, sentence)]


def input_tokens(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """By the server's count the prompts have far fewer tokens than were sent: tokenizers differ less than that."""
    tokens = evidence.summary.tokens
    asked, counted = tokens.asked.input, tokens.usage.input
    compared = tokens.asked_against_got.input.compared
    if not asked or counted is None or not compared or compared != evidence.summary.counts.succeeded:
        return []
    missing, each = max(0.0, 1 - counted / asked), max(0.0, (asked - counted) / compared)
    status = milder(limits.input_tokens_missing.of(missing), limits.input_tokens_missing_each.of(each))
    sentence = (
        f"the server counts {counted:,} input tokens where {asked:,} were sent: it cuts the prompts, or leaves tokens out of "
        "its count"
    )
    return [Finding("input_tokens", status, missing, sentence)]


def usage(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """The server's usage differs from Trueload's count of the text.

    If the counts of the prompts agree, the server uses the same tokenizer. A reply's text may still tokenize to a
    different number than the server generated: a model does not always choose the canonical tokens of its text. Then
    only counts that are far apart are a sign.
    """
    tokens = evidence.summary.tokens
    mismatch, prompts = tokens.mismatch, tokens.asked_against_got.input
    share, times = mismatch.share, mismatch.usage_over_counted
    if share is None:
        return []
    sentence = f"the server's usage differs from our count of the text in {share:.1%} of the replies"
    status = limits.usage_off.of(share)
    if prompts.compared and not prompts.differ:
        sentence += ", while every prompt has the tokens that we counted"
        far = limits.usage_over_counted.of(max(times, 1 / times)) if times else status
        status = milder(status, far)
        if times:
            sentence += f"; over all replies it says {times:.2f} times our count"
    elif prompts.compared:
        sentence += f", and that of {prompts.differ:,} of {prompts.compared:,} prompts too: it uses another tokenizer"
    return [Finding("usage", status, share, sentence)]


def usage_contradicted(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """The server's usage cannot be true; it was not used for these replies."""
    row = evidence.summary.tokens.contradicted
    if row.share is None:
        return []
    sentence = (
        f"the server's usage is impossible in {row.share:.1%} of the replies and was not used there "
        f"(for example: {row.first})"
    )
    return [Finding("usage_contradicted", limits.usage_contradicted.of(row.share), row.share, sentence)]


def tokens_doubted(evidence: RunEvidence, limits: Limits) -> list[Finding]:
    """The output tokens of some replies may be wrong, and there is no better count."""
    row = evidence.summary.tokens.doubted
    if row.share is None:
        return []
    sentence = (
        f"the output tokens of {row.share:.1%} of the replies may be wrong, and with them TPOT and all rates of tokens "
        f"(for example: {row.first})"
    )
    return [Finding("tokens_doubted", limits.tokens_doubted.of(row.share), row.share, sentence)]
