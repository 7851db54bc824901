"""What an engine has done for a request, as servers say it in their replies, and what became of its drafts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from operator import sub


@dataclass(frozen=True, slots=True)
class Drafts:
    """Speculative decoding so far: `proposed` draft tokens, and how many steps accepted exactly 0, 1, 2 ... of theirs.

    A step gives one token more than it accepts: that token is the model's own.
    """

    proposed: int
    histogram: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Steps that verified drafts."""
        return sum(self.histogram)

    @property
    def accepted(self) -> int:
        """Draft tokens that were right."""
        return sum(number * steps for number, steps in enumerate(self.histogram))

    @property
    def accepted_at(self) -> tuple[int, ...]:
        """Of the steps, those that accepted the draft at each position, the first one first."""
        return tuple(accumulate(reversed(self.histogram[1:])))[::-1]

    def facts(self) -> dict[str, int]:
        return {"draft_steps": self.steps, "draft_tokens": self.proposed, "accepted_tokens": self.accepted}

    def since(self, earlier: Drafts) -> Drafts:
        """What came after an earlier state."""
        return Drafts(self.proposed - earlier.proposed, tuple(map(sub, self.histogram, earlier.histogram)))


class DraftCounts:
    """Counts steps with drafts, of a request or of a whole engine."""

    __slots__ = ("_histogram", "_proposed")

    def __init__(self, most: int) -> None:
        """`most`: drafts that a step can propose."""
        self._proposed = 0
        self._histogram = [0] * (most + 1)

    def observe(self, proposed: int, accepted: int) -> None:
        """A step that proposed so many drafts and accepted so many of them. One without drafts is none."""
        if proposed > 0:
            self._proposed += proposed
            self._histogram[accepted] += 1

    def so_far(self) -> Drafts:
        return Drafts(self._proposed, tuple(self._histogram))


@dataclass(frozen=True, slots=True)
class Work:
    """What was done for a request so far, by the engine's own instants. None: it did not happen, or this engine has no such
    thing."""

    queue_ns: int | None = None
    """From the queue to the first step."""
    prefill_ns: int | None = None
    """From the first step to the first token."""
    decode_ns: int | None = None
    """From the first token to the last one."""
    cached_tokens: int | None = None
    """Tokens of the prompt that were found in the prefix cache."""
    drafts: Drafts | None = None
    preemptions: int = 0
