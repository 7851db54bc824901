"""A hand-made document in every form: the content of each level, the width of tables, and no text that becomes markup."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from bench.documents.charts import Chart
from bench.documents.document import (
    Banner,
    Block,
    Cell,
    ChartBlock,
    Code,
    Column,
    Document,
    DrawnInterval,
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
from bench.report import html, markdown, text
from tests.support.changed import replace

EVIL = "\x1b[2J <script>alert(1)</script> a|b [x](y) `c`"


def document(*blocks: Block, title: str = "t") -> Document:
    return Document(title, (Banner("GOOD", ", all of it", "good"),), (Section("s", blocks),))


def blocks_with(words: str) -> tuple[Block, ...]:
    """A block of each kind that contains text."""
    return (
        Table(words, (Column(words), Column("v", below=words)),
              (Row(Cell(words, unit=words), Cell(words, below=(words,), hint=words, meaning=words)),), (words,),
              notes=(words,)),
        Facts(words, (Fact(words, words, words),), notes=(words,)),
        Findings((Finding(words, "warn"), Finding(words, command="x")), words),
        Paragraph(words, ("there", "there.html")),
        Tiles((Tile(words, words, words, words, words),)),
    )  # fmt: skip


FORMS: list[Callable[[Document, Level], str]] = [text.render, markdown.render]


@pytest.mark.parametrize("write", FORMS, ids=["text", "markdown"])
def test_a_form_shows_blocks_up_to_its_level(write: Callable[[Document, Level], str]) -> None:
    page = document(*(Paragraph(f"of level {level.name}", level=level) for level in Level))
    for level in Level:
        shown = re.findall(r"of level (\w+)", write(page, level))
        assert shown == [other.name for other in Level if other <= level]


def test_a_page_shows_every_level() -> None:
    page = document(*(Paragraph(f"of level {level.name}", level=level) for level in Level))
    assert re.findall(r"of level (\w+)", html.render(page)) == [level.name for level in Level]


def test_a_section_above_the_level_is_left_out_with_all_its_blocks() -> None:
    section = Section("far", (Paragraph("deep", level=Level.BRIEF),), level=Level.PAGE)
    page = Document("t", (), (section,))
    assert "deep" not in text.render(page, Level.DETAILS) + markdown.render(page)
    assert "deep" in html.render(page)


def test_a_section_whose_blocks_are_all_above_the_level_has_no_heading() -> None:
    page = Document(
        "t", (), (Section("far", (Paragraph("deep", level=Level.PAGE),)), Section("near", (Paragraph("here"),)))
    )
    assert re.findall("far|deep|near|here", markdown.render(page, Level.DETAILS)) == ["near", "here"]


def test_no_text_steers_a_terminal_or_is_markup() -> None:
    page = Document(EVIL, (Banner(EVIL, EVIL, "bad", EVIL, (Reason(EVIL, EVIL),), EVIL),),
                    (Section(EVIL, blocks_with(EVIL), EVIL),), EVIL, EVIL, EVIL, EVIL)  # fmt: skip
    assert "\x1b" not in text.render(page, Level.PAGE)
    written = markdown.render(page, Level.PAGE)
    assert "\x1b" not in written
    assert "<script" not in written
    assert re.search(r"(?<!\\)\[x\]", written) is None
    assert all(line.count("|") - line.count("\\|") == 3 for line in written.splitlines() if line.startswith("| "))
    shown = html.render(page)
    assert shown.count("<script>") == 1  # Only our own script.
    assert "&lt;script&gt;alert(1)" in shown


def table(**settings: object) -> Table:
    columns = (Column("name"), Column("first"), Column("second", drop=1), Column("hidden", page_only=True))
    row = Row("a", Cell("1", below=("0–2",)), Cell("2" * 40, below=("3" * 40,)), "drawn")
    return Table("numbers", columns, (row,), ("interval",), **settings)  # type: ignore[arg-type]


def test_intervals_stand_beside_their_numbers_if_there_is_room_else_below() -> None:
    wide = text.render(document(table(beside=True)), Level.USUAL, width=120)
    assert re.search(r"^a +1 +0–2 +2{40} +3{40}$", wide, re.MULTILINE)
    narrow = text.render(document(table(beside=True)), Level.USUAL, width=80)
    assert re.search(r"^a +1 +2{40}\n  interval +0–2 +3{40}$", narrow, re.MULTILINE)


def test_a_column_that_finds_no_room_is_left_out_and_named() -> None:
    row = Row("a", "1" * 50, "2" * 50, "drawn")
    page = document(Table("numbers", table().columns, (row,)))
    shown = text.render(page, Level.USUAL, width=80)
    assert "2222" not in shown
    assert "Left out for lack of room: second." in shown
    assert "2222" in text.render(page, Level.USUAL, width=120)
    assert "drawn" in html.render(page)
    assert "drawn" not in markdown.render(page)


def test_a_period_can_replace_a_cell_that_has_a_key() -> None:
    page = document(Table("n", (Column("a"), Column("b")), (Row("x", Cell("1", key="ttft:p50")),)))
    assert '<td data-key="ttft:p50"><span>1</span></td>' in html.render(page)


def test_an_interval_is_drawn_around_zero_and_never_too_narrow_to_see() -> None:
    drawn = DrawnInterval(-0.1, 0.0, 0.3, margin=0.05, reach=0.2)
    assert (drawn.place(-0.1), drawn.place(0.0), drawn.place(0.3)) == (25.0, 50.0, 100.0)
    assert drawn.wide(0.0, 0.0) == 0.6
    assert drawn.wide(-0.05, 0.05) == 25.0


LONG = "".join(chr(ord("a") + k % 26) for k in range(200))


@pytest.mark.parametrize(
    ("texts", "at", "in_terminal", "in_markdown"),
    [
        ((LONG, LONG), None, LONG[:160], LONG),
        ((LONG + "x", LONG), 200, f"…{LONG[160:]}»x«", f"{LONG}»x«"),
        ((LONG, LONG + "x"), 200, f"{LONG[:160]}»«", f"{LONG}»«"),
        (("same x", "same y"), 5, "same »x«", "same »x«"),
        ((LONG, "x"), 0, f"»{LONG[:160]}…", f"»{LONG}«"),
    ],
)
def test_a_terminal_shows_texts_around_their_difference_and_markdown_shows_them_whole(
    texts: tuple[str, str], at: int | None, in_terminal: str, in_markdown: str
) -> None:
    page = document(TwoTexts("t", ("one", "two"), texts, at))
    shown = "".join(text.render(page, Level.DETAILS).split())
    assert f"one:{in_terminal.replace(' ', '')}two:" in shown
    assert in_markdown in markdown.render(page, Level.DETAILS)


def test_a_terminal_has_no_empty_line_within_a_block() -> None:
    banner = Banner(
        "BAD", "", "bad", meaning="It counts for nothing.", reasons=(Reason("It is late."),), more="See below."
    )
    page = Document("t", (banner,), (Section("s", (TwoTexts("texts", ("one", "two"), ("a", "b"), 0),)),))
    lines = [line.strip() for line in text.render(page, Level.DETAILS).splitlines()]
    assert "\n".join(["BAD", "- It is late.", "See below.", "It counts for nothing."]) in "\n".join(lines)
    assert "\n".join(["one: »a«", "two: »b«"]) in "\n".join(lines)


def test_markdown_says_what_to_do_where_it_is_known() -> None:
    reasons = (Reason("It is late.", "add a worker"), Reason("It failed."))
    findings = (Finding("Nothing else."), Finding("finds the capacity", command="trueload search"))
    page = Document("t", (Banner("BAD", "", "bad", reasons=reasons),), (Section("s", (Findings(findings),)),))
    lines = [line for line in markdown.render(page).splitlines() if line.startswith("- ")]
    assert lines == [
        "- It is late. (to do: add a worker)", "- It failed.",
        "- Nothing else.", "- `trueload search` finds the capacity",
    ]  # fmt: skip


def test_marks_of_markdown_are_those_of_the_tone() -> None:
    rows = tuple(Row(tone, Cell("x", tone)) for tone in ("good", "warn", "bad", ""))
    shown = markdown.render(document(Table("n", (Column("a"), Column("b")), rows)))
    assert re.findall(r"\| \w* \| (.*) \|", shown)[1:] == ["✅ x", "❔ x", "❌ x", "x"]
    untitled = markdown.render(document(Code("", "a <b>"), title=""))
    assert untitled == "### ✅ GOOD, all of it\n\n## s\n\n```sh\na <b>\n```\n"


def test_blocks_stand_side_by_side_in_cards_or_plain() -> None:
    table = Table("t", (Column("k"),), (Row("v"),), half=True)
    lead, folded = replace(table, lead=True), Facts("f", (Fact("n", "v"),), folded=True)
    plain, toned = (Findings((Finding("a", "warn"), Finding("b", tone)), "t") for tone in ("", "bad"))
    chart = ChartBlock(Chart("k", "t", "m", "s", [], (0.0, 1.0), [], (), 1.0, ()))
    cases: list[tuple[list[Block], list[tuple[str, int, bool]]]] = [
        ([chart, chart], [("charts", 2, False)]),
        ([table, table], [("pair", 2, False)]),
        ([table, lead], [("pair", 2, True)]),
        ([replace(lead, half=False), replace(table, half=False)], [("card", 1, False)] * 2),
        ([Tiles(()), Period({}), Paragraph("p"), folded, Facts("", ())], [("plain", 1, False)] * 5),
        ([Facts("f", ()), Code("c", ""), plain, toned], [("card", 1, False)] * 4),
        ([replace(plain, folded=True), replace(toned, title="")], [("plain", 1, False)] * 2),
        ([replace(plain, title="")], [("card", 1, False)]),
    ]  # fmt: skip
    for blocks, groups in cases:
        assert [(group.kind, len(group.views), group.lead) for group in html._groups(blocks)] == groups


def test_a_section_without_blocks_is_not_on_a_page() -> None:
    page = html.render(Document("t", (), (Section("Here", (Paragraph("p"),)), Section("Gone", ()))))
    assert "Here" in page
    assert "Gone" not in page


def test_a_column_without_a_title_has_no_header() -> None:
    page = html.render(document(Table("numbers", (Column(""), Column("v")), (Row("a", "1"),))))
    head = page.partition("<thead>")[2].partition("</thead>")[0]
    assert head == '<tr><td class=""></td><th scope="col" class="">v</th></tr>'
