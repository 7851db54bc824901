"""Who did what with which task."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from bench.clock import utc_now
from bench.console.people import USER
from bench.console.store import Act, Store


class History:
    """What was done with the tasks of one folder."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, task: str, what: str) -> None:
        """Add what the user of this request did with a task."""
        # A full disk must not undo what was done.
        with suppress(sqlite3.Error):
            self._store.note(task, Act(utc_now().isoformat(timespec="seconds"), USER.get(), what))
