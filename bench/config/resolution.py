"""Turns settings, given as flags and in a file, into a complete configuration.

`resolve` is the only entry point. It reports every problem at once, each with its source, and for an unknown key
suggests the nearest known one. The requirements of a mode are in its file (bench/modes/).
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import ValidationError

from bench.config import addresses, client_certificate, tokenless, values
from bench.config.classes import checked_classes, problems_beside
from bench.config.data_problems import problems_of_data
from bench.config.objective_problems import problems_of_objectives
from bench.config.renamed import renewed, renewed_config
from bench.config.run_config import SECRETS, RunConfig, complete, implied_mode
from bench.config.sentences import sentences
from bench.config.settings import Settings
from bench.endpoints import urls
from bench.endpoints.choice import endpoint_of
from bench.errors import UsageError
from bench.metrics import precision
from bench.modes import MODES
from bench.modes.interface import AUTO_WARMUP, DEFAULT_DURATION_S, default_length, flag, inputs_of
from promptset.whole_file import parse_yaml, read_text, yaml_problem

FLAGS = tuple(flag(name) for name in Settings.model_fields)
MODES_WITH_SEGMENTS = ("concurrency", "rate")
MODES_WITH_RATES = ("rate", "sessions")
MODES_WITH_GOALS = ("concurrency", "rate", "sessions")
"""The modes whose load stays constant."""
_NO_DEFAULT = object()
_NO_SUCH_KEY = ": keys are the names of flags, which python -m bench run --help-all lists"
MOST_VALUES = 100_000
"""The limit for a settings file: with aliases, a few lines of YAML can expand to billions of values."""
_DEFAULTS = Settings(url="http://unknown").public()


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file (`-` for stdin). From the run.yaml of a run directory, the `config` part is used.

    Raises UsageError.
    """
    try:
        text = sys.stdin.read() if path == Path("-") else read_text(path)
        content = parse_yaml(text)
    except OSError as e:
        raise UsageError(
            f"--config {path}: {e.strerror}: name a YAML file of settings, or the run.yaml of a run"
        ) from e
    except RecursionError:
        raise UsageError(f"--config {path}: it is nested too deeply: settings are keys with values") from None
    except (yaml.YAMLError, ValueError) as e:
        raise UsageError(f"--config {path}{yaml_problem(e)}") from e
    if content is None:
        return {}
    if not has_few_values(content):
        raise UsageError(
            f"--config {path}: it has more than {MOST_VALUES:,} values, or an alias (*) that refers to itself"
        )
    if not isinstance(content, dict):
        raise UsageError(f"--config {path}: must hold keys with values, for example 'concurrency: 10'")
    if "manifest" in content and isinstance(content.get("config"), dict):
        return given_again(content["config"])
    if twice := _given_twice(text):
        raise UsageError([f"--config {path}, {problem}" for problem in twice])
    return {str(key).replace("-", "_"): value for key, value in content.items()}


def _given_twice(text: str) -> list[str]:
    """A sentence for each setting that a file gives twice: YAML readers silently take the last."""
    first: dict[str, int] = {}
    problems = []
    document = yaml.compose(text, Loader=yaml.SafeLoader)
    for key, _ in document.value if isinstance(document, yaml.MappingNode) else ():
        line, name = key.start_mark.line + 1, str(key.value).replace("-", "_")
        if name in first:
            problems.append(f"line {line}: {name} is already in line {first[name]}: use only one of them")
        first.setdefault(name, line)
    return problems


def has_few_values(content: object) -> bool:
    """Whether a document has at most `MOST_VALUES` values; a value repeated by an alias counts each time."""
    left, count = [content], 0
    while left and count <= MOST_VALUES:
        value = left.pop()
        count += 1
        if isinstance(value, list | dict):
            left += value if isinstance(value, list) else value.values()
    return count <= MOST_VALUES


