"""Planted defects, each found in a real load tester: a client that is correct except for one part
(docs/troubleshooting.md).

Each is a `Client` of tests/support/virtual_calibration.py with its transport, its dispatcher, its arrivals or its
numbers replaced. `DEFECTS` lists them all, with the finding that the certificate must make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bench.dispatch.open_loop import OpenLoop
from bench.metrics.quantile import describe
from bench.records import TOKEN_KINDS, Outcome, RequestRecord
from bench.results.base import to_plain
from bench.results.numbers import QUANTILES
from bench.rng import stream
from bench.schedule import ARRIVALS
from bench.transport.exchange import Exchange
from bench.transport.sse import SSEParser
from bench.verdict.finding import Status
from tests.support import slow_metrics
from tests.support.changed import replace
from tests.support.virtual_calibration import MS, RATE, START, WORKERS, Client, PaperTransport

# Report numbers computed wrongly from the records.

Value = Callable[[RequestRecord], float | None]


def reported(
    metric: str, of: Value, *, failed: bool = False, transport: type[PaperTransport] = PaperTransport
) -> Client:
    """A client that reports another value per request for a metric."""

    def numbers(summary: dict[str, Any], records: Sequence[RequestRecord]) -> dict[str, Any]:
        mine = [r for r in records if r.phase == "run" and (failed or r.outcome is Outcome.OK)]
        values = sorted(value for value in map(of, mine) if value is not None)
        return summary | {"latency": summary["latency"] | {metric: to_plain(describe(values))}}

    return Client(numbers=numbers, transport=transport)


def since_sent(at: Callable[[RequestRecord], int]) -> Value:
    return lambda record: (at(record) - (record.sent_ns or 0)) / MS


def tpot_with_ttft(record: RequestRecord) -> float | None:
    e2el, n = slow_metrics.e2el_ms(record), slow_metrics.output_tokens(record)
    return None if e2el is None else e2el / n


def ttft_or_time_until_failure(record: RequestRecord) -> float | None:
    ttft = slow_metrics.ttft_ms(record)
    return slow_metrics.time_until_failure_ms(record) if ttft is None else ttft


def ttft_with_connect(record: RequestRecord) -> float | None:
    ttft = slow_metrics.ttft_ms(record)
    return None if ttft is None else ttft + (record.connect_ns or 0) / MS


def cut_to_whole_ms(record: RequestRecord) -> float | None:
    tpot = slow_metrics.tpot_ms(record)
    return None if tpot is None else float(int(tpot))


def ttfts(records: Sequence[RequestRecord]) -> list[float]:
    values = (slow_metrics.ttft_ms(record) for record in records if record.phase == "run")
    return sorted(value for value in values if value is not None)


def averaged_over_workers(summary: dict[str, Any], records: Sequence[RequestRecord]) -> dict[str, Any]:
    rows = [to_plain(describe(ttfts([r for r in records if r.worker == worker]))) for worker in range(WORKERS)]
    averaged = {key: sum(row[key] for row in rows) / WORKERS for key in rows[0]}
    averaged["n"] = sum(row["n"] for row in rows)
    return summary | {"latency": summary["latency"] | {"ttft_ms": averaged}}


def at_a_truncated_index(summary: dict[str, Any], records: Sequence[RequestRecord]) -> dict[str, Any]:
    values = ttfts(records)
    row = to_plain(describe(values)) | {
        name: values[min(int(len(values) * p), len(values) - 1)] for name, p in QUANTILES.items()
    }
    return summary | {"latency": summary["latency"] | {"ttft_ms": row}}


def warmup_in_the_numerator(summary: dict[str, Any], records: Sequence[RequestRecord]) -> dict[str, Any]:
    throughput = summary["throughput"]
    served = sum(record.outcome is Outcome.OK for record in records)
    return summary | {"throughput": throughput | {"requests_per_s": served / throughput["duration_s"]}}


# Transports.


class LateStamps(PaperTransport):
    """Parses each chunk before it reads the clock: under load it waits for earlier chunks."""

    work_ns = 1 * MS

    def stamp_ns(self, arrived_ns: int) -> int:
        self.loop.charge(self.work_ns)
        return self.clock.now_ns()


class SteppedClock(PaperTransport):
    """Converts the kernel's stamps with an offset measured once. After 3 s the wall clock is set."""

    step_ns = 250 * MS

    def stamp_ns(self, arrived_ns: int) -> int:
        return arrived_ns + (self.step_ns if arrived_ns - START > 3_000 * MS else 0)


