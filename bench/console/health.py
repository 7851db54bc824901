"""Live warnings if the client itself begins to spoil the measurement. The report's verdict examines more, after the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.console.language import tr
from bench.verdict.limits import Limits

BUSY = 0.9
"""The share of one processor above which a sender has no spare time."""


def warnings_of(client: Mapping[str, Any], limits: Limits | None = None) -> list[str]:
    """The problems of the client in a line of live.jsonl; empty if there are none."""
    bands = Limits() if limits is None else limits
    warnings: list[str] = []
    slowest = client.get("slowest")  # Older lines have none.
    who = tr("The client") if slowest is None else slowest[:1].upper() + slowest[1:]
    lag, busy, waited = client["loop_lag_ms"], client["cpu"], client["run_queue_share"]
    limit = bands.loop_lag_p99_ms.invalid
    if limit is not None and lag > limit:
        warnings.append(
            tr(
                "%(who)s was up to %(ms)s ms late in the last second: its machine is too busy.",
                who=who,
                ms=f"{lag:.0f}",
            )
        )
    if busy is not None and busy > BUSY:
        warnings.append(
            tr(
                "A sender uses %(share)s of a processor: lower the load, or give the run more workers.",
                share=f"{busy:.0%}",
            )
        )
    if waited is not None and waited > bands.run_queue_wait.suspect:
        warnings.append(
            tr(
                "A sender waited %(share)s of the time for a processor: other programs keep this machine busy.",
                share=f"{waited:.0%}",
            )
        )
    return warnings
