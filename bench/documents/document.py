"""A page as data: what it says, in which order, and how much of it a reader sees first. No renderer is known here.

A builder makes a Document of a result (`run_document.py` and its neighbours). `bench/report/` writes it for a terminal,
as HTML or as Markdown. All texts are plain: a renderer escapes them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

from bench.documents.charts import Chart


class Level(IntEnum):
    """How far a reader goes: a form of a document shows every block up to a level."""

    BRIEF = 0
    """Also shown with --quiet."""
    FIRST = 1
    """The first screen."""
    USUAL = 2
    """What Markdown shows too."""
    DETAILS = 3
    """A terminal shows it when asked for details."""
    PAGE = 4
    """Only a page has room for it."""


Tone = Literal["", "good", "warn", "bad", "quiet", "apart"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table. `below` are lines under its text, `hint` is shown when a pointer rests on them.

    `key` lets the script of the page find the cell and replace its text by the number of a period.
    """

    text: str
    tone: Tone = ""
    below: tuple[str, ...] = ()
    unit: str = ""
    meaning: str = ""
    hint: str = ""
    href: str = ""
    links: tuple[tuple[str, str], ...] = ()
    """Titles and where they lead, under the text. Only a page has them."""
    code: bool = False
    key: str = ""
    drawn: DrawnInterval | None = None


@dataclass(frozen=True, slots=True)
class DrawnInterval:
    """An interval on an axis around zero, which a page draws. The axis ends at -`reach` and +`reach`."""

    low: float
    middle: float
    high: float
    margin: float
    reach: float
    tone: Tone = ""

    def place(self, value: float) -> float:
        """Where a value lies on the axis, in percent of its width."""
        return round(50 + 50 * max(-1.0, min(1.0, value / self.reach)), 2)

    def wide(self, low: float, high: float) -> float:
        """How wide the part between two values is, in percent: never too narrow to see."""
        return round(max(self.place(high) - self.place(low), 0.6), 2)


@dataclass(frozen=True, slots=True)
class Column:
    """`drop`: narrow terminals leave out the columns with a number, the lowest first. `wrap` allows line breaks in a text.

    `page_only`: the column holds drawings, or what a terminal has no room for.
    """

    title: str
    unit: str = ""
    below: str = ""
    left: bool = False
    wrap: bool = False
    drop: int = 0
    page_only: bool = False


@dataclass(frozen=True, slots=True, init=False)
class Row:
    """The cells of a row, the first of which is its head. A `group` has a head alone, and stands over the rows after it."""

    cells: tuple[Cell, ...]
    group: bool
    quiet: bool

    def __init__(self, *cells: Cell | str, group: bool = False, quiet: bool = False) -> None:
        """A text is a cell that has nothing else."""
        object.__setattr__(self, "cells", tuple(Cell(cell) if isinstance(cell, str) else cell for cell in cells))
        object.__setattr__(self, "group", group)
        object.__setattr__(self, "quiet", quiet)


@dataclass(frozen=True, slots=True)
class Table:
    """`below` names the lines under the cells' texts. `beside`: they are columns of their own where there is room."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    below: tuple[str, ...] = ()
    beside: bool = False
    notes: tuple[str, ...] = ()
    level: Level = Level.USUAL
    half: bool = False
    lead: bool = False
    """The table to see first: a page writes it larger."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A name, its value, and a sentence that says what it means."""

    name: str
    value: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts under a title. `none` is written if there are none; `folded` ones stay closed on a page."""

    title: str
    rows: tuple[Fact, ...]
    notes: tuple[str, ...] = ()
    none: str = ""
    level: Level = Level.USUAL
    half: bool = False
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence, and the command that it leads to."""

    text: str
    tone: Tone = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """Sentences, each a line of its own. `title` stands over them on a page."""

    sentences: tuple[Finding, ...]
    title: str = ""
    level: Level = Level.USUAL
    half: bool = False
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A text, and a link at its end: a title and where it leads."""

    text: str
    link: tuple[str, str] | None = None
    level: Level = Level.USUAL
    half: bool = False


@dataclass(frozen=True, slots=True)
class Tile:
    """A number to see first, with its 95% interval and a remark."""

    title: str
    value: str
    unit: str
    beside: str = ""
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles in a row."""

    tiles: tuple[Tile, ...]
    level: Level = Level.USUAL
    half: bool = False


@dataclass(frozen=True, slots=True)
class ChartBlock:
    """A chart. Only a page draws it."""

    chart: Chart
    level: Level = Level.USUAL
    half: bool = False


@dataclass(frozen=True, slots=True)
class Period:
    """The bar that chooses a period of the charts after it, and the data that its numbers are computed from."""

    data: dict[str, Any]
    level: Level = Level.USUAL
    half: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """A text to copy."""

    title: str
    text: str
    level: Level = Level.USUAL
    half: bool = False


@dataclass(frozen=True, slots=True)
class TwoTexts:
    """Two texts side by side. They are the same up to the character `at`, from which on both are marked; None: all is."""

    title: str
    names: tuple[str, str]
    texts: tuple[str, str]
    at: int | None
    notes: tuple[str, ...] = ()
    level: Level = Level.USUAL
    half: bool = False

    def parts(self, side: int) -> tuple[str, str]:
        """What the texts have in common, and the rest of one of them."""
        text = self.texts[side]
        return (text, "") if self.at is None else (text[: self.at], text[self.at :])


Block = Table | Facts | Findings | Paragraph | Tiles | ChartBlock | Period | Code | TwoTexts


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a heading. A `folded` section is closed until a reader opens it, on a page."""

    title: str
    blocks: tuple[Block, ...]
    subtitle: str = ""
    folded: bool = False
    level: Level = Level.BRIEF


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a result is not good, and what to do about it."""

    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Banner:
    """The answer in a line: `status` in the colour of its tone, then `rest`. `meaning` is for a page, and so are `missed` and
    `held`: the page begins with what became of the objectives, and is in the colour of what is bad if one is missed."""

    status: str
    rest: str
    tone: Tone
    meaning: str = ""
    reasons: tuple[Reason, ...] = ()
    more: str = ""
    """Where more is said about the reasons."""
    missed: str = ""
    held: str = ""
    held_tone: Tone = "good"

    @property
    def sentences(self) -> tuple[str, str]:
        """The first sentence of the answer, and the others, for which the heading of a page would be too loud."""
        first, *others = re.split(r"(?<=\.) (?=[A-Z])", self.status + self.rest, maxsplit=1)
        return first, others[0] if others else ""


@dataclass(frozen=True, slots=True)
class Document:
    """A page. `subtitle` says what it is about, `about` where and when it was made."""

    title: str
    banners: tuple[Banner, ...]
    sections: tuple[Section, ...]
    subtitle: str = ""
    about: str = ""
    name: str = ""
    """The title of the window, if it differs."""
    footer: str = ""
    heading: bool = False
    """Whether a terminal begins with the title."""


def shown(block: Block | Section, level: Level) -> bool:
    """Whether a form that goes to a level shows it."""
    return block.level <= level


def findings(texts: Iterable[str], tone: Tone = "warn", title: str = "", level: Level = Level.USUAL) -> Findings:
    """Sentences of one tone."""
    return Findings(tuple(Finding(text, tone) for text in texts), title, level)


def command_block(command: Sequence[str]) -> Code:
    """The command that made a result, to run again."""
    return Code("Command", shlex.join(command), level=Level.DETAILS)
