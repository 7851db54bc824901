"""Planted defects in real time: `python -m bench calibrate` with a transport that is wrong exits 3 and says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import cli
from bench.errors import Exit
from bench.records import Outcome, RequestRecord
from bench.transport import TRANSPORTS
from bench.transport.interface import OnEnd, OnRecord, ignore
from bench.transport.wire import WireTransport
from bench.workload import Request
from tests.support.changed import replace

LATE_NS = 7_000_000


def late(record: RequestRecord) -> RequestRecord:
    """Chunks are stamped 7 ms after they came."""
    bounds = record.chunk_bound_ns
    return replace(
        record,
        chunk_ns=tuple(at + LATE_NS for at in record.chunk_ns),
        end_ns=record.end_ns + LATE_NS,
        chunk_bound_ns=None if bounds is None else tuple(at if at is None else at + LATE_NS for at in bounds),
    )


def errors_as_success(record: RequestRecord) -> RequestRecord:
    return replace(record, outcome=Outcome.OK) if record.outcome is Outcome.STREAM_ERROR else record


def reasoning_ignored(record: RequestRecord) -> RequestRecord:
    return replace(record, chunk_kind=record.chunk_kind.replace("t", "o"))


DEFECTS: dict[str, tuple[Callable[[RequestRecord], RequestRecord], str, str]] = {
    "stamps that are late": (late, "ttft_ms", "the time stamps are late"),
    "errors as successes": (errors_as_success, "requests", "an error inside a 200 stream is counted as a success"),
    "reasoning ignored": (reasoning_ignored, "ttft_ms", "reasoning is not counted as text"),
}


@pytest.mark.parametrize(("wrong", "metric", "cause"), DEFECTS.values(), ids=DEFECTS)
def test_a_calibration_with_a_planted_defect_exits_3_and_names_it(
    wrong: Callable[[RequestRecord], RequestRecord],
    metric: str,
    cause: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Wrong(WireTransport):
        def start(
            self, request: Request, intended_ns: int, eligible_ns: int, done: OnRecord, ended: OnEnd = ignore
        ) -> None:
            # The probe before the load sees some of these too, and there would be none.
            tell = done if request.id.startswith("probe-") else lambda record: done(wrong(record))
            super().start(request, intended_ns, eligible_ns, tell, ended)

    monkeypatch.setitem(TRANSPORTS, "wire", Wrong)
    status = cli.main(
        ["calibrate", "--concurrency", "4", "--requests", "24", "--input-tokens", "20", "--output-tokens", "12",
         "--workers", "1", "--no-store", "--out", str(tmp_path / "run"),
         "--mock", "--ttft 30ms --tpot 6ms --reasoning-tokens 4 --fault error_in_stream:every=12"]
    )  # fmt: skip
    assert status == Exit.INVALID
    certificate: dict[str, Any] = orjson.loads((tmp_path / "run" / "certificate.json").read_bytes())
    assert certificate["verdict"]["status"] == "INVALID"
    assert any(c["metric"] == metric and c["cause"].startswith(cause) for c in certificate["causes"]), certificate[
        "causes"
    ]
    assert cause in " ".join(capfd.readouterr().out.split())
