"""The usual Locust script for chats: each user takes the next body, reads the stream line by line, and reports its
times as events of their own. It runs in Locust's environment, not in ours."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from locust import HttpUser, constant, events, task
from locust.exception import StopUser

BODIES = iter(Path(os.environ["COMPARED_BODIES"]).read_text().splitlines())
TOKENS = {"requests": 0, "output": 0, "idle_users": 0}


def report(environment: Any, name: str, ms: float) -> None:
    environment.events.request.fire(
        request_type="METRIC", name=name, response_time=ms, response_length=0, exception=None, context={}
    )


class Chatter(HttpUser):
    wait_time = constant(0)

    @task
    def chat(self) -> None:
        body = next(BODIES, None)
        if body is None:
            TOKENS["idle_users"] += 1
            if TOKENS["idle_users"] == self.environment.parsed_options.num_users:
                self.environment.runner.quit()
            raise StopUser
        headers = {"Content-Type": "application/json"}
        began, first, tokens = time.perf_counter(), None, 0
        reply = self.client.post("/v1/chat/completions", data=body, headers=headers, stream=True, name="HTTP")
        for line in reply.iter_lines():
            if not line.startswith(b"data: ") or line == b"data: [DONE]":
                continue
            event = json.loads(line[6:])
            delta = event["choices"][0]["delta"] if event["choices"] else {}
            text = delta.get("content") or delta.get("reasoning") or delta.get("reasoning_content")
            if first is None and text:
                first = time.perf_counter()
            if event.get("usage"):
                tokens = event["usage"]["completion_tokens"]
        ended = time.perf_counter()
        if first is not None and tokens > 1:
            report(self.environment, "TTFT", (first - began) * 1000)
            report(self.environment, "E2EL", (ended - began) * 1000)
            report(self.environment, "TPOT", (ended - first) * 1000 / (tokens - 1))
            TOKENS["requests"] += 1
            TOKENS["output"] += tokens


@events.quitting.add_listener
def keep_tokens(environment: Any, **_: Any) -> None:
    Path(os.environ["COMPARED_TOKENS"]).write_text(json.dumps(TOKENS))
