"""Recorded sessions: what the loaders of recordings make of their rows, whatever the format.

A recording has no texts: it says how many tokens each call of a model had, which of them were the same as before, when it was
sent and what it waited for. `promptset.sessions.recorded` makes sessions of it.
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
    """When it began, from the first call of its session on."""
    after: tuple[int, ...] = ()
    """Numbers of the calls that had ended when it began: those that ended last on each way to it."""
    pause_s: float = 0.0
    """From the end of the last of `after` to its begin; where it waits for none, from the begin of the session."""
    pause: Literal["human", "tool"] | None = None
    agent: str | None = None
    """The sub-agent that made it; None: the main one."""
    job: int | None = None
    """Number of its job, where the recording says it."""
    path: Path = ()
    """Names of the text that its prompt begins with: the same name is the same text, in every session. What follows is text
    of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSession:
    """The calls of one session, each behind those that it waits for."""

    id: str
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class RecordingFormat:
    """One format of recordings.

    `items` yields what is in a row, each with the key of its session, or None where the row is a session by itself; it raises
    SpecError for a row that cannot be read. `problems` says what is wrong with an item. `lengths` are the tokens of its
    prompts. `read` makes the session of a key from its items, in the order of the file. `shares` says whether an item that
    is a session by itself has text that other sessions have too; `begins` when an item began, on the clock of the file.
    Pauses are cut at `max_idle_s` where nobody says otherwise. `branches`: whether calls of a session may run beside each
    other.
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
    """The first tokens of a path."""
    kept = []
    for name, length in path:
        if tokens <= 0:
            break
        kept.append((name, min(length, tokens)))
        tokens -= length
    return tuple(kept)


def length_problems(key: str, value: object, least: int = 0) -> list[str]:
    """Problems with a number of tokens that must be there."""
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
    return [] if fits else [f"{key} must be a whole number of at least {least}, not {value!r}"]
