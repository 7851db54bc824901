"""The program that exports during a load, started by `exporting.py`.

Once a second it reads what the run has written since: the lines of live.jsonl, and the records of every worker. Records
from a cluster's nodes are shipped into the run directory while the load runs. It has the idle scheduling class: it
delays no send.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import orjson

from bench import clock
from bench.clock import NS_PER_S
from bench.errors import RecordError
from bench.process import child_process
from bench.process.priority import give_way
from bench.records import RequestRecord, from_line
from bench.run_files.growing_file import GrowingFile
from bench.run_files.run_directory import LIVE
from bench.telemetry import otlp
from bench.telemetry.otlp import Otlp
from bench.telemetry.page import Page
from bench.telemetry.spans import ClientSpan, span_of
from bench.telemetry.task import NOTHING, Exported, Ready, Subject, TelemetryTask
from bench.telemetry.totals import Point, Totals

_RECORDS = re.compile(r"requests(-[0-9]+)?\.jsonl")
"""The names of the record files of a run: of its only worker, or of each."""
_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"


def every_ns() -> int:
    """The export interval: one second, unless the environment sets another in ms."""
    text = os.environ.get(_INTERVAL, "")
    return int(text) * 1_000_000 if text.isdecimal() and int(text) > 0 else NS_PER_S


class Files:
    """The files of a run; each line is read once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._live = GrowingFile(directory / LIVE)
        self._records: dict[str, GrowingFile] = {}

    def read(self, totals: Totals, subject: Subject, until_ns: int | None = None) -> list[ClientSpan]:
        """Add the new lines. Returns the new spans. Nothing is read after `until_ns`."""
        spans: list[ClientSpan] = []
        for line in self._lines(self._live):
            with suppress(orjson.JSONDecodeError):
                totals.live(orjson.loads(line))
        for name in sorted(entry.name for entry in os.scandir(self._directory) if _RECORDS.fullmatch(entry.name)):
            file = self._records.setdefault(name, GrowingFile(self._directory / name))
            while (until_ns is None or clock.now_ns() < until_ns) and (lines := self._lines(file)):
                records = [*_records(lines)]
                totals.add(records)
                spans += [span for record in records if (span := span_of(record, subject)) is not None]
        return spans

    def unread(self) -> int:
        """Bytes of records that were not read."""
        return sum(file.unread for file in self._records.values())

    def _lines(self, file: GrowingFile) -> list[bytes]:
        try:
            return file.next_piece().splitlines()
        except OSError:  # It does not exist yet.
            return []


def _records(lines: list[bytes]) -> list[RequestRecord]:
    records = []
    for line in lines:
        with suppress(RecordError):
            records.append(from_line(line))
    return records


class Exporting:
    """The exports of a run, from its start."""

    def __init__(self, task: TelemetryTask, page: Page | None, subject: Subject) -> None:
        self._subject, self._page, self._finish_within_s = subject, page, task.finish_within_s
        self._files = Files(Path(task.directory))
        self._totals = Totals(subject)
        offset_ns = clock.realtime_offset_ns()
        if page is not None:
            page.begins(subject, offset_ns)
        self._otlp = None
        if task.otlp is not None and not otlp.disabled():
            self._otlp = Otlp(task.otlp, subject, offset_ns, clock.now_ns())

    def look(self, until_ns: int | None = None, *, over: bool = False) -> None:
        """Read the new lines, and export them."""
        spans = self._files.read(self._totals, self._subject, until_ns)
        points: list[Point] = [*self._totals.points()]
        if self._page is not None:
            self._page.tell(points, over=over)
        if self._otlp is not None:
            self._otlp.tell(clock.now_ns(), points, spans)

    def finish(self) -> Exported:
        """The load has ended, and its files are complete."""
        self.look(clock.now_ns() + round(self._finish_within_s * NS_PER_S), over=True)
        exported = NOTHING if self._otlp is None else self._otlp.finish(self._finish_within_s)
        return replace(exported, unread=self._files.unread())


def _ready(task: TelemetryTask) -> tuple[Ready, Page | None]:
    """Whether the exports can begin, and the page."""
    problems: list[str] = []
    notes: tuple[str, ...] = ()
    page = None
    if task.otlp is not None:
        problems += otlp.environment_problems()
        if otlp.disabled():
            notes = ("--otlp: OTEL_SDK_DISABLED is set, so nothing is exported",)
    if task.address is not None:
        try:
            page = Page(*task.address)
        except OSError as e:
            host, port = task.address
            problems.append(f"--metrics-port {port}: {host}:{port} cannot be opened ({e.strerror}): give another port")
    return Ready(tuple(problems), notes, None if page is None else page.url), page


def main(descriptor: int) -> int:
    """Run the exporting process: `descriptor` is the socket to the process that sends the load."""
    return child_process.serve(descriptor, _export)


def _export(connection: Connection) -> None:
    task: TelemetryTask = connection.recv()
    ready, page = _ready(task)
    connection.send(ready)
    exporting = Exporting(task, page, connection.recv())
    give_way()  # From here on the load runs.
    interval_ns = every_ns()
    due_ns = clock.now_ns() + interval_ns
    while not connection.poll(max(due_ns - clock.now_ns(), 0) / NS_PER_S):
        exporting.look()
        # A late read skips the times that have passed.
        due_ns += interval_ns * max(1, -(-(clock.now_ns() - due_ns) // interval_ns))
    connection.recv()
    connection.send(exporting.finish())
    if page is not None:
        page.read_at_end.wait(task.linger_s)
