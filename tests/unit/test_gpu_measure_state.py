"""gpu/measure.py: a damaged measure.json and a folder that cannot be written are a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpu.measure import STATE, Failed, Measurement


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", r"cannot be read \(it is not JSON\)"),
        ('{"asked": {}, "pha', r"cannot be read \(it is not JSON\)"),
        ("[" * 100_000, r"cannot be read \(it is not JSON\)"),
        ("\udcff", r"cannot be read \(it is not JSON\)"),
        ("[]", "is damaged"),
        ("null", "is damaged"),
        ('{"asked": {}, "phases": {}}', "is damaged"),
        ('{"asked": [], "phases": {}, "versions": {}}', "is damaged"),
        (
            '{"asked": {}, "phases": {"warm": 7}, "versions": {}}',
            r"is damaged \(each of its phases must be an object\)",
        ),
    ],
)
def test_a_damaged_state_says_how_to_go_on(content: str, why: str, tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(Failed, match=f"measure.json {why}.*: remove the file, which begins the measurement anew"):
        Measurement(tmp_path, {})


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Failed, match=r"--out .*file cannot be written \(it is a file\): name another directory"):
        Measurement(tmp_path / "file", {})
