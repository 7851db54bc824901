"""What the signs look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvidence:
    """What the signs look at. `summary` is the content of summary.json, `calibration` a certificate where there is one, and
    `prefix_cache` what prompts shared on purpose and the server counted (as in summary.json).

    `open_loop`: a schedule decided when requests were sent. `exact_lengths`: the server was told to stop at no end token.
    """

    summary: Mapping[str, Any]
    open_loop: bool
    exact_lengths: bool
    calibration: Mapping[str, Any] | None = None
    prefix_cache: Mapping[str, Any] | None = None
    sharing_known: bool = True
    """Whether it is known what prompts share on purpose; of the turns of a session it is not."""
    died: Sequence[str] = ()
    """Workers that died, and how: one sentence's beginning each."""
    priority_remedy: str | None = None
    """How the client would get the priority that wakes it at once; None where it had it."""

    def p50(self, metric: str) -> float | None:
        """The median of a latency in ms; None if no request has it."""
        value = self.summary["latency"][metric]["p50"]
        return None if value is None else float(value)
