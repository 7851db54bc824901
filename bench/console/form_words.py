"""The texts of the form, which asks about the load and the source of requests in everyday terms.

Settings are described in terms of the command line. This module has the choices that replace them, labels with units,
and `plain`, which removes flags from a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.config.tokenless import HTTP, OF_HTTP, OF_PROMPTS
from bench.console.language import Phrase, tr
from promptset import recipes


@dataclass(frozen=True, slots=True)
class Choice:
    """An option to choose: its value, its title, and an explanation."""

    value: str
    title: str
    about: str


MODES = (
    Choice("concurrency", tr("Fixed users"), tr("Each user sends the next request when the last one is answered.")),
    Choice("rate", tr("Fixed rate"), tr("Requests arrive at a rate, however slow the server is.")),
    Choice("throughput", tr("Maximum throughput"), tr("As many at once as you allow, to find the ceiling.")),
    Choice("sessions", tr("Conversations"), tr("Users hold conversations of several turns.")),
    Choice("trace", tr("Recorded traffic"), tr("Each request of a recording at its own time.")),
)
"""The modes of a load: four that most people look for, and a fifth."""

DATA = (
    Choice("simulated", tr("Simulated"), tr("Texts of the lengths that you say.")),
    Choice("recipe", tr("Public recipe"), tr("Requests like those of a known service.")),
    Choice("file", tr("My file"), tr("One that was uploaded under Data.")),
    Choice("url", tr("A URL"), tr("The console fetches a file of requests.")),
    Choice("body", tr("One request"), tr("The same body each time, in JSON.")),
)
"""The sources of requests."""

NUMBERS = (
    "concurrency", "rate", "max_concurrency", "turns", "think_time", "trace_speed", "duration", "requests", "warmup",
)  # fmt: skip
"""Amount and duration of the load: the settings below the mode."""

NUMBERS_WITHOUT_MODE = ("duration", "requests", "warmup")
"""The same for tasks that choose their loads themselves."""

LABELS = {
    "concurrency": tr("Users"),
    "rate": tr("Requests per second"),
    "max_concurrency": tr("Requests at once, at most"),
    "requests": tr("Requests in all"),
    "duration": tr("Duration"),
    "warmup": tr("Warm-up"),
    "input_tokens": tr("Prompt, tokens"),
    "output_tokens": tr("Answer, tokens"),
    "think_time": tr("Pause between turns"),
    "load": tr("What to vary"),
    "start": tr("First load"),
    "min": tr("Lowest load"),
    "max": tr("Highest load"),
    "budget": tr("Time for the search"),
    "require": tr("Load that must be held"),
    "repeats": tr("Visits of each load"),
    "slo": tr("Objectives, one on a line"),
    "probes": tr("Probes"),
    "share": tr("Share of probes"),
    "alone": tr("Times each is asked alone"),
    "margin": tr("Margin"),
    "expect": tr("Expected of each reply, one on a line"),
    "rows": tr("Format of the file"),
    "dataset": tr("Data"),
    "url": tr("URL"),
    "api_key": tr("API key"),
    "ca_file": tr("CA file"),
    "ignore_eos": tr("Ignore EOS"),
    "gpus": tr("GPUs"),
    "otlp": tr("OTLP collector"),
    "gpu_metrics": tr("GPU metrics"),
    "gpu_hour_cost": tr("GPU hour cost"),
    "cpu_priority": tr("CPU priority"),
}

HINTS = {
    "concurrency": (tr("how many at the same time"), "10"),
    "rate": (tr("on average"), ""),
    "max_concurrency": (tr("more wait until one has ended"), ""),
    "duration": (tr("such as 90s, 5m or 1h; 60 s if nothing ends it"), ""),
    "requests": (tr("end after so many"), ""),
    "warmup": (tr("a time or a number of requests that no number counts; auto finds its end"), ""),
    "turns": (tr("questions of one conversation: a number or a distribution"), ""),
    "input_tokens": (tr("a number, or a distribution such as normal:mean=1024,std=200"), "1024"),
    "output_tokens": (tr("a number, or a distribution such as uniform:100..500"), "128"),
    "think_time": (tr("between an answer and the next question: a time or a distribution"), "0s"),
    "trace_speed": (tr("this many times as fast as it was recorded"), "1"),
    "loads": (
        tr(
            "users from 1 to 256 by the factor 2; or rate=5,10,20 for requests per second, sessions=1..64x2 for conversations"
        ),
        "concurrency=1..256x2",
    ),
    "url": (
        tr(
            "with or without /v1, or the whole path; several replicas one on a line, URL=3 for three times the requests"
        ),
        "http://host:8000",
    ),
    "endpoint": (tr("which API of the server"), tr("chat, or what the URL names")),
    "stream": (tr("answers come token by token; otherwise whole, without TTFT, TPOT and ITL"), "on"),
    "arrivals": (tr("arrival process of a rate: poisson, gamma, constant"), "poisson"),
    "slo": (tr("such as ttft:p99<500ms or error_rate<1%: the task says whether it held"), ""),
}
"""The hint below each field, and its placeholder. They replace the command line's help."""

