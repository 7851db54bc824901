"""Every fault of the mock as both transports of bench see it: their records agree with the ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from bench import cli
from bench.accuracy.join import OUTCOME_OF_FAULT, Join
from bench.accuracy.ledger import Ledger
from bench.accuracy.truth import true_values
from bench.clock import process_clock
from bench.endpoints import ENDPOINTS, encode, urls
from bench.endpoints.interface import BodyOptions
from bench.records import Outcome, RequestRecord
from bench.transport import TRANSPORTS
from bench.transport.interface import Reading, Target
from bench.workload import Request
from mockserver.faults import FAULTS
from promptset.samples import Sample
from tests.support import slow_metrics as per_request
from tests.support.changed import replace
from tests.support.mock_process import MockProcess, mock_process

MS = 1_000_000

STREAMED = [
    *(name for name in FAULTS if name not in ("refuse", "slow_accept", "no_headers", "keepalive", "degrade", "pause")),
    "stall:after=3,for=30ms",
    "degrade:over=1s",
    "pause:period=50ms,for=10ms",
    "keepalive:period=5ms;stall:after=2,for=2s",
    "no_headers",
    "no_headers:for=200ms",
    *(f"{name}:after=0" for name, kind in FAULTS.items() if kind.strikes),
    *(f"{name}:after=7" for name, kind in FAULTS.items() if kind.strikes),
    # Several faults at once.
    "crlf;comments;gzip;trickle",
    "gzip;split;usage_twice;empty;duplicate;reorder",
    "gzip;cut_frame",
    "gzip;no_done",
    "trickle;reset",
    "coalesce:chunks=3;truncate",
    "malformed:after=1;error_in_stream:after=4",
    "malformed:after=2;truncate:after=5",
    "crlf;split_utf8;u2028;role_with_token;keepalive:period=1ms",
    "slow;role_early;length:more=3;no_done",
]
WHOLE = [
    "429", "502", "stall:for=30ms", "no_headers:for=200ms", "reset", "truncate", "cut_frame", "error_in_stream", "malformed",
    "u2028", "usage_missing", "usage_wrong", "length", "gzip", "gzip;cut_frame", "gzip;malformed", "crlf;split;usage_twice",
]  # fmt: skip
ONE_EACH = [
    *(name for name in FAULTS if name not in ("refuse", "slow_accept", "stall", "no_headers", "keepalive")),
    "stall:for=50ms,after=2",
    "no_headers:for=100ms",
    "keepalive:period=2ms",
]
OF_PROBES = {"stale_prefix", "wrong_answer", "garble_preempted", "cut_json"}
"""Faults of answers to probes, of JSON and of preempted requests: tests/sockets/test_mock_probes.py."""
NOTHING_TO_DO: dict[str, set[str]] = {
    "chat": {"lost_response", *OF_PROBES},
    "messages": {"lost_response", "role_with_token", "keepalive", *OF_PROBES},
    "responses": {"lost_response", "role_early", "role_with_token", "usage_twice", *OF_PROBES},
    "transcriptions": {
        "lost_response",
        "role_early",
        "role_with_token",
        "role_absent",
        "usage_twice",
        "keepalive",
        *OF_PROBES,
    },
}
"""Faults that do not exist in a dialect: docs/mock.md. A `ping` has to wait for the stream to begin."""
CASES = [*((spec, True) for spec in ["", *STREAMED]), *((spec, False) for spec in ["", *WHOLE])]


def rules() -> list[str]:
    flags = []
    for index, (spec, _) in enumerate(CASES):
        for one in filter(None, spec.split(";")):
            flags += ["--fault", f"{one}{',' if ':' in one else ':'}index={index}"]
    return flags


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--ttft", "20ms", "--tpot", "3ms", "--output-tokens", "8", *rules()) as mock:
        yield mock


async def ask_all(mock: MockProcess, name: str, endpoint: str) -> list[RequestRecord]:
    clock = process_clock()
    target = Target(url=urls.endpoint_url(mock.url, endpoint), headers=ENDPOINTS[endpoint].headers(None))
    reading = Reading(endpoint=ENDPOINTS[endpoint])
    patient = TRANSPORTS[name](target, reading, clock)
    # A short time limit, for the reply that never comes.
    hasty = TRANSPORTS[name](replace(target, timeout_first_byte_ns=300 * MS), reading, clock)
    await patient.open()
    await hasty.open()
    try:
        answers = []
        for index, (spec, streamed) in enumerate(CASES):
            options = BodyOptions(endpoint=endpoint, model="mock-model", stream=streamed)
            encoded = encode(Sample(prompt="x", output_tokens=8), options)
            answer: asyncio.Future[RequestRecord] = asyncio.get_running_loop().create_future()
            request = Request(
                id=f"{endpoint}-{name}-{index}",
                index=index,
                body=encoded.body,
                stream=streamed,
                input_tokens_asked=None,
                output_tokens_asked=8,
            )
            now = clock.now_ns()
            transport = hasty if spec == "no_headers" else patient
            transport.start(request, now, now, answer.set_result)
            answers.append(answer)
        return await asyncio.gather(*answers)
    finally:
        await patient.close()
        await hasty.close()
        clock.close()


def joined(mock: MockProcess, records: list[RequestRecord], endpoint: str) -> Join:
    mock.lines_of({record.id for record in records})
    with mock.ledger_path.open("rb") as file:
        join = Join(Ledger(file), endpoint)
        pairs = list(join.pairs(records))
    assert len(pairs) == len(CASES)
    for pair in pairs:
        spec, streamed = CASES[pair.record.index]
        asked = {one.strip().partition(":")[0] for one in spec.split(";") if one}
        met = set((pair.line["planned"]["fault"] or "").split("+")) - {""}
        struck = set((pair.line["fault"] or "").split("+")) - {""}
        assert met == asked, spec
        if (
            streamed
            and not asked & {"no_headers", "429"}
            and (len(asked) == 1 or "stall" in asked)
            and spec != "reorder:after=7"
            and not asked & NOTHING_TO_DO[endpoint]
        ):
            assert struck == asked, spec
        if pair.record.outcome is Outcome.OK and pair.record.phase == "run":
            same_metrics(pair.record, true_values(pair), spec)
    return join


def same_metrics(record: RequestRecord, truth: Mapping[str, object], spec: str) -> None:
    """Both must have the same number of samples: a fault in chunks must not shift one against the other."""
    itl, gaps = truth.get("itl_ms"), truth.get("chunk_gap_ms")
    assert (per_request.tpot_ms(record) is not None) is ("tpot_ms" in truth), spec
    if gaps is not None:
        assert isinstance(gaps, list)
        assert len(gaps) == per_request.token_chunk_count(record) - 1, spec
    if record.chunk_tokens is not None and isinstance(itl, list) and "usage_wrong" not in spec:
        assert len(itl) == per_request.output_tokens(record) - 1, spec


@pytest.mark.parametrize(
    ("name", "endpoint"),
    # Parsing a dialect does not depend on the transport, so CI covers only chat with httpx.
    [
        pytest.param(name, endpoint, marks=() if name == "wire" or endpoint == "chat" else pytest.mark.long)
        for name in TRANSPORTS
        for endpoint in NOTHING_TO_DO
    ],
)
def test_what_a_transport_makes_of_every_fault_agrees_with_the_ledger(
    mock: MockProcess, name: str, endpoint: str
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        records = runner.run(ask_all(mock, name, endpoint))
    join = joined(mock, records, endpoint)
    # Lines without a record belong to the other transport.
    problems = [problem for problem in join.problems() if "without a record" not in problem]
    assert problems == []
    outcomes = {record.outcome for record in records}
    # No request here continues a stored response.
    assert outcomes >= {*OUTCOME_OF_FAULT.values(), Outcome.TIMEOUT_FIRST_BYTE} - {Outcome.LOST_RESPONSE}


@pytest.mark.parametrize(
    "name",
    # The test above covers httpx for each fault.
    [pytest.param(name, marks=() if name == "wire" else pytest.mark.long) for name in TRANSPORTS],
)
def test_a_calibration_against_every_fault_agrees_in_every_count(name: str, tmp_path: Path) -> None:
    # Earlier indices belong to the probe and to requests without a fault.
    met = [f"--fault {spec}{',' if ':' in spec else ':'}index={i}" for i, spec in enumerate(ONE_EACH, 5)]
    mock = " ".join(["--ttft 10ms --tpot 2ms --fault slow_accept:for=50ms,rate=0.3", *met])
    requests = len(ONE_EACH) + 10
    words = f"calibrate --no-store --quiet --transport {name} --concurrency 8 --requests {requests} --max-errors 100%"
    out = tmp_path / "run"
    cli.main([*words.split(), *["--input-tokens", "16", "--output-tokens", "8", "--mock"], mock, "--out", str(out)])
    summary = json.loads((out / "summary.json").read_bytes())
    # If a busy client gets a whole reply in one read, there is no speed to measure.
    assert [problem for problem in summary["calibration"]["problems"] if not problem.startswith("tps:")] == []
    # The number of each: eleven refusals, two closed connections of each kind.
    assert summary["counts"]["by_outcome"] == {
        "ok": requests - 17, "http_error": 11, "reset": 2, "truncated": 2, "stream_error": 1, "malformed": 1,
    }  # fmt: skip
    lines = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    # A late mock has no time left for the comment of `keepalive`; the test above gives it two seconds.
    assert {name for line in lines for name in (line["fault"] or "").split("+")} >= FAULTS.keys() - {
        "refuse", "reorder", "lost_response", "keepalive", "cross_talk", *OF_PROBES,
    }  # fmt: skip
