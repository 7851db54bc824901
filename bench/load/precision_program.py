"""The program that judges `--until` beside a load, started by `precision_watch.py`.

It reads the records of all workers as they are written, checks the goals at fixed times, and sends the result. It runs in the
idle scheduling class, so it delays no other process. It ends when the goals are reached, or with the process that started it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import bench.metrics.sureness  # noqa: F401  # numpy takes long to import: now, before the load.
from bench import clock
from bench.metrics.precision import Judge, look_times, parse
from bench.process import child_process
from bench.process.priority import give_way
from bench.records import RequestRecord, from_line
from bench.records.record_table import RecordTable
from bench.run_files.growing_file import GrowingFile
from bench.run_files.run_directory import shard_names

if TYPE_CHECKING:
    from bench.load.precision_watch import PrecisionTask

READ_EVERY_S = 0.5


def new_records(file: GrowingFile) -> Iterator[RequestRecord]:
    """The records written since the last call. The file may not exist yet."""
    with suppress(FileNotFoundError):
        while piece := file.next_piece():
            yield from map(from_line, piece.splitlines())


def watch(task: PrecisionTask, connection: Connection) -> None:
    """Check and report, until the goals are reached. Raises EOFError if the sending process has ended."""
    directory = Path(task.directory)
    workers = [None] if task.workers == 1 else list(range(task.workers))
    files = [GrowingFile(directory / shard_names(worker)[0]) for worker in workers]
    judge = Judge(parse(task.goals))
    times = look_times(task.longest_s)
    due_s = next(times)
    while True:
        if connection.poll(min(READ_EVERY_S, due_s / 10)):
            connection.recv()
        for file in files:
            if records := list(new_records(file)):
                judge.add(RecordTable(records))
        run_s = judge.run_s(clock.now_ns())
        if run_s < due_s:
            continue
        look = judge.look(run_s)
        connection.send(look)
        if look.enough:
            return
        while due_s <= run_s:
            due_s = next(times)


def main(descriptor: int) -> int:
    """Run the judging process: `descriptor` is the socket to the process that sends the load."""
    return child_process.serve(descriptor, _judge)


def _judge(connection: Connection) -> None:
    task: PrecisionTask = connection.recv()
    connection.send(None)
    give_way()
    watch(task, connection)
