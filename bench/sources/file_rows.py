"""The rows of a file that are objects, in any container: JSON Lines, CSV, Parquet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from promptset.errors import SpecError
from promptset.loaders.containers import open_container

Item = TypeVar("Item")
_MOST_PROBLEMS = 5


def read_rows(path: Path, read: Callable[[dict[str, Any]], Item]) -> list[Item]:
    """The results of `read` for each row; it may raise SpecError. Raises SpecError with the first problems, each with
    its row."""
    items, problems = [], list[str]()
    container = open_container(path)
    for entry in container.entries():
        try:
            if not isinstance(entry.value, dict):
                raise SpecError(str(entry.value) if isinstance(entry.value, Exception) else "it is not an object")
            items.append(read(entry.value))
        except SpecError as e:
            problems += [f"{path}, {container.unit} {entry.number}: {problem}" for problem in e.problems]
    if problems:
        raise SpecError.of_rows(problems, _MOST_PROBLEMS, f"{len(problems) - _MOST_PROBLEMS:,} more problems")
    if not items:
        raise SpecError(f"the file {path} is empty")
    return items
