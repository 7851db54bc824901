"""Reads whole files, and refuses endless ones: a pipe without a writer, a device such as /dev/zero."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from pathlib import Path

MOST_OF_A_STREAM = 64 << 20
"""The maximum bytes read from a file that is not a regular file: a pipe of the shell (`<(command)`), a device."""
_OPEN_ALREADY = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")
"""Pipes that the shell has opened, with a writer at the other end."""


_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}

DATA_FOLDER = "TRUELOAD_DATA_FOLDER"
"""An environment variable. If it is set, data may name only files in this folder. A console sets it for its tasks,
whose data may come from anyone with its token."""


class UnreadableFile(OSError):
    """A file that is refused. `strerror` says why, as in any OSError."""


def read_bytes(path: Path) -> bytes:
    """The whole file. Raises OSError, including UnreadableFile."""
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
        reason = f"it is not a plain file, and has no end within {MOST_OF_A_STREAM >> 20} MiB: save it to a file"
        raise UnreadableFile(errno.EINVAL, reason, path)
    return content


def read_named(name: str) -> bytes:
    """The whole file that a text or a data row names after @. Raises OSError, including UnreadableFile."""
    path, folder = Path(name), os.environ.get(DATA_FOLDER)
    if folder is not None and Path(folder).resolve() not in path.resolve().parents:
        raise UnreadableFile(
            errno.EACCES, "data of a console names no file of this machine: write its content there", path
        )
    return read_bytes(path)


def read_text(path: Path) -> str:
    r"""The whole file, as UTF-8 with or without a byte order mark, with line ends converted to \n. Raises OSError."""
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
    import yaml  # Imported only here, because most files are not YAML.

    try:
        return yaml.safe_load(text)
    except OverflowError:
        raise ValueError("an escape (\\U) stands for a character that does not exist") from None


def yaml_problem(error: Exception) -> str:
    """Where and why a file is not valid YAML, in one line to append to its name."""
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or " ".join(str(error).split())[:200]
    place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
    # The parser's messages do not name the two most common mistakes.
    hint = (
        " (a line that is indented too far, or a value with a colon and without quotes?)"
        if "mapping values" in reason
        else ""
    )
    return f"{place}: not YAML: {reason}{hint}"


def refuse_encoded(begin: bytes, path: Path) -> None:
    """Raises UnreadableFile for a file that begins (4 bytes are enough) with the UTF-16 byte order mark, which
    PowerShell and Excel write, or is compressed."""
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UnreadableFile(errno.EILSEQ, "it is UTF-16: save it as UTF-8", path)
    for magic, name in _COMPRESSED.items():
        if begin.startswith(magic):
            raise UnreadableFile(errno.EILSEQ, f"it is compressed with {name}: unpack it", path)


def ensure_plain(path: Path) -> None:
    """Raises UnreadableFile for a file that cannot be read more than once, and OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnreadableFile(
            errno.EINVAL, "it is not a plain file, and is read more than once: save it to a file", path
        )
