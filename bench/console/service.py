"""The operations of the console. Its pages and its API offer exactly these."""

from __future__ import annotations

import asyncio
import io
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from bench.clock import utc_now
from bench.console import live_lines, settings_form
from bench.console import plan as plans
from bench.console.comparing import DEFAULT_MARGIN, Comparer, Comparison, grouped
from bench.console.data_files import DataFiles
from bench.console.data_rows import AS_IT_IS, Rows
from bench.console.errors import Conflict, ConsoleError, NotFound, Refused
from bench.console.fetching import fetch
from bench.console.hub_loads import HubLoads
from bench.console.kinds import KINDS
from bench.console.language import Phrase, tr
from bench.console.mock import NAME as MOCK
from bench.console.mock import BuiltInMock
from bench.console.plan import Damaged, Plan
from bench.console.runner import Runner
from bench.console.set_load import set_load, unit_of
from bench.console.store import Act, Marks, Store, Target
from bench.console.target_keys import (
    SEEN_BY_PROXY,
    KeyVariables,
    TargetKeys,
    aimed,
    origins_of,
    proxy_problem,
    settings_of,
    tokenizer_problem,
)
from bench.console.task import Task
from bench.console.task_queue import TaskQueue, utc
from bench.console.tasks import OWN_FOLDER, PID, TASK_NAME, TaskFolder
from bench.console.uploads import Uploads
from bench.control import PresentLoad
from bench.run_files.run_directory import LIVE
from bench.run_files.writable import make_directory

PROBE_WITHIN_S = 60.0
_SMALL_RUN = {"requests": 1, "concurrency": 1, "input_tokens": 16, "output_tokens": 4, "wait_for_server": None}
MOST_TEXT = 2_000
"""Characters of a title, a label or a note."""
REMOVED = "removed"
"""The folder, inside the console's own, of tasks that were removed from the list with their files kept."""
MOST_ZIP_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _NewTask:
    """A task to create. `typed` names the secrets it needs; `secrets` has those that are known."""

    kind: str
    settings: Mapping[str, Any]
    title: str | None
    keys: TargetKeys | None
    secrets: Mapping[str, Any]
    typed: frozenset[str]


