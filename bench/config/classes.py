"""The classes of --mix as settings: each class has the settings of the run, overridden by its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pydantic import ValidationError

from bench.config import tokenless
from bench.config.data_problems import problems_of_data
from bench.config.objective_problems import problems_of_objectives
from bench.config.sentences import sentences
from bench.config.settings import Settings
from bench.endpoints import ENDPOINTS
from bench.endpoints.choice import name_of
from bench.metrics import objectives
from bench.modes.interface import inputs_of
from bench.traffic.classes import TrafficClass, TrafficMix, readable

MODES_WITH_CLASSES = ("concurrency", "rate", "throughput")
_OF_RATES = ("arrivals", "burstiness")


def settings_of(settings: Settings, mode: str, mix: TrafficMix, traffic: TrafficClass) -> Settings:
    """The settings for the requests of a class, with its own seed and rate."""
    changes: dict[str, object] = {
        "mode": mode,
        "mix": None,
        "slo": (),
        "seed": traffic.seed(settings.seed),
        **traffic.settings,
    }
    if "burstiness" in traffic.settings and "arrivals" not in traffic.settings:
        changes["arrivals"] = (
            None  # A burstiness selects an arrival process with a shape, whatever the run's process is.
        )
    return settings.model_copy(update=changes | ({"rate": traffic.weight} if mix.rates else {}))


def checked_classes(settings: Settings, mode: str) -> tuple[Settings, list[str]]:
    """The settings with the validated settings of the classes, and a sentence for each problem."""
    mix = settings.traffic
    if mix is None or settings.mix is None:
        return settings, []
    problems = [f"--mix: {problem}" for problem in _of_load(settings, mode, mix)]
    rows = []
    for traffic, row in zip(mix.classes, settings.mix["classes"], strict=True):
        checked, wrong = _checked(traffic)
        for problem in wrong or _together(settings, settings_of(settings, mode, mix, checked), mode, traffic, mix):
            problems.append(f"--mix: class {traffic.name}: {problem}")
        rows.append({**row, **checked.settings})
    return settings.model_copy(update={"mix": {**settings.mix, "classes": rows}}), problems


def _of_load(settings: Settings, mode: str, mix: TrafficMix) -> Iterator[str]:
    if mode not in MODES_WITH_CLASSES:
        yield f"classes are for --mode {', '.join(MODES_WITH_CLASSES)}, and this is mode {mode}"
    elif mix.rates and mode != "rate":
        yield f"rates of classes are for --mode rate, and this is mode {mode}: give the classes shares"
    elif mix.rates and settings.segments:
        yield f"{settings.segments_flag} sets the rate: give the classes shares"


def _checked(traffic: TrafficClass) -> tuple[TrafficClass, list[str]]:
    """The class with its validated settings, and the problems."""
    used, problems = _used(traffic.settings)
    return replace(traffic, settings=used), problems


def _used(settings: Mapping[str, object]) -> tuple[Mapping[str, object], list[str]]:
    try:
        made = Settings.model_validate({"url": "http://unknown", **settings})
    except ValidationError as e:
        return settings, [problem for error in e.errors() for problem in sentences(error, lambda key: key)]
    return {key: getattr(made, key) for key in settings}, []


def problems_beside(written: object) -> list[str]:
    """Problems of the classes' settings, for a file in which other problems were already found."""
    return [f"--mix: class {name}: {problem}" for name, settings in readable(written) for problem in _used(settings)[1]]


def _together(run: Settings, made: Settings, mode: str, traffic: TrafficClass, mix: TrafficMix) -> list[str]:
    """Settings of one class that cannot be combined."""
    given = traffic.settings
    problems = [
        *problems_of_data(made, given),
        *(tokenless.problems(made, given) if inputs_of(made) == inputs_of(run) else ()),
        *problems_of_objectives(made, mode),
    ]
    if inputs_of(made) != inputs_of(run):
        words = "one run cannot mix endpoints with and without generated text, or with different inputs"
        problems.append(f"endpoint: {words}, and that of the run is {name_of(run)}")
    if given.get("endpoint") not in (None, *ENDPOINTS):
        known = ", ".join(ENDPOINTS)
        problems.append(f"endpoint: a class has one of {known}; a file or a package is for the whole run")
    if not mix.rates:
        problems += [f"{key} needs a class with a rate, and this one has a share" for key in _OF_RATES if key in given]
    problems += [
        f'slo "{objective.text}": an objective of a class covers the whole class'
        for objective in objectives.parse(made.slo)
        if objective.part is not None
    ]
    # Messages about flags become messages about the keys of a class.
    return [re.sub(r"--([a-z][a-z-]*)", lambda match: match[1].replace("-", "_"), problem) for problem in problems]