def given_again(config: Mapping[str, object]) -> dict[str, object]:
    """The settings from a run.yaml that start the same run again."""
    # Secrets are stored as ***, and the directory is taken. Defaults were not given by the user.
    left_out = {*SECRETS, "out"}
    config = renewed_config(config)
    if targets := config.get("targets"):
        config = {**config, "url": addresses.written(cast("Sequence[Mapping[str, Any]]", targets)), "targets": ()}
    return {k: v for k, v in config.items() if k not in left_out and v != _DEFAULTS.get(k, _NO_DEFAULT)}


def resolve(flags: Mapping[str, object], file: Mapping[str, object] | None = None, file_name: str = "") -> RunConfig:
    """The configuration from flags (which override) and a file's settings. Raises UsageError with every problem at once."""
    given = {**renewed(file or {}), **flags}
    of_default_length = given.get("warmup") == AUTO_WARMUP and given.get("duration") == DEFAULT_DURATION_S
    if "requests" in flags and "warmup" not in flags and of_default_length:
        # This warm-up comes from the run.yaml of a run with the default length, and the flags give another length.
        del given["warmup"]
    problems = addresses.spread(given, flags)
    for key in sorted(given.keys() - Settings.model_fields.keys(), key=str):  # YAML has keys that are no text.
        problems.append(_unknown(str(key), given[key], flags, file_name))
        del given[key]
    for key in [key for key, value in given.items() if _has_zero(value)]:
        problems.append(f"{_place(key, flags, file_name)} contains a zero byte")
        given[key] = _DEFAULTS.get(key)
    for key in [key for key, value in given.items() if isinstance(value, bool) and _takes_no_truth(key)]:
        word = "true" if given[key] else "false"
        problems.append(
            f"{_place(key, flags, file_name)}: must be a number, not yes, no, true or false (given: {word})"
        )
        del given[key]
    try:
        settings = Settings.model_validate(given)
    except ValidationError as e:
        wrong = {error["loc"][0] for error in e.errors()}
        problems += _refused(e, given, flags, file_name)
        if "mix" in wrong:
            problems += problems_beside(given["mix"])
        if "url" in wrong:
            given["url"] = "http://unknown"
        # Values that are right on their own may still not fit together, so check that in the same pass.
        settings = Settings.model_validate({k: v for k, v in given.items() if k not in wrong or k == "url"})
    problems += _combinations(settings, given)
    settings, wrong_classes = checked_classes(settings, implied_mode(settings))
    problems += wrong_classes
    if problems:
        raise UsageError(problems)
    return complete(settings)


def _unknown(key: str, value: object, flags: Mapping[str, object], file_name: str) -> str:
    """A sentence about an unknown key."""
    from bench.config import other_tools  # The table is needed only for a wrong word.

    near = difflib.get_close_matches(key, Settings.model_fields, n=1, cutoff=0.75)
    in_file = key not in flags and file_name
    hint = f": did you mean {near[0] if in_file else flag(near[0])}?" if near else _NO_SUCH_KEY
    if (answer := other_tools.about_flag(flag(key), str(value), FLAGS)) is not None:
        hint = f": {answer.sentence}"
    return f"{_place(key, flags, file_name)} is not known{hint}"


def _refused(
    error: ValidationError, given: Mapping[str, object], flags: Mapping[str, object], file_name: str
) -> list[str]:
    """Sentences about refused values. A value that another tool accepts is answered with what to write."""
    from bench.config import other_tools

    problems = []
    for refused in error.errors():
        key = str(refused["loc"][0])
        value = () if refused["type"] == "missing" else given[key]
        texts = value if isinstance(value, list | tuple) else (value,)
        answers = [answer for text in texts if (answer := other_tools.about_value(key, text)) is not None]
        problems += [f"{_place(key, flags, file_name)} {typed}: {write}" for typed, write in answers]
        if not answers or len(texts) > 1:
            plain = sentences(refused, lambda key: _place(key, flags, file_name))
            problems += [sentence for sentence in plain if not any(typed in sentence for typed, _ in answers)]
    return list(dict.fromkeys(problems))


