"""Finds objectives on numbers that a run cannot have."""

from __future__ import annotations

from bench.config.settings import Settings
from bench.metrics import objectives
from bench.metrics.catalog import OF_FEW, WHOLE_RESPONSE
from bench.metrics.objectives import Objective
from bench.modes.interface import inputs_of
from bench.traffic import models


def problems_of_objectives(settings: Settings, mode: str) -> list[str]:
    """A sentence for each objective on numbers that this run cannot have."""
    problems: list[str] = []
    if inputs_of(settings) is not None:
        return problems  # bench/config/tokenless.py handles such an endpoint.
    for objective in objectives.parse(settings.slo):
        if objective.of_jobs:
            problems += _job_problems(objective, settings, mode)
            continue
        if objective.of_answers:
            problems += _answer_problems(objective, settings)
            continue
        if objective.part is not None and (problem := _why_empty(settings, *objective.part)) is not None:
            problems.append(f'--slo "{objective.text}": {problem}')
        if objective.stat is None or objective.metric in WHOLE_RESPONSE | OF_FEW:
            continue
        if not settings.stream:
            problems.append(
                f'--slo "{objective.text}": with --no-stream there is no {objective.metric}, only e2el: '
                "leave --no-stream out, or use e2el"
            )
        elif objective.metric in objectives.BETWEEN_TOKENS and settings.output_tokens == "1":
            problems.append(
                f'--slo "{objective.text}": replies of one token have no {objective.metric}: ask for more --output-tokens'
            )
    return problems


def _job_problems(objective: Objective, settings: Settings, mode: str) -> list[str]:
    if mode != "sessions":
        reason = f"this is mode {mode}: use --mode sessions, or a latency of requests"
        return [f'--slo "{objective.text}": jobs are what sessions consist of, and {reason}']
    if objective.part is not None:
        return [f'--slo "{objective.text}": a job may go to several models: leave {{...}} out']
    if objective.metric == "jobs_per_hour_per_gpu" and settings.gpus is None:
        return [f'--slo "{objective.text}": say how many GPUs the server has, with --gpus']
    return []


def _answer_problems(objective: Objective, settings: Settings) -> list[str]:
    """Problems of an objective on checked answers."""
    if settings.check_answers is None:
        return [f'--slo "{objective.text}": answers are checked with --check-answers 5%: add it']
    if objective.part is not None:
        return [f'--slo "{objective.text}": probes are of no class and no model: leave {{...}} out']
    return []


def _why_empty(settings: Settings, kind: str, name: str) -> str | None:
    """Why no request belongs to this part of the run; None if some may."""
    mix = settings.traffic
    if kind == "class":
        if mix is None:
            return f"no request is of the class {name!r}: name the classes of the run with --mix"
        known = mix.shares.names
        return None if name in known else f"no request is of the class {name!r}: --mix has {', '.join(known)}"
    known = () if settings.model is None else models.parse(settings.model).names
    if settings.dataset is not None or mix is not None or name in known:
        return None
    names = f": --model names {', '.join(known)}" if known else ": name the models of the run with --model a=3,b=1"
    return f"no request goes to the model {name!r}{names}"
