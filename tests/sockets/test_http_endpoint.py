"""Any HTTP service over sockets: the mock's /any against its ledger, and requests from a file as a server receives
them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import cli
from tests.support.calm import lasting
from tests.support.literal_server import LiteralServer, Received, Send, Step

pytestmark = pytest.mark.usefixtures("empty_cache")

MOCK = (
    "--ttft 20ms --tpot 4ms --output-tokens 9 --fault 503:index=5 --fault truncate:after=2,index=6 "
    "--fault reset:after=2,index=7 --fault gzip:index=8 --fault trickle:index=9"
)


def summary_of(path: Path) -> Any:
    found: Any = orjson.loads((path / "summary.json").read_bytes())
    return found


@pytest.mark.parametrize("transport", ["wire", "httpx"])
def test_a_calibration_agrees_with_the_ledger_in_every_count(transport: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = (
        f"--endpoint http --transport {transport} --concurrency 4 --requests 24 --max-errors 100% --workers 1 --quiet"
    )
    cli.main([
        "calibrate", *words.split(), "--body", '{"a":1}', "--expect", "status=200,json:$.ok=true,json:$.id", "--mock", MOCK,
        "--slo", "ttfb:p50<60s", "--no-store", "--out", str(out),
    ])  # fmt: skip
    summary = summary_of(out)
    assert summary["counts"]["by_outcome"] == {"ok": 21, "http_error": 1, "reset": 1, "truncated": 1}
    assert summary["counts"]["by_status"] == {"200": 23, "503": 1}
    assert summary["slo"]["held"] is True
    calibration = summary["calibration"]
    assert lasting(calibration["problems"]) == []
    assert {row["metric"] for row in calibration["metrics"]} == {"e2el_ms", "e2el_from_intended_ms", "ttfb_ms"}
    # The last byte leaves 8 gaps of 4 ms after the first is due, and never early. How late the first is has no limit.
    true = {(row["metric"], row["stat"]): row["true"] for row in calibration["metrics"]}
    assert true["ttfb_ms", "p50"] < true["e2el_ms", "p50"]
    assert true["e2el_ms", "p50"] >= 20 + 8 * 4
    assert {row["metric"] for row in calibration["throughput"]} == {"requests_per_s", "inputs_per_s"}
    inputs = summary["inputs"]
    assert (inputs["are"], inputs["total"], inputs["bytes_sent"]["max"]) == ("requests", 21, 7)
    assert inputs["bytes_received"]["min"] > 40
    assert summary["throughput"]["input_tokens_per_s"] is None


@pytest.mark.parametrize("transport", ["wire", "httpx"])
def test_requests_of_a_file_arrive_with_their_method_path_headers_and_body(transport: str, tmp_path: Path) -> None:
    seen: list[tuple[str, str, str | None, str | None, bytes]] = []

    def script(request: Received) -> list[Step]:
        seen.append(
            (
                request.method,
                request.path,
                request.headers.get("x-a"),
                request.headers.get("content-type"),
                request.body,
            )
        )
        status = b"404 Not Found" if request.path == "/gone" else b"204 No Content"
        return [Send(b"HTTP/1.1 " + status + (b"\r\nContent-Length: 0" if b"404" in status else b"") + b"\r\n\r\n")]

    rows = [
        {"method": "GET", "url": "http://prod/a?b=c", "header": {"X-A": ["row"]}},
        {"method": "PUT", "url": "http://prod/gone", "body": "AGI="},
    ]
    (tmp_path / "targets.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    with LiteralServer(script) as server:
        words = f"--endpoint http --transport {transport} --concurrency 1 --requests 2 --workers 1 --quiet"
        cli.main([
            "run", "--url", server.url, *words.split(), "--dataset", str(tmp_path / "targets.jsonl"), "--header", "X-A: run",
            "--expect", "status=204|404", "--out", str(tmp_path / "run"),
        ])  # fmt: skip
    assert seen[-2:] == [
        ("GET", "/a?b=c", "row", None, b""),
        ("PUT", "/gone", "run", "application/json", b"\x00b"),
    ]
    assert len(seen) == 3  # The probe sends the first request; nothing requests models or metrics.
    summary = summary_of(tmp_path / "run")
    assert summary["counts"]["by_outcome"] == {"ok": 2}
    assert summary["counts"]["by_status"] == {"204": 1, "404": 1}


@pytest.mark.parametrize("transport", ["wire", "httpx"])
@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked", b"X-A: b"])
def test_a_response_to_head_ends_with_its_head_and_the_connection_serves_the_next(
    transport: str, framing: bytes, tmp_path: Path
) -> None:
    def script(request: Received) -> list[Step]:
        return [Send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")]

    with LiteralServer(script) as server:
        words = (
            f"--endpoint http --method head --transport {transport} --concurrency 1 --requests 3 --workers 1 --quiet"
        )
        cli.main(["run", "--url", server.url, *words.split(), "--out", str(tmp_path / "run")])
        assert {request.method for request in server.received} == {"HEAD"}
        assert server.connections == 1
    summary = summary_of(tmp_path / "run")
    assert summary["counts"]["by_outcome"] == {"ok": 3}
    assert summary["latency"]["ttfb_ms"]["n"] == summary["latency"]["e2el_ms"]["n"] == 3


def test_a_body_behind_a_response_to_head_belongs_to_nothing_and_ends_the_connection(tmp_path: Path) -> None:
    def script(request: Received) -> list[Step]:
        return [Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")]

    with LiteralServer(script) as server:
        words = "--endpoint http --method HEAD --transport wire --concurrency 1 --requests 3 --workers 1 --quiet"
        cli.main(["run", "--url", server.url, *words.split(), "--out", str(tmp_path / "run")])
        assert server.connections == 4
    summary = summary_of(tmp_path / "run")
    assert summary["counts"]["by_outcome"] == {"ok": 3}
    assert summary["inputs"]["bytes_received"]["max"] == 0


SESSIONS = [
    {"method": "POST", "url": "http://h/any/login", "body": "eyJ1IjogMX0=", "session": "a"},
    {"method": "HEAD", "url": "http://h/any/item", "session": 7, "header": {"x-a": ["b"]}},
    {"method": "GET", "url": "http://h/any/list", "session": "a", "think_time_s": 0.2},
    {"method": "DELETE", "url": "http://h/any/item", "session": 7},
    {"method": "GET", "url": "http://h/any/out", "session": "a", "think_time_s": 0.1},
]


def test_sessions_of_a_service_send_their_requests_one_after_the_other_with_pauses(tmp_path: Path) -> None:
    (tmp_path / "targets.jsonl").write_bytes(b"\n".join(map(orjson.dumps, SESSIONS)))
    words = "--endpoint http --mode sessions --concurrency 2 --requests 10 --workers 1 --quiet --no-store"
    data = ["--dataset", str(tmp_path / "targets.jsonl"), "--mock", "--ttft 5ms --tpot 1ms --output-tokens 3"]
    cli.main(["calibrate", *words.split(), *data, "--out", str(tmp_path / "run")])
    summary = summary_of(tmp_path / "run")
    assert summary["counts"]["by_outcome"] == {"ok": 10}
    assert lasting(summary["calibration"]["problems"]) == []
    lines = (tmp_path / "run" / "requests.jsonl").read_bytes().splitlines()
    rows: list[Any] = sorted(map(orjson.loads, lines), key=lambda row: (row["session_number"], row["turn"]))
    first = [row for row in rows if row["session_number"] == 0]
    assert [(row["session"], row["turn"], row["bytes_sent"]) for row in first if "bytes_sent" in row] == [("a", 0, 8)]
    assert [(row["session"], row["turn"]) for row in first] == [("a", 0), ("a", 1), ("a", 2)]
    for before, row, pause_ns in zip(first, first[1:], (200_000_000, 100_000_000), strict=False):
        assert row["pause_ns"] == pause_ns
        assert row["intended_ns"] == before["end_ns"] + pause_ns
    assert {row["session"] for row in rows} == {"a", "7"}
