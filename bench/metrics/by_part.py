"""The numbers of the parts of a run: of each model, each traffic class and each replica.

Every number covers the requests of the part over the whole run. Rates are per second of the whole run, so the rates of all
parts add up to the rate of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.metrics.objectives import PARTS
from bench.metrics.run_numbers import Numbers
from bench.records.record_table import RecordTable
from bench.results.summary import PartNumbers

if TYPE_CHECKING:
    from bench.metrics.summary import Summary

MOST = 100
OTHERS = "(others)"
"""Collects the models beyond the first hundred that a run named."""
USUAL = {"model": "(the server's own)", "class": "(no class)", "target": "(not named)"}
"""The name of the part for requests that name none."""


class ByPart:
    """A summary for each part of one kind (`PARTS`). `make` creates an empty one."""

    def __init__(self, kind: str, make: Callable[[], Summary], *, usual: str, known: Sequence[str] = ()) -> None:
        """`usual` is the part of requests that name none. The `known` parts have numbers even without requests, and
        come first."""
        self._kind, self._field = kind, PARTS[kind]
        self._make = make
        self._usual = usual
        self._known = known
        self._summaries: dict[str, Summary] = {name: make() for name in known}

    def add(self, table: RecordTable) -> None:
        """Records, in any order."""
        rows: dict[str, list[int]] = {}
        for row, named in enumerate(table.column(self._field)):
            name = self._usual if named is None else named
            if name not in self._summaries and len(self._summaries) >= MOST:
                name = OTHERS
            if name not in self._summaries:
                self._summaries[name] = self._make()
            rows.setdefault(name, []).append(row)
        for name, of_part in rows.items():
            self._summaries[name].add(RecordTable([table.records[row] for row in of_part]))

    @property
    def summaries(self) -> Mapping[str, Summary]:
        return self._summaries

    def numbers(self, over: tuple[float, float] | None) -> Iterator[PartNumbers]:
        """The numbers of each part; `over` is the time of the whole run."""
        names = [*self._known, *sorted(self._summaries.keys() - set(self._known))]
        return (self._summaries[name].part(self._kind, name, over) for name in names)


def of_objectives(parts: Mapping[str, Sequence[PartNumbers]]) -> dict[tuple[str, str], Numbers]:
    """The numbers of parts in the form that objectives use: by kind and name."""
    return {(kind, part.name): Numbers.of(part) for kind, of_kind in parts.items() for part in of_kind}
