"""The key that a server gets from tasks of the console: its own target's key, or none."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bench.console.app import create_app
from bench.console.security import Keys
from bench.console.service import Console
from tests.support.console_process import SMALL, TOKEN
from tests.support.literal_replies import api, completion, whole
from tests.support.literal_server import LiteralServer


def test_a_server_gets_the_key_of_its_target_and_a_typed_url_gets_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-default")
    monkeypatch.setenv("TRUELOAD_KEY_LAB", "sk-lab")
    monkeypatch.setenv("TRUELOAD_KEY_TENANT", "blue")
    console = Console(tmp_path / "runs")
    app = create_app(console, Keys(TOKEN))
    with (
        LiteralServer(api(lambda request: whole("200 OK", completion("a", 1)))) as server,
        TestClient(app, base_url="http://127.0.0.1") as client,
    ):
        client.headers["authorization"] = f"Bearer {TOKEN}"
        client.base_url = "http://127.0.0.1/api"
        target = {"name": "lab", "url": server.url, "key_variable": "TRUELOAD_KEY_LAB",
                  "header_variables": {"X-Tenant": "TRUELOAD_KEY_TENANT"}}  # fmt: skip
        assert client.post("/targets", json=target).status_code == 201
        sent = []
        small = {**SMALL, "requests": 1, "stream": False}
        for body in ({"target": "lab", "settings": small}, {"settings": {"url": server.url, **small}}):
            server.received.clear()
            task = client.post("/tasks", json=body).json()["id"]
            assert "event: task" in client.get(f"/tasks/{task}/events").text  # Waits until the task is over.
            while console.runner.current is not None:  # Wait until the program of the task has ended.
                time.sleep(0.05)
            names = [{name.lower(): value for name, value in request.headers.items()} for request in server.received]
            sent.append({(row.get("authorization"), row.get("x-tenant")) for row in names})
        assert sent[1] == {(None, None)}
        assert sent[0] >= {("Bearer sk-lab", "blue")}
        assert "sk-default" not in str(sent)
