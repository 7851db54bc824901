"""Files of requests that the user uploads or lets the console fetch: limited in size, number and unpacked size.

They lie in one folder of the runs folder under names of their own. A ZIP is unpacked: each of its files becomes one.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import orjson

from bench.console.errors import ConsoleError, NotFound, TooLarge
from bench.console.local_addresses import Resolve, public_address, resolved

MOST_BYTES = 64 * 1024 * 1024
"""Of one upload, of what a URL gives, and of what a ZIP unpacks to."""
MOST_FILES = 100
"""In the folder, and in one ZIP."""
FETCH_WITHIN_S = 60.0
MOST_REDIRECTS = 3
PREVIEW_ROWS, PREVIEW_CHARS = 5, 400

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
ENDINGS = (".jsonl", ".json", ".csv", ".txt", ".parquet", ".pem", ".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class DataFile:
    """An uploaded file."""

    name: str
    size_bytes: int


class DataFiles:
    """The folder of uploaded files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def listed(self) -> list[DataFile]:
        """All of them, by name."""
        if not self._folder.is_dir():
            return []
        return [
            DataFile(path.name, path.stat().st_size) for path in sorted(self._folder.iterdir()) if self._is_ours(path)
        ]

    def _is_ours(self, path: Path) -> bool:
        return _NAME.fullmatch(path.name) is not None and not path.is_symlink() and path.is_file()

    def path(self, name: str) -> Path:
        """Where a file lies. Raises NotFound for each name that is not one of them."""
        path = self._folder / name
        if _NAME.fullmatch(name) is None or not self._is_ours(path):
            raise NotFound(f"there is no uploaded file {name!r}")
        return path.resolve()

    def preview(self, name: str) -> list[str]:
        """The first rows, cut."""
        with self.path(name).open("rb") as file:
            rows = islice(file, PREVIEW_ROWS)
            # A character has at most 4 bytes in UTF-8.
            return [row[: PREVIEW_CHARS * 4].decode(errors="replace").rstrip()[:PREVIEW_CHARS] for row in rows]

    def add(self, name: str, content: bytes, *, whole: bool = False) -> list[str]:
        """Keep a file, or the files of a ZIP; returns the names.

        `whole`: each file is one request, a body in JSON or a prompt as text, and those of a ZIP are the rows of one file.
        Else each line is one.
        """
        if len(content) > MOST_BYTES:
            raise TooLarge(f"{name} has more than {MOST_BYTES // 2**20} MiB")
        if content[:4] == b"PK\x03\x04" and not name.endswith(".parquet"):
            if whole:
                rows = b"".join(_one_row(inner, body) for inner, body in _unzipped(content))
                return [self._keep(f"{Path(name).stem}.jsonl", rows)]
            return [self._keep(inner, body) for inner, body in _unzipped(content)]
        if whole:
            return [self._keep(f"{Path(name).stem}.jsonl", _one_row(name, content))]
        return [self._keep(name, content)]

    def _keep(self, name: str, content: bytes) -> str:
        clean = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(name.replace("\\", "/")).name).strip("-.")[-100:]
        if _NAME.fullmatch(clean) is None:
            raise ConsoleError(f"{name!r} is no name for a file")
        if not clean.endswith(ENDINGS):
            raise ConsoleError(f"{name!r}: a data file ends with {', '.join(ENDINGS)}, or is a ZIP of such files")
        if len(self.listed()) >= MOST_FILES and not (self._folder / clean).exists():
            raise TooLarge(f"there are {MOST_FILES} files already: remove some")
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / clean
        path.unlink(missing_ok=True)  # Never through a link that lies there.
        try:
            path.write_bytes(content)
        except OSError:  # Half of a file would be a data set with fewer requests.
            path.unlink(missing_ok=True)
            raise
        return clean

    def remove(self, name: str) -> None:
        """Delete a file. Raises NotFound."""
        self.path(name).unlink()


def _one_row(name: str, content: bytes) -> bytes:
    """A file that is one request, as a row of a data set."""
    try:
        row = orjson.loads(content)
    except orjson.JSONDecodeError as e:
        if not name.endswith(".txt"):
            raise ConsoleError(f"{name!r} is not one JSON document ({e}): choose a line for each request") from e
        row = {"prompt": content.decode(errors="replace")}
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _unzipped(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of a ZIP. What they unpack to is counted as it is unpacked: a ZIP may lie about its sizes."""
    left = MOST_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > MOST_FILES:
                raise TooLarge(f"the ZIP has more than {MOST_FILES} files")
            for member in members:
                with archive.open(member) as file:
                    body = file.read(left + 1)
                if len(body) > left:
                    raise TooLarge(f"the ZIP unpacks to more than {MOST_BYTES // 2**20} MiB")
                left -= len(body)
                yield member.filename, body
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as e:
        raise ConsoleError(f"the ZIP cannot be read: {e}") from e


async def fetch(
    url: str, client: httpx.AsyncClient | None = None, *, allow_local: bool = False, resolve: Resolve = resolved
) -> tuple[str, bytes]:
    """Name and content of what a URL gives, with limits on time, size and redirects; no cookies are sent or kept.

    Raises ConsoleError. `allow_local`: addresses of this machine and its link are fetched from too.
    """
    own = httpx.AsyncClient(timeout=FETCH_WITHIN_S, trust_env=False) if client is None else client
    try:
        for _ in range(MOST_REDIRECTS + 1):
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise ConsoleError("give an http:// or https:// URL")
            own.cookies.clear()
            request = own.build_request("GET", url)
            if not allow_local:
                await _pin(request, resolve)
            async with _sent(own, request) as reply:
                if reply.has_redirect_location:
                    url = urljoin(url, reply.headers["location"])
                    continue
                if reply.status_code != 200:
                    raise ConsoleError(f"{urlsplit(url).hostname} answers with status {reply.status_code}")
                return Path(urlsplit(url).path).name or "data.jsonl", await _limited(reply.aiter_bytes())
        raise ConsoleError(f"more than {MOST_REDIRECTS} redirects")
    except httpx.HTTPError as e:
        why = str(e) or type(e).__name__
        host = urlsplit(url).hostname
        raise ConsoleError(f"{host} cannot be fetched from ({why}): check the URL, and whether its server runs") from e
    finally:
        if client is None:
            with suppress(httpx.HTTPError):
                await own.aclose()


async def _pin(request: httpx.Request, resolve: Resolve) -> None:
    """Let a request go to the address that was checked; the name stays in the header and in the handshake of TLS."""
    url = request.url
    host = url.raw_host.decode()
    address = await public_address(host, url.port or {"http": 80, "https": 443}[url.scheme], resolve)
    request.url = url.copy_with(host=address)
    request.extensions = {**request.extensions, "sni_hostname": host}


@asynccontextmanager
async def _sent(client: httpx.AsyncClient, request: httpx.Request) -> AsyncIterator[httpx.Response]:
    reply = await client.send(request, stream=True, follow_redirects=False)
    try:
        yield reply
    finally:
        await reply.aclose()


async def _limited(chunks: AsyncIterator[bytes]) -> bytes:
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) > MOST_BYTES:
            raise TooLarge(f"the URL gives more than {MOST_BYTES // 2**20} MiB")
    return bytes(content)
