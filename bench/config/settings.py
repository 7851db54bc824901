"""The configuration of a run, declared once: default, unit and a line of doc beside each field.

The same model serves the flags (`flags.py` makes them from its fields), the YAML file of `--config` and the `config` part
of a run directory's run.yaml. `resolve` is the one way in: it names every problem at once, each with the place it came
from, and refuses unknown keys with the nearest known one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from bench.config import values
from bench.endpoints import openai
from bench.errors import UsageError
from bench.metrics import objectives
from bench.schedule import ARRIVALS
from bench.secrets import public_body, public_url
from bench.transport import DEFAULT, TRANSPORTS
from bench.verdict import Limits
from promptset import recipes
from promptset.errors import SpecError

Seconds = Annotated[float, BeforeValidator(values.seconds), AfterValidator(values.positive)]
Tokens = Annotated[str, BeforeValidator(values.token_lengths)]
Users = Annotated[int | None, AfterValidator(values.no_more_than(values.MOST_USERS, "need as many open sockets"))]
Many = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]
Mode = Literal["concurrency", "rate", "throughput", "trace", "sessions"]
OPEN_LOOP: tuple[Mode, ...] = ("rate", "trace")
"""Modes in which a schedule, not a response, decides when a request is sent."""


def option(default: Any, doc: str, *, group: str, metavar: str | None = None, **limits: Any) -> Any:
    """A field with what `--help` needs: its doc, the group it is shown in, and the word for its value."""
    return Field(default, description=doc, json_schema_extra={"group": group, "metavar": metavar}, **limits)


class RunConfig(BaseModel):
    """All that decides a run. Times are in seconds here, and in ns everywhere behind it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, AfterValidator(values.url)] = option(
        ..., "the server: http://host:8000, with or without /v1 or the whole path", group="target", metavar="URL"
    )
    endpoint: openai.Endpoint | None = option(
        None, "which API to load (default: chat, or what the URL names)", group="target"
    )
    model: str | None = option(
        None, "the model to ask for (default: the one that the server lists)", group="target", metavar="NAME"
    )
    api_key: SecretStr | None = option(
        None, "sent as a bearer token; never stored or printed (default: OPENAI_API_KEY)", group="target", metavar="KEY"
    )
    header: Annotated[Many, AfterValidator(lambda v: tuple(values.header(h) for h in v))] = option(
        (), "one more request header; may be repeated; its value is never stored", group="target", metavar="NAME:VALUE"
    )
    extra_body: Annotated[dict[str, Any] | None, BeforeValidator(values.json_object)] = option(
        None, "fields to add to every request body, as a JSON object", group="target", metavar="JSON"
    )
    ignore_eos: bool = option(False, "ask for exactly the output tokens asked for (vLLM, SGLang)", group="target")
    stream: bool = option(True, "ask for whole responses: no TTFT, TPOT or ITL then", group="target")
    ca_file: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.certificate_file(v))] = (
        option(None, "certificate authority for https, in PEM", group="target", metavar="FILE")
    )
    insecure: bool = option(False, "do not check the certificate of the server", group="target")

    mode: Mode | None = option(
        None,
        "concurrency: N users, each sends again when answered; rate: R a second, whatever the server does; "
        "throughput: everything at once; trace: when the rows of --dataset say; "
        "sessions: N users who converse (default: what the other flags imply)",
        group="load",
    )
    concurrency: Users = option(
        None, "users of the modes concurrency and sessions (default: 10)", group="load", metavar="N", ge=1
    )
    rate: Annotated[float | None, AfterValidator(lambda v: None if v is None else values.requests_per_s(v))] = option(
        None, "requests per second of mode rate", group="load", metavar="R", gt=0
    )
    arrivals: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.one_of(v, ARRIVALS))] = (
        option(
            None,
            f"arrival process of mode rate: {', '.join(ARRIVALS)} (default: poisson, gamma with --burstiness)",
            group="load",
            metavar="NAME",
        )
    )
    burstiness: float = option(
        1.0,
        "shape of the gaps: 1 is Poisson, less is burstier, more is evener",
        group="load",
        metavar="B",
        ge=0.001,
        le=1e6,
    )
    trace_speed: float = option(
        1.0, "mode trace: so many times faster than it was recorded", group="load", metavar="X", ge=1e-6, le=1e6
    )
    max_concurrency: Users = option(
        None, "most requests in flight (modes rate, throughput and trace)", group="load", metavar="N", ge=1
    )
    drop_late: bool = option(False, "drop an arrival that finds no free slot; else it waits", group="load")
    ramp: Annotated[float, BeforeValidator(values.seconds)] = option(
        0.0, "bring the users in one by one over this time", group="load", metavar="S", ge=0
    )
    requests: Annotated[
        int | None,
        AfterValidator(values.no_more_than(values.MOST_REQUESTS, "requests take weeks and terabytes of records")),
    ] = option(None, "end after this many requests (default: 100, without --duration)", group="load", metavar="N", ge=1)
    duration: Seconds | None = option(None, "stop sending after this time", group="load", metavar="S")
    warmup: Annotated[str, BeforeValidator(values.warmup)] = option(
        "0", "requests (20) or time (20s) that come first and count in no number", group="load", metavar="N|S"
    )

    input_tokens: Tokens = option(
        "1024", "tokens of a prompt: a number or a distribution", group="data", metavar="DIST"
    )
    output_tokens: Tokens | None = option(
        None,
        "tokens of a reply to ask for (default: 128, or what the rows of --dataset say)",
        group="data",
        metavar="DIST",
    )
    dataset: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.data_set(v))] = option(
        None,
        "prompts of your own or a trace (JSON Lines, CSV, text, Parquet), or the name of a recipe: docs/datasets.md",
        group="data",
        metavar="FILE|NAME",
    )
    columns: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.columns(v))] = option(
        None, "which columns of --dataset to take: prompt=question,output_tokens=len", group="data", metavar="SPEC"
    )
    bad_rows: Literal["fail", "skip"] = option("fail", "what to do with rows that are wrong", group="data")
    text: str = option(
        "words",
        "kind of text: words, english, code, json, chinese, mixed, random, faker:LOCALE",
        group="data",
        metavar="KIND",
    )
    repeat: float = option(
        0.0, "share of a prompt that repeats what stands in it already", group="data", metavar="SHARE", ge=0, lt=1
    )
    tools: str | None = option(
        None, "a JSON list of OpenAI tools that every simulated chat offers, counted in", group="data", metavar="FILE"
    )
    turns: Tokens | None = option(None, "mode sessions: turns of a session (default: 4)", group="data", metavar="DIST")
    think_time: Annotated[str | None, BeforeValidator(lambda v: None if v is None else values.time_lengths(v))] = (
        option(
            None,
            "mode sessions: time between an answer and the next turn (default: 0s)",
            group="data",
            metavar="DIST",
        )
    )
    history: Literal["real", "planned"] = option(
        "real", "mode sessions: histories of the server's own answers, or of planned ones of exact length", group="data"
    )
    prefix: str | None = option(
        None, "a shared beginning of the prompts, for example tokens=512,groups=4", group="data", metavar="SPEC"
    )
    tokenizer: str | None = option(
        None,
        "the target's tokenizer: a directory, a file, a hub id, or `server`: the target counts (a URL: another one does)",
        group="data",
        metavar="T",
    )
    check_usage: bool = option(
        False,
        "count the replies' tokens too, though no --tokenizer is named: the default one is the target's",
        group="data",
    )
    seed: int = option(
        0,
        "all chance comes from it: the same seed sends the same load",
        group="data",
        metavar="N",
        ge=0,
        le=values.MOST_SEED,
    )

    timeout: Seconds | None = option(600.0, "longest time for a whole request", group="limits", metavar="S")
    connect_timeout: Seconds | None = option(10.0, "longest time for a connection", group="limits", metavar="S")
    first_byte_timeout: Seconds | None = option(None, "longest wait for a response", group="limits", metavar="S")
    idle_timeout: Seconds | None = option(None, "longest silence in mid-response", group="limits", metavar="S")
    probe_timeout: Seconds = option(
        30.0, "longest time for the one request that is sent before the load", group="limits", metavar="S"
    )
    slo: Annotated[Many, AfterValidator(lambda v: tuple(values.objective(o) for o in v))] = option(
        (),
        "an objective, for example ttft:p99<500ms; may be repeated; exit 1 if one fails",
        group="limits",
        metavar="SLO",
    )
    max_errors: Annotated[str | None, BeforeValidator(lambda v: None if v is None else values.error_limit(v))] = option(
        None,
        "more failed requests than this (10, or 5%%) fail the run; a number also ends it",
        group="limits",
        metavar="N|P%",
    )
    limits: Limits = option(Limits(), "limits of the verdict", group="file")

    transport: Annotated[str, AfterValidator(lambda v: values.one_of(v, TRANSPORTS))] = option(
        DEFAULT, "how requests travel: " + ", ".join(TRANSPORTS), group="engine", metavar="NAME"
    )

    workers: Annotated[str, BeforeValidator(values.workers)] = option(
        "auto", "processes that send the load; auto takes as many as it needs", group="engine", metavar="N|auto"
    )

    out: str | None = option(None, "the run directory (default: runs/<time>-<name>)", group="output", metavar="DIR")
    name: Annotated[str, AfterValidator(values.directory_name)] = option(
        "run", "a name for the run", group="output", metavar="NAME"
    )
    format: Literal["text", "json"] = option("text", "what to print at the end", group="output")
    quiet: bool = option(False, "print the verdict and errors only", group="output")

    @property
    def recipe(self) -> str | None:
        """The recipe that the data set is; None where it is a file of rows, or there is none."""
        return self.dataset if self.dataset is not None and recipes.is_recipe(self.dataset) else None

    @property
    def open_loop(self) -> bool:
        """Whether requests are sent by a schedule that does not wait for responses."""
        return self.mode in OPEN_LOOP

    @property
    def warmup_requests(self) -> int:
        """Requests of warm-up; 0 where it is given as a time."""
        return int(self.warmup) if self.warmup.isdecimal() else 0

    @property
    def warmup_s(self) -> float:
        """Seconds of warm-up; 0 where it is given as requests."""
        return 0.0 if self.warmup.isdecimal() else values.seconds(self.warmup)

    def public(self) -> dict[str, Any]:
        """The configuration as it may be stored and shown: secrets are `***`, defaults included."""
        told = self.model_dump(mode="json")
        told["url"] = public_url(self.url)
        told["extra_body"] = public_body(told["extra_body"])
        if self.api_key is not None:
            told["api_key"] = "***"
        told["header"] = [f"{h.partition(':')[0]}: ***" for h in self.header]
        return told


