"""Data that run directories do not hold, in one SQLite file: the queue, labels and notes, baselines, targets. No
secrets.

A lost or damaged file loses only this data: it is moved aside and a new one is created. The tasks themselves are
directories.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.clock import utc_now
from bench.console.people import USER
from bench.errors import UsageError

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE marks (task TEXT PRIMARY KEY, title TEXT, label TEXT, note TEXT, baseline INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE queue (task TEXT PRIMARY KEY, position INTEGER NOT NULL, start_at TEXT);
    CREATE TABLE targets (name TEXT PRIMARY KEY, content BLOB NOT NULL);
    CREATE TABLE seen (task TEXT PRIMARY KEY, stamp TEXT NOT NULL, content BLOB NOT NULL);
    """,
    # Tasks now have a headline: rows cached without it are read again.
    "DELETE FROM seen;",
    # The history of actions, in order.
    "CREATE TABLE acts (task TEXT NOT NULL, at TEXT NOT NULL, user TEXT, what TEXT NOT NULL);"
    "CREATE INDEX acts_of_task ON acts (task);",
)
"""Each migrates a file from the version of its index to the next. Only append."""


_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""SQLite's error codes for a damaged file (SQLITE_ERROR for a missing table). A full disk or a locked file does not
mean that the file is damaged."""


@dataclass(frozen=True, slots=True)
class Marks:
    """The user's marks on a task."""

    title: str | None = None
    label: str | None = None
    note: str | None = None
    baseline: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A saved server. `key_variable` is the environment variable that holds its API key; the key itself is never stored."""

    name: str
    url: str
    endpoint: str | None = None
    model: str | None = None
    tokenizer: str | None = None
    key_variable: str | None = None
    header_variables: dict[str, str] | None = None
    """The environment variable of each header's value."""


@dataclass(frozen=True, slots=True)
class Act:
    """One action on a task: when (ISO 8601, UTC), who (None without a proxy that names people), and what."""

    at: str
    user: str | None
    what: str


class Store:
    """One SQLite file in WAL mode, safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = self._opened()
        except sqlite3.DatabaseError as e:
            if (code := getattr(e, "sqlite_errorcode", None)) is not None and code & 0xFF not in _DAMAGED:
                raise UsageError(
                    f"{path} cannot be opened ({e}): look at its disk and its rights, and start again"
                ) from e
            # The old journal stays and is harmless: SQLite deletes the journal of an empty file.
            names = (f"{path.name}.broken{n}" for n in ("", *map("-{}".format, range(2, 1_000))))
            aside = next(each for name in names if not (each := path.with_name(name)).exists())
            path.replace(aside)
            warning = f"warning: {path} cannot be used ({e}): it is now {aside.name}, and a new one begins without its "
            print(f"{warning}titles, notes, queue, targets and history", file=sys.stderr, flush=True)
            self._connection = self._opened()

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise sqlite3.DatabaseError(f"{self._path} was written by a newer version")
            for number, script in enumerate(MIGRATIONS[version:], version + 1):
                connection.executescript(f"BEGIN;{script}PRAGMA user_version={number};COMMIT;")
            connection.execute("SELECT count(*) FROM marks, queue, targets, seen").fetchone()
            connection.execute("SELECT count(*) FROM acts").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, closing(self._connection.execute(query, values)) as cursor:
            return cursor.fetchall()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def marks(self) -> dict[str, Marks]:
        """The marks of every task that has any."""
        rows = self._rows("SELECT task, title, label, note, baseline FROM marks")
        return {task: Marks(title, label, note, bool(baseline)) for task, title, label, note, baseline in rows}

    def mark(self, task: str, marks: Marks) -> None:
        """Replace the marks of a task."""
        with self._write() as db:
            db.execute(
                "INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?)",
                (task, marks.title, marks.label, marks.note, marks.baseline),
            )

    def note(self, task: str, act: str) -> None:
        """Record an action of the current user on a task. A full disk must not undo the action itself."""
        now = utc_now().isoformat(timespec="seconds")
        with suppress(sqlite3.Error), self._write() as db:
            db.execute("INSERT INTO acts VALUES (?, ?, ?, ?)", (task, now, USER.get(), act))

    def acts(self, task: str) -> list[Act]:
        """The actions on a task, in order."""
        return [Act(*row) for row in self._rows("SELECT at, user, what FROM acts WHERE task = ? ORDER BY rowid", task)]

    def latest_acts(self, most: int) -> list[tuple[str, Act]]:
        """The latest actions on any task, the latest first: the task, and the action."""
        rows = self._rows("SELECT task, at, user, what FROM acts ORDER BY rowid DESC LIMIT ?", most)
        return [(task, Act(*act)) for task, *act in rows]

    def starters(self) -> dict[str, str]:
        """Who created each task, if known."""
        made = "what = 'created it' OR what LIKE 'made it from %'"
        return dict(self._rows(f"SELECT task, user FROM acts WHERE user IS NOT NULL AND ({made})"))

    def queue(self) -> list[tuple[str, str | None]]:
        """The waiting tasks in order, each with its earliest start time."""
        return [(task, at) for task, at in self._rows("SELECT task, start_at FROM queue ORDER BY position")]

    def enqueue(self, task: str, start_at: str | None = None) -> None:
        """Put a task at the end of the queue."""
        with self._write() as db:
            db.execute(
                "INSERT OR REPLACE INTO queue SELECT ?, coalesce(max(position), 0) + 1, ? FROM queue", (task, start_at)
            )

    def dequeue(self, task: str) -> None:
        """Remove a task from the queue, if it is there."""
        with self._write() as db:
            db.execute("DELETE FROM queue WHERE task = ?", (task,))

    def move(self, task: str, places: int) -> None:
        """Move a task towards the front (negative) or the end of the queue."""
        order = [name for name, _ in self.queue()]
        if task not in order:
            return
        at = order.index(task)
        order.insert(min(max(at + places, 0), len(order) - 1), order.pop(at))
        with self._write() as db:
            db.executemany("UPDATE queue SET position = ? WHERE task = ?", [(i, name) for i, name in enumerate(order)])

    def targets(self) -> list[Target]:
        """The saved servers, by name."""
        rows = self._rows("SELECT content FROM targets ORDER BY name")
        return [Target(**orjson.loads(content)) for (content,) in rows]

    def save_target(self, target: Target) -> None:
        """Add a server, or replace the one with its name."""
        with self._write() as db:
            db.execute("INSERT OR REPLACE INTO targets VALUES (?, ?)", (target.name, orjson.dumps(target)))

    def remove_target(self, name: str) -> None:
        with self._write() as db:
            db.execute("DELETE FROM targets WHERE name = ?", (name,))

    def seen(self) -> dict[str, tuple[str, bytes]]:
        """Cached content of finished run directories, with a stamp of their files. Reading a thousand directories takes
        a second."""
        rows = self._rows("SELECT task, stamp, content FROM seen")
        return {task: (stamp, content) for task, stamp, content in rows}

    def keep_seen(self, rows: list[tuple[str, str, bytes]]) -> None:
        if not rows:
            return
        with self._write() as db:
            db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", rows)

    def forget(self, task: str, *, marks: bool = True) -> None:
        """Delete a task's data. With `marks` false, its title, label and note stay for a later restore. Its history
        always stays."""
        with self._write() as db:
            for table in ("marks", "queue", "seen") if marks else ("queue", "seen"):
                db.execute(f"DELETE FROM {table} WHERE task = ?", (task,))
