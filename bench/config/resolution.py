"""From settings, given as flags and in a file, to a complete configuration.

`resolve` is the one way in: it names every problem at once, each with the place it came from, and refuses unknown keys with
the nearest known one. What a mode requires and refuses is in its file (bench/modes/).
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import ValidationError

from bench import models
from bench.config import tokenless, values
from bench.config.run_config import SECRETS, RunConfig, complete, implied_mode
from bench.config.settings import Settings
from bench.endpoints import DEFAULT, ENDPOINTS, urls
from bench.endpoints.interface import TOOL_CHOICES
from bench.errors import UsageError
from bench.metrics import objectives, precision
from bench.metrics.catalog import WHOLE_RESPONSE
from bench.metrics.objectives import Objective
from bench.modes import MODES
from bench.modes.interface import inputs_of
from promptset import recipes
from promptset.errors import SpecError

MODES_WITH_SEGMENTS = ("concurrency", "rate")
MODES_WITH_GOALS = ("concurrency", "rate", "sessions")
"""The modes whose load stays the same for as long as it is sent."""
_NO_DEFAULT = object()
_DEFAULTS = Settings(url="http://unknown").public()


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file (`-`: in stdin). A run.yaml of a run directory counts too: its `config` part.

    Raises UsageError.
    """
    try:
        content = yaml.safe_load(sys.stdin.read() if path == Path("-") else path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UsageError(f"--config {path}: {e.strerror}") from e
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise UsageError(f"--config {path}{_yaml_problem(e)}") from e
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"--config {path}: must hold keys with values, for example 'concurrency: 10'")
    if "manifest" in content and isinstance(content.get("config"), dict):
        return given_again(content["config"])
    return {str(key).replace("-", "_"): value for key, value in content.items()}


def given_again(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run.yaml that start such a run again."""
    # Its secrets are stored as ***, and its place is taken. What stands at its default was not asked for.
    left_out = {*SECRETS, "out"}
    return {k: v for k, v in config.items() if k not in left_out and v != _DEFAULTS.get(k, _NO_DEFAULT)}


def _yaml_problem(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    """Where the file stops being YAML, and why, in one line."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or " ".join(str(error).split())
    place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
    return f"{place}: not YAML: {said}"


def resolve(flags: Mapping[str, Any], file: Mapping[str, Any] | None = None, file_name: str = "") -> RunConfig:
    """The configuration from flags (which win) and a file's settings. Raises UsageError with every problem at once."""
    given = {**(file or {}), **flags}
    problems = []
    for key in sorted(given.keys() - Settings.model_fields.keys()):
        near = difflib.get_close_matches(key, Settings.model_fields, n=1)
        in_file = key not in flags and file_name
        hint = f": did you mean {near[0] if in_file else _flag(near[0])}?" if near else ""
        problems.append(f"{_place(key, flags, file_name)} is not known{hint}")
        del given[key]
    try:
        settings = Settings.model_validate(given)
    except ValidationError as e:
        wrong = set()
        for error in e.errors():
            wrong.add(error["loc"][0])
            problems += _sentences(error, flags, file_name)
        if "url" in wrong:
            given["url"] = "http://unknown"
        # What is right on its own can still be wrong together: look at that too, in one go.
        settings = Settings.model_validate({k: v for k, v in given.items() if k not in wrong or k == "url"})
    problems += _combinations(settings, given)
    if problems:
        raise UsageError(problems)
    return complete(settings)


def _place(key: str, flags: Mapping[str, Any], file_name: str) -> str:
    return _flag(key) if key in flags or not file_name else f"{file_name}: {key}"


_PLAIN = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "int_parsing_size": "has too many digits",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "dict_type": "must be an object of fields and values",
    "literal_error": "must be {expected}",
}
"""pydantic's kinds of errors in plain words; each takes what the error says of the limit."""


def _sentences(error: Any, flags: Mapping[str, Any], file_name: str) -> list[str]:
    """What pydantic found wrong with one field, in our words: a validator of ours may have found several things."""
    loc = [str(part) for part in error["loc"]]
    place = ".".join([_place(loc[0], flags, file_name), *loc[1:]])
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return [f"{place} is missing: give the server's URL, for example --url http://127.0.0.1:8000"]
    if error["type"] == "extra_forbidden":
        return [f"{place} is not known"]
    if error["type"] == "value_error":
        return [f"{place}: {problem[0].lower()}{problem[1:]}" for problem in message.splitlines()]
    if error["type"] in _PLAIN:
        message = _PLAIN[error["type"]].format(**error.get("ctx", {}))
    shown = repr(error["input"]) in message or loc[0] in ("api_key", "header", "url", "extra_body")
    given = "" if shown else f" (given: {error['input']!r})"
    return [f"{place}: {message[0].lower()}{message[1:]}{given}"]


