"""Servers of arms: started, waited for, and stopped with everything that they started. They never outlive this command."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from bench.clock import NS_PER_S, now_ns
from bench.config import RunConfig
from bench.errors import TargetError, UsageError
from bench.observer import SILENT
from bench.process.child_process import death
from bench.readiness import wait_until_ready
from bench.tuning.spec import ServerSpec

LAST_LINES = 5
_LOOK_EVERY_S = 0.2
_ASK_S = 1.0
_STOP_MARGIN_S = 10.0
_TAIL_BYTES = 64 << 10


class NotReady(TargetError):
    """A server did not become ready; the message says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, and the file of its output."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    stop_within_s: float
    log_from: int = 0
    """Where its output begins in the file: an interrupted turn has left another server's output there."""

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def last_words(self) -> list[str]:
        return last_lines(self.log, self.log_from)

    def how_it_ended(self) -> str:
        """How it ended, for a sentence that begins with its name."""
        status = self.process.wait()
        # The guard reports signal n in this way. A program may also return such a status itself: sys.exit(-1) is 255.
        return death(128 - status if status - 128 in set(signal.Signals) else status)

    def stop(self) -> None:
        """End it and everything that it started."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(self.stop_within_s + _STOP_MARGIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(spec: ServerSpec, words: list[str], port: int, log: Path) -> Server:
    """Start a server. Raises UsageError if something else already answers at its port."""
    refuse_taken(spec.url_at(port), port)
    guard = [sys.executable, "-m", "bench.process.guarded", f"{spec.stop_within_s:g}", *words]
    with log.open("ab") as output:
        output.write(f"$ {shlex.join(words)}\n".encode())
        output.flush()
        begins = output.tell()
        # A new session: Ctrl-C ends the load first, and then the server.
        process = subprocess.Popen(
            guard, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True,
            env={**os.environ, **spec.environment},
        )  # fmt: skip
    return Server(process, port, log, spec.stop_within_s, begins)


def free_port() -> int:
    """A free port of the loopback."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def refuse_taken(url: str, port: int) -> None:
    """Raises UsageError if a port is taken, because the load would go to another server, or if the host is unknown."""
    host = urlsplit(url).hostname or "127.0.0.1"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(_ASK_S)
        try:
            refused = probe.connect_ex((host, port))
        except (OSError, UnicodeError) as e:
            raise UsageError(f"server.url: the host {host} is not known ({e})") from None
        if not refused:
            raise UsageError(
                f"port {port} is taken: another server answers there, and would be measured in place of the arm. End it, "
                "or name other server.ports"
            )


def wait_for(server: Server, spec: ServerSpec, config: RunConfig) -> None:
    """Wait until a server is ready, as its file defines it. Raises NotReady if it ends, or is not ready in time."""
    until_ns = now_ns() + round(spec.start_within_s * NS_PER_S)
    ready = _ready_of(server, spec, config)
    while not ready():
        if not server.running:
            raise NotReady(f"the server {server.how_it_ended()} before it was ready")
        if now_ns() > until_ns:
            raise NotReady(f"the server was not ready within {spec.start_within_s:g} s (server.start_within)")
        threading.Event().wait(_LOOK_EVERY_S)
    if not server.running:
        raise NotReady(f"the server {server.how_it_ended()} as soon as it was ready")


def _ready_of(server: Server, spec: ServerSpec, config: RunConfig) -> Callable[[], bool]:
    if spec.ready == "answer":
        return lambda: _answers(config)
    if spec.ready.startswith("/"):
        url = spec.url_at(server.port)
        return lambda: _status(f"{url.rstrip('/')}{spec.ready}") == 200
    return lambda: spec.ready in server.log.read_bytes()[server.log_from :].decode("utf-8", errors="replace")


def _answers(config: RunConfig) -> bool:
    try:
        wait_until_ready(config.with_values(wait_for_server=_ASK_S), SILENT)
    except TargetError:
        return False
    return True


def _status(url: str, data: bytes | None = None) -> int | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, data=data), timeout=_ASK_S * 10) as response:
            return int(response.status)
    except urllib.error.HTTPError as e:
        return e.code
    except (OSError, ValueError, HTTPException):
        return None


def is_path(how: str) -> bool:
    """Whether `clear_cache` is a path to POST to: a single word that begins with a slash. A command may also begin so."""
    return how.startswith("/") and len(how.split()) == 1


def clear_cache(spec: ServerSpec, server: Server) -> None:
    """Clear the caches of a running server, if its file says how. Raises TargetError if that fails."""
    how = spec.clear_cache
    if how is None:
        return
    if is_path(how):
        status = _status(f"{spec.url_at(server.port).rstrip('/')}{how}", b"")
        if status is None or not 200 <= status < 300:
            raise TargetError(f"server.clear_cache: POST {how} gave {'no answer' if status is None else status}")
        return
    try:
        ran = subprocess.run(
            shlex.split(how.replace("{port}", str(server.port))), capture_output=True, text=True, check=False
        )
    except OSError as e:
        raise TargetError(f"server.clear_cache: {how} cannot be run: {e.strerror}") from e
    if ran.returncode:
        raise TargetError(f"server.clear_cache: {how} ended with status {ran.returncode}: {ran.stderr.strip()[-200:]}")


def last_lines(log: Path, begin: int = 0) -> list[str]:
    """The last non-empty lines of a file, from a byte offset on, without the line of the command."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(begin, file.tell() - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("$ ")]
    return lines[-LAST_LINES:]
