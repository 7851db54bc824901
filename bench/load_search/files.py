"""The directory of a search: search.json after every visit, search.yaml for resuming, search.html at the end.

Each visit is a run directory inside it. search.json is replaced atomically, so a killed search loses at most the visit
in progress.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.config import RunConfig
from bench.errors import UsageError
from bench.load_search import search_file
from bench.load_search.decisions import Ending, Search
from bench.run_files.run_directory import RunDirectory
from bench.run_files.shape import read_object
from bench.run_files.writable import make_directory
from bench.series import files

SEARCH, SETTINGS, PAGE = "search.json", "search.yaml", "search.html"

LEFT_TO_VISITS = ("rate", "concurrency", "duration", "requests", "warmup", "ramp_up", "ramp", "steps", "mode", "until")
"""Settings of a run that the search chooses for each visit."""
_SAYS_NOTHING = ("out", "name", "format", "quiet", "details", "api_key", "header", "wait_for_server", *LEFT_TO_VISITS)
"""Settings that may differ when a search is resumed: where it writes, its secrets, and what visits choose."""


def config_sha256(config: RunConfig, load_kind: str) -> str:
    """The digest of the settings that visits must share to be about one server under one load."""
    shown = {key: value for key, value in config.public().items() if key not in _SAYS_NOTHING}
    return files.sha256_of([load_kind, shown])


@dataclass(frozen=True, slots=True)
class SearchDirectory:
    """The files of one search."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: RunConfig, manifest: Mapping[str, object]) -> SearchDirectory:
        """Create a search directory. Raises UsageError if it holds a search or a run already, or cannot be created."""
        if (path / SEARCH).exists() or (path / SETTINGS).exists():
            raise UsageError(f"--out {path} already holds a search: go on with it (--resume {path}), or name another")
        RunDirectory.refuse_used(path)
        make_directory("--out", path)
        try:
            content = {"manifest": dict(manifest), "config": config.public()}
            written = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120).encode()
            RunDirectory(path).write(SETTINGS, written)
        except OSError as e:
            raise UsageError(f"--out {path} cannot be written ({e.strerror}): name another directory") from e
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> SearchDirectory:
        """Open an existing search directory. Raises UsageError if it is not one."""
        if not (path / SETTINGS).is_file():
            raise UsageError(f"--resume {path}: not the directory of a search: it has no {SETTINGS}")
        return cls(path)

    @property
    def settings(self) -> Path:
        """The configuration of the runs, in the form that `--config` reads."""
        return self.path / SETTINGS

    def kept(self) -> dict[str, Any] | None:
        """The content of search.json; None if no visit has ended yet. Raises UsageError if it is damaged."""
        file = self.path / SEARCH
        return read_object(file, "search", ": give another directory") if file.exists() else None

    def write(self, search: Search, sha256_of_config: str, stopped_by: Ending | None, require: float | None) -> None:
        """Write search.json atomically."""
        content = search_file.to_json(search, sha256_of_config, stopped_by, require)
        files.write(self.path, SEARCH, content)

    def write_page(self, html: str) -> None:
        """Write search.html atomically."""
        RunDirectory(self.path).write(PAGE, html.encode())
