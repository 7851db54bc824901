"""Reads a profile, the file that `python -m bench fit` writes for a server, as settings of the mock.

    {"schema": "trueload/profile/1", "engine": "batching", "model": NAME, "step_cost": {...}, "settings": {...}, ...}
    {"schema": "trueload/profile/1", "engine": "sampled", "model": NAME, "sampled_times": {...}, "settings": {...}, ...}

Later settings win: defaults, preset, profile, YAML file, flags. The rest of the file documents how the numbers were
fitted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mockserver.sampled_times import sampled_times_of
from mockserver.step_cost import BLOCK_TOKENS, StepCostSpec, step_cost_of_values
from promptset.whole_file import read_text

SCHEMA = "trueload/profile/1"
_SETTINGS = ("num_speculative_tokens", "acceptance_rate", "stream_interval")
_OF_ENGINE = {"batching": "step_cost", "sampled": "sampled_times"}
"""The required key of a profile, by engine."""
_LONGEST = 131_072
"""The mock's default context length, which may not fit into a small KV cache."""


def settings_of_profile(path: object) -> Mapping[str, object]:
    """The settings of a profile. Raises ValueError with one sentence that names every problem."""
    if not isinstance(path, str | Path):
        raise ValueError(f"{path!r}: write the name of a file that `python -m bench fit` made")
    try:
        row = json.loads(read_text(Path(path)))
    except RecursionError:
        raise ValueError(f"{str(path)!r}: cannot be read: it is nested too deeply") from None
    except (OSError, ValueError) as e:
        raise ValueError(f"{str(path)!r}: cannot be read: {e.strerror if isinstance(e, OSError) else e}") from e
    if not isinstance(row, dict) or row.get("schema") != SCHEMA:
        schema = row.get("schema") if isinstance(row, dict) else None
        reason = "it has no schema" if schema is None else f"its schema is {schema!r}"
        raise ValueError(f"{str(path)!r}: is not a profile of `python -m bench fit` ({reason}, not {SCHEMA!r})")
    problems: list[str] = []
    engine, settings = row.get("engine"), row.get("settings", {})
    if not isinstance(engine, str) or engine not in _OF_ENGINE:
        problems.append(f"engine {engine!r} is not known: this mock serves profiles of {' and '.join(_OF_ENGINE)}")
    elif not isinstance(row.get(_OF_ENGINE[engine]), dict):
        problems.append(f"{_OF_ENGINE[engine]} is missing: an object, as fit writes it")
    if not isinstance(settings, dict):
        problems.append("settings is not an object")
        settings = {}
    problems += [
        f"no setting of a profile is called {name!r}; they are {', '.join(_SETTINGS)}"
        for name in settings
        if name not in _SETTINGS
    ]
    if problems:
        raise ValueError(f"{str(path)!r}: {'; '.join(problems)}")
    found_settings: dict[str, object] = {"engine": engine, **settings}
    if isinstance(row.get("model"), str):
        found_settings["model"] = row["model"]
    if engine == "sampled":
        return {**found_settings, "sampled_times": sampled_times_of(row["sampled_times"], str(path))}
    spec = StepCostSpec(str(path), step_cost_of_values(row["step_cost"], str(path), str(path)))
    if spec.cost.kv_blocks * BLOCK_TOKENS < _LONGEST:
        found_settings["max_model_len"] = spec.cost.kv_blocks * BLOCK_TOKENS
    return {**found_settings, "step_cost": spec}
