"""Random session graphs, and an oracle that computes when each turn is due, from the definition alone.

The definition: a turn is due when all turns that it depends on have ended and its pause is over. A turn whose history
contains the server's answer is sent when it is due and that answer has been read. A failed turn ends its session: turns
not sent by then are never sent. A user begins the next session when nothing of the previous one is in flight any more.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from promptset.sessions import Session, Turn

MS = 1_000_000


def random_session(seed: int, *, most_turns: int = 12, most_pause_ms: int = 40) -> Session:
    """A session of up to `most_turns` turns: chains, branches and joins; about half of the pauses are 0."""
    chance = random.Random(f"session graph {seed}")
    turns: list[Turn] = []
    ended_before: list[set[int]] = []
    for number in range(chance.randint(1, most_turns)):
        parents = sorted(chance.sample(range(number), min(number, chance.choice([1, 1, 1, 2, 3])))) if number else []
        if number and chance.random() < 0.05:
            parents = []  # Such a turn is due when the session begins.
        behind = set(parents).union(*(ended_before[parent] for parent in parents))
        ended_before.append(behind)
        pause_s = chance.choice([0.0, chance.uniform(0, most_pause_ms / 1000)])
        turns.append(
            Turn(
                content=f"{seed}.{number}",
                answer=f"planned {number}",
                output_tokens=chance.randint(1, 4),
                think_time_s=round(pause_s, 6),
                after=tuple(parents),
                continues=chance.choice([None, *sorted(behind)]),
                pause=chance.choice(["human", "tool"]) if pause_s else None,
                agent=chance.choice([None, None, f"agent {number}"]),
            )
        )
    return Session(id=f"graph-{seed}", turns=tuple(turns))


def parents_of(session: Session, turn: int) -> tuple[int, ...]:
    """The turns that a turn depends on, as in its row."""
    after = session.turns[turn].after
    if after is None:
        return (turn - 1,) if turn else ()
    return after


@dataclass(frozen=True, slots=True)
class Sent:
    """The expected times of a turn that is sent, in ns from the start of the load."""

    due_ns: int
    sent_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The time that the server takes for a turn, and whether the turn fails."""

    lasts_ns: int
    fails: bool = False


def expected(
    sessions: Sequence[Session],
    begins: Sequence[int] | int,
    reply: Callable[[int, int], Reply],
    *,
    real: bool = False,
    read_ns: int = 0,
) -> dict[tuple[int, int], Sent]:
    """By session and turn: every turn that must be sent, and when.

    `begins`: when each session arrives, or how many users hold sessions one after the other. `reply` returns the reply
    to a turn of a session. `real`: histories contain the server's answers, which have been read `read_ns` after their
    end.
    """
    found: dict[tuple[int, int], Sent] = {}
    if isinstance(begins, int):
        free = [0] * begins  # When each user is free; the first free user begins the next session.
        for number, session in enumerate(sessions):
            at_ns = heapq.heappop(free)
            turns = _of_session(number, session, at_ns, reply, real, read_ns)
            found |= turns
            heapq.heappush(free, max(sent.end_ns for sent in turns.values()))
    else:
        for number, (session, at_ns) in enumerate(zip(sessions, begins, strict=True)):
            found |= _of_session(number, session, at_ns, reply, real, read_ns)
    return found


def _of_session(
    number: int, session: Session, at_ns: int, reply: Callable[[int, int], Reply], real: bool, read_ns: int
) -> dict[tuple[int, int], Sent]:
    """The turns that a session sends. They are first computed as if no failure ended the session, except that no turn
    follows a failed turn; then the turns after the first failure was read are removed."""
    whole: dict[int, Sent] = {}
    for turn, said in enumerate(session.turns):
        before = parents_of(session, turn)
        if any(parent not in whole or reply(number, parent).fails for parent in before):
            continue
        ends = [whole[parent].end_ns for parent in before]
        due_ns = (max(ends) if ends else at_ns) + round(said.think_time_s * 1e9)
        sent_ns = due_ns
        history = session.nodes[turn].continues
        if real and history is not None:
            sent_ns = max(due_ns, whole[history].end_ns + read_ns)
        whole[turn] = Sent(due_ns, sent_ns, sent_ns + reply(number, turn).lasts_ns)
    failures = [sent.end_ns + read_ns for turn, sent in whole.items() if reply(number, turn).fails]
    if failures:
        # A failed turn counts only if it was sent itself. The first one always is.
        whole = {turn: sent for turn, sent in whole.items() if sent.sent_ns < min(failures)}
    return {(number, turn): sent for turn, sent in whole.items()}
