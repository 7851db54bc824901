"""A choice that has ended leaves the engine at once, though its reply goes on: /metrics counts one request less."""

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
from tests.support.timing import timing

LENGTHS = "uniform:2..400"
BODY = {"messages": [{"role": "user", "content": "Hi."}], "n": 2, "stream": True}


def lengths(index: int) -> list[int]:
    """The tokens of both choices: as the mock draws them."""
    drawn = parse(LENGTHS, "tokens")
    return [int(drawn.sample(rng.stream(0, "output_tokens", key_of_choice(index, i)))) for i in range(2)]


INDEX = next(i for i in range(1000) if min(lengths(i)) < 20 and max(lengths(i)) > 300)
"""A request of which one choice ends at once and the other goes on for seconds."""


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--ttft", "5ms", "--tpot", "15ms", "--output-tokens", LENGTHS) as mock:
        yield mock


def running(mock: MockProcess) -> float:
    found = re.search(r"^vllm:num_requests_running{[^}]*} (\S+)$", httpx.get(f"{mock.url}/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize("interval", [1, 4])
@timing(tries=10, why="TODO ")
def test_a_choice_that_has_ended_is_in_the_engine_no_more(mock: MockProcess, interval: int) -> None:
    assert httpx.patch(f"{mock.url}/admin/config", json={"stream_interval": interval}).status_code == 200
    deadline = time.monotonic() + PATIENCE_S
    while running(mock):  # The stream before this one, which its client has left.
        assert time.monotonic() < deadline
        time.sleep(0.01)
    headers = {"x-request-id": f"run-{INDEX}"}
    seen: list[float] = []
    ended = 0
    with httpx.stream(
        "POST", f"{mock.url}/v1/chat/completions", json=BODY, headers=headers, timeout=PATIENCE_S
    ) as stream:
        for line in stream.iter_lines():
            if not line.startswith("data: {"):
                continue
            ended += sum(choice["finish_reason"] is not None for choice in json.loads(line[6:])["choices"])
            if ended == 1:
                seen.append(running(mock))
                break
    assert seen == [1.0]
