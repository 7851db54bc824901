"""Lets other processes change a running run, through a Unix socket in its directory that only the same user may use.

One line of JSON each way: `{"load": 20, "by": "terminal"}` asks to set the load (null: to report it), and the reply is
`{"load": ..., "unit": ..., "at_s": ...}` or `{"refused": a sentence}`. A thread of the run reads and writes. It calls
into the measuring loop in between; the loop does no I/O.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import selectors
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench import manifest
from bench.clock import Clock
from bench.errors import UsageError
from bench.load.load_control import LoadControl
from bench.run_files.run_directory import CONTROL, RunDirectory
from bench.run_files.run_state import RunState

MOST_BYTES = 4_096
ANSWER_WITHIN_S = 5.0
_LONGEST_PATH = 100
"""Bytes that fit in the address of a Unix socket: 104 on some systems, 108 on Linux."""
_FAMILY: int | None = getattr(socket, "AF_UNIX", None)
_BEFORE = (RunState.PREPARING, RunState.PROBING)


@dataclass(frozen=True, slots=True)
class PresentLoad:
    """A run's reply: its load and, if it was changed, since when, in seconds from the start of the load."""

    load: float
    unit: str
    at_s: float | None

    def __str__(self) -> str:
        return f"{self.load:g} {self.unit}"


class ControlSocket:
    """Answers other processes from a thread while a load runs. `answer(load, by)` is called in the event loop."""

    def __init__(self, directory: Path, answer: Callable[[float | None, str], dict[str, Any]]) -> None:
        """Raises OSError if the directory cannot hold a socket."""
        if _FAMILY is None:
            raise OSError(errno.EAFNOSUPPORT, "this system has no sockets with a path")
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._path = directory / CONTROL
        self._socket = socket.socket(_FAMILY, socket.SOCK_STREAM)
        try:
            with _short(self._path) as address:
                self._socket.bind(address)
            self._path.chmod(0o600)
            self._socket.listen(8)
        except OSError:
            self._socket.close()
            raise
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._wake.close()
        self._thread.join(timeout=1.0)
        with suppress(OSError):
            self._path.unlink()

    def _serve(self) -> None:
        with self._socket, self._woken, selectors.DefaultSelector() as ready:
            ready.register(self._woken, selectors.EVENT_READ)
            ready.register(self._socket, selectors.EVENT_READ)
            while not any(key.fileobj is self._woken for key, _ in ready.select()):
                try:
                    connection = self._socket.accept()[0]
                except OSError:  # No file descriptor is left: wait before trying again, to avoid a busy loop.
                    ready.unregister(self._socket)
                    if ready.select(timeout=1.0):
                        return
                    ready.register(self._socket, selectors.EVENT_READ)
                    continue
                with connection, suppress(OSError):
                    connection.settimeout(ANSWER_WITHIN_S)
                    connection.sendall(orjson.dumps(self._reply(connection), option=orjson.OPT_APPEND_NEWLINE))

    def _reply(self, connection: socket.socket) -> dict[str, Any]:
        question = _line(connection)  # Always read first: closing with unread data would also discard the reply.
        if not _same_user(connection):
            return {"refused": "only the user who started the run may change it"}
        try:
            asked = orjson.loads(question)
            load, by = asked["load"], str(asked["by"])[:40]
            load = None if load is None else float(load)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return {"refused": "not a question that this version understands"}
        answered: Future[dict[str, Any]] = Future()

        def ask() -> None:
            try:
                answered.set_result(self._answer(load, by))
            except UsageError as e:
                answered.set_result({"refused": str(e)})
            except Exception as e:
                answered.set_exception(e)
                raise

        try:
            self._loop.call_soon_threadsafe(ask)
            return answered.result(timeout=ANSWER_WITHIN_S)
        except Exception as e:  # The loop has ended, or hangs.
            return {"refused": f"the run did not answer ({type(e).__name__}): it may have ended"}


def open_door(directory: Path, control: LoadControl, clock: Clock, say: Callable[[str], None]) -> ControlSocket | None:
    """Let other processes set the load. If no socket can be made, the run continues without it and says so."""

    def answer(load: float | None, by: str) -> dict[str, Any]:
        if load is None:
            return {"load": control.load_at(clock.now_ns()), "unit": control.unit, "at_s": None}
        change = control.set_load(load, by)
        return {"load": change.after, "unit": control.unit, "at_s": control.since_start_s(change)}

    try:
        return ControlSocket(directory, answer)
    except (OSError, AttributeError) as e:  # Some systems have no such sockets.
        say(f"note: the load cannot be changed from outside: there can be no socket ({e})")
        return None


def ask(path: Path, load: float | None, by: str) -> PresentLoad:
    """Set the load of the run in this directory; with None, only query it. Raises UsageError with one sentence."""
    if load is not None and not math.isfinite(load):
        raise UsageError(f"{load} is not a load: give a number")
    directory = RunDirectory.open(path)
    run = manifest.read(directory)
    if not directory.is_held:
        raise UsageError(f"the run in {path} has ended: its load cannot be changed")
    if (why := run.config.fixed_load) is not None:
        raise UsageError(f"{path}: {why}")
    reply = _asked(path, orjson.dumps({"load": load, "by": by}, option=orjson.OPT_APPEND_NEWLINE), run.manifest.state)
    if "refused" in reply:
        raise UsageError(f"{path}: {reply['refused']}")
    return PresentLoad(reply["load"], reply["unit"], reply["at_s"])


def _asked(path: Path, question: bytes, state: RunState | None) -> dict[str, Any]:
    if _FAMILY is None:
        raise UsageError("this system has no sockets with a path: the load of a run cannot be set here")
    place = path / CONTROL
    if not place.is_socket() or place.is_symlink():
        if state in _BEFORE:
            raise UsageError(f"the run in {path} is {state}: set its load when that is over")
        raise UsageError(
            f"{path}: this run cannot be asked: its load is over, it is one of a search, a sweep, repeats or a calibration, "
            "or an older version sends it"
        )
    try:
        with socket.socket(_FAMILY, socket.SOCK_STREAM) as connection:
            connection.settimeout(2 * ANSWER_WITHIN_S)
            with _short(place) as address:
                connection.connect(address)
            connection.sendall(question)
            reply = orjson.loads(_line(connection))
    except (OSError, orjson.JSONDecodeError) as e:
        raise UsageError(f"the run in {path} does not answer ({e}): it may have ended") from e
    return dict(reply)


def _line(connection: socket.socket) -> bytes:
    """Everything before the first newline."""
    buffer = b""
    while b"\n" not in buffer and len(buffer) < MOST_BYTES:
        piece = connection.recv(MOST_BYTES)
        if not piece:
            break
        buffer += piece
    return buffer.partition(b"\n")[0]


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """The path, or a short alias for it that fits a socket address. Raises OSError."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    if sys.platform != "linux":
        raise OSError(errno.ENAMETOOLONG, f"more than {_LONGEST_PATH} bytes in the path of a socket")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _same_user(connection: socket.socket) -> bool:
    """Whether the peer is a process of this user. Other systems than Linux rely on the mode of the socket's file."""
    if sys.platform != "linux":
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[1] == os.geteuid())
