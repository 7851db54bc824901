"""task.yaml: what a task of the console is to run. It stores no secrets, only which secrets the task needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.config.renamed import renewed
from bench.console.errors import Conflict
from bench.console.kinds import KINDS
from bench.console.language import tr
from bench.console.target_keys import TargetKeys
from bench.run_files import shape
from bench.run_files.run_directory import RunDirectory
from promptset.whole_file import read_bytes

TASK_FILE = "task.yaml"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Damaged(Conflict):
    """A file of a task that cannot be read."""


@dataclass(frozen=True, slots=True)
class _File:
    """The content of task.yaml. Files of older versions lack some fields."""

    kind: str = "run"
    name: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    paths: Mapping[str, Any] | None = None
    typed: tuple[str, ...] = ()
    keys_for: str | None = None
    key_variable: str | None = None
    header_variables: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a task is to run. `paths` are the settings with file names replaced by paths, and a mix's name by its content."""

    kind: str = "run"
    name: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    paths: Mapping[str, Any] | None = None
    typed: tuple[str, ...] = ()
    """The secrets (api_key, header) that were typed in."""
    keys: TargetKeys | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The settings that the task's process gets."""
        return renewed(self.paths or self.settings)

    def write(self, directory: Path) -> None:
        """Write task.yaml atomically. Raises OSError."""
        content = {"kind": self.kind, **({} if self.keys is None else self.keys.to_plan()), "name": self.name}
        content |= {"settings": dict(self.settings), "paths": dict(self.paths or {}), "typed": list(self.typed)}
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        RunDirectory(directory).write(TASK_FILE, text.encode())


def read(directory: Path) -> Plan | None:
    """The plan of a task. Returns None if the console did not create it. Raises Damaged."""
    try:
        content = yaml.load(read_bytes(directory / TASK_FILE), Loader=_LOADER)
    except FileNotFoundError:
        return None
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as e:
        raise Damaged(tr("%(file)s cannot be read: %(why)s", file=TASK_FILE, why=" ".join(str(e).split())[:300])) from e
    if not isinstance(content, dict):
        raise Damaged(tr("%(file)s is damaged: it must hold keys with values", file=TASK_FILE))
    problems = [problem] if (problem := shape.unlike_json(content)) else list(shape.misfits(content, _File, TASK_FILE))
    names = () if problems else (*content.get("settings", ()), *(content.get("paths") or ()))
    if not all(isinstance(name, str) for name in names):
        problems = ["the names of settings must be texts"]
    if not problems and content.get("kind", "run") not in KINDS:
        problems = [f"kind must be {' or '.join(KINDS)}"]
    if problems:
        raise Damaged(tr("%(file)s is damaged: %(why)s", file=TASK_FILE, why="; ".join(problems)[:300]))
    return Plan(
        kind=content.get("kind", "run"),
        name=content.get("name"),
        settings=renewed(content.get("settings", {})),
        paths=content.get("paths"),
        typed=tuple(content.get("typed", ())),
        keys=TargetKeys.stored(content),
    )
