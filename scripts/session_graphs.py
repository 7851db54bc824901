"""Sends random graphs of sessions to a mock: checks joins against its ledger, and how late waiting turns were sent."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.cli import main as bench
from bench.metrics.quantile import quantile
from tests.support.mock_process import mock_process
from tests.support.record_rows import record_rows
from tests.support.session_graphs import random_session
from tests.support.session_ledger import child_lateness_ms, wrong_joins

ALLOWED_MS = 1.0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--history", choices=["real", "planned"], default="real")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    graphs = [random_session(given.seed + number) for number in range(given.sessions)]
    turns = sum(len(session.turns) for session in graphs)
    with tempfile.TemporaryDirectory(prefix="session-graphs-") as folder:
        data, out = Path(folder) / "graphs.jsonl", Path(folder) / "run"
        data.write_text("".join(json.dumps(session.row()) + "\n" for session in graphs))
        with mock_process("--ttft", "20ms", "--tpot", "5ms") as mock:
            load = ["--mode", "sessions", "--dataset", str(data), "--history", given.history]
            load += ["--concurrency", str(given.users), "--requests", str(turns), "--workers", "1"]
            status = bench(["run", "--url", mock.url, *load, "--quiet", "--out", str(out)])
            ledger = mock.ledger_lines(at_least=turns)
        records = record_rows(out / "requests.jsonl")
        verdict = json.loads((out / "summary.json").read_text())["verdict"]["status"]
    pairs, wrong = wrong_joins(records, ledger)
    late = child_lateness_ms(records)
    p50, p99 = (quantile(late, q) for q in (0.5, 0.99))
    print(f"{len(graphs)} graphs, {len(records)} turns sent; exit status {status}, verdict {verdict}")
    print(f"joins: {pairs - len(wrong)} of {pairs} right by the ledger")
    print(
        f"turns that wait for others ({len(late)}): sent p50 {p50:.3f} / p99 {p99:.3f} / at most {late[-1]:.3f} ms late"
    )
    for sentence in wrong[:10]:
        print(sentence)
    good = not wrong and p99 <= ALLOWED_MS
    print(
        "within what is allowed" if good else f"NOT within what is allowed: every join, p99 at most {ALLOWED_MS:g} ms"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
