"""Lets a command whose reader has closed the pipe (`| head`), or whose log meets a full disk, continue quietly and exit
with its own status."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer


class _Unread(io.FileIO):
    """A file descriptor whose reader may disappear; later output is then dropped. If it is `losable`, output is also
    dropped on any other failure, such as a full disk."""

    losable: bool

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as e:
            if not isinstance(e, BrokenPipeError) and not self.losable:
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)


def survive(*, results: bool = True) -> None:
    """Let stdout and stderr survive closed readers, and stderr a full disk. `results`: stdout carries the user's
    results, so a full disk is an error there."""
    sys.stdout = _surviving(sys.stdout, losable=not results)
    sys.stderr = _surviving(sys.stderr, losable=True)


def _surviving(stream: TextIO | None, *, losable: bool) -> TextIO:
    if stream is None:  # The stream was closed before the program began.
        return Path(os.devnull).open("w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):  # A test's replacement.
        return stream
    stream.flush()
    raw = _Unread(stream.fileno(), "wb", closefd=False)
    raw.losable = losable
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
