"""The settings of a run, declared once: default, unit and a line of doc beside each field.

The same model serves the flags (`flags.py` makes them of its fields), the YAML file of `--config`, and the `config` part of
a run directory's run.yaml. What is given here is made complete by `resolution.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr

from bench.config import values
from bench.config.fields import Many, Seconds, Tokens, Users, option
from bench.config.segments import checked_ramp, checked_steps, line_of, steps_of
from bench.endpoints import DEFAULT as DEFAULT_ENDPOINT
from bench.endpoints import ENDPOINTS
from bench.modes import MODES
from bench.modes.concurrency import DEFAULT_USERS
from bench.modes.interface import DEFAULT_BATCH_INPUTS, DEFAULT_OUTPUT_TOKENS, DEFAULT_REQUESTS
from bench.modes.rate import ARRIVALS_OF_BURSTS, DEFAULT_ARRIVALS
from bench.modes.sessions import DEFAULT_THINK_TIME, DEFAULT_TURNS
from bench.schedule import ARRIVALS
from bench.schedule.segments import Segment, lasts_ns
from bench.secrets import public_body, public_url
from bench.traffic import TrafficMix, masked, mix_of, read
from bench.transport import DEFAULT, TRANSPORTS, present
from bench.verdict.limits import Limits
from promptset.agents.recipe import LEAST_LIMIT


class Settings(BaseModel):
    """All that may be given for a run. Times are in seconds here, and in ns everywhere behind it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, AfterValidator(values.url)] = option(
        ..., "the server: http://host:8000, with or without /v1 or the whole path", group="target", metavar="URL"
    )
    endpoint: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.one_of(v, ENDPOINTS))] = (
        option(
            None,
            "which API to use",
            group="target",
            metavar="|".join(ENDPOINTS),
            otherwise=f"{DEFAULT_ENDPOINT}, or what the URL names",
        )
    )
    model: Annotated[str | None, BeforeValidator(values.model)] = option(
        None,
        "the model to use; several, with weights: a=3,b=1",
        group="target",
        metavar="NAME",
        otherwise="the one that the server lists",
    )
    api_key: SecretStr | None = option(
        None,
        "the API key, sent as the endpoint wants it; never stored or printed",
        group="target",
        metavar="KEY",
        otherwise="OPENAI_API_KEY of the environment, ANTHROPIC_API_KEY for messages",
    )
    header: Annotated[Many, AfterValidator(lambda v: tuple(values.header(h) for h in v))] = option(
        (), "add a request header, whose value is never stored; may be repeated", group="target", metavar="NAME:VALUE"
    )
    session_header: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.header_name(v))] = (
        option(
            None,
            "send the name of its session with each request as this header, for balancers: X-Session-ID",
            group="target",
            metavar="NAME",
        )
    )
    extra_body: Annotated[dict[str, Any] | None, BeforeValidator(values.json_object)] = option(
        None, "fields to add to every request body, as a JSON object", group="target", metavar="JSON"
    )
    websocket: bool = option(
        False, "endpoint responses: send each conversation over a WebSocket of its own", group="target"
    )
    ignore_eos: bool = option(False, "make replies exactly as long as asked for (vLLM, SGLang)", group="target")
    stream: bool = option(True, "ask for whole responses, not streams: no TTFT, TPOT or ITL", group="target")
    ca_file: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.certificate_file(v))] = (
        option(None, "trust the certificate authorities in this PEM file (https)", group="target", metavar="FILE")
    )
    insecure: bool = option(False, "do not check the server's certificate (https)", group="target")

    mode: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.one_of(v, MODES))] = option(
        None,
        "; ".join(f"{mode.name}: {mode.summary}" for mode in MODES.values()),
        group="load",
        metavar="|".join(MODES),
        otherwise="what the other flags imply",
    )
    concurrency: Users = option(
        None,
        "users of the modes concurrency and sessions: of sessions, so many are under way at a time",
        group="load",
        metavar="N",
        otherwise=f"{DEFAULT_USERS}",
        ge=1,
    )
    rate: Annotated[float | None, AfterValidator(lambda v: None if v is None else values.requests_per_s(v))] = option(
        None,
        "requests per second of mode rate, new sessions per second of mode sessions",
        group="load",
        metavar="R",
        gt=0,
    )
    arrivals: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.one_of(v, ARRIVALS))] = (
        option(
            None,
            f"arrival process of a rate: {', '.join(ARRIVALS)}",
            group="load",
            metavar="NAME",
            otherwise=f"{DEFAULT_ARRIVALS}, {ARRIVALS_OF_BURSTS} with --burstiness",
        )
    )
    burstiness: float = option(
        1.0,
        "shape of the gaps between arrivals: 1 is Poisson, below 1 is burstier, above 1 is more regular",
        group="load",
        metavar="B",
        ge=0.001,
        le=1e6,
    )
    trace_speed: float = option(
        1.0,
        "replay a recording this many times faster (modes trace and sessions)",
        group="load",
        metavar="X",
        ge=1e-6,
        le=1e6,
    )
    max_idle: Seconds | None = option(
        None,
        "recorded sessions: the longest pause; longer ones are cut to it",
        group="load",
        metavar="S",
        otherwise="as the format's users do: 10s for Weka, 60s for TraceLab and spans",
    )
    max_concurrency: Users = option(
        None, "maximum requests in flight (modes rate, throughput and trace)", group="load", metavar="N", ge=1
    )
    drop_late: bool = option(False, "drop arrivals that find no free slot, instead of letting them wait", group="load")
    ramp: Annotated[str, BeforeValidator(checked_ramp)] = option(
        "0",
        "start the users one by one over this time (30s); or a load that rises (or falls) along a line: 1..50:10m",
        group="load",
        metavar="S|A..B:T",
    )
    steps: Annotated[str | None, BeforeValidator(lambda v: None if v is None else checked_steps(v))] = option(
        None,
        "loads one after the other, each for a time: 5,10,20:60s, in users or (--mode rate) requests per second",
        group="load",
        metavar="LOADS:T",
    )
    requests: Annotated[
        int | None,
        AfterValidator(values.no_more_than(values.MOST_REQUESTS, "requests take weeks and terabytes of records")),
    ] = option(
        None,
        "stop sending after this many requests",
        group="load",
        metavar="N",
        otherwise=f"{DEFAULT_REQUESTS}, without --duration",
        ge=1,
    )
    duration: Seconds | None = option(None, "stop sending after this time", group="load", metavar="S")
    until: Annotated[Many, AfterValidator(values.precision_goals)] = option(
        (),
        "stop sending once half of this number's 95%% interval is at most that share of it: ttft:p90=10%%; "
        "--duration (10m, without it or --requests) is the cap; may be repeated",
        group="load",
        metavar="NUMBER=P%",
    )
    cancel: Annotated[str | None, BeforeValidator(lambda v: None if v is None else values.cancellation(v))] = option(
        None,
        "users who give up: this share of them closes the connection so long after the send: share=10%%,after=exp:mean=2s",
        group="load",
        metavar="SPEC",
    )
    mix: Annotated[dict[str, Any] | None, BeforeValidator(read)] = option(
        None,
        "a YAML file of traffic classes: each with a share or a rate, and settings of its own: docs/mix.md",
        group="load",
        metavar="FILE",
    )
    warmup: Annotated[str, BeforeValidator(values.warmup)] = option(
        "0", "requests (20) or time (20s) to send first, left out of every number", group="load", metavar="N|S"
    )

    input_tokens: Tokens = option(
        "1024", "tokens in each prompt: a number or a distribution", group="data", metavar="DIST"
    )
    batch_inputs: Annotated[str | None, BeforeValidator(lambda v: None if v is None else values.batch_inputs(v))] = (
        option(
            None,
            "inputs in each request: texts of --endpoint embeddings, documents of rerank; each has --input-tokens",
            group="data",
            metavar="DIST",
            otherwise=", ".join(f"{n} {what}" for what, n in DEFAULT_BATCH_INPUTS.items()),
        )
    )
    output_tokens: Tokens | None = option(
        None,
        "tokens to ask for in each reply",
        group="data",
        metavar="DIST",
        otherwise=f"{DEFAULT_OUTPUT_TOKENS}, or what the rows of --dataset say",
    )
    dataset: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.data_set(v))] = option(
        None,
        "your own prompts or a trace (JSON Lines, CSV, text, Parquet), or the name of a recipe: docs/datasets.md",
        group="data",
        metavar="FILE|NAME",
    )
    columns: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.columns(v))] = option(
        None, "which columns of --dataset to use: prompt=question,output_tokens=len", group="data", metavar="SPEC"
    )
    bad_rows: Literal["fail", "skip"] = option("fail", "stop at rows that are wrong, or skip them", group="data")
    text: str = option(
        "words",
        "kind of text: words, english, code, json, chinese, mixed, random, faker:LOCALE",
        group="data",
        metavar="KIND",
    )
    repeat: float = option(
        0.0, "share of each prompt that repeats earlier parts of it", group="data", metavar="SHARE", ge=0, lt=1
    )
    tools: str | None = option(
        None,
        "a JSON list of tools (as of OpenAI's chat) that every simulated chat offers; --input-tokens includes them",
        group="data",
        metavar="FILE",
    )
    tool_choice: str | None = option(
        None,
        "whether the model must call a tool: auto, required, none, or the name of the tool",
        group="data",
        metavar="CHOICE",
        otherwise="what the server does without: auto",
    )
    turns: Tokens | None = option(
        None, "mode sessions: turns in each session", group="data", metavar="DIST", otherwise=DEFAULT_TURNS
    )
    think_time: Annotated[str | None, BeforeValidator(lambda v: None if v is None else values.time_lengths(v))] = (
        option(
            None,
            "mode sessions: time between an answer and the next turn",
            group="data",
            metavar="DIST",
            otherwise=DEFAULT_THINK_TIME,
        )
    )
    context_limit: int | None = option(
        None,
        "mode sessions with a recipe: the model's window in tokens, to which all lengths of the recipe are scaled",
        group="data",
        metavar="TOKENS",
        ge=LEAST_LIMIT,
        otherwise="the recipe's, 200000 of coding-agent",
    )
    history: Literal["real", "planned", "stored"] = option(
        "real",
        "mode sessions: put the server's own answers into the history, or planned ones of exact length; or let the server "
        "store it (endpoint responses)",
        group="data",
    )
    sessions_begin: Literal["first", "middle", "recorded"] = option(
        "first",
        "mode sessions with --concurrency: begin the first session of each user with its first turn, or in its middle, where "
        "a service that has run for long would find it; recorded: begin each when its recording says, in place of "
        "--concurrency",
        group="load",
    )
    reasoning_in_history: Literal["echo", "drop"] = option(
        "drop",
        "mode sessions: what becomes of the server's reasoning in the history: given back, or left out as chat templates do",
        group="data",
    )
    prefix: str | None = option(
        None, "let prompts share a beginning, for example tokens=512,groups=4", group="data", metavar="SPEC"
    )
    tokenizer: str | None = option(
        None,
        "the model's tokenizer: a directory, a file or a hub id; `server` uses the server's own (a URL: that server's)",
        group="data",
        metavar="T",
    )
    check_usage: bool = option(
        False,
        "check the server's token counts although no --tokenizer is named: the default one is the target's",
        group="data",
    )
    images: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.images(v))] = option(
        None,
        "images in every simulated chat: n=1,size=1024x768,format=jpeg; n and size may be distributions",
        group="data",
        metavar="SPEC",
    )
    prompt_ids: bool = option(
        False,
        "endpoint completions: send the ids of each prompt's tokens in place of its text; needs the model's --tokenizer",
        group="data",
    )
    seed: int = option(
        0,
        "seed of everything random: lengths, order, sharing and arrivals; texts differ from run to run",
        group="data",
        metavar="N",
        ge=0,
        le=values.MOST_SEED,
    )
    same_prompts: bool = option(
        False,
        "send the very same prompts in every run of this seed",
        group="data",
        otherwise="fresh texts, which no prefix cache knows",
    )

    timeout: Seconds | None = option(600.0, "time limit for a whole request", group="limits", metavar="S")
    connect_timeout: Seconds | None = option(10.0, "time limit for a connection", group="limits", metavar="S")
    first_byte_timeout: Seconds | None = option(None, "time limit until a response begins", group="limits", metavar="S")
    idle_timeout: Seconds | None = option(None, "time limit for a pause within a response", group="limits", metavar="S")
    probe_timeout: Seconds = option(
        30.0, "time limit for the probe, the one request before the load", group="limits", metavar="S"
    )
    slo: Annotated[Many, AfterValidator(lambda v: tuple(values.objective(o) for o in v))] = option(
        (),
        "an objective, for example ttft:p99<500ms; exit 1 if it fails; may be repeated",
        group="limits",
        metavar="SLO",
    )
    max_errors: Annotated[str | None, BeforeValidator(lambda v: None if v is None else values.error_limit(v))] = option(
        None,
        "fail the run if more requests fail than this (10, or 5%%); a number also ends the run at once",
        group="limits",
        metavar="N|P%",
    )
    server_metrics: Annotated[Many, AfterValidator(values.server_metrics)] = option(
        (),
        "read the server's own metrics (Prometheus) each second: auto finds them beside its API, off leaves them, a URL "
        "names their page; may be repeated, for replicas",
        group="engine",
        metavar="auto|off|URL",
        otherwise="auto",
    )
    gpu_metrics: Annotated[str, AfterValidator(values.gpu_metrics)] = option(
        "auto",
        "read the GPUs each second: auto asks this machine's driver (NVML) where the server is on it, off leaves them, a URL "
        "names the page of a DCGM exporter",
        group="engine",
        metavar="auto|off|URL",
    )
    gpus: int | None = option(
        None, "GPUs that the server uses: adds tokens per second of each", group="engine", metavar="N", ge=1
    )
    gpu_hour_cost: float | None = option(
        None, "what an hour of one GPU costs: adds the cost of a million tokens", group="engine", metavar="COST", gt=0
    )
    limits: Limits = option(Limits(), "limits of the verdict", group="file")

    transport: Annotated[str, AfterValidator(present)] = option(
        DEFAULT, "how requests are sent: " + ", ".join(TRANSPORTS), group="engine", metavar="NAME"
    )

    workers: Annotated[str, BeforeValidator(values.workers)] = option(
        "auto", "processes that send the load; auto starts as many as the load needs", group="engine", metavar="N|auto"
    )

    cluster: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.cluster(v))] = option(
        None,
        "send the load from the nodes of a Ray cluster: ray is the one of RAY_ADDRESS, or of this machine; each node needs "
        "this version of trueload",
        group="engine",
        metavar="ray|ray://HOST:PORT",
    )
    workers_per_node: int | None = option(
        None, "with --cluster: workers on each node", group="engine", metavar="N", ge=1, otherwise="spread by Ray"
    )
    runtime_env: str | None = option(
        None,
        "with --cluster: what Ray makes on the nodes: code is the source code of this Trueload; a YAML file is a Ray runtime "
        "environment, to which the code is added",
        group="engine",
        metavar="code|FILE",
        otherwise="nodes have all",
    )

    priority: Literal["auto", "normal", "realtime"] = option(
        "auto",
        "scheduling priority of the processes that send: realtime (SCHED_RR) wakes them at once beside a server on this "
        "machine; auto takes it where the system allows it, and gives it back where they need most of a processor",
        group="engine",
    )

    out: str | None = option(None, "the run directory", group="output", metavar="DIR", otherwise="runs/<time>-<name>")
    name: Annotated[str, AfterValidator(values.directory_name)] = option(
        "run", "a name for the run", group="output", metavar="NAME"
    )
    format: Literal["text", "json"] = option("text", "what to print at the end", group="output")
    quiet: bool = option(False, "print only the verdict and the errors", group="output")

    @property
    def recipe(self) -> str | None:
        """The recipe that the data set is; None where it is a file of rows, or there is none."""
        if self.dataset is None:
            return None
        from promptset import recipes

        return self.dataset if recipes.is_recipe(self.dataset) else None

    @property
    def traffic(self) -> TrafficMix | None:
        """The classes of --mix."""
        return mix_of(self.mix)

    @property
    def ramp_in_s(self) -> float:
        """Over how many seconds users start one by one; 0 where the ramp is a load that rises."""
        return 0.0 if ".." in str(self.ramp) else values.seconds(self.ramp)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The loads of --steps or of a rising --ramp; none where the load stays."""
        if self.steps is not None:
            return steps_of(self.steps)
        return line_of(self.ramp) if ".." in str(self.ramp) else ()

    @property
    def segments_flag(self) -> str:
        """Which of the two says the segments."""
        return "--ramp" if self.steps is None else "--steps"

    @property
    def lasts_s(self) -> float | None:
        """For how many seconds requests are sent after the warm-up; None where time does not end it."""
        return lasts_ns(self.segments) / 1e9 if self.segments else self.duration

    @property
    def warmup_requests(self) -> int:
        """Requests of warm-up; 0 where it is given as a time."""
        return int(self.warmup) if self.warmup.isdecimal() else 0

    @property
    def warmup_s(self) -> float:
        """Seconds of warm-up; 0 where it is given as requests."""
        return 0.0 if self.warmup.isdecimal() else values.seconds(self.warmup)

    def public(self) -> dict[str, Any]:
        """The settings as they may be stored and shown: secrets are `***`, defaults included."""
        shown = self.model_dump(mode="json")
        shown["url"] = public_url(self.url)
        shown["gpu_metrics"] = public_url(self.gpu_metrics)
        shown["server_metrics"] = [public_url(page) for page in self.server_metrics]
        shown["extra_body"] = public_body(shown["extra_body"])
        if self.mix is not None:
            shown["mix"] = masked(self.mix)
        if self.api_key is not None:
            shown["api_key"] = "***"
        shown["header"] = [f"{h.partition(':')[0]}: ***" for h in self.header]
        return shown

    def changed(self) -> dict[str, Any]:
        """Of the settings as they may be shown, those that differ from their defaults. Where results go is left out."""
        defaults = Settings.model_construct(url="").public()
        shown = self.public()
        apart = ("out", "format", "quiet")
        return {key: shown[key] for key in Settings.model_fields if key not in apart and shown[key] != defaults[key]}
