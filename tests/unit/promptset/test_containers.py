"""Files as rows: every row is found, with the position from which it can be read again."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptset.errors import SpecError
from promptset.loaders.containers import open_container

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def rows_of(path: Path) -> list[Any]:
    """The values of a file, each read again by its position and compared."""
    container = open_container(path)
    entries = list(container.entries())
    for entry in reversed(entries):
        if not isinstance(entry.value, SpecError):
            assert container.value(entry.start, entry.end) == entry.value
    return [entry.value for entry in entries]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("containers")


@given(rows=st.lists(JSON_VALUES, max_size=5), indent=st.sampled_from([None, 1]), bom=st.booleans())
@settings(max_examples=60)
def test_an_array_has_the_rows_that_a_decoder_of_the_whole_finds(
    folder: Path, rows: list[Any], indent: int | None, bom: bool
) -> None:
    path = folder / "data.json"
    path.write_text("\ufeff" * bom + json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
    assert rows_of(path) == rows


@given(rows=st.lists(st.dictionaries(st.text(), JSON_VALUES, max_size=3), max_size=5), blank=st.booleans())
@settings(max_examples=80)
def test_lines_have_the_rows_that_were_written(folder: Path, rows: list[Any], blank: bool) -> None:
    path = folder / "data.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) + "\n" + "  \r\n" * blank for row in rows]
    path.write_text("".join(lines), encoding="utf-8", newline="")
    assert rows_of(path) == rows


CELLS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"))


@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=5), end=st.sampled_from(["\n", "\r\n"]), every=st.booleans())
@settings(max_examples=60)
def test_a_table_has_the_rows_that_were_written_also_over_several_lines(
    folder: Path, rows: list[Any], end: str, every: bool
) -> None:
    path, out = folder / "data.csv", io.StringIO(newline="")
    # A carriage return ends a CSV line, but Python's writer leaves it unquoted if its own lines end differently.
    quoted = every or any("\r" in cell for row in rows for cell in row)
    writer = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
    writer.writerows([("one", "two"), *rows])
    path.write_text(out.getvalue(), encoding="utf-8", newline="")
    assert rows_of(path) == [{"one": one, "two": two} for one, two in rows]


def test_a_record_is_numbered_by_the_line_on_which_it_begins(folder: Path) -> None:
    path = folder / "lines.csv"
    path.write_text('prompt,n\n"a\nb",1\n\nc,2\nd\n')
    entries = list(open_container(path).entries())
    assert [entry.number for entry in entries] == [2, 5, 6]
    assert entries[0].value == {"prompt": "a\nb", "n": "1"}
    assert str(entries[2].value) == "1 values, and the first line names 2 columns"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('"a" b,1', "line 2: not CSV: ',' expected after '\"': close each quote"),
        ('"a,1\nb,2', "line 2: not CSV: unexpected end of data: close each quote"),
        ("a,1\rb,2", r"line 2: not CSV: new-line character .*\?$"),
    ],
)
def test_a_quote_that_is_not_csv_swallows_nothing(folder: Path, text: str, problem: str) -> None:
    path = folder / "quotes.csv"
    path.write_text(f"prompt,n\n{text}\n", newline="")
    with pytest.raises(SpecError, match=problem):
        rows_of(path)


@pytest.mark.parametrize(("names", "twice"), [("a,prompt, prompt,a", "'a', 'prompt'"), ("prompt,,", None)])
def test_columns_of_one_name_are_refused_and_those_without_a_name_are_not(
    folder: Path, names: str, twice: str | None
) -> None:
    path = folder / "twice.csv"
    path.write_text(f"{names}\n{names}\n")
    if twice is None:
        assert rows_of(path) == [{"prompt": "prompt", "": ""}]
    else:
        with pytest.raises(SpecError, match=f"several columns have the name {twice}: rename"):
            rows_of(path)


@pytest.mark.parametrize(
    ("number", "fits"),
    [
        (2**64 - 1, True),
        (2**64, False),
        (-(2**63), True),
        (-(2**63) - 1, False),
        ("1" + "0" * 300, False),
        (f'"{2**64}"', True),
        (f"0.{2**64}", True),
        (f"{2**64}.5", True),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_a_whole_number_that_would_be_sent_as_another_is_a_bad_row(
    folder: Path, number: int | str, fits: bool, suffix: str
) -> None:
    path = folder / f"large.{suffix}"
    row = f'{{"prompt": "a", "seed": [{number}]}}'
    path.write_text(row if suffix == "jsonl" else f"[{row}]")
    (value,) = rows_of(path)
    assert isinstance(value, dict) is fits
    assert fits or f"the number {str(number)[:20]}" in str(value)


def test_what_is_not_utf8_is_a_bad_row_and_not_the_end(folder: Path) -> None:
    table, text = folder / "latin.csv", folder / "latin.txt"
    table.write_bytes(b"prompt\nM\xfcller\nMiller\n")
    text.write_bytes(b"M\xfcller\nMiller\n")
    for path in (table, text):
        bad, good = rows_of(path)
        assert "not UTF-8" in str(bad)
        assert good == {"prompt": "Miller"}


def test_a_tab_separates_where_the_name_says_so(folder: Path) -> None:
    path = folder / "data.tsv"
    path.write_text("prompt\tn\na,b\t1\n")
    assert rows_of(path) == [{"prompt": "a,b", "n": "1"}]


def test_each_line_of_text_is_a_prompt(folder: Path) -> None:
    path = folder / "data.txt"
    path.write_text("\ufeffone\r\n\ntwo\u2028half\n[three", encoding="utf-8", newline="")
    assert [row["prompt"] for row in rows_of(path)] == ["one", "two\u2028half", "[three"]


@pytest.mark.parametrize("text", ['[{"a": 1},\n', '[{"a": "]', "[1] [2]", "[1]]"])
def test_a_broken_array_is_said(folder: Path, text: str) -> None:
    path = folder / "broken.json"
    path.write_text(text)
    with pytest.raises(SpecError, match="starts as a JSON array but is not one"):
        list(open_container(path).entries())


def test_a_bad_entry_of_an_array_is_that_entry_alone(folder: Path) -> None:
    path = folder / "bad.json"
    path.write_text('[{"a": 1}, nonsense, {"a": 3}]')
    one, bad, three = rows_of(path)
    assert (one, three) == ({"a": 1}, {"a": 3})
    assert "not JSON" in str(bad)


def test_parquet_is_read_group_by_group(folder: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = folder / "data.parquet"
    rows = [{"prompt": f"row {i}", "output_tokens": i} for i in range(25)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=10)
    assert rows_of(path) == rows
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + b"\xff" * 200 + whole[204:])
    with pytest.raises(SpecError, match=f"{path}: its row group 1 cannot be read: "):
        rows_of(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(SpecError, match="is not a Parquet file"):
        open_container(path)


@pytest.mark.parametrize("name", ["big.json", "big.jsonl", "big.csv"])
def test_a_large_file_is_passed_over_in_little_memory(folder: Path, name: str) -> None:
    path = folder / name
    row = {"prompt": "word " * 2000}
    with path.open("w") as file:
        if name.endswith("csv"):
            file.write("prompt\n" + f'"{row["prompt"]}"\n' * 700)
        else:
            between = ",\n" if name == "big.json" else "\n"
            file.write("[" * (name == "big.json") + between.join([json.dumps(row)] * 700) + "]" * (name == "big.json"))
    assert path.stat().st_size > 7_000_000
    tracemalloc.start()
    assert sum(1 for _ in open_container(path).entries()) == 700
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize(("levels", "is_read"), [(3, True), (150, True), (300, False), (900, False)])
def test_what_is_nested_too_deep_to_be_sent_is_a_bad_row(folder: Path, levels: int, is_read: bool) -> None:
    deep = f'{{"messages": {"[" * levels}1{"]" * levels}}}'
    wide = json.dumps({"messages": [{"role": "user", "content": "a"}] * 300})
    path = folder / "deep.jsonl"
    path.write_text(f"{wide}\n{deep}\n{wide}\n")
    first, second, third = rows_of(path)
    assert first == third == json.loads(wide)
    assert isinstance(second, dict) == is_read
    assert is_read or "nested too deep" in str(second)


def test_an_array_is_empty_once_its_file_is_and_a_bare_bracket_is_none(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text("[")
    container = open_container(path)
    with pytest.raises(SpecError, match="starts as a JSON array but is not one"):
        list(container.entries())
    path.write_text("")
    assert list(container.entries()) == []


def test_a_value_of_a_table_may_be_longer_than_the_usual_limit_of_csv(folder: Path) -> None:
    before = csv.field_size_limit(131_072)
    try:
        path = folder / "long.csv"
        path.write_text("prompt\n" + "x" * 200_000 + "\n", encoding="utf-8")
        (entry,) = open_container(path).entries()
        assert entry.value == {"prompt": "x" * 200_000}
    finally:
        csv.field_size_limit(before)
