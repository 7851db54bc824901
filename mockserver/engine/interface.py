"""What an engine is, and what it is handed. Engines are pure: given the time, they never read a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mockserver.plan import Plan


@dataclass(frozen=True, slots=True)
class Work:
    """A request as an engine sees it."""

    received_ns: int
    """The instant from which the plan counts."""
    plan: Plan
    input_tokens: int | None = None
    """None where the engine did not ask for it (`needs_input_tokens`)."""


class Engine(Protocol):
    """What drives the tokens of all requests."""

    needs_input_tokens: bool
    """Whether a request must be counted before it is admitted."""

    def admit(self, key: int, work: Work) -> None:
        """Take a request in; `key` names it from now on."""

    def release(self, key: int) -> dict[str, int]:
        """The request is over, finished or not: forget it. What the engine has to say about it goes into the ledger."""

    def next_ns(self) -> int | None:
        """The instant at which the next tokens come out; None when there is nothing to do."""

    def step(self, now_ns: int) -> list[tuple[int, int]]:
        """What has come out by `now_ns` and was not given before: (key, tokens), in the order of their instants."""
