"""Files of requests that the user uploads or the console fetches, with limits on size, count and unpacked size.

They are stored in one folder inside the runs folder, each under a unique name. A ZIP is unpacked into separate data
files. A file may exceed memory, so files are moved, unpacked and read in pieces.
"""

from __future__ import annotations

import errno
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from bench.console.data_rows import AS_IT_IS, Readable, Rows
from bench.console.errors import ConsoleError, DiskProblem, NotFound, TooLarge
from bench.console.language import tr

MOST_BYTES = 64 * 1024 * 1024
"""Of a file that is sent in a single request."""
MOST_UPLOADED = 2 * 1024**3
"""Bytes of one file, and of the unpacked content of a ZIP."""
MOST_FILES = 100
"""In the folder, and in one ZIP."""
STAYS_FREE = 512 * 1024 * 1024
"""Bytes of disk space that data files must leave free for the records of running tasks."""
PREVIEW_ROWS, PREVIEW_CHARS = 5, 400
_PREVIEW_BYTES = 64 * 1024
_PIECE = 1024 * 1024

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
"""The first bytes of a ZIP, and of an empty ZIP."""
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
        """All files, by name."""
        if not self._folder.is_dir():
            return []
        return [
            DataFile(path.name, path.stat().st_size) for path in sorted(self._folder.iterdir()) if self._is_ours(path)
        ]

    def _is_ours(self, path: Path) -> bool:
        return _NAME.fullmatch(path.name) is not None and not path.is_symlink() and path.is_file()

    def path(self, name: str) -> Path:
        """The path of a file. Raises NotFound if the name is not that of an uploaded file."""
        path = self._folder / name
        if _NAME.fullmatch(name) is None or not self._is_ours(path):
            raise NotFound(tr("there is no uploaded file %(name)s", name=repr(name)))
        return path.resolve()

    def preview(self, name: str) -> list[str]:
        """The first rows, truncated."""
        with self.path(name).open("rb") as file:
            rows = file.read(_PREVIEW_BYTES).removesuffix(b"\n").split(b"\n")[:PREVIEW_ROWS]
        # A UTF-8 character has at most 4 bytes.
        return [row[: PREVIEW_CHARS * 4].decode(errors="replace").rstrip()[:PREVIEW_CHARS] for row in rows]

    def add(self, name: str, content: bytes, rows: Rows = AS_IT_IS) -> list[str]:
        """Store content as a file, like `take`."""
        if len(content) > MOST_BYTES:
            raise TooLarge(tr("%(name)s has more than %(size)s", name=name, size=_size(MOST_BYTES)))
        self._folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".aside-", dir=self._folder) as aside:
            (arrived := Path(aside, "data")).write_bytes(content)
            return self.take(name, arrived, rows)

    def take(self, name: str, path: Path, rows: Rows = AS_IT_IS) -> list[str]:
        """Move a file on the same disk into the folder, or unpack a ZIP. Returns the new names. After an error, nothing
        of it is kept.

        `rows` defines how the file is split into requests. Unless it is the default, all files of a ZIP become the rows
        of one file.
        """
        if path.stat().st_size > MOST_UPLOADED:
            raise TooLarge(tr("%(name)s has more than %(size)s", name=name, size=_size(MOST_UPLOADED)))
        with path.open("rb") as file:
            packed = file.read(4) in _ZIP and not name.endswith(".parquet")
        if not packed and name.lower().endswith(".zip"):
            raise ConsoleError(
                tr("%(name)s is not a ZIP file, or it is damaged: upload it again, or the data itself", name=repr(name))
            )
        if not packed and rows == AS_IT_IS:
            return self._moved([(clean_name(name), path)])
        self._folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".aside-", dir=self._folder) as aside, path.open("rb") as file:
            inner: Iterator[tuple[str, Readable]] = _unzipped(file, self._folder) if packed else iter([(name, file)])
            if rows != AS_IT_IS:
                target = Path(aside, "rows")
                with target.open("wb") as out:
                    out.writelines(row for each, content in inner for row in rows.read(each, content))
                return self._moved([(clean_name(f"{Path(name).stem}.jsonl"), target)])
            unpacked = []
            for number, (each, content) in enumerate(inner):
                unpacked.append((clean_name(each), Path(aside, f"{number}")))
                with unpacked[-1][1].open("wb") as out:
                    out.writelines(iter(partial(content.read, _PIECE), b""))
            names = [each for each, _ in unpacked]
            if twice := [each for each in names if names.count(each) > 1]:
                raise ConsoleError(
                    tr("the ZIP has several files called %(name)s: give them other names", name=twice[0])
                )
            return self._moved(unpacked)

    def _moved(self, files: list[tuple[str, Path]]) -> list[str]:
        names = [name for name, _ in files]
        if len({*names, *(file.name for file in self.listed())}) > MOST_FILES:
            raise TooLarge(tr("there may be %(n)s files in all: remove some", n=MOST_FILES))
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, path in files:
            path.replace(self._folder / name)  # Never writes through a symlink of that name.
        return names

    def remove(self, name: str) -> None:
        """Delete a file. Raises NotFound."""
        self.path(name).unlink()


