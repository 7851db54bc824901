"""Uploaded files at the borders of their limits, and other entries in their folder."""

from __future__ import annotations

import asyncio
import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bench.console import data_files, data_rows, fetching
from bench.console.data_files import DataFiles
from bench.console.data_rows import Rows
from bench.console.errors import ConsoleError, NotFound, TooLarge
from bench.console.fetching import fetch

URL = "http://data/x.jsonl"


def zipped(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def test_the_limits() -> None:
    assert data_files.MOST_BYTES == fetching.MOST_FETCHED == data_rows.MOST_OF_A_ROW == 67_108_864  # 64 MiB
    assert data_files.MOST_UPLOADED == 2_147_483_648  # 2 GiB
    assert data_files.MOST_FILES == 100
    assert (data_files.PREVIEW_ROWS, data_files.PREVIEW_CHARS) == (5, 400)
    assert (fetching.FETCH_WITHIN_S, fetching.MOST_REDIRECTS) == (60, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one uploaded file, a directory, a link, a hidden file and an oddly named file."""
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    for name in ("b.jsonl", ".hidden.jsonl", "with space.jsonl", "sub/inner.jsonl", "../outside.jsonl"):
        (folder / name).write_text("secret\n")
    (folder / "link.jsonl").symlink_to(folder / "b.jsonl")
    return folder


def test_the_list_has_files_with_names_of_ours_alone(folder: Path) -> None:
    assert DataFiles(folder.parent / "missing").listed() == []
    DataFiles(folder).add("a.txt", b"1")
    (folder / "c.csv").write_bytes(b"12")
    assert [(file.name, file.size_bytes) for file in DataFiles(folder).listed()] == [
        ("a.txt", 1), ("b.jsonl", 7), ("c.csv", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["sub", "sub/inner.jsonl", "../outside.jsonl", "../files/b.jsonl", "./b.jsonl", "link.jsonl", ".hidden.jsonl",
     "with space.jsonl", "c.jsonl"],
)  # fmt: skip
def test_nothing_else_can_be_read_or_removed(name: str, folder: Path) -> None:
    files = DataFiles(folder)
    for use in (files.path, files.preview, files.remove):
        with pytest.raises(NotFound, match="there is no uploaded file"):
            use(name)
    assert files.path("b.jsonl") == (folder / "b.jsonl").resolve()


def test_a_preview_has_five_rows_of_at_most_400_characters(tmp_path: Path) -> None:
    files = DataFiles(tmp_path)
    rows = ["x" * 399, "é" * 401, "🙂" * 2000, "", "\u20ac" * 400 + "  ", "sixth"]
    files.add("rows.txt", "\n".join(rows).encode())
    assert files.preview("rows.txt") == ["x" * 399, "é" * 400, "🙂" * 400, "", "\u20ac" * 400]
    files.add("bytes.txt", b"\xff\xfe\r\nlast")
    assert files.preview("bytes.txt") == ["\ufffd\ufffd", "last"]


def test_a_file_that_is_called_zip_and_is_none_is_named_as_such(tmp_path: Path) -> None:
    for rows in (data_rows.AS_IT_IS, Rows(whole=True)):
        with pytest.raises(ConsoleError, match=r"'rows\.ZIP' is not a ZIP file, or it is damaged"):
            DataFiles(tmp_path).add("rows.ZIP", b'{"prompt": "a"}\n', rows)


def test_a_zip_that_says_it_is_too_large_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "MOST_UPLOADED", 400)
    squeezed = io.BytesIO()
    with zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c.txt", b"0" * 401)
    damaged = bytearray(squeezed.getvalue())
    damaged[35] ^= 1  # The content is damaged, so the refusal can only come from the size in the archive's directory.
    with pytest.raises(TooLarge, match="the ZIP unpacks to more than 0 MiB"):
        DataFiles(tmp_path).add("z.zip", bytes(damaged))


@pytest.mark.parametrize("rows", [data_rows.AS_IT_IS, Rows(whole=True)])
def test_of_a_zip_that_states_too_small_a_size_only_that_size_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    monkeypatch.setattr(data_files, "MOST_UPLOADED", 1_000)
    squeezed = io.BytesIO()
    with zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c.txt", b"0" * 100_000)
        archive.getinfo("c.txt").file_size = 1_000  # In the archive's directory, which is written at its end.
        archive.getinfo("c.txt").CRC = zlib.crc32(b"0" * 1_000)
    files = DataFiles(tmp_path)
    (name,) = files.add("z.zip", squeezed.getvalue(), rows)
    assert (tmp_path / name).read_bytes().count(b"0") == 1_000


def test_an_upload_may_have_as_many_bytes_as_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "MOST_BYTES", 400)
    monkeypatch.setattr(data_files, "MOST_UPLOADED", 400)
    files = DataFiles(tmp_path)
    assert files.add("a.txt", b"0" * 400) == ["a.txt"]
    with pytest.raises(TooLarge, match=r"b\.txt has more than 0 MiB"):
        files.add("b.txt", b"0" * 401)
    squeezed = io.BytesIO()
    with zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c.txt", b"0" * 150)
        archive.writestr("d.txt", b"0" * 250)
    assert files.add("z.zip", squeezed.getvalue()) == ["c.txt", "d.txt"]
    assert (tmp_path / "d.txt").read_bytes() == b"0" * 250
    one_more = io.BytesIO()
    with zipfile.ZipFile(one_more, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c.txt", b"0" * 150)
        archive.writestr("d.txt", b"0" * 251)
    with pytest.raises(TooLarge, match="the ZIP unpacks to more than 0 MiB"):
        files.add("z.zip", one_more.getvalue())


def test_a_zip_is_known_by_its_content_and_its_folders_are_no_files(tmp_path: Path) -> None:
    files = DataFiles(tmp_path)
    packed = zipped(("rows/", b""), ("rows/a.jsonl", b"{}\n"), ("rows/b.jsonl", b"[]\n"))
    assert files.add("no-ending", packed) == ["a.jsonl", "b.jsonl"]
    # Parquet files are binary, and may begin like a ZIP archive.
    assert files.add("rows.parquet", packed) == ["rows.parquet"]
    assert (tmp_path / "rows.parquet").read_bytes() == packed
    for whole, content in ((True, b"PK\x03\x04 broken"), (False, b"PK\x03\x04")):
        with pytest.raises(ConsoleError, match="the ZIP cannot be read"):
            files.add("z.zip", content, Rows(whole))


def test_a_zip_has_at_most_100_files_and_folders_do_not_count(tmp_path: Path) -> None:
    rows = [(f"{i}.json", b"{}") for i in range(100)]
    files = DataFiles(tmp_path)
    assert files.add("z.zip", zipped(("folder/", b""), *rows), Rows(whole=True)) == ["z.jsonl"]
    assert (tmp_path / "z.jsonl").read_bytes() == b"{}\n" * 100
    with pytest.raises(TooLarge, match="the ZIP has more than 100 files"):
        files.add("z.zip", zipped(*rows, ("100.json", b"{}")), Rows(whole=True))


def test_the_101st_file_is_refused_and_a_file_of_a_full_folder_can_be_replaced(tmp_path: Path) -> None:
    files = DataFiles(tmp_path)
    for i in range(99):
        (tmp_path / f"{i}.txt").write_bytes(b"")
    assert files.add("99.txt", b"last") == ["99.txt"]
    with pytest.raises(TooLarge, match="there may be 100 files in all: remove some"):
        files.add("100.txt", b"x")
    assert files.add("99.txt", b"new") == ["99.txt"]
    assert (tmp_path / "99.txt").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("--a b/../c d!.jsonl", "c-d-.jsonl"),
        ("..a.jsonl-", "a.jsonl"),
        ("x" * 120 + ".jsonl", "x" * 94 + ".jsonl"),
        ("x" * 94 + ".jsonl", "x" * 94 + ".jsonl"),
    ],
)
def test_a_name_is_made_of_plain_characters_and_has_at_most_100(name: str, kept: str, tmp_path: Path) -> None:
    assert DataFiles(tmp_path / "new" / "folder").add(name, b"x") == [kept]
    assert (tmp_path / "new" / "folder" / kept).read_bytes() == b"x"


@pytest.mark.parametrize("name", ["", "..", "---", "_x.txt", "x.txt/.."])
def test_what_leaves_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConsoleError, match="is not a valid file name"):
        DataFiles(tmp_path).add(name, b"x")


def test_text_that_is_no_json_is_a_prompt_only_in_a_text_file(tmp_path: Path) -> None:
    files = DataFiles(tmp_path)
    files.add("json.txt", b'{"prompt": "from JSON"}', Rows(whole=True))
    files.add("text.txt", b"caf\xe9", Rows(whole=True))
    assert files.preview("json.jsonl") == ['{"prompt":"from JSON"}']
    assert files.preview("text.jsonl") == ['{"prompt":"caf\ufffd"}']
    with pytest.raises(ConsoleError, match=r"'text\.csv' is not one JSON document"):
        files.add("text.csv", b"plain", Rows(whole=True))


# Files behind a URL


Answer = Callable[[httpx.Request], httpx.Response]


def fetched(answer: Answer, url: str = URL) -> tuple[str, bytes]:
    async def main() -> tuple[str, bytes]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            got = await fetch(url, client, allow_local=True)
            assert not client.is_closed  # The client belongs to the caller.
            return got

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "name"),
    [("http://data/a/b.csv?x=1", "b.csv"), ("https://data/", "data.jsonl"), ("http://data", "data.jsonl")],
)
def test_a_fetched_file_has_the_last_name_of_its_path(url: str, name: str) -> None:
    assert fetched(lambda request: httpx.Response(200, content=b"rows"), url) == (name, b"rows")


@pytest.mark.parametrize("redirects", [0, 3, 4])
def test_three_redirects_are_followed(redirects: int) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if len(asked) <= redirects:
            return httpx.Response(307, headers={"location": f"/hop{len(asked)}.jsonl"})
        return httpx.Response(200, content=b"rows")

    if redirects == 4:
        with pytest.raises(ConsoleError, match="more than 3 redirects"):
            fetched(answer)
    else:
        assert fetched(answer) == (f"hop{redirects}.jsonl" if redirects else "x.jsonl", b"rows")
    assert len(asked) == min(redirects, 3) + 1


@pytest.mark.parametrize("url", ["http:///x.jsonl", "https://", "http:x", "HTTP:/x"])
def test_a_url_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(ConsoleError, match="give an http:// or https:// URL"):
        fetched(lambda request: httpx.Response(200), url)


@pytest.mark.parametrize("status", [201, 204, 304, 403, 500])
def test_another_status_than_200_is_no_file(status: int) -> None:
    with pytest.raises(ConsoleError, match=f"data answers with status {status}"):
        fetched(lambda request: httpx.Response(status, content=b"x" if status != 204 else b""))


def test_a_url_may_give_as_many_bytes_as_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MOST_FETCHED", 10)

    def in_pieces(size: int) -> Answer:
        return lambda request: httpx.Response(200, stream=httpx.ByteStream(b"x" * size))

    assert fetched(in_pieces(10)) == ("x.jsonl", b"x" * 10)
    with pytest.raises(TooLarge, match="the file at the URL has more than 0 MiB"):
        fetched(in_pieces(11))


@pytest.mark.parametrize(("says", "why"), [("connection refused", "connection refused"), ("", "ConnectError")])
def test_a_server_that_cannot_be_reached_is_named_with_the_reason(says: str, why: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(says)

    with pytest.raises(ConsoleError) as refused:
        fetched(answer)
    assert str(refused.value) == (f"data cannot be fetched from ({why}): check the URL, and whether its server runs")


@pytest.mark.parametrize("works", [True, False])
def test_without_a_client_one_is_made_that_ignores_the_environment_and_is_closed(
    works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[httpx.AsyncClient, dict[str, object]]] = []
    client_class = httpx.AsyncClient

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if works else 404, content=b"rows")

    def client(**arguments: object) -> httpx.AsyncClient:
        made.append((client_class(transport=httpx.MockTransport(answer)), arguments))
        return made[0][0]

    monkeypatch.setattr(httpx, "AsyncClient", client)
    if works:
        assert asyncio.run(fetch(URL, allow_local=True)) == ("x.jsonl", b"rows")
    else:
        with pytest.raises(ConsoleError, match="404"):
            asyncio.run(fetch(URL, allow_local=True))
    ((used, arguments),) = made
    assert used.is_closed
    assert arguments == {"timeout": 60.0, "trust_env": False}
