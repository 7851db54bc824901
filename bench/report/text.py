"""A document for a terminal: up to 120 columns wide, plain if the output is not a terminal, without colour if NO_COLOR
is set."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from shutil import get_terminal_size
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from bench.documents.document import (
    Banner,
    Block,
    Cell,
    Code,
    Column,
    Document,
    Facts,
    Finding,
    Findings,
    Level,
    Paragraph,
    Row,
    Table,
    Tiles,
    Tone,
    TwoTexts,
    shown,
)

NARROW, WIDE, NARROWEST = 80, 120, 40
_STYLES: dict[Tone, str] = {"": "", "good": "green", "warn": "yellow", "bad": "red", "quiet": "dim", "apart": "cyan"}


def render(document: Document, level: Level = Level.FIRST, *, width: int = 100) -> str:
    """The document as plain text."""
    columns = min(max(width, NARROW), WIDE)
    return render_plain(_page(document, level, columns), columns)


def render_plain(page: RenderableType, width: int) -> str:
    """A page as plain text, at most `width` columns wide, without trailing blanks."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(page)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def show(document: Document, level: Level = Level.FIRST, file: IO[str] | None = None, *, width: int = 100) -> None:
    """Print the document to a file (standard output): in colour on a terminal, and `width` columns wide elsewhere."""
    console = Console(file=file)
    if not console.is_terminal:
        # A file or pipe gets a fixed width, whatever the terminal.
        console.file.write(render(document, level, width=width))
        return
    columns = min(max(get_terminal_size().columns, NARROWEST), WIDE)
    page = _page(document, level, columns)
    if console.is_dumb_terminal:  # Rich assumes 80 columns for it.
        console.file.write(render_plain(page, columns))
    else:
        console.width = columns
        console.print(page)


def _plain(text: str, style: str = "") -> Text:
    """External text must not control the terminal, nor act as markup: every text goes through here."""
    return Text("".join(c if c.isprintable() else " " for c in text), style)


def _page(document: Document, level: Level, columns: int) -> Group:
    parts: list[RenderableType] = []
    if document.heading:
        parts.append(_plain(document.title, "bold"))
    if document.subtitle and level > Level.BRIEF:
        parts.append(_plain(document.subtitle))
    parts += [_banner(banner, level) for banner in document.banners]
    for section in document.sections:
        blocks = [block for block in section.blocks if shown(block, level)] if shown(section, level) else []
        drawn = [part for block in blocks if (part := _block(block, columns, level)) is not None]
        twice = bool(blocks) and getattr(blocks[0], "title", None) == section.title
        if drawn and section.title and level > Level.FIRST and not twice:
            subtitle = _plain(section.subtitle, "dim") if section.subtitle else None
            drawn.insert(0, _group(_plain(section.title, "bold underline"), subtitle))
        for part in drawn:
            parts += [Text(""), part] if parts else [part]
    return Group(*parts)


def _banner(banner: Banner, level: Level) -> RenderableType:
    status = _plain(banner.status, f"bold {_STYLES[banner.tone]}".strip())
    parts: list[RenderableType] = [Text.assemble(status, _plain(banner.rest))]
    for reason in banner.reasons:
        parts.append(Padding(_plain(f"- {reason.text}"), (0, 0, 0, 2)))
        if reason.advice:
            parts.append(Padding(_plain(f"to do: {reason.advice}", "bold"), (0, 0, 0, 4)))
    if banner.more and not banner.reasons[-1].advice:
        parts.append(Padding(_plain(banner.more, "dim"), (0, 0, 0, 2)))
    if banner.meaning and level > Level.FIRST:
        parts.append(_plain(banner.meaning, "dim"))
    return Group(*parts)


def _block(block: Block, columns: int, level: Level) -> RenderableType | None:
    """A block. Returns None if only a page draws it."""
    match block:
        case Table():
            grid, left_out = _table(block, columns)
            notes = [f"Left out for lack of room: {', '.join(left_out)}."] if left_out else []
            return _group(_titled(block.title, level), grid, *_notes([*notes, *block.notes]))
        case Facts():
            facts = _facts(block)
            return None if facts is None else _group(_titled(block.title, level), facts, *_notes(block.notes))
        case Findings():
            return _group(*map(_finding, block.sentences))
        case Paragraph():
            link = "" if block.link is None else f" {block.link[1]}"
            return _group(_plain(block.text + link))
        case Tiles():
            return _group(*(_plain(line) for line in _tile_lines(block)))
        case Code():
            return _group(_plain(block.title, "bold"), *map(_plain, block.text.splitlines()))
        case TwoTexts():
            sides = (_side(block, side) for side in (0, 1))
            return _group(_plain(block.title, "bold"), *_notes(block.notes), *sides)
        case _:
            return None


def _group(*parts: RenderableType | None) -> Group:
    return Group(*(part for part in parts if part is not None))


_AROUND, _BEHIND = 40, 160
"""Characters before and after the start of a difference that a terminal shows."""


