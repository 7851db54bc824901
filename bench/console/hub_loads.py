"""Files of data sets that the console downloads from a hub while the user watches.

A separate process (`hub_program.py`) downloads the file, so that it can be killed; the size of the file on disk gives
the progress. A finished load stays in the list until the user dismisses it or newer loads displace it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from bench.clock import NS_PER_S, now_ns, utc_now
from bench.console.data_files import DataFiles, ensure_room
from bench.console.data_rows import AS_IT_IS, Rows
from bench.console.errors import Conflict, ConsoleError, NotFound, TooLarge
from bench.console.hubs import HubFile, ensure_askable, failure, first_line, look_up
from bench.console.language import tr
from bench.console.people import USER

LOOKING_UP, LOADING, KEEPING = tr("looking it up"), tr("loading"), tr("keeping it")
KEPT, FAILED, CANCELLED = tr("kept"), tr("failed"), tr("cancelled")
GOES_ON = (LOOKING_UP, LOADING, KEEPING)
MOST_AT_ONCE = 4
MOST_LISTED = 20
_QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HubLoad:
    """A download of a data set's file, running or finished."""

    id: str
    hub: str
    name: str
    file: str | None
    state: str
    received_bytes: int = 0
    size_bytes: int | None = None
    elapsed_s: float = 0.0
    names: tuple[str, ...] = ()
    """The names of the stored data files."""
    problem: str | None = None
    begun: str
    by: str | None = None

    @property
    def goes_on(self) -> bool:
        return self.state in GOES_ON


@dataclass(slots=True)
class _Job:
    """A load and its process, lock and temporary folder while it runs."""

    load: HubLoad
    begun_ns: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: threading.Event = field(default_factory=threading.Event)
    aside: Path | None = None
    process: subprocess.Popen[str] | None = None
    error: ConsoleError | None = None

    def seen(self) -> HubLoad:
        load = self.load
        if load.goes_on:
            load = replace(load, elapsed_s=round((now_ns() - self.begun_ns) / NS_PER_S, 1))
        if load.state == LOADING:
            assert self.aside is not None
            assert load.size_bytes is not None
            load = replace(load, received_bytes=min(_bytes_in(self.aside), load.size_bytes))
        return load

    def becomes(self, load: HubLoad) -> None:
        """Replace the load with a new state. Raises ConsoleError if it was cancelled meanwhile."""
        with self.lock:
            if not self.load.goes_on:
                raise ConsoleError(CANCELLED)
            self.load = load
            if not self.load.goes_on:
                self.ended.set()


