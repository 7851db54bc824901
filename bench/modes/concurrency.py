"""Fixed concurrency: N users, each of whom sends again as soon as the last response has ended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.modes.interface import UsersMode, ramp_ns

if TYPE_CHECKING:
    from bench.config.settings import Settings

DEFAULT_USERS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency(UsersMode):
    """So many users, who come in one by one over the ramp."""

    name = "concurrency"
    summary = "N users, each sends its next request when the last one is answered"

    users: int
    ramp_ns: int

    @classmethod
    def problems(cls, settings: Settings, given: Collection[str]) -> list[str]:
        """A cap has no use here."""
        if settings.max_concurrency is None:
            return []
        return ["--max-concurrency does not go with fixed concurrency: --concurrency is the number itself"]

    @classmethod
    def defaults(cls, settings: Settings) -> dict[str, Any]:
        """DEFAULT_USERS users, and DEFAULT_REQUESTS requests without a duration."""
        users = {} if settings.concurrency is not None else {"concurrency": DEFAULT_USERS}
        return {**UsersMode.defaults(settings), **users}

    @classmethod
    def of(cls, settings: Settings) -> Concurrency:
        """The load of complete settings."""
        users = DEFAULT_USERS if settings.concurrency is None else settings.concurrency
        return cls(users=users, ramp_ns=ramp_ns(settings))
