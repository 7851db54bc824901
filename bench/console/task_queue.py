"""The current tasks and their queue: starting, continuing and stopping."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bench.console import plan as plans
from bench.console.errors import Conflict, Refused
from bench.console.kinds import KINDS, can_resume
from bench.console.language import Phrase, tr
from bench.console.plan import Damaged
from bench.console.runner import Runner
from bench.console.store import Store
from bench.console.task import FAILED, KILLED, NOT_STARTED, QUEUED, STOPPED, Task
from bench.console.tasks import TaskFolder

READ_AT_ONCE = 20
"""Finished directories read for one page: some 50 ms each."""


class TaskQueue:
    """The tasks of one folder, and the order in which they run."""

    def __init__(self, folder: TaskFolder, runner: Runner, store: Store) -> None:
        self._folder = folder
        self._runner = runner
        self._store = store
        self._starting = threading.Lock()
        """Two clicks at once would start one task twice."""

    def tasks(self, *, whole: bool = False, only: Collection[str] = ()) -> list[Task]:
        """All tasks, the latest first, or some of them. Unless `whole` is set, directories that were never read may
        still be `BEING_READ`."""
        most_new = None if whole else READ_AT_ONCE
        rows = self._folder.tasks(self._runner.queue, self._runner.starting, most_new=most_new, only=only)
        return [self._completed(task) for task in rows]

    def mark(self) -> str:
        """A value that changes when a task is added, removed, started or moved in the queue."""
        return f"{self._folder.mark()} {self._runner.current} {' '.join(self._runner.queue)}"

    def task(self, name: str) -> Task:
        """One task. Raises NotFound."""
        return self._completed(self._folder.task(name, self._runner.queue, self._runner.starting))

    def _completed(self, task: Task) -> Task:
        if task.state == NOT_STARTED and (problem := self._runner.problems.get(task.id)) is not None:
            return replace(task, state=FAILED, problem=problem)
        ended = task.state in (STOPPED, KILLED) and task.id not in self._runner.starting
        goes_on = ended and can_resume(self._folder.path / task.id, task.kind)
        if task.state not in (NOT_STARTED, QUEUED) and not goes_on:
            return task
        try:
            plan = plans.read(self._folder.path / task.id)
        except Damaged:
            return task
        # A task started from a terminal has no task.yaml, so its flags are not known here.
        return task if plan is None else replace(task, needs=self._runner.needs(task.id, plan), can_go_on=goes_on)

    def start(self, name: str, secrets: Mapping[str, Any] | None = None, start_at: str | None = None) -> Task:
        """Queue a task that was not started, or give a queued one its secrets. Raises Conflict."""
        with self._starting:
            task = self.task(name)
            if task.state != NOT_STARTED and not (task.state == QUEUED and task.needs):
                state = Phrase(task.state)
                raise Conflict(tr("%(task)s is %(state)s: clone it to run it again", task=name, state=state))
            return self.enqueue(name, secrets, start_at)

    def enqueue(self, name: str, secrets: Mapping[str, Any] | None, start_at: str | None = None) -> Task:
        """Queue a task in any state. Raises Conflict if a secret must be typed again."""
        not_before = None if start_at is None else utc(start_at)
        if secrets:
            self._runner.secrets[name] = {**self._runner.secrets.get(name, {}), **secrets}
        task = self.task(name)
        if task.needs:
            raise Conflict(tr("%(secrets)s was typed in and not saved: type it again", secrets=_named(task.needs)))
        if task.state != QUEUED or start_at is not None:
            self._store.enqueue(name, not_before)
        self._store.note(name, "put it into the queue" if task.state != QUEUED else "gave it its secrets")
        self._runner.look()
        return self.task(name)

    def go_on(self, name: str, secrets: Mapping[str, Any] | None = None, start_at: str | None = None) -> Task:
        """Continue a stopped or killed series, as soon as nothing else runs. Raises Conflict."""
        with self._starting:
            self._ensure_can_go_on(self.task(name))
            return self.enqueue(name, secrets, start_at)

    def _ensure_can_go_on(self, task: Task) -> None:
        name = task.id
        if not task.can_go_on:
            if task.state in (STOPPED, KILLED) and can_resume(self._folder.directory(name), task.kind):
                path = self._folder.path / name
                raise Conflict(
                    tr(
                        "%(task)s was started in a terminal: continue it there, with --resume %(path)s",
                        task=name,
                        path=path,
                    )
                )
            *kinds, last = (kind for kind, of in KINDS.items() if of.sign)
            raise Conflict(
                tr(
                    "only a task of the kind %(kinds)s or %(last)s that was stopped or killed can continue; "
                    "%(task)s is of the kind %(kind)s, and %(state)s",
                    kinds=", ".join(kinds),
                    last=last,
                    task=name,
                    kind=task.kind,
                    state=Phrase(task.state),
                )
            )

    def stop(self, name: str) -> Task:
        """Drain a task; the second time, cut its requests in flight."""
        self._runner.stop(name, self.task(name).state)
        self._store.note(name, "stopped it")
        return self.task(name)

    def move(self, name: str, places: int) -> None:
        if name not in self._runner.queue:
            raise Conflict(tr("%(task)s is not in the queue", task=name))
        self._store.move(name, places)
        self._store.note(name, "moved it in the queue")


def _named(needs: Sequence[str]) -> str:
    names = [{"api_key": tr("the API key"), "header": tr("the headers")}.get(kind, kind) for kind in needs]
    return names[0] if len(names) == 1 else tr("%(a)s and %(b)s", a=names[0], b=names[1])


def utc(text: str) -> str:
    """Parse a browser's time, which is in UTC unless it has a zone. Raises Refused."""
    try:
        at = datetime.fromisoformat(text)
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)).isoformat()
    except (ValueError, OverflowError):  # Converting a time on the first or last representable day to UTC can overflow.
        sentence = tr("%(text)s is not a time: write 2026-12-31T18:00", text=repr(text))
        raise Refused([("start_at", sentence)]) from None
