"""The settings of a run, declared once: default, unit and a line of doc beside each field.

The same model serves the flags (`flags.py` makes them of its fields), the YAML file of `--config`, and the `config` part of
a run directory's run.yaml. What is given here is made complete by `resolution.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from bench.config import values
from bench.endpoints import DEFAULT as DEFAULT_ENDPOINT
from bench.endpoints import ENDPOINTS
from bench.modes import MODES
from bench.modes.concurrency import DEFAULT_USERS
from bench.modes.interface import DEFAULT_OUTPUT_TOKENS, DEFAULT_REQUESTS
from bench.modes.rate import ARRIVALS_OF_BURSTS, DEFAULT_ARRIVALS
from bench.modes.sessions import DEFAULT_THINK_TIME, DEFAULT_TURNS
from bench.schedule import ARRIVALS
from bench.secrets import public_url
from bench.transport import DEFAULT, TRANSPORTS
from bench.verdict import Limits
from promptset import recipes

Seconds = Annotated[float, BeforeValidator(values.seconds), AfterValidator(values.positive)]
Tokens = Annotated[str, BeforeValidator(values.token_lengths)]
Many = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]


def option(
    default: Any, doc: str, *, group: str, metavar: str | None = None, otherwise: str | None = None, **limits: Any
) -> Any:
    """A field with what `--help` needs: its doc, the group it is shown in, and the word for its value.

    `otherwise`: what holds where the setting is not given, where its default does not say it.
    """
    extra: dict[str, Any] = {"group": group, "metavar": metavar, "otherwise": otherwise}
    return Field(default, description=doc, json_schema_extra=extra, **limits)


class Settings(BaseModel):
    """All that may be given for a run. Times are in seconds here, and in ns everywhere behind it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, AfterValidator(values.url)] = option(
        ..., "the server: http://host:8000, with or without /v1 or the whole path", group="target", metavar="URL"
    )
    endpoint: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.one_of(v, ENDPOINTS))] = (
        option(
            None,
            "which API to load",
            group="target",
            metavar="|".join(ENDPOINTS),
            otherwise=f"{DEFAULT_ENDPOINT}, or what the URL names",
        )
    )
    model: str | None = option(
        None, "the model to ask for", group="target", metavar="NAME", otherwise="the one that the server lists"
    )
    api_key: SecretStr | None = option(
        None,
        "sent as a bearer token; never stored or printed",
        group="target",
        metavar="KEY",
        otherwise="OPENAI_API_KEY of the environment",
    )
    header: Annotated[Many, AfterValidator(lambda v: tuple(values.header(h) for h in v))] = option(
        (), "one more request header; may be repeated; its value is never stored", group="target", metavar="NAME:VALUE"
    )
    extra_body: Annotated[dict[str, Any] | None, BeforeValidator(values.json_object)] = option(
        None, "fields to add to every request body, as a JSON object", group="target", metavar="JSON"
    )
    ignore_eos: bool = option(False, "ask for exactly the output tokens asked for (vLLM, SGLang)", group="target")
    stream: bool = option(True, "ask for whole responses: no TTFT, TPOT or ITL then", group="target")
    ca_file: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.existing_file(v))] = option(
        None, "certificate authority for https, in PEM", group="target", metavar="FILE"
    )
    insecure: bool = option(False, "do not check the certificate of the server", group="target")

    mode: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.one_of(v, MODES))] = option(
        None,
        "; ".join(f"{mode.name}: {mode.summary}" for mode in MODES.values()),
        group="load",
        metavar="|".join(MODES),
        otherwise="what the other flags imply",
    )
    concurrency: int | None = option(
        None,
        "users of the modes concurrency and sessions",
        group="load",
        metavar="N",
        otherwise=f"{DEFAULT_USERS}",
        ge=1,
    )
    rate: float | None = option(None, "requests per second of mode rate", group="load", metavar="R", gt=0)
    arrivals: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.one_of(v, ARRIVALS))] = (
        option(
            None,
            f"arrival process of mode rate: {', '.join(ARRIVALS)}",
            group="load",
            metavar="NAME",
            otherwise=f"{DEFAULT_ARRIVALS}, {ARRIVALS_OF_BURSTS} with --burstiness",
        )
    )
    burstiness: float = option(
        1.0, "shape of the gaps: 1 is Poisson, less is burstier, more is evener", group="load", metavar="B", gt=0
    )
    trace_speed: float = option(
        1.0, "mode trace: so many times faster than it was recorded", group="load", metavar="X", gt=0
    )
    max_concurrency: int | None = option(
        None, "most requests in flight (modes rate, throughput and trace)", group="load", metavar="N", ge=1
    )
    drop_late: bool = option(False, "drop an arrival that finds no free slot; else it waits", group="load")
    ramp: Annotated[float, BeforeValidator(values.seconds)] = option(
        0.0, "bring the users in one by one over this time", group="load", metavar="S", ge=0
    )
    requests: int | None = option(
        None,
        "end after this many requests",
        group="load",
        metavar="N",
        otherwise=f"{DEFAULT_REQUESTS}, without --duration",
        ge=1,
    )
    duration: Seconds | None = option(None, "stop sending after this time", group="load", metavar="S")
    warmup: Annotated[str, BeforeValidator(values.warmup)] = option(
        "0", "requests (20) or time (20s) that come first and count in no number", group="load", metavar="N|S"
    )

    input_tokens: Tokens = option(
        "1024", "tokens of a prompt: a number or a distribution", group="data", metavar="DIST"
    )
    output_tokens: Tokens | None = option(
        None,
        "tokens of a reply to ask for",
        group="data",
        metavar="DIST",
        otherwise=f"{DEFAULT_OUTPUT_TOKENS}, or what the rows of --dataset say",
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
    turns: Tokens | None = option(
        None, "mode sessions: turns of a session", group="data", metavar="DIST", otherwise=DEFAULT_TURNS
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
        "decides lengths, order, sharing and arrivals: the same seed sends the same load, in other words",
        group="data",
        metavar="N",
        ge=0,
    )
    same_prompts: bool = option(
        False,
        "send the very same prompts in every run of this seed",
        group="data",
        otherwise="fresh texts, which no prefix cache knows",
    )

    timeout: Seconds | None = option(600.0, "longest time for a whole request", group="limits", metavar="S")
    connect_timeout: Seconds | None = option(10.0, "longest time for a connection", group="limits", metavar="S")
    first_byte_timeout: Seconds | None = option(None, "longest wait for a response", group="limits", metavar="S")
    idle_timeout: Seconds | None = option(None, "longest silence in mid-response", group="limits", metavar="S")
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
    quiet: bool = option(False, "print the verdict and errors only", group="output")

    @property
    def recipe(self) -> str | None:
        """The recipe that the data set is; None where it is a file of rows, or there is none."""
        return self.dataset if self.dataset is not None and recipes.is_recipe(self.dataset) else None

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
        if self.api_key is not None:
            shown["api_key"] = "***"
        shown["header"] = [f"{h.partition(':')[0]}: ***" for h in self.header]
        return shown
