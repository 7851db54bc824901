"""The load that fit sends again: to the mock, whatever the server of the run was."""

from __future__ import annotations

from typing import Any

import pytest

from bench.commands.fit_replay import _against
from bench.config import resolve

MOCK = "http://127.0.0.1:8001"


@pytest.mark.parametrize(
    "given",
    [
        {"url": ["http://10.0.0.1:8000", "http://10.0.0.2:8000"], "replica_header": "x-served-by"},
        {"proxy": "http://10.0.0.9:3128"},
        {"otlp": "http://10.0.0.8:4318", "metrics_port": 9100},
        {"model": "m", "api_key": "secret", "header": ["a: b"], "slo": ["ttft:p90<1s"], "wait_for_server": "5s"},
        {"url": "https://10.0.0.1:8000", "insecure": True},
    ],
)
def test_a_replay_has_nothing_of_the_server_of_its_run(given: dict[str, Any]) -> None:
    load = {"rate": 2.0, "requests": 20, "input_tokens": "64", "output_tokens": "8", "seed": 7}
    plain = _against(resolve({}, {"url": "http://10.0.0.1:8000", **load}), MOCK)
    assert (plain.url, plain.targets, plain.rate, plain.requests, plain.seed) == (MOCK, (), 2.0, 20, 7)
    again = _against(resolve({}, {"url": "http://10.0.0.1:8000", **load, **given}), MOCK)
    assert again.model_dump() == plain.model_dump()
