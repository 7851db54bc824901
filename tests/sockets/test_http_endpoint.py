"""Any HTTP service over sockets: the mock's /any against its ledger, and requests of a file as a server receives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import cli
from tests.support.calm import lasting
from tests.support.learned import give
from tests.support.literal_server import LiteralServer, Received, Send, Step

MOCK = (
    "--ttft 20ms --tpot 4ms --output-tokens 9 --fault 503:index=5 --fault truncate:after=2,index=6 "
    "--fault reset:after=2,index=7 --fault gzip:index=8 --fault trickle:index=9"
)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(give(learned, tmp_path / "cache")))


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
    # The first byte comes 8 gaps of 4 ms before the last.
    true = {(row["metric"], row["stat"]): row["true"] for row in calibration["metrics"]}
    assert true["e2el_ms", "p50"] - true["ttfb_ms", "p50"] > 31
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
    assert len(seen) == 3  # The probe sends the first request; nobody asks for models or metrics.
    summary = summary_of(tmp_path / "run")
    assert summary["counts"]["by_outcome"] == {"ok": 2}
    assert summary["counts"]["by_status"] == {"204": 1, "404": 1}
