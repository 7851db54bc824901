"""Local copies of a store's content: complete or absent. They never replace content that the store does not have yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import Exit, UsageError
from bench.machine import machine_cache
from bench.stores import transfer, words

pytest.importorskip("fsspec")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store in memory, and a separate cache."""
    from fsspec.implementations.memory import MemoryFileSystem

    system = MemoryFileSystem()
    system.store.clear()
    monkeypatch.setattr(transfer, "opened", lambda address: (system, f"/{address.partition('://')[2]}"))
    monkeypatch.setattr(machine_cache, "default_path", lambda name: tmp_path / "cache" / name)
    return system


def here(*given: str) -> str:
    """Runs the copying program in this process."""
    if transfer.main(given) != Exit.GOOD:
        raise UsageError(f"{given[1]}: the copying was ended")
    return ""


def test_what_a_command_added_is_not_replaced_before_the_store_has_it(
    store: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store.pipe("/bucket/race/tune.json", b"old")
    monkeypatch.setattr(words, "transferred", here)
    resumed = ("--resume", "s3://bucket/race")
    line = words.Placed("tune", resumed)
    place = Path(line.words[1])
    (place / "tune.json").write_bytes(b"a turn more")
    with monkeypatch.context() as cut_off:
        cut_off.setattr(store, "put_file", lambda *given: 1 / 0)
        assert line.finish(Exit.GOOD) == Exit.USAGE
    for command, given in (("tune", resumed), ("report", ("s3://bucket/race",))):
        with pytest.raises(UsageError, match=r"^s3://bucket/race: what an earlier command added was not copied") as e:
            words.Placed(command, given)
        assert f"put {place} s3://bucket/race" in str(e.value)
    here("put", str(place), "s3://bucket/race")
    line = words.Placed("tune", resumed)
    assert (Path(line.words[1]) / "tune.json").read_bytes() == b"a turn more"
    capsys.readouterr()


def test_a_command_that_does_not_begin_leaves_no_mark(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store.pipe("/bucket/race/tune.json", b"old")
    monkeypatch.setattr(words, "transferred", here)
    with pytest.raises(UsageError, match="s3://bucket/nothing"):
        words.Placed("tune", ("--resume", "s3://bucket/race", "s3://bucket/nothing"))
    assert words.Placed("report", ("s3://bucket/race",)).words


def test_a_copy_that_is_not_whole_replaces_nothing(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.pipe({"/bucket/run/a.json": b"one", "/bucket/run/in/b.json": b"two"})
    place = tmp_path / "run"
    transfer.get("s3://bucket/run", place)
    assert [file.read_bytes() for file in sorted(place.rglob("*.json"))] == [b"one", b"two"]
    store.pipe("/bucket/run/a.json", b"another")
    monkeypatch.setattr(store, "get_file", lambda name, to: Path(to).write_bytes(b"an"))
    with pytest.raises(OSError, match=r"/bucket/run/a\.json has 7 bytes, and 2 of them arrived"):
        transfer.get("s3://bucket/run", place)
    assert (place / "a.json").read_bytes() == b"one"
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
