"""The few numbers that are kept of each request, so that the record itself can go: about 280 bytes a request."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from typing import TYPE_CHECKING

from bench.metrics.catalog import REQUEST_METRICS
from bench.metrics.per_request import (
    NS_PER_MS,
    first_output,
    first_token,
    last_token,
    open_ms,
    output_tokens,
    send_lateness_ms,
    time_until_failure_ms,
    tokens_after_first_chunk,
)
from bench.records import NO_FAILURE, Outcome, RequestRecord

if TYPE_CHECKING:
    from bench.metrics.block_times import BlockTimes
    from bench.run_files.record_blocks import Floats, Ints, Mask

NO_RESPONSE, NEVER_ASKED = 0, -1
"""What stands in the column of statuses for a request without a response, and for one that was dropped."""

NONE = math.nan
"""Stands for "did not happen" in a column: a column is doubles, and None is not one."""

_OUTCOMES = tuple(Outcome)
CANCELLED_NUMBER = _OUTCOMES.index(Outcome.CANCELLED)
"""How the column `outcome` says that a request was cancelled."""


def happened(values: array[float] | list[float]) -> list[float]:
    """The values of a column that exist."""
    return [x for x in values if x == x]


class Columns:
    """Columns over the requests of the run phase, one entry a request. Times are ns from the start of the run.

    `output_tokens` is of successful requests, `inputs` 0 where text is generated, `good` whether a request met every
    objective. `*_open_ms` is how much earlier than its stamp a token chunk can have come; `bounded` says whether any
    can. Rows stand in the order of adding until `sort` puts them in the order of their index.
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
        self.first_open_ms, self.output_open_ms, self.last_open_ms = array("d"), array("d"), array("d")
        self.tokens_after_first = array("d")
        self.bounded = False
        self.metrics = {metric.key: array("d") for metric in REQUEST_METRICS.values()}
        self.outcomes: Counter[Outcome] = Counter()

    def __len__(self) -> int:
        return len(self.index)

    def add(self, record: RequestRecord, good: bool) -> None:
        """Keep the numbers of a record."""
        start, ok = self._start_ns, record.outcome is Outcome.OK
        self.outcomes[record.outcome] += 1
        self.index.append(record.index)
        self.intended.append(record.intended_ns - start)
        self.eligible.append(NONE if record.eligible_ns is None else record.eligible_ns - start)
        self.sent.append(NONE if record.sent_ns is None else record.sent_ns - start)
        self.end.append(record.end_ns - start)
        self.ok.append(ok)
        self.failed.append(record.outcome not in NO_FAILURE)
        self.good.append(good)
        self.outcome.append(_OUTCOMES.index(record.outcome))
        missing = NEVER_ASKED if record.outcome is Outcome.DROPPED else NO_RESPONSE
        self.status.append(missing if record.status is None else record.status)
        self.output_tokens.append(output_tokens(record) if ok else 0)
        tokens = record.input_tokens_asked if record.input_tokens is None else record.input_tokens
        self.input_tokens.append(NONE if tokens is None else tokens)
        self.bytes_sent.append(record.bytes_sent)
        self.inputs.append(record.inputs or 0)
        lateness, failed_after = send_lateness_ms(record), time_until_failure_ms(record)
        self.lateness_ms.append(NONE if lateness is None else lateness)
        self.failed_after_ms.append(NONE if failed_after is None else failed_after)
        self._add_open(record)
        for metric in REQUEST_METRICS.values():
            value = metric.of(record)
            self.metrics[metric.key].append(NONE if value is None else value)

    def add_block(self, times: BlockTimes, good: Mask) -> None:
        """Keep the numbers of the records of a block."""
        import numpy as np

        block, n = times.block, len(times.block)
        self.outcomes[Outcome.OK] += n
        self.index.frombytes(block.index.tobytes())
        statuses, status = block.known("status")
        self.status.frombytes(np.where(statuses, status, NO_RESPONSE).astype("h").tobytes())
        self.outcome.frombytes(bytes([_OUTCOMES.index(Outcome.OK)]) * n)
        self.ok += bytes([True]) * n
        self.failed += bytes(n)
        self.good += good.tobytes()
        asked, said = block.known("input_tokens_asked"), block.known("input_tokens")
        prompt = np.where(said[0], said[1], np.where(asked[0], asked[1], np.nan))
        rows: list[tuple[array[float], Floats | Ints]] = [
            (self.intended, block.ints("intended_ns") - self._start_ns),
            (self.eligible, block.ints("eligible_ns") - self._start_ns),
            (self.sent, times.sent),
            (self.end, times.end),
            (self.output_tokens, times.n),
            (self.input_tokens, prompt),
            (self.bytes_sent, block.ints("bytes_sent")),
            (self.inputs, np.zeros(n)),
            (self.lateness_ms, times.lateness_ms),
            (self.failed_after_ms, np.full(n, NONE)),
            (self.tokens_after_first, times.n - 1),
            (self.first_open_ms, times.first_open_ms),
            (self.output_open_ms, times.first_open_ms),
            (self.last_open_ms, times.last_open_ms),
            *((self.metrics[key], values) for key, values in times.metrics.items()),
        ]
        for column, values in rows:
            column.frombytes(values.astype("d").tobytes())
        self.bounded = self.bounded or times.bounded

    def _add_open(self, record: RequestRecord) -> None:
        first = first_token(record)
        self.tokens_after_first.append(NONE if first is None else tokens_after_first_chunk(record))
        if record.chunk_bound_ns is None:
            open_of = (0.0, 0.0, 0.0)
        else:
            open_of = tuple(open_ms(record, at) for at in (first, first_output(record), last_token(record)))  # type: ignore[assignment]
            self.bounded = self.bounded or any(bound is not None for bound in record.chunk_bound_ns)
        self.first_open_ms.append(open_of[0])
        self.output_open_ms.append(open_of[1])
        self.last_open_ms.append(open_of[2])

    def sort(self) -> None:
        """Put the rows in the order of their index: from here on no number depends on the order of adding."""
        import numpy as np

        from bench.metrics.arrays import in_order, view

        if bool((np.diff(view(self.index)) > 0).all()):
            return
        order = np.lexsort((view(self.end), view(self.index)))
        for name in ("index", "intended", "eligible", "sent", "end", "status", "outcome", "output_tokens", "input_tokens",
                     "bytes_sent", "inputs", "lateness_ms", "failed_after_ms", "first_open_ms", "output_open_ms",
                     "last_open_ms", "tokens_after_first", "ok", "failed", "good"):  # fmt: skip
            setattr(self, name, in_order(getattr(self, name), order))
        for key, column in self.metrics.items():
            self.metrics[key] = in_order(column, order)

    def failed_rows(self) -> dict[Outcome, Ints]:
        """The rows of the failed requests, by outcome."""
        from bench.metrics.arrays import view

        outcomes = view(self.outcome)
        return {
            outcome: (outcomes == number).nonzero()[0]
            for number, outcome in enumerate(_OUTCOMES)
            if outcome not in NO_FAILURE and self.outcomes[outcome]
        }

    def first_tokens_ns(self) -> Floats:
        """When the first token of each successful request arrived; the end of one that was not streamed."""
        import numpy as np

        from bench.metrics.arrays import view

        ttft_ms = view(self.metrics["ttft_ms"])
        found: Floats = np.where(ttft_ms == ttft_ms, view(self.sent) + ttft_ms * NS_PER_MS, view(self.end))
        return found
