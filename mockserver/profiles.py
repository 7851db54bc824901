"""A profile, the file that `python -m bench fit` writes of a server: what it means for the mock's settings.

    {"schema": "trueload/profile/1", "engine": "batching", "model": NAME, "step_cost": {...}, "settings": {...}, ...}

Later settings win: defaults, preset, profile, YAML file, flags. The rest of the file says how the numbers were found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mockserver.step_cost import BLOCK_TOKENS, StepCostSpec, step_cost_of_values

SCHEMA = "trueload/profile/1"
_SETTINGS = ("num_speculative_tokens", "acceptance_rate", "stream_interval")
_LONGEST = 131_072
"""The mock's own context length, which a small KV cache may not hold."""


def settings_of_profile(path: object) -> Mapping[str, object]:
    """The settings of a profile. Raises ValueError with one sentence that names every problem."""
    if not isinstance(path, str | Path):
        raise ValueError(f"{path!r}: write the name of a file that `python -m bench fit` made")
    try:
        row = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ValueError(f"{str(path)!r}: cannot be read: {e}") from e
    if not isinstance(row, dict) or row.get("schema") != SCHEMA:
        found = row.get("schema") if isinstance(row, dict) else None
        said = "it has no schema" if found is None else f"its schema is {found!r}"
        raise ValueError(f"{str(path)!r}: is not a profile of `python -m bench fit` ({said}, not {SCHEMA!r})")
    problems: list[str] = []
    if row.get("engine") != "batching":
        problems.append(f"engine {row.get('engine')!r} is not known: this mock serves profiles of the engine batching")
    cost, settings = row.get("step_cost"), row.get("settings", {})
    if not isinstance(cost, dict):
        problems.append('step_cost is missing: an object like {"b0": 7052, "b1": 19.54, "b2": 25.43}')
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
    assert isinstance(cost, dict)
    spec = StepCostSpec(str(path), step_cost_of_values(cost, str(path), str(path)))
    found_settings: dict[str, object] = {"engine": "batching", "step_cost": spec, **settings}
    if isinstance(row.get("model"), str):
        found_settings["model"] = row["model"]
    if spec.cost.kv_blocks * BLOCK_TOKENS < _LONGEST:
        found_settings["max_model_len"] = spec.cost.kv_blocks * BLOCK_TOKENS
    return found_settings
