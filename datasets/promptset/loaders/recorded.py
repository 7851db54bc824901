"""Recorded sessions: the common output of the recording loaders.

A recording has no texts. It has the tokens of each model call, which of them repeat earlier ones, its send time and the
calls it waited for. `promptset.sessions.recorded` turns it into sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from promptset.sharing import Path

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One recorded call of a model."""

    input_tokens: int
    output_tokens: int | None
    at_s: float
    """When it began, in seconds from the first call of its session."""
    after: tuple[int, ...] = ()
    """Numbers of the calls that had ended when it began: on each path to it, only the last."""
    pause_s: float = 0.0
    """From the end of the last of `after` to its beginning; without any, from the start of the session."""
    pause: Literal["human", "tool"] | None = None
    agent: str | None = None
    """The sub-agent that made the call. None: the main agent."""
    job: int | None = None
    """The number of its job, if recorded."""
    path: Path = ()
    """Names of the texts with which its prompt begins: equal names are equal texts, in every session. The rest is
    unique text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSession:
    """The calls of one session. Each comes after those that it waits for."""

    id: str
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class RecordingFormat:
    """One format of recordings.

    `items` yields the items of a row, each with the key of its session, or None if the row is a complete session; it
    raises SpecError for an unreadable row. `problems` lists the problems with an item. `lengths` yields the tokens of
    its prompts. `read` builds the session of a key from its items, in file order. `shares` returns whether an item that
    is a complete session shares text with other sessions; `begins` when an item began, on the clock of the file. By
    default pauses are cut at `max_idle_s`. `branches`: whether calls of a session may run in parallel.
    """

    recognizes: Callable[[Row], bool]
    items: Callable[[Row], Iterable[tuple[str | None, Row]]]
    problems: Callable[[Row], list[str]]
    lengths: Callable[[Row], Iterator[int]]
    read: Callable[[str, Sequence[Row]], RecordedSession | None]
    shares: Callable[[Row], bool]
    begins: Callable[[Row], float | None]
    max_idle_s: float
    branches: bool


def cut(path: Path, tokens: int) -> Path:
    """The first `tokens` tokens of a path."""
    prefix = []
    for name, length in path:
        if tokens <= 0:
            break
        prefix.append((name, min(length, tokens)))
        tokens -= length
    return tuple(prefix)


def length_problems(key: str, value: object, least: int = 0) -> list[str]:
    """Problems with a required number of tokens."""
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
    return [] if fits else [f"{key} must be a whole number of at least {least}, not {value!r}"]
