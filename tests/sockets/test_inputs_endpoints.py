"""Embeddings and rerank over sockets: a run on the mock, against its ledger, and servers that answer wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import cli
from bench.run_files.run_directory import RunDirectory
from tests.support.literal_server import LiteralServer, Received, Send, Step

pytestmark = pytest.mark.usefixtures("empty_cache")

CALM = """\
limits:
  run_queue_wait: {suspect: 0.99, invalid: 1.0}
  cpu_busy_seconds: {suspect: 1.0, invalid: 1.0}
  littles_law_off: {suspect: 1.0, invalid: 1.0}
"""
"""Another test covers its accuracy on a busy machine."""
SMALL = ["--input-tokens", "uniform:4..12", "--concurrency", "4", "--requests", "30", "--workers", "1", "--quiet"]


@pytest.fixture(autouse=True)
def calm_file(tmp_path: Path) -> None:
    (tmp_path / "calm.yaml").write_text(CALM)


def summary_of(path: Path) -> Any:
    found: Any = orjson.loads((path / "summary.json").read_bytes())
    return found


@pytest.mark.parametrize(
    ("endpoint", "transport", "extra"),
    [
        ("embeddings", "wire", {"dimensions": 16, "encoding_format": "base64"}),
        ("embeddings", "httpx", {}),
        ("rerank", "wire", {"top_n": 1}),
        ("tei-rerank", "wire", {}),
    ],
)
def test_a_calibration_agrees_with_the_ledger_in_counts_and_tokens(
    endpoint: str, transport: str, extra: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = ["--endpoint", endpoint, "--transport", transport, "--batch-inputs", "uniform:1..3", *SMALL]
    words += ["--extra-body", orjson.dumps(extra).decode(), "--mock", "--ttft 5ms --embedding-size 32"]
    cli.main(["calibrate", "--config", str(tmp_path / "calm.yaml"), *words, "--out", str(out), "--no-store"])
    summary = summary_of(out)
    assert summary["counts"]["by_outcome"] == {"ok": 30}
    assert summary["calibration"]["problems"] == []
    agreement = {row["what"]: (row["here"], row["there"]) for row in summary["calibration"]["agreement"]}
    assert all(here == there for here, there in agreement.values())
    assert agreement["inputs"][0] == summary["inputs"]["total"] > 30
    dimensions = {"16": 30} if extra.get("dimensions") else {"32": 30}
    assert summary["inputs"]["dimensions"] == (dimensions if endpoint == "embeddings" else {})
    asked = summary["tokens"]["asked_against_got"]["input"]
    if endpoint == "embeddings":  # A ranking model reads the query again with each document.
        assert (asked["compared"], asked["differ"]) == (30, 0)
    compared = {row["metric"] for row in summary["calibration"]["metrics"]}
    assert compared == {"e2el_ms", "e2el_from_intended_ms"}
    records = list(RunDirectory.open(out).records())
    assert all(record.inputs and not record.chunk_ns and record.output_tokens is None for record in records)


def answer(body: object) -> Step:
    content = orjson.dumps(body)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return Send(head.encode() + content)


def test_replies_that_fail_their_check_are_malformed_and_have_no_latency(tmp_path: Path) -> None:
    def script(request: Received) -> list[Step]:
        if request.method == "GET":  # The server lists no models, and has no metrics.
            return [Send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")]
        asked = orjson.loads(request.body)
        number = next(numbers)
        size = 3 if number == 4 else 2
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        data = [{"index": index, "embedding": [0.5] * size} for index in range(len(texts))]
        if number == 2:
            data[-1]["index"] = 7
        return [answer({"model": "m", "data": data[: 1 if number == 3 else None], "usage": {"prompt_tokens": 4}})]

    numbers = iter(range(100))
    with LiteralServer(script) as server:
        words = [
            "--url",
            server.url,
            "--model",
            "m",
            "--endpoint",
            "embeddings",
            "--batch-inputs",
            "2",
            "--concurrency",
            "1",
        ]
        words += ["--input-tokens", "4", "--requests", "6", "--workers", "1", "--quiet", "--out", str(tmp_path / "run")]
        cli.main(["run", "--config", str(tmp_path / "calm.yaml"), *words])
    summary = summary_of(tmp_path / "run")
    assert summary["counts"]["by_outcome"] == {"ok": 3, "malformed": 3}
    assert summary["latency"]["e2el_ms"]["n"] == 3
    assert {row["error"] for row in summary["errors"]} == {
        "data[1] has the index 7, and the inputs are 0 to 1",
        "the reply has 1 data, but 2 were requested",
        "the embeddings have 3 dimensions, but earlier replies have 2",
    }
