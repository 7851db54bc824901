"""Fixtures shared by several files here."""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from bench.clock import process_clock
from bench.native import core
from bench.secrets import redactor
from bench.target import scraper
from bench.telemetry import task as telemetry_task
from bench.transport import exchange
from bench.transport.interface import Reading, Target
from bench.transport.wire import WireTransport
from tests.support.calm import CALM
from tests.support.learned import give
from tests.support.literal_server import LiteralServer
from tests.support.on_transports import WAYS, transport_of
from tests.support.open_transport import Act, Client
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import STARTERS, with_copies

# httpx gives up after 5 s if a test sets no timeout. All its functions share this object as their default.
for _step in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _step, PATIENCE_S)

# httpx reads all authorities again for each client, and for each request without one: 8 ms of processor time.
_usual_context = functools.cache(httpx.create_ssl_context)


def _context_of(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    is_usual = verify is True and cert is None and not os.environ.keys() & {"SSL_CERT_FILE", "SSL_CERT_DIR"}
    return _usual_context() if is_usual else httpx.create_ssl_context(verify, cert, trust_env)


httpx._transports.default.create_ssl_context = _context_of  # type: ignore[attr-defined]


@pytest.fixture(scope="module", autouse=True)
def patient() -> Iterator[None]:
    """Raise product limits that a busy machine would exceed: only for the tests here, because others test these limits."""
    with pytest.MonkeyPatch.context() as patch:
        # The client may notice a dead connection late; it must retry anyway.
        patch.setattr(exchange, "STALE_WITHIN_NS", round(PATIENCE_S * 1e9))
        # The process that reads a server's pages has low priority: the last scrape may take long.
        patch.setattr(scraper, "LAST_WITHIN_S", PATIENCE_S)
        # So does the process that exports: the last export may take long.
        patch.setattr(telemetry_task, "FINISH_WITHIN_S", PATIENCE_S)
        yield


@pytest.fixture(scope="session", autouse=True)
def helpers_begin_at_once() -> Iterator[None]:
    """Processes that a load or console starts from the test process are copies of a process with everything imported."""
    with pytest.MonkeyPatch.context() as patch:
        for name in STARTERS:
            module = importlib.import_module(name)
            patch.setattr(module, "subprocess", with_copies())
        yield


@pytest.fixture(params=["compiled", "python"])
def reads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Wire transports read with their compiled core, if built, and then without it."""
    monkeypatch.setattr(WireTransport, "reads_plainly", request.param == "compiled")
    return str(request.param)


@pytest.fixture(params=WAYS)
def act(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """act(server or URL, coroutine function of a Client, **settings of the target) -> the coroutine's result."""

    def run(
        server: LiteralServer | str, what: Act, *, secrets: Sequence[str] = (), path: str = "/", **target: Any
    ) -> Any:
        url = server if isinstance(server, str) else server.url

        async def main() -> Any:
            clock = process_clock()
            reading = Reading(redact=redactor(secrets))
            transport = transport_of(request.param, Target(url=url + path, **target), reading, clock)
            await transport.open()
            try:
                return await what(Client(transport, clock.now_ns))
            finally:
                await transport.close()
                clock.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main())

    run.reads_meanwhile = request.param == "wire" and core is not None  # type: ignore[attr-defined]
    return run


@pytest.fixture
def empty_cache(tmp_path: Path, learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's cache has no results of other tests, only what was learned about tokenizers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(give(learned, tmp_path / "cache")))


@pytest.fixture
def work_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command runs in an empty folder, without the machine's settings, and with limits that no busy machine
    exceeds."""
    for name in ("OPENAI_API_KEY", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "calm.yaml").write_text(CALM)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
