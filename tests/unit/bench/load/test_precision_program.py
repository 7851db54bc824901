"""The process behind `--until` reads the records while they are written."""

from __future__ import annotations

from pathlib import Path

from bench.load.precision_program import new_records
from bench.records import to_line
from bench.run_files.growing_file import GrowingFile
from tests.support.made_records import made_record


def test_each_record_is_read_once_when_its_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "requests-0.jsonl"
    file = GrowingFile(path)
    lines = [to_line(made_record(number)) for number in range(4)]
    written = (None, lines[0] + lines[1] + lines[2][:50], lines[2][50:], b"", lines[3])
    read = []
    for more in written:
        if more is not None:
            with path.open("ab") as log:
                log.write(more)
        read.append([record.index for record in new_records(file)])
    assert read == [[], [0, 1], [2], [], [3]]
