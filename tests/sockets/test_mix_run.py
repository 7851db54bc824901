"""`bench run --mix` with workers, against a server of literal bytes: each request has its planned class and goes to
that class's route."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.config import resolve
from tests.support.literal_replies import GOOD, stream, whole
from tests.support.literal_server import LiteralServer, Received, Step
from tests.support.ready_made import run_to_end
from tests.support.record_rows import record_rows

MIX = """
classes:
  - {name: chat, share: 60, slo: "ttft:p50<600s"}
  - {name: tenant, share: 20, model: b, headers: {X-Tenant: t}, input_tokens: 30}
  - {name: batch, share: 20, priority: 7, output_tokens: 3}
"""


def server(request: Received) -> Sequence[Step]:
    return whole("404 Not Found", b"") if request.method == "GET" else stream(*GOOD)


def test_four_workers_send_each_class_its_share_to_its_place(tmp_path: Path) -> None:
    out, file = tmp_path / "run", tmp_path / "mix.yaml"
    file.write_text(MIX)
    with LiteralServer(server) as answering:
        command = [sys.executable, "-m", "bench", "run", "--url", answering.url, "--mix", str(file), "--quiet"]
        command += ["--requests", "100", "--concurrency", "8", "--workers", "4", "--input-tokens", "20", "--seed", "5"]
        command += ["--model", "a", "--slo", "error_rate{class=batch}<1%", "--out", str(out)]
        ran = run_to_end(command)
        posts = {p.headers["x-request-id"]: p for p in answering.received if p.method == "POST"}
    assert ran.returncode in (0, 3), ran.stderr
    class_of = resolve({"url": "http://h", "mix": str(file), "seed": 5}).class_of
    assert class_of is not None
    records = record_rows(out / "requests.jsonl")
    assert {record["index"]: record["traffic_class"] for record in records} == {i: class_of(i) for i in range(100)}
    for record in records:
        post = posts[record["id"]]
        body = json.loads(post.body)
        sent = (body["model"], post.headers.get("x-tenant"), body.get("priority"), body["max_tokens"])
        assert sent == {
            "chat": ("a", None, None, 128), "tenant": ("b", "t", None, 128), "batch": ("a", None, 7, 3),
        }[record["traffic_class"]]  # fmt: skip
        assert record["input_tokens_asked"] == (30 if record["traffic_class"] == "tenant" else 20)
    asked = [
        (json.loads(p.body)["model"], p.headers.get("x-tenant")) for id, p in posts.items() if id.startswith("probe")
    ]
    assert asked == [("a", None), ("b", "t"), ("a", None)]
    summary = json.loads((out / "summary.json").read_text())
    assert [(one["class"], one["sent"], one["planned_share"]) for one in summary["classes"]] == [
        ("chat", 60, 0.6),
        ("tenant", 20, 0.2),
        ("batch", 20, 0.2),
    ]
    assert [(row["objective"], row["held"]) for row in summary["slo"]["objectives"]] == [
        ("error_rate{class=batch}<1%", True),
        ("ttft{class=chat}:p50<600s", True),
    ]
    assert [one["slo_held"] for one in summary["classes"]] == [True, None, True]
    kept = (out / "run.yaml").read_text()
    assert "X-Tenant: '***'" in kept


def test_the_probe_says_which_class_the_server_refuses(tmp_path: Path) -> None:
    def refusing(request: Received) -> Sequence[Step]:
        return whole("401 Unauthorized", b"") if request.headers.get("x-tenant") else server(request)

    file = tmp_path / "mix.yaml"
    file.write_text("classes: [{name: free, share: 1}, {name: paid, share: 1, headers: {X-Tenant: t}}]")
    with LiteralServer(refusing) as answering:
        command = [sys.executable, "-m", "bench", "run", "--url", answering.url, "--mix", str(file), "--model", "a"]
        ran = run_to_end([*command, "--out", str(tmp_path / "run")])
    assert ran.returncode == 4
    assert "error: class paid: the server needs a key (status 401" in ran.stderr
