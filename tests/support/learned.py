"""What processes keep in the user's cache and would make again in each empty one: compiled templates.

They are the same whoever made them, and cost each first process of a cache a quarter of a second. So what one file's
processes have learned is there for those of the next file; results of this machine (ceilings, certificates) are not.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

LEARNED = ("templates",)
"""Folders of files in trueload/, each of which is replaced as a whole and never written into."""


def give(learned: Path, cache: Path) -> Path:
    """The cache, with what was learned."""
    _link(learned, cache / "trueload")
    return cache


def take(learned: Path, cache: Path) -> None:
    """What this cache has, for others to come."""
    _link(cache / "trueload", learned)


def _link(source: Path, target: Path) -> None:
    for path in (file for name in LEARNED for file in (source / name, *sorted((source / name).glob("[!.]*")))):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            draft = place.with_name(f".{place.name}.linked")
            with suppress(FileNotFoundError):  # A process that is left over may replace it at this moment.
                os.link(path, draft)
                draft.replace(place)
                draft.unlink(missing_ok=True)  # Of two names of one file, the replacing leaves both.
