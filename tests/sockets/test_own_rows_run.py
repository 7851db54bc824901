"""`bench run` with rows that have their own endpoints, models, headers and priorities, over each transport."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.literal_replies import DONE, GOOD, finish, stream, usage, whole
from tests.support.literal_server import LiteralServer, Received, Step
from tests.support.ready_made import run_to_end
from tests.support.record_rows import record_rows

KEY = "s3cret-of-user-7"
ROWS = [
    {"prompt": "a"},
    {"prompt": "b", "model": "other", "priority": 5},
    {"prompt": "c", "endpoint": "completions", "headers": {"Authorization": f"Bearer {KEY}", "X-User": "7"}},
    {"body": {"prompt": "d", "model": "whole"}, "endpoint": "completions"},
]
TEXT = ({"choices": [{"index": 0, "text": "a", "finish_reason": None}]}, finish(), usage(1), DONE)


def server(request: Received) -> Sequence[Step]:
    if request.path == "/v1/models":
        return whole("200 OK", {"data": [{"id": "m"}]})
    if request.path == "/metrics":
        return whole("404 Not Found", b"")
    if request.path.endswith("/chat/completions"):
        return stream(*GOOD)
    return stream(*TEXT)


@pytest.mark.parametrize("transport", ["wire", "httpx"])
def test_every_row_goes_where_it_says(transport: str, tmp_path: Path) -> None:
    data, out = tmp_path / "rows.jsonl", tmp_path / "run"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with LiteralServer(server) as answering:
        command = [sys.executable, "-m", "bench", "run", "--url", answering.url, "--dataset", str(data), "--quiet"]
        command += ["--requests", "8", "--concurrency", "2", "--transport", transport, "--header", "X-All: 1"]
        ran = run_to_end([*command, "--api-key", "the-run-key", "--out", str(out)])
        posts = [request for request in answering.received if request.method == "POST"]
    assert ran.returncode in (0, 3), ran.stderr
    sent = [post for post in posts if not post.headers["x-request-id"].startswith("probe")]
    of_row: dict[str, list[tuple[object, ...]]] = {}
    for post in sent:
        body = json.loads(post.body)
        text = body["prompt"] if "prompt" in body else body["messages"][0]["content"]
        said = post.headers
        of_row.setdefault(text, []).append(
            (post.path, body["model"], body.get("priority"), said["authorization"], said.get("x-user"), said["x-all"])
        )
    chat, completions, run_key = "/v1/chat/completions", "/v1/completions", "Bearer the-run-key"
    assert of_row == {
        "a": [(chat, "m", None, run_key, None, "1")] * 2,
        "b": [(chat, "other", 5, run_key, None, "1")] * 2,
        "c": [(completions, "m", None, f"Bearer {KEY}", "7", "1")] * 2,
        "d": [(completions, "whole", None, run_key, None, "1")] * 2,
    }
    probed = [post for post in posts if post not in sent]
    assert [(post.path, json.loads(post.body)["model"]) for post in probed] == [
        (chat, "m"), (chat, "other"), (completions, "m"), (completions, "whole"),
    ]  # fmt: skip
    records = record_rows(out / "requests.jsonl")
    assert {record["outcome"] for record in records} == {"ok"}
    assert sorted((r["endpoint"] or "", r["model"] or "") for r in records) == sorted(
        [("", ""), ("", "other"), ("completions", ""), ("completions", "whole")] * 2
    )
    for path in out.iterdir():
        assert KEY.encode() not in path.read_bytes(), path.name


def test_the_probe_names_the_model_that_the_server_does_not_have(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "a", "model": "gone"}\n')

    def refuses(request: Received) -> Sequence[Step]:
        if request.method == "GET":
            return server(request)
        return whole("404 Not Found", {"error": {"message": "no such model"}})

    with LiteralServer(refuses) as answering:
        command = [sys.executable, "-m", "bench", "run", "--url", answering.url, "--dataset", str(data), "--quiet"]
        ran = run_to_end([*command, "--out", str(tmp_path / "run")])
    assert ran.returncode == 4
    assert "the server has no model 'gone'" in ran.stderr
