"""The mock's Python API, whose server is a separate process."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.error
import urllib.request

import pytest

from mockserver import MockServer
from mockserver.errors import MockError, UsageError
from tests.support.patience import PATIENCE_S


def ask(server: MockServer, **headers: str) -> int:
    body = json.dumps({"prompt": "hello", "max_tokens": 3}).encode()
    request = urllib.request.Request(server.url + "/v1/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            response.read()
            return int(response.status)
    except urllib.error.HTTPError as e:
        with e:
            return e.code


def test_a_server_in_a_with_block_serves_and_is_gone_afterwards() -> None:
    with MockServer(ttft="5ms", tpot="1ms", fault=["429:index=1"], api_key=["a", "b"]) as server:
        assert ask(server, **{"x-request-id": "r-0", "authorization": "Bearer b"}) == 200
        assert ask(server, **{"x-request-id": "r-1", "authorization": "Bearer a"}) == 429
        assert [line["status"] for line in server.ledger()] == [200, 429]
        assert server.expect(requests=1, output_tokens=3)[0]["chunk_kind"] == ""
        assert len(server.expect(input_tokens=lambda n: n is not None and n > 0)) == 1
        with pytest.raises(AssertionError, match="expected 0 requests, found 2"):
            server.expect(requests=0)
        with pytest.raises(TypeError, match="has no argument statuss"):
            server.expect(statuss=200)
        with pytest.raises(MockError, match="already running"):
            server.start()
        url = server.url
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url + "/health", timeout=PATIENCE_S)
    with pytest.raises(MockError, match="not running"):
        server.ledger()


def test_an_asynchronous_block_does_the_same() -> None:
    async def main() -> int:
        async with MockServer(ttft="1ms", tpot="0ms") as server:
            return await asyncio.to_thread(ask, server)

    assert asyncio.run(main()) == 200


def test_wrong_settings_are_told_like_wrong_flags() -> None:
    with pytest.raises(UsageError) as caught, MockServer(ttft="5", modell="x"):
        pass
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0] == "--modell: no such flag; did you mean --model?"


@pytest.mark.skipif(sys.platform != "linux", reason="replicas need Linux")
def test_each_replica_is_configured_and_reset() -> None:
    def ttfts(server: MockServer) -> list[str]:
        answers = []
        for url in server.urls:
            with urllib.request.urlopen(f"{url}/admin/config", timeout=PATIENCE_S) as response:
                answers.append(json.loads(response.read())["config"]["ttft"])
        return answers

    with MockServer(replicas=2, ttft="9ms") as server:
        server.configure(ttft="1ms")
        assert ttfts(server) == ["1ms", "1ms"]
        server.reset()
        assert ttfts(server) == ["9ms", "9ms"]
