"""What the console can do: the operations behind its pages and its API, which have no others."""

from __future__ import annotations

import asyncio
import io
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import yaml

from bench.clock import utc_now
from bench.config import Settings
from bench.config.renamed import renewed
from bench.config.resolution import MOST_VALUES, given_again, has_few_values
from bench.console import live_lines, settings_form
from bench.console import plan as plans
from bench.console.comparing import DEFAULT_MARGIN, Comparer, Comparison, grouped
from bench.console.data_files import DataFiles, fetch
from bench.console.errors import Conflict, ConsoleError, NotFound, Refused
from bench.console.kinds import KINDS, can_resume
from bench.console.mock import NAME as MOCK
from bench.console.mock import BuiltInMock
from bench.console.people import USER
from bench.console.plan import Damaged, Plan
from bench.console.runner import Runner
from bench.console.set_load import set_load, unit_of
from bench.console.store import Act, Marks, Store, Target
from bench.console.target_keys import KeyVariables, TargetKeys, aimed, origin_of, settings_of, tokenizer_problem
from bench.console.task import FAILED, KILLED, NOT_STARTED, QUEUED, STOPPED, Task
from bench.console.tasks import OWN_FOLDER, PID, TASK_NAME, TaskFolder
from bench.control import PresentLoad
from bench.run_files.run_directory import LIVE
from bench.run_files.writable import make_directory

PROBE_WITHIN_S = 60.0
_SMALL_RUN = {"requests": 1, "concurrency": 1, "input_tokens": 16, "output_tokens": 4, "wait_for_server": None}
READ_AT_ONCE = 20
"""Finished directories that are read for one page: some 50 ms each."""
MOST_TEXT = 2_000
"""Characters of a title, a label or a note."""
REMOVED = "removed"
"""The folder, in that of the console, of tasks that were taken out of the list with their files kept."""
MOST_ZIP_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _NewTask:
    """A task to make. `typed` names the secrets that it needs, `secrets` has those that are known."""

    kind: str
    settings: Mapping[str, Any]
    title: str | None
    keys: TargetKeys | None
    secrets: Mapping[str, Any]
    typed: frozenset[str]


