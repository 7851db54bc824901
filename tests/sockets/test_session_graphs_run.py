"""`bench run --mode sessions` with a file of random graphs, against the mock: by its ledger every join is right, also
with two workers."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.calm import CALM
from tests.support.mock_process import MockProcess, mock_process
from tests.support.ready_made import run_to_end
from tests.support.record_rows import record_rows
from tests.support.session_graphs import random_session
from tests.support.session_ledger import wrong_joins

GRAPHS = [random_session(seed, most_turns=8, most_pause_ms=10) for seed in range(24)]
TURNS = sum(len(session.turns) for session in GRAPHS)


def run(mock: MockProcess, folder: Path, *flags: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    (folder / "graphs.jsonl").write_text("".join(json.dumps(session.row()) + "\n" for session in GRAPHS))
    (folder / "calm.yaml").write_text(CALM)
    command = [
        sys.executable,
        "-m",
        "bench",
        "run",
        "--url",
        mock.url,
        "--mode",
        "sessions",
        "--quiet",
        "--out",
        str(folder / "run"),
    ]
    command += ["--dataset", str(folder / "graphs.jsonl"), "--config", str(folder / "calm.yaml"), *flags]
    ran = run_to_end(command)
    assert ran.returncode == 0, ran.stderr
    records = record_rows(folder / "run" / "requests.jsonl")
    return records, json.loads((folder / "run" / "summary.json").read_text())


def test_every_join_is_right_by_the_ledger(tmp_path: Path) -> None:
    with mock_process("--ttft", "4ms", "--tpot", "1ms") as mock:
        records, _ = run(mock, tmp_path, "--concurrency", "6", "--workers", "2", "--requests", str(TURNS))
        lines = list(mock.lines_of({record["id"] for record in records}).values())
    pairs, wrong = wrong_joins(records, lines)
    assert wrong == []
    assert pairs > TURNS / 2
    late = [{**line, "end_ns": line["end_ns"] + 10**12} for line in lines]
    assert len(wrong_joins(records, late)[1]) == pairs, "the ledger must be checked for each join"
    assert max(Counter((r["session_number"], r["turn"]) for r in records).values()) == 1
    # The two workers share the sessions: each graph was begun, and its number is its position in the file.
    assert all(GRAPHS[r["session_number"] % len(GRAPHS)].id == r["session"] for r in records)
    assert all(r["session_number"] % 2 == r["worker"] for r in records)
