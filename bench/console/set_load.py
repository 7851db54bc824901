"""Sets the load of a running task, from its page or the API. The run itself decides, and gives the reason if it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import control
from bench.config.run_config import implied_mode
from bench.config.settings import Settings
from bench.console.errors import Conflict, ConsoleError
from bench.console.language import Phrase, tr
from bench.console.task import Task
from bench.control import PresentLoad
from bench.errors import UsageError
from bench.modes import MODES

_PLANS_ITS_LOAD = ("steps", "ramp", "ramp_up", "until", "repeats")
"""Settings that forbid changing the load."""


def unit_of(task: Task, config: Mapping[str, Any]) -> str | None:
    """The unit of a task's load, from the settings that its process gets. Returns None if the load cannot be changed."""
    if task.kind != "run" or task.over or any(config.get(key) for key in _PLANS_ITS_LOAD):
        return None
    if config.get("sessions_begin") == "middle":
        return None
    settings = Settings.model_construct(**config)
    mode = MODES.get(str(implied_mode(settings)))
    return None if mode is None else mode.unit_of(settings)


def number_of(text: str | None) -> float:
    """Parse the field's text. Raises ConsoleError."""
    try:
        return float(text or "")
    except ValueError:
        message = tr("%(text)s is not a load: type a number of users, or of requests per second", text=repr(text))
        raise ConsoleError(message) from None


def set_load(path: Path, task: Task, load: float) -> PresentLoad:
    """Set the load of the task in this directory. Raises Conflict with the run's reason."""
    if not task.active:
        state = Phrase(task.state)
        raise Conflict(
            tr("%(task)s is %(state)s: the load can be set only while a task runs", task=task.id, state=state)
        )
    if task.kind != "run":
        raise Conflict(tr("%(task)s is a %(kind)s: it chooses its loads itself", task=task.id, kind=Phrase(task.kind)))
    try:
        return control.ask(path, load, by="console")
    except UsageError as e:
        raise Conflict(str(e).removeprefix(f"{path}: ").replace(str(path), task.id)) from e
