"""`bench run --tools`: every chat offers the tools, and the server counts the requested input, including the tools."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support.mock_process import mock_process
from tests.support.ready_made import run_to_end
from tests.support.record_rows import record_rows
from tests.support.tool_template import TOOLS, write_tokenizer


@pytest.mark.parametrize("known", [True, False])
def test_simulated_chats_with_tools_have_the_asked_length_at_the_server(known: bool, tmp_path: Path) -> None:
    tools, out = tmp_path / "tools.json", tmp_path / "run"
    tools.write_text(json.dumps(TOOLS))
    tokenizer = ["--tokenizer", str(write_tokenizer(tmp_path))] if known else []
    with mock_process("--ttft", "5ms", "--tpot", "1ms", *tokenizer) as mock:
        command = [sys.executable, "-m", "bench", "run", "--url", mock.url, "--requests", "12", "--concurrency", "3"]
        command += ["--input-tokens", "uniform:100..140", "--output-tokens", "2", "--tools", str(tools), *tokenizer]
        ran = run_to_end([*command, "--out", str(out), "--quiet"])
    assert "Traceback" not in ran.stderr
    records = record_rows(out / "requests.jsonl")
    assert len(records) == 12
    assert [record["input_tokens"] for record in records] == [record["input_tokens_asked"] for record in records]
    assert all(record["bytes_sent"] > len(json.dumps(TOOLS, separators=(",", ":"))) + 300 for record in records)
    # The mock calls a tool. The name is the first token, the arguments are the second.
    assert {record["chunk_kind"].strip("ruo") for record in records} == {"ff"}
    notes = " ".join(json.loads((out / "summary.json").read_text())["run"]["notes"])
    assert ("ignores tools" in notes) is not known
