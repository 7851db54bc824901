"""The interface of a kind of probe: how it is made, and how a server that knows it solves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from promptset.probes import codes
from promptset.probes.values import Probe, Question, Solution
from promptset.rng import Random


@dataclass(frozen=True, slots=True)
class Option:
    """A whole number that a kind takes: `retrieve:tokens=4000`."""

    default: int
    low: int
    high: int
    doc: str


@dataclass(frozen=True, slots=True)
class Draw:
    """What a probe is made of."""

    probe_id: str
    seed: int
    salt: str | None
    slot: int
    index: int
    rng: Random
    options: Mapping[str, int]

    @property
    def code(self) -> str:
        """The probe's own code word."""
        return codes.code(self.seed, self.salt, self.slot, self.index)

    def decoy(self) -> str:
        """A code word that belongs to no probe."""
        return codes.decoy(self.seed, self.salt, self.rng)

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        return low + int(self.rng.random() * (high - low + 1))

    def words(self, count: int) -> list[str]:
        """Different common words."""
        left = list(codes.words())
        return [left.pop(self.whole(0, len(left) - 1)) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class ProbeKind:
    """A kind of probe. Its file has the text of the question once, for `make` and `solve`."""

    about: str
    sign: str
    """The last sentence of every question of this kind, and of no other text. It ends with "nothing else."."""
    make: Callable[[Draw], Probe]
    solve: Callable[[Question], Solution | None]
    """None if the text has the sign and is no such question after all."""
    options: Mapping[str, Option] = field(default_factory=dict)
