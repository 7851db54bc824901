"""A document made by hand, with every kind of block, in a terminal and as Markdown: complete, line by line."""

from __future__ import annotations

import io

import pytest

from bench.documents.document import (
    Banner,
    Block,
    Cell,
    Code,
    Column,
    Document,
    Fact,
    Facts,
    Finding,
    Findings,
    Level,
    Paragraph,
    Period,
    Reason,
    Row,
    Section,
    Table,
    Tile,
    Tiles,
    TwoTexts,
)
from bench.report import markdown, text

TABLE = Table(
    "Numbers",
    (Column("", below="of a class"), Column("Mean", "ms"), Column("P99", below="of 9"), Column("Note", left=True, wrap=True),
     Column("Drawn", page_only=True)),
    (Row("class a", group=True),
     Row("ttft", Cell("12", below=("11–13",), unit="ms"), Cell("40", "bad", below=("", "7")), "slow"),
     Row(Cell("itl", "good"), Cell("3", below=("2–4",)), Cell("c", code=True), Cell("a|b", code=True), quiet=True)),
    below=("95% interval", "values", "never"), beside=True, notes=("of the whole run",),
)  # fmt: skip
DOCUMENT = Document(
    "Title",
    (
        Banner("VALID", ", all well", "good", "It can be used."),
        Banner("SUSPECT", "", "warn", "Doubtful.", (Reason("late", "send less"), Reason("few")), more="more in the details"),
        Banner("FAILED", "!", "bad", "", (Reason("gone"), Reason("late", "begin")), more="never"),
    ),
    (
        Section(
            "Part",
            (
                TABLE,
                Facts("Facts", (Fact("name", "value"), Fact("a name that is longer than 32 letters", "x")), ("a note",)),
                Facts("None", (), none="there are none"),
                Facts("Nothing", ()),
            ),
            "what it is",
        ),
        Section("Later", (Tiles((Tile("T", "5", "ms", "more", "4–6"), Tile("U", "6", ""))),
                          Code("Run", "a b\nc d", Level.DETAILS))),
        Section("Never", (Paragraph("deep"),), level=Level.DETAILS),
        Section("Same", (Table("Same", (Column("k"),), (Row("v"),)), Paragraph("text", ("title", "where")))),
        Section("", (Findings((Finding("do it", "warn", "bench run"), Finding("", "", "bench x"),
                               Finding("words", "bad"))),)),
        Section("Drawn", (Period({}),)),
    ),
    subtitle="what it is about", heading=True,
)  # fmt: skip

BANNERS = """\
VALID, all well
{}SUSPECT
  - late
    to do: send less
  - few
  more in the details
{}FAILED!
  - gone
  - late
    to do: begin
"""
HEAD = "Title\nwhat it is about\n"
USUAL = (
    HEAD
    + BANNERS.format("It can be used.\n", "Doubtful.\n")
    + """\

Part
what it is

Numbers
                            P99
of a class      Mean (ms)  of 9  Note
class a
ttft              12 (ms)    40  slow
  95% interval      11–13
  values                      7
itl                     3     c  a|b
  95% interval        2–4
of the whole run

Facts
name                              value
a name that is longer than 32     x
letters
a note

None
there are none

Later

T: 5 ms (95% 4–6, more)
U: 6

Same
k
v

text where

next: bench run do it
next: bench x
words
"""
)


def test_a_terminal_shows_each_block_up_to_its_level() -> None:
    assert text.render(DOCUMENT, Level.USUAL, width=80) == USUAL
    assert text.render(DOCUMENT, Level.BRIEF) == f"Title\n{BANNERS.format('', '')}"
    assert text.render(DOCUMENT) == HEAD + BANNERS.format("", "")
    details = text.render(DOCUMENT, Level.DETAILS, width=80)
    assert details == USUAL.replace("U: 6\n", "U: 6\n\nRun\na b\nc d\n\nNever\n\ndeep\n")


