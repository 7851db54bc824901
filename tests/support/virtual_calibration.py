"""A whole calibration in virtual time: two workers, a server that writes its ledger, the certificate, the verdict.

The dispatchers, the exchange (bytes and stamps to records), the summary, the certificate and the verdict are real. The
network and the server are not: `Server` decides what it writes to a request and when, and `PaperTransport` reads it,
each read LAG_NS after its write. A `Client` with one part replaced is a client with one planted defect
(tests/support/defects.py).
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bench.accuracy.compare import certify
from bench.clock import Clock, LoopClock
from bench.dispatch.in_flight import InFlightCounter
from bench.dispatch.open_loop import OpenLoop
from bench.dispatch.sending import Sending
from bench.dispatch.stop import Stop
from bench.errors import Exit
from bench.evaluate import exit_status
from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.modes.share import RunLength, deal, draw
from bench.records import RequestRecord, to_line
from bench.results.base import to_plain
from bench.results.summary import RunSummary
from bench.rng import stream
from bench.run_files.run_directory import RunDirectory
from bench.schedule import ARRIVALS
from bench.transport.exchange import Exchange
from bench.transport.interface import OnEnd, OnRecord, Reading, ReplyInFlight, ignore
from bench.verdict import judge
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Verdict
from bench.verdict.limits import Limits
from bench.workload import Encoded, Request, Supply
from promptset.samples import Sample
from tests.support.changed import replace
from tests.support.results import filled
from tests.support.tables import measured, table_of
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual

MS = 1_000_000
START = START_NS + 11
WORKERS = 2
RATE = 40.0
BODY = b'{"stream": true}'
LAG_NS = 2_000
"""From the server's write to the read."""
WAY_IN_NS = 10_000
CONNECT_NS = 4 * MS
SEND_WORK_NS = 50_000
"""The client's work for each send."""


@dataclass(slots=True)
class Written:
    """One write of the server: its delay after the request, its bytes, its kind, and its number of tokens.

    `cut`: the event comes in two reads, split there. `kind` is empty if it is not a separate event.
    """

    at_ns: int
    event: bytes
    kind: str
    tokens: int = 0
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's answer to a request."""

    status: int
    written: tuple[Written, ...]
    fault: str | None = None


