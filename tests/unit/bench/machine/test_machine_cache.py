"""Results that are cached between runs: their owner, and the effect of an unusable file."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import orjson
import pytest

from bench.errors import UsageError
from bench.machine.machine_cache import default_path, machine_key, read_entry, write_entry

HERE = {"name": "here", "cpu": "c", "processors": 2}
THERE = {**HERE, "name": "there"}


def test_the_file_is_in_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_path("x.json", {"XDG_CACHE_HOME": "/cache"}) == Path("/cache/trueload/x.json")
    monkeypatch.setenv("HOME", "/home/me")
    for environment in ({}, {"XDG_CACHE_HOME": ""}):
        assert default_path("x.json", environment) == Path("/home/me/.cache/trueload/x.json")


def test_a_user_without_a_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> NoReturn:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    path = default_path("x.json", {})
    assert read_entry(path, HERE) is None
    with pytest.raises(UsageError, match="cannot be written"):
        write_entry(path, HERE, 1)


def test_a_machine_is_its_name_its_processor_and_their_number() -> None:
    assert machine_key({**HERE, "system": "Linux 6"}) == "here | c | 2"
    assert machine_key({**HERE, "cpu_limit": "1.5"}) == "here | c | 2 | 1.5"


def test_each_machine_has_an_entry_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "kept.json"
    write_entry(path, HERE, {"a": 1})
    write_entry(path, THERE, {"a": 2})
    write_entry(path, HERE, {"a": 3})
    assert [read_entry(path, host) for host in (HERE, THERE, {**HERE, "processors": 3})] == [{"a": 3}, {"a": 2}, None]
    assert orjson.loads(path.read_bytes()) == {
        "schema": 1,
        "machines": {"here | c | 2": {"a": 3}, "there | c | 2": {"a": 2}},
    }
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"schema": 1}', b'{"schema": 2, "machines": {"here | c | 2": 1}}',
     b'{"schema": 1, "machines": 5}', b'{"schema": 1, "machines": [1]}'],
)  # fmt: skip
def test_a_file_of_another_form_has_no_entry_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(content)
    assert read_entry(path, HERE) is None
    write_entry(path, HERE, 7)
    assert read_entry(path, HERE) == 7


def test_what_cannot_be_put_in_place_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.mkdir()
    with pytest.raises(UsageError) as refused:
        write_entry(path, HERE, 1)
    assert str(refused.value) == (
        f"{path}: cannot be written (Is a directory): make it writable, or keep nothing (--no-store)"
    )
    assert [*tmp_path.iterdir()] == [path]