def _takes_no_truth(key: str) -> bool:
    """Whether a setting is a number; from a file, pydantic would convert `yes` to a number."""
    kinds = {Settings.model_fields[key].annotation, *get_args(Settings.model_fields[key].annotation)}
    return bool(kinds & {int, float}) and bool not in kinds


def _has_zero(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_zero, value))
    return isinstance(value, str) and "\0" in value


def _place(key: str, flags: Mapping[str, object], file_name: str) -> str:
    return flag(key) if key in flags or not file_name else f"{file_name}: {key}"


def _combinations(settings: Settings, given: Collection[str]) -> list[str]:
    """Settings that cannot be combined, each with advice."""
    problems = []
    named = urls.endpoint_of(settings.url)
    if (
        settings.endpoint is not None
        and named is not None
        and endpoint_of(settings).root
        and settings.endpoint != named
    ):
        problems.append(f"--endpoint {settings.endpoint}: the URL names the endpoint {named}; use only one of them")
    if settings.rate is not None and settings.concurrency is not None:
        instead = "use only one of them" if settings.mode == "sessions" else "to cap a rate, use --max-concurrency"
        problems.append(f"--rate and --concurrency cannot be combined: {instead}")
    mode = MODES[implied_mode(settings)]
    if mode.name not in MODES_WITH_RATES and settings.rate is not None and settings.concurrency is None:
        problems.append(f"--rate cannot be combined with --mode {mode.name}: use only one of them")
    problems += _segment_problems(settings, mode.name) + _warmup_problems(settings, mode.name)
    problems += mode.problems(settings, given)
    problems += _settings_of_other_modes(mode.name, given)
    problems += problems_of_data(settings, given)
    problems += tokenless.problems(settings, given)
    problems += _target_problems(settings)
    problems += _address_problems(settings, given)
    if settings.workers_per_node is not None:
        if settings.cluster is None:
            problems.append("--workers-per-node is for a cluster: add --cluster, or use --workers")
        if settings.workers != "auto":
            problems.append("--workers and --workers-per-node cannot be combined: use only one of them")
    if settings.runtime_env is not None and settings.cluster is None:
        problems.append("--runtime-env needs a cluster: add --cluster")
    problems += _telemetry_problems(settings, given)
    if settings.session_header is not None and mode.name != "sessions" and settings.dataset is None:
        problems.append(f"--session-header names sessions, and simulated requests of mode {mode.name} have none")
    if settings.rate is not None and settings.duration is not None and settings.requests is None:
        planned = settings.rate * settings.duration
        if planned > values.MOST_REQUESTS:
            problems.append(
                f"--rate {settings.rate:g} for --duration {settings.duration:g} s is {planned:,.0f} requests: "
                f"give at most {values.MOST_REQUESTS:,}"
            )
    return problems + problems_of_objectives(settings, mode.name) + _precision_problems(settings, mode.name)


def _target_problems(settings: Settings) -> list[str]:
    """Problems with how to reach the server, and with waiting for it."""
    problems = client_certificate.problems(settings)
    if settings.insecure and settings.ca_file is not None:
        problems.append("--ca-file has no effect with --insecure: use only one of them")
    places = [target.url for target in settings.targets] or [settings.url]
    if (settings.insecure or settings.ca_file is not None) and {urlsplit(url).scheme for url in places} == {"http"}:
        problems.append("--ca-file and --insecure are for https:// URLs")
    if settings.watch_scale and settings.wait_for_server is not None:
        problems.append("--watch-scale sends the load to a server that is not ready: leave --wait-for-server out")
    return problems


