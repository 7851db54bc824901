"""The manifest of a run: what a run directory keeps of a run beside its configuration, its records and its samples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.config import RunConfig
from bench.config.renamed import renewed_config
from bench.dispatch.interface import NeverSent
from bench.errors import UsageError
from bench.machine.worker_place import WorkerPlace
from bench.process.priority import PriorityUse
from bench.run_files.run_directory import MANIFEST, RunDirectory
from bench.run_files.run_state import RunState
from bench.server_metrics.prefix_cache import PrefixCacheUse

DATA_FILES = {"dataset": "", "tools": "", "probes": "", "body": "@", "body_template": "@"}
"""Settings that may name a file whose content is sent, with the sign before its path."""


class TokenizerName(BaseModel):
    """The tokenizer that made the prompts: its name, and a fingerprint of its content."""

    model_config = ConfigDict(frozen=True)

    name: str
    fingerprint: str


class PromptTexts(BaseModel):
    """Which texts a run sent: `fresh` ones, which no earlier run sent; the `same` as other runs of the seed; or the user's
    `own`. `python -m promptset --salt` makes those of a salt again."""

    model_config = ConfigDict(frozen=True)

    texts: Literal["fresh", "same", "own"]
    salt: str | None


class PlannedSegment(BaseModel):
    """A part of a load that changes over time: along a line from `first` to `last`, in users or requests per second.

    The same twice in a step. Times are CLOCK_MONOTONIC.
    """

    model_config = ConfigDict(frozen=True)

    first: float
    last: float
    start_ns: int
    end_ns: int


class Warmup(BaseModel):
    """A warm-up whose end the run found: `replies` had come after `lasted_s`; `whole` if the first round was among them, else
    the longest time was over."""

    model_config = ConfigDict(frozen=True)

    lasted_s: float
    replies: int
    whole: bool


class ImportedFrom(BaseModel):
    """The load tester whose result a run was imported from, and the name of the file. `lacks`: what the file does not say,
    and what stands for it, a sentence each."""

    model_config = ConfigDict(frozen=True)

    tool: str
    version: str | None
    file: str
    lacks: tuple[str, ...] = ()


class Manifest(BaseModel):
    """Written when the load begins, and again when it has ended. Times in ns are CLOCK_MONOTONIC.

    Fields that a run could not know, or that an older version did not write, have their defaults; unknown ones are dropped.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    started: str
    command: tuple[str, ...]
    model: str | None
    models: tuple[str, ...] = ()
    """The models, where the run sends to several."""
    replicas: Literal["address", "reply"] | None = None
    """How records name the replica that a request went to: by its address, in a run with several, or as replies say. None:
    they name none."""
    notes: tuple[str, ...] = ()
    exact_lengths: bool
    """Whether the server was told to stop at no end token."""
    tokenizer: TokenizerName | None = None
    prompts: PromptTexts | None = None
    data_sha256: dict[str, str] = {}
    """Of each file that DATA_FILES name, by the value of the setting. Empty in runs of older versions."""
    clock: str | None = None
    event_loop: str | None = None
    workers: int = 1
    versions: dict[str, str] = {}
    host: dict[str, str | int] = {}
    planned: int | None = None
    """Requests after the warm-up, where their number is known."""
    start_ns: int
    segments: tuple[PlannedSegment, ...] = ()
    """Of --steps and of a --ramp that rises."""
    run_start_ns: int | None = None
    """When the warm-up was over; None where the run was killed before it could say."""
    warmup: Warmup | None = None
    """Of --warmup auto; None where the warm-up was given, or the run ended in it."""
    state: RunState | None = None
    """Where the run was when this was written; None in runs of older versions."""
    stop_reason: str | None = None
    ended: str | None = None
    server_limits: dict[str, int] = {}
    """max_num_seqs, max_num_batched_tokens and kv_tokens, as far as the server states them (/props, /server_info)."""
    never_sent: NeverSent | None = None
    """None in runs of older versions."""
    imported: ImportedFrom | None = None
    """None: the run is our own."""
    prefix_cache: PrefixCacheUse | None = None
    priority: tuple[PriorityUse, ...] = ()
    """Of each worker that lived to the end."""
    places: tuple[WorkerPlace, ...] = ()
    """Where the workers ran, of a run with --cluster."""
    died: tuple[str, ...] = ()
    """Workers that died, and how: one sentence's beginning each."""
    abandoned: bool = False
    """Whether the load was given up while requests were in flight: they have no record."""
    files: dict[str, int] = {}
    """The files from which the numbers are computed, with their bytes at the end of the load."""

    @property
    def may_lack_records(self) -> bool:
        """Whether requests may have been sent that have no record."""
        return bool(self.died) or self.abandoned or self.stop_reason is None

    @classmethod
    def stored(cls, content: Mapping[str, Any]) -> Self:
        """A manifest as run.yaml holds it. Raises UsageError where it lacks what every run has."""
        try:
            return cls.model_validate(content)
        except ValidationError as e:
            wrong = ", ".join(".".join(map(str, error["loc"])) for error in e.errors())
            raise UsageError(f"the manifest in run.yaml is damaged: {wrong}") from e

    def to_yaml(self) -> dict[str, object]:
        """What run.yaml holds: the fields that are known."""
        return self.model_dump(mode="json", exclude_unset=True)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What run.yaml holds: the configuration, as it is used and as it was written, and the manifest."""

    config: RunConfig
    written_config: Mapping[str, object]
    manifest: Manifest


def planned_segments(config: RunConfig, start_ns: int) -> tuple[PlannedSegment, ...]:
    """The segments of a load that begins at this instant, with its warm-up."""
    found = []
    at_ns = start_ns + config.length.warmup_ns
    for segment in config.segments:
        end_ns = at_ns + segment.duration_ns
        found.append(PlannedSegment(first=segment.first, last=segment.last, start_ns=at_ns, end_ns=end_ns))
        at_ns = end_ns
    return tuple(found)


def write(directory: RunDirectory, config: RunConfig, manifest: Manifest) -> bytes:
    """Put run.yaml in place. Returns its content; raises OSError."""
    return directory.write_manifest({"config": config.public(), "manifest": manifest.to_yaml()})


def load_began(directory: RunDirectory) -> bool:
    """Whether a load has begun, so that there may be something to lose; True if run.yaml is damaged."""
    if not (directory.path / MANIFEST).exists():
        return directory.has_records
    try:
        return read(directory).manifest.start_ns != 0
    except (OSError, UsageError):
        return True


def mark(directory: RunDirectory, state: RunState, content: bytes | None = None) -> None:
    """Change the state alone in run.yaml, or in this content of it: nothing else is written anew. Raises OSError."""
    before = (directory.path / MANIFEST).read_bytes() if content is None else content
    # A key of the configuration, the only other mapping of this depth, that is named `state` there is none.
    directory.write(MANIFEST, re.sub(rb"(?m)^  state: .*$", f"  state: {state}".encode(), before))


def read(directory: RunDirectory) -> StoredRun:
    """What run.yaml of this or an older version says. Raises UsageError where it is damaged."""
    stored = directory.manifest()
    config = RunConfig.stored(stored["config"])  # Raises where it is damaged.
    return StoredRun(config, renewed_config(stored["config"]), Manifest.stored(stored["manifest"]))
