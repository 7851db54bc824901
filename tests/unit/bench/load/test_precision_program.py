"""The process behind `--until` reads the records while they are written, and reports at fixed times of the run."""

from __future__ import annotations

import socket
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from bench.load import precision_program
from bench.load.precision_program import main, new_records, watch
from bench.load.precision_watch import PrecisionTask
from bench.metrics.precision import Look
from bench.records import to_line
from bench.run_files.growing_file import GrowingFile
from tests.support.made_records import START_NS, made_record

MS = 1_000_000


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


class Load:
    """A load that sends a request every 10 ms and writes its record 70 ms later, and the sender's end of a connection.
    Waiting for the sender lets time pass."""

    def __init__(self, files: list[Path], *, steady: bool = True, ends_after_s: float = 1e9) -> None:
        self.now = START_NS
        self.looks: list[Look] = []
        self.waited: list[float] = []
        self._files, self._steady, self._written = files, steady, 0
        self._ends_ns = START_NS + ends_after_s * 1e9

    def now_ns(self) -> int:
        return self.now

    def poll(self, seconds: float) -> bool:
        assert len(self.waited) < 300, "the process does not end"
        self.waited.append(seconds)
        self.now += round(seconds * 1e9)
        while (sent_ms := 10 * self._written) + 70 <= (self.now - START_NS) / MS:
            ttft_ms = 50.0 if self._steady else 1.5 ** (self._written % 10)
            record = made_record(self._written, sent_ms=sent_ms, chunks_ms=(ttft_ms, 60.0, 70.0))
            with self._files[self._written % len(self._files)].open("ab") as file:
                file.write(to_line(record))
            self._written += 1
        return self.now >= self._ends_ns

    def recv(self) -> None:
        raise EOFError

    def send(self, look: Look) -> None:
        self.looks.append(look)


def watched(
    folder: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], longest_s: float | None, **load: Any
) -> Load:
    made = Load([folder / name for name in names], **load)
    monkeypatch.setattr(precision_program, "clock", made)
    connection: Any = made
    watch(PrecisionTask(("ttft:p50=10%",), str(folder), len(names), longest_s), connection)
    return made


@pytest.mark.parametrize("names", [("requests.jsonl",), ("requests-0.jsonl", "requests-1.jsonl")])
def test_the_records_of_all_workers_are_judged_at_the_looks_of_the_run(
    names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = watched(tmp_path, monkeypatch, names, 10.0)
    # A tenth of the longest run and a third of that later: 1 s and 1.33 s. The files are read ten times as often.
    assert load.waited == [0.1] * 10 + [pytest.approx(4 / 30)] * 3
    assert [look.at_s for look in load.looks] == [1.0, pytest.approx(1.4)]
    assert [look.enough for look in load.looks] == [False, True]
    assert [[number.share for number in look.known] for look in load.looks] == [[0.1]] * 2
    assert all(number.reached for look in load.looks for number in look.known)


def test_files_are_read_twice_a_second_and_looks_that_were_missed_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = watched(tmp_path, monkeypatch, ("requests.jsonl",), None)
    assert {*load.waited} == {0.5}
    # The first look is after 60 s, the next one 20 s later.
    assert [look.at_s for look in load.looks] == [60.0, 80.0]


def test_it_ends_with_the_process_that_sends_and_goes_on_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Load([tmp_path / "requests.jsonl"], steady=False, ends_after_s=3.2)
    monkeypatch.setattr(precision_program, "clock", made)
    connection: Any = made
    with pytest.raises(EOFError):
        watch(PrecisionTask(("ttft:p50=0.1%",), str(tmp_path), 1, 10.0), connection)
    assert [look.enough for look in made.looks] == [False] * len(made.looks)
    assert (
        len(made.looks) == 6
    )  # Due at 1, 1.33, 1.67, 2, 2.33 and 2.67 s. The load ends with the wait for the seventh.


def test_the_process_is_ready_when_it_has_its_task_and_judges_with_the_lowest_priority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[object] = []
    task = PrecisionTask(("ttft:p50=10%",), "run", 2, None)
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(precision_program, "give_way", lambda: done.append("gives way"))
    monkeypatch.setattr(precision_program, "watch", lambda task, connection: done.append(task))
    with closing(Connection(ours.detach())) as sender:
        sender.send(task)
        assert main(theirs.detach()) == 0
        assert sender.poll(0)
        assert sender.recv() is None
    assert done == ["gives way", task]
