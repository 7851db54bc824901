"""Finds settings of sessions that cannot be combined."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from bench.endpoints import ENDPOINTS
from bench.endpoints.choice import endpoint_of, name_of
from bench.modes.concurrency import Concurrency
from bench.modes.interface import flag
from bench.modes.rate import shape_problems
from promptset.errors import SpecError

if TYPE_CHECKING:
    from bench.modes.settings import Settings


def problems_of_sessions(settings: Settings, given: Collection[str]) -> list[str]:
    """A sentence for each problem. `given` contains the names of the settings that were given."""
    problems = _rate_problems(settings, given) if settings.rate is not None else _users_problems(settings, given)
    if settings.sessions_begin == "recorded":
        problems += _recorded_problems(settings, given)
    endpoint = name_of(settings)
    if not endpoint_of(settings).takes_messages:
        chats = ", ".join(name for name, entry in ENDPOINTS.items() if entry.takes_messages)
        problems.append(f"--mode sessions needs an endpoint of chats ({chats}): {endpoint} have no turns")
    recorded = is_recording(settings)
    problems += _recipe_problems(settings, given, recorded=recorded)
    unfit = ["columns", "text", "repeated_text", *(["tools", "tool_choice"] if recorded else ["bad_rows"])]
    for key in unfit:
        if key in given:
            problems.append(f"{flag(key)} cannot be combined with sessions: they have their own rows, in English words")
    if settings.dataset is not None:
        wrong = [key for key in ("turns", "think_time") if key in given]
        says = "the rows of a file of sessions say" if settings.recipe is None else "the recipe says"
        problems += [f"{flag(key)}: {says} that" for key in wrong]
    if settings.reasoning_in_history == "echo" and settings.history == "planned":
        problems.append("--reasoning-in-history echo needs --history real: planned answers have no reasoning")
    if settings.history == "stored" and endpoint != "responses":
        problems.append(f"--history stored needs --endpoint responses: {endpoint} keeps no conversations")
    if settings.history == "stored" and settings.reasoning_in_history == "echo":
        problems.append("--reasoning-in-history: with --history stored the server keeps its own reasoning")
    if settings.dataset is not None and settings.output_tokens is not None:
        says = "the turns of a file of sessions say" if settings.recipe is None else "the recipe says"
        problems.append(f"--output-tokens: {says} how long answers are")
    if recorded:
        wrong = [key for key in ("history", "reasoning_in_history") if key in given]
        problems += [f"{flag(key)}: the prompts of a recording do not depend on what a server answers" for key in wrong]
    elif "max_idle" in given:
        problems.append("--max-idle is for recorded sessions: name a file of them with --dataset")
    return problems


def problems_of_http_sessions(settings: Settings, given: Collection[str]) -> list[str]:
    """Settings that do not fit sessions with an HTTP service, which are rows of a file."""
    problems = _rate_problems(settings, given) if settings.rate is not None else _users_problems(settings, given)
    if settings.dataset is None:
        problems.append(
            '--mode sessions with --endpoint http needs a file of targets with a "session" each: --dataset FILE'
        )
    if settings.rows not in ("auto", "targets"):
        problems.append(f"--rows {settings.rows} has no sessions: use targets")
    if settings.body_template is not None:
        problems.append("--body-template cannot be combined with sessions of --endpoint http: each row has its body")
    problems += [
        f"{flag(key)}: the rows of a file of sessions say that" for key in ("turns", "think_time") if key in given
    ]
    unfit = ("history", "reasoning_in_history", "context_limit", "trace_speed", "sessions_begin", "max_idle")
    return problems + [f"{flag(key)}: requests of --endpoint http carry no history" for key in unfit if key in given]


def _recipe_problems(settings: Settings, given: Collection[str], *, recorded: bool) -> list[str]:
    """Settings that are only for recipes of sessions or for recordings, and settings that such a recipe defines itself."""
    if settings.recipe is None:
        problems = []
        if "context_limit" in given:
            problems.append(
                "--context-limit scales the lengths of a recipe of sessions: name one, as --dataset coding-agent"
            )
        if "trace_speed" in given and not recorded:
            problems.append(
                "--trace-speed shortens the pauses of a recipe of sessions: name one, as --dataset coding-agent, or a file "
                "of recorded sessions"
            )
        return problems
    wrong = [key for key in ("tools", "tool_choice") if key in given]
    return [f"{flag(key)}: the sessions of a recipe offer no tools" for key in wrong]


def _recorded_problems(settings: Settings, given: Collection[str]) -> list[str]:
    """Settings that cannot be combined with sessions that begin at recorded times."""
    problems = []
    if not is_recording(settings):
        problems.append("--sessions-begin recorded needs recorded sessions: name a file of them with --dataset")
    wrong = [key for key in ("concurrency", "rate", "ramp", "steps") if key in given]
    return problems + [
        f"{flag(key)} cannot be combined with --sessions-begin recorded, which says when" for key in wrong
    ]


def _users_problems(settings: Settings, given: Collection[str]) -> list[str]:
    problems = Concurrency.problems(settings, given)
    wrong = [key for key in ("arrivals", "burstiness") if key in given]
    return problems + [f"{flag(key)} is about new sessions at a --rate, and none is given" for key in wrong]


def _rate_problems(settings: Settings, given: Collection[str]) -> list[str]:
    """Settings that do not fit new sessions at a rate."""
    problems = shape_problems(settings, given)
    if settings.max_concurrency is not None:
        problems.append(
            "--max-concurrency cannot be combined with sessions at a --rate: to limit the sessions, use --concurrency"
        )
    if settings.ramp_up:
        problems.append("--ramp-up is for users, and sessions at a --rate have none")
    if settings.sessions_begin == "middle":
        problems.append(
            "--sessions-begin middle needs a number of sessions that is held (--concurrency): with --rate, sessions begin "
            "one by one"
        )
    return problems


def flag_for_answers(settings: Settings) -> str | None:
    """The flag that requires planned answers in the rows of a file; None if they are not required."""
    if settings.history == "planned":
        return "--history planned"
    return "--sessions-begin middle" if settings.sessions_begin == "middle" else None


def is_recording(settings: Settings) -> bool:
    """Whether --dataset is a file of recorded sessions."""
    if settings.dataset is None or settings.recipe is not None:
        return False
    from promptset.sessions import recorded

    try:
        return recorded.is_recording(Path(settings.dataset))
    except SpecError:
        return False  # An unreadable file is refused when it is opened.
