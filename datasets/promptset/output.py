"""Writes a job's rows to its file with a manifest next to it, or to stdout."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import orjson

from promptset.job import Job
from promptset.lines import lines_in_order, tasks
from promptset.manifest import FileSummary


def write(job: Job, summary: FileSummary, stdout: IO[bytes]) -> None:
    """Writes the rows, and for a file also the manifest."""
    if job.out is None:
        _write_rows(job, summary, stdout)
        stdout.flush()
        return
    if job.out.exists() and not job.out.is_file():  # A device or a pipe, which a file cannot replace.
        with job.out.open("wb") as file:
            _write_rows(job, summary, file)
        return
    with _replacing(job.out) as file:
        _write_rows(job, summary, file)
    manifest = summary.manifest(job.out.name, job.maker.tokenizer, job.options)
    with _replacing(job.out.with_name(f"{job.out.name}.manifest.json")) as file:
        file.write(orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


@contextlib.contextmanager
def _replacing(out: Path) -> Iterator[IO[bytes]]:
    """A temporary file that is renamed when it is complete, so that readers never see half a data set."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    except OSError as e:
        e.filename = str(out)  # The requested file.
        raise
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        # mkstemp makes the file readable only by its owner; a data set should have normal permissions.
        mask = os.umask(0)
        os.umask(mask)
        aside.chmod(0o666 & ~mask)
        aside.replace(out)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _write_rows(job: Job, summary: FileSummary, file: IO[bytes]) -> None:
    with _progress(job.count) as advance:
        todo = tasks(job.count, job.times_s)
        for lines in lines_in_order(job.maker, job.spec, todo, job.processes):
            for line in lines:
                file.write(line.content)
                summary.add(line)
            advance(len(lines))


@contextlib.contextmanager
def _progress(count: int) -> Iterator[Callable[[int], None]]:
    """A function to call with each number of new rows. Shows a progress bar if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("prompts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=count)
        yield lambda rows: progress.advance(bar, rows)
