"""The manifest: what a run directory stores about a run besides its configuration, records and samples."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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


def data_digests(config: RunConfig) -> dict[str, str]:
    """The SHA-256 of each data file of the run and its classes, by the value of its setting. A pipe has none, because it
    cannot be read twice. Raises UsageError."""
    configs = [config, *(run_class.config for run_class in config.classes)]
    digests: dict[str, str] = {}
    for name, sign in DATA_FILES.items():
        for value in (getattr(each, name) for each in configs):
            if value is None or value in digests or not value.startswith(sign):
                continue
            digest = digest_of(Path(value.removeprefix(sign)))
            if digest is not None:
                digests[value] = digest
    return digests


def digest_of(path: Path) -> str | None:
    """The SHA-256 of a file; None if it is a pipe or does not exist. Raises UsageError if it cannot be read."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise UsageError(f"{path} cannot be read ({e.strerror})") from e


class TokenizerName(BaseModel):
    """The tokenizer that made the prompts: its name, and a fingerprint of its content."""

    model_config = ConfigDict(frozen=True)

    name: str
    fingerprint: str


class PromptTexts(BaseModel):
    """The texts that a run sent: `fresh` (sent by no earlier run), the `same` as other runs with the seed, or the
    user's `own`. `python -m promptset --salt` generates the texts of a salt again."""

    model_config = ConfigDict(frozen=True)

    texts: Literal["fresh", "same", "own"]
    salt: str | None


class PlannedSegment(BaseModel):
    """A part of a load that changes over time: linear from `first` to `last`, in users or requests per second.

    The two are equal in a step. Times are CLOCK_MONOTONIC.
    """

    model_config = ConfigDict(frozen=True)

    first: float
    last: float
    start_ns: int
    end_ns: int


class Warmup(BaseModel):
    """A warm-up whose length the run determined: it ended after `lasted_s`, with `replies` received. `whole` if these
    included the first round; otherwise the time limit ended it."""

    model_config = ConfigDict(frozen=True)

    lasted_s: float
    replies: int
    whole: bool


class ImportedFrom(BaseModel):
    """The load tester whose result was imported, and the name of the file. `lacks`: a sentence for each value that is
    not in the file, and what replaces it."""

    model_config = ConfigDict(frozen=True)

    tool: str
    version: str | None
    file: str
    lacks: tuple[str, ...] = ()


class Manifest(BaseModel):
    """Written when the load begins, and again when it has ended. Times in ns are CLOCK_MONOTONIC.

    Fields that a run could not know, or that an older version did not write, have defaults; unknown fields are dropped.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    started: str
    command: tuple[str, ...]
    model: str | None
    models: tuple[str, ...] = ()
    """The models, if the run sends to several."""
    replicas: Literal["address", "reply"] | None = None
    """How records name the replica that served a request: by its address (in a run with several addresses), or as named
    in the replies. None: they do not."""
    notes: tuple[str, ...] = ()
    exact_lengths: bool
    """Whether the server was told to ignore end-of-sequence tokens."""
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
    """The number of requests after the warm-up, if known."""
    start_ns: int
    segments: tuple[PlannedSegment, ...] = ()
    """Of --steps and of a rising --ramp."""
    run_start_ns: int | None = None
    """When the warm-up ended; None if the run was killed before it could record that."""
    warmup: Warmup | None = None
    """Of --warmup auto; None if the warm-up length was given, or the run ended during it."""
    state: RunState | None = None
    """The stage of the run when this was written; None in runs of older versions."""
    stop_reason: str | None = None
    ended: str | None = None
    server_limits: dict[str, int] = {}
    """max_num_seqs, max_num_batched_tokens and kv_tokens, if the server reports them (/props, /server_info)."""
    never_sent: NeverSent | None = None
    """None in runs of older versions."""
    imported: ImportedFrom | None = None
    """None: one of our own runs."""
    prefix_cache: PrefixCacheUse | None = None
    priority: tuple[PriorityUse, ...] = ()
    """For each worker that survived to the end."""
    places: tuple[WorkerPlace, ...] = ()
    """Where the workers ran, in a run with --cluster."""
    died: tuple[str, ...] = ()
    """Workers that died, and how: the beginning of a sentence for each."""
    abandoned: bool = False
    """Whether the load was abandoned with requests in flight, which then have no record."""
    files: dict[str, int] = {}
    """The files that the numbers are computed from, with their sizes in bytes at the end of the load."""

    @property
    def may_lack_records(self) -> bool:
        """Whether some requests may have been sent but not recorded."""
        return bool(self.died) or self.abandoned or self.stop_reason is None

    @classmethod
    def stored(cls, content: Mapping[str, Any]) -> Self:
        """Parse a manifest from run.yaml. Raises UsageError if required fields are missing or wrong."""
        try:
            return cls.model_validate(content)
        except ValidationError as e:
            wrong = ", ".join(".".join(map(str, error["loc"])) for error in e.errors())
            raise UsageError(f"the manifest in run.yaml is damaged: {wrong}") from e

    def to_yaml(self) -> dict[str, object]:
        """The content for run.yaml: only the fields that were set."""
        return self.model_dump(mode="json", exclude_unset=True)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """The content of run.yaml: the configuration, as used and as written, and the manifest."""

    config: RunConfig
    written_config: Mapping[str, object]
    manifest: Manifest


def planned_segments(config: RunConfig, start_ns: int) -> tuple[PlannedSegment, ...]:
    """The segments of a load whose warm-up begins at this instant."""
    segments = []
    at_ns = start_ns + config.length.warmup_ns
    for segment in config.segments:
        end_ns = at_ns + segment.duration_ns
        segments.append(PlannedSegment(first=segment.first, last=segment.last, start_ns=at_ns, end_ns=end_ns))
        at_ns = end_ns
    return tuple(segments)


def write(directory: RunDirectory, config: RunConfig, manifest: Manifest) -> bytes:
    """Write run.yaml. Returns its content; raises OSError."""
    return directory.write_manifest({"config": config.public(), "manifest": manifest.to_yaml()})


def load_began(directory: RunDirectory) -> bool:
    """Whether a load has begun, so that data could be lost; True if run.yaml is damaged."""
    if not (directory.path / MANIFEST).exists():
        return directory.has_records
    try:
        return read(directory).manifest.start_ns != 0
    except (OSError, UsageError):
        return True


def mark(directory: RunDirectory, state: RunState, content: bytes | None = None) -> None:
    """Change only the state in run.yaml, or in the given content of it, without writing the rest anew. Raises OSError."""
    before = (directory.path / MANIFEST).read_bytes() if content is None else content
    # The configuration, the only other mapping at this depth, has no key named `state`.
    directory.write(MANIFEST, re.sub(rb"(?m)^  state: .*$", f"  state: {state}".encode(), before))


def read(directory: RunDirectory) -> StoredRun:
    """Read run.yaml of this or an older version. Raises UsageError if it is damaged."""
    stored = directory.manifest()
    config = RunConfig.stored(stored["config"])  # Raises if it is damaged.
    return StoredRun(config, renewed_config(stored["config"]), Manifest.stored(stored["manifest"]))
