"""A mock server for programs and tests: `with MockServer(ttft="50ms") as server`.

The server runs in its own process, so it keeps its deadlines whatever the test does, and both synchronous and
asynchronous tests can call it. This module uses only the standard library, so test suites do not wait for imports.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Any

from mockserver.clock import NS_PER_S, now_ns
from mockserver.errors import MockError, UsageError
from mockserver.record.assertions import Line, check_fields, matching, report

_READY = "mockserver ready at "
_TIMEOUT_S = 30.0
_LOOK_AGAIN_S = 0.01


class MockServer:
    """A mock in its own process. It starts on entry (or by `start`) and stops on exit (or by `close`).

    The settings are the keys of the YAML file: `MockServer(ttft="50ms", output_tokens=16, fault=["429:rate=0.1"])`. By
    default it listens on a free port, and closing it cuts requests in flight; `port` and `drain_s` change that. `async
    with` does the same without blocking the event loop.
    """

    def __init__(self, **settings: object) -> None:
        self._flags = flags_of({"port": 0, "drain_s": 0, **settings})
        keys = settings.get("api_key", ())
        key = keys if isinstance(keys, str) else next(iter(keys), None) if isinstance(keys, Sequence) else None
        self._key = key.strip() if isinstance(key, str) else key  # Stripped, as the mock does.
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None
        self._from_line = 0
        self.url = ""
        """The address, for example http://127.0.0.1:40123. With several replicas, the address of the first."""
        self.urls: tuple[str, ...] = ()
        """The address of each replica."""
        self._replicas = int(str(settings.get("replicas", 1)))

    @property
    def base_url(self) -> str:
        """The URL with /v1, as OpenAI clients expect it."""
        return f"{self.url}/v1"

    def start(self) -> MockServer:
        """Start the process and wait until it listens. Raises UsageError for wrong settings."""
        if self._process is not None:
            raise MockError("this MockServer is already running")
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (it is closed with the server)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mockserver.child", *self._flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith(_READY):
            status = self._process.wait(_TIMEOUT_S)
            output = self.log()
            self.close()
            if status == UsageError.exit_code:
                raise UsageError([problem.removeprefix("mockserver: ") for problem in output.splitlines()])
            raise MockError(f"the mock ended with status {status} before it was ready:\n{output}")
        lines = [line, *(self._process.stdout.readline() for _ in range(self._replicas - 1))]
        self.urls = tuple(line.removeprefix(_READY).strip() for line in lines)
        self.url = self.urls[0]
        self._from_line = 0
        return self

    def close(self) -> None:
        """Stop the process; safe to call again."""
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    def __enter__(self) -> MockServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> MockServer:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def log(self) -> str:
        """The stderr of the process."""
        if self._log is None:
            return ""
        self._log.seek(0)
        return self._log.read()

    def ledger(self) -> list[Line]:
        """The ledger since the start or the last `reset`: one line for each request that has ended."""
        text = self._ask("GET", f"/ledger?since={self._from_line}").decode()
        return [json.loads(line) for line in text.splitlines()]

    def truth(self, *, output_tokens: int | None = None, input_tokens: int | None = None) -> dict[str, Any]:
        """`GET /truth`: the expected results of the current settings for requests of these lengths."""
        asked = {"output_tokens": output_tokens, "input_tokens": input_tokens}
        query = "&".join(f"{name}={value}" for name, value in asked.items() if value is not None)
        truth: dict[str, Any] = json.loads(self._ask("GET", f"/truth?{query}"))
        return truth

    def settings(self) -> dict[str, Any]:
        """The settings that `configure` can change, with their current values."""
        settings: dict[str, Any] = json.loads(self._ask("GET", "/admin/config"))["config"]
        return settings

    def configure(self, **settings: object) -> None:
        """Change latencies, lengths or faults for later requests.

        Raises UsageError with every problem. Then nothing changes.
        """
        self._ask_all("PATCH", "/admin/config", {name: _plain(value) for name, value in settings.items()})

    def reset(self) -> None:
        """Start afresh: initial settings, empty ledger, counters at 0."""
        self._from_line = json.loads(self._ask_all("POST", "/admin/reset"))["ledger_lines"]

    def expect(self, requests: int | None = None, *, within_s: float = 2.0, **fields: object) -> list[Line]:
        """The ledger lines with these fields. Raises AssertionError, with a table of all lines, if they are missing.

        `requests` is the exact number of lines; without it, at least one must match. The fields are `id`, `index`,
        `attempt`, `status`, `fault`, `input_tokens`, `output_tokens` (sent) and `cut`. A value is compared, or called
        with the line's value: `expect(status=429)`, `expect(requests=3, input_tokens=lambda n: n > 100)`. A line
        appears when its request has ended, so this waits up to `within_s` seconds for missing lines.
        """
        check_fields(fields)
        deadline_ns = now_ns() + round(within_s * NS_PER_S)
        while True:
            lines = self.ledger()
            matches = matching(lines, fields)
            if len(matches) == requests or (requests is None and matches):
                return matches
            if now_ns() >= deadline_ns or (requests is not None and len(matches) > requests):
                raise AssertionError(report(lines, matches, requests, fields))
            threading.Event().wait(_LOOK_AGAIN_S)

    def _ask_all(self, method: str, path: str, body: object = None) -> bytes:
        """Ask each replica. Returns the last answer."""
        return [self._ask(method, path, body, url) for url in self.urls or (self.url,)][-1]

    def _ask(self, method: str, path: str, body: object = None, url: str | None = None) -> bytes:
        """Ask the first replica, or the one at `url`."""
        if self._process is None:
            raise MockError("this MockServer is not running: use it in a `with` block, or call start()")
        headers = {"content-type": "application/json"}
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request((url or self.url) + path, data, headers, method=method)
        # Connect directly, whatever proxy the environment sets.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_TIMEOUT_S) as response:
                content: bytes = response.read()
                return content
        except urllib.error.HTTPError as e:
            with e:
                message = json.loads(e.read())["error"]["message"]
            raise UsageError(message.splitlines()) from e
        except urllib.error.URLError as e:
            raise MockError(f"the mock does not answer (status {self._process.poll()}): {self.log()}") from e


def flags_of(settings: dict[str, object]) -> list[str]:
    """The settings as flags. Settings that are None are left out."""
    flags = []
    for name, value in settings.items():
        values = value if isinstance(value, list | tuple) else () if value is None else (value,)
        flags += [f"--{name.replace('_', '-')}={each}" for each in values]
    return flags


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)
