"""Other load testers against our mock: what each printed, what the mock's ledger says, and what it cost.

Each tool, ours included, puts the same load on a mock of its own. The truth is the ledger: when a request's last byte
arrived, when each chunk was handed to the kernel. It is given twice, by the tool's own definitions
(`bench.metrics.compat` applied to the ledger) and by ours, so that a difference of definition does not count as an
error. Client and mock share the machine. CPU is that of the whole command, start and report included, of all processes
that it waited for.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from compared import TOOLS, Load, Tool
from compared.arrivals import arrivals
from compared.command import place_of, run, tail
from compared.loads import LOADS
from compared.tables import METRICS, show
from compared.tool import MODEL

from bench.accuracy.join import expected_outcome
from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.process.mock_process import running_mock
from bench.records import Outcome, RequestRecord
from bench.records.record_table import RecordTable
from bench.results.base import to_plain

ROOT = Path(__file__).parents[1]
INSTALLED = ROOT / "build" / "compared"
TTFT_MS, ITL_MS = 50, 20
STATS = ("mean", "p50", "p99")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", default=",".join(TOOLS), help=f"which to run, of {', '.join(TOOLS)}")
    parser.add_argument("--loads", default=",".join(LOADS), help=f"under which loads, of {', '.join(LOADS)}")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "build" / "compare-tools.json", help="where to keep the results"
    )
    parser.add_argument(
        "--runs", type=int, default=1, metavar="N", help="how often each; tables show the medians (default %(default)s)"
    )
    parser.add_argument("--table", type=Path, metavar="FILE", help="only print the tables of such results")
    parser.add_argument("--remove", action="store_true", help="only remove the tools that were installed")
    asked = parser.parse_args()
    if asked.remove:
        shutil.rmtree(INSTALLED, ignore_errors=True)
        return 0
    if asked.table is not None:
        return show(json.loads(asked.table.read_text()))
    tools, loads = asked.tools.split(","), asked.loads.split(",")
    if problems := _problems(tools, loads, asked.runs):
        parser.error("\n".join(problems))
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in tools:
        TOOLS[name].install(INSTALLED / name)
    sizes = {name: round(TOOLS[name].size(INSTALLED / name) / 1e6, 1) for name in tools}
    found: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": f"{os.cpu_count()} processors, Linux {platform.release()}, Python {platform.python_version()}",
        "installed_mb": sizes,
        "runs": [],
    }
    for load in loads:
        for turn in range(asked.runs):  # All tools take turns: changes of the machine affect all of them.
            for name in tools:
                print(f"== {TOOLS[name].title}: {LOADS[load].title} ({turn + 1} of {asked.runs})", file=sys.stderr)
                found["runs"].append({"tool": name, "load": load, "turn": turn} | measure(name, LOADS[load]))
                asked.json.write_text(json.dumps(found, indent=1))
    return show(found)


def _problems(tools: list[str], loads: list[str], runs: int) -> list[str]:
    """A sentence for each flag with an unknown or impossible value."""
    problems = []
    for names, known, flag in ((tools, TOOLS, "--tools"), (loads, LOADS, "--loads")):
        if unknown := [name for name in names if name not in known]:
            problems.append(f"{flag}: {', '.join(unknown)}: there are {', '.join(known)}")
    if runs < 1:
        problems.append(f"--runs: {runs}: at least 1")
    return problems


def measure(name: str, load: Load) -> dict[str, Any]:
    """One run of one tool: what it printed, the truth, and what it used; or why it cannot send this load."""
    tool = TOOLS[name]
    if why := tool.cannot(load):
        return {"version": tool.version, "cannot": why}
    with tempfile.TemporaryDirectory(prefix="trueload-") as folder:
        place = place_of(Path(folder), INSTALLED / name, load)
        flags = f"--model {MODEL} --ttft {TTFT_MS}ms --tpot {ITL_MS}ms {load.mock}"
        with running_mock(flags, seed=0, tokenizer=None) as mock:
            used = run(tool.command(load, mock.url, place), place)
            mock.stop()  # The ledger is complete when the mock has ended.
            lines = [orjson.loads(line) for line in mock.ledger.read_bytes().splitlines()]
        used["version"] = tool.version
        if used["status"] not in tool.measured:
            return used | {"problem": f"it ended with status {used['status']}: {tail(place.run / 'log')}"}
        try:
            printed = tool.read(place.run)
        except (OSError, LookupError, ValueError, TypeError) as e:
            return used | {"problem": f"its result cannot be read ({e!r}): {tail(place.run / 'log')}"}
    records = _records(lines, load.requests)
    if not records:
        return used | {"problem": "the mock's ledger has no reply"}
    truth = _truth(records, load)
    return used | {
        "printed": printed.numbers,
        "says": printed.says,
        "succeeded": printed.succeeded,
        "output_tokens": printed.output_tokens,
        "true": _own(tool, truth),
        "true_ours": _own(TOOLS["trueload"], truth),
        "true_tokens": truth["tokens"]["output"],
        "true_requests": len(records),
        "other_requests": len(lines) - len(records),
        "load_s": truth["throughput"]["duration_s"],
        "start_s": (min(line["received_ns"] for line in lines) - used["began_ns"]) / 1e9,
        "end_s": (used["ended_ns"] - max(record.end_ns for record in records)) / 1e9,
        **arrivals([record.intended_ns for record in records]),
    }


def _records(lines: list[dict[str, Any]], requests: int) -> list[RequestRecord]:
    """The ledger as records of a perfect client: sent when the request's last byte arrived, stamped when written.

    A tool may send requests before its load; then the last requests are the load. It may also go on until its count has
    ended and cut the requests beyond it: such replies at the end do not belong to its load.
    """
    replies = [line for line in lines if line["write_ns"] and expected_outcome(line) is Outcome.OK]
    replies = [line for line in replies if not str(line["id"]).startswith("probe-")]
    replies.sort(key=lambda line: line["received_ns"])
    while len(replies) > requests and "cut" in replies[-1]["engine"]:
        replies.pop()
    return [
        RequestRecord(
            id=str(line["id"]), index=index, phase="run", intended_ns=line["received_ns"], eligible_ns=line["received_ns"],
            connect_ns=0, sent_ns=line["received_ns"], first_byte_ns=line["write_ns"][0], end_ns=line["end_ns"],
            attempts=1, status=200, outcome=Outcome.INTERRUPTED if "cut" in line["engine"] else Outcome.OK,
            chunk_ns=tuple(line["write_ns"]), chunk_tokens=tuple(line["chunk_tokens"]), chunk_kind=line["chunk_kind"],
            output_tokens=sum(line["chunk_tokens"]), output_tokens_from="usage",
            output_tokens_counted=sum(line["chunk_tokens"]), input_tokens=line["input_tokens"],
        )
        for index, line in enumerate(replies[-requests:])
    ]  # fmt: skip


def _truth(records: list[RequestRecord], load: Load) -> Mapping[str, Any]:
    mode = "concurrency" if load.rate is None else "rate"
    start_ns = min(record.intended_ns for record in records)
    summary = Summary(RunFacts(mode=mode, open_loop=mode == "rate", endpoint="chat", start_ns=start_ns, seed=0))
    summary.add(RecordTable(list(records)))
    return to_plain(summary.close())


def _own(tool: Tool, truth: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The truth by a tool's own definitions."""
    rows = truth["latency"] if tool.compat is None else truth["compat"][tool.compat]
    return {key: {stat: rows[key][stat] for stat in STATS} for key in METRICS if rows[key] is not None}


if __name__ == "__main__":
    sys.exit(main())
