"""Reads a file of settings whole, and refuses what never ends: a pipe that nobody writes to, a device such as /dev/zero."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from pathlib import Path

MOST_OF_A_STREAM = 64 << 20
"""Bytes that are read of what is no plain file: a pipe of the shell (`<(command)`), a device. Any plain file has an end."""
_OPEN_ALREADY = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")
"""Pipes that the shell has opened, with a writer at their other end."""


_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}

DATA_FOLDER = "TRUELOAD_DATA_FOLDER"
"""An environment variable. If it is set, data may name files of this folder alone. A console sets it for its tasks, whose
data anyone with its token may have written."""


class UnreadableFile(OSError):
    """A file that is not read. `strerror` says why, as with any other."""


def read_bytes(path: Path) -> bytes:
    """All of it. Raises OSError, UnreadableFile too."""
    kind = path.stat().st_mode
    if stat.S_ISFIFO(kind) and not str(path).startswith(_OPEN_ALREADY):
        raise UnreadableFile(
            errno.EINVAL, "it is a named pipe, which may have no writer and no end: save it to a file", path
        )
    if stat.S_ISREG(kind):
        return path.read_bytes()
    with path.open("rb") as file:
        content = file.read(MOST_OF_A_STREAM + 1)
    if len(content) > MOST_OF_A_STREAM:
        told = f"it is not a plain file, and has no end within {MOST_OF_A_STREAM >> 20} MiB: save it to a file"
        raise UnreadableFile(errno.EINVAL, told, path)
    return content


def read_named(name: str) -> bytes:
    """All of a file that a text or a row of data names behind @. Raises OSError, UnreadableFile too."""
    path, folder = Path(name), os.environ.get(DATA_FOLDER)
    if folder is not None and Path(folder).resolve() not in path.resolve().parents:
        raise UnreadableFile(
            errno.EACCES, "data of a console names no file of this machine: write its content there", path
        )
    return read_bytes(path)


def read_text(path: Path) -> str:
    """All of it, as UTF-8 with or without a byte order mark, with line feeds at the ends of lines. Raises OSError."""
    content = read_bytes(path)
    refuse_encoded(content, path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = content.count(b"\n", 0, e.start) + 1
        raise UnreadableFile(errno.EILSEQ, f"line {line} is not UTF-8: save the file as UTF-8", path) from e
    return text.replace("\r\n", "\n").replace("\r", "\n")


def load_yaml(path: Path) -> object:
    """The content of a YAML file. Raises OSError, yaml.YAMLError, ValueError and RecursionError."""
    return parse_yaml(read_text(path))


def parse_yaml(text: str) -> object:
    """The content of a YAML text. Raises yaml.YAMLError, ValueError and RecursionError."""
    import yaml  # Only here: most files are no YAML.

    try:
        return yaml.safe_load(text)
    except OverflowError:
        raise ValueError("an escape (\\U) stands for a character that does not exist") from None


def yaml_problem(error: Exception) -> str:
    """Where a file stops being YAML, and why, in one line that goes on after its name."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or " ".join(str(error).split())[:200]
    place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
    # What the parser says of the two most common mistakes does not name them.
    hint = (
        " (a line that is indented too far, or a value with a colon and without quotes?)"
        if "mapping values" in said
        else ""
    )
    return f"{place}: not YAML: {said}{hint}"


def refuse_encoded(begin: bytes, path: Path) -> None:
    """Raises UnreadableFile for what begins (4 bytes are enough) with the byte order mark of UTF-16, as PowerShell and Excel
    write files, or is compressed."""
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UnreadableFile(errno.EILSEQ, "it is UTF-16: save it as UTF-8", path)
    for magic, name in _COMPRESSED.items():
        if begin.startswith(magic):
            raise UnreadableFile(errno.EILSEQ, f"it is compressed with {name}: unpack it", path)


def ensure_plain(path: Path) -> None:
    """Raises UnreadableFile for what cannot be read more than once, and OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnreadableFile(
            errno.EINVAL, "it is not a plain file, and is read more than once: save it to a file", path
        )
