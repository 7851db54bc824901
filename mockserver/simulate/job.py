"""A job for the simulation, and its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mockserver.simulate.routers import ROUTERS


@dataclass(frozen=True, slots=True)
class Job:
    """The keys of the module docstring."""

    input_tokens: Sequence[int]
    output_tokens: Sequence[int]
    settings: Mapping[str, object] = field(default_factory=dict)
    at_us: Sequence[float] = ()
    prefix: Sequence[tuple[int, int]] = ()
    users: int | None = None
    replicas: int = 1
    router: str = "round_robin"
    changes: Sequence[tuple[float, int]] = ()
    until_us: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError with every problem."""
        problems = []
        if self.router not in ROUTERS:
            problems.append(f"router {self.router!r}: choose one of {', '.join(ROUTERS)}")
        if min((self.replicas, *(replicas for _, replicas in self.changes))) < 1:
            problems.append("replicas: at least 1 must be there at any time")
        many = len(self.input_tokens)
        lengths = {"output_tokens": len(self.output_tokens)}
        lengths |= {} if self.users is not None else {"at_us": len(self.at_us)}
        lengths |= {"prefix": len(self.prefix)} if self.prefix else {}
        problems += [
            f"{name} has {length} entries and input_tokens {many}" for name, length in lengths.items() if length != many
        ]
        if min((*self.input_tokens, *self.output_tokens), default=1) < 1:
            problems.append("input_tokens, output_tokens: each must be at least 1")
        if self.users is not None and self.users < 1:
            problems.append("users: at least 1")
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(slots=True)
class Outcome:
    """The times of each request, in us."""

    sent_us: list[float | None]
    first_us: list[float | None]
    last_us: list[float | None]
    replica: list[int | None]
