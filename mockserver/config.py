"""The mock's configuration, declared once: each field is a key of the YAML file, a flag, and a line of `--help`.

Later sources win: the defaults here, then a preset, then the YAML file, then the flags. All problems are reported at once.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from annotated_types import MinLen
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    model_validator,
)

from mockserver.combinations import combination_problems
from mockserver.errors import UsageError
from mockserver.faults import Rule, parse_rule
from mockserver.presets import settings_of
from mockserver.step_cost import StepCostSpec, parse_step_cost
from promptset.distributions import Distribution, parse
from promptset.distributions.values import Dimension


class Flag(NamedTuple):
    """How a field looks on the command line, and whether it may change while the mock serves."""

    group: str
    metavar: str
    live: bool = False
    """`PATCH /admin/config` may change it: requests that arrive from then on are planned with it."""


def _distribution(dimension: Dimension) -> PlainValidator:
    def read(value: object) -> Distribution:
        if isinstance(value, Distribution):
            return value
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError(f"{value!r}: write a distribution, for example {'50ms' if dimension == 'time' else '128'}")
        return parse(value, dimension)

    return PlainValidator(read)


TimeDistribution = Annotated[Distribution, _distribution("time"), PlainSerializer(str)]
TokenDistribution = Annotated[Distribution, _distribution("tokens"), PlainSerializer(str)]


def _read_rule(value: object) -> Rule:
    if isinstance(value, Rule):
        return value
    if isinstance(value, int):  # YAML reads `- 429` as a number.
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"{value!r}: write a fault, for example 429:rate=0.1")
    return parse_rule(value)


FaultRule = Annotated[Rule, PlainValidator(_read_rule), PlainSerializer(str)]


def _read_step_cost(value: object) -> StepCostSpec:
    if isinstance(value, StepCostSpec):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r}: write a step cost, for example qwen2.5-7b-h100")
    return parse_step_cost(value)


_STEP_COST = PlainValidator(_read_step_cost)


def _spec(text: str) -> Any:
    """A default as it would be written: validation makes a distribution of it."""
    return text


def _masked(keys: tuple[str, ...]) -> list[str]:
    return ["***"] * len(keys)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str | int) else value


def _origin(value: str) -> str:
    if value != "*" and not re.fullmatch(r"https?://[^/\s]+", value):
        raise ValueError(f"{value!r}: write an origin such as http://localhost:3000, without a path, or *")
    return value


class MockConfig(BaseModel):
    """Everything that can be set."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=True)

    preset: Annotated[str | None, Flag("server", "NAME")] = Field(
        None, description="settings of a GPU and model or of a service; list shows them; the file and flags win over it"
    )
    host: Annotated[str, Flag("server", "HOST")] = Field("127.0.0.1", description="address to listen on")
    port: Annotated[int, Flag("server", "PORT")] = Field(8000, ge=0, le=65535, description="port; 0 takes any free one")
    model: Annotated[str, Flag("server", "NAME")] = Field("mock-model", min_length=1, description="name of the model")
    api_key: Annotated[
        tuple[Annotated[str, MinLen(1)], ...],
        BeforeValidator(_as_list),
        Flag("server", "KEY"),
        PlainSerializer(_masked),
    ] = Field((), description="key that requests under /v1 must carry; can be given several times", repr=False)
    cors: Annotated[
        tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_as_list), Flag("server", "ORIGIN")
    ] = Field((), description="origin whose web pages may call the mock, or *; can be given several times")
    admin: Annotated[Literal["loopback", "everyone", "nobody"], Flag("server", "WHO")] = Field(
        "loopback", description="who may use /admin: loopback (this machine), everyone, nobody"
    )
    max_model_len: Annotated[int, Flag("server", "TOKENS")] = Field(
        131072, ge=2, description="context length: input and output tokens of a request together"
    )
    max_body_mb: Annotated[float, Flag("server", "MB")] = Field(64.0, gt=0, description="largest request body")
    keep_alive_s: Annotated[float, Flag("server", "S")] = Field(
        75.0, gt=0, description="an idle connection is closed after this long"
    )
    drain_s: Annotated[float, Flag("server", "S")] = Field(
        5.0, ge=0, description="on SIGTERM, what is in flight may go on for this long; new requests get a 503"
    )
    workers: Annotated[int, Flag("server", "N")] = Field(
        1, ge=1, le=64, description="processes that serve, on one port with one ledger (more than 1: Linux)"
    )

    engine: Annotated[Literal["sampled", "batching", "replay"], Flag("latency", "NAME")] = Field(
        "sampled",
        description="what decides when tokens come out; sampled: each request on its own; batching: steps over all, as "
        "vLLM; replay: as recorded",
    )
    ttft: Annotated[TimeDistribution, Flag("latency", "DIST", live=True)] = Field(
        _spec("50ms"), description="time from a request's arrival to its first token"
    )
    tpot: Annotated[TimeDistribution, Flag("latency", "DIST", live=True)] = Field(
        _spec("20ms"), description="time between tokens, drawn once a request"
    )
    itl: Annotated[TimeDistribution | None, Flag("latency", "DIST", live=True)] = Field(
        None, description="time between tokens, drawn for each; takes the place of tpot"
    )
    ttft_per_input_token: Annotated[TimeDistribution | None, Flag("latency", "DIST", live=True)] = Field(
        None, description="added to the TTFT for each input token; drawn once a request"
    )
    load_slowdown: Annotated[float, Flag("latency", "F")] = Field(
        0.0, ge=0, allow_inf_nan=False, description="each wait takes 1 + F x (other requests under way) times as long"
    )
    replay: Annotated[Path | None, Flag("latency", "FILE")] = Field(
        None, description="latencies from a ledger, a requests.jsonl or a fitted profile"
    )
    replay_draw: Annotated[Literal["order", "random"], Flag("latency", "HOW")] = Field(
        "order", description="which recorded reply a request gets that has no index in the recording: order, random"
    )
    num_speculative_tokens: Annotated[int, Flag("latency", "K")] = Field(
        0, ge=0, le=1000, description="speculative decoding: drafts a step; tpot and itl are then between steps"
    )
    acceptance_rate: Annotated[float, Flag("latency", "A", live=True)] = Field(
        0.7, ge=0, le=1, description="the share of drafts that are accepted, each if the one before it was"
    )
    stream_interval: Annotated[int, Flag("latency", "N", live=True)] = Field(
        1, ge=1, description="send a chunk each N tokens, the first token at once, as vLLM"
    )

    step_cost: Annotated[StepCostSpec, _STEP_COST, PlainSerializer(str), Flag("batching", "COST")] = Field(
        _spec("qwen2.5-7b-h100"),
        description="what a step takes: a name, or b0=7052,b1=19.54,b2=25.43 (us), or a JSON file",
    )
    max_num_seqs: Annotated[int | None, Flag("batching", "N")] = Field(
        None, ge=1, description="most requests in a step; default: as the step cost has it"
    )
    max_num_batched_tokens: Annotated[int | None, Flag("batching", "N")] = Field(
        None, ge=1, description="most tokens in a step; default: as the step cost has it"
    )
    kv_blocks: Annotated[int | None, Flag("batching", "N")] = Field(
        None, ge=1, description="blocks of 16 tokens in the KV cache; default: as the step cost has it"
    )
    prefix_caching: Annotated[bool, Flag("batching", "on|off")] = Field(
        True, description="whether prompts share the blocks of a common prefix"
    )

    output_tokens: Annotated[TokenDistribution, Flag("text", "DIST", live=True)] = Field(
        _spec("128"), description="length of a reply where the request gives no max_tokens"
    )
    embedding_size: Annotated[int, Flag("text", "N")] = Field(
        1024, ge=1, le=65536, description="numbers in an embedding where the request gives no dimensions"
    )
    reasoning_tokens: Annotated[TokenDistribution | None, Flag("text", "DIST", live=True)] = Field(
        None, description="how many of a chat reply's tokens, from the first on, are reasoning"
    )
    reasoning_field: Annotated[Literal["reasoning", "reasoning_content"], Flag("text", "NAME", live=True)] = Field(
        "reasoning", description="where reasoning is: reasoning (vLLM) or reasoning_content (older, DeepSeek, SGLang)"
    )
    finish: Annotated[Literal["last", "separate"], Flag("text", "PLACE", live=True)] = Field(
        "last",
        description="finish reason on the last chunk of text (last: vLLM) or in one of its own (separate: OpenAI)",
    )
    tokenizer: Annotated[str | None, Flag("text", "T")] = Field(
        None, description="tokenizer of the replies and counts: a directory, a file, a hub id; none: the embedded one"
    )

    fault: Annotated[tuple[FaultRule, ...], BeforeValidator(_as_list), Flag("faults", "SPEC", live=True)] = Field(
        (), description="misbehave, for example 429:rate=0.1 or reset:every=10,after=3; can be given several times"
    )

    ledger: Annotated[Path | None, Flag("truth", "FILE")] = Field(
        None, description="append what was done to this file, one line a request; GET /ledger shows it in any case"
    )
    seed: Annotated[int, Flag("truth", "N")] = Field(0, description="seed of all that is drawn")

    @model_validator(mode="before")
    @classmethod
    def _replay_is_an_engine(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("replay") is not None:
            return {"engine": "replay", **values}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> MockConfig:
        problems = combination_problems(self)
        if problems:
            raise ValueError("\n".join(problems))
        return self


def load(path: Path | None, flags: Mapping[str, object]) -> MockConfig:
    """The configuration from a YAML file and flags (by field name, only those given).

    Raises UsageError with every problem: the file's and the flags', each with where it stands and what to do.
    """
    problems: list[str] = []
    from_file = {} if path is None else _read_file(path, problems)
    values = {**_preset(path, from_file, flags, problems), **from_file, **flags}
    try:
        config = MockConfig(**values)
    except ValidationError as e:
        problems += [sentence for error in e.errors() for sentence in _sentences(error, path, flags)]
        raise UsageError(problems) from e
    if problems:
        raise UsageError(problems)
    return config


def _preset(
    path: Path | None, from_file: Mapping[str, object], flags: Mapping[str, object], problems: list[str]
) -> Mapping[str, object]:
    """The settings of the preset that is asked for, a flag winning over the file."""
    name = flags.get("preset", from_file.get("preset"))
    if name is None:
        return {}
    try:
        return settings_of(name)
    except ValueError as e:
        where = "--preset" if "preset" in flags else f"{path}: preset"
        problems.append(f"{where}: {e}")
        return {}


def _read_file(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        problems.append(f"{path}: cannot be read: {' '.join(str(e).split())}")
        return {}
    if rows is None:
        return {}
    if not isinstance(rows, dict):
        problems.append(f"{path}: must be a mapping of keys to values, for example `ttft: 50ms`")
        return {}
    known = {}
    for key, value in rows.items():
        if key in MockConfig.model_fields:
            known[key] = value
            continue
        close = difflib.get_close_matches(str(key).replace("-", "_"), MockConfig.model_fields, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(MockConfig.model_fields)}"
        problems.append(f"{path}: {key}: no such key; {hint}")
    return known


LIVE = tuple(
    name
    for name, field in MockConfig.model_fields.items()
    if any(isinstance(extra, Flag) and extra.live for extra in field.metadata)
)
"""The fields that may change while the mock serves."""


def changed(config: MockConfig, values: Mapping[str, object]) -> MockConfig:
    """The configuration with some of its `LIVE` fields changed, written as in the YAML file.

    Raises UsageError with every problem.
    """
    problems = []
    for name in values:
        if name in MockConfig.model_fields and name not in LIVE:
            problems.append(f"{name}: cannot change while the mock serves; what can is {', '.join(LIVE)}")
        elif name not in MockConfig.model_fields:
            close = difflib.get_close_matches(str(name).replace("-", "_"), LIVE, n=1)
            hint = f"did you mean {close[0]}?" if close else f"what can change is {', '.join(LIVE)}"
            problems.append(f"{name}: no such key; {hint}")
    known = {name: value for name, value in values.items() if name in LIVE}
    try:
        new = MockConfig(**{**{name: getattr(config, name) for name in MockConfig.model_fields}, **known})
    except ValidationError as e:
        problems += [sentence for error in e.errors() for sentence in _sentences(error, None, {})]
        raise UsageError(problems) from e
    if problems:
        raise UsageError(problems)
    return new


def flag_of(field: str) -> str:
    """The flag of a field: `output_tokens` is `--output-tokens`."""
    return "--" + field.replace("_", "-")


def _sentences(error: Any, path: Path | None, flags: Mapping[str, object]) -> list[str]:
    """What pydantic found wrong with one field, in our words; a validator of ours may have found several things, a line
    each."""
    if not error["loc"]:
        return str(error["ctx"]["error"]).splitlines()
    field, *inside = error["loc"]
    where = ".".join([field, *(str(i) for i in inside)])
    if field in flags:
        where = flag_of(field)
    elif path is not None:
        where = f"{path}: {where}"
    cause = error.get("ctx", {}).get("error")
    if cause is not None:  # Our own validators say what was written and what to write.
        return [f"{where}: {problem}" for problem in str(cause).splitlines()]
    written = "***" if field == "api_key" else repr(error["input"])
    return [f"{where}: {written}: {error['msg'][0].lower()}{error['msg'][1:]}"]