def event(body: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


def delta(tokens_so_far: int, **fields: str) -> bytes:
    usage = {"prompt_tokens": 7, "completion_tokens": tokens_so_far}
    return event({"choices": [{"delta": fields, "finish_reason": None}], "usage": usage})


def varied(index: int, seed: int) -> Answer:
    """Everything needed to expose a planted defect: an early role chunk, three chunks of reasoning, chunks of several
    tokens, usage 30 and [DONE] 35 ms after the last token. Odd requests, which go to worker 1, are slower. Request 77
    is refused, 155 ends with an error, some have U+2028 in their text, and some events come in two reads."""
    chance = stream(seed, "answer", index)
    ttft_ns = round(30 * MS + 25 * MS * chance.lognormvariate(0, 0.6) * (2 if index % 2 else 1))
    if index == 77:
        return Answer(429, (Written(2 * MS, b'{"error":{"message":"busy"}}', ""),), "429")
    faults = {3: "u2028", 6: "split"}
    fault = faults.get(index % 10)
    at_ns, tokens = ttft_ns, 0
    written = [Written(ttft_ns // 4, event({"choices": [{"delta": {"role": "assistant", "content": ""}}]}), "r")]
    gap_ns = 5.6 * MS * chance.uniform(0.95, 1.05)
    for i, share in enumerate((1, 1, 1, 1, 3, 1, 4, 1, 1, 2, 1, 1)):
        at_ns += 0 if i == 0 else round(gap_ns * share * chance.uniform(0.95, 1.05))
        tokens += share
        said = {"reasoning": "hm"} if i < 3 else {"content": "a\u2028b" if fault == "u2028" and i == 8 else "ab"}
        cut = 20 if fault == "split" and i == 7 else None
        written.append(Written(at_ns, delta(tokens, **said), "t" if i < 3 else "c", share, cut))
        if index == 155 and i == 5:
            written.append(Written(at_ns + 1 * MS, event({"error": {"message": "out of memory"}}), "o"))
            written.append(Written(at_ns + 2 * MS, b"data: [DONE]\n\n", "o"))
            return Answer(200, tuple(written), "error_in_stream")
    usage = {"prompt_tokens": 7, "completion_tokens": tokens}
    written.append(Written(at_ns + 30 * MS, event({"choices": [], "usage": usage}), "u"))
    written.append(Written(at_ns + 35 * MS, b"data: [DONE]\n\n", "o"))
    return Answer(200, tuple(written), fault)


def plain(index: int, seed: int) -> Answer:
    """Six tokens: TTFT lognormal with median 50 ms and sigma 0.4, a time per token drawn once per request from 15..25
    ms."""
    chance = stream(seed, "plain", index)
    at_ns = round(50 * MS * chance.lognormvariate(0, SIGMA))
    gap_ns = round(MS * chance.uniform(15, 25))
    written = [Written(at_ns + i * gap_ns, _TOKEN, "c", 1) for i in range(6)]
    return Answer(
        200, (*written, Written(written[-1].at_ns, _SIX, "u"), Written(written[-1].at_ns, b"data: [DONE]\n\n", "o"))
    )


SIGMA = 0.4
_TOKEN = event({"choices": [{"delta": {"content": "ab"}, "finish_reason": None}]})
_SIX = event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 6}})
PLAIN_TRUTH = {
    "expected": {
        "ttft_ms": {"mean": 50 * math.exp(SIGMA**2 / 2), "p50": 50.0},
        "tpot_ms": {"mean": 20.0, "p50": 20.0},
        "itl_ms": {"mean": 20.0},
    }
}
"""The expected values of `plain`, in closed form."""


@dataclass(slots=True)
class Server:
    """Answers requests by their index, and writes a ledger line for each."""

    answer: Callable[[int, int], Answer]
    seed: int
    lines: list[dict[str, Any]] = field(default_factory=list)

    def receive(self, request: Request, received_ns: int) -> Answer:
        answer = self.answer(request.index, self.seed)
        chunks = [w for w in answer.written if w.kind]
        tokens = [w for w in chunks if w.kind in "ctf"]
        stamps = [[received_ns + w.at_ns] * max(w.tokens, 1) for w in tokens]
        instants = list(itertools.chain.from_iterable(stamps))
        self.lines.append(
            {
                "id": request.id,
                "index": request.index,
                "attempt": 1,
                "received_ns": received_ns,
                "handled_ns": received_ns + 1_000,
                "planned": {
                    "ttft_ns": instants[0] - received_ns if instants else None,
                    "gaps_ns": [b - a for a, b in itertools.pairwise(instants)],
                    "output_tokens": len(instants),
                    "fault": answer.fault,
                },
                "write_ns": [received_ns + w.at_ns for w in chunks],
                "chunk_tokens": [w.tokens for w in chunks],
                "chunk_kind": "".join(w.kind for w in chunks),
                "blocked": [],
                "end_ns": received_ns + answer.written[-1].at_ns,
                "input_tokens": 7 if answer.status == 200 else None,
                "status": answer.status,
                "fault": answer.fault,
                "bytes_in": len(BODY),
                "bytes_out": sum(len(w.event) for w in answer.written),
                "engine": {},
            }
        )
        return answer


