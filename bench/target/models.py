"""The models that a server lists: which of them a run uses, and a note if a requested model is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from bench.endpoints import urls
from bench.errors import TargetError
from bench.target import side_requests
from bench.transport.interface import Target


@dataclass(frozen=True, slots=True)
class ModelList:
    """The server's list: the ids of its models, and their owners (`owned_by`, which for some engines is the engine's
    name)."""

    ids: tuple[str, ...]
    owners: frozenset[str] = frozenset()


async def list_models(url: str, target: Target, timeout_s: float | None = None) -> ModelList | None:
    """The models that the server lists. Returns None if there is no list."""
    content = await side_requests.get(urls.models_url(url), target, timeout_s)
    try:
        rows = (
            [] if content is None else [(model["id"], model.get("owned_by")) for model in orjson.loads(content)["data"]]
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        # The probe will meet the same problem and report it better.
        return None
    ids = tuple(name for name, _ in rows if isinstance(name, str))
    return None if content is None else ModelList(ids, frozenset(owner for _, owner in rows if isinstance(owner, str)))


def choose_model(asked: str | None, listed: Sequence[str] | None, *, all_named: bool) -> str | None:
    """The model for requests that name none; `all_named`: every request names one. Raises TargetError if the choice is
    ambiguous."""
    if asked is not None or not listed:
        return asked
    if len(listed) > 1:
        if all_named:
            return None
        raise TargetError(f"the server has several models: choose one with --model ({some_of(listed)})")
    return listed[0]


def some_of(names: Sequence[str]) -> str:
    """Names for a sentence: all if there are few, else the first ten."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")


def unlisted(asked: Sequence[str | None], listed: Sequence[str] | None) -> list[str]:
    """A note about models that the server answered for without listing them; empty if there are none.

    A model may be listed with a tag or a path before it: Ollama lists `llama3:latest`, Gemini `models/gemini-2.5-pro`.
    """
    if not listed:
        return []
    known = {short for name in listed for short in (name, name.removesuffix(":latest"), name.rpartition("/")[2])}
    names = list(dict.fromkeys(repr(name) for name in asked if name is not None and name not in known))
    if not names:
        return []
    return [
        f"the server answers for model{'' if len(names) == 1 else 's'} {some_of(names)}, but lists only {some_of(listed)}: "
        "it may know the model by a second name, or ignore the name and use another model"
    ]
