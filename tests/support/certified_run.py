"""A run with a correct client, with its ledger, and its certificate after a change."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import orjson

from bench.accuracy.compare import certify
from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.records import RequestRecord, to_line
from bench.results.base import to_plain
from bench.results.certificate import LedgerCalibration
from bench.results.summary import SummaryNumbers
from bench.rng import stream
from bench.run_files.run_directory import RunDirectory
from bench.verdict.certificate import calibration
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Status, Verdict
from bench.verdict.limits import Limits
from tests.support.changed import replace
from tests.support.made_ledger import made_line
from tests.support.made_records import START_NS, made_record
from tests.support.results import filled
from tests.support.tables import measured, table_of

N = 100


def one(i: int) -> RequestRecord:
    """Role at 5 ms, then 3 reasoning and 20 content chunks, two of them with several tokens. Usage comes 30 and [DONE]
    35 ms later."""
    chance = stream(7, "made", i)
    times = [5.0, 50 + chance.uniform(-10, 10)]
    for _ in range(22):
        times.append(times[-1] + 20.4 + chance.uniform(-0.3, 0.3))
    times += [times[-1] + 30, times[-1] + 35]
    tokens = [0, *[1] * 10, 3, *[1] * 6, 4, *[1] * 5, 0, 0]
    return made_record(i, sent_ms=20 * i, chunks_ms=times, kinds="r" + "t" * 3 + "c" * 20 + "uo", tokens=tokens)


RECORDS = [one(i) for i in range(N)]
LINES = [made_line(record) for record in RECORDS]


def summary_of(records: list[RequestRecord]) -> Any:
    summary = Summary(
        RunFacts(mode="concurrency", open_loop=False, endpoint="chat", start_ns=START_NS, seed=0, concurrency=10)
    )
    summary.add(table_of(*records))
    return to_plain(summary.close())


def latency_of(records: list[RequestRecord]) -> dict[str, Any]:
    latency: dict[str, Any] = summary_of(records)["latency"]
    return latency


SUMMARY = summary_of(RECORDS)
LATENCY = SUMMARY["latency"]


def certified(
    folder: Path,
    records: list[RequestRecord] = RECORDS,
    lines: list[dict[str, Any]] = LINES,
    latency: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    directory = RunDirectory.create(folder / "run")
    # Stamps that a test moves must not be later than the end of their response.
    ended = [replace(r, end_ns=max(r.end_ns, *r.chunk_ns[-1:])) if r.chunk_ns else r for r in records]
    (directory.path / "requests.jsonl").write_bytes(b"".join(map(to_line, ended)))
    (directory.path / "ledger.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    summary = SUMMARY if records is RECORDS else summary_of(records)
    if latency is not None:
        summary = summary | {"latency": latency}
    found = certify(directory, filled(SummaryNumbers, summary), measured, start_ns=START_NS, **more)
    assert found is not None
    return to_plain(found[0]) | {"plots": to_plain(found[1])}


def judged(rows: dict[str, Any]) -> Verdict:
    read = filled(LedgerCalibration, {key: value for key, value in rows.items() if key != "plots"})
    findings = tuple(
        calibration(RunEvidence(summary=cast(Any, {}), open_loop=False, exact_lengths=True, calibration=read), Limits())
    )
    return Verdict(max((f.status for f in findings), key=list(Status).index, default=Status.VALID), findings)
