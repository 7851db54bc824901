"""A document as one HTML file: no network, light and dark, readable on paper and without JavaScript.

`render` is a pure function: the same document gives the same bytes. The template escapes every text; the content policy
forbids every request, and every script except the one whose hash it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from bench.documents.document import Block, ChartBlock, Document, Findings, Period, Table, Tiles
from bench.report.page import chart_view, page


@dataclass(frozen=True, slots=True)
class BlockView:
    """A block, and the name of its class, by which the template finds its macro."""

    block: Block

    @property
    def kind(self) -> str:
        return type(self.block).__name__

    @property
    def lead(self) -> bool:
        return isinstance(self.block, Table) and self.block.lead


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks side by side: `charts`, or a `pair` of cards; or a single block, in a `card` or `plain`."""

    kind: str
    views: Sequence[object]
    lead: bool = False
    """Whether it contains the main table, which takes one side, with the other blocks on the other."""


@dataclass(frozen=True, slots=True)
class SectionView:
    """A section for the template."""

    title: str
    subtitle: str
    folded: bool
    groups: tuple[Group, ...]


def render(document: Document) -> str:
    """The page of a document."""
    sections = [
        SectionView(section.title, section.subtitle, section.folded, tuple(_groups(section.blocks)))
        for section in document.sections
        if section.blocks
    ]
    return page(document=document, sections=sections)


def _kind(block: Block) -> str:
    if isinstance(block, ChartBlock):
        return "charts"
    if block.half:
        return "pair"
    if isinstance(block, Findings) and not all(finding.tone for finding in block.sentences):
        return "plain" if block.folded else "card"
    plain = isinstance(block, (Period, Tiles)) or (not getattr(block, "title", "") or getattr(block, "folded", False))
    return "plain" if plain else "card"


def _groups(blocks: Sequence[Block]) -> Iterator[Group]:
    for kind, members in groupby(blocks, key=_kind):
        if kind == "charts":
            yield Group(kind, [chart_view(block.chart) for block in members if isinstance(block, ChartBlock)])
        elif kind == "pair":
            views = [BlockView(block) for block in members]
            yield Group(kind, views, any(view.lead for view in views))
        else:
            yield from (Group(kind, [BlockView(block)]) for block in members)