def _combinations(settings: Settings, given: Collection[str]) -> list[str]:
    """What does not go together, each with what to do about it."""
    problems = []
    named = urls.endpoint_of(settings.url)
    if settings.endpoint is not None and named is not None and settings.endpoint != named:
        problems.append(f"--endpoint {settings.endpoint}: the URL names the endpoint {named}; leave one of the two out")
    if settings.rate is not None and settings.concurrency is not None:
        problems.append("--rate and --concurrency exclude each other: to cap a rate, use --max-concurrency")
    mode = MODES[implied_mode(settings)]
    if mode.name != "rate" and settings.rate is not None and settings.concurrency is None:
        problems.append(f"--rate does not go with --mode {mode.name}: leave one of the two out")
    problems += _segment_problems(settings, mode.name)
    problems += mode.problems(settings, given)
    problems += _settings_of_other_modes(mode.name, given)
    problems += _data_problems(settings, given)
    problems += tokenless.problems(settings, given)
    if settings.insecure and settings.ca_file is not None:
        problems.append("--insecure checks no certificate, so --ca-file has no use: leave one of the two out")
    if (settings.insecure or settings.ca_file is not None) and urlsplit(settings.url).scheme == "http":
        problems.append("--ca-file and --insecure are for https:// URLs")
    if settings.rate is not None and settings.duration is not None and settings.requests is None:
        planned = settings.rate * settings.duration
        if planned > values.MOST_REQUESTS:
            problems.append(
                f"--rate {settings.rate:g} for --duration {settings.duration:g} s is {planned:,.0f} requests: "
                f"give at most {values.MOST_REQUESTS:,}"
            )
    return problems + _objective_problems(settings, mode.name) + _precision_problems(settings, mode.name)


def _segment_problems(settings: Settings, mode: str) -> list[str]:
    """Loads that change over time, where there is one line of them, in a mode that has them, of a size that can be sent."""
    if not settings.segments:
        return []
    if mode not in MODES_WITH_SEGMENTS:
        return [f"{settings.segments_flag} is for --mode {' and '.join(MODES_WITH_SEGMENTS)}, and this is mode {mode}"]
    problems = []
    if settings.steps is not None and ".." in settings.ramp:
        problems.append("--steps and a --ramp that rises exclude each other: leave one of the two out")
    elif settings.steps is not None and settings.ramp_in_s:
        problems.append("--ramp starts users one by one, and with --steps they come at the steps: leave --ramp out")
    if mode == "rate" and (planned := sum(s.arrivals for s in settings.segments)) > values.MOST_REQUESTS:
        problems.append(
            f"{settings.segments_flag} plans {planned:,.0f} requests: give at most {values.MOST_REQUESTS:,}"
        )
    return problems


def _job_problems(objective: Objective, settings: Settings, mode: str) -> list[str]:
    """What is wrong with an objective on jobs."""
    if mode != "sessions":
        what = f"this is mode {mode}: use --mode sessions, or a latency of requests"
        return [f'--slo "{objective.text}": jobs are what sessions consist of, and {what}']
    if objective.model is not None:
        return [f'--slo "{objective.text}": a job may go to several models: leave {{model=...}} out']
    if objective.metric == "jobs_per_hour_per_gpu" and settings.gpus is None:
        return [f'--slo "{objective.text}": say how many GPUs the server has, with --gpus']
    return []


def _objective_problems(settings: Settings, mode: str) -> list[str]:
    """Objectives on numbers that this run cannot have."""
    problems: list[str] = []
    if inputs_of(settings) is not None:
        return problems  # bench/config/tokenless.py says what such an endpoint has.
    known = () if settings.model is None else models.parse(settings.model).names
    for objective in objectives.parse(settings.slo):
        if objective.of_jobs:
            problems += _job_problems(objective, settings, mode)
            continue
        if objective.model is not None and settings.dataset is None and objective.model not in known:
            names = (
                f": --model names {', '.join(known)}" if known else ": name the models of the run with --model a=3,b=1"
            )
            problems.append(f'--slo "{objective.text}": no request goes to the model {objective.model!r}{names}')
        if objective.stat is None or objective.metric in WHOLE_RESPONSE:
            continue
        if not settings.stream:
            problems.append(
                f'--slo "{objective.text}": with --no-stream there is no {objective.metric}, only e2el: '
                "leave --no-stream out, or use e2el"
            )
        elif objective.metric in objectives.BETWEEN_TOKENS and settings.output_tokens == "1":
            problems.append(
                f'--slo "{objective.text}": replies of one token have no {objective.metric}: ask for more --output-tokens'
            )
    return problems