class ConnectInTTFT(PaperTransport):
    """Takes the send time before it has a connection."""

    new_connections = 40

    def sent_ns(self, began_ns: int, now_ns: int) -> int:
        return began_ns


class NoPool(PaperTransport):
    """Opens a connection for every request."""

    new_connections = 1_000


class OtherRecord(PaperTransport):
    """Records something different from what it received."""

    @staticmethod
    def altered(record: RequestRecord) -> RequestRecord:
        raise NotImplementedError

    def close_record(self, exchange: Exchange, end_ns: int) -> RequestRecord:
        return self.altered(super().close_record(exchange, end_ns))


class ErrorsAsSuccess(OtherRecord):
    @staticmethod
    def altered(record: RequestRecord) -> RequestRecord:
        return replace(record, outcome=Outcome.OK) if record.outcome is Outcome.STREAM_ERROR else record


class ChunksAsTokens(OtherRecord):
    @staticmethod
    def altered(record: RequestRecord) -> RequestRecord:
        chunks = slow_metrics.token_chunk_count(record)
        tokens = tuple(int(kind in TOKEN_KINDS) for kind in record.chunk_kind)
        return replace(record, output_tokens=chunks, chunk_tokens=tokens) if chunks else record


class ReasoningIgnored(OtherRecord):
    @staticmethod
    def altered(record: RequestRecord) -> RequestRecord:
        return replace(record, chunk_kind=record.chunk_kind.replace("t", "o"))


class ReasoningTwice(OtherRecord):
    @staticmethod
    def altered(record: RequestRecord) -> RequestRecord:
        if record.output_tokens is None:
            return record
        return replace(record, output_tokens=record.output_tokens + record.chunk_kind.count("t"))


class LineSplitter(SSEParser):
    """Splits lines like str.splitlines, also at U+2028."""

    def __init__(self) -> None:
        super().__init__()
        self._rest = ""

    def feed(self, piece: bytes) -> list[bytes]:
        self._rest += piece.decode()
        whole, end, self._rest = self._rest.rpartition("\n\n")
        lines = (whole + end).splitlines()
        return [line.removeprefix("data: ").encode() for line in lines if line]

    def feed_all(self, pieces: Sequence[bytes]) -> list[list[bytes]]:
        return [self.feed(piece) for piece in pieces]


class Forgetful(SSEParser):
    """Looks for events in each read separately, so an event across two reads is lost."""

    def feed(self, piece: bytes) -> list[bytes]:
        return super().feed(piece) if piece.startswith(b"data: ") and piece.endswith(b"\n\n") else []

    def feed_all(self, pieces: Sequence[bytes]) -> list[list[bytes]]:
        return [self.feed(piece) for piece in pieces]


def parsing_with(parser: Callable[[], SSEParser]) -> type[PaperTransport]:
    class Parsing(PaperTransport):
        def begin(self, exchange: Exchange) -> None:
            if exchange.status == 200:
                exchange._parser = parser()

    return Parsing


# Dispatchers and arrivals.


class Relative(OpenLoop):
    """After each send, waits for the gap to the next arrival, so its own work is added to every gap."""

    def _next_arrival(self) -> None:
        offset = next(self._offsets, None)
        if offset is None:
            self._sending.stop.now("requests")
            return
        before, self._before = getattr(self, "_before", 0), offset
        self._due_ns = max(self._sending.clock.now_ns(), self._start_ns) + offset - before


class Gated(OpenLoop):
    """Counts an arrival as due only when a slot is free."""

    slots = 4

    def _arrivals(self) -> None:
        if self._sending.in_flight.now < self.slots:
            super()._arrivals()

    def _answered(self, end_ns: int, whole: bool) -> None:
        super()._answered(end_ns, whole)
        now = self._sending.clock.now_ns()
        if self._due_ns < now and not self._sending.stop.stopped:
            self._due_ns = now
            super()._arrivals()


