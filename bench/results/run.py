"""The block `run` of summary.json and certificate.json: what was run, where, when and with which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import UNSET, UnsetType

from bench.results.base import Amount, Count, Result, Setting


class SentTexts(Result, frozen=True, kw_only=True):
    """Which texts a run sent: fresh ones, the same as in other runs of the seed, or the user's own."""

    texts: Literal["fresh", "same", "own"]
    salt: str | None
    """`python -m promptset --salt` makes the texts of a salt again. null: no salt."""


class FoundWarmup(Result, frozen=True, kw_only=True):
    """A warm-up whose end was found by the run (--warmup auto)."""

    lasted_s: Amount
    replies: Count
    """Replies that arrived during the warm-up."""
    whole: bool
    """Whether the first round of replies was among them; false: the longest time was over."""


class RunOrigin(Result, frozen=True, kw_only=True):
    """What was run: name, url, model, command, versions, host, config."""

    name: str | None
    id: str | None = None
    url: str
    endpoint: str | None = None
    model: str | None
    """Several models are separated by commas."""
    mode: str
    started: str
    """ISO 8601."""
    seed: int
    prompts: SentTexts | UnsetType | None = UNSET
    """null: unknown."""
    priority: str | UnsetType | None = UNSET
    """The scheduling priority of the client, in words. null: unknown."""
    stop_reason: str | None = None
    """What ended the load: requests, duration, precise enough, interrupted, killed, errors."""
    notes: Sequence[str] | None = None
    """Notes of the run about itself."""
    warmup: FoundWarmup | None = None
    """Missing unless the run found the end of its warm-up itself."""
    command: str | Sequence[str]
    versions: Mapping[str, str]
    host: Mapping[str, str | int]
    config: Mapping[str, Setting]
    """All settings, as in run.yaml."""
    changed: Mapping[str, Setting]
    """The settings that differ from their defaults."""
