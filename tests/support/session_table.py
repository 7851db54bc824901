"""The content of session plans, counted as in the published statistics: turns, output and new tokens, the hit rate.

Only main agents count; the published sessions have no sub-agents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptset.agents.plan import SessionPlan

SHARES = (0.5, 0.9, 0.99)

PUBLISHED: Mapping[str, tuple[float, float, float]] = {
    "turns": (47, 133, 234),
    "output tokens": (220, 969, 4_129),
    "new tokens a turn": (755, 4_151, 78_800),
}
"""p50, p90, p99 of 114 coding-agent sessions of one public collection."""

PUBLISHED_HIT_RATE = 0.964
PUBLISHED_PAUSES_S: Mapping[str, tuple[float, float]] = {"human": (140, 1_003), "tool": (8, 67)}
"""p50 and p90 of the pauses after a user's text, and after tools."""


@dataclass(frozen=True, slots=True)
class PlanTable:
    """Statistics of plans. Quantiles are p50, p90 and p99."""

    sessions: int
    requests: int
    quantiles: Mapping[str, tuple[float, ...]]
    """Of turns, output tokens, new tokens per turn, and input tokens."""
    hit_rate: float
    """Cached tokens as a share of all input tokens."""
    pauses_s: Mapping[str, tuple[float, ...]]
    human_share: float
    """The share of turns after the first that follow a human pause."""


def table_of(plans: Iterable[SessionPlan]) -> PlanTable:
    """The statistics of plans. Raises ValueError if there are none."""
    turns: list[int] = []
    outputs: list[int] = []
    new: list[int] = []
    inputs: list[int] = []
    cached = 0
    pauses: dict[str, list[float]] = {"human": [], "tool": []}
    for plan in plans:
        main = plan.main
        turns.append(len(main))
        outputs += [turn.output_tokens for turn in main]
        new += [turn.new_tokens for turn in main]
        inputs += [turn.input_tokens for turn in main]
        cached += sum(turn.cached_tokens for turn in main)
        for turn in main:
            if turn.pause is not None:
                pauses[turn.pause].append(turn.pause_s)
    if not turns:
        raise ValueError("no plans")
    quantiles = {"turns": turns, "output tokens": outputs, "new tokens a turn": new, "input tokens": inputs}
    return PlanTable(
        sessions=len(turns),
        requests=len(inputs),
        quantiles={name: _quantiles(values) for name, values in quantiles.items()},
        hit_rate=cached / sum(inputs),
        pauses_s={name: _quantiles(values) for name, values in pauses.items()},
        human_share=len(pauses["human"]) / max(1, len(pauses["human"]) + len(pauses["tool"])),
    )


def _quantiles(values: Sequence[float]) -> tuple[float, ...]:
    """The smallest value that at least this share of all values does not exceed."""
    ordered = sorted(values)
    return tuple(ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else 0.0 for share in SHARES)
