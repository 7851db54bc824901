"""Reading the runs of a fit: their records as streams, their loads, and what they state about their server."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import MsgspecError

from bench import manifest
from bench.damage import explained
from bench.errors import UsageError
from bench.fit.streams import Stream, streams_of
from bench.records import NO_FAILURE
from bench.results.summary import from_json
from bench.run_files.run_directory import SERVER, SUMMARY, RunDirectory
from bench.server_metrics.scrapes import read_scrapes
from bench.server_metrics.servers import SERVERS

_LOAD = ("mode", "concurrency", "rate", "users", "requests", "duration", "input_tokens", "output_tokens", "dataset")
_CACHE_CONFIG = "vllm:cache_config_info{"


@dataclass(frozen=True, slots=True)
class FittedRun:
    """A run of a server: the data for the fit, and the facts for the profile."""

    name: str
    run_id: str
    started: str
    url: str
    endpoint: str
    model: str | None
    load: Mapping[str, object]
    """The settings that define the load."""
    streams: tuple[Stream, ...]
    server: str | None
    """The kind of server, from its metrics page."""
    stated: Mapping[str, int]
    """Limits that the server states: max_num_seqs, max_num_batched_tokens, kv_blocks (of 16 tokens)."""
    version: str | None
    """The version of Trueload that made the run."""
    failed: int = 0
    """Failed requests, including those of the warm-up."""
    unusable: str | None = None
    """Its verdict and the first reason, if the verdict is INVALID or FAILED."""

    @property
    def most_users(self) -> int:
        """The largest number of requests in flight at once."""
        changes = sorted([(s.sent_us, 1) for s in self.streams] + [(s.end_us, -1) for s in self.streams])
        flying = most = 0
        for _, change in changes:
            flying += change
            most = max(most, flying)
        return most


def read_runs(paths: Sequence[Path]) -> list[FittedRun]:
    """Read the runs. Raises UsageError with a sentence for each run that cannot be fitted."""
    runs, problems = [], []
    for path in paths:
        try:
            run = _read(RunDirectory.open(path))
        except UsageError as e:
            problems += e.problems
            continue
        if not any(stream.sure and len(stream.tokens) > 1 for stream in run.streams):
            problems.append(
                f"{path}: no reply came as a stream of tokens that are known: a fit needs streamed replies of an endpoint "
                "that generates text"
            )
        runs.append(run)
    if len({run.model for run in runs}) > 1:
        named = ", ".join(f"{run.name} has {run.model}" for run in runs)
        problems.append(f"a fit is of one model: {named}; fit each by itself")
    if len({run.run_id for run in runs}) < len(runs):
        problems.append("a run is named twice: name each once")
    if problems:
        raise UsageError(problems)
    return runs


def refuse_other_models(model: str | None, held_out: Sequence[Path]) -> None:
    """Raises UsageError with a sentence for each held-out run that is not of the model of the fitted runs."""
    models = {path: manifest.read(RunDirectory.open(path)).manifest.model for path in held_out}
    problems = [
        f"--held-out {path}: a check is of the model that is fitted ({model}), and this run has {other}"
        for path, other in models.items()
        if other != model
    ]
    if problems:
        raise UsageError(problems)


@explained
def _read(directory: RunDirectory) -> FittedRun:
    path = directory.path
    stored = manifest.read(directory)
    zero_ns = stored.manifest.start_ns
    config = stored.written_config
    if len(stored.manifest.models) > 1:
        raise UsageError(f"{path}: the run sends to several models, and a fit is of one")
    if len(targets := sorted({record.target for record in directory.records() if record.target is not None})) > 1:
        raise UsageError(
            f"{path}: several servers answered ({', '.join(targets[:3])}), and a fit is of one: load one of them"
        )
    server, blocks = _of_server(directory)
    stated = {name: value for name, value in stored.manifest.server_limits.items() if name != "kv_tokens"}
    if blocks is None and "kv_tokens" in stored.manifest.server_limits:
        blocks = max(1, stored.manifest.server_limits["kv_tokens"] // 16)
    return FittedRun(
        name=path.name,
        run_id=stored.manifest.run_id,
        started=stored.manifest.started,
        url=stored.config.url,
        endpoint=stored.config.endpoint,
        model=stored.manifest.model,
        load={name: config[name] for name in _LOAD if config.get(name) is not None},
        streams=tuple(streams_of(directory.records(), zero_ns)),
        server=server,
        stated=stated if blocks is None else {**stated, "kv_blocks": blocks},
        version=stored.manifest.versions.get("trueload"),
        failed=sum(record.outcome not in NO_FAILURE for record in directory.records()),
        unusable=_unusable(path / SUMMARY),
    )


def _unusable(summary: Path) -> str | None:
    try:
        verdict = from_json(summary.read_bytes()).verdict
    except (OSError, MsgspecError):
        return None
    reason = next(iter(verdict.reasons), "no reason was recorded")
    return f"{verdict.status} ({reason})" if verdict.status in ("INVALID", "FAILED") else None


def _of_server(directory: RunDirectory) -> tuple[str | None, int | None]:
    """The kind of server and its KV blocks, from the first page in server.jsonl that has samples."""
    for scrape in read_scrapes(directory.scraped_lines(SERVER)):
        if not scrape.values:
            continue
        kind = next((t.name for t in SERVERS if any(key.startswith(t.prefix) for key in scrape.values)), None)
        labels = next((key for key in scrape.values if key.startswith(_CACHE_CONFIG)), "")
        blocks = re.search(r'num_gpu_blocks="(\d+)"', labels)
        size = re.search(r'block_size="(\d+)"', labels)
        if blocks is None or size is None:
            return kind, None
        return kind, max(1, int(blocks[1]) * int(size[1]) // 16)
    return None, None
