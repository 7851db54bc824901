"""The pytest fixture `mock_llm`: a running mock server, fresh for each test. Every pytest in an environment with
Trueload loads this module, so it imports only pytest until a test uses the fixture.

    def test_a_client_tries_again(mock_llm):
        mock_llm.configure(fault="429:rate=1,retry_after=0")
        ...
        mock_llm.expect(requests=3, status=429)

    @pytest.mark.mock_llm(ttft="2s")
    def test_a_slow_first_token(mock_llm): ...

One process serves all tests of a session. It is reset before each test. A marker with a setting that cannot change
while the mock serves (`model`, `api_key`, ...) starts a separate process for that test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mockserver.api import MockServer

DEFAULTS = {"ttft": "5ms", "tpot": "1ms", "output_tokens": "16"}
"""Fast settings for tests. The ini option `mock_llm` and the marker override them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the ini option."""
    parser.addini("mock_llm", "settings of the fixture mock_llm, one per line: ttft = 5ms", type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "mock_llm(**settings): settings of the mock server for this test, for example ttft='200ms'"
    )


def _settings(config: pytest.Config) -> dict[str, object]:
    settings: dict[str, object] = dict(DEFAULTS)
    for line in config.getini("mock_llm"):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise pytest.UsageError(f"mock_llm: {line!r} is not a setting: write, for example, `ttft = 5ms`")
        settings[name] = value
    return settings


@pytest.fixture(scope="session")
def _mock_llm_of_the_session(pytestconfig: pytest.Config) -> Iterator[MockServer]:
    from mockserver.api import MockServer

    with MockServer(**_settings(pytestconfig)) as server:
        yield server


@pytest.fixture
def mock_llm(request: pytest.FixtureRequest) -> Iterator[MockServer]:
    """A running mock server: `.url`, `.base_url`, `.ledger()`, `.expect(...)`, `.configure(...)`, `.truth()`."""
    marked: dict[str, object] = {}
    for marker in reversed(list(request.node.iter_markers("mock_llm"))):
        if marker.args:
            raise pytest.UsageError(
                "the marker mock_llm takes only named settings: @pytest.mark.mock_llm(ttft='200ms')"
            )
        marked.update(marker.kwargs)
    server: MockServer = request.getfixturevalue("_mock_llm_of_the_session")
    server.reset()
    if set(marked) <= set(server.settings()):
        if marked:
            server.configure(**marked)
        yield server
        return
    from mockserver.api import MockServer as Server

    with Server(**{**_settings(request.config), **marked}) as fresh:
        yield fresh
