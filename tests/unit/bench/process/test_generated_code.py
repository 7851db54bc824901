"""The code of dataclasses that an earlier process compiled."""

from __future__ import annotations

import marshal
from pathlib import Path
from typing import Any

import pytest

from bench.process import generated_code
from bench.process.generated_code import GeneratedCode

TEXT = "def made(x):\n return x + y"


def made(code: GeneratedCode) -> int:
    own: dict[str, Any] = {}
    code.execute(TEXT, {"y": 40}, own)
    return int(own["made"](2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that an earlier process has written."""
    code = GeneratedCode(tmp_path / "trueload" / "generated")
    assert made(code) == 42
    code.write()
    return tmp_path / "trueload" / "generated"


def kept_as(path: Path, source: str) -> None:
    """Have the file say that TEXT compiles to this: whoever reads it is found out by what it does."""
    other = GeneratedCode(path)
    other._kept = {TEXT: marshal.dumps(compile(source, "<string>", "exec"))}
    other._known = 0
    other.write()


def test_what_was_compiled_is_not_compiled_again(path: Path) -> None:
    kept_as(path, "made = lambda x: 7")

    assert made(GeneratedCode(path)) == 7
    assert path.stat().st_mode & 0o077 == 0
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_nothing_new_is_not_written_again(path: Path) -> None:
    code = GeneratedCode(path)
    path.unlink()
    made(code)
    code.write()

    assert not path.exists()


@pytest.mark.parametrize("at", [0, 10, -20, -1])
def test_a_damaged_file_is_as_good_as_none(path: Path, at: int) -> None:
    kept_as(path, "made = lambda x: 7")
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)

    assert made(GeneratedCode(path)) == 42


@pytest.mark.parametrize("keep", [0, 5, -1])
def test_a_file_that_was_cut_off_is_as_good_as_none(path: Path, keep: int) -> None:
    kept_as(path, "made = lambda x: 7")
    path.write_bytes(path.read_bytes()[:keep])

    assert made(GeneratedCode(path)) == 42


def test_what_another_python_compiled_is_left_aside(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_as(path, "made = lambda x: 7")
    monkeypatch.setattr("sys.version", "4.0")

    assert made(GeneratedCode(path)) == 42


def test_what_others_may_write_is_never_run(path: Path) -> None:
    kept_as(path, "made = lambda x: 7")
    path.chmod(0o666)

    assert made(GeneratedCode(path)) == 42


def test_a_file_of_another_user_is_never_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_as(path, "made = lambda x: 7")
    monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid + 1)

    assert made(GeneratedCode(path)) == 42


def test_where_nothing_can_be_written_all_is_compiled(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code = GeneratedCode(tmp_path / "file" / "generated")

    assert made(code) == 42
    code.write()
    assert (tmp_path / "file").read_bytes() == b""


def test_a_file_that_has_grown_too_large_begins_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated_code, "MOST", 1)
    code = GeneratedCode(path)
    code.execute("z = 1", {}, {})
    code.write()

    assert list(GeneratedCode(path)._kept) == ["z = 1"]


def test_code_that_is_no_text_is_executed_as_it_is(tmp_path: Path) -> None:
    own: dict[str, Any] = {}
    code = GeneratedCode(tmp_path / "generated")
    code.execute(compile("a = 1", "x", "exec"), {}, own)

    assert own == {"a": 1}
    assert not code._kept
