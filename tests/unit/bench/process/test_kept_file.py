"""Values in files of the user's cache; that damaged files and those of others are not used: test_generated_code.py."""

from __future__ import annotations

from pathlib import Path

from bench.process.kept_file import KeptFiles

VALUE = {b"key": [1, 2], b"other": {"bos_token": "<s>"}, b"none": None}


def test_what_was_kept_is_found_under_its_name_and_what_it_is_made_of(tmp_path: Path) -> None:
    KeptFiles(tmp_path / "new").write("name", "1", VALUE)
    again = KeptFiles(tmp_path / "new")

    assert again.read("name", "1") == VALUE
    assert again.read("name", "2") is None
    assert again.read("other", "1") is None
    assert again == KeptFiles(tmp_path / "new"), "a tokenizer would be loaded anew for each of two that are the same"


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    KeptFiles(tmp_path / "file").write("name", "1", VALUE)

    assert KeptFiles(tmp_path / "file").read("name", "1") is None
