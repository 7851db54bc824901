"""Settings of endpoints that generate no text (embeddings, rerank). Settings without meaning there are refused, all at
once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bench.config.settings import Settings
from bench.endpoints import ENDPOINTS
from bench.endpoints.choice import endpoint_of, name_of
from bench.endpoints.inputs import FIELDS_OF_TEXT, InputsEndpoint
from bench.metrics import objectives, precision
from bench.metrics.catalog import OF_FEW
from bench.modes.interface import DEFAULT_BATCH_INPUTS, flag

_OF_TEXT = ("output_tokens", "ignore_eos", "tools", "tool_choice", "store_texts")
"""Settings about generated text."""
OF_PROMPTS = (
    *_OF_TEXT, "input_tokens", "batch_inputs", "text", "repeated_text", "columns", "prefix", "tokenizer",
    "extra_body", "model", "images", "audio", "video", "prompt_ids", "stream", "websocket",
)  # fmt: skip
"""Settings about prompts or models, which requests to an HTTP service do not have."""
OF_HTTP = ("method", "body", "body_template", "rows", "expect")
_NOT_OF_AUDIO = (
    "output_tokens", "ignore_eos", "input_tokens", "batch_inputs", "text", "repeated_text", "columns", "bad_rows", "prefix",
    "check_answers", "probes", "mix",
)  # fmt: skip
"""Settings about prompts, which audio clips do not have."""
HAS = ("e2el", "e2el_from_intended", "error_rate", "goodput", "requests_per_s", "inputs_per_s", "input_tokens_per_s")
"""The numbers of a run with such an endpoint, by their names in objectives."""
HTTP_HAS = ("ttfb", "e2el", "e2el_from_intended", "error_rate", "goodput", "requests_per_s")
"""The metrics of a run with an HTTP service."""
HTTP, PLAYED = "http", "playback_stall"


def problems(settings: Settings, given: Collection[str]) -> list[str]:
    """A sentence for each setting that does not fit the endpoint, and for each setting that only other endpoints have."""
    name = name_of(settings)
    if name == HTTP:
        return _of_http(settings, given)
    foreign = [f"{flag(key)} is for --endpoint http, and the endpoint is {name}" for key in OF_HTTP if key in given]
    return foreign + _of_api(name, settings, given)


def _of_http(settings: Settings, given: Collection[str]) -> list[str]:
    """Settings that do not fit requests to an HTTP service."""
    sentences = [
        f"{flag(key)} is about prompts or models, and --endpoint http has neither: leave it out"
        for key in OF_PROMPTS
        if key in given and getattr(settings, key) is not None
    ]
    bodies = [key for key in ("body", "body_template") if getattr(settings, key) is not None]
    if len(bodies) == 2:
        sentences.append("--body and --body-template cannot be combined: use only one of them")
    if settings.dataset is not None and settings.recipe is not None:
        sentences.append(
            f"--dataset {settings.dataset}: a recipe makes prompts, and --endpoint http sends requests of a file"
        )
    elif settings.dataset is not None and bodies == ["body"]:
        sentences.append(
            "--body and --dataset cannot be combined: rows are bodies; --body-template puts columns into one"
        )
    if settings.method == "HEAD" and any(
        not part.strip().startswith("status=") for asked in settings.expect for part in asked.split(",")
    ):
        sentences.append("--expect looks into a body, and a response to HEAD has none: expect a status alone")
    if settings.dataset is None and settings.rows != "auto":
        sentences.append("--rows says what --dataset holds: name the file with --dataset")
    if settings.body_template is not None and settings.rows not in ("auto", "columns"):
        sentences.append(
            f"--rows {settings.rows} and --body-template cannot be combined: a template takes the columns of --dataset"
        )
    if settings.dataset is not None and settings.rows == "columns" and settings.body_template is None:
        sentences.append("--rows columns needs --body-template, which puts the columns into a body")
    return sentences + _numbers_missing(HTTP, settings, HTTP_HAS)


def _of_audio(name: str, settings: Settings, given: Collection[str]) -> list[str]:
    """Settings that do not fit audio clips."""
    sentences = [
        f"{flag(key)} is about prompts, and --endpoint {name} sends audio clips: leave it out"
        for key in _NOT_OF_AUDIO
        if key in given and getattr(settings, key) not in (None, False)
    ]
    if settings.recipe is not None:
        sentences.append(
            f"--dataset {settings.dataset}: a recipe makes prompts, and --endpoint {name} sends audio clips"
        )
    elif settings.dataset is not None and settings.audio is not None:
        sentences.append("--audio and --dataset cannot be combined: the rows of a data set name their clips")
    return sentences


def _of_api(name: str, settings: Settings, given: Collection[str]) -> list[str]:
    endpoint = endpoint_of(settings)
    sentences = endpoint.problems(settings.extra_body or {})
    if "play_after" in given and PLAYED not in endpoint.measures:
        speakers = " and ".join(other for other, candidate in ENDPOINTS.items() if PLAYED in candidate.measures)
        sentences.append(f"--play-after is for --endpoint {speakers}, and the endpoint is {name}")
    if endpoint.takes_audio:
        return [*sentences, *_of_audio(name, settings, given), *_metrics_missing(name, settings)]
    return [*sentences, *_of_text(name, settings, given)]


def _metrics_missing(name: str, settings: Settings) -> list[str]:
    """Objectives and goals on metrics that only other endpoints have."""
    has = endpoint_of(settings).measures
    wanted = [(f'--slo "{goal.text}"', goal.metric) for goal in objectives.parse(settings.slo)]
    wanted += [(f'--until "{goal}"', goal.metric) for goal in precision.parse(settings.until)]
    return [
        f"{subject}: the endpoint {name} has no {metric}"
        for subject, metric in wanted
        if metric in OF_FEW and metric not in has
    ]


def _of_text(name: str, settings: Settings, given: Collection[str]) -> list[str]:
    endpoint = endpoint_of(settings)
    if endpoint.generates:
        return _of_inputs(name, settings, given)
    sentences = []
    wrong = [flag(key) for key in _OF_TEXT if key in given and getattr(settings, key) not in (None, False)]
    if wrong:
        words = ", ".join(wrong[:-1]) + f" and {wrong[-1]}" if len(wrong) > 1 else wrong[0]
        verb, them = ("are", "them") if len(wrong) > 1 else ("is", "it")
        sentences.append(
            f"{words} {verb} about generated text, and the endpoint {name} generates none: leave {them} out"
        )
    of_text = endpoint.fields_of_text if isinstance(endpoint, InputsEndpoint) else FIELDS_OF_TEXT
    if fields := [key for key in of_text if settings.extra_body is not None and key in settings.extra_body]:
        sentences.append(
            f"--extra-body: {', '.join(fields)} {'is' if len(fields) == 1 else 'are'} about generated text, and the endpoint "
            f"{name} generates none"
        )
    if settings.batch_inputs is not None and endpoint.inputs_are not in DEFAULT_BATCH_INPUTS:
        sentences.append(
            f"--batch-inputs is for {_batching()}, and the endpoint is {name}: --extra-body has its own fields"
        )
    elif settings.batch_inputs is not None and settings.dataset is not None and settings.recipe is None:
        sentences.append("--batch-inputs is for simulated inputs, and the rows of --dataset say how many they have")
    return sentences + _numbers_missing(name, settings, (*endpoint.measures, *HAS))


def _numbers_missing(name: str, settings: Settings, numbers: Sequence[str]) -> list[str]:
    """Objectives and goals on numbers that the endpoint does not have."""
    sentences, has = [], ", ".join(numbers)
    for objective in objectives.parse(settings.slo):
        if objective.metric not in numbers:
            missing = f"the endpoint {name} generates no text, so there is no {objective.metric}"
            sentences.append(f'--slo "{objective.text}": {missing}: use {has}')
    for goal in precision.parse(settings.until):
        if goal.metric not in numbers:
            sentences.append(
                f'--until "{goal}": the endpoint {name} generates no text, so there is no {goal.metric}: use e2el:STATISTIC'
            )
    return sentences


def _of_inputs(name: str, settings: Settings, given: Collection[str]) -> list[str]:
    sentences = _metrics_missing(name, settings)
    if "batch_inputs" in given and settings.batch_inputs is not None:
        sentences.append(f"--batch-inputs is for --endpoint {_batching()}, and the endpoint is {name}")
    for objective in objectives.parse(settings.slo):
        if objective.metric == "inputs_per_s":
            sentences.append(
                f'--slo "{objective.text}": inputs are what {_batching()} have, and the endpoint is {name}: use '
                "requests_per_s"
            )
    return sentences


def _batching() -> str:
    *others, last = (name for name, endpoint in ENDPOINTS.items() if endpoint.inputs_are in DEFAULT_BATCH_INPUTS)
    return f"{', '.join(others)} and {last}"
