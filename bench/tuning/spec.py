"""The file of a race: the server, its flags and their values, the load, the objectives, and the goal.

It is read whole, and all problems are reported at once. docs/compare.md describes its keys.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.config import RunConfig, values
from bench.errors import UsageError
from bench.load_search.whole import plan as search_plan
from bench.load_sweep import visits
from bench.load_sweep.visits import Loads
from bench.results.tune import Goal
from bench.series import files
from bench.tuning import conditions
from bench.tuning.arms import Arm, Choices, arms_of
from bench.tuning.conditions import Condition, Value
from promptset.whole_file import load_yaml, yaml_problem

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")
Resolve = Callable[[Mapping[str, object]], RunConfig]
"""Makes the configuration of a run from its settings. Raises UsageError."""

SHORTEST_BUDGET_S = 20.0
_SET_HERE = {
    "url": "it is the server's: give server.url if it is not http://127.0.0.1:{port}",
    "concurrency": "give loads: concurrency=8,32",
    "rate": "give loads: rate=5,10",
    "mode": "give loads: concurrency=8,32",
    "duration": "give visit: 60s",
    "requests": "give visit: 60s",
    "warmup": "give warmup: 10s",
    "slo": "give objectives",
    "out": "give --out",
    "until": "give visit: 60s",
    "wait_for_server": "give server.start_within",
}
"""Settings of a run that a race sets itself."""
_MAY_BE_SECRET = frozenset({
    "api_key", "header", "extra_body", "proxy", "server_metrics", "gpu_metrics", "tokenizer", "body", "body_template", "mix",
})  # fmt: skip
"""Settings of a run whose values may hold secrets."""
_FORMS = {
    "list_type": "give a list, for example [1, 2]",
    "tuple_type": "give a list, for example [1, 2]",
    "dict_type": "give keys with their values, for example {max-num-seqs: [64, 128]}",
    "model_type": "give keys with their values: docs/compare.md lists them",
    "string_type": "give text",
    "bool_parsing": "give true or false",
}
"""What to write instead, by pydantic's name of an error."""
_MISSING = {
    "server": ": give server.command, the command that starts the server",
    "server.command": ": give the command that starts the server",
}
_SCALARS, _TYPES = ("string_", "int_", "float_", "bool_"), ("str", "int", "float", "bool")
_NAMES = frozenset({"flags", "arms", "default"})
"""The keys that name flags."""
_OF_A_SEARCH = ("load", "start", "min", "max", "precision", "budget")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerPart(_Part):
    """How the server is started."""

    command: str
    url: str = "http://127.0.0.1:{port}"
    ports: tuple[int, ...] = (0,)
    together: bool = False
    ready: str = "answer"
    start_within: str | float = "10m"
    stop_within: str | float = "30s"
    environment: dict[str, str | int | float] = Field(default_factory=dict)
    clear_cache: str | None = None


class SpecFile(_Part):
    """The content of the file."""

    server: ServerPart
    flags: dict[str, list[str | int | float | bool | None]] = Field(default_factory=dict)
    arms: list[dict[str, str | int | float | bool | None]] = Field(default_factory=list)
    default: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    vary: Literal["grid", "one"] = "grid"
    exclude: list[str] = Field(default_factory=list)
    needs: dict[str, str] = Field(default_factory=dict)
    gpus: int | str = 1
    gpu_hour_cost: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    goal: Goal = "tokens_per_s"
    objectives: list[str] = Field(default_factory=list)
    loads: str = "concurrency=16"
    search: dict[str, str | int | float] = Field(default_factory=dict)
    load: dict[str, object] = Field(default_factory=dict)
    visit: str | float | None = None
    warmup: str | float | None = None
    budget: str | float = "60m"


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """How an arm's server is started, found ready, and stopped. `environment` may hold secrets. Port 0 is any free
    port."""

    command: str
    url: str
    ports: tuple[int, ...]
    together: bool
    ready: str
    start_within_s: float
    stop_within_s: float
    environment: Mapping[str, str]
    clear_cache: str | None

    @property
    def usual_port(self) -> int:
        """The port in a command line for users to copy."""
        return self.ports[0] or 8000

    def url_at(self, port: int) -> str:
        """The URL of the server on this port."""
        return self.url.replace("{port}", str(port))