def same_seed(seed: int, worker: int, dealt: Sequence[int]) -> list[int]:
    """Every worker draws arrivals at half the rate from the same seed."""
    rng = stream(seed, "arrivals")
    return list(islice(ARRIVALS["poisson"](RATE / WORKERS, 1.0, rng), len(dealt)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """A wrong client, and the expected finding: the metric, the approximate size (in its unit), and the cause.

    `status`: the status that the bands of docs/troubleshooting.md give that size.
    """

    client: Client
    metric: str
    size: float
    cause: str
    status: Status = Status.INVALID


DEFECTS: dict[str, Defect] = {
    "TTFT at the role chunk": Defect(
        client=reported("ttft_ms", since_sent(lambda r: r.chunk_ns[0])),
        metric="ttft_ms", size=-140, cause="ends at the role chunk"),
    "TTFT after JSON parsing, under load": Defect(
        client=Client(transport=LateStamps),
        metric="ttft_ms", size=6.5, cause="the time stamps are late, most of all in the tail: the client was busy"),
    "latency ended at the usage chunk": Defect(
        client=reported("e2el_ms", since_sent(lambda r: r.chunk_ns[r.chunk_kind.index("u")])),
        metric="e2el_ms", size=30, cause="ends at the usage chunk"),
    "latency ended at [DONE]": Defect(
        client=reported("e2el_ms", since_sent(lambda r: r.chunk_ns[-1])),
        metric="e2el_ms", size=35, cause="ends at the last chunk of any kind, [DONE]"),
    "TPOT that includes TTFT": Defect(
        client=reported("tpot_ms", tpot_with_ttft), metric="tpot_ms", size=9.8, cause="it includes TTFT"),
    "chunks counted as tokens": Defect(
        client=Client(transport=ChunksAsTokens), metric="tpot_ms", size=3, cause="chunks are counted as tokens"),
    "reasoning ignored": Defect(
        client=Client(transport=ReasoningIgnored), metric="ttft_ms", size=17, cause="reasoning is not counted as text"),
    "reasoning counted twice": Defect(
        client=Client(transport=ReasoningTwice), metric="tpot_ms", size=-0.9, cause="reasoning tokens are counted twice"),
    "an error inside a 200 stream scored as success": Defect(
        client=Client(transport=ErrorsAsSuccess), metric="requests", size=1, cause="an error inside a 200 stream is counted"),
    "a failed request's latency mixed in": Defect(
        client=reported("ttft_ms", ttft_or_time_until_failure, failed=True),
        metric="ttft_ms", size=-0.5, cause="failed requests are included"),
    "relative sleeps between sends": Defect(
        client=Client(dispatcher=Relative), metric="arrivals", size=7, cause="delays add up"),
    "the same arrival seed in every worker": Defect(
        client=Client(offsets=same_seed), metric="arrivals", size=790, cause="every worker draws the same arrivals"),
    "a rate gated by the concurrency cap": Defect(
        client=Client(dispatcher=Gated), metric="arrivals", size=121, cause="the cap on concurrency sets the rate"),
    "the wall clock stepped in mid-run": Defect(
        client=Client(transport=SteppedClock), metric="ttft_ms", size=250, cause="the clock was set by +250.0 ms"),
    "percentiles averaged over workers": Defect(
        client=Client(numbers=averaged_over_workers),
        metric="ttft_ms", size=-22.6, cause="quantiles of the workers are averaged"),
    "warm-up in the numerator alone": Defect(
        client=Client(numbers=warmup_in_the_numerator),
        metric="requests_per_s", size=3, cause="warm-up requests are counted, and their time is not"),
    "percentile by truncated index": Defect(
        client=Client(numbers=at_a_truncated_index),
        metric="ttft_ms", size=8, cause="values at a truncated index", status=Status.SUSPECT),
    "whole milliseconds": Defect(
        client=reported("tpot_ms", cut_to_whole_ms),
        metric="tpot_ms", size=-0.95, cause="cut to whole milliseconds", status=Status.SUSPECT),
    "SSE split on U+2028": Defect(
        client=Client(transport=parsing_with(LineSplitter)), metric="requests", size=30, cause="events are cut at U+2028"),
    "a chunk lost at a buffer boundary": Defect(
        client=Client(transport=parsing_with(Forgetful)), metric="chunks", size=-30, cause="chunks are lost"),
    "a new connection's set-up in TTFT": Defect(
        client=Client(transport=ConnectInTTFT), metric="ttft_ms", size=4, cause="it includes the set-up of a new connection"),
    "a new connection's set-up added to TTFT": Defect(
        client=reported("ttft_ms", ttft_with_connect, transport=NoPool),
        metric="ttft_ms", size=4, cause="it includes the set-up of a new connection"),
}  # fmt: skip
