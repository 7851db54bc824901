"""A run directory from a foreign result, marked as imported."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from statistics import fmean

from bench import manifest
from bench.clock import NS_PER_S
from bench.config import RunConfig, resolve
from bench.errors import UsageError
from bench.imports.foreign import ForeignRequest, ForeignRun
from bench.machine import identity
from bench.manifest import ImportedFrom, Manifest
from bench.records import RequestRecord, to_line
from bench.records.request_record import MOST_TOKENS
from bench.run_files.run_directory import REQUESTS, SAMPLES, RunDirectory
from bench.run_files.run_state import RunState

START_NS = 3_600 * NS_PER_S
"""When the first request of an imported run is sent: an arbitrary instant, but not 0, which means that no load began."""
UNKNOWN_URL = "http://unknown.invalid"
_LATEST_S = 1e10
"""A Unix time, or a reading of some other clock, is below this."""
_LONGEST_S = 1e9
"""No load is longer, and the instants of its records can be read again."""
_PROBLEMS_SHOWN = 10


def make_run(
    run: ForeignRun, path: Path, source: Path, tool: str, command: Sequence[str], place: int = 0
) -> RunDirectory:
    """A new run directory with these requests. `place`: the run's position in its file.

    Raises UsageError if a run already exists there, or there is nothing to import.
    """
    if all(request.warmup for request in run.requests):
        beyond = " after its warm-up" if run.requests else ""
        raise UsageError(f"{source} has no requests{beyond}")
    if problems := [
        f"{source}: request {number}: {problem}"
        for number, request in enumerate(run.requests, 1)
        if (problem := _problem(request)) is not None
    ]:
        raise UsageError(problems[:_PROBLEMS_SHOWN])
    records = _records(run)
    if (seconds := (max(record.end_ns for record in records) - START_NS) / NS_PER_S) > _LONGEST_S:
        raise UsageError(
            f"{source}: it has a request that ends {seconds:.3g} s after the first began: no load is so long"
        )
    try:
        config = _config(run, path)
    except UsageError as e:
        raise UsageError([f"{source}: {problem}" for problem in e.problems]) from e
    content = b"".join(map(to_line, records))
    directory = RunDirectory.create(path)
    directory.write(REQUESTS, content)
    directory.write(SAMPLES, b"")
    manifest.write(directory, config, _manifest(run, records, content, source, tool, command, place))
    return directory


def _problem(request: ForeignRequest) -> str | None:
    """A value that no client can have measured, or None."""
    for seconds in (request.sent_s, request.due_s):
        if seconds is not None and not abs(seconds) < _LATEST_S:  # Also rejects NaN.
            return f"it began at {seconds} s"
    for seconds in (request.latency_s, request.ttft_s, *(request.gaps_s or ())):
        if seconds is not None and not 0 <= seconds < _LATEST_S:
            return f"it has a time of {seconds} s"
    for count in (request.input_tokens, request.output_tokens):
        if count is not None and not 0 <= count <= MOST_TOKENS:  # Also rejects NaN.
            return f"it has {count} tokens"
    return None


def _config(run: ForeignRun, path: Path) -> RunConfig:
    """The load in our own settings, as far as the file has it."""
    requests = sum(not request.warmup for request in run.requests)
    settings: dict[str, object] = {
        "url": UNKNOWN_URL if run.url is None else run.url if "://" in run.url else f"http://{run.url}",
        "name": "imported",
        "endpoint": run.endpoint,
        "requests": requests,
        "input_tokens": _mean(run, "input_tokens"),
        "output_tokens": _mean(run, "output_tokens"),
        "model": run.model,
    }
    if run.rate is not None:
        load: dict[str, object] = {"mode": "rate", "rate": run.rate, "max_concurrency": run.concurrency}
    elif run.concurrency is not None:
        load = {"mode": "concurrency", "concurrency": min(run.concurrency, requests)}
    else:
        load = {"mode": "throughput"}
    return resolve({key: value for key, value in (settings | load).items() if value is not None}).at(path)


def _mean(run: ForeignRun, name: str) -> str | None:
    counts = [count for request in run.requests if (count := getattr(request, name))]
    return str(max(1, round(fmean(counts)))) if counts else None


def _manifest(
    run: ForeignRun,
    records: Sequence[RequestRecord],
    content: bytes,
    source: Path,
    tool: str,
    command: Sequence[str],
    place: int,
) -> Manifest:
    digest = hashlib.sha256(source.read_bytes() + str(place).encode()).hexdigest()[:8]
    written = datetime.fromtimestamp(source.stat().st_mtime, UTC).isoformat(timespec="seconds")
    started = written if run.started is None else run.started
    return Manifest(
        run_id=f"imported-{digest}",
        started=started,
        ended=started,
        command=tuple(command),
        model=run.model,
        exact_lengths=False,
        versions={"trueload": identity.versions().get("trueload", "")},
        planned=sum(record.phase == "run" for record in records),
        start_ns=START_NS,
        run_start_ns=min(record.intended_ns for record in records if record.phase == "run"),
        state=RunState.ENDED,
        stop_reason="requests",
        imported=ImportedFrom(tool=tool, version=run.version, file=source.name, lacks=run.lacks),
        files={REQUESTS: len(content), SAMPLES: 0},
    )


def _records(run: ForeignRun) -> list[RequestRecord]:
    """The records, in order of their starts. A request without a start is given the earliest start."""
    known = [at for request in run.requests for at in (request.sent_s, request.due_s) if at is not None]
    first_s = min(known, default=0.0)
    starts = [first_s if request.sent_s is None else request.sent_s for request in run.requests]
    ordered = sorted(zip(starts, run.requests, strict=True), key=lambda row: row[0])
    return [_record(request, index, sent_s, first_s) for index, (sent_s, request) in enumerate(ordered)]


def _record(request: ForeignRequest, index: int, sent_s: float, first_s: float) -> RequestRecord:
    def at(seconds: float) -> int:
        return START_NS + round((seconds - first_s) * NS_PER_S)

    # A request sent before it was due, by its client's clocks, was due when it was sent.
    due_ns = at(sent_s if request.due_s is None else min(request.due_s, sent_s))
    chunks, tokens = _chunks(request)
    ends_s = max(0.0 if request.latency_s is None else request.latency_s, *chunks, 0.0)
    return RequestRecord(
        id=f"imported-{index}",
        index=index,
        phase="warmup" if request.warmup else "run",
        intended_ns=due_ns,
        eligible_ns=due_ns,
        connect_ns=None,
        sent_ns=at(sent_s),
        first_byte_ns=at(sent_s + chunks[0]) if chunks else None,
        end_ns=at(sent_s + ends_s),
        attempts=1,
        status=request.status,
        outcome=request.outcome,
        error=request.error,
        chunk_ns=tuple(at(sent_s + chunk) for chunk in chunks),
        chunk_tokens=tokens,
        chunk_kind="c" * len(chunks),
        input_tokens=_whole(request.input_tokens),
        output_tokens=_whole(request.output_tokens),
        output_tokens_from=None if request.output_tokens is None else "usage",
    )


def _whole(count: float | None) -> int | None:
    return None if count is None else round(count)


def _chunks(request: ForeignRequest) -> tuple[list[float], tuple[int, ...] | None]:
    """When chunks came, in seconds after the send, and their tokens. Without gaps: the first token, and all others
    together."""
    if request.ttft_s is None:
        return [], None
    count = _whole(request.output_tokens) or 0
    if request.gaps_s is not None:
        chunks = [*accumulate((request.ttft_s, *request.gaps_s))]
        return chunks, (1,) * count if count == len(chunks) else None
    if count > 1 and request.latency_s is not None and request.latency_s >= request.ttft_s:
        return [request.ttft_s, request.latency_s], (1, count - 1)
    return [request.ttft_s], (count,) if count else None