@dataclass(frozen=True, slots=True)
class Spec:
    """A race, complete and checked. `default` is arm 0. `visit_s` and `warmup_s` are None if the budget decides."""

    server: ServerSpec
    arms: tuple[Arm, ...]
    goal: Goal
    gpu_hour_cost: float | None
    objectives: tuple[str, ...]
    loads: Loads
    search: Mapping[str, str]
    load: Mapping[str, object]
    visit_s: float | None
    warmup_s: float | None
    budget_s: float
    written: Mapping[str, object]
    """The file, without the values of the environment."""
    first_budget_s: float | None = None
    """The budget with which a resumed race was begun: it decides how long visits are."""

    @property
    def seed(self) -> int:
        """The seed of the first round."""
        seed = self.load.get("seed", 0)
        return int(seed) if isinstance(seed, int | str) else 0

    @property
    def sha256(self) -> str:
        """A digest of what must not change when a race is resumed: everything except the budget."""
        return files.sha256_of({name: value for name, value in self.written.items() if name != "budget"})


def read(path: Path) -> object:
    """The content of a file. Raises UsageError if it cannot be read."""
    try:
        return load_yaml(path)
    except OSError as e:
        raise UsageError(
            f"{path}: cannot be read: {e.strerror}: name the YAML file of a race (python -m bench tune --help has one)"
        ) from e
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise UsageError(f"{path}{yaml_problem(e)}") from e


def spec_of(content: object, resolved: Resolve, *, budget: str | None = None) -> Spec:
    """A race from the content of its file, and the budget of the command line. Raises UsageError with every problem."""
    if not isinstance(content, Mapping):
        raise UsageError("a race needs a file with keys such as server, flags and loads: see docs/compare.md")
    wrong: list[str] = []
    lost: frozenset[str] = frozenset()
    try:
        file = SpecFile.model_validate(dict(content))
    except ValidationError as e:
        wrong = _sentences(e.errors())
        file, lost = _rest(content, e.errors())
    server = _server(file, wrong)
    arms = None if lost & _NAMES else _arms(file, wrong, complete=not lost)
    budget_s = _seconds("--budget" if budget else "budget", budget or file.budget, wrong)
    if budget_s is not None and budget_s < SHORTEST_BUDGET_S:
        wrong.append(f"budget: {budget_s:g} s is too short for a race: give at least {SHORTEST_BUDGET_S:g} s")
    visit_s, warmup_s = (
        None if value is None else _seconds(name, value, wrong)
        for name, value in (("visit", file.visit), ("warmup", file.warmup))
    )
    loads = _loads(file, wrong)
    wrong += [] if lost & {"goal", "objectives", "gpu_hour_cost"} else _of_goal(file)
    wrong += [f"load.{name}: {instead}" for name, instead in _SET_HERE.items() if name in file.load]
    wrong += [] if "load" in lost else _of_runs(file, loads, resolved)
    if wrong or server is None or arms is None or loads is None or budget_s is None:
        raise UsageError(wrong)
    shown = file.model_dump(mode="json")
    shown["server"]["environment"] = sorted(file.server.environment)
    if secret := file.load.keys() & _MAY_BE_SECRET:
        public = resolved({"url": "http://127.0.0.1:1", **file.load}).public()
        shown["load"] |= {name: public[name] for name in secret}
    return Spec(
        server, tuple(arms), file.goal, file.gpu_hour_cost, tuple(file.objectives), loads,
        {name: str(value) for name, value in file.search.items()}, file.load, visit_s, warmup_s, budget_s, shown,
    )  # fmt: skip


def _sentences(errors: Sequence[ErrorDetails]) -> list[str]:
    """The problems of the file's structure, one per place: pydantic reports every alternative of a choice."""
    groups: dict[str, list[ErrorDetails]] = {}
    for error in errors:
        loc, scalar = error["loc"], error["type"].startswith(_SCALARS)
        # The last part is the alternative.
        groups.setdefault(".".join(map(str, loc[:-1] if scalar and loc[-1] in _TYPES else loc)), []).append(error)
    return [_sentence(place, its) for place, its in groups.items()]


def _meant(place: str) -> list[str]:
    return difflib.get_close_matches(place.rpartition(".")[2], [*SpecFile.model_fields, *ServerPart.model_fields], n=1)


def _rest(content: Mapping[object, object], errors: Sequence[ErrorDetails]) -> tuple[SpecFile, frozenset[str]]:
    """The file with defaults in place of its wrong keys, so that the others are checked too; and the names of these
    keys."""
    places = [str(error["loc"][1 if error["loc"][0] == "server" and len(error["loc"]) > 1 else 0]) for error in errors]
    lost = frozenset([*places, *(name for place in places for name in _meant(place))])
    section = content.get("server")
    server = {k: v for k, v in section.items() if k in ServerPart.model_fields} if isinstance(section, Mapping) else {}
    server = {k: v for k, v in server.items() if k not in lost}
    if lost & (_NAMES | {"command", "server"}):
        server["command"] = "{port} {flags}"  # Not all of its flags are known.
    rest = {k: v for k, v in content.items() if k in SpecFile.model_fields and k not in lost}
    return SpecFile.model_validate({**rest, "server": server}), lost