class Console:
    """Everything that one runs folder and one process hold."""

    def __init__(self, runs: Path, *, key_env: Sequence[str] = (), allow_local_data: bool = False) -> None:
        """`key_env`: environment variables that targets may name, in addition to the default ones. `allow_local_data`: data
        may be fetched from this machine and its link."""
        self.runs = runs
        self._allow_local_data = allow_local_data
        self._variables = KeyVariables(key_env, data=runs / OWN_FOLDER / "files")
        make_directory("--runs", runs / OWN_FOLDER)
        self.store = Store(runs / OWN_FOLDER / "console.sqlite")
        self.files = DataFiles(runs / OWN_FOLDER / "files")
        self.folder = TaskFolder(runs, self.store)
        self.runner = Runner(self.folder, self.store, self._variables)
        self.mock = BuiltInMock()
        self._comparer = Comparer(runs)

    def close(self) -> None:
        """Let go. A task that runs goes on."""
        self.mock.stop()
        self.store.close()

    # Tasks.

    def tasks(self, *, whole: bool = False) -> list[Task]:
        """All tasks, the latest first. Unless `whole` is set, directories that were never read may still be `BEING_READ`."""
        most_new = None if whole else READ_AT_ONCE
        found = self.folder.tasks(self.runner.queue, self.runner.starting, most_new=most_new)
        return [self._completed(task) for task in found]

    def task(self, name: str) -> Task:
        """One task. Raises NotFound."""
        return self._completed(self.folder.task(name, self.runner.queue, self.runner.starting))

    def _completed(self, task: Task) -> Task:
        if task.state == NOT_STARTED and (problem := self.runner.problems.get(task.id)) is not None:
            return replace(task, state=FAILED, problem=problem)
        ended = task.state in (STOPPED, KILLED) and task.id not in self.runner.starting
        goes_on = ended and can_resume(self.runs / task.id, task.kind)
        if task.state not in (NOT_STARTED, QUEUED) and not goes_on:
            return task
        try:
            plan = plans.read(self.runs / task.id)
        except Damaged:
            return task
        # What a terminal started has no task.yaml: the flags that it was given are not known here.
        return task if plan is None else replace(task, needs=self.runner.needs(task.id, plan), can_go_on=goes_on)

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
        """A new task, started as soon as nothing else runs. Raises Refused with every problem."""
        if kind not in KINDS:
            raise ConsoleError(f"a task is of the kind {' or '.join(KINDS)}, not {kind!r}")
        typed = dict(secrets or {})
        saved = self.target(target) if target and kind != "calibrate" else None
        given, problems = aimed(settings, saved)
        keys = None if saved is None else TargetKeys.of(saved)
        problems += self._problems_of_keys(given, keys, typed)
        if start_at is not None:
            try:
                start_at = _utc(start_at)
            except ValueError:
                problems.append(("start_at", f"{start_at!r} is no time: write 2026-12-31T18:00"))
        new = _NewTask(kind, given, title, keys, typed, frozenset(typed))
        task = self._made(new, problems)
        self._note(task.id, "created it")
        try:
            return self._enqueue(task.id, None, start_at) if start else self.task(task.id)
        except sqlite3.Error:
            self._unmade(task.id)
            raise

    def _problems_of_keys(
        self, given: Mapping[str, Any], keys: TargetKeys | None, typed: Mapping[str, Any]
    ) -> list[tuple[str | None, str]]:
        """Variables that cannot be used where nothing was typed instead, and another server that would get the key."""
        sentences = [] if keys is None else [(kind, self._variables.problem(name)) for kind, name in keys.variables]
        problems = [
            ("target", f"{sentence}, or type it") for kind, sentence in sentences if sentence and kind not in typed
        ]
        return [*problems, *(tokenizer_problem(given) if keys is not None or typed else ())]

    def _made(self, new: _NewTask, problems: list[tuple[str | None, str]]) -> Task:
        """Make the directory of a task that waits for its start. Raises Refused with every problem."""
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
        """Take away a task that a full disk left half made."""
        shutil.rmtree(self.runs / name, ignore_errors=True)
        self.runner.secrets.pop(name, None)

    def _free_name(self, wish: str) -> str:
        clean = (
            "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in wish).strip("-_")[:60] or "run"
        )
        base = f"{utc_now():%Y%m%dT%H%M%S}-{clean}"
        numbered = (base if n == 1 else f"{base}-{n}" for n in count(1))
        return next(name for name in numbered if not (self.runs / name).exists())

    def start(self, name: str, secrets: Mapping[str, Any] | None = None, start_at: str | None = None) -> Task:
        """Put a task that waits for its user into the queue, or give one that is in it its secrets. Raises Conflict."""
        task = self.task(name)
        if task.state != NOT_STARTED and not (task.state == QUEUED and task.needs):
            raise Conflict(f"{name} is {task.state}: clone it to run it again")
        return self._enqueue(name, secrets, start_at)

    def _enqueue(self, name: str, secrets: Mapping[str, Any] | None, start_at: str | None = None) -> Task:
        if secrets:
            self.runner.secrets[name] = {**self.runner.secrets.get(name, {}), **secrets}
        task = self.task(name)
        if task.needs:
            raise Conflict(f"{_named(task.needs)} was typed in and is in no file: type it again")
        if task.state != QUEUED or start_at is not None:
            self.store.enqueue(name, None if start_at is None else _utc(start_at))
        self._note(name, "put it into the queue" if task.state != QUEUED else "gave it its secrets")
        self.runner.look()
        return self.task(name)

    def go_on(self, name: str, secrets: Mapping[str, Any] | None = None) -> Task:
        """Let a search or a sweep that was stopped or killed go on, as soon as nothing else runs. Raises Conflict."""
        task = self.task(name)
        if not task.can_go_on:
            if task.state in (STOPPED, KILLED) and can_resume(self.folder.directory(name), task.kind):
                raise Conflict(f"{name} was started in a terminal: go on there, with --resume {self.runs / name}")
            rule = "only a search or a sweep that was stopped or killed can go on"
            raise Conflict(f"{rule}; {name} is a {task.kind}, and {task.state}")
        return self._enqueue(name, secrets)

    def stop(self, name: str) -> Task:
        """Drain a task; the second time, cut what is in flight."""
        self.runner.stop(name, self.task(name).state)
        self._note(name, "stopped it")
        return self.task(name)

    def set_load(self, name: str, load: float) -> PresentLoad:
        """Set the users, or the requests per second, of a task that runs. Raises Conflict with the reason."""
        present = set_load(self.folder.directory(name), self.task(name), load)
        self._note(name, f"set its load to {load:g}")
        return present

    def history(self, name: str) -> list[Act]:
        """Who did what with a task. Raises NotFound."""
        self.folder.directory(name)
        return self.store.acts(name)

    def _note(self, name: str, what: str) -> None:
        # A full disk must not undo what was done.
        with suppress(sqlite3.Error):
            self.store.note(name, Act(utc_now().isoformat(timespec="seconds"), USER.get(), what))

    def load_unit(self, task: Task) -> str | None:
        """The unit of the load of a task. Returns None if the load cannot be set."""
        try:
            plan = plans.read(self.folder.directory(task.id))
        except Damaged:
            plan = None
        return unit_of(task, task.settings if plan is None else plan.given)

    def asks_for_secrets(self, name: str) -> bool:
        """Whether a key or headers were typed for a task: a copy of it needs them again."""
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
        """The same task again, with these settings changed; None takes one out. It waits if a secret must be typed again."""
        old, plan = self.task(name), plans.read(self.folder.directory(name))
        settings = {key: value for key, value in {**old.settings, **changes}.items() if value is not None}
        settings = {key: value for key, value in settings.items() if key not in settings_form.LEFT_OUT}
        typed, before, keys = dict(secrets or {}), set[str](), None
        # Keys stay with the server that they were for.
        if origin_of(settings.get("url")) == origin_of(old.settings.get("url")):
            keys, before = (None, set()) if plan is None else (plan.keys, set(plan.typed))
            typed = {**self.runner.secrets.get(name, {}), **typed}
        new = _NewTask(old.kind, settings, old.marks.title, keys, typed, frozenset({*before, *typed}))
        secret = keys is not None or bool(new.typed)
        task = self._made(new, tokenizer_problem(settings) if secret else [])
        self._note(task.id, f"made it from {name}")
        return self.start(task.id) if start and not task.needs else self.task(task.id)

    def mark(self, name: str, changes: Mapping[str, Any]) -> Task:
        """Change title, label, note or baseline."""
        task = self.task(name)
        if unknown := changes.keys() - {"title", "label", "note", "baseline"}:
            raise ConsoleError(
                f"a task has a title, a label, a note and a baseline, and no {', '.join(sorted(unknown))}"
            )
        known = asdict(task.marks)
        for key, value in changes.items():
            text = "" if value is None else str(value).strip()[:MOST_TEXT]
            known[key] = bool(value) if key == "baseline" else text or None
        self.store.mark(name, Marks(**known))
        self._note(name, f"changed its {', '.join(sorted(changes))}")
        return self.task(name)

    def remove(self, name: str, *, files: bool) -> None:
        """Take a task out of the list: with its files, or only what the console knows of it, by moving it aside."""
        task = self.task(name)
        if task.active:
            raise Conflict(f"{name} is {task.state}: stop it first")
        path = self.folder.directory(name)
        self.store.forget(name, marks=files)
        self.runner.secrets.pop(name, None)
        if files:
            shutil.rmtree(path)
        else:
            removed = self.runs / OWN_FOLDER / REMOVED
            removed.mkdir(parents=True, exist_ok=True)
            path.rename(removed / name)

    def restore(self, name: str) -> Task:
        """Put a task back that was moved aside, with its title and label. Raises NotFound."""
        path = self.runs / OWN_FOLDER / REMOVED / name
        if TASK_NAME.fullmatch(name) is None or not path.is_dir() or (self.runs / name).exists():
            raise NotFound(f"there is no removed task {name!r}")
        path.rename(self.runs / name)
        return self.task(name)

    def move(self, name: str, places: int) -> None:
        if name not in self.runner.queue:
            raise Conflict(f"{name} does not wait in the queue")
        self.store.move(name, places)
        self._note(name, "moved it in the queue")

    def compared(
        self, names: Sequence[str], *, by: str = "task", margin: str = DEFAULT_MARGIN, allow: str = ""
    ) -> Comparison:
        """Tasks against the first of them, or against the baseline; `by`: each for itself, or those of a label together.

        Raises NotFound, and ConsoleError for wrong words.
        """
        if by not in ("task", "label"):
            raise ConsoleError(f"tasks are compared by task or by label, not by {by!r}")
        tasks = [self.task(name) for name in dict.fromkeys(names)]
        return self._comparer.compare(grouped(tasks, by), margin=margin.strip() or DEFAULT_MARGIN, allow=allow.strip())

    def live(self, name: str, after: int = 0, run: str | None = None) -> list[dict[str, Any]]:
        """The whole lines of live.jsonl after so many; of a search or a sweep those of one of its runs."""
        return [row for row in self.counted_live(name, after, run) if row is not None]

    def counted_live(self, name: str, after: int, run: str | None) -> list[dict[str, Any] | None]:
        """The same, with None for each damaged line: for a reader that counts lines."""
        return live_lines.read(self.folder.run(name, run) / LIVE, after)

    def archive(self, name: str) -> bytes:
        """The run directory as a ZIP, without what is the console's own."""
        path, buffer = self.folder.directory(name), io.BytesIO()
        places = [path, *(inner for inner in sorted(path.iterdir()) if inner.is_dir() and not inner.is_symlink())]
        files = [
            file
            for place in places
            for file in sorted(place.iterdir())
            if file.is_file() and not file.is_symlink() and file.name != PID
        ]
        if sum(file.stat().st_size for file in files) > MOST_ZIP_BYTES:
            raise Conflict(f"{name} is too large for a download: copy {path}")
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, f"{name}/{file.relative_to(path)}")
        return buffer.getvalue()

    @staticmethod
    def command(settings: Mapping[str, Any], kind: str = "run") -> str:
        """The command line that starts such a run."""
        words = ["python", "-m", "bench", kind]
        for key, value in settings.items():
            if key in KINDS[kind].form.left_out:
                continue
            flag = f"--{key.replace('_', '-')}"
            if isinstance(value, bool):
                words.append(flag if value else f"--no-{key.replace('_', '-')}")
            elif isinstance(value, list | tuple):
                words += [word for item in value for word in (flag, str(item))]
            else:
                words += [flag, orjson.dumps(value).decode() if isinstance(value, dict) else str(value)]
        return shlex.join(words)

    @staticmethod
    def yaml(settings: Mapping[str, Any]) -> str:
        """The settings for `--config`."""
        return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)

    @staticmethod
    def from_yaml(text: str, kind: str = "run") -> tuple[str, dict[str, Any]]:
        """Settings that were pasted, of a file for --config or a run.yaml, and the kind of task that they are for: the one
        that is asked for, if it has them. Raises ConsoleError."""
        try:
            content = yaml.safe_load(text)
        except RecursionError:
            raise ConsoleError("nested too deeply: settings are keys with values") from None
        except (yaml.YAMLError, ValueError) as e:
            raise ConsoleError(f"not YAML: {' '.join(str(e).split())}") from e
        if not has_few_values(content):
            raise ConsoleError(f"more than {MOST_VALUES:,} values, or an alias (*) that stands in itself")
        if isinstance(content, dict) and "manifest" in content and isinstance(content.get("config"), dict):
            content = given_again(content["config"])
        if not isinstance(content, dict):
            raise ConsoleError("YAML must hold keys with values, for example concurrency: 10")
        named = renewed({str(key).replace("-", "_"): value for key, value in content.items()})
        unknown = named.keys() - Settings.model_fields.keys()
        for fits in (kind, *KINDS):
            if not unknown - {option.name for option in KINDS[fits].form.options}:
                left_out = (*settings_form.LEFT_OUT, *KINDS[fits].form.left_out)
                return fits, {key: value for key, value in named.items() if key not in left_out}
        raise ConsoleError(f"not known: {', '.join(sorted(unknown))}")

    async def fetch(self, url: str, *, whole: bool = False) -> list[str]:
        """Keep the data file that a URL gives; returns the names of its files. Raises ConsoleError."""
        name, content = await fetch(url, allow_local=self._allow_local_data)
        return await asyncio.to_thread(self.files.add, name, content, whole=whole)

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
        hint = ": start it first" if name == MOCK else ""
        raise NotFound(f"there is no target {name!r}{hint}")

    def save_target(self, given: Mapping[str, Any]) -> Target:
        """Add or replace a server. Raises Refused."""
        known = ("endpoint", "model", "tokenizer", "key_variable", "header_variables")
        name, url = (str(given.get(key) or "") for key in ("name", "url"))
        target = Target(name, url, **{key: given.get(key) or None for key in known})
        problems: list[tuple[str | None, str]] = []
        if not target.name or TASK_NAME.fullmatch(target.name) is None or target.name == MOCK:
            problems.append(("name", "give it a name of letters, digits, dots and dashes"))
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
        """Forget a saved server. Raises NotFound."""
        self.store.remove_target(self.target(name).name)

    def probe(self, settings: Mapping[str, Any], secrets: Mapping[str, Any], target: Target | None) -> str:
        """Ask the server of a task for one short reply, as its run does first. Returns a sentence; raises ConsoleError."""
        given, problems = aimed(settings, target)
        keys = None if target is None else TargetKeys.of(target)
        if problems := [*problems, *self._problems_of_keys(given, keys, secrets)]:
            raise Refused(problems)
        paths = settings_form.check(given, secrets, self.files)
        environment = self._variables.environment(given.get("url"), given.get("endpoint"), keys)
        typed = dict(secrets)
        if headers := self._variables.headers(given.get("url"), keys):
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
                raise ConsoleError(f"no answer within {PROBE_WITHIN_S:.0f} s") from None
            try:
                model = yaml.safe_load((Path(folder) / "run" / "run.yaml").read_text())["manifest"]["model"]
            except OSError:
                reason = process.stderr.strip().removeprefix("error: ")
                raise ConsoleError(reason or f"the probe ended with status {process.returncode}") from None
        return "it answers" + (f", with the model {model}" if model else "")


def _named(needs: Sequence[str]) -> str:
    return " and ".join({"api_key": "the API key", "header": "the headers"}.get(kind, kind) for kind in needs)


def _utc(text: str) -> str:
    """A time as a browser writes it, which is UTC unless it says another zone."""
    at = datetime.fromisoformat(text)
    return (at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)).isoformat()
