"""Tasks: the directories of the runs folder, read-only. Nothing here changes a run.

A task created by the console has a task.yaml: what to run, without secrets. A directory written by `python -m bench
run` is a task as well. The state of a task follows from its files, so a console that was killed finds everything again.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import orjson
import yaml

from bench.config.resolution import given_again
from bench.config.values import seconds
from bench.console import live_lines, series
from bench.console import plan as plans
from bench.console.errors import NotFound
from bench.console.kinds import kind_of, unreadable
from bench.console.language import tr
from bench.console.plan import TASK_FILE, Damaged
from bench.console.store import Marks, Store
from bench.console.task import (
    BEING_READ,
    ENDED,
    FAILED,
    KILLED,
    NOT_STARTED,
    OVER,
    QUEUED,
    STARTING,
    STOPPED,
    Step,
    Task,
    place_of,
)
from bench.manifest import Manifest
from bench.results.summary import Slo, from_json
from bench.run_files.run_directory import LIVE, MANIFEST, REPORT, SUMMARY, RunDirectory
from bench.run_files.run_state import RunState
from bench.traffic.classes import mix_of
from bench.verdict import headline
from promptset.whole_file import read_bytes

LOG = "console.log"
PID = "console.pid"
OWN_FOLDER = ".console"
TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


_FIELDS = {field.name for field in fields(Task)}


class TaskFolder:
    """The directories of one runs folder. Finished ones are read once and cached in the store."""

    def __init__(self, path: Path, store: Store) -> None:
        self.path = path
        self._store = store
        self._stored = store.seen()
        self._seen: dict[str, tuple[str, Task]] = {}
        self._lock = threading.Lock()

    def directory(self, task: str) -> Path:
        """The directory of a task. Raises NotFound unless it is directly in the runs folder."""
        path = self.path / task
        if TASK_NAME.fullmatch(task) is None or path.is_symlink() or not path.is_dir():
            raise NotFound(tr("there is no task %(task)s", task=repr(task)))
        if path.resolve().parent != self.path.resolve():
            raise NotFound(tr("there is no task %(task)s", task=repr(task)))
        return path

    def run(self, task: str, run: str | None) -> Path:
        """The directory of a run inside a series, given by its path; for None, the task's own directory. Raises NotFound."""
        path = self.directory(task)
        for name in [] if run is None else run.split("/"):
            path /= name
            if TASK_NAME.fullmatch(name) is None or path.is_symlink() or not path.is_dir():
                raise NotFound(tr("the task %(task)s has no run %(run)s", task=repr(task), run=repr(run)))
        return path

    def file(self, task: str, name: str, run: str | None = None) -> Path:
        """A file of a task. Raises NotFound if it does not exist or is a symlink."""
        path = self.run(task, run) / name
        if path.name != name or path.is_symlink() or not path.is_file():
            raise NotFound(tr("the task %(task)s has no %(file)s", task=repr(task), file=name))
        return path

    def names(self) -> list[str]:
        """The names of all tasks, in reverse alphabetical order: names made by the console begin with the time."""
        with suppress(OSError), os.scandir(self.path) as entries:
            dirs = [
                entry for entry in entries if TASK_NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
            signs = (MANIFEST, TASK_FILE, *series.FILES)
            ids = (entry.name for entry in dirs if any(os.path.isfile(f"{entry.path}/{name}") for name in signs))  # noqa: PTH113
            return sorted(ids, reverse=True)
        return []

    def _existing(self, names: Collection[str]) -> Iterator[str]:
        for name in names:
            with suppress(NotFound):
                yield self.directory(name).name

    def mark(self) -> str:
        """A value that changes when a directory is added or removed."""
        with suppress(OSError):
            return str(self.path.stat().st_mtime_ns)
        return ""

    def tasks(
        self,
        queue: Mapping[str, str | None],
        starting: Collection[str],
        *,
        most_new: int | None = None,
        only: Collection[str] = (),
    ) -> list[Task]:
        """All tasks, the latest first, or those of `only` that exist. `queue` has the waiting tasks, `starting` those
        whose process was started. At most `most_new` finished directories that were never read are read; the others are
        `BEING_READ`."""
        marks, starters = self._store.marks(), self._store.starters()
        new: list[tuple[str, str, bytes]] = []
        rows = []
        for name in self._existing(only) if only else self.names():
            may_read = most_new is None or len(new) < most_new
            task = self._read(self.path / name, queue, starting, new if may_read else None)
            if task.active and task.kind not in series.READERS:
                task = replace(task, sparkline=_sparkline(self.path / name / LIVE, _RECENT))
            if name in marks or name in queue or name in starters:
                task = replace(task, marks=marks.get(name, Marks()), start_at=queue.get(name), by=starters.get(name))
            rows.append(task)
        self._keep(new)
        return sorted(rows, key=_when, reverse=True)

    def index(self, stopped: Callable[[], bool]) -> None:
        """Read and cache every directory that was never read, so that no page has to wait for it."""
        for name in self.names():
            if stopped():
                return
            new: list[tuple[str, str, bytes]] = []
            self._read(self.path / name, {}, (), new)
            self._keep(new)

    def task(self, name: str, queue: Mapping[str, str | None], starting: Collection[str]) -> Task:
        """One task. Raises NotFound."""
        new: list[tuple[str, str, bytes]] = []
        task = self._read(self.directory(name), queue, starting, new)
        self._keep(new)
        marks, by = self._store.marks().get(name, Marks()), self._store.starters().get(name)
        return replace(task, marks=marks, start_at=queue.get(name), by=by)

    def _keep(self, new: list[tuple[str, str, bytes]]) -> None:
        # On a full disk, only the next console has to read again; this one has the data in memory.
        with suppress(sqlite3.Error):
            self._store.keep_seen(new)

    def _read(
        self,
        path: Path,
        queue: Mapping[str, str | None],
        starting: Collection[str],
        new: list[tuple[str, str, bytes]] | None,
    ) -> Task:
        """The current state of a task. Data to store is appended to `new`; if `new` is None, finished directories are
        not read."""
        stamp = _stamp(path)
        with self._lock:
            if (stored := self._stored.pop(path.name, None)) is not None and stored[0] == stamp:
                with suppress(ValueError, TypeError, KeyError):  # Of another version, or damaged: it is read again.
                    self._seen[path.name] = (stamp, _from_bytes(stored[1]))
            cached = self._seen.get(path.name)
        # A task that waits to continue, or has just begun to, still has the files of its previous end.
        if cached is not None and cached[0] == stamp and path.name not in queue and path.name not in starting:
            return cached[1]
        if new is None and stamp and path.name not in queue and path.name not in starting:
            return Task(id=path.name, state=BEING_READ)
        try:
            task = _task(path, queue, starting)
        except Exception as e:  # A task that cannot be read must not break the list of the others.
            return Task(id=path.name, state=KILLED, problem=_unreadable("its files", e))
        if task.state in (ENDED, STOPPED) and task.has_report:
            content = orjson.dumps(task)
            with self._lock:
                self._seen[path.name] = (stamp, task)
            if new is not None:
                new.append((path.name, stamp, content))
        return task


def _when(task: Task) -> tuple[str, str]:
    """Sort key: the start time, else the time in a name made by the console. A terminal's task may have any name, so
    sorting by name would put an old run above a new one."""
    return re.sub("[-:]", "", task.started or task.id), task.id


def _stamp(path: Path) -> str:
    """A value that changes when a finished task is rendered again or changed; empty if it has not finished."""
    place = str(path)
    for names in ((MANIFEST, SUMMARY), *series.STAMPED):
        try:
            stats = [os.stat(f"{place}/{name}") for name in names]  # noqa: PTH116
        except OSError:
            continue
        return " ".join(f"{stat.st_mtime_ns}-{stat.st_size}" for stat in stats)
    return ""


def _from_bytes(content: bytes) -> Task:
    """Raises ValueError, TypeError or KeyError unless this version has stored it."""
    stored = orjson.loads(content)
    if not isinstance(stored, dict) or stored.keys() != _FIELDS:
        raise ValueError("the fields of another version")
    stored["marks"] = Marks()
    stored |= {key: tuple(stored[key]) for key in ("reasons", "sparkline")}
    stored |= {"steps": tuple(Step(**step) for step in stored.get("steps", ())), "needs": ()}
    return Task(**stored)


def _planned(path: Path) -> Task:
    """A task as described by task.yaml alone. If that is damaged, only a directory with runs tells more."""
    try:
        plan = plans.read(path)
        if plan is not None:
            target, load = place_of(plan.settings), load_of(plan.given, plan.kind)
            return Task(
                id=path.name, state=NOT_STARTED, kind=plan.kind, settings=dict(plan.settings), target=target, load=load
            )
    except Exception as e:  # Includes invalid values: one task must not break the list of the others.
        problem = str(e) if isinstance(e, Damaged) else _unreadable(TASK_FILE, e)
        return Task(id=path.name, state=FAILED, kind=kind_of(path), problem=problem)
    return Task(id=path.name, state=NOT_STARTED, kind=kind_of(path), load=load_of({}, kind_of(path)))


def _task(path: Path, queue: Mapping[str, str | None], starting: Collection[str]) -> Task:
    """A task derived from its files alone."""
    name, base = path.name, _planned(path)
    kind = base.kind
    if kind in series.READERS and (task := series.read(base, path)) is not None:
        if task.state in OVER and name in queue:
            return replace(task, state=QUEUED, has_report=False)
        early = task.state in (KILLED, FAILED, STOPPED) and name in starting
        if early and not series.left_since(path, kind, path / PID):
            return replace(task, state=STARTING, has_report=False)
        if task.state in (KILLED, FAILED):
            return replace(task, problem=last_words(path / LOG))
        # A stopped series has an error if it was to continue and could not.
        return replace(task, problem=last_error(path / LOG)) if task.state == STOPPED else task
    if not (path / MANIFEST).is_file():
        if base.problem is not None:
            return base
        if name in starting:
            return replace(base, state=STARTING)
        if name in queue:
            return replace(base, state=QUEUED)
        if (path / LOG).is_file():
            return replace(base, state=FAILED, problem=last_words(path / LOG))
        return base
    directory = RunDirectory(path)
    try:
        stored = yaml.load((path / MANIFEST).read_bytes(), Loader=_LOADER)
        config, manifest = dict(stored["config"]), Manifest.stored(stored["manifest"])
        base = replace(base, problem=None)
    except Exception as e:  # A damaged file becomes a task that reports it. It must not break the list of the others.
        return replace(base, state=KILLED, problem=_unreadable(MANIFEST, e))
    run = replace(
        base,
        target=place_of(config),
        load=load_of(config),
        settings=base.settings or given_again(config),
        started=manifest.started,
        ended=manifest.ended,
    )
    # A run marks itself as ended once its report exists, and may hold its lock for a while after that.
    if manifest.state is not RunState.ENDED and directory.is_held:
        return replace(run, state=str(manifest.state or RunState.RUNNING))
    if (path / SUMMARY).is_file() and (path / REPORT).is_file():
        state = STOPPED if manifest.stop_reason == "interrupted" else ENDED
        run = replace(run, state=state, has_report=True)
        try:
            return _with_summary(run, path / SUMMARY)
        except Exception as e:
            return replace(run, problem=unreadable(path / SUMMARY, kind, e))
    if name in starting:
        return replace(run, state=STARTING)
    return replace(run, state=KILLED, problem=last_words(path / LOG))


def _unreadable(file: str, error: Exception) -> str:
    words = " ".join(str(error).split())[:300]
    why = f"{type(error).__name__}{f' ({words})' if words else ''}"
    return tr("%(file)s cannot be read: %(why)s", file=file, why=why)


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_of(config: Mapping[str, Any], kind: str = "run") -> str:
    """A short text of a load."""
    if kind in series.READERS:
        return series.load_of(config, kind)
    limit = []
    if config.get("duration"):
        limit.append(_length(config["duration"]))
    if config.get("requests"):
        limit.append(f"{_count(config['requests'])} requests")
    until = f", {' or '.join(limit)}" if limit else ""
    if isinstance(mix := config.get("mix"), dict) and (traffic := mix_of(mix)) is not None and traffic.rates:
        return f"{traffic.rate:g} requests/s in {len(traffic.classes)} classes{until}"
    if rate := config.get("rate"):
        return f"{f'{rate:g}' if isinstance(rate, float) else rate} requests/s{until}"
    if config.get("mode") in ("throughput", "trace"):
        return f"{config['mode']}{until}"
    users = config.get("concurrency") or 10
    return f"{_count(users)} user{'' if str(users) == '1' else 's'}{until}"


def _count(value: object) -> str:
    """Format an integer with thousands separators; other text from a form stays unchanged."""
    text = str(value)
    return f"{int(text):,}" if text.isdecimal() else text


def _length(duration: object) -> str:
    try:
        length_s = seconds(duration)
    except ValueError:
        return str(duration)
    units = ((3600, "h"), (60, "min"))
    return next(
        (f"{length_s / s:g} {unit}" for s, unit in units if length_s >= 2 * s and length_s % s == 0), f"{length_s:g} s"
    )


def _with_summary(task: Task, path: Path) -> Task:
    summary = from_json(path.read_bytes())
    latency, throughput, counts, status = summary.latency, summary.throughput, summary.counts, summary.verdict.status
    inputs = summary.inputs
    return replace(
        task,
        verdict=status,
        verdict_headline=str(headline.of(summary, status, proxy=summary.run.config.get("proxy"))),
        reasons=tuple(summary.verdict.reasons),
        held=summary.slo.held,
        held_is_shown=_is_shown(summary.slo),
        counts={"sent": counts.sent, "succeeded": counts.succeeded, "failed": counts.failed},
        numbers={
            "requests_per_s": throughput.requests_per_s,
            "output_tokens_per_s": throughput.output_tokens_per_s,
            "inputs_per_s": throughput.of("inputs_per_s") if inputs is None or inputs.have_tokens else None,
            "ttft_p50_ms": latency["ttft_ms"].p50,
            "ttft_p99_ms": latency["ttft_ms"].p99,
            "tpot_p50_ms": latency["tpot_ms"].p50,
            "e2el_p50_ms": latency["e2el_ms"].p50,
            "e2el_p99_ms": latency["e2el_ms"].p99,
        },
        sparkline=_sparkline(path.with_name(LIVE)),
    )


def _is_shown(slo: Slo) -> bool | None:
    shown = [objective.shown for objective in slo.objectives]
    if slo.held is None:
        return None
    return all(status == "held" for status in shown) if slo.held else "failed" in shown


_RECENT = 64 * 1024
"""Bytes of live.jsonl, about a minute, that the list reads of a running load. It polls every two seconds."""


def _sparkline(path: Path, last: int | None = None) -> tuple[float, ...]:
    """Output tokens per second (else inputs or requests), in at most 40 values from 0 to 1.

    With `last`, only that many bytes at the end of the file are read.
    """
    if not path.is_file():
        return ()
    try:
        with path.open("rb") as file:
            if last is not None and (size := path.stat().st_size) > last:
                file.seek(size - last)
                file.readline()
            lines = file.read().splitlines()[:-1]
        rows = [row["second"] for row in map(live_lines.row, lines) if row is not None]
    except OSError:
        return ()
    values = [row["output_tokens"] or row.get("inputs") or row["succeeded"] for row in rows]
    step = -(-len(values) // 40) or 1
    means = [sum(values[i : i + step]) / len(values[i : i + step]) for i in range(0, len(values), step)]
    most = max(means, default=0)
    return tuple(round(value / most, 3) for value in means) if most else ()


def last_words(path: Path) -> str | None:
    """The last error of a process, or else the end of its log. Uploaded data files appear by name, without their path."""
    return last_error(path) or "\n".join(_lines(path)[-3:]) or None


def last_error(path: Path) -> str | None:
    """The last error that a process printed, or None."""
    lines = _lines(path)
    first = next((i for i in reversed(range(len(lines))) if lines[i].startswith("error:")), len(lines))
    return "\n".join(line.removeprefix("error: ") for line in lines[first : first + 12]) or None


def _lines(path: Path) -> list[str]:
    try:
        text = read_bytes(path).decode(errors="replace")[-8_000:]
    except OSError:
        return []
    text = text.replace(f"{path.parent.parent.resolve() / OWN_FOLDER / 'files'}/", "")
    return [line.strip() for line in text.splitlines() if line.strip()]
