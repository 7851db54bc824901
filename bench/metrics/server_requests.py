"""Servers' own data on single requests: their times compared with the client's TTFT, and the benefit of their drafts."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise, zip_longest

import numpy as np

from bench.metrics.arrays import known
from bench.metrics.quantile import describe
from bench.metrics.request_metrics import ttft_ms
from bench.records.record_table import Floats, RecordTable
from bench.results.server import (
    SAID_TIMES,
    DraftPosition,
    ReportedCached,
    ReportedDrafts,
    ServerReported,
    StepsByTokens,
)


def _ttft_ms(table: RecordTable) -> Floats:
    """The server's own TTFT. A missing queue time counts as zero."""
    queue = table.floats("server_queue_ms")
    return table.floats("server_prefill_ms") + np.where(np.isnan(queue), 0.0, queue)


COMPUTED: Mapping[str, Callable[[RecordTable], Floats]] = {
    "ttft_ms": _ttft_ms,
    "outside_ms": lambda table: ttft_ms(table) - _ttft_ms(table),
}
"""The times of `ServerReported` that are not in records. The field `server_X_ms` of the records has the others."""


class ServerRequests:
    """Folds the successful requests of a run."""

    def __init__(self) -> None:
        self._times: dict[str, array[float]] = {name: array("d") for name in SAID_TIMES}
        self._cached = _Cached()
        self._drafts = _Drafts()

    def add(self, table: RecordTable) -> None:
        self._cached.add(table)
        self._drafts.add(table)
        for name, column in self._times.items():
            values = COMPUTED[name](table) if name in COMPUTED else table.floats(f"server_{name}")
            column.frombytes(known(values).tobytes())

    def describe(self) -> ServerReported | None:
        """The block for summary.json. Returns None if replies report only cached tokens, which `tokens` has too."""
        drafts = self._drafts.describe()
        if drafts is None and not any(self._times.values()):
            return None
        times = {name: describe(sorted(values)) for name, values in self._times.items()}
        return ServerReported(**times, cached=self._cached.describe(), drafts=drafts)


class _Cached:
    """Prompt tokens from the server's cache."""

    def __init__(self) -> None:
        self._replies = self._tokens = self._of = 0

    def add(self, table: RecordTable) -> None:
        (has_cached, cached), (counted, tokens) = table.known("cached_tokens"), table.known("input_tokens")
        rows = has_cached & counted
        self._replies += int(rows.sum())
        self._tokens += int(cached[rows].sum())
        self._of += int(tokens[rows].sum())

    def describe(self) -> ReportedCached | None:
        """Returns None if no reply reports it."""
        if not self._replies:
            return None
        share = self._tokens / self._of if self._of else None
        return ReportedCached(replies=self._replies, tokens=self._tokens, of=self._of, share=share)


class _Drafts:
    """Speculative decoding. A step produces the drafts that it accepts, and one token of the model's own."""

    def __init__(self) -> None:
        self._replies = self._tokens = self._accepted = 0
        self._steps = self._accepted_of_steps = self._position_steps = 0
        self._tell_steps = False
        self._at: list[int] = []

    def add(self, table: RecordTable) -> None:
        (has_drafts, drafts), (judged, accepted) = table.known("draft_tokens"), table.known("accepted_tokens")
        rows = has_drafts & judged
        self._replies += int(rows.sum())
        self._tokens += int(drafts[rows].sum())
        self._accepted += int(accepted[rows].sum())
        counted, steps = table.known("draft_steps")
        rows &= counted
        self._tell_steps |= bool(rows.any())
        self._steps += int(steps[rows].sum())
        self._accepted_of_steps += int(accepted[rows].sum())
        acceptance = table.column("acceptance")
        for row in np.flatnonzero(rows).tolist():
            if acceptance[row] is not None:
                self._position_steps += int(steps[row])
                self._at = [known + more for known, more in zip_longest(self._at, acceptance[row], fillvalue=0)]

    def describe(self) -> ReportedDrafts | None:
        """Returns None if no reply reports it."""
        if not self._replies:
            return None
        steps = self._steps if self._tell_steps else None
        return ReportedDrafts(
            replies=self._replies,
            steps=steps,
            tokens=self._tokens,
            accepted=self._accepted,
            acceptance_rate=self._accepted / self._tokens if self._tokens else None,
            tokens_per_step=1 + self._accepted_of_steps / steps if steps else None,
            positions=[
                DraftPosition(position=n, accepted=count, share=share)
                for n, count, share in _shares(self._at, self._position_steps)
            ],
            steps_by_tokens=[
                StepsByTokens(tokens=n, steps=count, share=share)
                for n, count, share in _shares(self._exactly(), self._position_steps)
            ],
        )

    def _exactly(self) -> list[int]:
        """Steps that produced exactly 1, 2, ... tokens."""
        if not self._at:
            return []
        return [before - after for before, after in pairwise([self._position_steps, *self._at, 0])]


def _shares(counts: Sequence[int], of: int) -> Iterator[tuple[int, int, float | None]]:
    """Each number from 1 on, with its count and its share."""
    return ((n, count, count / of if of else None) for n, count in enumerate(counts, 1))
