"""When the users of a closed loop come and go: (offset in ns from the start, number of users from then on)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.schedule.segments import Segment

UserChange = tuple[int, int]


def coming_in(users: int, ramp_ns: int) -> Iterator[UserChange]:
    """All at the start, or one by one, evenly over the ramp."""
    if not ramp_ns:
        yield 0, users
        return
    for user in range(users):
        yield user * ramp_ns // users, user + 1


def of_segments(segments: Sequence[Segment]) -> Iterator[UserChange]:
    """The integer nearest to the load at each instant: A..B:T passes every number from A to B once."""
    start_ns, now = 0, None
    for segment in segments:
        first, last = round(segment.first), round(segment.last)
        if first != now:
            yield start_ns, first
        step = 1 if last > first else -1
        for level in range(first, last, step):
            # The change from `level` to the next is halfway between them: in integers, so that all workers agree to the
            # ns.
            at_ns = segment.duration_ns * (2 * abs(level - first) + 1) // (2 * abs(last - first))
            yield start_ns + at_ns, level + step
        start_ns, now = start_ns + segment.duration_ns, last
