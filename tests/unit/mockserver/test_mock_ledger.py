"""The ledger: its fields, its file, and that nothing is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mockserver.record.ledger
from mockserver.dialect.refusals import Refusal
from mockserver.entries import RequestContext, entry_of_refusal
from mockserver.errors import UsageError
from mockserver.faults import parse_rule
from mockserver.plans.plan import Plan
from mockserver.record.ledger import Ledger, LedgerEntry
from mockserver.record.ledger_file import LedgerFile, open_file
from tests.support.patience import PATIENCE_S

FIELDS = [
    "id", "index", "attempt", "received_ns", "handled_ns", "planned", "write_ns", "chunk_tokens", "chunk_kind", "blocked",
    "end_ns", "input_tokens", "inputs", "status", "fault", "bytes_in", "bytes_out", "engine",
]  # fmt: skip


def entry(**changes: Any) -> LedgerEntry:
    values: dict[str, Any] = {
        "id": "run-3",
        "index": 3,
        "attempt": 1,
        "received_ns": 1000,
        "handled_ns": 1010,
        "plan": Plan(50, (20, 30), 3, (parse_rule("crlf").fault, parse_rule("reset:after=2").fault)),
        "write_ns": [1050, 1051, 1070],
        "chunk_tokens": [0, 1, 1],
        "chunk_kind": "rcc",
        "blocked": [2],
        "end_ns": 1100,
        "input_tokens": 7,
        "output_tokens": 2,
        "finished": "error",
        "status": 200,
        "fault": "reset",
        "bytes_in": 11,
        "bytes_out": 22,
        "engine": {"queue_ns": 0, "steps": 3},
    }
    return LedgerEntry(**{**values, **changes})


def test_a_line_has_the_fields_that_readers_rely_on_in_their_order() -> None:
    row = json.loads(entry().to_line())
    assert list(row) == FIELDS
    assert row["planned"] == {"ttft_ns": 50, "gaps_ns": [20, 30], "output_tokens": 3, "fault": "crlf+reset"}
    assert (row["id"], row["chunk_kind"], row["blocked"], row["fault"]) == ("run-3", "rcc", [2], "reset")


def test_a_request_that_got_no_plan_has_an_empty_one() -> None:
    row = json.loads(entry(plan=None, id=None, index=None).to_line())
    assert row["planned"] == {"ttft_ns": None, "gaps_ns": [], "output_tokens": 0, "fault": None}
    assert row["id"] is None


def lines_of(path: Path) -> list[int]:
    return [json.loads(line)["index"] for line in path.read_bytes().splitlines()]


def test_lines_reach_the_disk_by_themselves_in_order_and_within_100_ms(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.jsonl"

    async def main() -> None:
        ledger = Ledger(LedgerFile(open_file(path)))
        for i in range(700):
            ledger.add(entry(index=i))
        assert lines_of(path) == []  # The call that ends a response does not write.
        async with asyncio.timeout(PATIENCE_S):
            while ledger.lines < 700:
                await asyncio.sleep(0.001)
        assert lines_of(path) == list(range(700))
        ledger.close()

    asyncio.run(main())


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"

    async def main() -> None:
        ledger = Ledger(LedgerFile(open_file(path)))
        for i in range(100):
            ledger.add(entry(index=i))
        ledger.close()

    asyncio.run(main())
    assert lines_of(path) == list(range(100))


@pytest.mark.parametrize("on_disk", [True, False])
def test_lines_are_read_from_a_number_on_those_that_wait_included(tmp_path: Path, on_disk: bool) -> None:
    path = tmp_path / "ledger.jsonl" if on_disk else None
    if path is not None:
        path.write_text("a line of an earlier run\n")

    async def main() -> None:
        ledger = Ledger(LedgerFile(open_file(path)))
        for i in range(5):
            ledger.add(entry(index=i))
        for since in range(7):
            indices = [json.loads(line)["index"] for line in ledger.read(since).splitlines()]
            assert indices == list(range(since, 5))
        assert ledger.lines == 5
        ledger.close()

    asyncio.run(main())
    if path is not None:
        assert path.read_text().startswith("a line of an earlier run\n{")


def test_a_file_that_cannot_be_written_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--ledger .*cannot be written"):
        open_file(tmp_path)


def test_what_can_wait_is_done_with_the_line_and_not_before(tmp_path: Path) -> None:
    done: list[int | None] = []

    async def main() -> None:
        ledger = Ledger(LedgerFile(open_file(tmp_path / "ledger.jsonl")), lambda entry: done.append(entry.index))
        for i in range(5):
            ledger.add(entry(index=i))
        assert done == []
        async with asyncio.timeout(PATIENCE_S):
            while len(done) < 5:
                await asyncio.sleep(0.001)
        assert ledger.lines == 5
        ledger.close()

    asyncio.run(main())
    assert done == list(range(5))


def test_a_long_queue_is_written_in_slices_between_which_the_streams_have_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mockserver.record.ledger, "SLICE_NS", 0)
    monkeypatch.setattr(mockserver.record.ledger, "FLUSH_S", 0)
    seen: list[int] = []

    async def main() -> None:
        ledger = Ledger(LedgerFile(open_file(tmp_path / "ledger.jsonl")))
        for i in range(20):
            ledger.add(entry(index=i))
        async with asyncio.timeout(PATIENCE_S):
            while ledger.lines < 20:
                seen.append(ledger.lines)
                await asyncio.sleep(0)
        ledger.close()

    asyncio.run(main())
    assert sorted(set(seen)) == list(range(20))  # With a time slice of zero, one line is written at a time.


def test_a_closed_ledger_writes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mockserver.record.ledger, "FLUSH_S", 0)
    tried = list[int]()

    class Failing(LedgerFile):
        def append(self, lines: Sequence[bytes] = ()) -> None:
            tried.append(len(lines))

    async def main() -> None:
        ledger = Ledger(Failing(open_file(tmp_path / "ledger.jsonl")))
        ledger.add(entry())
        ledger.close()
        tried.clear()
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert tried == []


KNOWN: dict[str, tuple[Any, dict[str, Any]]] = {
    "previous": ("found", {"previous": "found"}),
    "other_name": (True, {"model": "m"}),
    "probe": ("sort", {"probe": "sort"}),
    "replicas": (0, {"replicas": 0}),
    "replica_ns": (0, {"replica_ns": 0}),
    "version": (3, {"config": 3}),
}


@pytest.mark.parametrize("field", [None, *KNOWN])
def test_a_refusal_has_what_is_known_of_its_request_and_no_more(field: str | None) -> None:
    arrival: Any = SimpleNamespace(id="a", index=4, attempt=2, traceparent=None)
    wire: Any = None
    value, said = KNOWN.get(field or "", (None, {}))
    given: dict[str, Any] = {} if field is None else {field: value}
    context = RequestContext(arrival, 5, 7, 11, wire, model="m", **given)
    entry = entry_of_refusal(context, Refusal(429, b"too many"), 13)
    assert (entry.id, entry.index, entry.attempt, entry.received_ns, entry.handled_ns) == ("a", 4, 2, 5, 7)
    assert (entry.status, entry.finished, entry.fault, entry.end_ns) == (429, "error", None, 13)
    assert (entry.bytes_in, entry.bytes_out, entry.output_tokens, entry.engine) == (11, 8, 0, said)
    left = entry_of_refusal(context, Refusal(429, b"too many"), None)
    assert (left.bytes_out, left.engine) == (0, {"cut": "client_closed", **said})
    assert left.end_ns > 13
