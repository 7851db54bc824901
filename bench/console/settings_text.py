"""Settings as text: a command line, or YAML."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import orjson
import yaml

from bench.config import Settings
from bench.config.renamed import renewed
from bench.config.resolution import MOST_VALUES, given_again, has_few_values
from bench.console import settings_form
from bench.console.errors import ConsoleError
from bench.console.kinds import KINDS
from bench.console.language import tr
from promptset.whole_file import parse_yaml


def command(settings: Mapping[str, Any], kind: str = "run") -> str:
    """The command line that starts such a task."""
    words = ["python", "-m", "bench", kind]
    for key, value in settings.items():
        if key in KINDS[kind].left_out:
            continue
        flag = f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{key.replace('_', '-')}")
        elif isinstance(value, list | tuple):
            words += [word for item in value for word in (flag, str(item))]
        else:
            words += [flag, orjson.dumps(value).decode() if isinstance(value, dict) else str(value)]
    return shlex.join(words)


def as_yaml(settings: Mapping[str, Any]) -> str:
    """The settings for `--config`."""
    return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)


def from_yaml(text: str, kind: str = "run") -> tuple[str, dict[str, Any]]:
    """Parse pasted settings: a file for --config, or a run.yaml. Returns the kind of task, which is `kind` if it has
    these settings, and the settings. Raises ConsoleError."""
    try:
        content = parse_yaml(text)
    except RecursionError:
        raise ConsoleError(tr("nested too deeply: settings are keys with values")) from None
    except (yaml.YAMLError, ValueError) as e:
        raise ConsoleError(tr("not YAML: %(why)s", why=" ".join(str(e).split()))) from e
    if not has_few_values(content):
        raise ConsoleError(tr("more than %(n)s values, or an alias (*) that contains itself", n=f"{MOST_VALUES:,}"))
    if isinstance(content, dict) and "manifest" in content and isinstance(content.get("config"), dict):
        content = given_again(content["config"])
    if not isinstance(content, dict):
        raise ConsoleError(tr("YAML must hold keys with values, for example concurrency: 10"))
    named = renewed({str(key).replace("-", "_"): value for key, value in content.items()})
    unknown = named.keys() - Settings.model_fields.keys()
    for fits in (kind, *KINDS):
        if not unknown - {option.name for option in KINDS[fits].options}:
            left_out = (*settings_form.LEFT_OUT, *KINDS[fits].left_out)
            return fits, {key: value for key, value in named.items() if key not in left_out}
    raise ConsoleError(tr("not known: %(names)s", names=", ".join(sorted(unknown))))
