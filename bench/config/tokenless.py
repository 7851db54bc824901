"""Settings of endpoints that generate no text (embeddings, rerank): what has no meaning there is refused, all at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bench.config.settings import Settings
from bench.endpoints import ENDPOINTS
from bench.endpoints.choice import endpoint_of, name_of
from bench.endpoints.inputs import FIELDS_OF_TEXT
from bench.metrics import objectives, precision

_OF_TEXT = ("output_tokens", "ignore_eos", "tools", "tool_choice", "store_texts")
"""Settings about generated text."""
_OF_PROMPTS = (
    *_OF_TEXT, "input_tokens", "batch_inputs", "text", "repeated_text", "columns", "prefix", "tokenizer",
    "extra_body", "model", "images", "prompt_ids", "stream", "websocket",
)  # fmt: skip
"""Settings about prompts or models, which requests of any HTTP service have none of."""
_OF_HTTP = ("method", "body", "body_template", "rows", "expect")
HAS = ("e2el", "e2el_from_intended", "error_rate", "goodput", "requests_per_s", "inputs_per_s", "input_tokens_per_s")
"""The numbers that a run of such an endpoint has, by the names of objectives."""
HTTP_HAS = ("ttfb", "e2el", "e2el_from_intended", "error_rate", "goodput", "requests_per_s")
"""The metrics of a run of any HTTP service."""
HTTP = "http"


def problems(settings: Settings, given: Collection[str]) -> list[str]:
    """A sentence for each thing that does not go with the endpoint; of another endpoint, for what only these have."""
    name = name_of(settings)
    if name == HTTP:
        return _of_http(settings, given)
    foreign = [f"{_flag(key)} is for --endpoint http, and the endpoint is {name}" for key in _OF_HTTP if key in given]
    return foreign + _of_api(name, settings, given)


def _of_http(settings: Settings, given: Collection[str]) -> list[str]:
    """What does not go with requests of any HTTP service."""
    found = [
        f"{_flag(key)} is about prompts or models, and --endpoint http has neither: leave it out"
        for key in _OF_PROMPTS
        if key in given and getattr(settings, key) is not None
    ]
    if settings.mix is not None:
        found.append("--mix: a class of traffic has prompts, and --endpoint http has none: name the requests of a file")
    bodies = [key for key in ("body", "body_template") if getattr(settings, key) is not None]
    if len(bodies) == 2:
        found.append("--body and --body-template cannot be combined: use only one of them")
    if settings.dataset is not None and settings.recipe is not None:
        found.append(
            f"--dataset {settings.dataset}: a recipe makes prompts, and --endpoint http sends requests of a file"
        )
    elif settings.dataset is not None and bodies == ["body"]:
        found.append("--body and --dataset cannot be combined: rows are bodies; --body-template puts columns into one")
    if settings.dataset is None and settings.rows != "auto":
        found.append("--rows says what --dataset holds: name the file with --dataset")
    if settings.dataset is not None and settings.rows == "columns" and settings.body_template is None:
        found.append("--rows columns needs --body-template, which puts the columns into a body")
    return found + _numbers_missing(HTTP, settings, HTTP_HAS)


def _of_api(name: str, settings: Settings, given: Collection[str]) -> list[str]:
    if endpoint_of(settings).generates:
        return _of_inputs(name, settings, given)
    found = []
    wrong = [_flag(key) for key in _OF_TEXT if key in given and getattr(settings, key) not in (None, False)]
    if wrong:
        words = ", ".join(wrong[:-1]) + f" and {wrong[-1]}" if len(wrong) > 1 else wrong[0]
        verb, them = ("are", "them") if len(wrong) > 1 else ("is", "it")
        found.append(f"{words} {verb} about generated text, and the endpoint {name} generates none: leave {them} out")
    if fields := [key for key in FIELDS_OF_TEXT if settings.extra_body is not None and key in settings.extra_body]:
        found.append(
            f"--extra-body: {', '.join(fields)} {'is' if len(fields) == 1 else 'are'} about generated text, and the endpoint "
            f"{name} generates none"
        )
    if settings.batch_inputs is not None and settings.dataset is not None and settings.recipe is None:
        found.append("--batch-inputs is for simulated inputs, and the rows of --dataset say how many they have")
    return found + _numbers_missing(name, settings, HAS)


def _numbers_missing(name: str, settings: Settings, numbers: Sequence[str]) -> list[str]:
    """Objectives and goals on numbers that the endpoint does not have."""
    found, has = [], ", ".join(numbers)
    for objective in objectives.parse(settings.slo):
        if objective.metric not in numbers:
            missing = f"the endpoint {name} generates no text, so there is no {objective.metric}"
            found.append(f'--slo "{objective.text}": {missing}: use {has}')
    for goal in precision.parse(settings.until):
        if goal.metric not in numbers:
            found.append(
                f'--until "{goal}": the endpoint {name} generates no text, so there is no {goal.metric}: use e2el:STATISTIC'
            )
    return found


def _of_inputs(name: str, settings: Settings, given: Collection[str]) -> list[str]:
    *others, last = (
        endpoint for endpoint, api in ENDPOINTS.items() if api.inputs_are is not None and api.counts_tokens
    )
    own = f"{', '.join(others)} and {last}"
    found = []
    if "batch_inputs" in given and settings.batch_inputs is not None:
        found.append(f"--batch-inputs is for --endpoint {own}, and the endpoint is {name}")
    for objective in objectives.parse(settings.slo):
        if objective.metric == "inputs_per_s":
            found.append(
                f'--slo "{objective.text}": inputs are what {own} have, and the endpoint is {name}: use requests_per_s'
            )
    return found


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"
