"""A page as data: its content, its order, and how much of it a reader sees first. It is independent of renderers.

A builder makes a Document from a result (`run_document.py` and its neighbours). `bench/report/` writes it for a
terminal, as HTML or as Markdown. All texts are plain: a renderer escapes them.
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
    """How detailed a form is: a form of a document shows every block up to a level."""

    BRIEF = 0
    """Also shown with --quiet."""
    FIRST = 1
    """The first screen."""
    USUAL = 2
    """Markdown shows it too."""
    DETAILS = 3
    """A terminal shows it with --details."""
    PAGE = 4
    """Only a page has room for it."""


Tone = Literal["", "good", "warn", "bad", "quiet", "apart"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table. `below` are lines under its text; `hint` is the tooltip of those lines.

    `key` lets the page's script find the cell and replace its text with the number of a period.
    """

    text: str
    tone: Tone = ""
    below: tuple[str, ...] = ()
    unit: str = ""
    meaning: str = ""
    hint: str = ""
    href: str = ""
    links: tuple[tuple[str, str], ...] = ()
    """Titles and link targets, under the text. Only a page has them."""
    code: bool = False
    key: str = ""
    drawn: DrawnInterval | None = None


@dataclass(frozen=True, slots=True)
class DrawnInterval:
    """An interval on an axis centred at zero, which a page draws. The axis ends at -`reach` and +`reach`."""

    low: float
    middle: float
    high: float
    margin: float
    reach: float
    tone: Tone = ""

    def place(self, value: float) -> float:
        """The position of a value on the axis, in percent of its width."""
        return round(50 + 50 * max(-1.0, min(1.0, value / self.reach)), 2)

    def wide(self, low: float, high: float) -> float:
        """The width of the part between two values, in percent: never too narrow to see."""
        return round(max(self.place(high) - self.place(low), 0.6), 2)


@dataclass(frozen=True, slots=True)
class Column:
    """`drop`: narrow terminals leave out the columns with a number, the lowest first. `wrap` allows line breaks in a
    text.

    `page_only`: the column holds drawings, or is too wide for a terminal.
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
    """The cells of a row, the first of which is its head. A `group` has only a head, and titles the rows after it."""

    cells: tuple[Cell, ...]
    group: bool
    quiet: bool

    def __init__(self, *cells: Cell | str, group: bool = False, quiet: bool = False) -> None:
        """A plain text becomes a cell."""
        object.__setattr__(self, "cells", tuple(Cell(cell) if isinstance(cell, str) else cell for cell in cells))
        object.__setattr__(self, "group", group)
        object.__setattr__(self, "quiet", quiet)


@dataclass(frozen=True, slots=True)
class Table:
    """`below` names the lines under the cells' texts. `beside`: these lines become columns if there is room."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    below: tuple[str, ...] = ()
    beside: bool = False
    notes: tuple[str, ...] = ()
    level: Level = Level.USUAL
    half: bool = False
    lead: bool = False
    """The main table: a page writes it larger."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A name, its value, and a sentence on its meaning."""

    name: str
    value: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts under a title. `none` is the text if there are none; `folded` facts are collapsed on a page."""

    title: str
    rows: tuple[Fact, ...]
    notes: tuple[str, ...] = ()
    none: str = ""
    level: Level = Level.USUAL
    half: bool = False
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence, and the command that it suggests."""

    text: str
    tone: Tone = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """Sentences, each on its own line. `title` is their heading on a page."""

    sentences: tuple[Finding, ...]
    title: str = ""
    level: Level = Level.USUAL
    half: bool = False
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A text, and a link at its end: a title and a target."""

    text: str
    link: tuple[str, str] | None = None
    level: Level = Level.USUAL
    half: bool = False


@dataclass(frozen=True, slots=True)
class Tile:
    """A prominent number, with its 95% interval and a remark."""

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
    """The bar that selects a period of the charts after it, and the data for computing the period's numbers."""

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
    """Two texts side by side. They are equal up to the character `at`, and both are marked from there on; None: marked
    throughout."""

    title: str
    names: tuple[str, str]
    texts: tuple[str, str]
    at: int | None
    notes: tuple[str, ...] = ()
    level: Level = Level.USUAL
    half: bool = False

    def parts(self, side: int) -> tuple[str, str]:
        """The common beginning of the texts, and the rest of one of them."""
        text = self.texts[side]
        return (text, "") if self.at is None else (text[: self.at], text[self.at :])


Block = Table | Facts | Findings | Paragraph | Tiles | ChartBlock | Period | Code | TwoTexts


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a heading. On a page, a `folded` section is collapsed."""

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
    """The answer in a line: `status` in the colour of its tone, then `rest`. `meaning`, `missed` and `held` are for a
    page: it begins with the outcome of the objectives, and its colour is that of a bad result if one is missed."""

    status: str
    rest: str
    tone: Tone
    meaning: str = ""
    reasons: tuple[Reason, ...] = ()
    more: str = ""
    """Where to read more about the reasons."""
    missed: str = ""
    held: str = ""
    held_tone: Tone = "good"

    @property
    def sentences(self) -> tuple[str, str]:
        """The first sentence of the answer, which is the heading of a page, and the rest."""
        first, *others = re.split(r"(?<=\.) (?=[A-Z])", self.status + self.rest, maxsplit=1)
        return first, others[0] if others else ""


@dataclass(frozen=True, slots=True)
class Document:
    """A page. `subtitle`: its subject; `about`: where and when it was made."""

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
    """Whether a form of this level shows the block."""
    return block.level <= level


def findings(texts: Iterable[str], tone: Tone = "warn", title: str = "", level: Level = Level.USUAL) -> Findings:
    """Sentences with one tone."""
    return Findings(tuple(Finding(text, tone) for text in texts), title, level)


def command_block(command: Sequence[str]) -> Code:
    """The command that made a result, to run it again."""
    return Code("Command", shlex.join(command), level=Level.DETAILS)
