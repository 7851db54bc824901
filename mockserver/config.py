"""The mock's configuration. Each field is declared once and is a YAML key, a flag, and a line of `--help`.

Later settings win: defaults, preset, profile, YAML file, flags. All problems are reported together.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from mockserver.combinations import combination_problems
from mockserver.config_parts.sentences import sentences_of
from mockserver.config_parts.values import (
    SAMPLED_TIMES,
    SCALE,
    STEP_COST,
    FaultRule,
    TimeDistribution,
    TokenDistribution,
    as_list,
    host_name,
    joined,
    masked,
    model_names,
    name_of,
    origin,
    spec,
)
from mockserver.errors import UsageError
from mockserver.presets import settings_of
from mockserver.profiles import settings_of_profile
from mockserver.sampled_times import SampledTimes
from mockserver.step_cost import MOST_BLOCKS, StepCostSpec
from mockserver.steps.scaling import ScaleSpec
from promptset import header_values
from promptset.whole_file import load_yaml


class Flag(NamedTuple):
    """How a field appears on the command line, and whether it can change while the mock serves."""

    group: str
    metavar: str
    live: bool = False
    """Whether `PATCH /admin/config` can change it, for requests that arrive later."""


class MockConfig(BaseModel):
    """All settings of the mock."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )

    preset: Annotated[str | None, Flag("server", "NAME")] = Field(
        None, description="start from the settings of a GPU and model, or of a service; `list` shows them all"
    )
    profile: Annotated[Path | None, Flag("server", "FILE")] = Field(
        None, description="start from a profile that `python -m bench fit` made from runs of a real server"
    )
    host: Annotated[str, Flag("server", "HOST")] = Field("127.0.0.1", description="address to listen on")
    port: Annotated[int, Flag("server", "PORT")] = Field(
        8000, ge=0, le=65535, description="port to listen on; 0 picks a free one"
    )
    model: Annotated[str, BeforeValidator(joined), AfterValidator(model_names), Flag("server", "NAME")] = Field(
        "mock-model",
        min_length=1,
        description="model name; requests for other models get a 404; one,two or repeated for several names",
    )
    api_key: Annotated[
        tuple[Annotated[str, AfterValidator(header_values.api_key)], ...],
        BeforeValidator(as_list),
        Flag("server", "KEY"),
        PlainSerializer(masked),
    ] = Field((), description="require this API key under /v1 and /admin; repeat it for several keys", repr=False)
    cors: Annotated[
        tuple[Annotated[str, AfterValidator(origin)], ...], BeforeValidator(as_list), Flag("server", "ORIGIN")
    ] = Field((), description="let web pages of this origin call the mock, or * for all; repeat it for several origins")
    admin: Annotated[Literal["loopback", "everyone", "nobody"], Flag("server", "WHO")] = Field(
        "loopback", description="who can use /admin: loopback (this machine), everyone, nobody"
    )
    allowed_host: Annotated[
        tuple[Annotated[str, AfterValidator(host_name)], ...], BeforeValidator(as_list), Flag("server", "NAME")
    ] = Field(
        (),
        description="host name that clients may use for /admin, /ledger and /truth besides this machine's own names and "
        "addresses, or * for any; repeat it for several names",
    )
    max_model_len: Annotated[int, Flag("server", "TOKENS")] = Field(
        131072, ge=2, description="context length: the limit for input and output tokens of a request together"
    )
    stored_responses: Annotated[int, Flag("server", "N")] = Field(
        10_000,
        ge=0,
        le=1_000_000,
        description="responses that requests can continue by `previous_response_id`; 0 stores none",
    )
    stored_mb: Annotated[float, Flag("server", "MB")] = Field(
        256.0,
        gt=0,
        le=65_536,
        description="memory for these responses, of all workers together; the oldest are dropped first",
    )
    max_body_mb: Annotated[float, Flag("server", "MB")] = Field(
        64.0, gt=0, le=1e6, description="size limit for request bodies"
    )
    body_timeout_s: Annotated[float, Flag("server", "S")] = Field(
        30.0,
        gt=0,
        le=1e9,
        description="close a connection whose request body takes longer than this, and a second more for each MB received",
    )
    max_head_kb: Annotated[float, Flag("server", "KB")] = Field(
        64.0, gt=0, le=1e6, description="size limit for request heads"
    )
    head_timeout_s: Annotated[float, Flag("server", "S")] = Field(
        30.0, gt=0, le=1e9, description="close a connection whose request head takes longer than this"
    )
    keep_alive_s: Annotated[float, Flag("server", "S")] = Field(
        75.0, gt=0, le=1e9, description="close idle connections after this time"
    )
    drain_s: Annotated[float, Flag("server", "S")] = Field(
        5.0, ge=0, le=1e9, description="on SIGTERM, let requests in flight run for this long; new requests get a 503"
    )
    workers: Annotated[int, Flag("server", "N")] = Field(
        1, ge=1, le=64, description="number of worker processes, on one port with one ledger; more than 1 needs Linux"
    )
    replicas: Annotated[int, Flag("server", "N")] = Field(
        1,
        ge=1,
        le=64,
        description="be N servers, each in a process on a port of its own from --port on, with one ledger; needs Linux",
    )
    replica: Annotated[tuple[str, ...], BeforeValidator(as_list), Flag("server", "N:KEY=VALUE")] = Field(
        (),
        description="a setting of replica N alone, from 0: 1:ttft=200ms, 2:fault=refuse:skip=100; repeat it for several",
    )
    cpu_priority: Annotated[Literal["auto", "normal", "realtime"], Flag("server", "NAME")] = Field(
        "auto",
        description="scheduling priority: realtime (SCHED_RR) sends on time on a busy machine; auto takes it if "
        "the system allows it, and gives it back if the mock needs most of a processor",
    )

    engine: Annotated[Literal["sampled", "batching", "replay"], Flag("latency", "NAME")] = Field(
        "sampled",
        description="latency model; sampled: draws the times of each request independently; batching: continuous batching, "
        "as in vLLM; replay: repeats recorded times",
    )
    ttft: Annotated[TimeDistribution, Flag("latency", "DIST", live=True)] = Field(
        spec("50ms"), description="time from the arrival of a request to its first token"
    )
    tpot: Annotated[TimeDistribution, Flag("latency", "DIST", live=True)] = Field(
        spec("20ms"), description="time between tokens, drawn once per request"
    )
    itl: Annotated[TimeDistribution | None, Flag("latency", "DIST", live=True)] = Field(
        None, description="time between tokens, drawn for each token; replaces --tpot"
    )
    ttft_per_input_token: Annotated[TimeDistribution | None, Flag("latency", "DIST", live=True)] = Field(
        None, description="time added to TTFT for each input token, drawn once per request"
    )
    load_slowdown: Annotated[float, Flag("latency", "F")] = Field(
        0.0,
        ge=0,
        description="slow down with load: multiply each wait by 1 + F x (other requests in flight)",
    )
    sampled_times: Annotated[SampledTimes | None, SAMPLED_TIMES, PlainSerializer(name_of), Flag("latency", "FILE")] = (
        Field(
            None,
            description="measured times of a server, in place of --ttft and --tpot: a JSON file, such as a "
            "profile of `python -m bench fit --engine sampled`",
        )
    )
    replay: Annotated[Path | None, Flag("latency", "FILE")] = Field(
        None, description="replay the latencies of a ledger, a requests.jsonl, or a fitted profile"
    )
    replay_draw: Annotated[Literal["order", "random"], Flag("latency", "HOW")] = Field(
        "order",
        description="how to pick a recorded reply for a request without an index in the recording: order, random",
    )
    num_speculative_tokens: Annotated[int, Flag("latency", "K")] = Field(
        0,
        ge=0,
        le=1000,
        description="speculative decoding: K draft tokens per step; --tpot and --itl then separate steps",
    )
    acceptance_rate: Annotated[float, Flag("latency", "A", live=True)] = Field(
        0.7, ge=0, le=1, description="probability that a draft token is accepted if the previous one was"
    )
    stream_interval: Annotated[int, Flag("latency", "N", live=True)] = Field(
        1, ge=1, description="send a chunk every N tokens, and the first token at once, as in vLLM"
    )

    step_cost: Annotated[StepCostSpec, STEP_COST, PlainSerializer(str), Flag("batching", "COST")] = Field(
        spec("qwen2.5-7b-h100"),
        description="cost of a step: a name, numbers like b0=7052,b1=19.54,b2=25.43 (us), or a JSON file",
    )
    scale: Annotated[
        ScaleSpec | None,
        SCALE,
        PlainSerializer(lambda spec: None if spec is None else str(spec)),
        Flag("server", "SPEC"),
    ] = Field(
        None,
        description="scale from zero and add replicas late: start=3s,replicas=2,above=8,delay=5s (503 until `start` after "
        "the first request; one more `delay` after more than `above` requests are in flight for each)",
    )
    max_num_seqs: Annotated[int | None, Flag("batching", "N")] = Field(
        None, ge=1, description="maximum requests in a step (default: set by the step cost)"
    )
    max_num_batched_tokens: Annotated[int | None, Flag("batching", "N")] = Field(
        None, ge=1, description="maximum tokens in a step (default: set by the step cost)"
    )
    kv_blocks: Annotated[int | None, Flag("batching", "N")] = Field(
        None,
        ge=1,
        le=MOST_BLOCKS,
        description="size of the KV cache, in blocks of 16 tokens (default: set by the step cost)",
    )
    scheduling_policy: Annotated[Literal["fcfs", "priority"], Flag("batching", "NAME")] = Field(
        "fcfs",
        description="order of waiting requests; fcfs: by arrival; priority: by `priority` in the body, lower first",
    )
    prefix_caching: Annotated[bool, Flag("batching", "on|off")] = Field(
        True, description="let prompts share the KV blocks of a common prefix"
    )

    output_tokens: Annotated[TokenDistribution, Flag("text", "DIST", live=True)] = Field(
        spec("128"),
        description="length of a reply without max_tokens, and of tool calls and JSON, which max_tokens only limits",
    )
    embedding_size: Annotated[int, Flag("text", "N")] = Field(
        1024, ge=1, le=65536, description="numbers in an embedding; also the limit for `dimensions`"
    )
    reasoning_tokens: Annotated[TokenDistribution | None, Flag("text", "DIST", live=True)] = Field(
        None, description="how many tokens at the start of a chat reply are reasoning"
    )
    reasoning_field: Annotated[Literal["reasoning", "reasoning_content"], Flag("text", "NAME", live=True)] = Field(
        "reasoning",
        description="field for reasoning: reasoning (vLLM) or reasoning_content (older vLLM, DeepSeek, SGLang)",
    )
    image_tokens: Annotated[int, Flag("text", "N", live=True)] = Field(
        256, ge=0, description="input tokens that an image in a conversation costs"
    )
    audio_tokens: Annotated[int, Flag("text", "N", live=True)] = Field(
        128, ge=0, description="input tokens that an audio clip in a conversation costs"
    )
    video_tokens: Annotated[int, Flag("text", "N", live=True)] = Field(
        1024, ge=0, description="input tokens that a video in a conversation costs"
    )
    tool_share: Annotated[float, Flag("text", "F", live=True)] = Field(
        1.0, ge=0, le=1, description="share of replies that call a tool if the request leaves it the choice"
    )
    tool_calls: Annotated[int, Flag("text", "N", live=True)] = Field(
        1, ge=1, le=128, description="tools that a reply calls, if the request allows several"
    )
    finish: Annotated[Literal["last", "separate"], Flag("text", "PLACE", live=True)] = Field(
        "last",
        description="put the finish reason on the last chunk of text (last: vLLM) or in its own chunk (separate: OpenAI)",
    )
    reply_details: Annotated[
        tuple[Literal["cached_tokens", "metrics", "speculative_decoding", "timings"], ...],
        BeforeValidator(as_list),
        Flag("text", "NAME", live=True),
    ] = Field(
        (),
        description="add figures of the engine to replies: cached_tokens, metrics, speculative_decoding (vLLM), timings "
        "(llama.cpp); repeat it for several",
    )
    lost_response: Annotated[Literal["vllm", "openai"], Flag("text", "STYLE", live=True)] = Field(
        "vllm",
        description="how to refuse a `previous_response_id` that is not stored: vllm (404) or openai (400, "
        "previous_response_not_found)",
    )
    tokenizer: Annotated[str | None, Flag("text", "T")] = Field(
        None, description="tokenizer for replies and counts: a directory, a file, or a hub id (default: a built-in one)"
    )

    fault: Annotated[tuple[FaultRule, ...], BeforeValidator(as_list), Flag("faults", "SPEC", live=True)] = Field(
        (), description="misbehave: 429:rate=0.1, reset:every=10,after=3, ...; repeat it for several faults"
    )

    ledger: Annotated[Path | None, Flag("truth", "FILE")] = Field(
        None, description="append the ledger to this file, one JSON line per request; GET /ledger always serves it"
    )
    seed: Annotated[int, Flag("truth", "N")] = Field(0, description="seed of all random draws")

    @model_validator(mode="before")
    @classmethod
    def _replay_is_an_engine(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("replay") is not None:
            return {"engine": "replay", **values}
        return values

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the model. The first is used in metrics and for requests that name no model."""
        return tuple(self.model.split(","))

    @model_validator(mode="after")
    def _fits_together(self) -> MockConfig:
        problems = combination_problems(self)
        if problems:
            raise ValueError("\n".join(problems))
        return self


def overridden(settings: Mapping[str, object], by: Mapping[str, object]) -> dict[str, Any]:
    """Settings overridden by others. A `tpot` also replaces an earlier `itl`, which would otherwise hide it."""
    hides = {"itl": None} if by.get("tpot") is not None else {}
    return {**settings, **hides, **by}


def load(path: Path | None, flags: Mapping[str, object]) -> MockConfig:
    """The configuration from a YAML file and flags (by field name, only those given).

    Raises UsageError with every problem of the file and the flags: where it is, and what to do.
    """
    problems: list[str] = []
    from_file = {} if path is None else _read_file(path, problems)
    values = overridden(overridden(_start(path, from_file, flags, problems), from_file), flags)
    try:
        config = MockConfig(**values)
    except ValidationError as e:
        problems += [sentence for error in e.errors() for sentence in sentences_of(error, path, flags)]
        raise UsageError(problems) from e
    if problems:
        raise UsageError(problems)
    return config


def _start(
    path: Path | None, from_file: Mapping[str, object], flags: Mapping[str, object], problems: list[str]
) -> dict[str, object]:
    """The settings of the preset and the profile, if given. A flag overrides the file."""
    settings: dict[str, object] = {}
    for key, read in (("preset", settings_of), ("profile", settings_of_profile)):
        if (name := flags.get(key, from_file.get(key))) is not None:
            try:
                settings |= read(name)
            except ValueError as e:
                problems.append(f"{f'--{key}' if key in flags else f'{path}: {key}'}: {e}")
    return settings


def _read_file(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        rows = load_yaml(path)
    except RecursionError:
        problems.append(f"{path}: it is nested too deeply: settings are keys with values")
        return {}
    except (OSError, ValueError, yaml.YAMLError) as e:
        why = f"{e.strerror}: name a YAML file" if isinstance(e, OSError) else " ".join(str(e).split())
        problems.append(f"{path}: cannot be read: {why}")
        return {}
    if rows is None:
        return {}
    if not isinstance(rows, dict):
        problems.append(f"{path}: must contain keys and values, for example `ttft: 50ms`")
        return {}
    known = {}
    for key, value in rows.items():
        if key in MockConfig.model_fields:
            known[key] = value
            continue
        close = difflib.get_close_matches(str(key).replace("-", "_"), MockConfig.model_fields, n=1)
        hint = (
            f"did you mean {close[0]}?"
            if close
            else "keys are the names of flags, which python -m mockserver --help lists"
        )
        problems.append(f"{path}: {key}: no such key; {hint}")
    return known
