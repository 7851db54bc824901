"""Uploaded files: generated names, limits that also hold for unpacked data, and URLs fetched without cookies."""

from __future__ import annotations

import asyncio
import io
import stat
import zipfile
from pathlib import Path

import httpx
import pytest

from bench.console import data_files, fetching
from bench.console.data_files import DataFiles
from bench.console.data_rows import Rows
from bench.console.errors import ConsoleError, NotFound, TooLarge
from bench.console.fetching import fetch


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


def test_a_file_is_kept_shown_and_removed(tmp_path: Path) -> None:
    files = DataFiles(tmp_path / "files")
    assert files.add("my prompts.jsonl", b'{"prompt": "a"}\n{"prompt": "b"}\n') == ["my-prompts.jsonl"]
    assert files.preview("my-prompts.jsonl") == ['{"prompt": "a"}', '{"prompt": "b"}']
    assert [(file.name, file.size_bytes) for file in files.listed()] == [("my-prompts.jsonl", 32)]
    assert data_files.STAYS_FREE == 536_870_912  # Half a GiB.
    files.remove("my-prompts.jsonl")
    assert files.listed() == []


def test_a_whole_file_becomes_one_row(tmp_path: Path) -> None:
    files = DataFiles(tmp_path)
    assert files.add("body.json", b'{\n "messages": []\n}', Rows(whole=True)) == ["body.jsonl"]
    assert files.preview("body.jsonl") == ['{"messages":[]}']
    with pytest.raises(ConsoleError, match="not one JSON document"):
        files.add("two.jsonl", b"{}\n{}\n", Rows(whole=True))


def test_a_text_is_one_prompt_and_the_files_of_a_zip_are_rows_of_one_file(tmp_path: Path) -> None:
    files = DataFiles(tmp_path)
    assert files.add("story.txt", "One line.\nAnother – line.".encode(), Rows(whole=True)) == ["story.jsonl"]
    assert files.preview("story.jsonl") == ['{"prompt":"One line.\\nAnother – line."}']
    packed = zipped(a__json=b'{"messages": []}', b__txt=b"two")
    assert files.add("bodies.zip", packed, Rows(whole=True)) == ["bodies.jsonl"]
    assert files.preview("bodies.jsonl") == ['{"messages":[]}', '{"prompt":"two"}']


@pytest.mark.parametrize("name", ["../../evil.jsonl", "/etc/evil.jsonl", "..\\evil.jsonl"])
def test_a_name_cannot_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    files = DataFiles(tmp_path / "files")
    assert files.add(name, b"x\n") == ["evil.jsonl"]
    assert files.add("z.zip", zipped(**{f"{name.replace('.jsonl', '')}__jsonl": b"y\n"})) == ["evil.jsonl"]
    assert [path.name for path in tmp_path.iterdir()] == ["files"]
    for asked in ("../x", ".", "..", "a/b", "missing.jsonl"):
        with pytest.raises(NotFound):
            files.path(asked)


def test_a_link_in_the_folder_is_no_file_and_is_not_written_through(tmp_path: Path) -> None:
    folder, other = tmp_path / "files", tmp_path / "other.jsonl"
    folder.mkdir()
    other.write_text("mine")
    (folder / "a.jsonl").symlink_to(other)
    files = DataFiles(folder)
    with pytest.raises(NotFound):
        files.path("a.jsonl")
    files.add("a.jsonl", b"new\n")
    assert other.read_text() == "mine"


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "MOST_BYTES", 100_000)
    monkeypatch.setattr(data_files, "MOST_UPLOADED", 100_000)
    files = DataFiles(tmp_path)
    bomb = zipped(a__jsonl=b"0" * 60_000, b__jsonl=b"0" * 60_000)
    assert len(bomb) < 2_000
    with pytest.raises(TooLarge, match="unpacks to more"):
        files.add("bomb.zip", bomb)
    assert files.listed() == []  # No part of the file is kept.
    for rows in (Rows(whole=True), Rows(base64=True)):
        with pytest.raises(ConsoleError):
            files.add("bomb.zip", bomb, rows)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    with pytest.raises(TooLarge):
        files.add("large.jsonl", b"0" * 100_001)