class Console:
    """The state and the operations of one runs folder."""

    def __init__(self, runs: Path, *, key_env: Sequence[str] = (), allow_local_data: bool = False) -> None:
        """`key_env`: environment variables that targets may name, in addition to the default ones. `allow_local_data`:
        permit fetching data from this machine and its local network link."""
        self.runs = runs
        self.ending = threading.Event()
        """Set when this process is about to end, so that event streams end."""
        self._allow_local_data = allow_local_data
        self._variables = KeyVariables(key_env, data=runs / OWN_FOLDER / "files")
        make_directory("--runs", runs / OWN_FOLDER)
        self.store = Store(runs / OWN_FOLDER / "console.sqlite")
        self.files = DataFiles(runs / OWN_FOLDER / "files")
        self.uploads = Uploads(runs / OWN_FOLDER / "uploads", self.files)
        self.hub_loads = HubLoads(runs / OWN_FOLDER, self.files)
        self.folder = TaskFolder(runs, self.store)
        self.runner = Runner(self.folder, self.store, self._variables)
        self.mock = BuiltInMock()
        self.queue = TaskQueue(self.folder, self.runner, self.store)
        self._comparer = Comparer(runs)

    def close(self) -> None:
        """Release everything. A running task continues."""
        self.mock.stop()
        self.hub_loads.close()
        self.store.close()

    # Tasks. `queue` starts and stops them.

    def tasks(self, *, whole: bool = False, only: Collection[str] = ()) -> list[Task]:
        """All tasks, the latest first, or some of them. Unless `whole` is set, directories that were never read may
        still be `BEING_READ`."""
        return self.queue.tasks(whole=whole, only=only)

    def task(self, name: str) -> Task:
        """One task. Raises NotFound."""
        return self.queue.task(name)

    def create(
        self,
        settings: Mapping[str, Any],
        *,
        secrets: Mapping[str, Any] | None = None,
        target: str | None = None,
        kind: str = "run",
        title: str | None = None,
        start: bool = True,
        start_at: str | None = None,
    ) -> Task:
        """Create a task, which starts as soon as nothing else runs. Raises Refused with every problem."""
        if kind not in KINDS:
            raise ConsoleError(tr("kind: %(kind)s is not one of %(kinds)s", kind=repr(kind), kinds=", ".join(KINDS)))
        typed = dict(secrets or {})
        saved = self.target(target) if target and kind != "calibrate" else None
        effective, problems = aimed(settings, saved)
        keys = None if saved is None else TargetKeys.of(saved)
        problems += self._problems_of_keys(effective, keys, typed)
        if start_at is not None:
            try:
                start_at = utc(start_at)
            except Refused as e:
                problems += e.problems
            if not start:
                problems.append(
                    ("start_at", tr("a task that is saved without starting has no start time: leave it empty"))
                )
        new = _NewTask(kind, effective, title, keys, typed, frozenset(typed))
        task = self._made(new, problems)
        self.store.note(task.id, "created it")
        try:
            return self.queue.enqueue(task.id, None, start_at) if start else self.task(task.id)
        except sqlite3.Error:
            self._unmade(task.id)
            raise

    def _problems_of_keys(
        self, settings: Mapping[str, Any], keys: TargetKeys | None, typed: Mapping[str, Any]
    ) -> list[tuple[str | None, str]]:
        """Key variables that cannot be used and have no typed replacement, and a tokenizer server or a proxy that would
        wrongly get the key."""
        sentences = [] if keys is None else [(kind, self._variables.problem(name)) for kind, name in keys.variables]
        problems: list[tuple[str | None, str]] = [
            ("target", tr("%(why)s, or type it", why=why)) for kind, why in sentences if why and kind not in typed
        ]
        problems += tokenizer_problem(settings) if keys is not None or typed else ()
        return [*problems, *(proxy_problem(settings) if keys is not None else ())]

    def _made(self, new: _NewTask, problems: list[tuple[str | None, str]]) -> Task:
        """Create the directory of a waiting task. Raises Refused with every problem."""
        whole = {"url": "http://127.0.0.1:1", **new.settings} if new.kind == "calibrate" else new.settings
        try:
            paths = settings_form.check(whole, new.secrets, self.files, new.kind)
        except Refused as e:
            problems = [*e.problems, *problems]
        if problems:
            raise Refused(list(dict.fromkeys(problems)))
        name = self._free_name(str(new.title or new.kind))
        plan = Plan(
            kind=new.kind,
            name=name.partition("-")[2],
            settings=new.settings,
            paths=paths,
            typed=tuple(sorted(new.typed)),
            keys=new.keys,
        )
        path = self.runs / name
        path.mkdir()
        try:
            plan.write(path)
            if new.title:
                self.store.mark(name, Marks(title=new.title[:MOST_TEXT]))
        except (OSError, sqlite3.Error):
            self._unmade(name)
            raise
        if new.secrets:
            self.runner.secrets[name] = dict(new.secrets)
        return self.task(name)

    def _unmade(self, name: str) -> None:
        """Remove a task that a full disk left incomplete."""
        shutil.rmtree(self.runs / name, ignore_errors=True)
        self.runner.secrets.pop(name, None)

    def _free_name(self, wish: str) -> str:
        clean = (
            "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in wish).strip("-_")[:60] or "run"
        )
        return _free(self.runs, f"{utc_now():%Y%m%dT%H%M%S}-{clean}")

    def set_load(self, name: str, load: float) -> PresentLoad:
        """Set the users or the requests per second of a running task. Raises Conflict with the reason."""
        present = set_load(self.folder.directory(name), self.task(name), load)
        self.store.note(name, f"set its load to {load:g}")
        return present

    def history(self, name: str) -> list[Act]:
        """The actions on a task and who did them, also for a deleted task. Raises NotFound."""
        acts = self.store.acts(name)
        if not acts:
            self.folder.directory(name)
        return acts

    def load_unit(self, task: Task) -> str | None:
        """The unit of a task's load. Returns None if the load cannot be changed."""
        try:
            plan = plans.read(self.folder.directory(task.id))
        except Damaged:
            plan = None
        return unit_of(task, task.settings if plan is None else plan.given)

    def asks_for_secrets(self, name: str) -> bool:
        """Whether a key or headers were typed for a task. A copy of it needs them again."""
        plan = plans.read(self.folder.directory(name))
        return plan is not None and bool(plan.typed)

    def clone(
        self,
        name: str,
        changes: Mapping[str, Any],
        *,
        secrets: Mapping[str, Any] | None = None,
        start: bool = True,
    ) -> Task:
        """Copy a task with changed settings; None removes a setting. The copy waits if a secret must be typed again."""
        old, plan = self.task(name), plans.read(self.folder.directory(name))
        if old.kind not in KINDS:
            raise Conflict(tr("%(task)s was made in a terminal: run its command again there", task=name))
        settings = {key: value for key, value in {**old.settings, **changes}.items() if value is not None}
        settings = {key: value for key, value in settings.items() if key not in settings_form.LEFT_OUT}
        typed, before, keys = dict(secrets or {}), set[str](), None
        # Keys stay with their server.
        if origins_of(settings.get("url")) <= origins_of(old.settings.get("url")):
            keys, before = (None, set()) if plan is None else (plan.keys, set(plan.typed))
            typed = {**self.runner.secrets.get(name, {}), **typed}
        new = _NewTask(old.kind, settings, old.marks.title, keys, typed, frozenset({*before, *typed}))
        secret = keys is not None or bool(new.typed)
        problems = tokenizer_problem(settings) if secret else []
        # Who typed a key chose its proxy too.
        if keys is not None or (secret and any(settings.get(key) != old.settings.get(key) for key in SEEN_BY_PROXY)):
            problems += proxy_problem(settings)
        task = self._made(new, problems)
        self.store.note(task.id, f"made it from {name}")
        return self.queue.start(task.id) if start and not task.needs else self.task(task.id)

    def mark(self, name: str, changes: Mapping[str, Any]) -> Task:
        """Change title, label, note or baseline."""
        task = self.task(name)
        if unknown := changes.keys() - {"title", "label", "note", "baseline"}:
            names = ", ".join(sorted(unknown))
            raise ConsoleError(tr("a task has a title, a label, a note and a baseline, not %(names)s", names=names))
        known = asdict(task.marks)
        for key, value in changes.items():
            text = "" if value is None else str(value).strip()[:MOST_TEXT]
            known[key] = bool(value) if key == "baseline" else text or None
        self.store.mark(name, Marks(**known))
        self.store.note(name, f"changed its {', '.join(sorted(changes))}")
        return self.task(name)

    def remove(self, name: str, *, files: bool) -> None:
        """Remove a task from the list. `files` deletes its directory; otherwise the directory is moved aside."""
        task = self.task(name)
        if task.active:
            raise Conflict(tr("%(task)s is %(state)s: stop it first", task=name, state=Phrase(task.state)))
        path = self.folder.directory(name)
        if files:
            shutil.rmtree(path)
        else:
            removed = self.runs / OWN_FOLDER / REMOVED
            removed.mkdir(parents=True, exist_ok=True)
            if (removed / name).exists():  # A terminal may have reused the name.
                (removed / name).rename(removed / _free(removed, f"{name}-removed"))
            path.rename(removed / name)
        self.store.forget(name, marks=files)
        self.runner.secrets.pop(name, None)
        self.store.note(name, "deleted it with its files" if files else "deleted it")

    def restore(self, name: str) -> Task:
        """Put back a task that was moved aside, with its title and label. Raises NotFound."""
        path = self.runs / OWN_FOLDER / REMOVED / name
        if TASK_NAME.fullmatch(name) is None or not path.is_dir() or (self.runs / name).exists():
            raise NotFound(tr("there is no removed task %(task)s", task=repr(name)))
        path.rename(self.runs / name)
        self.store.note(name, "brought it back")
        return self.task(name)

    def compared(
        self, names: Sequence[str], *, by: str = "task", margin: str = DEFAULT_MARGIN, allow: str = ""
    ) -> Comparison:
        """Compare tasks with the baseline, or else the earliest. `by`: each task separately, or one side per label.

        Raises NotFound, and ConsoleError for invalid arguments.
        """
        if by not in ("task", "label"):
            raise ConsoleError(tr("tasks are compared by task or by label, not by %(by)s", by=repr(by)))
        tasks = [self.task(name) for name in dict.fromkeys(names)]
        return self._comparer.compare(grouped(tasks, by), margin=margin.strip() or DEFAULT_MARGIN, allow=allow.strip())

    def live(self, name: str, after: int = 0, run: str | None = None) -> list[dict[str, Any]]:
        """The complete lines of live.jsonl after the first `after`. `run` selects a run of a series."""
        return [row for row in live_lines.read(self.folder.run(name, run) / LIVE, after) if row is not None]

    def followed_live(
        self, name: str, run: str | None, after: int, position: int | None
    ) -> tuple[list[dict[str, Any] | None], int | None]:
        """The lines since `position`, with None for each damaged one so that lines can be counted. See
        `live_lines.read_on`."""
        return live_lines.read_on(self.folder.run(name, run) / LIVE, after, position)

    def archive(self, name: str) -> bytes:
        """The run directory as a ZIP, without the console's own files."""
        path, buffer = self.folder.directory(name), io.BytesIO()
        files = [
            file for file in sorted(path.rglob("*")) if file.is_file() and not file.is_symlink() and file.name != PID
        ]
        if sum(file.stat().st_size for file in files) > MOST_ZIP_BYTES:
            raise Conflict(tr("%(task)s is too large for a download: copy %(path)s", task=name, path=path))
        # A file system without dates reports 1970, and ZIP dates start in 1980.
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
            for file in files:
                archive.write(file, f"{name}/{file.relative_to(path)}")
        return buffer.getvalue()

    async def fetch(self, url: str, rows: Rows = AS_IT_IS) -> list[str]:
        """Store the data file at a URL. Returns the names of its files. Raises ConsoleError."""
        name, content = await fetch(url, allow_local=self._allow_local_data)
        return await asyncio.to_thread(self.files.add, name, content, rows)

    # Targets.

    def targets(self) -> list[Target]:
        """The saved servers, the running mock first."""
        mock = [] if self.mock.url is None else [Target(MOCK, self.mock.url)]
        return [*mock, *self.store.targets()]

    def target(self, name: str) -> Target:
        """A saved server. Raises NotFound."""
        for target in self.targets():
            if target.name == name:
                return target
        if name == MOCK:
            raise NotFound(
                tr("the built-in mock does not run: start it on the page Targets, or with POST /api/mock/start")
            )
        if names := ", ".join(target.name for target in self.targets()):
            raise NotFound(
                tr("there is no target %(name)s: choose %(names)s, or save it", name=repr(name), names=names)
            )
        raise NotFound(tr("there is no target %(name)s, and none is saved: give the URL instead", name=repr(name)))

    def save_target(self, values: Mapping[str, Any]) -> Target:
        """Add or replace a server. Raises Refused."""
        known = ("endpoint", "model", "tokenizer", "key_variable", "header_variables")
        name, url = (str(values.get(key) or "") for key in ("name", "url"))
        target = Target(name, url, **{key: values.get(key) or None for key in known})
        problems: list[tuple[str | None, str]] = []
        if not target.name or TASK_NAME.fullmatch(target.name) is None or target.name == MOCK:
            problems.append(("name", tr("give it a name of letters, digits, dots and dashes")))
        keys = TargetKeys.of(target)
        for kind, variable in () if keys is None else keys.variables:
            if sentence := self._variables.problem(variable):
                problems.append(("key_variable" if kind == "api_key" else "header_variables", sentence))
        try:
            settings_form.check(settings_of(target), {}, self.files)
        except Refused as e:
            problems += e.problems
        if problems:
            raise Refused(problems)
        self.store.save_target(target)
        return target

    def remove_target(self, name: str) -> None:
        """Delete a saved server. Raises NotFound."""
        self.store.remove_target(self.target(name).name)

    def probe(self, settings: Mapping[str, Any], secrets: Mapping[str, Any], target: Target | None) -> str:
        """Send one short request to the server of a task, as a run does first. Returns a sentence. Raises ConsoleError."""
        effective, problems = aimed(settings, target)
        keys = None if target is None else TargetKeys.of(target)
        if problems := [*problems, *self._problems_of_keys(effective, keys, secrets)]:
            raise Refused(problems)
        paths = settings_form.check(effective, secrets, self.files)
        environment = self._variables.environment(effective.get("url"), effective.get("endpoint"), keys)
        typed = dict(secrets)
        if headers := self._variables.headers(effective.get("url"), keys):
            typed["header"] = [*typed.get("header", ()), *headers]
        content = yaml.safe_dump({**paths, **typed, **_SMALL_RUN})
        with tempfile.TemporaryDirectory(prefix="trueload-") as folder:
            command = [sys.executable, "-m", "bench", "run", "--config", "-", "--out", f"{folder}/run", "--quiet"]
            try:
                process = subprocess.run(
                    command, input=content, capture_output=True, text=True, timeout=PROBE_WITHIN_S, env=environment,
                    check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise ConsoleError(tr("no answer within %(s)s s", s=f"{PROBE_WITHIN_S:.0f}")) from None
            try:
                model = yaml.safe_load((Path(folder) / "run" / "run.yaml").read_text())["manifest"]["model"]
            except OSError:
                reason = process.stderr.strip().removeprefix("error: ")
                status = tr("the probe ended with status %(status)s", status=process.returncode)
                raise ConsoleError(reason or status) from None
        return tr("it answers, with the model %(model)s", model=model) if model else tr("it answers")


def _free(folder: Path, name: str) -> str:
    """The name, with a number appended if the folder already has it."""
    numbered = (name if n == 1 else f"{name}-{n}" for n in count(1))
    return next(name for name in numbered if not (folder / name).exists())
