"""A command line with addresses of object stores, which are replaced by local paths for the command.

`--out s3://...`: the command writes to a new local directory, which is copied when the command ends, however it ends.
The local directory stays. Every other address (data, runs to read) is first copied to the user's cache. If a command
adds to it (`--resume`, `gate --baseline --update`), it is copied back.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.errors import PRECEDENCE, Exit, UsageError
from bench.machine import machine_cache
from bench.stores import transfer

_OUT, _RESUME, _BASELINE, _UPDATE = "--out", "--resume", "--baseline", "--update"
_WRITES_DIRECTORIES = ("calibrate", "compare", "quality", "run", "search", "sweep", "tune")
"""The commands whose --out is a directory."""


class Placed:
    """A command line with local paths. `finish` copies the results."""

    def __init__(self, command: str, words: Sequence[str]) -> None:
        """Copy what the command will read. Raises UsageError."""
        self._command = command
        self._writes = (_RESUME, *([_BASELINE] if _UPDATE in words else []))
        self.words: list[str] = []
        self._copies: list[tuple[Path, str]] = []
        self._added: list[Path] = []
        before = ""
        for word in words:
            flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
            if not transfer.is_address(value):
                self.words.append(word)
            else:
                self.words.append(f"{flag}{equals}{self._local(flag or before, transfer.checked(value))}")
            before = word
        # Only once every word has its path, so that a command that does not begin leaves no marker.
        for place in self._added:
            place.parent.mkdir(parents=True, exist_ok=True)
            transfer.not_copied(place).touch()

    def _local(self, flag: str, address: str) -> Path:
        name = address.rpartition("/")[2]
        if flag != _OUT:
            scheme, _, key = address.partition("://")
            place = machine_cache.default_path("stores") / scheme / key
            if transfer.not_copied(place).exists():
                raise UsageError(
                    f"{address}: what an earlier command added was not copied there: it is in {place}. "
                    f"Copy it with: {_put(place, address)}"
                )
            transferred("get", address, str(place))
            if flag in self._writes:
                self._added.append(place)
                self._copies.append((place, address))
            return place
        if self._command not in _WRITES_DIRECTORIES:
            raise UsageError(f"--out {address}: {self._command} writes a file: name a local one")
        from bench.load_test import default_directory

        place = default_directory(name)
        transferred("check", address)
        self._copies.append((place, address))
        return place

    def finish(self, status: int) -> int:
        """Copy the results of a command that ended with this status. Returns the overall status."""
        for folder, address in self._copies:
            if not folder.exists():
                continue
            try:
                print(transferred("put", str(folder), address), file=sys.stderr)
            except (UsageError, KeyboardInterrupt) as e:
                why = str(e) or "interrupted"
                print(
                    f"error: the results could not be copied ({why}). Nothing is lost: they are in {folder}. "
                    f"Copy them with: {_put(folder, address)}",
                    file=sys.stderr,
                )
                status = min(status, Exit.USAGE, key=PRECEDENCE.index)
        return status


def _put(folder: Path, address: str) -> str:
    return shlex.join([sys.executable, "-m", "bench.stores.transfer", "put", str(folder), address])


@contextmanager
def placed(command: str, words: Sequence[str]) -> Iterator[Placed]:
    """The words after a command, with local paths; if the command raises, its results are still copied."""
    line = Placed(command, words)
    try:
        yield line
    except BaseException:
        line.finish(Exit.GOOD)
        raise


def transferred(*words: str) -> str:
    """Run the program that copies. Returns its output; raises UsageError with its sentence."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.stores.transfer", *words], capture_output=True, text=True, check=False
    )
    if done.returncode != Exit.GOOD:
        lines = done.stderr.strip().splitlines()
        raise UsageError(lines[-1] if lines else f"{words[1]}: the copying was ended (status {done.returncode})")
    return done.stdout.strip()