def test_there_are_only_so_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "MOST_FILES", 2)
    files = DataFiles(tmp_path)
    with pytest.raises(TooLarge, match="more than 2 files"):
        files.add("z.zip", zipped(a__txt=b"1", b__txt=b"1", c__txt=b"1"))
    files.add("z.zip", zipped(a__txt=b"1", b__txt=b"1"))
    files.add("a.txt", b"2")
    with pytest.raises(TooLarge, match="remove some"):
        files.add("c.txt", b"1")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("\u6570\u636e.jsonl", "data-0712958e.jsonl"),
        ("\U0001f600 \u05e9\u05dc\u05d5\u05dd.csv", "data-c5738046.csv"),
        ("\u6570\u636e 2024.jsonl", "2024.jsonl"),
        ("a" * 300 + ".jsonl", "a" * 94 + ".jsonl"),
    ],
)
def test_a_name_in_any_alphabet_is_kept_under_a_plain_one(name: str, kept: str, tmp_path: Path) -> None:
    assert DataFiles(tmp_path).add(name, b"x") == [kept]


def test_a_zip_with_a_link_with_nothing_or_with_a_name_twice_is_refused_whole(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("b.jsonl")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.jsonl", b"x")
        archive.writestr(link, "/etc/passwd")
    files = DataFiles(tmp_path)
    for content, why in (
        (packed.getvalue(), "has a link, 'b.jsonl'"),
        (zipped(), "the ZIP has no file"),
        (zipped(**{"a/x__jsonl": b"1", "b/x__jsonl": b"2"}), "several files called x.jsonl"),
    ):
        with pytest.raises(ConsoleError, match=why):
            files.add("z.zip", content)
    assert files.listed() == []


DEFLATED, STORED = zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED


@pytest.mark.parametrize("rows", [Rows(), Rows(whole=True)])
@pytest.mark.parametrize(
    ("method", "old", "new"),
    [
        (STORED, b"rows rows", b"rows_rows"),  # Wrong checksum.
        (DEFLATED, b"a.txt", b"\xff.txt"),  # The name is not valid UTF-8.
        *((method, None, b"\x55" * 20) for method in (DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)),
    ],
)
def test_a_zip_that_is_damaged_is_refused_in_one_sentence(
    method: int, old: bytes | None, new: bytes, rows: Rows, tmp_path: Path
) -> None:
    packed, text = io.BytesIO(), b" ".join(b"%d" % (n * n) for n in range(2_000)) if old is None else b"rows rows"
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("\u00e4a.txt", text)
    content = packed.getvalue()
    old = content[100:120] if old is None else old
    files = DataFiles(tmp_path)
    with pytest.raises(ConsoleError, match=r"the ZIP cannot be read: ."):
        files.add("z.zip", content.replace(old, new), rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "content"), [("run.sh", b"x"), ("z.zip", b"PK\x03\x04 no zip"), (".jsonl", b"x")])
def test_other_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConsoleError):
        DataFiles(tmp_path).add(name, content)


def fetched(answer: object, url: str = "http://data/x.jsonl") -> tuple[str, bytes]:
    async def main() -> tuple[str, bytes]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:  # type: ignore[arg-type]
            return await fetch(url, client, allow_local=True)

    return asyncio.run(main())


def test_a_url_is_fetched_without_cookies() -> None:
    cookies = []

    def answer(request: httpx.Request) -> httpx.Response:
        cookies.append(request.headers.get("cookie"))
        if request.url.path == "/x.jsonl":
            return httpx.Response(302, headers={"location": "/y.jsonl", "set-cookie": "a=b"})
        return httpx.Response(200, content=b"rows\n")

    assert fetched(answer) == ("y.jsonl", b"rows\n")
    assert cookies == [None, None]


def test_a_url_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MOST_FETCHED", 1_000)
    with pytest.raises(TooLarge):
        fetched(lambda request: httpx.Response(200, content=b"0" * 2_000))
    with pytest.raises(ConsoleError, match="redirects"):
        fetched(lambda request: httpx.Response(302, headers={"location": "/again"}))
    with pytest.raises(ConsoleError, match="http://"):
        fetched(lambda request: httpx.Response(302, headers={"location": "file:///etc/passwd"}))
    with pytest.raises(ConsoleError, match="status 404"):
        fetched(lambda request: httpx.Response(404))