def _sentence(place: str, errors: Sequence[ErrorDetails]) -> str:
    kind, message = errors[0]["type"], errors[0]["msg"]
    if kind == "extra_forbidden":
        near = _meant(place)
        hint = f"did you mean {near[0]}?" if near else "docs/compare.md lists them"
        return f"{place} is not a key of this file: {hint}"
    if kind == "missing":
        return f"{place} is missing{_MISSING.get(place, '')}"
    if kind == "literal_error":
        return f"{place}: {errors[0]['input']!r} is not known: it is one of {errors[0]['ctx']['expected']}"
    if len(errors) > 1:
        return f"{place}: give a word or a number"
    return f"{place}: {_FORMS.get(kind, message[0].lower() + message[1:])}"


def _server(file: SpecFile, wrong: list[str]) -> ServerSpec | None:
    part = file.server
    before, command = len(wrong), part.command
    try:
        if not shlex.split(command):
            wrong.append("server.command is empty: give the command that starts the server")
            command = "{port} {flags}"  # Everything that it lacks follows from this problem.
    except ValueError as e:
        wrong.append(f"server.command: {str(e).lower()}")
    if len(part.ports) > 1 or part.ports == (0,):
        wrong += [
            f"server.{name} has no {{port}}: write {{port}}, or give server.ports the only port, such as [8000]"
            for name, text in (("command", command), ("url", part.url))
            if "{port}" not in text
        ]
    flags = [name for name in _names(file) if f"{{{name}}}" not in command]
    if flags and "{flags}" not in command:
        wrong.append(f"server.command has no place for {', '.join(flags)}: write {{flags}}, or {{{flags[0]}}}")
    known = {"port", "flags", *_names(file)}
    unknown = [name for name in re.findall(r"\{([\w.-]+)\}", command) if name not in known]
    wrong += [f"server.command: {{{name}}} is not a flag of this file" for name in unknown]
    if not part.ports or any(not 0 <= port < 65536 for port in part.ports):
        wrong.append("server.ports: give ports from 1 to 65535, or 0 for a free one")
    twice = [port for port in dict.fromkeys(part.ports) if port and part.ports.count(port) > 1]
    wrong += [f"server.ports: {port} is there twice: each server needs its own" for port in twice]
    if urlsplit(part.url).scheme not in ("http", "https"):
        wrong.append(f"server.url: {part.url!r} does not begin with http:// or https://")
    if not part.ready:
        wrong.append("server.ready is empty: give answer, a path such as /health, or a part of a line of the output")
    if part.clear_cache is not None:
        wrong += _of_clear_cache(part.clear_cache)
    wrong += [
        f"server.environment: {name!r} is not the name of a variable"
        for name in part.environment
        if not name or "=" in name or "\0" in name
    ]
    wrong += [
        f"server.environment.{name} has a NUL: leave it out"
        for name, value in part.environment.items()
        if "\0" in str(value)
    ]
    if part.together and len(part.ports) < 2:
        wrong.append("server.together: servers that run together need two server.ports or more")
    start_s = _seconds("server.start_within", part.start_within, wrong)
    stop_s = _seconds("server.stop_within", part.stop_within, wrong)
    if len(wrong) > before or start_s is None or stop_s is None:
        return None
    environment = {name: str(value) for name, value in part.environment.items()}
    return ServerSpec(
        part.command, part.url, part.ports, part.together, part.ready, start_s, stop_s, environment, part.clear_cache
    )


def _of_clear_cache(text: str) -> list[str]:
    try:
        return [] if shlex.split(text) else ["server.clear_cache is empty: give a path to POST to, or a command"]
    except ValueError as e:
        return [f"server.clear_cache: {str(e).lower()}"]


def _names(file: SpecFile) -> list[str]:
    return list(dict.fromkeys([*file.flags, *file.default, *(name for arm in file.arms for name in arm)]))


