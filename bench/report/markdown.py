"""A document as GitHub's Markdown: for a ticket, a pull request, a job summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from bench.documents.document import (
    Banner,
    Block,
    Cell,
    Code,
    Document,
    Facts,
    Finding,
    Findings,
    Level,
    Paragraph,
    Row,
    Table,
    Tiles,
    TwoTexts,
    shown,
)

MARKS = {"good": "✅ ", "warn": "❔ ", "bad": "❌ "}


def render(document: Document, level: Level = Level.USUAL) -> str:
    """The document, up to a level."""
    lines = [f"# {escaped(document.title)}", ""] if document.title else []
    for text in filter(None, (document.subtitle, document.about)):
        lines += [escaped(text), ""]
    for banner in document.banners:
        lines += _banner(banner, heads=not document.title)
    for section in document.sections:
        blocks = [block for block in section.blocks if shown(block, level)] if shown(section, level) else []
        written = [line for block in blocks for line in _block(block)]
        if written and section.title:
            lines += [f"## {escaped(section.title)}", ""]
            lines += [escaped(section.subtitle), ""] if section.subtitle else []
        lines += written
    return "\n".join(lines).rstrip("\n") + "\n"


def escaped(text: str) -> str:
    """External text must not end a cell or a line, nor act as markup."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return re.sub(r"([\\|`*\[])", r"\\\1", plain).replace("<", "&lt;")


def _banner(banner: Banner, *, heads: bool) -> list[str]:
    reasons = [reason.text + (f" (to do: {reason.advice})" if reason.advice else "") for reason in banner.reasons]
    status = f"### {MARKS.get(banner.tone, '')}{escaped(banner.status)}" if heads else f"**{escaped(banner.status)}**"
    meaning = [escaped(banner.meaning), ""] if banner.meaning else []
    return [f"{status}{escaped(banner.rest)}", "", *meaning, *_list(reasons)]


def _block(block: Block) -> Iterator[str]:
    match block:
        case Table() if block.rows:
            yield from _titled(block.title)
            yield from _table(block)
            yield from _list(block.notes)
        case Facts() if block.rows:
            yield from _titled(block.title)
            columns = ["| | |", "|---|---|"]
            yield from (*columns, *(f"| {escaped(fact.name)} | {escaped(fact.value)} |" for fact in block.rows), "")
        case Findings():
            yield from (*(f"- {_finding(finding)}" for finding in block.sentences), "")
        case Paragraph():
            yield from (escaped(block.text) + ("" if block.link is None else f" {escaped(block.link[1])}"), "")
        case Tiles():
            yield from _list([f"{tile.title}: {tile.value} {tile.unit}".rstrip() for tile in block.tiles])
        case TwoTexts():
            yield from _titled(block.title)
            yield from _list(block.notes)
            yield from _list([f"{name}: {_marked(block, side)}" for side, name in enumerate(block.names)])
        case Code():
            yield from ("```sh", block.text, "```", "")
        case _:
            pass


def _marked(block: TwoTexts, side: int) -> str:
    same, rest = block.parts(side)
    return same if block.at is None else f"{same}»{rest}«"


def _titled(title: str) -> list[str]:
    return [f"### {escaped(title)}", ""] if title else []


def _list(sentences: Iterable[str]) -> list[str]:
    lines = [f"- {escaped(sentence)}" for sentence in sentences]
    return [*lines, ""] if lines else []


def _finding(finding: Finding) -> str:
    return f"`{finding.command}` {escaped(finding.text)}".rstrip() if finding.command else escaped(finding.text)


def _table(table: Table) -> Iterator[str]:
    indices = [k for k, column in enumerate(table.columns) if not column.page_only]
    heads = [table.columns[k] for k in indices]
    titles = [f"{head.title} ({head.unit})" if head.unit else head.title for head in heads]
    yield f"| {' | '.join(map(escaped, titles))} |"
    yield f"|{'|'.join('---' if not k or head.left else '---:' for k, head in enumerate(heads))}|"
    for row in table.rows:
        yield f"| {' | '.join(_cell(row, k, table.below) for k in indices)} |"
    yield ""


def _cell(row: Row, k: int, below: Sequence[str]) -> str:
    if k >= len(row.cells):
        return ""
    cell: Cell = row.cells[k]
    text = escaped(f"{cell.text} ({cell.unit})" if cell.unit else cell.text)
    if cell.code and cell.text:
        text = f"`{cell.text}`" if text == cell.text else text
    lines = [line if not j else f"{below[j]} {line}" for j, line in enumerate(cell.below) if line]
    return (MARKS.get(cell.tone, "") if k else "") + text + (f" ({escaped('; '.join(lines))})" if lines else "")
