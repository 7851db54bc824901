"""The prefix cache in reports: planned, by replies and by the server's metrics, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.documents.formatting import share

if TYPE_CHECKING:
    from bench.results.server import PrefixCache

MEANING = (
    "Planned: the share that prompts have in common. By replies: as each reply says. Measured: by the server's metrics."
)


def shares(cache: PrefixCache, separator: str = " · ") -> str:
    """The shares of the prompt tokens that are known; and how far what was counted is off the plan, in points."""
    said, off = cache.said_share, cache.off_share
    parts = [f"planned {share(cache.planned_share)}"]
    parts += [] if said is None else [f"by replies {share(said)}"]
    if cache.measured_share is not None or said is None:
        parts.append(f"measured {share(cache.measured_share)}")
    told = f"{separator.join(parts)} of the prompt tokens"
    if off is None or cache.rounding_share is None:
        return told
    rounding = f", of which rounding to blocks may be {100 * cache.rounding_share:.2f}"
    return f"{told}{separator}{100 * off:+.2f} points off the plan{rounding}"