def _side(block: TwoTexts, side: int) -> RenderableType:
    """A text, with the difference between marks."""
    same, rest = block.parts(side)
    before = f"…{same[-_AROUND:]}" if len(same) > _AROUND and rest else same[:_BEHIND]
    marked = f"»{rest[:_BEHIND]}" + ("…" if len(rest) > _BEHIND else "«") if block.at is not None else ""
    return Padding(Text.assemble(f"{block.names[side]}: ", _plain(before, "dim"), _plain(marked, "bold")), (0, 0, 0, 2))


def _titled(title: str, level: Level) -> RenderableType | None:
    """A title. The first screen omits it."""
    return _plain(title, "bold") if title and level > Level.FIRST else None


def _notes(notes: Iterable[str]) -> list[RenderableType]:
    return [_plain(note, "dim") for note in notes]


def _finding(finding: Finding) -> RenderableType:
    text = _plain(finding.text, _STYLES[finding.tone])
    return (
        Text.assemble("next: ", _plain(finding.command, "bold"), " " if finding.text else "", text)
        if finding.command
        else text
    )


def _tile_lines(block: Tiles) -> Iterator[str]:
    for tile in block.tiles:
        beside = ", ".join(filter(None, (tile.interval and f"95% {tile.interval}", tile.beside)))
        yield f"{tile.title}: {f'{tile.value} {tile.unit}'.strip()}" + (f" ({beside})" if beside else "")


def _facts(block: Facts) -> RenderableType | None:
    if not block.rows:
        return _plain(block.none, "dim") if block.none else None
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    grid.add_column(overflow="fold", max_width=32, style="dim")
    grid.add_column(overflow="fold")
    for fact in block.rows:
        grid.add_row(_plain(fact.name), _plain(fact.value))
    return grid


def _table(table: Table, columns: int) -> tuple[Grid, list[str]]:
    """The first layout of a table that fits, or the last one; and the columns that it leaves out."""
    endless = Console(width=1000)
    for layout in _layouts(table):
        if endless.measure(layout[0]).maximum <= columns:
            break
    grid, left_out = layout
    return grid, [table.columns[k].title for k in sorted(left_out) if not table.columns[k].page_only]


def _layouts(table: Table) -> Iterator[tuple[Grid, set[int]]]:
    """The layouts of a table, the widest first: no number is broken over two lines while a column can be left out."""
    left_out: set[int] = {k for k, column in enumerate(table.columns) if column.page_only}
    if table.beside:
        yield _grid(table, left_out, beside=True), left_out
    yield _grid(table, left_out), left_out
    yield _grid(table, left_out, tight=True), left_out
    droppable = sorted((column.drop, k) for k, column in enumerate(table.columns) if column.drop)
    for _, k in droppable:
        left_out = left_out | {k}
        yield _grid(table, left_out, tight=True), left_out
    # As a last resort names are broken over lines too, so that the numbers have room.
    yield _grid(table, left_out, tight=True, folds=True), left_out


def _grid(table: Table, left_out: set[int], *, beside: bool = False, tight: bool = False, folds: bool = False) -> Grid:
    indices = [k for k in range(len(table.columns)) if k not in left_out]
    lines = [j for j in range(len(table.below)) if any(_line(row, k, j) for row in table.rows for k in indices if k)]
    grid = Grid(box=None, pad_edge=False, padding=(0, 1, 0, 0 if tight else 1), header_style="dim")
    grid.show_header = any(table.columns[k].title for k in indices)
    for k in indices:
        column = table.columns[k]
        # A number that does not fit is broken over two lines, never cut.
        grid.add_column(
            _head(column), overflow="fold", no_wrap=not (k or column.wrap or folds),
            justify="left" if column.left or not k else "right",
        )  # fmt: skip
        if beside and k:
            for j in lines:
                grid.add_column(_plain(table.below[j]), justify="right", no_wrap=True)
    for row in table.rows:
        style = "dim" if row.group or row.quiet else None
        cells = [_cell(row, k) for k in indices]
        if beside:
            cells = [cells[0]] + [
                text
                for k, cell in zip(indices[1:], cells[1:], strict=True)
                for text in (cell, *(_plain(_line(row, k, j), "dim") for j in lines))
            ]
        grid.add_row(*cells, style=style)
        if not beside:
            for j in lines:
                under = [_line(row, k, j) for k in indices[1:]]
                if any(under):
                    grid.add_row(_plain(f"  {table.below[j]}"), *map(_plain, under), style="dim")
    return grid


def _head(column: Column) -> Text:
    head = f"{column.title} ({column.unit})" if column.unit else column.title
    return Text("\n").join(map(_plain, filter(None, (head, column.below))))


def _cell(row: Row, k: int) -> Text:
    if k >= len(row.cells):
        return Text("")
    cell: Cell = row.cells[k]
    text = f"{cell.text} ({cell.unit})" if cell.unit else cell.text
    return _plain(text, _STYLES[cell.tone])


def _line(row: Row, k: int, j: int) -> str:
    """The j-th line below the text of a cell."""
    if k >= len(row.cells) or j >= len(row.cells[k].below):
        return ""
    return row.cells[k].below[j]
