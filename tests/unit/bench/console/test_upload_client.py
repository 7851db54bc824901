"""Sending a file to a console in parts: against a console that keeps everything in memory."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from bench.console import upload_client
from bench.console.data_rows import Rows
from bench.console.upload_client import send
from bench.errors import BenchError, UsageError

TEXT = b"0123456789"
LINES = Rows(whole=False, base64=False)


class MemoryConsole:
    """`replies`: what the next requests get instead of the normal answer: a status with a body, or no answer."""

    def __init__(self, *replies: tuple[int, bytes] | None) -> None:
        self.uploads: dict[str, dict[str, Any]] = {}
        self.data: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[str] = []
        self.finished: dict[str, Any] = {}
        self.replies = deque(replies)

    def begin(self, received: bytes = b"", **about: Any) -> None:
        number = f"{len(self.uploads) + 1:016x}"
        values = {"name": "rows.jsonl", "size_bytes": len(TEXT), "whole": False, "base64": False, "begun": "now"}
        self.uploads[number] = {**values, **about, "id": number}
        self.data[number] = received

    def _upload(self, number: str) -> dict[str, Any]:
        return {**self.uploads[number], "received_bytes": len(self.data[number])}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.requests.append((request.method, path))
        if self.replies:
            reply = self.replies.popleft()
            if reply is None:
                raise httpx.ConnectError("refused")
            return httpx.Response(reply[0], content=reply[1])
        match request.method, path.split("/")[2:]:
            case "GET", []:
                return httpx.Response(200, json=[self._upload(number) for number in self.uploads])
            case "POST", []:
                self.begin(**orjson.loads(request.content))
                return httpx.Response(201, json=self._upload([*self.uploads][-1]))
            case "GET", [number]:
                return httpx.Response(200, json=self._upload(number))
            case "PUT", [number]:
                self.ranges.append(request.headers["content-range"])
                at = int(re.findall(r"\d+", self.ranges[-1])[0])
                if at != len(self.data[number]):
                    return httpx.Response(409, json={"error": "elsewhere"})
                self.data[number] += request.content
                return httpx.Response(200, json=self._upload(number))
            case _, [number, _finish]:
                self.finished = orjson.loads(request.content)
                return httpx.Response(200, json={"names": [f"data-{number[-1]}"]})
        raise AssertionError(path)


def upload(
    console: Callable[[httpx.Request], httpx.Response], path: Path, rows: Rows = LINES
) -> tuple[list[str], list[tuple[int, int]]]:
    """Returns the names and the output."""
    shown: list[tuple[int, int]] = []

    async def main() -> list[str]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(console), base_url="http://c/") as client:
            return await send(client, path, rows, lambda *sizes: shown.append(sizes))

    return asyncio.run(main()), shown


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(upload_client, "PART", 4)
    monkeypatch.setattr(upload_client, "AGAIN_NS", 0)
    (tmp_path / "rows.jsonl").write_bytes(TEXT)
    return tmp_path / "rows.jsonl"


def test_a_file_is_sent_in_parts_and_its_hash_at_the_end(path: Path) -> None:
    console = MemoryConsole()
    assert upload(console, path) == (["data-1"], [(0, 10), (4, 10), (8, 10), (10, 10)])
    assert [*console.data.values()] == [TEXT]
    assert console.ranges == ["bytes 0-3/10", "bytes 4-7/10", "bytes 8-9/10"]
    assert console.finished == {"sha256": hashlib.sha256(TEXT).hexdigest()}


@pytest.mark.parametrize(
    ("about", "rows", "goes_on"),
    [
        ({}, LINES, True),
        ({"whole": True, "base64": True}, Rows(whole=True, base64=True), True),
        ({"name": "other.jsonl"}, LINES, False),
        ({"size_bytes": 11}, LINES, False),
        ({"whole": True}, LINES, False),
        ({"base64": True}, LINES, False),
    ],
)
def test_an_upload_that_was_begun_goes_on_if_it_is_the_same_file_in_the_same_form(
    path: Path, about: dict[str, Any], rows: Rows, goes_on: bool
) -> None:
    console = MemoryConsole()
    console.begin(TEXT[:8], **about)
    names, shown = upload(console, path, rows)
    assert names == ["data-1" if goes_on else "data-2"]
    assert shown[0] == ((8, 10) if goes_on else (0, 10))
    assert console.data[f"{1 if goes_on else 2:016x}"] == TEXT


def test_a_part_that_arrived_before_its_answer_was_lost_is_not_sent_again(path: Path) -> None:
    console = MemoryConsole()
    console.begin(TEXT[:4])
    real = console.__call__

    def loses_one(request: httpx.Request) -> httpx.Response:
        reply = real(request)
        if console.ranges == ["bytes 4-7/10"] and request.method == "PUT":
            raise httpx.ReadError("")
        return reply

    assert upload(loses_one, path)[1] == [(4, 10), (8, 10), (10, 10)]
    assert console.ranges == ["bytes 4-7/10", "bytes 4-7/10", "bytes 8-9/10"]
    assert ("GET", f"/uploads/{1:016x}") in console.requests
    assert [*console.data.values()] == [TEXT]


@pytest.mark.parametrize("lost", [59, 60])
def test_a_console_that_does_not_answer_is_asked_60_times(path: Path, lost: int) -> None:
    console = MemoryConsole(*[None] * lost)
    if lost < 60:
        assert upload(console, path)[0] == ["data-1"]
        return
    with pytest.raises(BenchError, match=r"does not answer any more \(refused\): the same command goes on later"):
        upload(console, path)
    assert len(console.requests) == 60


@pytest.mark.parametrize(
    ("status", "body", "error", "sentence"),
    [
        (413, b'{"error": "too large"}', UsageError, "too large"),
        (499, b'{"error": "no"}', UsageError, "no"),
        (409, b'{"error": "only a part may lie elsewhere"}', UsageError, "only a part may lie elsewhere"),
        (500, b'{"error": "broken"}', BenchError, "broken"),
        (502, b"<html>", BenchError, "the console answers with status 502"),
        (404, b"{}", BenchError, "the console answers with status 404"),
        (404, b"[]", BenchError, "the console answers with status 404"),
    ],
)
def test_an_error_of_the_console_is_told_in_its_sentence(
    path: Path, status: int, body: bytes, error: type[BenchError], sentence: str
) -> None:
    with pytest.raises(BenchError) as raised:
        upload(MemoryConsole((status, body)), path)
    assert (type(raised.value), str(raised.value)) == (error, sentence)


def test_a_file_that_became_shorter_or_cannot_be_read_is_named(path: Path) -> None:
    console = MemoryConsole()
    console.begin(TEXT, size_bytes=10)
    console.data[f"{1:016x}"] = TEXT[:8]

    def shortens(request: httpx.Request) -> httpx.Response:
        path.write_bytes(TEXT[:8])
        return console(request)

    with pytest.raises(UsageError, match=r"rows\.jsonl became shorter while it was sent"):
        upload(shortens, path)
    path.unlink()
    with pytest.raises(UsageError, match=r"rows\.jsonl cannot be read: No such file or directory"):
        upload(console, path)