class PaperTransport:
    """Reads what the server writes. The first requests of a worker wait for a new connection."""

    new_connections = 8

    def __init__(self, server: Server, clock: Clock, loop: VirtualTimeLoop, worker: int) -> None:
        self.server, self.clock, self.loop, self.worker = server, clock, loop, worker
        self.begun = 0

    async def open(self) -> None:
        """Nothing to prepare."""

    async def close(self) -> None:
        """Nothing to release."""

    async def prepare(self, connections: int) -> None:
        """Connections are made when they are needed."""

    def read_replies(self, then: Callable[[Iterable[ReplyInFlight]], None]) -> None:
        """Nothing watches for replies."""

    def cut(self) -> None:
        """Nothing is ever cut."""

    def start(
        self, request: Request, intended_ns: int, eligible_ns: int, done: OnRecord, ended: OnEnd = ignore
    ) -> None:
        self.loop.charge(SEND_WORK_NS)
        exchange = self.exchange(request, intended_ns, eligible_ns)
        self.begun += 1
        began_ns = self.clock.now_ns()
        connect_ns = CONNECT_NS if self.begun <= self.new_connections else 0

        def send() -> None:
            now = self.clock.now_ns()
            exchange.connect_ns = now - began_ns if connect_ns else 0
            exchange.sent_ns = self.sent_ns(began_ns, now)
            self._answer(exchange, now + WAY_IN_NS, done, ended)

        if connect_ns:
            self.clock.call_at(began_ns + connect_ns, send)
        else:
            send()

    def _answer(self, exchange: Exchange, received_ns: int, done: OnRecord, ended: OnEnd) -> None:
        answer = self.server.receive(exchange.request, received_ns)
        reads: list[tuple[int, bytes]] = []
        for written in answer.written:
            at_ns, cut = received_ns + written.at_ns, written.cut or 0
            if cut:
                reads.append((at_ns - MS, written.event[:cut]))
            reads.append((at_ns, written.event[cut:]))
        bounds = [received_ns, *(at_ns for at_ns, _ in reads)]

        def read(i: int) -> None:
            stamp = self.stamp_ns(reads[i][0] + LAG_NS)
            if exchange.first_byte_ns is None:
                exchange.first_byte_ns = stamp
                content_type = "text/event-stream" if answer.status == 200 else "application/json"
                exchange.head(answer.status, content_type, "", None)
                self.begin(exchange)
            self.feed(exchange, reads[i][1], stamp, bounds[i])
            if i + 1 < len(reads):
                self.clock.call_at(reads[i + 1][0] + LAG_NS, lambda: read(i + 1))
            else:
                ended(stamp, exchange.is_whole(None))
                done(self.close_record(exchange, stamp))

        self.clock.call_at(reads[0][0] + LAG_NS, lambda: read(0))

    # Parts that a defect may replace.

    def exchange(self, request: Request, intended_ns: int, eligible_ns: int) -> Exchange:
        return Exchange(request, intended_ns, eligible_ns, Reading(), clock="kernel")

    def begin(self, exchange: Exchange) -> None:
        """The head has arrived."""

    def sent_ns(self, began_ns: int, now_ns: int) -> int:
        """When a request was sent whose connection was requested at `began_ns`."""
        return now_ns

    def stamp_ns(self, arrived_ns: int) -> int:
        """The stamp of a read: the kernel stamps its arrival, however late it is read."""
        return arrived_ns

    def feed(self, exchange: Exchange, piece: bytes, stamp_ns: int, bound_ns: int) -> None:
        exchange.feed(piece, stamp_ns, bound_ns)

    def close_record(self, exchange: Exchange, end_ns: int) -> RequestRecord:
        return exchange.close(end_ns)


Numbers = Callable[[dict[str, Any], Sequence[RequestRecord]], dict[str, Any]]


