"""An engine's work for a request, as servers report it in their replies, and the outcome of its drafts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from operator import sub


@dataclass(frozen=True, slots=True)
class Drafts:
    """Speculative decoding so far: `proposed` draft tokens, and the number of steps that accepted exactly 0, 1, 2 ...
    drafts.

    A step emits one token more than it accepts: the model's own.
    """

    proposed: int
    histogram: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Steps that verified drafts."""
        return sum(self.histogram)

    @property
    def accepted(self) -> int:
        """The number of accepted draft tokens."""
        return sum(number * steps for number, steps in enumerate(self.histogram))

    @property
    def accepted_at(self) -> tuple[int, ...]:
        """For each draft position, first to last, the number of steps that accepted the draft there."""
        return tuple(accumulate(reversed(self.histogram[1:])))[::-1]

    def facts(self) -> dict[str, int]:
        return {"draft_steps": self.steps, "draft_tokens": self.proposed, "accepted_tokens": self.accepted}

    def since(self, earlier: Drafts) -> Drafts:
        """The difference to an earlier state."""
        return Drafts(self.proposed - earlier.proposed, tuple(map(sub, self.histogram, earlier.histogram)))


class DraftCounts:
    """Counts steps with drafts, for a request or a whole engine."""

    __slots__ = ("_histogram", "_proposed")

    def __init__(self, most: int) -> None:
        """`most` is the maximum number of drafts per step."""
        self._proposed = 0
        self._histogram = [0] * (most + 1)

    def observe(self, proposed: int, accepted: int) -> None:
        """Record a step that proposed and accepted this many drafts. A step without drafts is not counted."""
        if proposed > 0:
            self._proposed += proposed
            self._histogram[accepted] += 1

    def so_far(self) -> Drafts:
        return Drafts(self._proposed, tuple(self._histogram))


@dataclass(frozen=True, slots=True)
class Work:
    """The work for a request so far, in the engine's own times. None: it has not happened, or this engine has no such
    value."""

    queue_ns: int | None = None
    """From the queue to the first step."""
    prefill_ns: int | None = None
    """From the first step to the first token."""
    decode_ns: int | None = None
    """From the first token to the last one."""
    cached_tokens: int | None = None
    """Prompt tokens found in the prefix cache."""
    drafts: Drafts | None = None
    preemptions: int = 0
