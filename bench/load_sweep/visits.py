"""Which loads a sweep visits, how often, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench import loads
from bench.errors import UsageError
from bench.loads import KINDS, LoadName

MOST_REPEATS = 100


@dataclass(frozen=True, slots=True)
class Visit:
    """One run of a sweep: its number `n` (from 0), its load, and which repeat of that load it is (from 1)."""

    n: int
    load: float
    repeat: int
    name: str
    """The name of its directory."""


@dataclass(frozen=True, slots=True)
class Loads:
    """The loads of `--loads`, rising, and how often each is visited."""

    kind: LoadName
    values: tuple[float, ...]
    repeats: int = 1

    @property
    def unit(self) -> str:
        return KINDS[self.kind].unit

    def named(self, load: float) -> str:
        """A load with its unit: 1 user, 1,000 users."""
        return f"{load:,g} {KINDS[self.kind].one if load == 1 else self.unit}"

    @property
    def whole(self) -> bool:
        """Whether the load is an integer: users, sessions."""
        return KINDS[self.kind].whole

    def settings(self, load: float) -> dict[str, Any]:
        """The settings of a run at this load. `until` is cleared: only the time ends the run."""
        return {**KINDS[self.kind].flags(load), "until": ()}

    def visits(self) -> Iterator[Visit]:
        """Up, then down, and so on (ABBA), so that drift affects all loads alike."""
        n = 0
        for repeat in range(1, self.repeats + 1):
            for load in self.values if repeat % 2 else reversed(self.values):
                yield Visit(n, load, repeat, f"{self.kind}-{load:g}-{repeat}")
                n += 1


def parse(text: str, repeats: int = 1) -> Loads:
    """`concurrency=1..256x2`, `rate=5,10,20` or `sessions=1..64x2`. Raises UsageError."""
    kind, equals, listed = text.partition("=")
    if kind not in KINDS or not equals:
        raise UsageError(
            f"--loads {text}: write concurrency=1..256x2 (users), rate=5,10,20 (requests per second) or sessions=1..64x2 "
            "(live sessions)"
        )
    try:
        values = loads.parse(listed, whole=KINDS[kind].whole, unit=KINDS[kind].unit)
    except ValueError as e:
        raise UsageError(f"--loads: {e}") from e
    if not 1 <= repeats <= MOST_REPEATS:
        raise UsageError(f"--repeats {repeats}: give 1 to {MOST_REPEATS}")
    return Loads(KINDS[kind].name, tuple(sorted(set(values))), repeats)
