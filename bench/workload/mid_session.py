"""Sessions that begin in the middle, as in a service that has run for a long time.

At a random instant, a service is in a session with a probability proportional to its length, and all instants of the
session are equally likely. So the sessions are laid end to end, and equally spaced instants are drawn from that line,
one per user. The length of answers is not known beforehand: each is assumed to need ANSWER_NS_PER_TOKEN per requested
token.

Turns that had begun by that instant belong to the time before the run: they are not sent, and their planned answers are
in the history. The other turns are due as if the earlier ones had ended by plan. So the run does not begin with a
burst.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.clock import NS_PER_S

if TYPE_CHECKING:
    from bench.rng import Random
    from promptset.sessions import Session

ANSWER_NS_PER_TOKEN = 20_000_000
"""50 tokens a second, a usual speed. It only decides where the first sessions begin."""
ANSWER_TOKENS = 128
"""For an answer whose length the data does not give."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a session begins. Times in ns from the instant at which it begins in the run.

    `began_ns`: when it began by its plan; negative if it begins in the middle. `ended_ns`: when each turn before the
    run ended, by its number; one that was in progress ends later.
    """

    began_ns: int = 0
    ended_ns: Mapping[int, int] = field(default_factory=dict)


FRESH = Beginning()
"""At once, with the first turn."""


def planned_times(session: Session) -> tuple[list[int], list[int]]:
    """When each turn is sent and ends by the plan, in ns from the beginning of the session."""
    starts: list[int] = []
    ends: list[int] = []
    for turn, node in zip(session.turns, session.nodes, strict=True):
        start = max((ends[before] for before in node.after), default=0) + round(turn.think_time_s * NS_PER_S)
        tokens = ANSWER_TOKENS if turn.output_tokens is None else turn.output_tokens
        starts.append(start)
        ends.append(start + tokens * ANSWER_NS_PER_TOKEN)
    return starts, ends


def instants(lasts_ns: Sequence[int], users: int, chance: Random) -> list[tuple[int, int]]:
    """For each user, which session it is in and how far into it, in ns; `lasts_ns`: how long the sessions last."""
    total = sum(lasts_ns)
    at = chance.random()
    drawn: list[tuple[int, int]] = []
    number, begin = 0, 0
    for user in range(users):
        instant = min(int((user + at) * total / users), total - 1)
        while instant >= begin + lasts_ns[number]:
            begin += lasts_ns[number]
            number += 1
        drawn.append((number, instant - begin))
    chance.shuffle(drawn)
    return drawn


def without_doubles(drawn: Sequence[tuple[int, int]], lasts_ns: Sequence[int]) -> list[tuple[int, int]]:
    """The same, but if two users are in one session, the second moves to the longest empty session, to the same
    relative place. Two users with the same texts would share a cache. If there are fewer sessions than users, some stay
    together."""
    taken = {number for number, _ in drawn}
    free = sorted((number for number in range(len(lasts_ns)) if number not in taken), key=lambda n: (lasts_ns[n], n))
    placed: list[tuple[int, int]] = []
    visited: set[int] = set()
    for number, at_ns in drawn:
        if number in visited and free:
            other = free.pop()
            at_ns = at_ns * lasts_ns[other] // lasts_ns[number]
            number = other
        visited.add(number)
        placed.append((number, at_ns))
    return placed


def beginning_at(session: Session, at_ns: int) -> Beginning | None:
    """How a session begins at this instant of its plan. Returns None if no turn is left to send."""
    starts, ends = planned_times(session)
    before = {number: ends[number] - at_ns for number, start in enumerate(starts) if start <= at_ns}
    return None if len(before) == len(starts) else Beginning(-at_ns, before)


def rest_ns(session: Session, at_ns: int) -> int:
    """The remaining length of a session at this instant of its plan."""
    return max(planned_times(session)[1]) - at_ns
