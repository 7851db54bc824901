"""Common error messages about settings of the command line, as phrases that a page can translate."""

from __future__ import annotations

import re

from bench.console.language import Phrase, tr

_KNOWN: tuple[tuple[str, Phrase], ...] = (
    (r"must be a whole number", tr("must be a whole number")),
    (r"must be a number", tr("must be a number")),
    (r"must be more than (?P<n>\S+)", tr("must be more than %(n)s", n="")),
    (r"must be at least (?P<n>[\d.]+)", tr("must be at least %(n)s", n="")),
    (r"must be less than (?P<n>\S+)", tr("must be less than %(n)s", n="")),
    (r"must be at most (?P<n>\S+)", tr("must be at most %(n)s", n="")),
    (
        r"(?P<text>'.*') is not a time: write seconds \(30\) or a number with a unit \(500ms, 30s, 5m, 1h\)",
        tr("%(text)s is not a time: write seconds (30) or a number with a unit (500ms, 30s, 5m, 1h)", text=""),
    ),
    (
        r"(?P<text>'.*') is not a number \(example: (?P<example>\S+)\)",
        tr("%(text)s is not a number (example: %(example)s)", text="", example=""),
    ),
    (
        r"(?P<text>'.*') is not one of (?P<words>.*)",
        tr("%(text)s is not one of %(words)s", text="", words=""),
    ),
    (
        r"(?P<text>'.*') does not begin with http:// or https://; for example (?P<example>\S+)",
        tr("%(text)s does not begin with http:// or https://; for example %(example)s", text="", example=""),
    ),
    (
        r"(?P<text>'.*') names no host; for example (?P<example>\S+)",
        tr("%(text)s names no host; for example %(example)s", text="", example=""),
    ),
    (
        r'(?P<text>".*"): not of the form METRIC:STATISTIC<LIMIT, for example ttft:p99<500ms',
        tr("%(text)s: not of the form METRIC:STATISTIC<LIMIT, for example ttft:p99<500ms", text=""),
    ),
)
"""A pattern of the message without its flag, and its phrase with one %(name)s per group."""


def phrase_of(text: str) -> str:
    """The phrase of an error message without its flag, or the text unchanged if it is not listed above."""
    plain, separator, value = text.partition(" (given: ")
    for pattern, known in _KNOWN:
        if match := re.fullmatch(pattern, plain):
            phrase = Phrase(known.message, match.groupdict())
            return (
                tr("%(said)s (given: %(value)s)", said=phrase, value=value.removesuffix(")")) if separator else phrase
            )
    return text
