"""`priority` of a body reaches the engine, and the ledger records it."""

from __future__ import annotations

import contextlib
import re
import time
from typing import Any

import httpx
import pytest

from tests.support.mock_process import MockProcess, mock_process
from tests.support.patience import PATIENCE_S
from tests.support.raw_mock import CHAT, COMPLETIONS, connect, request

FLAGS = ("--engine", "batching", "--step-cost", "b0=20000,b1=0,b2=0,a0=2000,a1=0", "--max-num-seqs", "1")
MESSAGES = {"messages": [{"role": "user", "content": "Hi."}]}
LONG = {**MESSAGES, "max_tokens": 20_000, "stream": True}
"""It has the engine to itself for 400 s: until its client leaves."""
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "p-2": (CHAT, {**MESSAGES, "max_tokens": 3}),
    "p-3": ("/v1/responses", {"input": "Hi.", "max_output_tokens": 3, "priority": 7}),
    "p-4": (COMPLETIONS, {"prompt": "Hi.", "max_tokens": 3, "priority": -1}),
}


def wait_for(mock: MockProcess, running: int, waiting: int) -> None:
    """Wait until this many requests are in the engine."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        page = httpx.get(f"{mock.url}/metrics").text
        seen = dict(re.findall(r"^vllm:num_requests_(running|waiting){[^}]*} (\S+)$", page, re.MULTILINE))
        if seen == {"running": f"{running}.0", "waiting": f"{waiting}.0"}:
            return
        assert time.monotonic() < deadline, seen
        time.sleep(0.01)


@pytest.mark.parametrize(("policy", "order"), [("fcfs", ["p-2", "p-3", "p-4"]), ("priority", ["p-4", "p-2", "p-3"])])
def test_waiting_requests_are_served_by_their_priority_where_asked(policy: str, order: list[str]) -> None:
    with mock_process(*FLAGS, "--scheduling-policy", policy) as mock:
        with contextlib.ExitStack() as stack:
            with connect(mock) as first:
                first.sendall(request(CHAT, {**LONG, "priority": 5}, x_request_id="p-1"))
                wait_for(mock, 1, 0)
                for waiting, (name, (path, body)) in enumerate(ASKED.items(), 1):
                    sock = stack.enter_context(connect(mock))
                    sock.sendall(request(path, body, x_request_id=name))
                    wait_for(mock, 1, waiting)
            lines = mock.lines_of(["p-1", *ASKED])
        assert sorted(ASKED, key=lambda name: int(lines[name]["end_ns"])) == order
        said = {name: line["engine"].get("priority") for name, line in lines.items()}
        asked = {"p-1": 5, "p-2": 0, "p-3": 7, "p-4": -1}
        assert said == (asked if policy == "priority" else dict.fromkeys(asked))
        refused = httpx.post(mock.url + COMPLETIONS, json={"prompt": "Hi.", "priority": "high"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "priority")
