"""Users who give up, over sockets: each transport closes the connection, with TLS too, and the mock's ledger says so."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import uvloop

from bench.clock import process_clock
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
from tests.support.timing import timing

MS = 1_000_000
HALF: list[Step] = [
    Send(head("200 OK", "text/event-stream", CHUNKED)),
    *(Send(chunk(b)) for b in frames(ROLE, content("a"))),
    Hang(),
]


def ask(transport: str, url: str, after_ns: list[int | None], **target: Any) -> list[RequestRecord]:
    """The records of one request after the other, whose users leave after these times."""

    async def main() -> list[RequestRecord]:
        clock = process_clock()
        sender = TRANSPORTS[transport](Target(url=url, **target), Reading(), clock)
        await sender.open()
        records = []
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
@timing(tries=10, why="TODO In which half of the reply has come when its user leaves.")
def test_the_client_closes_the_connection_and_goes_on_with_another(transport: str, tls: bool) -> None:
    with LiteralServer(in_turn(HALF, [Hang()], stream(*GOOD)), tls=tls) as server:
        trust = {"ca_file": str(CERTIFICATE)} if tls else {}
        url = server.url.replace("127.0.0.1", "localhost") if tls else server.url
        after: list[int | None] = [150 * MS, 50 * MS, 3_600_000 * MS]
        half, nothing, whole = ask(transport, url + "/", after, **trust)
        assert all(request.client_gone.wait(PATIENCE_S) for request in server.received[:2])
    assert (half.outcome, half.chunk_kind, half.status, half.error) == (Outcome.CANCELLED, "rc", 200, None)
    assert (nothing.outcome, nothing.status, nothing.chunk_ns) == (Outcome.CANCELLED, None, ())
    for record, least in ((half, 150 * MS), (nothing, 50 * MS)):
        assert record.end_ns - (record.sent_ns or 0) >= least
    assert whole.outcome is Outcome.OK


@pytest.mark.parametrize("transport", ["wire", "httpx"])
def test_the_mock_sees_exactly_those_leave_who_were_planned(transport: str, tmp_path: Path) -> None:
    plan, out = parse("share=50%,after=uniform:40ms..120ms"), tmp_path / "run"
    with mock_process("--ttft", "20ms", "--tpot", "20ms") as mock:
        command = [sys.executable, "-m", "bench", "run", "--url", mock.url, "--requests", "24", "--concurrency", "4"]
        command += ["--workers", "2", "--transport", transport, "--seed", "5", "--cancel", str(plan), "--quiet"]
        command += ["--input-tokens", "20", "--output-tokens", "60", "--out", str(out)]
        ran = run_to_end(command)
        lines = {line["id"]: line for line in mock.ledger_lines(at_least=25)}
    assert ran.returncode in (0, 3), ran.stderr
    records = [json.loads(line) for line in (out / "requests.jsonl").read_text().splitlines()]
    left = {record["index"] for record in records if record["outcome"] == "cancelled"}
    # A reply takes over a second: everybody who is to leave has left before.
    assert left == {number for number in range(24) if plan.after_ns(5, number) is not None}
    assert {record["outcome"] for record in records} == {"ok", "cancelled"}
    for record in records:
        cut = lines[record["id"]]["engine"].get("cut")
        assert cut == ("client_closed" if record["index"] in left else None)
    counts = json.loads((out / "summary.json").read_text())["counts"]
    assert (counts["cancelled"], counts["failed"]) == (len(left), 0)
