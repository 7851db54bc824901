"""A console in the test's own process, and a client with its token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.testclient import TestClient

from bench.console.app import create_app
from bench.console.security import Keys
from bench.console.service import Console
from tests.support.console_process import TOKEN


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    console = Console(tmp_path / "runs")
    yield console
    console.close()


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """The event loop for all requests, in its own thread. Without it, a client makes a new loop and thread for each
    request."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def user(console: Console, portal: BlockingPortal) -> TestClient:
    """A client whose requests have the token, and which raises the application's exceptions."""
    client = TestClient(create_app(console, Keys(TOKEN)), base_url="http://127.0.0.1")
    client.portal = portal
    client.headers["authorization"] = f"Bearer {TOKEN}"
    return client