def rendered(*blocks: Block, width: int = 100, level: Level = Level.USUAL) -> str:
    return text.render(Document("t", (), (Section("", blocks),)), level, width=width)


def test_the_first_screen_has_no_titles() -> None:
    table = Table("Numbers", (Column("k"), Column("n")), (Row("a", "1"),), level=Level.FIRST)
    assert rendered(table, level=Level.FIRST) == "k  n\na  1\n"
    assert rendered(table) == "Numbers\nk  n\na  1\n"
    assert text.render(Document("t", (), (Section("s", (table,), "sub"),)), Level.FIRST) == "k  n\na  1\n"


def test_lines_below_numbers_are_columns_where_there_is_room() -> None:
    assert (
        rendered(TABLE)
        == """\
Numbers
                                              P99
of a class  Mean (ms)  95% interval  values  of 9  95% interval  values  Note  95% interval  values
class a
ttft          12 (ms)         11–13            40                     7  slow
itl                 3           2–4             c                        a|b
of the whole run
"""
    )
    assert rendered(TABLE, width=99) == rendered(TABLE)
    assert rendered(TABLE, width=98) == rendered(TABLE, width=80)


@pytest.mark.parametrize(
    ("digits", "columns", "left_out"),
    [(16, "0  1  2  3", ""), (17, "0  1  2  3", ""), (18, "0 1 2 3", ""), (19, "0 1 3", "2"), (24, "0 1 3", "2"),
     (25, "0 1", "2, 3"), (37, "0 1", "2, 3"), (38, "0", "1, 2, 3"), (90, "0", "1, 2, 3")],
)  # fmt: skip
def test_columns_move_together_and_are_left_out_by_their_rank_until_80_columns_suffice(
    digits: int, columns: str, left_out: str
) -> None:
    """With 4 characters for the name, n columns of d digits take 4 + n (d + 2) with full spacing, and 4 + n (d + 1)
    without."""
    ranks = {0: 0, 1: 2, 2: 1, 3: 1}
    head = (Column("name"), *(Column(str(k), drop=rank) for k, rank in ranks.items()), Column("page", page_only=True))
    lines = rendered(Table("", head, (Row("x", *[Cell("1" * digits)] * 4),)), width=80).splitlines()
    apart = "  " if "  " in columns else " "
    assert lines[0] == "name" + "".join(f"{apart}{k:>{min(digits, 75)}}" for k in columns.split())
    assert lines[1].startswith("x   " + f"{apart}{'1' * min(digits, 75)}" * len(columns.split()))
    note = [f"Left out for lack of room: {left_out}."] if left_out else []
    assert lines[2 + (digits > 75) :] == note


def test_a_difference_of_texts_stands_between_marks_with_40_characters_before_and_160_behind() -> None:
    def sides(same: str, one: str, other: str, at: int | None) -> list[str]:
        block = TwoTexts("two", ("A", "B"), (same + one, same + other), at, ("a note",))
        lines = text.render_plain(text._page(Document("", (), (Section("", (block,)),)), Level.USUAL, 999), 999)
        assert lines.splitlines()[:2] == ["two", "a note"]
        return lines.splitlines()[2:]

    assert sides("x" * 40, "a" * 160, "b" * 161, 40) == [
        f"  A: {'x' * 40}»{'a' * 160}«", f"  B: {'x' * 40}»{'b' * 160}…"
    ]  # fmt: skip
    assert sides("x" * 41, "a", "", 41) == [f"  A: …{'x' * 40}»a«", f"  B: {'x' * 41}»«"]
    assert sides("y" * 200, "", "", None) == [f"  A: {'y' * 160}", f"  B: {'y' * 160}"]


def widest(document: Document, **given: int) -> int:
    return max(map(len, text.render(document, Level.USUAL, **given).splitlines()))


class Terminal(io.StringIO):
    """A terminal that records its output."""

    def isatty(self) -> bool:
        return True