def _telemetry_problems(settings: Settings, given: Collection[str]) -> list[str]:
    """Settings that have no effect without another one."""
    problems = []
    if settings.trace_share is not None and settings.otlp is None:
        problems.append("--trace-share needs a collector for its spans: add --otlp URL")
    if "metrics_linger" in given and settings.metrics_port is None:
        problems.append("--metrics-linger is for the page of metrics: add --metrics-port")
    if settings.gpu_hour_cost is not None and settings.gpus is None:
        problems.append("--gpu-hour-cost needs --gpus, the number of GPUs that the server uses")
    return problems


def _address_problems(settings: Settings, given: Collection[str]) -> list[str]:
    """Problems with distributing the load among addresses."""
    several = bool(settings.targets) or settings.resolve_all
    problems = [
        f"{flag(key)} needs several addresses: repeat --url, give --url @FILE, or add --resolve-all"
        for key in ("balance", "affinity")
        if key in given and not several
    ]
    weighted = any(target.weight != 1 for target in settings.targets)
    if settings.balance == "round_robin" and weighted:
        problems.append("--balance round_robin ignores the weights of --url: leave them out, or use --balance weighted")
    if settings.balance == "weighted" and several and not weighted:
        problems.append("--balance weighted needs weights: write --url URL=3")
    if settings.resolve_all and settings.proxy is not None:
        problems.append("--resolve-all cannot be combined with --proxy: the proxy resolves names; list them with --url")
    if settings.affinity == "none" and (settings.websocket or settings.history == "stored"):
        setting = "--websocket" if settings.websocket else "--history stored"
        problems.append(f"--affinity none cannot be combined with {setting}: the address keeps the conversation")
    return problems


def _segment_problems(settings: Settings, mode: str) -> list[str]:
    """Problems with loads that change over time: several of them, a mode without them, or a size that cannot be sent."""
    if not settings.segments:
        return []
    if mode not in MODES_WITH_SEGMENTS:
        return [f"{settings.segments_flag} is for --mode {' and '.join(MODES_WITH_SEGMENTS)}, and this is mode {mode}"]
    problems = []
    if settings.steps is not None and settings.ramp is not None:
        problems.append("--steps and --ramp cannot be combined: use only one of them")
    elif settings.steps is not None and settings.ramp_up:
        problems.append(
            "--ramp-up starts users one by one, but with --steps they start at the steps: leave --ramp-up out"
        )
    if mode == "rate" and (planned := sum(s.arrivals for s in settings.segments)) > values.MOST_REQUESTS:
        problems.append(
            f"{settings.segments_flag} plans {planned:,.0f} requests: give at most {values.MOST_REQUESTS:,}"
        )
    return problems


def _warmup_problems(settings: Settings, mode: str) -> list[str]:
    """Problems with an automatic warm-up, for a load without a steady state, or whose requests are counted."""
    if not settings.finds_warmup or settings.segments:
        return []
    instead = "give the warm-up as requests (20) or as a time (20s)"
    if mode not in MODES_WITH_SEGMENTS:
        return [f"--warmup auto is for --mode {' and '.join(MODES_WITH_SEGMENTS)}, and this is mode {mode}: {instead}"]
    if settings.requests is not None:
        return [f"--warmup auto needs a length in time, not --requests: {instead}, or use --duration"]
    if settings.duration is None and not settings.until and default_length(settings).get("requests") is not None:
        return [f"with a file in --dataset, --warmup auto needs --duration: {instead}"]
    return []


def _precision_problems(settings: Settings, mode: str) -> list[str]:
    """Problems with precision goals: a load that changes, or numbers that this run cannot have."""
    if not settings.until:
        return []
    problems = []
    if settings.segments:
        problems.append(f"--until needs a constant load, and {settings.segments_flag} changes it: use only one of them")
    if mode not in MODES_WITH_GOALS:
        problems.append(
            f"--until needs a constant load (--mode {', '.join(MODES_WITH_GOALS)}), and this is mode {mode}"
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
            problems.append(f"{flag(key)} is for --mode {' and '.join(owners)}, and this is mode {name}")
    return problems
