"""The words of the form: what a load is like and where requests come from, asked as a person thinks of it.

The settings have the words of a command line. Here are the choices that stand in their place, the labels with units, and
`plain`, which takes flags out of a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptset import recipes


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few things to choose: its value, what it is called, and what it means."""

    value: str
    title: str
    about: str
    fields: tuple[str, ...] = ()
    """The settings that belong to it."""


MODES = (
    Choice(
        "concurrency",
        "Fixed users",
        "Each user sends the next request when the last one is answered.",
        ("concurrency",),
    ),
    Choice("rate", "Fixed rate", "Requests arrive at a rate, however slow the server is.", ("rate",)),
    Choice(
        "throughput", "Maximum throughput", "As many at once as you allow, to find the ceiling.", ("max_concurrency",)
    ),
    Choice(
        "sessions",
        "Conversations",
        "Users hold conversations of several turns.",
        ("concurrency", "turns", "think_time"),
    ),
    Choice("trace", "Recorded traffic", "Each request of a recording at its own time.", ("trace_speed",)),
)
"""The modes of a load: four that most people look for, and a fifth."""

DATA = (
    Choice("simulated", "Simulated", "Texts of the lengths that you say.", ("input_tokens",)),
    Choice("recipe", "Public recipe", "Requests like those of a known service."),
    Choice("file", "My file", "One that was uploaded under Data."),
    Choice("url", "A URL", "The console fetches a file of requests."),
    Choice("body", "One request", "The same body each time, in JSON."),
)
"""Where the requests come from."""

NUMBERS = (
    "concurrency",
    "rate",
    "max_concurrency",
    "turns",
    "think_time",
    "trace_speed",
    "duration",
    "requests",
    "warmup",
)
"""How much load, and for how long: the settings that stand below the mode."""

NUMBERS_WITHOUT_MODE = ("duration", "requests", "warmup")
"""The same where a task chooses its loads itself."""

LABELS = {
    "concurrency": "Users",
    "rate": "Requests per second",
    "max_concurrency": "Requests at once, at most",
    "requests": "Requests in all",
    "duration": "Duration",
    "warmup": "Warm-up",
    "input_tokens": "Prompt, tokens",
    "output_tokens": "Answer, tokens",
    "think_time": "Pause between turns, seconds",
    "slo": "Objectives, one on a line",
    "dataset": "Data",
    "url": "URL",
    "ca_file": "CA file",
    "ignore_eos": "Ignore EOS",
    "gpus": "GPUs",
    "gpu_metrics": "GPU metrics",
    "gpu_hour_cost": "GPU hour cost",
    "cpu_priority": "CPU priority",
}

HINTS = {
    "concurrency": ("how many at the same time", "10"),
    "rate": ("on average", ""),
    "max_concurrency": ("more wait until one has ended", ""),
    "duration": ("such as 90s, 5m or 1h; 60 s if nothing ends it", ""),
    "requests": ("end after so many", ""),
    "warmup": ("a time or a number of requests that no number counts; auto finds its end", ""),
    "turns": ("questions of one conversation: a number or a distribution", ""),
    "input_tokens": ("a number, or a distribution such as normal:mean=1024,std=200", "1024"),
    "output_tokens": ("a number, or a distribution such as uniform:100..500", "128"),
    "slo": ("such as ttft:p99<500ms or error_rate<1%: the task says whether it held", ""),
}
"""The hint below each field, and its placeholder. They replace the help of the command line."""

_EXCLUSIVE = {"concurrency": ("concurrency", "sessions"), "rate": ("rate", "sessions")}
"""Settings that only loads of these modes have: typed for another choice, they are not meant."""


def label_of(name: str) -> str:
    """What the form calls a setting."""
    return LABELS.get(name) or name.replace("_", " ").capitalize()


def plain(text: str, field: str | None = None) -> str:
    """Rewrite a sentence of the command line for the form. `field` is the setting whose field shows it."""
    text = re.sub(r"\s*\((?:default: )?python -m [^)]*\)", "", text)
    text = re.sub(r"; may be repeated\b", "", text)
    text = re.sub(r"\bexit 1 (if|unless|where)", r"the task fails \1", text)
    if field is not None:
        text = re.sub(rf"^--(?:no-)?{field.replace('_', '-')}: ?", "", text)
    return re.sub(r"--(?:no-)?([a-z][a-z-]*[a-z])", _quoted, text)


def _quoted(flag: re.Match[str]) -> str:
    return f"“{label_of(flag[1].replace('-', '_')).partition(',')[0]}”"


def mode_of(settings: Mapping[str, Any]) -> str:
    """The mode that these settings have, said or implied."""
    return str(settings.get("mode") or ("rate" if settings.get("rate") else "concurrency"))


def data_of(settings: Mapping[str, Any]) -> str:
    """Where the requests of these settings come from."""
    dataset = settings.get("dataset")
    if not dataset:
        return "simulated"
    return "recipe" if recipes.is_recipe(str(dataset)) else "file"


def of_mode(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those of the modes that were not chosen, and without a mode that the others imply."""
    mode = settings.get("mode")
    if mode is None:
        return dict(settings)
    meant = {name: value for name, value in settings.items() if mode in _EXCLUSIVE.get(name, (mode,))}
    if mode == mode_of({name: value for name, value in meant.items() if name != "mode"}):
        del meant["mode"]
    return meant
