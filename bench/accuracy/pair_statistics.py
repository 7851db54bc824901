"""Everything that a certificate needs from a run's pairs, added one pair at a time: memory does not grow with chunks."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import sub
from types import MappingProxyType
from typing import Any

from bench.accuracy.closed_form import MockSeries
from bench.accuracy.distribution import EXACT, Distribution
from bench.accuracy.join import HTTP, SPEECH, Pair, text_tokens
from bench.accuracy.known_mistakes import mistaken_values
from bench.accuracy.truth import TEXT, stamped_values, true_values, was_served
from bench.clock import NS_PER_MS, NS_PER_S
from bench.records import Outcome, RequestRecord
from bench.results.certificate import METRICS, RequestError

_NOTICED_NS, _LIKE = 100_000, 1.1
SLICES = 60
WORST = 5
OVER_TIME = ("ttft_ms", "tpot_ms", "e2el_ms")
"""Metrics whose error is shown over time, for each request."""
_SLICE_EXACT = 2_000

Measured = Mapping[str, float]
"""The metrics of a request in the report, by their key in summary.json; NaN if it has none."""


class PairStatistics:
    """Distributions of the true values, of the values that the stamps allow, and of the values that known mistakes
    give.

    `exact` has the values of records whose stamps are all exact. For the others, `bounded` has the values as stamped,
    and `least` and `greatest` the limits that their stamps allow. `start_ns` and `duration_s` place the slices over
    time, on the client's clock. The argument `exact` is passed to Distribution.
    """

    def __init__(self, *, shared_clock: bool, start_ns: int, duration_s: float, exact: int = EXACT) -> None:
        def distributions() -> defaultdict[Any, Distribution]:
            return defaultdict(lambda: Distribution(exact))

        self.shared_clock = shared_clock
        self._start_ns = start_ns
        self._width_ns = max(duration_s, 1e-3) * NS_PER_S / SLICES
        self.true: defaultdict[str, Distribution] = distributions()
        self.exact: defaultdict[str, Distribution] = distributions()
        self.bounded: defaultdict[str, Distribution] = distributions()
        self.least: defaultdict[str, Distribution] = distributions()
        self.greatest: defaultdict[str, Distribution] = distributions()
        self.mistaken: defaultdict[tuple[str, str], Distribution] = distributions()
        self.of_worker: defaultdict[tuple[str, int], Distribution] = distributions()
        self.measured: defaultdict[str, Distribution] = distributions()
        self.lag, self.way_in, self.mock_error = Distribution(exact), Distribution(exact), Distribution(exact)
        self.mock: defaultdict[str, Distribution] = distributions()
        self.mock_series = MockSeries()
        self.over_time: defaultdict[tuple[str, int], Distribution] = defaultdict(lambda: Distribution(_SLICE_EXACT))
        self.served = self.input_tokens = self.output_tokens = self.inputs = 0
        self.warmup = self.failed = (0, 0, 0)
        """Requests, output tokens and input tokens that no rate may count: those of the warm-up, and those of failed
        requests."""
        self.sent_before_connecting = Distribution(exact)
        """The time from send to receipt, for requests where this is the time to set up their connection."""
        self._first_sent_ns: int | None = None
        self._last_end_ns: int | None = None
        self._worst: list[tuple[float, str, RequestError]] = []

    def add(self, pair: Pair, measured: Measured = MappingProxyType({})) -> None:
        """Add a pair of either phase, with the report's values for its request."""
        record, line = pair.record, pair.line
        self._add_stamps(pair)
        if line["fault"] is None:
            self._add_plan(line)
        if record.phase != "run" and record.outcome is Outcome.OK:
            self.warmup = _with(self.warmup, line)
        if record.phase != "run" or record.sent_ns is None:
            return
        # Without a shared clock, the client's end is used: both ends of a span need one clock.
        end_ns = line["end_ns"] if self.shared_clock else record.end_ns
        if self._first_sent_ns is None or record.sent_ns < self._first_sent_ns:
            self._first_sent_ns = record.sent_ns
        if self._last_end_ns is None or end_ns > self._last_end_ns:
            self._last_end_ns = end_ns
        if was_served(pair):
            self._add_served(pair, measured)
        elif record.outcome is not Outcome.OK:
            self.failed = _with(self.failed, line)

    @property
    def span_s(self) -> float | None:
        """The time from the first send to the last end of the run."""
        if self._first_sent_ns is None or self._last_end_ns is None or self._last_end_ns <= self._first_sent_ns:
            return None
        return (self._last_end_ns - self._first_sent_ns) / NS_PER_S

    def worst(self) -> list[RequestError]:
        """The requests with the largest errors, the largest first."""
        return [row for _, _, row in sorted(self._worst, reverse=True)]

    def _add_served(self, pair: Pair, measured: Measured) -> None:
        record, line = pair.record, pair.line
        self.served += 1
        self.input_tokens += line["input_tokens"] or 0
        self.inputs += line.get("inputs") or 0
        tokens = [n for n, kind in zip(line["chunk_tokens"], line["chunk_kind"], strict=True) if kind in TEXT]
        # A reply that is not streamed has no chunks; its length is in the plan.
        self.output_tokens += text_tokens(line) if line["write_ns"] else line["planned"]["output_tokens"]
        true = true_values(pair, shared_clock=self.shared_clock)
        for metric, values in true.items():
            self.true[metric].add(values)
        stamped, least, greatest = stamped_values(record, tokens, text_tokens(line), of_any=pair.endpoint == HTTP)
        for metric, values in stamped.items():
            (self.exact if least is stamped else self.bounded)[metric].add(values)
            if least is not stamped:
                self.least[metric].add(least[metric])
                self.greatest[metric].add(greatest[metric])
        for metric in OVER_TIME:
            if metric in stamped:
                self.of_worker[metric, record.worker].add(stamped[metric])
        for metric, mistake, values in mistaken_values(pair, shared_clock=self.shared_clock):
            self.mistaken[metric, mistake].add(values)
        self._add_errors(record, true, measured)

    def _add_errors(self, record: RequestRecord, true: Mapping[str, Sequence[float]], measured: Measured) -> None:
        at = self._slice(record.end_ns)
        for metric, value in measured.items():
            if math.isnan(value) or metric not in METRICS:
                continue
            self.measured[metric].add([value])
            if metric in OVER_TIME and metric in true:
                error = value - true[metric][0]
                self.over_time[metric, at].add([error])
                row = RequestError(id=record.id, metric=metric, measured=value, true=true[metric][0], error=error)
                entry = (abs(error), f"{record.id} {metric}", row)
                if len(self._worst) < WORST:
                    heapq.heappush(self._worst, entry)
                elif entry > self._worst[0]:
                    heapq.heapreplace(self._worst, entry)

    def _slice(self, at_ns: int) -> int:
        return min(max(int((at_ns - self._start_ns) / self._width_ns), 0), SLICES - 1)

    def _add_stamps(self, pair: Pair) -> None:
        """Add how late each side saw the other, if they share a clock: for chunks with an exact stamp on both sides."""
        record, line = pair.record, pair.line
        if not self.shared_clock:
            return
        if record.sent_ns is not None and line["received_ns"] is not None:
            arrived_of_ns = record.sent_ns if record.resent_ns is None else record.resent_ns
            way_in_ns = line["received_ns"] - arrived_of_ns
            self.way_in.add([way_in_ns / NS_PER_MS])
            connect_ns = record.connect_ns or 0
            if way_in_ns > _NOTICED_NS and connect_ns <= way_in_ns <= connect_ns * _LIKE + _NOTICED_NS:
                self.sent_before_connecting.add([way_in_ns / NS_PER_MS])
        received, written = record.chunk_ns, line["write_ns"]
        if pair.endpoint == SPEECH:
            return  # The chunks are cut differently from how they were written.
        if line["blocked"] or record.chunk_bound_ns is not None:
            blocked = set(line["blocked"])
            bounds = record.chunk_bound_ns or (None,) * len(received)
            rows = zip(received, written, bounds, strict=False)
            good = [(a, w) for i, (a, w, bound) in enumerate(rows) if i not in blocked and bound is None]
            received, written = tuple(a for a, _ in good), [w for _, w in good]
        lags = [lag / NS_PER_MS for lag in map(sub, received, written)]
        self.lag.add(lags)
        at = 0
        while at < len(lags):
            number = self._slice(received[at])
            border = self._start_ns + (number + 1) * self._width_ns
            end = len(lags) if number == SLICES - 1 else max(bisect_left(received, border, at + 1), at + 1)
            self.over_time["lag_ms", number].add(lags[at:end])
            at = end

    def _add_plan(self, line: Mapping[str, Any]) -> None:
        """Add the difference between the actual and the planned time of each token, and the mock's own latencies."""
        planned, received = line["planned"], line["received_ns"]
        texts = zip(line["write_ns"], line["chunk_tokens"], line["chunk_kind"], strict=True)
        chunks = [(at, tokens) for at, tokens, kind in texts if kind in TEXT]
        if planned["ttft_ns"] is None or received is None or not chunks:
            return
        written, tokens = [at for at, _ in chunks], [share for _, share in chunks]
        later = sum(tokens) - tokens[0]
        values: dict[str, float] = {
            "ttft_ms": (written[0] - received) / NS_PER_MS,
            "e2el_ms": (written[-1] - received) / NS_PER_MS,
            "output_tokens": text_tokens(line),
        }
        if later > 0:
            values["tpot_ms"] = (written[-1] - written[0]) / NS_PER_MS / later
        for metric, value in values.items():
            self.mock[metric].add([value])
        gaps = zip(map(sub, written[1:], written), tokens[1:], strict=True)
        itl = [gap / share / NS_PER_MS for gap, share in gaps for _ in range(share)]
        self.mock["itl_ms"].add(itl)
        self.mock_series.add(received, values, sum(itl), len(itl))
        if len(planned["gaps_ns"]) != sum(tokens) - 1 or 0 in tokens or line["blocked"]:
            return  # A token did not come as text, or a buffer was full, so not every chunk has a planned time.
        # Each token has a planned time; a chunk was due with its last token.
        due = list(accumulate(planned["gaps_ns"], initial=received + planned["ttft_ns"]))
        errors = [(at - due[end - 1]) / NS_PER_MS for at, end in zip(written, accumulate(tokens), strict=True)]
        self.mock_error.add(errors)


def _with(counted: tuple[int, int, int], line: Mapping[str, Any]) -> tuple[int, int, int]:
    requests, output, prompt = counted
    return requests + 1, output + text_tokens(line), prompt + (line["input_tokens"] or 0)
