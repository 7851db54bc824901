"""Data sets by their hub name, such as `openai/gsm8k`: through huggingface_hub (extra `hf`), which only this file and
the console import.

The local cache is tried first. If a data set has several files, the first by name of the test split is used, else of
the validation split, else of the training split.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from promptset.errors import SpecError

_SPLITS = ("test", "validation", "train")
_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv")


class _Hub(Protocol):
    """The part of huggingface_hub that this file uses."""

    def snapshot_download(
        self, repo_id: str, *, repo_type: str, allow_patterns: list[str], local_files_only: bool
    ) -> str: ...


def download(name: str) -> Path:
    """The file with the probes of a data set. Raises SpecError."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise SpecError(
            f"no file is called {name}; huggingface_hub, which loads a data set of that name, is not installed: "
            "pip install huggingface_hub"
        )
    hub = cast("_Hub", importlib.import_module("huggingface_hub"))
    patterns = [f"*{split}*{suffix}" for split in _SPLITS for suffix in _SUFFIXES]
    try:
        folder = hub.snapshot_download(name, repo_type="dataset", allow_patterns=patterns, local_files_only=True)
    except (OSError, ValueError):
        try:
            folder = hub.snapshot_download(name, repo_type="dataset", allow_patterns=patterns, local_files_only=False)
        except (OSError, ValueError) as e:
            lines = str(e).strip().splitlines()
            why = lines[0] if lines else repr(e)
            raise SpecError(f"the data set {name} cannot be loaded from the hub: {why}") from e
    return file_of(Path(folder), name)


def file_of(folder: Path, name: str) -> Path:
    """The file to read from a downloaded data set. Raises SpecError."""
    files = sorted(str(path) for path in folder.rglob("*") if path.suffix in _SUFFIXES)
    if (chosen := of_split(files)) is not None:
        return Path(chosen)
    raise SpecError(
        f"the data set {name} has no file of a split (test, validation, train): download it and give the file"
    )


def of_split(paths: Sequence[str]) -> str | None:
    """The first of these paths in the test split, else in the validation split, else in the training split."""
    return next((path for split in _SPLITS for path in paths if split in path.rpartition("/")[2]), None)
