"""The kinds of directories and how each is compared: searches by capacity, sweeps load by load, everything else as runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.comparison import capacities, curves, document
from bench.comparison.compare import compare
from bench.comparison.sides import LETTERS, read_sides
from bench.errors import UsageError
from bench.results.comparison import ComparisonResult

KINDS: dict[str, tuple[str, Callable[[Sequence[tuple[str, Path]], float, Iterable[str]], ComparisonResult]]] = {
    "searches": (capacities.FILE, capacities.compare),
    "sweeps": (curves.FILE, curves.compare),
}
"""By kind: the file that marks its directories, and the function that compares them."""


def compare_directories(paths: Sequence[Path], *, margin: float, allow: Iterable[str] = ()) -> ComparisonResult:
    """The content of compare.json. Raises UsageError if the directories cannot be compared."""
    kinds = [next((kind for kind, (file, _) in KINDS.items() if (path / file).is_file()), "runs") for path in paths]
    if len({*kinds}) > 1:
        shown = ", ".join(f"{path} holds {kind}" for path, kind in zip(paths, kinds, strict=True))
        raise UsageError(
            f"different things cannot be compared: {shown}; compare runs with runs, searches with searches"
        )
    names: dict[Path, str] = {}
    for name, path in zip(LETTERS, paths, strict=False):
        if (other := names.setdefault(path.resolve(), name)) != name:
            raise UsageError(
                f"{other} and {name} are both {path}: name another directory, so that something can differ"
            )
    if kinds[0] in KINDS:
        file, compare_kind = KINDS[kinds[0]]
        _refuse_copies(paths, file)
        return compare_kind(list(zip(LETTERS, paths, strict=False)), margin, allow)
    return document.result_of(compare(read_sides(paths), margin=margin, allow=allow))


def _refuse_copies(paths: Sequence[Path], file: str) -> None:
    """Raises UsageError if two files are equal to the byte: a file holds measured values and their time, so an equal
    file is a copy."""
    first: dict[bytes, Path] = {}
    for path in paths:
        if (original := first.setdefault((path / file).read_bytes(), path)) != path:
            raise UsageError(f"{path} is a copy of {original}: use only one of them")
