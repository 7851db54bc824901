"""The console's SQLite file: what it keeps, in which order, and what happens when it is damaged."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.console.store import MIGRATIONS, Marks, Store, Target
from bench.errors import UsageError
from tests.support.full_disk import full_disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "console.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path)
    yield store
    store.close()


def order(store: Store) -> str:
    return "".join(name for name, _ in store.queue())


@pytest.mark.parametrize(
    ("task", "places", "after"),
    [
        ("a", -1, "abcd"),
        ("a", 1, "bacd"),
        ("a", 2, "bcad"),
        ("a", 3, "bcda"),
        ("a", 9, "bcda"),
        ("d", -1, "abdc"),
        ("d", -9, "dabc"),
        ("d", 1, "abcd"),
        ("c", 0, "abcd"),
        ("c", 1, "abdc"),
        ("missing", 1, "abcd"),
    ],
)
def test_a_task_moves_in_the_queue(task: str, places: int, after: str, store: Store) -> None:
    for name in "abcd":
        store.enqueue(name)
    store.move(task, places)
    assert order(store) == after
    store.enqueue("e")
    assert order(store) == after + "e"


def test_a_task_that_is_put_into_the_queue_again_is_the_last_and_has_its_new_time(store: Store) -> None:
    store.enqueue("a", "2026-11-29T01:00")
    store.enqueue("b")
    store.enqueue("a", "2026-11-29T02:00")
    assert store.queue() == [("b", None), ("a", "2026-11-29T02:00")]
    store.dequeue("missing")
    store.dequeue("b")
    assert order(store) == "a"


def test_marks_are_replaced_and_nothing_is_said_of_the_others(store: Store) -> None:
    assert store.marks() == {}
    store.mark("a", Marks("Title", "label", "note", True))
    store.mark("b", Marks(title="Other"))
    store.mark("a", Marks(note="only a note"))
    assert store.marks() == {"a": Marks(None, None, "only a note", False), "b": Marks("Other", None, None, False)}
    assert Marks().baseline is False
    assert all(isinstance(marks.baseline, bool) for marks in store.marks().values())


def test_targets_are_listed_by_name_replaced_and_removed(store: Store) -> None:
    store.save_target(Target("b", "http://b"))
    store.save_target(Target("a", "http://a", model="m"))
    store.save_target(Target("b", "http://b2"))
    assert store.targets() == [Target("a", "http://a", model="m"), Target("b", "http://b2")]
    store.remove_target("a")
    assert store.targets() == [Target("b", "http://b2")]


def test_what_was_read_is_kept_and_a_task_that_is_gone_is_forgotten_everywhere(store: Store) -> None:
    store.keep_seen([("a", "1", b"one"), ("b", "1", b"two")])
    store.keep_seen([("a", "2", b"new")])
    assert store.seen() == {"a": ("2", b"new"), "b": ("1", b"two")}
    for task in "ab":
        store.mark(task, Marks(title=task))
        store.enqueue(task)
    store.forget("a")
    assert (list(store.seen()), list(store.marks()), order(store)) == (["b"], ["b"], "b")


def test_a_change_that_fails_halfway_leaves_nothing_and_the_next_one_works(store: Store) -> None:
    with pytest.raises(sqlite3.Error):
        store.keep_seen([("a", "1", b"one"), ("b", None, b"two")])  # type: ignore[list-item]
    assert store.seen() == {}
    store.keep_seen([("a", "1", b"one")])
    assert list(store.seen()) == ["a"]


def test_a_change_is_in_the_file_at_once_and_other_threads_may_make_it(store: Store, path: Path) -> None:
    failed: list[BaseException] = []

    def change() -> None:
        try:
            store.enqueue("from-a-thread")
        except sqlite3.Error as e:
            failed.append(e)

    thread = threading.Thread(target=change)
    thread.start()
    thread.join()
    assert failed == []
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT task FROM queue").fetchall() == [("from-a-thread",)]
    other.close()


def test_a_closed_store_takes_nothing_more(path: Path) -> None:
    store = Store(path)
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.enqueue("a")


def at_version(path: Path, version: int) -> None:
    """A file with the tables of the first version, some rows, and this version number."""
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.executescript(f"{MIGRATIONS[0]}; PRAGMA user_version={version};")
    connection.execute("INSERT INTO seen VALUES ('a', '1', 'old')")
    connection.execute("INSERT INTO marks VALUES ('a', 'Title', NULL, NULL, 1)")
    connection.commit()
    connection.close()


def test_a_file_of_the_first_version_keeps_its_marks_and_loses_what_was_read_without_a_headline(path: Path) -> None:
    at_version(path, 1)
    store = Store(path)
    assert (store.marks(), store.seen()) == ({"a": Marks("Title", None, None, True)}, {})
    store.close()
    assert version_of(path) == len(MIGRATIONS)


def test_a_file_of_the_second_version_keeps_all(path: Path) -> None:
    at_version(path, 2)
    store = Store(path)
    assert (list(store.marks()), list(store.seen())) == (["a"], ["a"])
    store.close()
    assert [other.name for other in path.parent.iterdir()] == ["console.sqlite"]


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


def test_a_file_of_a_newer_version_is_put_aside_unharmed(path: Path) -> None:
    newer = len(MIGRATIONS) + 1
    at_version(path, newer)
    store = Store(path)
    assert store.marks() == {}
    store.close()
    assert version_of(path) == len(MIGRATIONS)
    assert version_of(path.with_name("console.sqlite.broken")) == newer


def test_a_file_of_a_newer_version_is_not_read_although_its_tables_are_ours(path: Path) -> None:
    store = Store(path)
    store.enqueue("a")
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    store = Store(path)
    assert order(store) == ""
    store.close()
    assert path.with_name("console.sqlite.broken").exists()


def test_each_file_that_is_put_aside_is_kept_and_named(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.parent.mkdir(parents=True)
    for content in (b"first", b"second", b"third"):
        path.write_bytes(content * 100)
        Store(path).close()
    aside = [path.with_name(f"console.sqlite.broken{end}") for end in ("", "-2", "-3")]
    assert [file.read_bytes()[:5] for file in aside] == [b"first", b"secon", b"third"]
    told = capsys.readouterr().err.splitlines()
    assert [line.partition("it is now ")[2].partition(",")[0] for line in told] == [file.name for file in aside]


@pytest.mark.parametrize("journal", ["none", "broken", "whole"])
def test_a_broken_file_is_put_aside_and_its_journal_is_not_played(path: Path, journal: str) -> None:
    Store(path).close()
    before = Store(path)
    before.mark("a", Marks(title="old"))
    kept = {name: path.with_name(name).read_bytes() for name in ("console.sqlite-wal", "console.sqlite-shm")}
    before.close()
    path.write_bytes(b"no database" * 100)
    if journal != "none":
        for name, content in kept.items():
            path.with_name(name).write_bytes(content if journal == "whole" else b"of the broken file")
    store = Store(path)
    assert store.marks() == {}
    store.enqueue("a")
    assert order(store) == "a"
    store.close()
    assert path.with_name("console.sqlite.broken").read_bytes().startswith(b"no database")
    assert [found.name for found in sorted(path.parent.iterdir())] == ["console.sqlite", "console.sqlite.broken"]


def test_a_file_without_a_table_is_put_aside(path: Path) -> None:
    at_version(path, 2)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE targets")
    connection.close()
    store = Store(path)
    assert store.targets() == []
    assert store.marks() == {}
    store.close()


def test_a_file_that_a_full_disk_keeps_closed_stays_as_it_is(path: Path) -> None:
    store = Store(path)
    store.mark("a", Marks(title="Title"))
    store.close()
    with full_disk(0), pytest.raises(UsageError, match=r"console.sqlite cannot be opened \(.*\): look at its disk"):
        Store(path)
    store = Store(path)
    assert store.marks() == {"a": Marks(title="Title")}
    store.close()
