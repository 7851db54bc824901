"""A choice that has ended leaves the engine at once, although its reply continues: /metrics counts one request less."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import httpx
import pytest

from mockserver import rng
from mockserver.plans.arrival import key_of_choice
from promptset.distributions import parse
from tests.support.mock_process import MockProcess, mock_process
from tests.support.patience import PATIENCE_S

LENGTHS = "uniform:2..20000"
BODY = {"messages": [{"role": "user", "content": "Hi."}], "n": 2, "stream": True}
INDEX = 2353
"""A request whose second choice ends at once, while the first lasts longer than any test waits."""
ENGINES = {
    "sampled": ("--ttft", "5ms", "--tpot", "15ms"),
    "batching": (
        "--engine",
        "batching",
        "--step-cost",
        "b0=15000,b1=0,b2=0,a0=1000",
        "--max-model-len",
        "60000",
        "--kv-blocks",
        "4000",
    ),
}


def lengths(index: int) -> list[int]:
    """The tokens of both choices, as the mock draws them."""
    drawn = parse(LENGTHS, "tokens")
    return [int(drawn.sample(rng.stream(0, "output_tokens", key_of_choice(index, i)))) for i in range(2)]


@pytest.fixture(scope="module", params=ENGINES)
def mock(request: pytest.FixtureRequest) -> Iterator[MockProcess]:
    with mock_process(*ENGINES[request.param], "--output-tokens", LENGTHS) as mock:
        yield mock


def running(mock: MockProcess) -> float:
    found = re.search(r"^vllm:num_requests_running{[^}]*} (\S+)$", httpx.get(f"{mock.url}/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize("interval", [1, 4])
def test_a_choice_that_has_ended_is_in_the_engine_no_more(mock: MockProcess, interval: int) -> None:
    goes_on, ends = lengths(INDEX)
    assert ends < 20 < PATIENCE_S / 0.015 < goes_on
    assert httpx.patch(f"{mock.url}/admin/config", json={"stream_interval": interval}).status_code == 200
    deadline = time.monotonic() + PATIENCE_S
    while running(mock):  # Wait for the previous stream, which its client has left.
        assert time.monotonic() < deadline
        time.sleep(0.01)
    headers = {"x-request-id": f"run-{INDEX}"}
    with httpx.stream(
        "POST", f"{mock.url}/v1/chat/completions", json=BODY, headers=headers, timeout=PATIENCE_S
    ) as stream:
        chunks = (json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {"))
        choices = (choice for chunk in chunks for choice in chunk["choices"])
        assert next(choice["index"] for choice in choices if choice["finish_reason"] is not None) == 1
        assert running(mock) == 1
