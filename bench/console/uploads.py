"""Uploads of large files: written to disk as they arrive, and resumable after a lost connection or a restart of the
console.

An upload is a directory: about.json describes the file, `data` holds the bytes received so far. The sender resumes at
the length of `data`, and finally sends the SHA-256 of the whole file.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from bench.clock import utc_now
from bench.console.data_files import MOST_UPLOADED, DataFiles, clean_name, ensure_room
from bench.console.data_rows import Rows
from bench.console.errors import Conflict, ConsoleError, DiskProblem, NotFound, TooLarge
from bench.console.language import tr
from bench.console.people import USER
from bench.rng import secret_token

MOST_UPLOADS = 20
"""Unfinished uploads."""
_WRITTEN_AT_ONCE = 1024 * 1024
_ABOUT, _DATA = "about.json", "data"
_ID = re.compile(r"[0-9a-f]{16}")
_RANGE = re.compile(r"bytes (\d{1,18})-(\d+)/(\d+|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that has not completely arrived."""

    id: str
    name: str
    size_bytes: int
    received_bytes: int
    whole: bool
    base64: bool
    begun: str
    by: str | None = None


@dataclass(slots=True)
class _Writer:
    """Decides which connection may write to an upload: the latest."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    turn: int = 0


class Uploads:
    """The unfinished uploads of one console."""

    def __init__(self, folder: Path, files: DataFiles) -> None:
        self._folder = folder
        self._files = files
        self._writers: dict[str, _Writer] = {}

    def listed(self) -> list[Upload]:
        """All uploads, the earliest first."""
        names = [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
        uploads = [upload for name in names if (upload := self._read(name)) is not None]
        return sorted(uploads, key=lambda upload: (upload.begun, upload.id))

    def upload(self, name: str) -> Upload:
        """One upload. Raises NotFound."""
        if (upload := self._read(name)) is None:
            raise NotFound(tr("there is no upload %(name)s: it has ended, or was deleted", name=repr(name)))
        return upload

    def _read(self, name: str) -> Upload | None:
        path = self._folder / name
        if _ID.fullmatch(name) is None or path.is_symlink():
            return None
        try:
            about = orjson.loads((path / _ABOUT).read_bytes())
            return Upload(**about, received_bytes=(path / _DATA).stat().st_size)
        except (OSError, ValueError, TypeError):  # Left incomplete by a full disk.
            return None

    def begin(self, name: str, size_bytes: int, rows: Rows) -> Upload:
        """Begin an empty upload. Raises ConsoleError if the finished file could not be stored."""
        if not name.lower().endswith(".zip"):
            clean_name(name)
        if size_bytes < 1:
            raise ConsoleError(tr("%(name)s is empty", name=name))
        if size_bytes > MOST_UPLOADED:
            raise TooLarge(tr("%(name)s has more than %(size)s", name=name, size=f"{MOST_UPLOADED // 2**30} GiB"))
        waiting = self.listed()
        if len(waiting) >= MOST_UPLOADS:
            raise TooLarge(tr("%(n)s uploads have not ended: go on with one, or delete some", n=MOST_UPLOADS))
        self._folder.mkdir(parents=True, exist_ok=True)
        promised = sum(upload.size_bytes - upload.received_bytes for upload in waiting)
        ensure_room(self._folder, name, size_bytes + promised)
        identity = hashlib.sha256(secret_token().encode()).hexdigest()[:16]
        path = self._folder / identity
        begun = utc_now().isoformat(timespec="seconds")
        upload = Upload(
            id=identity, name=name, size_bytes=size_bytes, received_bytes=0, begun=begun, by=USER.get(), **asdict(rows)
        )
        path.mkdir()
        try:
            (path / _DATA).touch()
            about = {key: value for key, value in asdict(upload).items() if key != "received_bytes"}
            (path / _ABOUT).write_bytes(orjson.dumps(about))
        except OSError:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return upload

    async def receive(self, name: str, content_range: str | None, pieces: AsyncIterator[bytes]) -> Upload:
        """Append the pieces as they arrive; they are kept if the connection is lost. Raises Conflict if they do not
        begin at the end of the received data, or if another connection has taken over."""
        upload, writer = self.upload(name), self._writers.setdefault(name, _Writer())
        async with writer.lock:
            writer.turn += 1
            turn, at = writer.turn, (self._folder / name / _DATA).stat().st_size
        begins = _begin_of(content_range, upload.size_bytes)
        if begins != at:
            sentence = tr(
                "of %(name)s, %(n)s bytes have arrived: go on there, not at %(at)s", name=upload.name, n=at, at=begins
            )
            raise Conflict(sentence)
        await asyncio.to_thread(ensure_room, self._folder, upload.name, upload.size_bytes - at)
        waiting = bytearray()
        try:
            async for piece in pieces:
                waiting += piece
                if at + len(waiting) > upload.size_bytes:
                    waiting.clear()
                    raise ConsoleError(
                        tr(
                            "%(name)s has %(n)s bytes as it was begun, and more arrive",
                            name=upload.name,
                            n=upload.size_bytes,
                        )
                    )
                if len(waiting) >= _WRITTEN_AT_ONCE:
                    at = await self._write(upload, writer, turn, waiting)
        finally:
            if waiting:
                await self._write(upload, writer, turn, waiting)
        return self.upload(name)

    async def _write(self, upload: Upload, writer: _Writer, turn: int, waiting: bytearray) -> int:
        """Append and clear `waiting`. Returns the new length."""
        content = bytes(waiting)
        waiting.clear()
        async with writer.lock:
            if writer.turn != turn:
                raise Conflict(tr("another connection goes on with %(name)s", name=upload.name))
            return await asyncio.to_thread(_append, self._folder / upload.id / _DATA, content)

    async def finish(self, name: str, sha256: str) -> list[str]:
        """Check the hash of the received data and store it as a data file. Returns the names of its files.

        Raises Conflict if data is missing. If the hash differs, the upload is deleted.
        """
        upload, writer = self.upload(name), self._writers.setdefault(name, _Writer())
        async with writer.lock:
            writer.turn += 1
            return await asyncio.to_thread(self._kept, upload, sha256.strip().lower())

    def _kept(self, upload: Upload, sha256: str) -> list[str]:
        path = self._folder / upload.id
        if self.upload(upload.id).received_bytes != upload.size_bytes:
            raise Conflict(
                tr(
                    "of %(name)s, %(n)s of %(size)s bytes have arrived",
                    name=upload.name,
                    n=self.upload(upload.id).received_bytes,
                    size=upload.size_bytes,
                )
            )
        with (path / _DATA).open("rb") as file:
            arrived = hashlib.file_digest(file, "sha256").hexdigest()
        if arrived != sha256:
            self.remove(upload.id)
            raise ConsoleError(
                tr(
                    "what arrived of %(name)s has the SHA-256 %(arrived)s, and the file has %(sha256)s: it is another file, "
                    "or was changed meanwhile. Upload it again",
                    name=upload.name,
                    arrived=arrived,
                    sha256=sha256 or "none",
                )
            )
        try:
            names = self._files.take(upload.name, path / _DATA, Rows(upload.whole, upload.base64))
        except (DiskProblem, TooLarge):  # There may be room once the user has removed something.
            raise
        except ConsoleError:
            self.remove(upload.id)
            raise
        self.remove(upload.id)
        return names

    def remove(self, name: str) -> None:
        """Delete the received data. Raises NotFound."""
        if _ID.fullmatch(name) is None or not (self._folder / name).is_dir():
            raise NotFound(tr("there is no upload %(name)s: it has ended, or was deleted", name=repr(name)))
        shutil.rmtree(self._folder / name)
        self._writers.pop(name, None)


def _begin_of(content_range: str | None, size_bytes: int) -> int:
    """The first byte of a Content-Range; 0 without one. Raises ConsoleError."""
    if content_range is None:
        return 0
    match = _RANGE.fullmatch(content_range.strip())
    if match is None or match[3] not in ("*", str(size_bytes)):
        value = repr(content_range)
        raise ConsoleError(tr("Content-Range %(given)s: write bytes FIRST-LAST/%(size)s", given=value, size=size_bytes))
    return int(match[1])


def _append(path: Path, content: bytes) -> int:
    """Append content. Returns the length of the file. A full disk keeps the part that fitted."""
    with path.open("r+b", buffering=0) as file:
        at = file.seek(0, 2)
        while content:
            written = file.write(content)
            at, content = at + written, content[written:]
        return at