def planned(seed: int) -> Iterator[int]:
    return ARRIVALS["poisson"](RATE, 1.0, stream(seed, "arrivals"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The parts of a load tester. `numbers` falsifies the report's numbers, from the correct ones and the records."""

    transport: type[PaperTransport] = PaperTransport
    dispatcher: Callable[..., OpenLoop] = OpenLoop
    offsets: Callable[[int, int, Sequence[int]], Sequence[int]] = lambda seed, worker, dealt: dealt
    numbers: Numbers = lambda summary, records: summary


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The certificate and the verdict."""

    certificate: dict[str, Any]
    verdict: Verdict
    exit: Exit
    summary: Any


@dataclass(frozen=True, slots=True)
class Ran:
    """The output of a load, before any numbers are computed from it."""

    records: list[RequestRecord]
    lines: list[dict[str, Any]]
    start_ns: int
    summary: Any


@functools.lru_cache(maxsize=2)
def _ran(
    transport: type[PaperTransport],
    dispatcher: Callable[..., OpenLoop],
    offsets: Callable[[int, int, Sequence[int]], Sequence[int]],
    seed: int,
    answer: Callable[[int, int], Answer],
    length: RunLength,
) -> Ran:
    """Run the load, once for all clients that differ only in their numbers. Callers must not change the result."""
    server = Server(answer, seed)
    records: list[RequestRecord] = []
    arrivals = draw(planned(seed), length)
    starts: list[int] = []

    async def main(loop: VirtualTimeLoop) -> None:
        clock = LoopClock()
        running = []
        for share in deal(arrivals, WORKERS, None):
            assert share.offsets_ns is not None
            stop = Stop(clock, start_ns=START, requests=share.requests, duration_ns=None,
                        warmup_requests=share.warmup_requests)  # fmt: skip
            supply = Supply(itertools.repeat(Sample(prompt="x")), lambda sample: Encoded(BODY, True, None), "made",
                            first=share.worker, step=WORKERS)  # fmt: skip

            def keep(record: RequestRecord, worker: int = share.worker) -> None:
                records.append(replace(record, worker=worker))

            sending = Sending(transport=transport(server, clock, loop, share.worker), clock=clock, stop=stop,
                              in_flight=InFlightCounter(), on_record=keep)  # fmt: skip
            sender = dispatcher(
                supply, sending, offsets=iter(offsets(seed, share.worker, share.offsets_ns)), cap=None, drop_late=False
            )
            running.append((sender.run(START), stop))
        await asyncio.gather(*(run for run, _ in running))
        starts.extend(stop.run_start_ns for _, stop in running if stop.run_start_ns is not None)

    run_virtual(main)
    start_ns = min(starts)
    summary = Summary(
        RunFacts(mode="rate", open_loop=True, endpoint="chat", start_ns=start_ns, seed=seed, offered_rps=RATE)
    )
    summary.add(table_of(*records))
    return Ran(records, server.lines, start_ns, to_plain(summary.close()))


def calibrated(
    client: Client,
    folder: Path,
    *,
    seed: int = 5,
    answer: Callable[[int, int], Answer] = varied,
    requests: int = 280,
    warmup: int = 20,
    truth: Mapping[str, Any] | None = None,
) -> Calibrated:
    """Run the load, and judge it."""
    length = RunLength(requests=requests, duration_ns=None, warmup_requests=warmup)
    # mypy would look up the hash of the instance's class.
    transport: Any = client.transport
    ran = _ran(transport, client.dispatcher, client.offsets, seed, answer, length)
    numbers = client.numbers(ran.summary, ran.records)
    typed = filled(RunSummary, numbers)
    directory = RunDirectory.create(folder / f"run-{seed}")
    (directory.path / "requests.jsonl").write_bytes(b"".join(map(to_line, ran.records)))
    (directory.path / "ledger.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in ran.lines))
    certificate = certify(directory, typed, measured, start_ns=ran.start_ns,
                        truth=truth, planned=(START + offset_ns for offset_ns in planned(seed)))  # fmt: skip
    assert certificate is not None
    calibration, plots = certificate
    found = to_plain(calibration) | {"plots": to_plain(plots)}
    verdict = judge(RunEvidence(summary=typed, open_loop=True, exact_lengths=False, calibration=calibration), Limits())
    told = filled(RunSummary, {**numbers, "verdict": {"status": verdict.status, "reasons": verdict.reasons}})
    return Calibrated(found, verdict, exit_status(told), numbers)