OF_QUALITY = ("probes", "share", "alone", "margin")
"""The settings of checked answers, shown beside the load of such a task."""

_EXCLUSIVE = {"concurrency": ("concurrency", "sessions"), "rate": ("rate", "sessions")}
"""Settings that only loads of these modes have. Values typed for another mode are ignored."""


def label_of(name: str) -> Phrase:
    """The form's label of a setting."""
    return LABELS.get(name) or Phrase(name.replace("_", " ").capitalize())


def plain(text: str, field: str | None = None, label: Callable[[str], str] = label_of) -> str:
    """Rewrite a command-line sentence for the form. `field` is the setting whose field shows it; `label` gives the
    label of a setting. Sentences of the console itself have no flags."""
    if isinstance(text, Phrase):
        return text
    text = re.sub(r"\s*\((?:default: )?python -m [^)]*\)", "", text)
    text = re.sub(r"; may be repeated\b", "", text)
    text = re.sub(r"--endpoint http\b", "a test of any HTTP service", text)
    text = re.sub(r"(for example|such as) --[a-z-]+ ", r"\1 ", text)
    text = re.sub(r"\bexit 1 (if|unless|where)", r"the task fails \1", text)
    if field is not None:
        text = re.sub(rf"^--(?:no-)?{field.replace('_', '-')}: ?", "", text)

    def quoted(flag: re.Match[str]) -> str:
        return f"“{re.split('[,（]', label(flag[1].replace('-', '_')))[0]}”"

    return re.sub(r"--(?:no-)?([a-z][a-z-]*[a-z])", quoted, text)


def group_title(title: str) -> Phrase:
    """The form's title of a group of settings."""
    words = plain(title)
    return Phrase(words[:1].upper() + words[1:])


def mode_of(settings: Mapping[str, Any]) -> str:
    """The mode of these settings, explicit or implied."""
    return str(settings.get("mode") or ("rate" if settings.get("rate") else "concurrency"))


def data_of(settings: Mapping[str, Any]) -> str:
    """The source of requests in these settings."""
    dataset = settings.get("dataset")
    if not dataset:
        return "body" if settings.get("endpoint") == HTTP else "simulated"
    return "recipe" if recipes.is_recipe(str(dataset)) else "file"


def of_service(settings: Mapping[str, Any], *, is_llm: bool) -> dict[str, Any]:
    """The settings that apply to the service: an LLM or any other HTTP service."""
    foreign = OF_HTTP if is_llm else OF_PROMPTS
    remaining = {name: value for name, value in settings.items() if name not in foreign}
    if not is_llm:
        return {**remaining, "endpoint": HTTP}
    return {name: value for name, value in remaining.items() if (name, value) != ("endpoint", HTTP)}


def of_mode(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the settings of other modes, and `mode` itself if the rest implies it."""
    mode = settings.get("mode")
    if mode is None:
        return dict(settings)
    meant = {name: value for name, value in settings.items() if mode in _EXCLUSIVE.get(name, (mode,))}
    if mode == mode_of({name: value for name, value in meant.items() if name != "mode"}):
        del meant["mode"]
    return meant
