"""`bench run --model a=3,b=1` against a server of literal bytes: every model gets a probe, and the draw follows the
seed."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.traffic.models import parse
from tests.support.literal_replies import GOOD, stream, whole
from tests.support.literal_server import LiteralServer, Received, Step
from tests.support.ready_made import run_to_end
from tests.support.record_rows import record_rows


def server(request: Received) -> Sequence[Step]:
    return whole("404 Not Found", b"") if request.method == "GET" else stream(*GOOD)


def test_two_workers_send_what_the_seed_says_and_the_summary_has_both_models(tmp_path: Path) -> None:
    out, mix = tmp_path / "run", parse("a=3,b=1")
    with LiteralServer(server) as answering:
        command = [sys.executable, "-m", "bench", "run", "--url", answering.url, "--model", "a=3,b=1", "--quiet"]
        command += ["--requests", "24", "--concurrency", "4", "--workers", "2", "--input-tokens", "20", "--seed", "5"]
        command += ["--slo", "ttft{model=b}:p50<200s", "--out", str(out)]
        ran = run_to_end(command)
        posts = [request for request in answering.received if request.method == "POST"]
    assert ran.returncode in (0, 3), ran.stderr
    probed = [json.loads(p.body)["model"] for p in posts if p.headers["x-request-id"].startswith("probe")]
    assert probed == ["a", "b"]
    records = record_rows(out / "requests.jsonl")
    assert {record["index"]: record["model"] for record in records} == {i: mix.of(5, i) for i in range(24)}
    bodies = {p.headers["x-request-id"]: json.loads(p.body)["model"] for p in posts}
    assert all(bodies[record["id"]] == record["model"] for record in records)
    summary = json.loads((out / "summary.json").read_text())
    counted = Counter(record["model"] for record in records)
    assert {part["model"]: part["sent"] for part in summary["models"]} == counted
    assert summary["run"]["model"] == "a, b"
    assert summary["slo"]["objectives"][0]["held"] is True
