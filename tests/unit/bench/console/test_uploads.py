"""Uploads of large files: received parts are kept, the sender continues after them, and the hash of the whole file
decides."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import re
import shutil
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bench.console import uploads
from bench.console.data_files import STAYS_FREE, DataFiles
from bench.console.data_rows import AS_IT_IS, Rows
from bench.console.errors import Conflict, ConsoleError, DiskProblem, NotFound, TooLarge
from bench.console.service import Console
from bench.console.uploads import Uploads
from tests.support.full_disk import full_disk

CONTENT = b"".join(b'{"prompt": "%d"}\n' % n for n in range(200))
HASH = hashlib.sha256(CONTENT).hexdigest()


def uploads_in(folder: Path) -> tuple[Uploads, DataFiles]:
    """A console's uploads, and those of the next console in the same folder."""
    files = DataFiles(folder / "files")
    return Uploads(folder / "uploads", files), files


async def pieces(*parts: bytes, then: type[Exception] | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if then is not None:
        raise then


def receive(ours: Uploads, name: str, at: int | None, *parts: bytes, then: type[Exception] | None = None) -> int:
    content_range = None if at is None else f"bytes {at}-{len(CONTENT) - 1}/{len(CONTENT)}"
    return asyncio.run(ours.receive(name, content_range, pieces(*parts, then=then))).received_bytes


def test_what_arrived_before_the_connection_was_lost_is_kept_for_the_next_console(tmp_path: Path) -> None:
    ours, _ = uploads_in(tmp_path)
    upload = ours.begin("rows.jsonl", len(CONTENT), AS_IT_IS)
    with pytest.raises(ConnectionError):
        receive(ours, upload.id, None, CONTENT[:100], CONTENT[100:150], then=ConnectionError)
    ours, files = uploads_in(tmp_path)
    assert [(half.name, half.received_bytes, half.size_bytes) for half in ours.listed()] == [
        ("rows.jsonl", 150, len(CONTENT))
    ]
    with pytest.raises(Conflict, match="150 bytes have arrived: go on there, not at 100"):
        receive(ours, upload.id, 100, CONTENT[100:])
    with pytest.raises(Conflict, match=f"150 of {len(CONTENT)} bytes have arrived"):
        asyncio.run(ours.finish(upload.id, HASH))
    assert receive(ours, upload.id, 150, CONTENT[150:]) == len(CONTENT)
    assert asyncio.run(ours.finish(upload.id, HASH.upper())) == ["rows.jsonl"]
    assert (ours.listed(), files.path("rows.jsonl").read_bytes()) == ([], CONTENT)
    assert list((tmp_path / "uploads").rglob("*")) == []


def test_a_file_with_another_hash_is_deleted(tmp_path: Path) -> None:
    ours, files = uploads_in(tmp_path)
    upload = ours.begin("rows.jsonl", len(CONTENT), AS_IT_IS)
    receive(ours, upload.id, 0, CONTENT[:-1] + b"!")
    with pytest.raises(ConsoleError, match=f"and the file has {HASH}: it is another file, or was changed"):
        asyncio.run(ours.finish(upload.id, HASH))
    assert (ours.listed(), files.listed()) == ([], [])


def test_of_two_connections_the_later_one_goes_on(tmp_path: Path) -> None:
    ours, _ = uploads_in(tmp_path)
    upload = ours.begin("rows.jsonl", len(CONTENT), AS_IT_IS)

    async def main() -> None:
        waits, resumed = asyncio.Event(), asyncio.Event()

        async def stale() -> AsyncIterator[bytes]:
            waits.set()
            await resumed.wait()
            yield b"stale"

        old = asyncio.create_task(ours.receive(upload.id, None, stale()))
        await waits.wait()
        assert (await ours.receive(upload.id, None, pieces(CONTENT))).received_bytes == len(CONTENT)
        resumed.set()
        with pytest.raises(ConsoleError):
            await old

    asyncio.run(main())
    assert asyncio.run(ours.finish(upload.id, HASH)) == ["rows.jsonl"]


def test_a_connection_that_was_open_when_the_upload_was_to_be_finished_writes_no_more(tmp_path: Path) -> None:
    ours, _ = uploads_in(tmp_path)
    upload = ours.begin("rows.jsonl", len(CONTENT), AS_IT_IS)

    async def main() -> None:
        waits, resumed = asyncio.Event(), asyncio.Event()

        async def stale() -> AsyncIterator[bytes]:
            waits.set()
            await resumed.wait()
            yield b"stale"

        old = asyncio.create_task(ours.receive(upload.id, None, stale()))
        await waits.wait()
        with pytest.raises(Conflict, match=f"0 of {len(CONTENT)} bytes have arrived"):
            await ours.finish(upload.id, HASH)
        resumed.set()
        with pytest.raises(Conflict, match=r"another connection goes on with rows\.jsonl"):
            await old

    asyncio.run(main())
    assert ours.upload(upload.id).received_bytes == 0


def test_more_than_was_said_is_refused_and_what_was_right_stays(tmp_path: Path) -> None:
    ours, _ = uploads_in(tmp_path)
    upload = ours.begin("rows.jsonl", 10, AS_IT_IS)
    with pytest.raises(ConsoleError, match="has 10 bytes as it was begun, and more arrive"):
        asyncio.run(ours.receive(upload.id, None, pieces(b"0" * 11)))
    assert ours.upload(upload.id).received_bytes == 0
    for wrong in ("bytes 0-9/11", "0-9", "bytes a-b/10", "bytes */10"):
        with pytest.raises(ConsoleError, match="write bytes FIRST-LAST/10"):
            asyncio.run(ours.receive(upload.id, wrong, pieces(b"0")))


def test_what_could_not_be_kept_is_refused_before_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = uploads_in(tmp_path)
    with pytest.raises(ConsoleError, match="a data file ends with"):
        ours.begin("run.sh", 10, AS_IT_IS)
    with pytest.raises(ConsoleError, match="is empty"):
        ours.begin("a.txt", 0, AS_IT_IS)
    with pytest.raises(TooLarge, match="more than 2 GiB"):
        ours.begin("a.txt", 2 * 2**30 + 1, AS_IT_IS)
    first = ours.begin("a.txt", 100, AS_IT_IS)

    def usage(path: object) -> object:
        return type("Usage", (), {"free": STAYS_FREE + 150})

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(DiskProblem, match=r"b\.txt needs .* more, and the disk of the runs folder has 512 MiB free"):
        ours.begin("b.txt", 51, AS_IT_IS)
    ours.begin("b.txt", 50, AS_IT_IS)
    ours.remove(first.id)
    monkeypatch.setattr(uploads, "MOST_UPLOADS", 1)
    with pytest.raises(TooLarge, match="1 uploads have not ended"):
        ours.begin("c.txt", 1, AS_IT_IS)


def test_a_full_disk_leaves_what_fitted_and_the_upload_goes_on_when_there_is_room(tmp_path: Path) -> None:
    ours, _ = uploads_in(tmp_path)
    upload = ours.begin("rows.jsonl", len(CONTENT), AS_IT_IS)
    with full_disk(1_000), pytest.raises(OSError, match="too large"):
        receive(ours, upload.id, 0, CONTENT)
    assert ours.upload(upload.id).received_bytes == 1_000
    assert receive(ours, upload.id, 1_000, CONTENT[1_000:]) == len(CONTENT)
    assert asyncio.run(ours.finish(upload.id, HASH)) == ["rows.jsonl"]


def test_a_zip_is_unpacked_at_the_end_and_a_name_of_no_upload_leads_nowhere(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../a.jsonl", CONTENT)
        archive.writestr("b.csv", b"prompt\nx\n")
    ours, files = uploads_in(tmp_path)
    upload = ours.begin("Two.ZIP", len(packed.getvalue()), AS_IT_IS)
    asyncio.run(ours.receive(upload.id, None, pieces(packed.getvalue())))
    assert asyncio.run(ours.finish(upload.id, hashlib.sha256(packed.getvalue()).hexdigest())) == ["a.jsonl", "b.csv"]
    assert files.path("a.jsonl").read_bytes() == CONTENT
    for name in (upload.id, "..", "../files", "", "0" * 16):
        with pytest.raises(NotFound):
            ours.upload(name)
        with pytest.raises(NotFound):
            ours.remove(name)


def test_what_can_never_be_kept_is_no_upload_to_go_on_with(tmp_path: Path) -> None:
    ours, files = uploads_in(tmp_path)
    content = b"PK\x03\x04 no zip"
    upload = ours.begin("z.zip", len(content), AS_IT_IS)
    asyncio.run(ours.receive(upload.id, None, pieces(content)))
    with pytest.raises(ConsoleError, match="the ZIP cannot be read"):
        asyncio.run(ours.finish(upload.id, hashlib.sha256(content).hexdigest()))
    assert (ours.listed(), files.listed()) == ([], [])


def test_bodies_in_base64_become_rows_of_json(tmp_path: Path) -> None:
    body = base64.encodebytes(b'{"messages": [{"role": "user", "content": "a long question that wraps its line"}]}')
    row = b'{"messages":[{"role":"user","content":"a long question that wraps its line"}]}\n'
    files = DataFiles(tmp_path)
    assert files.add("body.txt", body, Rows(whole=True, base64=True)) == ["body.jsonl"]
    assert (tmp_path / "body.jsonl").read_bytes() == row
    line = base64.b64encode(b'{"prompt": "x"}')
    files.add("lines.txt", line + b"\r\n\n" + line, Rows(base64=True))
    assert (tmp_path / "lines.jsonl").read_bytes() == b'{"prompt":"x"}\n' * 2
    for wrong in (b"not base64", base64.b64encode(b"binary"), base64.b64encode(b"[1]")):
        with pytest.raises(ConsoleError, match=r"wrong\.txt, line 2 is not the Base64 of a body in JSON"):
            files.add("wrong.txt", line + b"\n" + wrong, Rows(base64=True))


def test_the_api_sends_a_file_in_parts(user: TestClient, console: Console) -> None:
    begun = user.post("/api/uploads", json={"name": "rows.jsonl", "size_bytes": len(CONTENT)})
    assert (begun.status_code, begun.json()["received_bytes"]) == (201, 0)
    path = f"/api/uploads/{begun.json()['id']}"
    first = {"content-range": f"bytes 0-99/{len(CONTENT)}"}
    assert user.put(path, content=CONTENT[:100], headers=first).json()["received_bytes"] == 100
    again = user.put(path, content=CONTENT[:100], headers=first)
    assert (again.status_code, user.get(path).json()["received_bytes"]) == (409, 100)
    assert [half["id"] for half in user.get("/api/uploads").json()] == [begun.json()["id"]]
    rest = {"content-range": f"bytes 100-{len(CONTENT) - 1}/*"}
    assert user.put(path, content=CONTENT[100:], headers=rest).status_code == 200
    assert user.post(f"{path}/finish", json={"sha256": HASH}).json() == {"names": ["rows.jsonl"]}
    assert console.files.path("rows.jsonl").read_bytes() == CONTENT
    other = user.post("/api/uploads", json={"name": "half.csv", "size_bytes": 10}).json()
    assert "half.csv" in user.get("/data").text
    assert user.post(f"/data/uploads/{other['id']}/remove", follow_redirects=False).status_code == 303
    assert user.delete(f"/api/uploads/{other['id']}").status_code == 404


def test_the_page_of_data_deletes_a_file_by_its_own_button(user: TestClient, console: Console) -> None:
    console.files.add("rows.jsonl", CONTENT)
    (action,) = re.findall(r'action="(/data/[^"]+/remove)"', user.get("/data").text)
    assert user.post(action, follow_redirects=False).status_code == 303
    assert console.files.listed() == []
    assert user.post("/data/nothing/rows.jsonl/remove").status_code == 422


def test_of_what_arrives_a_mebibyte_is_kept_in_memory_at_most(tmp_path: Path) -> None:
    ours, _ = uploads_in(tmp_path)
    mebibyte = 1024 * 1024
    upload = ours.begin("rows.jsonl", 2 * mebibyte, AS_IT_IS)
    written: list[int] = []

    async def halves() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * (mebibyte // 2)
            written.append(ours.upload(upload.id).received_bytes)

    assert asyncio.run(ours.receive(upload.id, None, halves())).received_bytes == 2 * mebibyte
    assert written == [0, mebibyte, mebibyte, 2 * mebibyte]
