"""Files that processes keep in the user's cache and would make again in each empty cache: compiled templates.

They are always the same, and cost the first process of each cache a quarter of a second. So the processes of one test
file reuse them from earlier files; results of this machine (ceilings, certificates) are not shared.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

LEARNED = ("templates",)
"""Folders in trueload/ whose files are always replaced as a whole and never written in place."""


def give(learned: Path, cache: Path) -> Path:
    """Put the learned files into the cache."""
    _link(learned, cache / "trueload")
    return cache


def take(learned: Path, cache: Path) -> None:
    """Take the learned files of this cache, for later ones."""
    _link(cache / "trueload", learned)


def _link(source: Path, target: Path) -> None:
    for path in (file for name in LEARNED for file in (source / name, *sorted((source / name).glob("[!.]*")))):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            draft = place.with_name(f".{place.name}.linked")
            with suppress(FileNotFoundError):  # A leftover process may replace it at this moment.
                os.link(path, draft)
                draft.replace(place)
                draft.unlink(missing_ok=True)  # If both names already refer to one file, replacing leaves both.