def clean_name(name: str) -> str:
    """The name to store a file under. Raises ConsoleError if nothing valid is left or the extension is not that of a
    data file."""
    basename = Path(name.replace("\\", "/")).name
    clean = re.sub(r"[^A-Za-z0-9._-]+", "-", basename).strip("-.")[-100:]
    # Of a name in another alphabet, only the extension remains.
    if (ending := f".{clean}") in ENDINGS and not basename.startswith(ending):
        clean = f"data-{zlib.crc32(basename.encode(errors='replace')):08x}.{clean}"
    if _NAME.fullmatch(clean) is None:
        raise ConsoleError(tr("%(name)s is not a valid file name", name=repr(name)))
    if not clean.endswith(ENDINGS):
        known = ", ".join(ENDINGS)
        raise ConsoleError(
            tr("%(name)s: a data file ends with %(endings)s, or is a ZIP of such files", name=repr(name), endings=known)
        )
    return clean


def ensure_room(folder: Path, name: str, size_bytes: int) -> None:
    """Raises DiskProblem if the folder's disk has no room for a file of this size."""
    free = shutil.disk_usage(folder).free
    if size_bytes + STAYS_FREE > free:
        raise DiskProblem(
            tr(
                "%(name)s needs %(size)s more, and the disk of the runs folder has %(free)s free, of which "
                "%(kept)s stay for the records of tasks: delete files or tasks first",
                name=name,
                size=_size(size_bytes),
                free=_size(free),
                kept=_size(STAYS_FREE),
            )
        )


def _size(count: int) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 2**30 else f"{count // 2**20} MiB"


class _Unpacked:
    """A file inside a ZIP. `zipfile` never reads more of it than the size that the ZIP states."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        with _damage_told():
            return self._file.read(size)

    def readline(self, size: int) -> bytes:
        with _damage_told():
            return self._file.readline(size)


def _unzipped(packed: IO[bytes], folder: Path) -> Iterator[tuple[str, Readable]]:
    """Yield the files of a ZIP; read each before taking the next. Raises DiskProblem if this folder has no room for them."""
    with _damage_told(), zipfile.ZipFile(packed) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) > MOST_FILES:
            raise TooLarge(tr("the ZIP has more than %(n)s files", n=MOST_FILES))
        if not members:
            raise ConsoleError(tr("the ZIP has no file"))
        if links := [member.filename for member in members if stat.S_ISLNK(member.external_attr >> 16)]:
            raise ConsoleError(tr("the ZIP has a link, %(name)s: pack the file itself", name=repr(links[0])))
        if (unpacked := sum(member.file_size for member in members)) > MOST_UPLOADED:
            raise TooLarge(tr("the ZIP unpacks to more than %(size)s", size=_size(MOST_UPLOADED)))
        ensure_room(folder, tr("the unpacked ZIP"), unpacked)
        for member in members:
            with archive.open(member) as file:
                yield member.filename, _Unpacked(file)


@contextmanager
def _damage_told() -> Iterator[None]:
    """Turn any error that a damaged ZIP raises into one sentence. Each compression method has its own exceptions."""
    try:
        yield
    except ConsoleError:
        raise
    except Exception as e:
        # A seek before the start of the file gives EINVAL, and bzip2's errors have no errno. Other OSErrors come from
        # the disk.
        if isinstance(e, OSError) and e.errno not in (None, errno.EINVAL):
            raise
        raise ConsoleError(tr("the ZIP cannot be read: %(why)s", why=str(e) or "it is cut off")) from e
