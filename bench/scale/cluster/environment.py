"""The environment that Ray creates on the nodes (`--runtime-env`): our own source code, and the content of the user's
file.

Ray stores it, shows it on its dashboard and writes it to its logs, so it must not contain secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

import promptset
from bench.errors import UsageError
from bench.secrets import SHORTEST, is_secret_name
from promptset.whole_file import load_yaml, yaml_problem

CODE, NONE = "code", "none"
"""`--runtime-env code`, the default: only our source code. `none`: every node has this version of Trueload installed."""


def packages() -> tuple[Path, Path]:
    """The source folders that the measuring path imports."""
    return Path(__file__).parents[2], Path(promptset.__file__).parent


def environment_of(given: str | None, secrets: Iterable[str]) -> dict[str, Any] | None:
    """The environment that Ray creates on the nodes. Returns None if it creates none. `secrets`: the run's.

    Raises UsageError for forbidden content.
    """
    if given == NONE:
        return None
    asked = {} if given is None or given == CODE else _read(Path(given))
    problems = [
        f"--runtime-env {given}: {path} has the name of a secret, and Ray writes it to its logs and its dashboard: set it on "
        "the nodes instead"
        for path, name, _ in _leaves(asked)
        if is_secret_name(name)
    ]
    known = [secret for secret in secrets if len(secret) >= SHORTEST]
    problems += [
        f"--runtime-env {given}: {path} holds a secret of this run, and Ray writes it to its logs and its dashboard: leave "
        "it out, the workers get it anyway"
        for path, name, value in _leaves(asked)
        if not is_secret_name(name) and any(secret in f"{name}={value}" for secret in known)
    ]
    modules = asked.get("py_modules", [])
    if not isinstance(modules, list):
        problems.append(f"--runtime-env {given}: py_modules must be a list of folders and addresses")
    if problems:
        raise UsageError(problems)
    return {**asked, "py_modules": [*modules, *map(str, packages())]}


def _read(path: Path) -> dict[str, Any]:
    flag = f"--runtime-env {path}"
    try:
        content = load_yaml(path)
    except OSError as e:
        raise UsageError(
            f"{flag}: {e.strerror}: give {CODE}, {NONE}, or a YAML file of a Ray runtime environment"
        ) from e
    except RecursionError:
        raise UsageError(f"{flag}: it is nested too deeply to be a Ray runtime environment") from None
    except (yaml.YAMLError, ValueError) as e:
        raise UsageError(f"{flag}{yaml_problem(e)}") from e
    if not isinstance(content, Mapping):
        raise UsageError(f"{flag}: must hold keys with values, for example 'pip: [tokenizers]'")
    return {str(key): value for key, value in content.items()}


def _leaves(value: object, path: str = "", name: str = "") -> Iterable[tuple[str, str, str]]:
    """Each leaf value: its path, the last key of the path, and its text."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key), str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}[{number}]", name)
    elif value is not None:
        yield path, name, str(value)
