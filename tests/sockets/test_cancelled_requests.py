"""Users who cancel, over sockets: each transport closes the connection, also with TLS, and the mock's ledger shows it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from bench.clock import Timer, process_clock
from bench.records import Outcome, RequestRecord
from bench.traffic.cancel import parse
from bench.transport import TRANSPORTS
from bench.transport.interface import Reading, Target
from bench.workload import Request
from tests.support.literal_replies import CHUNKED, GOOD, ROLE, chunk, content, frames, head, stream
from tests.support.literal_server import CERTIFICATE, Hang, LiteralServer, Send, Step, in_turn
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import run_to_end
from tests.support.record_rows import record_rows

MS = 1_000_000
HALF: list[Step] = [
    Send(head("200 OK", "text/event-stream", CHUNKED)),
    *(Send(chunk(b)) for b in frames(ROLE, content("a"))),
    Hang(),
]


class PatientClock:
    """The clock of this process, but no deadline passes until `may()` is true and some turns of the loop are over. In
    these turns, received data passes through the layers of httpx."""

    def __init__(self, may: Callable[[], bool]) -> None:
        self._clock = process_clock()
        self._may = may
        self.name = self._clock.name
        self.now_ns, self.next_ns, self.close = self._clock.now_ns, self._clock.next_ns, self._clock.close

    def call_at(self, deadline_ns: int, call: Callable[[], None]) -> Timer:
        timer = Timer(deadline_ns, call)

        def due() -> None:
            if self._may():
                turn(50)
            else:
                self._clock.call_at(self.now_ns() + MS, due)

        def turn(left: int) -> None:
            if left:
                asyncio.get_running_loop().call_soon(turn, left - 1)
            elif timer.call is not None:
                timer.call()

        self._clock.call_at(deadline_ns, due)
        return timer


def ask(
    transport: str, url: str, after_ns: list[int | None], may: Callable[[int], bool], **target: Any
) -> list[RequestRecord]:
    """The records of successive requests, whose users leave after these times, once `may()` allows it."""

    async def main() -> list[RequestRecord]:
        records: list[RequestRecord] = []
        clock = PatientClock(lambda: may(len(records)))
        sender = TRANSPORTS[transport](Target(url=url, **target), Reading(), clock)
        await sender.open()
        try:
            for index, after in enumerate(after_ns):
                answered: asyncio.Future[RequestRecord] = asyncio.get_running_loop().create_future()
                request = Request(
                    id=f"r-{index}", index=index, body=b"{}", stream=True, input_tokens_asked=None,
                    output_tokens_asked=None, cancel_after_ns=after,
                )  # fmt: skip
                now = clock.now_ns()
                sender.start(request, now, now, answered.set_result)
                records.append(await answered)
        finally:
            await sender.close()
            clock.close()
        return records

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("transport", ["wire", "httpx"])
def test_the_client_closes_the_connection_and_goes_on_with_another(transport: str, tls: bool) -> None:
    with LiteralServer(in_turn(HALF, [Hang()], stream(*GOOD)), tls=tls) as server:
        written = [len(HALF) - 1, 0]

        def may(index: int) -> bool:
            """Whether the server has the request and has written everything that it will. Wire reads all of that when
            the user leaves; httpx does not, so it must have read it before."""
            had = server.received[index:]
            return bool(had) and (
                index == 2 or (len(had[0].writes) == written[index] and (transport == "wire" or server.all_is_read()))
            )

        trust = {"ca_file": str(CERTIFICATE)} if tls else {}
        url = server.url.replace("127.0.0.1", "localhost") if tls else server.url
        after: list[int | None] = [15 * MS, 5 * MS, 3_600_000 * MS]
        half, nothing, whole = ask(transport, url + "/", after, may, **trust)
        assert all(request.client_gone.wait(PATIENCE_S) for request in server.received[:2])
    assert (half.outcome, half.chunk_kind, half.status, half.error) == (Outcome.CANCELLED, "rc", 200, None)
    assert (nothing.outcome, nothing.status, nothing.chunk_ns) == (Outcome.CANCELLED, None, ())
    for record, least in ((half, 15 * MS), (nothing, 5 * MS)):
        assert record.end_ns - (record.sent_ns or 0) >= least
    assert whole.outcome is Outcome.OK


@pytest.mark.parametrize("transport", ["wire", "httpx"])
def test_the_mock_sees_exactly_those_leave_who_were_planned(transport: str, tmp_path: Path) -> None:
    plan, out = parse("share=50%,after=uniform:40ms..120ms"), tmp_path / "run"
    leaving = {number for number in range(24) if plan.after_ns(5, number) is not None}
    # Their replies cannot end before the users leave, however late that is. All other replies take more than 120 ms.
    stalls = [word for number in leaving for word in ("--fault", f"stall:index={number},after=1,for=600s")]
    with mock_process("--ttft", "20ms", "--tpot", "20ms", *stalls) as mock:
        command = [sys.executable, "-m", "bench", "run", "--url", mock.url, "--requests", "24", "--concurrency", "4"]
        command += ["--workers", "2", "--transport", transport, "--seed", "5", "--cancel", str(plan), "--quiet"]
        command += ["--input-tokens", "20", "--output-tokens", "10", "--out", str(out)]
        ran = run_to_end(command)
        assert ran.returncode in (0, 3), ran.stderr
        records = record_rows(out / "requests.jsonl")
        lines = mock.lines_of([record["id"] for record in records])
    assert {record["index"] for record in records if record["outcome"] == "cancelled"} == leaving
    assert {record["outcome"] for record in records} == {"ok", "cancelled"}
    for record in records:
        cut = lines[record["id"]]["engine"].get("cut")
        assert cut == ("client_closed" if record["index"] in leaving else None)
    counts = json.loads((out / "summary.json").read_text())["counts"]
    assert (counts["cancelled"], counts["failed"]) == (len(leaving), 0)
