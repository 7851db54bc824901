"""The numbers of each model of a run that sends to several (LoRA adapters, say), beside those of the whole.

Every number is of the requests that named the model, over the whole run: rates are per second of the whole run, so that
those of all models add up to the run's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.records import RequestRecord

if TYPE_CHECKING:
    from bench.metrics.summary import Summary

MOST = 100
OTHERS = "(others)"
"""Stands for the models beyond the first hundred that a run named."""
UNNAMED = "(the server's own)"
"""Stands for the model where nobody named one."""


class ByModel:
    """A summary for each model. `make` makes an empty one; `usual` is the model of requests whose data names none."""

    def __init__(self, make: Callable[[], Summary], usual: str | None) -> None:
        self._make = make
        self._usual = UNNAMED if usual is None else usual
        self._summaries: dict[str, Summary] = {}

    def add(self, record: RequestRecord) -> None:
        """One record, in any order."""
        name = self._usual if record.model is None else record.model
        if name not in self._summaries and len(self._summaries) >= MOST:
            name = OTHERS
        if name not in self._summaries:
            self._summaries[name] = self._make()
        self._summaries[name].add(record)

    def numbers(self, over: tuple[float, float] | None) -> dict[str, dict[str, Any]]:
        """The numbers of each model, by name; `over` is the time of the whole run."""
        return {name: self._summaries[name].part(over) for name in sorted(self._summaries)}
