"""Runs tasks one at a time, each in a child process, because concurrent measurements disturb each other.

The child runs in a separate session, so it continues if the console ends. It gets its settings, with secrets, over
stdin. A restarted console finds a run that is still going on by the lock of its directory.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from bench.clock import NS_PER_S, LoopClock, sleep_until, utc_now
from bench.console import plan as plans
from bench.console.errors import Conflict, ConsoleError
from bench.console.kinds import KINDS, can_resume
from bench.console.language import tr
from bench.console.plan import Damaged, Plan
from bench.console.store import Store
from bench.console.target_keys import KeyVariables
from bench.console.task import ACTIVE, OVER
from bench.console.tasks import LOG, PID, TaskFolder
from bench.run_files.run_directory import SUMMARY, RunDirectory, is_locked
from promptset.whole_file import read_bytes

LOOK_EVERY_NS = NS_PER_S // 4


class Runner:
    """The queue, and the process that runs now."""

    def __init__(self, folder: TaskFolder, store: Store, variables: KeyVariables | None = None) -> None:
        self._folder = folder
        self._variables = KeyVariables() if variables is None else variables
        self._store = store
        self._child: subprocess.Popen[bytes] | None = None
        self._task: str | None = None
        self._looking = threading.Lock()
        """Two looks at once would start one task twice, and a stop would find no process of one that starts."""
        self._found: str | None = None
        """A run that another process of ours, or a terminal, has started: it is waited for."""
        self.secrets: dict[str, dict[str, Any]] = {}
        """By task, what was typed in. In memory only: gone when the console ends."""
        self.problems: dict[str, str] = {}
        """Of a task whose program could not be started, why."""

    @property
    def starting(self) -> tuple[str, ...]:
        """The task whose process this console or an earlier one started and that still runs."""
        return () if self.current is None else (self.current,)

    @property
    def queue(self) -> dict[str, str | None]:
        """The waiting tasks, in order."""
        return dict(self._store.queue())

    @property
    def current(self) -> str | None:
        """The running task, as far as known."""
        return self._task or self._found

    async def run(self) -> None:
        """Run the queue until cancelled."""
        clock = LoopClock()
        self._found = await asyncio.to_thread(self._running_elsewhere)
        while True:
            # The disk may be full, or a directory removed; the next task may succeed.
            with suppress(OSError, sqlite3.Error, ConsoleError):
                self.look()
            await sleep_until(clock, clock.now_ns() + LOOK_EVERY_NS)

    def _running_elsewhere(self) -> str | None:
        for name in self._folder.names():
            path = self._folder.path / name
            # Most have ended, which one file check shows; checking a thousand locks would delay the first page.
            if not (path / SUMMARY).is_file() and _goes_on(path):
                return name
        return None

    def look(self) -> None:
        """Clear an ended task and start the next. May be called from several request threads."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            self.secrets.pop(self._task or "", None)
            self._child = self._task = None
        if self._found is not None and not _goes_on(self._folder.path / self._found):
            self._found = None
        if self.current is None and (due := self.due()) is not None:
            # A terminal may have started a load in this folder meanwhile.
            self._found = self._running_elsewhere()
            if self._found is None:
                self._begin(*due)

    def _begin(self, name: str, plan: Plan) -> None:
        # It counts as starting before it leaves the queue: otherwise its page would say for a moment that it could not start.
        self._task = name
        try:
            with suppress(OSError):  # Of a series that continues: it would seem to have ended since.
                (self._folder.directory(name) / PID).unlink()
            self._store.dequeue(name)
            self.problems.pop(name, None)
            self._start(name, plan)
        except OSError as e:
            self.problems[name] = tr("its program could not be started: %(why)s", why=e.strerror or e)
        finally:
            if self._child is None:
                self._task = None

    def due(self) -> tuple[str, Plan] | None:
        """The first task of the queue that may start: its start time has come and its secrets are known."""
        now = utc_now()
        for name, start_at in self._store.queue():
            if start_at is not None and datetime.fromisoformat(start_at) > now:
                continue
            try:
                plan = plans.read(self._folder.path / name)
            except Damaged:  # The task's page reports it.
                plan = None
            if plan is None:
                self._store.dequeue(name)
            elif not self.needs(name, plan):
                return name, plan
        return None

    def needs(self, name: str, plan: Plan) -> tuple[str, ...]:
        """The secrets (api_key, header) that the task needs and the console lacks; they must be typed again."""
        missing = self._variables.missing(plan.keys, plan.given.get("url"))
        typed = self.secrets.get(name, {})
        return tuple(dict.fromkeys(kind for kind in (*plan.typed, *missing) if kind not in typed))

    def _start(self, name: str, plan: Plan) -> None:
        path, kind, settings = self._folder.directory(name), plan.kind, plan.given
        config = {key: value for key, value in settings.items() if key not in KINDS[kind].left_out}
        url = settings.get("url")
        environment = self._variables.environment(url, settings.get("endpoint"), plan.keys)
        if plan.name:
            config["name"] = plan.name
        config |= self.secrets.get(name, {})
        if headers := self._variables.headers(url, plan.keys):
            config["header"] = [*config.get("header", []), *headers]
        where = "--resume" if can_resume(path, kind) else "--out"
        command = [sys.executable, "-m", "bench", kind, "--config", "-", where, str(path.resolve())]
        with (path / LOG).open("wb") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
            )
        assert self._child.stdin is not None
        # Without the PID file on a full disk, only a later console cannot stop the task. A process that exited at once
        # left its reason in the log.
        with suppress(OSError):
            (path / PID).write_text(f"{self._child.pid}")
        with suppress(OSError):
            self._child.stdin.write(yaml.safe_dump(config, allow_unicode=True).encode())
            self._child.stdin.close()

    def stop(self, name: str, state: str) -> None:
        """Stop a task: take it out of the queue, or send SIGINT (the first drains, the second cuts). Raises Conflict."""
        with self._looking:  # Its process may be starting.
            self._stop(name, state)

    def _stop(self, name: str, state: str) -> None:
        if name in self.queue:
            self._store.dequeue(name)
            return
        if state in OVER:
            raise Conflict(tr("%(task)s is not running: it has ended", task=name))
        process = self._child.pid if name == self._task and self._child is not None else None
        process = process or _process_of(self._folder.directory(name))
        if process is None:
            if state in ACTIVE:
                raise Conflict(
                    tr("%(task)s was not started by a console: press Ctrl-C where it was started", task=name)
                )
            raise Conflict(tr("%(task)s is not running", task=name))
        os.kill(process, signal.SIGINT)


def _goes_on(path: Path) -> bool:
    return RunDirectory(path).is_held or is_locked(path) or _process_of(path) is not None


def _process_of(path: Path) -> int | None:
    """The live process that a console started for this directory."""
    try:
        number = int(read_bytes(path / PID))
        command = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    # Process numbers are reused: it is ours only if its command line has this directory.
    return number if str(path.resolve()).encode() in command else None