def _arms(file: SpecFile, wrong: list[str], *, complete: bool) -> list[Arm] | None:
    before, names = len(wrong), _names(file)
    wrong += [f"flags.{name} has no value: give a list of them" for name, options in file.flags.items() if not options]
    wrong += [f"needs.{name}: not a flag of this file" for name in file.needs if name not in names]
    wrong += [
        f"flags: {{{name}}} is something else in server.command: write the flag with its dashes, --{name}"
        for name in names
        if name in ("port", "flags")
    ]
    if isinstance(file.gpus, str) and file.gpus not in names:
        wrong.append(f"gpus: {file.gpus!r} is not a flag of this file: give a number, or the flag that says it")
    if isinstance(file.gpus, int) and file.gpus < 1:
        wrong.append(f"gpus: {file.gpus} are too few: an arm takes at least 1")

    def condition(place: str, text: str) -> Condition:
        try:
            return conditions.parse(text, names)
        except ValueError as e:
            wrong.append(f"{place}: {e}")
            return Condition(())

    exclude = [condition("exclude", text) for text in file.exclude]
    needs = {name: condition(f"needs.{name}", text) for name, text in file.needs.items()}
    if len(wrong) > before or not complete:
        return None
    options: dict[str, Sequence[Value]] = dict(file.flags)
    choices = Choices(
        options, file.arms, file.default, exclude, needs, "grid" if file.vary == "grid" else "one at a time", file.gpus
    )
    try:
        arms = arms_of(choices)
    except ValueError as e:
        wrong.append(f"flags: {e}")
        return None
    wrong += _of_gpus(file.gpus, arms)
    # Only {flags} omits a flag.
    without = {name: arm for arm in reversed(arms) for name in names
               if f"{{{name}}}" in file.server.command and arm.flags.get(name) is None}  # fmt: skip
    wrong += [
        f"server.command: {{{name}}} has no value with {arm.name}: write {{flags}} in its place, which leaves it out"
        for name, arm in without.items()
    ]
    return arms


def _of_gpus(gpus: int | str, arms: Sequence[Arm]) -> list[str]:
    """The problems with the values of the flag that sets the number of GPUs of an arm. If omitted, it is one."""
    counts = dict.fromkeys(conditions.written(arm.flags.get(str(gpus))) for arm in arms)
    return [
        f"gpus: {gpus}={value} is no number of GPUs: give whole numbers from 1, or leave gpus out"
        for value in counts
        if value != "null" and not (value.isdecimal() and int(value) > 0)
    ]


def _loads(file: SpecFile, wrong: list[str]) -> Loads | None:
    try:
        return visits.parse(file.loads)
    except UsageError as e:
        wrong += [f"loads: {problem.removeprefix('--loads').strip(' :')}" for problem in e.problems]
        return None


def _of_goal(file: SpecFile) -> list[str]:
    wrong = []
    if file.goal == "held_load":
        if not file.objectives:
            wrong.append("goal: held_load needs objectives, for example objectives: [ttft:p99<500ms]")
        wrong += [f"search.{name} is not known: it is one of {', '.join(_OF_A_SEARCH)}" for name in file.search
                  if name not in _OF_A_SEARCH]  # fmt: skip
    elif file.search:
        wrong.append(f"search is for goal: held_load; for {file.goal} give loads")
    if file.goal == "dollars_per_million_tokens" and file.gpu_hour_cost is None:
        wrong.append("goal: dollars_per_million_tokens needs gpu_hour_cost")
    return wrong


def _of_runs(file: SpecFile, loads: Loads | None, resolved: Resolve) -> list[str]:
    """The problems with the settings of the runs, and of searches."""
    of_load = {name: value for name, value in file.load.items() if name not in _SET_HERE}
    settings: dict[str, object] = {"url": "http://127.0.0.1:1", **of_load, "slo": tuple(file.objectives)}
    try:
        if file.goal == "held_load" and file.objectives and set(file.search) <= {*_OF_A_SEARCH}:
            of_search = {name: str(value) for name, value in file.search.items()}
            search_plan(settings, of_search, lambda amount: resolved({**settings, **amount}))
        config = resolved({**settings, **({"concurrency": 1} if loads is None else loads.settings(loads.values[0]))})
        config.make_probes() if config.check_answers else None
    except UsageError as e:
        flags = tuple(f"--{name}" for name in _OF_A_SEARCH)
        return [
            f"{'search' if problem.startswith(flags) else 'load or objectives'}: {problem}" for problem in e.problems
        ]
    return []


def _seconds(name: str, value: str | float, wrong: list[str]) -> float | None:
    try:
        seconds = float(value) if isinstance(value, int | float) else values.seconds(value)
    except ValueError as e:
        wrong.append(f"{name}: {e}")
        return None
    if not 0 < seconds < float("inf"):
        wrong.append(f"{name}: give more than 0 s" if seconds <= 0 else f"{name}: give a time that ends")
        return None
    return seconds
