"""Settings of endpoints that generate no text (embeddings, rerank): what has no meaning there is refused, all at once."""

from __future__ import annotations

from collections.abc import Collection

from bench.config.settings import Settings
from bench.endpoints import DEFAULT, ENDPOINTS, urls
from bench.endpoints.inputs import FIELDS_OF_TEXT
from bench.metrics import objectives, precision

_OF_TEXT = ("output_tokens", "ignore_eos", "tools", "tool_choice")
"""Settings about generated text."""
HAS = ("e2el", "e2el_from_intended", "error_rate", "goodput", "requests_per_s", "inputs_per_s", "input_tokens_per_s")
"""The numbers that a run of such an endpoint has, by the names of objectives."""


def problems(settings: Settings, given: Collection[str]) -> list[str]:
    """A sentence for each thing that does not go with the endpoint; of another endpoint, for what only these have."""
    name = settings.endpoint or urls.endpoint_of(settings.url) or DEFAULT
    if ENDPOINTS[name].inputs_are is None:
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
    has = ", ".join(HAS)
    for objective in objectives.parse(settings.slo):
        if objective.metric not in HAS:
            missing = f"the endpoint {name} generates no text, so there is no {objective.metric}"
            found.append(f'--slo "{objective.text}": {missing}: use {has}')
    for goal in precision.parse(settings.until):
        if goal.metric not in HAS:
            found.append(
                f'--until "{goal}": the endpoint {name} generates no text, so there is no {goal.metric}: use e2el:STATISTIC'
            )
    return found


def _of_inputs(name: str, settings: Settings, given: Collection[str]) -> list[str]:
    *others, last = (endpoint for endpoint, api in ENDPOINTS.items() if api.inputs_are is not None)
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
