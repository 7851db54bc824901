"""IFEval's instructions as regular expressions: `patterns_of("punctuation:no_comma", {})`.

Each pattern decides as IFEval's own program does on the unmodified answer ("strict"). Instructions that need the
language of a text, its sentences or its JSON cannot be expressed this way, and raise Unsupported. Every expression is
anchored or matches in only one way, so that a long answer cannot make it slow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from promptset.errors import SpecError
from promptset.probes.values import Pattern

Arguments = Mapping[str, Any]


class Unsupported(Exception):
    """An instruction that no regular expression can check."""


def patterns_of(instruction: str, arguments: Arguments) -> list[Pattern]:
    """The patterns for an instruction. Raises Unsupported, or SpecError for an invalid row."""
    if instruction in _NOT_REGULAR:
        raise Unsupported(instruction)
    read = _INSTRUCTIONS.get(instruction)
    if read is None:
        raise SpecError(f"no instruction is called {instruction!r}")
    try:
        return [Pattern(pattern.expression, pattern.absent, instruction) for pattern in read(arguments)]
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise SpecError(f"the kwargs of {instruction} are incomplete: {e}") from e


def _at_least(expression: str, times: int, flags: str = "") -> Pattern:
    """At least `times` matches that do not overlap."""
    return Pattern(rf"{flags}\A(?:(?:(?!{expression})[\s\S])*(?:{expression})){{{times}}}")


def _times(expression: str, times: int, relation: str, flags: str = "") -> list[Pattern]:
    """`at least` or `less than` this many matches."""
    if relation not in ("at least", "less than"):
        raise ValueError(f"relation {relation!r}")
    return [Pattern(_at_least(expression, int(times), flags).expression, relation == "less than")]


def _number_words(arguments: Arguments) -> list[Pattern]:
    words = rf"\A\W*(?:\w+\W+){{{int(arguments['num_words']) - 1}}}\w"
    if arguments["relation"] not in ("at least", "less than"):
        raise ValueError(f"relation {arguments['relation']!r}")
    return [Pattern(words, arguments["relation"] == "less than")]


def _parts(number: int, border: str) -> str:
    """Exactly `number` nonblank texts, separated by `border`."""
    part = rf"\s*(?!{border})\S(?:(?!{border})[\s\S])*"
    return rf"\A(?:\s*{border})?{part}(?:{border}{part}){{{int(number) - 1}}}(?:{border}\s*)?\Z"


def _first_word(arguments: Arguments) -> list[Pattern]:
    blank = r"\n\n+"
    part = rf"\S(?:(?!{blank})[\s\S])*"
    before = rf"(?:{part}{blank}){{{int(arguments['nth_paragraph']) - 1}}}"
    word = re.escape(arguments["first_word"])
    return [
        Pattern(rf"\A\s*{part}(?:{blank}{part}){{{int(arguments['num_paragraphs']) - 1}}}\s*\Z"),
        Pattern(rf"(?i)\A\s*{before}['\"]*{word}(?!\w)"),
    ]


def _bullets(arguments: Arguments) -> list[Pattern]:
    """Exactly the given number of lines that begin with `*` or `-`."""
    begin = r"[^\S\n]*(?:\*[^*\n]|-)"
    other = rf"(?!{begin}).*"
    number = int(arguments["num_bullets"])
    return [Pattern(rf"\A(?:(?:{other}\n)*{begin}.*(?:\n|\Z)){{{number}}}(?:{other}\n)*(?:{other})?\Z")]


def _two_responses(_: Arguments) -> list[Pattern]:
    part = r"(?!\*{6})\S(?:(?!\s*\*{6})[\s\S])*"
    return [Pattern(rf"\A\s*({part})\s*\*{{6}}\s*(?!\1\s*\Z)(?:{part})\s*\Z")]


def _postscript(arguments: Arguments) -> list[Pattern]:
    marker = arguments["postscript_marker"]
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return [Pattern("(?i)" + known.get(marker, re.escape(marker)))]


def _end(arguments: Arguments) -> list[Pattern]:
    return [Pattern(rf"(?i){re.escape(arguments['end_phrase'].strip())}[\s\"]*\Z")]


_INSTRUCTIONS: dict[str, Callable[[Arguments], list[Pattern]]] = {
    "keywords:existence": lambda a: [Pattern("(?i)" + re.escape(word)) for word in a["keywords"]],
    "keywords:frequency": lambda a: _times(re.escape(a["keyword"]), a["frequency"], a["relation"], "(?i)"),
    "keywords:forbidden_words": lambda a: [
        Pattern(rf"(?i)\b{re.escape(word)}\b", absent=True) for word in a["forbidden_words"]
    ],
    "keywords:letter_frequency": lambda a: _times(
        re.escape(a["letter"]), a["let_frequency"], a["let_relation"], "(?i)"
    ),
    "length_constraints:number_words": _number_words,
    "length_constraints:number_paragraphs": lambda a: [Pattern(_parts(a["num_paragraphs"], r"\*\*\*"))],
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": lambda a: [_at_least(r"\[[^\]\n]*\]", int(a["num_placeholders"]))],
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": lambda _: [Pattern(r"My answer is (?:yes|no|maybe)\.")],
    "detectable_format:number_highlighted_sections": lambda a: [
        _at_least(r"\*{1,2}[^\n*]*[^\s*][^\n*]*\*{1,2}", int(a["num_highlights"]))
    ],
    "detectable_format:multiple_sections": lambda a: [
        _at_least(re.escape(a["section_spliter"]) + r"\s?\d+", int(a["num_sections"]))
    ],
    "detectable_format:title": lambda _: [Pattern(r"<<[^\n<>]*[^\s<>][^\n<>]*>>")],
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": lambda a: [Pattern(r"(?i)\A\s*" + re.escape(a["prompt_to_repeat"].strip()))],
    "startend:end_checker": _end,
    "startend:quotation": lambda _: [Pattern(r'\A\s*"[\s\S]*"\s*\Z')],
    "punctuation:no_comma": lambda _: [Pattern(",", absent=True)],
}
_NOT_REGULAR = frozenset(
    {
        "language:response_language",
        "length_constraints:number_sentences",
        "detectable_format:json_format",
        "change_case:capital_word_frequency",
        "change_case:english_capital",
        "change_case:english_lowercase",
    }
)