def _precision_problems(settings: Settings, mode: str) -> list[str]:
    """Goals of a load that changes, and on numbers that this run cannot have."""
    if not settings.until:
        return []
    problems = []
    if settings.segments:
        problems.append(
            f"--until needs a load that stays, and {settings.segments_flag} changes it: leave one of the two out"
        )
    if mode not in MODES_WITH_GOALS:
        problems.append(
            f"--until needs a load that stays (--mode {', '.join(MODES_WITH_GOALS)}), and this is mode {mode}"
        )
    if inputs_of(settings) is not None:
        return problems
    for goal in precision.parse(settings.until):
        why = precision.impossible(goal, streamed=settings.stream, one_token=settings.output_tokens == "1")
        problems += [] if why is None else [f'--until "{goal}": {why}']
    return problems


def _settings_of_other_modes(name: str, given: Collection[str]) -> list[str]:
    problems = []
    for key in given:
        owners = [mode.name for mode in MODES.values() if key in mode.own_settings]
        if owners and name not in owners:
            problems.append(f"{_flag(key)} is for --mode {' and '.join(owners)}, and this is mode {name}")
    return problems


def _data_problems(settings: Settings, given: Collection[str]) -> list[str]:
    problems = []
    if settings.dataset is None or settings.recipe is not None:
        wrong = [key for key in ("columns", "bad_rows") if key in given]
        problems += [f"{_flag(key)} is about the rows of a file in --dataset, and none is given" for key in wrong]
    if settings.recipe is not None:
        problems += _recipe_problems(settings.recipe)
    if settings.dataset is not None:
        wrong = [key for key in ("input_tokens", "text", "repeat", "prefix") if key in given]
        problems += [f"{_flag(key)} shapes simulated prompts, and --dataset brings its own" for key in wrong]
    if settings.prefix is not None:
        problems += _prefix_problems(settings.prefix)
    if settings.images is not None:
        endpoint = settings.endpoint or urls.endpoint_of(settings.url) or DEFAULT
        if not ENDPOINTS[endpoint].takes_messages or ENDPOINTS[endpoint].inputs_are is not None:
            problems.append(f"--images are parts of a chat, and the endpoint is {endpoint}")
        if settings.dataset is not None and settings.recipe is None:
            problems.append("--images are for simulated chats, and the rows of --dataset bring their own")
        if settings.mode == "sessions":
            problems.append("--images do not go with --mode sessions: sessions are texts")
        if settings.tools is not None:
            problems.append("--images do not go with --tools: leave one of the two out")
    if settings.prompt_ids:
        problems += _ids_problems(settings)
    if settings.tools is not None:
        problems += _tools_problems(settings, settings.tools)
    elif settings.tool_choice is not None and (settings.dataset is None or settings.recipe is not None):
        problems.append("--tool-choice needs tools: give a list of them with --tools")
    if "text" in given:
        problems += _text_problems(settings.text)
    return problems


def _ids_problems(settings: Settings) -> list[str]:
    endpoint = settings.endpoint or urls.endpoint_of(settings.url) or DEFAULT
    problems = []
    if endpoint != "completions":
        problems.append(f"--prompt-ids is for --endpoint completions: {endpoint} takes texts alone")
    if settings.tokenizer is None and not settings.check_usage:
        problems.append(
            "--prompt-ids needs the model's own tokenizer, since the ids of another one are other words: name it with "
            "--tokenizer, or say with --check-usage that the default one is the model's"
        )
    return problems


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _tools_problems(settings: Settings, file: str) -> list[str]:
    from promptset.tools import load_tools

    problems = []
    endpoint = settings.endpoint or urls.endpoint_of(settings.url) or DEFAULT
    if not ENDPOINTS[endpoint].takes_messages and ENDPOINTS[endpoint].inputs_are is None:
        chats = ", ".join(name for name, one in ENDPOINTS.items() if one.takes_messages)
        problems.append(f"--tools are part of a chat, and the endpoint is {endpoint}: use one of {chats}")
    if settings.dataset is not None and settings.recipe is None:
        problems.append("--tools are for simulated chats, and the rows of --dataset bring their own")
    try:
        names = [tool["function"]["name"] for tool in load_tools(Path(file))]
        if settings.tool_choice is not None and settings.tool_choice not in (*TOOL_CHOICES, *names):
            choices = ", ".join((*TOOL_CHOICES, *names))
            problems.append(f"--tool-choice: {settings.tool_choice} is none of {choices}")
    except SpecError as e:
        problems += [f"--tools: {problem}" for problem in e.problems]
    return problems


def _text_problems(kind: str) -> list[str]:
    from promptset.kinds import parse_style

    try:
        parse_style(kind)
    except SpecError as e:
        return [f"--text: {problem}" for problem in e.problems]
    return []


def _recipe_problems(name: str) -> list[str]:
    try:
        recipes.load(name)
    except SpecError as e:
        return [f"--dataset: {problem}" for problem in e.problems]
    return []


def _prefix_problems(spec: str) -> list[str]:
    from promptset.sharing import parse_prefix

    try:
        parse_prefix(spec)
    except SpecError as e:
        return [f"--prefix: {e}"]
    return []