_NO_DEFAULT = object()
_DEFAULTS = RunConfig(url="http://unknown").public()


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file. A run.yaml of a run directory counts too: its `config` part. Raises UsageError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UsageError(f"--config {path}: {e.strerror}") from e
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise UsageError(f"--config {path}{_yaml_problem(e)}") from e
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"--config {path}: must hold keys with values, for example 'concurrency: 10'")
    if "manifest" in content and isinstance(content.get("config"), dict):
        # Its secrets are stored as ***, and its place is taken. What stands at its default was not asked for.
        left_out = ("api_key", "header", "out")
        return {k: v for k, v in content["config"].items() if k not in left_out and v != _DEFAULTS.get(k, _NO_DEFAULT)}
    return {str(key).replace("-", "_"): value for key, value in content.items()}


def _yaml_problem(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    """Where the file stops being YAML, and why, in one line."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or " ".join(str(error).split())
    return (
        f": not YAML: {said}" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}: not YAML: {said}"
    )


def resolve(flags: Mapping[str, Any], file: Mapping[str, Any] | None = None, file_name: str = "") -> RunConfig:
    """The configuration from flags (which win) and a file's settings. Raises UsageError with every problem at once."""
    settings = {**(file or {}), **flags}
    problems = []
    for key in sorted(settings.keys() - RunConfig.model_fields.keys()):
        near = difflib.get_close_matches(key, RunConfig.model_fields, n=1)
        hint = f": did you mean {_name(near[0], file_name if key not in flags else '')}?" if near else ""
        problems.append(f"{_place(key, flags, file_name)} is not known{hint}")
        del settings[key]
    try:
        config = RunConfig.model_validate(settings)
    except ValidationError as e:
        wrong = set()
        for error in e.errors():
            wrong.add(error["loc"][0])
            problems += _sentences(error, flags, file_name)
        if "url" in wrong:
            settings["url"] = "http://unknown"
        # What is right on its own can still be wrong together: look at that too, in one go.
        config = RunConfig.model_validate({k: v for k, v in settings.items() if k not in wrong or k == "url"})
    problems += _combinations(config, settings)
    if problems:
        raise UsageError(problems)
    return _fill(config)


def _place(key: str, flags: Mapping[str, Any], file_name: str) -> str:
    return _name(key, "") if key in flags or not file_name else f"{file_name}: {key}"


def _name(key: str, file_name: str) -> str:
    """A setting as it is written on the command line, or in a file."""
    return key if file_name else f"--{key.replace('_', '-')}"


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
    told = repr(error["input"]) in message or loc[0] in ("api_key", "header", "url", "extra_body")
    given = "" if told else f" (given: {error['input']!r})"
    return [f"{place}: {message[0].lower()}{message[1:]}{given}"]


def _combinations(config: RunConfig, given: Mapping[str, Any]) -> list[str]:
    """What does not go together, each with what to do about it."""
    problems = []
    mode = _mode(config)
    named = openai.endpoint_of(config.url)
    if config.endpoint is not None and named is not None and config.endpoint != named:
        problems.append(f"--endpoint {config.endpoint}: the URL names the endpoint {named}; leave one of the two out")
    if config.rate is not None and config.concurrency is not None:
        problems.append("--rate and --concurrency exclude each other: to cap a rate, use --max-concurrency")
    if mode == "rate" and config.rate is None:
        problems.append("--mode rate needs --rate, in requests per second")
    if mode != "rate" and config.rate is not None and config.concurrency is None:
        problems.append(f"--rate does not go with --mode {mode}: leave one of the two out")
    if mode == "throughput" and config.concurrency is not None:
        problems.append("--concurrency does not go with --mode throughput: use --max-concurrency for its cap")
    if mode in ("concurrency", "sessions") and config.max_concurrency is not None:
        problems.append("--max-concurrency does not go with fixed concurrency: --concurrency is the number itself")
    problems += _session_problems(config, mode, given)
    if mode == "trace" and config.dataset is None:
        problems.append("--mode trace needs --dataset: a file whose rows say when they are sent (at_s, or a trace)")
    if mode == "trace" and config.concurrency is not None:
        problems.append("--concurrency does not go with --mode trace: to cap a trace, use --max-concurrency")
    if mode != "trace" and "trace_speed" in given:
        problems.append(f"--trace-speed is for --mode trace, and this is mode {mode}")
    if mode not in OPEN_LOOP and "drop_late" in given:
        problems.append(f"--drop-late is for --mode rate and trace, and this is mode {mode}")
    if mode != "rate":
        for key in ("arrivals", "burstiness"):
            if key in given:
                problems.append(f"--{key.replace('_', '-')} is for --mode rate, and this is mode {mode}")
    elif config.arrivals not in (None, "gamma") and "burstiness" in given and config.burstiness != 1.0:
        problems.append(f"--burstiness is the shape of gamma gaps: --arrivals {config.arrivals} has none")
    if config.drop_late and config.max_concurrency is None:
        problems.append("--drop-late needs --max-concurrency: without a cap no arrival is ever late for a slot")
    if mode in OPEN_LOOP and config.ramp:
        problems.append(f"--ramp is for users, and mode {mode} has none")
    if mode == "throughput" and config.requests is None and config.max_concurrency is None:
        problems.append(
            "--mode throughput sends everything at once: say how much with --requests (or cap it with "
            "--max-concurrency and end it with --duration)"
        )
    if config.dataset is None or config.recipe is not None:
        for key in ("columns", "bad_rows"):
            if key in given:
                problems.append(
                    f"--{key.replace('_', '-')} is about the rows of a file in --dataset, and none is given"
                )
    if config.recipe is not None:
        problems += _recipe_problems(config.recipe, config.mode)
    if config.dataset is not None:
        for key in ("input_tokens", "text", "repeat", "prefix"):
            if key in given:
                problems.append(f"--{key.replace('_', '-')} shapes simulated prompts, and --dataset brings its own")
    if config.insecure and config.ca_file is not None:
        problems.append("--insecure checks no certificate, so --ca-file has no use: leave one of the two out")
    if (config.insecure or config.ca_file is not None) and urlsplit(config.url).scheme == "http":
        problems.append("--ca-file and --insecure are for https:// URLs")
    if config.prefix is not None:
        problems += _prefix_problems(config.prefix)
    if config.tools is not None:
        problems += _tools_problems(config, config.tools)
    if "text" in given:
        problems += _text_problems(config.text)
    return problems + _objective_problems(config)


def _objective_problems(config: RunConfig) -> list[str]:
    """Objectives on numbers that this run cannot have."""
    problems = []
    for objective in objectives.parse(config.slo):
        if objective.stat is None or objective.metric in objectives.WHOLE_RESPONSE:
            continue
        if not config.stream:
            problems.append(
                f'--slo "{objective.text}": with --no-stream there is no {objective.metric}, only e2el: '
                "leave --no-stream out, or use e2el"
            )
        elif objective.metric in objectives.BETWEEN_TOKENS and config.output_tokens == "1":
            problems.append(
                f'--slo "{objective.text}": replies of one token have no {objective.metric}: ask for more --output-tokens'
            )
    return problems


def _tools_problems(config: RunConfig, file: str) -> list[str]:
    from promptset.tools import load_tools

    problems = []
    if "completions" in (config.endpoint, openai.endpoint_of(config.url)):
        problems.append("--tools are part of a chat, and the endpoint is completions")
    if config.dataset is not None and config.recipe is None:
        problems.append("--tools are for simulated chats, and the rows of --dataset bring their own")
    try:
        load_tools(Path(file))
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


def _session_problems(config: RunConfig, mode: Mode, given: Mapping[str, Any]) -> list[str]:
    if mode != "sessions":
        wrong = [key for key in ("turns", "think_time", "history") if key in given]
        return [f"--{key.replace('_', '-')} is for --mode sessions, and this is mode {mode}" for key in wrong]
    problems = []
    if "completions" in (config.endpoint, openai.endpoint_of(config.url)):
        problems.append("--mode sessions needs the endpoint chat: completions have no turns")
    if config.recipe is not None:
        problems.append("--dataset: a recipe has no sessions; name a file of sessions, or leave it out")
    for key in ("columns", "bad_rows", "text", "repeat", "tools"):
        if key in given:
            problems.append(
                f"--{key.replace('_', '-')} does not go with sessions: they have their own rows, in English words"
            )
    if config.dataset is not None:
        wrong = [key for key in ("turns", "think_time") if key in given]
        problems += [f"--{key.replace('_', '-')}: the rows of a file of sessions say that" for key in wrong]
    if config.dataset is not None and config.output_tokens is not None:
        problems.append("--output-tokens: the turns of a file of sessions say how long answers are")
    return problems


def _recipe_problems(name: str, mode: Mode | None) -> list[str]:
    try:
        recipe = recipes.load(name)
    except SpecError as e:
        return [f"--dataset: {problem}" for problem in e.problems]
    if mode == "trace" and recipe.gaps is None:
        return [f"--mode trace needs the times of requests, and the recipe {name} has no gaps: use --rate"]
    return []


def _prefix_problems(spec: str) -> list[str]:
    from promptset.sharing import parse_prefix

    try:
        parse_prefix(spec)
    except SpecError as e:
        return [f"--prefix: {e}"]
    return []


def _mode(config: RunConfig) -> Mode:
    if config.mode is not None:
        return config.mode
    return "rate" if config.rate is not None and config.concurrency is None else "concurrency"


def _fill(config: RunConfig) -> RunConfig:
    """The defaults that depend on other settings."""
    mode = _mode(config)
    named = openai.endpoint_of(config.url)
    filled: dict[str, Any] = {"mode": mode}
    if config.endpoint is None:
        filled["endpoint"] = named if named is not None else "chat"
    if mode in ("concurrency", "sessions") and config.concurrency is None:
        filled["concurrency"] = 10
    if mode == "rate" and config.arrivals is None:
        filled["arrivals"] = "poisson" if config.burstiness == 1.0 else "gamma"
    if config.dataset is None and config.output_tokens is None:
        filled["output_tokens"] = "128"
    if config.requests is None and config.duration is None and (mode != "trace" or config.recipe is not None):
        # A recording has an end of its own; a recipe has none.
        filled["requests"] = 100
    return config.model_copy(update=filled)
