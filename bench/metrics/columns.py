"""The few numbers that are kept for each request instead of the record: about 280 bytes per request."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping

import numpy as np

from bench.clock import NS_PER_MS
from bench.metrics.arrays import in_order, view
from bench.metrics.catalog import REQUEST_METRICS
from bench.metrics.request_metrics import input_tokens, output_tokens, send_lateness_ms, time_until_failure_ms
from bench.records import NO_FAILURE, Outcome
from bench.records.record_table import DROPPED, NOT_JUDGED, OUTCOMES, Floats, Ints, Mask, RecordTable

NO_RESPONSE, NEVER_ASKED = 0, -1
"""The values in the status column for a request without a response, and for a dropped request."""

NONE = math.nan
"""Means "did not happen" in a column: a column contains doubles, so None is not possible."""


def happened(values: array[float] | list[float]) -> list[float]:
    """The values of a column that exist."""
    return [x for x in values if x == x]


class Columns:
    """Columns over the requests of the run phase, with one entry per request. Times are in ns from the start of the
    run.

    `output_tokens` covers successful requests, `inputs` is 0 if text is generated, `good` is whether a request met
    every objective. `least` and `greatest` are the bounds of each metric; they are empty, and `bounded` is false, while
    all stamps are exact. Rows are in the order of adding until `sort` puts them in the order of their index.
    """

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self.index = array("q")
        self.intended, self.eligible, self.sent, self.end = (array("d") for _ in range(4))
        self.ok, self.failed, self.good = bytearray(), bytearray(), bytearray()
        self.status = array("h")
        self.outcome = array("b")
        self.output_tokens, self.input_tokens = array("d"), array("d")
        self.bytes_sent, self.inputs = array("d"), array("d")
        self.lateness_ms, self.failed_after_ms = array("d"), array("d")
        self.bounded = False
        self.metrics = {metric.key: array("d") for metric in REQUEST_METRICS.values()}
        self.least: dict[str, array[float]] = {}
        self.greatest: dict[str, array[float]] = {}
        self.outcomes: Counter[Outcome] = Counter()

    def __len__(self) -> int:
        return len(self.index)

    def add(self, table: RecordTable, values: Mapping[str, Floats], good: Mask) -> None:
        """Keep the numbers of requests: `values` of every request metric, by key, and whether each request met every
        objective."""
        start_ns, n = self._start_ns, len(table)
        self.outcomes.update(table.column("outcome"))
        self.index.frombytes(table.ints("index").tobytes())
        answered, status = table.known("status")
        missing = np.where(table.outcome == DROPPED, NEVER_ASKED, NO_RESPONSE)
        self.status.frombytes(np.where(answered, status, missing).astype("h").tobytes())
        self.outcome.frombytes(table.outcome.astype("b").tobytes())
        self.ok += table.ok.tobytes()
        self.failed += table.failed.tobytes()
        self.good += good.tobytes()
        (has_eligible, eligible_ns), (has_sent, sent_ns) = table.known("eligible_ns"), table.known("sent_ns")
        known_prompt, prompt = input_tokens(table)
        self._add_bounds(table, values)
        columns: list[tuple[array[float], Floats | Ints]] = [
            (self.intended, table.ints("intended_ns") - start_ns),
            (self.eligible, np.where(has_eligible, eligible_ns - start_ns, NONE)),
            (self.sent, np.where(has_sent, sent_ns - start_ns, NONE)),
            (self.end, table.ints("end_ns") - start_ns),
            (self.output_tokens, np.where(table.ok, output_tokens(table), 0)),
            (self.input_tokens, np.where(known_prompt, prompt, NONE)),
            (self.bytes_sent, table.ints("bytes_sent")),
            (self.inputs, table.ints("inputs")),
            (self.lateness_ms, send_lateness_ms(table)),
            (self.failed_after_ms, time_until_failure_ms(table)),
            *((self.metrics[key], of_requests) for key, of_requests in values.items()),
        ]
        for column, of_requests in columns:
            assert len(of_requests) == n
            column.frombytes(of_requests.astype("d").tobytes())

    def _add_bounds(self, table: RecordTable, values: Mapping[str, Floats]) -> None:
        if table.bounded and not self.bounded:
            self.bounded = True
            self.least = {key: column[:] for key, column in self.metrics.items()}
            self.greatest = {key: column[:] for key, column in self.metrics.items()}
        if not self.bounded:
            return
        for metric in REQUEST_METRICS.values():
            least, greatest = metric.bounds(table, values[metric.key])
            self.least[metric.key].frombytes(least.tobytes())
            self.greatest[metric.key].frombytes(greatest.tobytes())

    def sort(self) -> None:
        """Sort the rows by index: from here on, no number depends on the order of adding."""
        if bool((np.diff(view(self.index)) > 0).all()):
            return
        order = np.lexsort((view(self.end), view(self.index)))
        for name in ("index", "intended", "eligible", "sent", "end", "status", "outcome", "output_tokens", "input_tokens",
                     "bytes_sent", "inputs", "lateness_ms", "failed_after_ms", "ok", "failed", "good"):  # fmt: skip
            setattr(self, name, in_order(getattr(self, name), order))
        for columns in (self.metrics, self.least, self.greatest):
            for key, column in columns.items():
                columns[key] = in_order(column, order)

    def failed_rows(self) -> dict[Outcome, Ints]:
        outcomes = view(self.outcome)
        return {
            outcome: (outcomes == number).nonzero()[0]
            for number, outcome in enumerate(OUTCOMES)
            if outcome not in NO_FAILURE and self.outcomes[outcome]
        }

    @property
    def judged(self) -> Mask:
        """The requests that goodput is a share of."""
        return ~np.isin(view(self.outcome), [OUTCOMES.index(outcome) for outcome in NOT_JUDGED])

    @property
    def no_input_tokens_known(self) -> bool:
        """Whether neither a reply nor a plan says how many input tokens any of the successful requests had."""
        of_ok = view(self.input_tokens)[view(self.ok)]
        return bool(len(of_ok) and np.isnan(of_ok).all())

    def first_tokens_ns(self) -> Floats:
        """When the first token of each successful request arrived; the end of the request if it was not streamed."""
        ttft_ms = view(self.metrics["ttft_ms"])
        first_ns: Floats = np.where(ttft_ms == ttft_ms, view(self.sent) + ttft_ms * NS_PER_MS, view(self.end))
        return first_ns