def test_lines_have_at_most_120_columns_and_100_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words of one letter: n of them take 2 n - 1 columns."""
    words = Document("t", (), (Section("", (Paragraph("x " * 300),)),))
    assert [widest(words, width=width) for width in (10, 80, 81, 101, 119, 120, 121, 999)] == [
        79, 79, 81, 101, 119, 119, 119, 119
    ]  # fmt: skip
    file = io.StringIO()
    text.show(words, Level.USUAL, file)
    assert file.getvalue() == text.render(words, Level.USUAL, width=100) == text.render(words, Level.USUAL)
    monkeypatch.setenv("TERM", "xterm")
    for columns, most in ((20, 39), (40, 39), (101, 101), (300, 119)):
        monkeypatch.setenv("COLUMNS", str(columns))
        terminal = Terminal()
        text.show(words, Level.USUAL, terminal)
        assert max(len(line.rstrip()) for line in terminal.getvalue().splitlines()) == most


def test_a_terminal_has_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    text.show(DOCUMENT, Level.USUAL, terminal)
    lines = terminal.getvalue().splitlines()
    bold, dim, off = "\x1b[1m", "\x1b[2m", "\x1b[0m"
    for line in (
        f"{bold}Title{off}", f"\x1b[1;32mVALID{off}, all well", f"{dim}It can be used.{off}", f"\x1b[1;4mPart{off}",
        f"{dim}what it is{off}", f"{dim}of the whole run{off}", f"{dim}there are none{off}",
        f"next: {bold}bench run{off} \x1b[33mdo it{off}", f"next: {bold}bench x{off}",
        f"\x1b[31mwords{off}", f"{bold}Same{off}",
    ):  # fmt: skip
        assert line in lines
    dim_rows = {
        name: line.startswith("\x1b[2")
        for line in lines
        for name in ("class a", "ttft", "itl", "interval")
        if name in line
    }
    assert dim_rows == {"class a": True, "ttft": False, "itl": True, "interval": True}


def test_markdown_has_what_a_page_of_text_can_hold() -> None:
    assert (
        markdown.render(DOCUMENT)
        == """\
# Title

what it is about

**VALID**, all well

It can be used.

**SUSPECT**

Doubtful.

- late (to do: send less)
- few

**FAILED**!

- gone
- late (to do: begin)

## Part

what it is

### Numbers

|  | Mean (ms) | P99 | Note |
|---|---:|---:|---|
| class a |  |  |  |
| ttft | 12 (ms) (11–13) | ❌ 40 (values 7) | slow |
| itl | 3 (2–4) | `c` | a\\|b |

- of the whole run

### Facts

| | |
|---|---|
| name | value |
| a name that is longer than 32 letters | x |

## Later

- T: 5 ms
- U: 6

## Same

### Same

| k |
|---|
| v |

text where

- `bench run` do it
- `bench x`
- words
"""
    )


def test_markdown_without_a_title_begins_with_marked_answers_and_shows_texts_side_by_side() -> None:
    texts = (
        TwoTexts("two", ("A", "B"), ("same a*", "same b"), 5, ("a note",)),
        TwoTexts("", ("A",) * 2, ("x", "x"), None),
    )
    banners = Banner("VALID", "!", "good"), Banner("ODD", "", "")
    assert markdown.render(Document("", banners, (Section("", texts),))) == (
        "### ✅ VALID!\n\n### ODD\n\n### two\n\n- a note\n\n- A: same »a\\*«\n- B: same »b«\n\n- A: x\n- A: x\n"
    )


@pytest.mark.parametrize("wrap", [False, True])
def test_a_long_name_is_broken_over_lines_and_its_number_stays(wrap: bool) -> None:
    table = Table("", (Column("k", wrap=wrap), Column("n")), (Row("words " * 14, "12345"),))
    assert rendered(table, width=80) == (f"k{'n':>79}\n" + "words " * 12 + "   12345\nwords words\n")