class HubLoads:
    """The loads of one console. `folder` is on the disk of the data files."""

    def __init__(self, folder: Path, files: DataFiles) -> None:
        self._folder, self._files = folder, files
        self._jobs: dict[str, _Job] = {}
        self._numbers = count(1)

    def listed(self) -> list[HubLoad]:
        """All loads, the earliest first."""
        return [job.seen() for job in list(self._jobs.values())]

    def load(self, name: str, wait_s: float = 0.0) -> HubLoad:
        """One load. Waits up to `wait_s` for its end. Raises NotFound."""
        job = self._job(name)
        job.ended.wait(wait_s)
        return job.seen()

    def begin(self, source: str, name: str, file: str | None, rows: Rows = AS_IT_IS) -> HubLoad:
        """Begin to load a file of a data set; None means its only file, or the first of its splits. Raises ConsoleError."""
        ensure_askable(source, name)
        if sum(load.goes_on for load in self.listed()) >= MOST_AT_ONCE:
            raise TooLarge(tr("%(n)s data sets are being loaded: wait for one, or cancel it", n=MOST_AT_ONCE))
        for old in [load.id for load in self.listed() if not load.goes_on][: -MOST_LISTED + 1]:
            self._jobs.pop(old, None)
        load = HubLoad(
            id=str(next(self._numbers)), hub=source, name=name, file=file, state=LOOKING_UP,
            begun=utc_now().isoformat(timespec="seconds"), by=USER.get(),
        )  # fmt: skip
        job = self._jobs[load.id] = _Job(load, now_ns())
        threading.Thread(target=self._run, args=(job, rows), daemon=True).start()
        return load

    def loaded(self, name: str) -> Sequence[str]:
        """Wait for the end of a load and return the names of its files. Raises ConsoleError if it failed or was cancelled."""
        job = self._job(name)
        job.ended.wait()
        if job.error is not None:
            raise job.error
        return job.load.names

    def remove(self, name: str) -> None:
        """Cancel a running load, or remove a finished one from the list. Raises NotFound and Conflict."""
        job = self._job(name)
        with job.lock:
            if not job.load.goes_on:
                self._jobs.pop(name, None)
                return
            if job.load.state == KEEPING:
                raise Conflict(tr("%(name)s has arrived whole: delete its file in a moment", name=job.load.name))
            job.error = ConsoleError(tr("%(name)s was cancelled", name=job.load.name))
            job.load = replace(job.seen(), state=CANCELLED)
            job.ended.set()
            if job.process is not None:
                job.process.kill()

    def close(self) -> None:
        """Cancel all running loads."""
        for load in self.listed():
            if load.goes_on:
                with suppress(ConsoleError):
                    self.remove(load.id)

    def _job(self, name: str) -> _Job:
        if (job := self._jobs.get(name)) is None:
            raise NotFound(tr("there is no load %(name)s: it was dismissed", name=repr(name)))
        return job

    def _run(self, job: _Job, rows: Rows) -> None:
        load = job.load
        try:
            hub_file = look_up(load.hub, load.name, load.file)
            self._folder.mkdir(parents=True, exist_ok=True)
            ensure_room(self._folder, hub_file.file, hub_file.size_bytes)
            name = hub_file.kept_name
            with tempfile.TemporaryDirectory(prefix=".aside-", dir=self._folder) as aside:
                job.aside = Path(aside)
                job.becomes(replace(job.seen(), state=LOADING, file=hub_file.file, size_bytes=hub_file.size_bytes))
                path = _downloaded(job, hub_file, Path(aside))
                job.becomes(replace(job.seen(), state=KEEPING, received_bytes=hub_file.size_bytes))
                if path.is_symlink():  # A symlink to the package's cache.
                    path = Path(shutil.copyfile(path, Path(aside) / ".file"))
                names = tuple(self._files.take(name, path, rows))
            job.becomes(replace(job.seen(), state=KEPT, names=names))
        except ConsoleError as e:
            _fail(job, e)
        except OSError as e:
            _fail(job, ConsoleError(failure(load.hub, load.name, e.strerror or str(e))))
        except Exception as e:
            traceback.print_exc()  # A bug. The caller must still learn that the load has ended.
            _fail(job, ConsoleError(failure(load.hub, load.name, first_line(e))))


def _fail(job: _Job, error: ConsoleError) -> None:
    job.error = job.error or error
    with suppress(ConsoleError):
        job.becomes(replace(job.seen(), state=FAILED, problem=str(error)))


def _downloaded(job: _Job, hub_file: HubFile, aside: Path) -> Path:
    """Download a file into a folder. Raises ConsoleError if it fails or is cancelled."""
    command = [
        sys.executable,
        "-m",
        "bench.console.hub_program",
        hub_file.source,
        hub_file.endpoint,
        hub_file.name,
        hub_file.file,
    ]
    with job.lock:
        if not job.load.goes_on:
            raise ConsoleError(CANCELLED)
        job.process = subprocess.Popen(
            [*command, str(aside)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, **_QUIET}, start_new_session=True,
        )  # fmt: skip
    with job.process as process:
        assert process.stdout is not None
        output = process.stdout.read().strip()
        status = process.wait()
    if status:
        died = tr("its program ended with status %(status)s", status=status)
        raise ConsoleError(failure(hub_file.source, hub_file.name, output or died))
    return Path(output.splitlines()[-1])


def _bytes_in(folder: Path) -> int:
    """Total bytes of all files below a folder that other processes change meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += 0 if path.is_dir() else path.lstat().st_size
    return total
