"""A recording: requests are sent at their recorded times, or faster by a factor.

This is not an arrival process: nothing is drawn, and the times have an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def offsets(at_s: Iterable[float], speed: float = 1.0) -> Iterator[int]:
    """Offsets in ns of times in seconds, which must not decrease; at `speed` 2 the recording takes half as long.

    Each is computed from its own time, so that rounding does not accumulate. Raises ValueError if a time decreases.
    """
    last = 0.0
    for at in at_s:
        if not at >= last:
            raise ValueError(f"a recording goes on from {last} s to {at} s: times must not decrease")
        last = at
        yield round(at / speed * 1e9)
