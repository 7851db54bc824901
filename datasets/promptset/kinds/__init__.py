"""The kinds of text that prompts are made of.

`words`, English words in the form of sentences, is the fastest and has no units; `random` is tokens of the target's own
vocabulary. The others are made of units (`promptset.kinds.text_kind.TextKind`), one file each.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from difflib import get_close_matches

from promptset.errors import SpecError
from promptset.kinds.chinese import CHINESE
from promptset.kinds.code import CODE
from promptset.kinds.english import ENGLISH
from promptset.kinds.faker_text import faker_kind
from promptset.kinds.json_records import JSON
from promptset.kinds.mixed import MIXED
from promptset.kinds.text_kind import TextKind

WORDS, RANDOM, FAKER = "words", "random", "faker"

KINDS: dict[str, TextKind] = {"english": ENGLISH, "code": CODE, "json": JSON, "chinese": CHINESE, "mixed": MIXED}
"""Those that are made of units, by their names."""

NAMES = (WORDS, *KINDS, RANDOM, f"{FAKER}:LOCALE")


@dataclass(frozen=True, slots=True)
class Style:
    """What text is made like."""

    kind: str = WORDS
    """One of NAMES."""
    repeat: float = 0.0
    """The share of a text that stands in it before, from 0 to below 1."""


PLAIN = Style()
"""What is written where nobody asks for another style."""


def parse_style(kind: str, repeat: str | float = 0.0) -> Style:
    """The style of this kind and this share of repeated text. Raises SpecError with every problem."""
    problems = []
    try:
        kind_of(kind)
    except SpecError as e:
        problems += e.problems
    try:
        share = float(repeat)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        problems.append(f"a share of repeated text of {repeat}: write a number from 0 to below 1, such as 0.3")
    if problems:
        raise SpecError(problems)
    return Style(kind, share)


@functools.lru_cache(maxsize=16)
def kind_of(name: str) -> TextKind | None:
    """The kind of this name; None for those without units. Raises SpecError where there is none of it."""
    if name in (WORDS, RANDOM):
        return None
    library, _, locale = name.partition(":")
    if library == FAKER:
        return faker_kind(locale or "en_US")
    if name not in KINDS:
        close = get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"write one of {', '.join(NAMES)}"
        raise SpecError(f"there is no text of the kind {name!r}: {hint}")
    return KINDS[name]
