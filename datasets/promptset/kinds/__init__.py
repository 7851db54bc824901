"""The kinds of text in prompts.

`words` is English words in random sentences; `random` is tokens of the target's own vocabulary. The other kinds consist of
units (`promptset.kinds.text_kind.TextKind`), one file each.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from promptset.errors import SpecError
from promptset.kinds.chinese import CHINESE
from promptset.kinds.code import CODE
from promptset.kinds.english import ENGLISH
from promptset.kinds.faker_text import faker_kind
from promptset.kinds.json_records import JSON
from promptset.kinds.mixed import MIXED

if TYPE_CHECKING:
    from promptset.kinds.text_kind import TextKind

WORDS, RANDOM, FAKER = "words", "random", "faker"

KINDS: dict[str, TextKind] = {"english": ENGLISH, "code": CODE, "json": JSON, "chinese": CHINESE, "mixed": MIXED}
"""The kinds that consist of units, by name."""

NAMES = (WORDS, *KINDS, RANDOM, f"{FAKER}:LOCALE")


@dataclass(frozen=True, slots=True)
class Style:
    """The kind of a text, and how much of it repeats."""

    kind: str = WORDS
    """One of NAMES."""
    repeat: float = 0.0
    """The share of a text that repeats its own earlier text, from 0 to below 1."""


PLAIN = Style()
"""The default style."""


def parse_style(kind: str, repeat: str | float = 0.0) -> Style:
    """The style with this kind and share of repeated text. Raises SpecError with every problem."""
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
    """The kind with this name. None for kinds without units. Raises SpecError for an unknown name."""
    if name in (WORDS, RANDOM):
        return None
    library, _, locale = name.partition(":")
    if library == FAKER:
        return faker_kind(locale or "en_US")
    if name not in KINDS:
        close = get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"write one of {', '.join(NAMES)}"
        raise SpecError(f"no text of the kind {name!r}: {hint}")
    return KINDS[name]
