"""Compares tasks by running `python -m bench compare` in a low-priority process, so that it does not disturb measurements."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from bench.console import beside
from bench.console.errors import ConsoleError
from bench.console.kinds import FROM_A_TERMINAL
from bench.console.language import Phrase, tr
from bench.console.task import HEADLINES, Task, endpoint_of
from bench.errors import Exit

MOST_SIDES = 26
DEFAULT_MARGIN = "5%"
_WITHIN_S = 300.0
_MAX_CACHED = 8


@dataclass(frozen=True, slots=True)
class Group:
    """A side: one task, or all tasks with a label."""

    name: str
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result. `left_out` has a sentence for each side that cannot be compared. `page` is None if fewer than two
    sides remain.

    `allow`: the differing settings that the user would have to allow.
    """

    left_out: tuple[str, ...]
    page: str | None = None
    document: dict[str, Any] | None = None
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownChange:
    """A metric's change against the first side: a short text, its tone (a CSS class), and the reason."""

    text: str
    tone: str
    why: str


def changes(document: Mapping[str, Any] | None) -> dict[tuple[str, str], ShownChange]:
    """The tested changes of a comparison, by task and key of `HEADLINES`. Only sides of a single task are included.

    A difference counts as a change only if a test shows it; metrics without a test get no text.
    """
    if document is None:
        return {}
    tasks = {side["name"]: side["path"] for side in document["sides"] if len(side["runs"]) == 1}
    results = {}
    for versus in document["versus"]:
        if (task := tasks.get(versus["b"])) is None:
            continue
        rows = {row["name"]: row for row in versus["numbers"]}
        for key, _ in HEADLINES:
            name = re.sub(r"_(p\d+)_ms$", r":\1", key)
            if name in rows:
                results[task, key] = _tested(rows[name])
    return results


def _tested(row: Mapping[str, Any]) -> ShownChange:
    if row["change"] is None or row["answer"] is None:
        return ShownChange(tr("not tested"), "", row["missing"] or tr("there is no test of it"))
    ends = [row[end] for end in ("low", "high")]
    share = "{:+.1%}".format if row["ratio"] else "{:+.3g}".format
    interval = "" if None in ends else tr("95%% interval: %(low)s to %(high)s", low=share(ends[0]), high=share(ends[1]))
    if row["answer"] == "differs":
        return ShownChange(share(row["change"]), "worse" if row["worse"] else "better", interval)
    if row["answer"] == "these two differ":
        return ShownChange(tr("%(change)s between these two runs", change=share(row["change"])), "", interval)
    same = row["answer"].startswith("same")
    return ShownChange(tr("the same") if same else tr("no difference shown"), "", interval)


def in_order(tasks: Iterable[Task]) -> list[Task]:
    """Order tasks by start time, the baseline first."""
    return sorted(tasks, key=lambda task: (not task.marks.baseline, task.started or "", task.id))


def differing_settings(tasks: Sequence[Task]) -> list[str]:
    """The settings whose values differ between these tasks."""
    # Runs from a terminal record the API and the mode implied by their other settings; tasks of the console may not.
    shared = {"endpoint"} if len({endpoint_of(task.settings) for task in tasks}) == 1 else set()
    shared |= set() if all("mode" in task.settings for task in tasks) else {"mode"}
    names = dict.fromkeys(name for task in tasks for name in task.settings if name not in shared)
    return [name for name in names if len({str(task.settings.get(name)) for task in tasks}) > 1]


def grouped(tasks: Sequence[Task], by: str) -> list[Group]:
    """Group tasks into sides, the baseline first, then by time. `by` is task or label; a task without a label is its
    own side."""
    sides: dict[tuple[str | None, str], list[Task]] = {}
    for task in in_order(tasks):
        label = task.marks.label if by == "label" else None
        sides.setdefault((label, "" if label else task.id), []).append(task)
    return [Group(label or members[0].title, tuple(members)) for (label, _), members in sides.items()]


