"""A planted defect over sockets: `python -m bench calibrate` with a wrong transport exits 3 and says why.

The other defects, which distort times, are planted in virtual time (tests/virtual/test_planted_defects.py).
"""

from __future__ import annotations

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

CAUSE = "an error inside a 200 stream is counted as a success"


class ErrorsAsSuccesses(WireTransport):
    """Treats a stream that ends with an error as complete."""

    def start(
        self, request: Request, intended_ns: int, eligible_ns: int, done: OnRecord, ended: OnEnd = ignore
    ) -> None:
        def tell(record: RequestRecord) -> None:
            done(replace(record, outcome=Outcome.OK) if record.outcome is Outcome.STREAM_ERROR else record)

        # The probe before the load would see some of these, too, and prevent the run.
        super().start(request, intended_ns, eligible_ns, done if request.id.startswith("probe-") else tell, ended)


def test_a_calibration_with_a_planted_defect_exits_3_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TRANSPORTS, "wire", ErrorsAsSuccesses)
    status = cli.main(
        ["calibrate", "--concurrency", "4", "--requests", "24", "--input-tokens", "20", "--output-tokens", "12",
         "--workers", "1", "--no-store", "--out", str(tmp_path / "run"),
         "--mock", "--ttft 30ms --tpot 6ms --fault error_in_stream:every=12"]
    )  # fmt: skip
    assert status == Exit.INVALID
    certificate: dict[str, Any] = orjson.loads((tmp_path / "run" / "certificate.json").read_bytes())
    assert certificate["verdict"]["status"] == "INVALID"
    named = [c for c in certificate["causes"] if c["metric"] == "requests" and c["cause"].startswith(CAUSE)]
    assert len(named) == 1, certificate["causes"]
    assert CAUSE in " ".join(capfd.readouterr().out.split())
