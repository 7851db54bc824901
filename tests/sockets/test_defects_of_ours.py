"""After a defect in the code that reads a reply, the request has a record, later ones are sent, and nothing waits
forever."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import cli
from bench.endpoints import failure, stream_reader
from bench.records import Outcome
from tests.support.literal_replies import DONE, GOOD, content, error, finish, stream
from tests.support.literal_server import LiteralServer, in_turn
from tests.support.on_transports import WAYS, ask

TRIP = "the defect"


@pytest.fixture(autouse=True)
def _defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every reader of a certain error object raise."""

    def error_of(event: dict[str, object]) -> str | None:
        if TRIP in str(event):
            raise RecursionError(TRIP)
        return failure.error_of(event)

    monkeypatch.setattr(stream_reader, "error_of", error_of)


@pytest.mark.parametrize("transport", WAYS)
def test_a_reply_that_cannot_be_read_for_a_defect_has_a_record_and_so_have_the_others(transport: str) -> None:
    broken = stream(content("a"), error(TRIP), finish(), DONE)
    with LiteralServer(in_turn(broken, stream(*GOOD), broken, stream(*GOOD))) as server:
        records = ask(transport, server.url, requests=4)
    assert sorted(record.outcome for record in records) == [Outcome.MALFORMED] * 2 + [Outcome.OK] * 2
    for record in records:
        if record.outcome is Outcome.MALFORMED:
            assert "a defect of the load tester" in (record.error or "")
            assert (record.chunk_ns, record.chunk_kind) == ((), "")


def test_a_defect_that_the_probe_meets_ends_the_run_with_70(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with LiteralServer(in_turn(stream(content("a"), error(TRIP), finish(), DONE))) as server:
        assert (
            cli.main(["run", "--url", server.url, "--model", "m", "--requests", "1", "--out", str(tmp_path / "r")])
            == 70
        )
    assert f"RecursionError: {TRIP}" in capfd.readouterr().err
