"""The interface of a kind of probe: how probes are generated, and how a server that knows them solves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from promptset.probes import codes
from promptset.probes.values import Probe, Question, Solution
from promptset.rng import Random


@dataclass(frozen=True, slots=True)
class Option:
    """An integer option of a kind: `retrieve:tokens=4000`."""

    default: int
    low: int
    high: int
    doc: str


@dataclass(frozen=True, slots=True)
class Draw:
    """The inputs from which a probe is generated."""

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
        """`count` different common words."""
        left = list(codes.words())
        return [left.pop(self.whole(0, len(left) - 1)) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class ProbeKind:
    """A kind of probe. `make` and `solve` share the text of the question, which appears once in its file."""

    about: str
    sign: str
    """The last sentence of every question of this kind, and of no other text. It ends with "nothing else."."""
    make: Callable[[Draw], Probe]
    solve: Callable[[Question], Solution | None]
    """Returns None if the text has the sign but is not such a question."""
    options: Mapping[str, Option] = field(default_factory=dict)
