"""A recording: requests are sent when they were sent then, or so many times faster.

No arrival process: there is nothing to draw, and the times have an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def offsets(at_s: Iterable[float], speed: float = 1.0) -> Iterator[int]:
    """Offsets in ns of times in seconds, which must not decrease; at `speed` 2 the recording takes half as long.

    Each is computed from its own time, so that rounding never adds up. Raises ValueError where a time decreases.
    """
    last = 0.0
    for at in at_s:
        if not at >= last:
            raise ValueError(f"a recording goes on from {last} s to {at} s: times must not decrease")
        last = at
        yield round(at / speed * 1e9)