class Comparer:
    """Compares tasks and caches the last few results, because the page and its content are requested separately."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs.resolve()
        self._lock = threading.Lock()
        self._kept: dict[tuple[object, ...], Comparison] = {}

    def compare(self, groups: Sequence[Group], *, margin: str = DEFAULT_MARGIN, allow: str = "") -> Comparison:
        """Compare every side that can be compared with the first. Raises ConsoleError for invalid arguments."""
        if not 2 <= len(groups) <= MOST_SIDES:
            raise ConsoleError(tr("choose 2 to %(most)s tasks to compare, not %(n)s", most=MOST_SIDES, n=len(groups)))
        key = (tuple((group.name, *((t.id, t.state) for t in group.tasks)) for group in groups), margin, allow)
        with self._lock:
            if (comparison := self._kept.get(key)) is None:
                comparison = self._compared(groups, margin, allow)
                if all(task.over for group in groups for task in group.tasks):
                    self._kept = dict([*self._kept.items(), (key, comparison)][-_MAX_CACHED:])
            return comparison

    def _compared(self, groups: Sequence[Group], margin: str, allow: str) -> Comparison:
        left_out = []
        ready = []
        for group in groups:
            if sentence := _not_ready(group):
                left_out.append(sentence)
            else:
                ready.append(group)
        if len(ready) < 2:
            return Comparison(tuple(left_out))
        whole = self._run(ready, margin, allow)
        if not isinstance(whole, str):
            return Comparison(tuple(left_out), *whole)
        if len(ready) == 2:
            return Comparison((*left_out, self._named(whole, ready)), allow=_to_allow(whole))
        # A side that cannot be compared must not keep out the others.
        first, good = ready[0], [ready[0]]
        needed: list[str] = []
        for other in ready[1:]:
            pair = self._run([first, other], margin, allow)
            if isinstance(pair, str):
                left_out.append(self._named(pair, [first, other]))
                needed += _to_allow(pair)
            else:
                good.append(other)
        allowing = tuple(dict.fromkeys(needed))
        if len(good) == 1:
            return Comparison(tuple(left_out), allow=allowing)
        rest = self._run(good, margin, allow)
        if isinstance(rest, str):
            return Comparison((*left_out, self._named(rest, good)), allow=allowing)
        return Comparison(tuple(left_out), *rest, allow=allowing)

    def _run(self, groups: Sequence[Group], margin: str, allow: str) -> tuple[str, dict[str, Any]] | str:
        """Returns the page and the document, or a sentence why there are none."""
        with tempfile.TemporaryDirectory(prefix="trueload-") as folder:
            sides = []
            for number, group in enumerate(groups):
                if len(group.tasks) == 1:
                    sides.append(str(self._runs / group.tasks[0].id))
                    continue
                # A side of several runs must be one directory that contains them.
                side = Path(folder) / f"{number}" / re.sub(r"[^\w.-]+", "-", group.name)
                side.mkdir(parents=True)
                for task in group.tasks:
                    (side / task.id).symlink_to(self._runs / task.id)
                sides.append(str(side))
            out = f"{folder}/out"
            words = [f"--margin={margin}", f"--allow={allow}", "--format", "json", "--out", out]
            # Options come first: everything after `--` is a directory, whatever its name.
            if (result := beside.ran(["compare", *words, "--", *sides], _WITHIN_S)) is None:
                return tr(
                    "the comparison took more than %(s)s s: run python -m bench compare in a terminal",
                    s=f"{_WITHIN_S:.0f}",
                )
            status, errors = result
            # Show paths as a user of the console knows them.
            shown = partial(re.compile(rf"{re.escape(folder)}/\d+/|{re.escape(str(self._runs))}/").sub, "")
            if status != Exit.GOOD:
                return shown(errors.strip()) or tr("the comparison ended with status %(status)s", status=status)
            page = shown(Path(out, "compare.html").read_text(encoding="utf-8"))
            return page, orjson.loads(shown(Path(out, "compare.json").read_text(encoding="utf-8")))

    def _named(self, message: str, groups: Sequence[Group]) -> str:
        """Rewrite the command's message: replace A and B with the names of the tasks."""
        lines = [line.strip().removeprefix("error: ").removeprefix("- ") for line in message.splitlines()]
        sentences = "; ".join(line for line in lines if not re.fullmatch(r"\d+ problems", line))
        names = dict(zip("AB", (group.name for group in groups), strict=False))
        sentences = re.sub(
            r"\b[AB]\b(?= (?:and|cannot|\())|(?<=and )B\b", lambda match: f"“{names[match[0]]}”", sentences
        )
        return re.sub(r", add --allow \S+$", ", compare them all the same", sentences)


def _to_allow(message: str) -> tuple[str, ...]:
    match = re.search(r"--allow ([\w,]+)", message)
    return () if match is None else tuple(match[1].split(","))


def _not_ready(group: Group) -> str | None:
    kinds = sorted({task.kind for task in group.tasks})
    if len(group.tasks) > 1 and any(kind in ("search", "sweep") for kind in kinds):
        return tr("%(name)s: searches and sweeps are compared one by one, not as a group", name=group.name)
    if "quality" in kinds:
        return tr("%(name)s: a quality task compares its own runs: its page has the answer", name=group.name)
    if shown := next((task for task in group.tasks if task.kind in FROM_A_TERMINAL), None):
        return tr("%(task)s is no measurement of one load: its page has the answer", task=shown.title)
    for task in group.tasks:
        if not task.has_report:
            if task.over:
                return tr("%(task)s has no result, so it cannot be compared", task=task.title)
            return tr(
                "%(task)s is %(state)s and has no result yet, so it cannot be compared",
                task=task.title,
                state=Phrase(task.state),
            )
    return None
