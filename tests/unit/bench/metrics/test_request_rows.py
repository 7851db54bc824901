"""A request as a row for other tools, and the users of a part of a load, by hand."""

from __future__ import annotations

import pytest

from bench.metrics.kept_plan import KeptPlan, _arrivals_off, _users_off
from bench.metrics.planned_load import PlannedLoad
from bench.metrics.request_rows import request_rows
from bench.records import Outcome
from tests.support.changed import replace
from tests.support.made_records import MS, START_NS, made_record
from tests.support.tables import table_of

S = 1_000_000_000


def test_a_row_has_times_from_the_start_of_the_run_and_none_for_what_did_not_happen() -> None:
    record = made_record(
        7, sent_ms=2_000, chunks_ms=(10, 50, 70, 90), kinds="rtcc", tokens=(0, 1, 2, 1), intended_ns=START_NS + 1_900 * MS,
        eligible_ns=START_NS + 1_950 * MS, connect_ns=5 * MS, input_tokens_asked=90, output_tokens_asked=4, tool_calls=0,
    )  # fmt: skip
    (row,) = request_rows(table_of(record), START_NS)
    assert {name: row[name] for name in ("id", "index", "phase", "outcome", "status", "attempts", "worker")} == {
        "id": "made-7", "index": 7, "phase": "run", "outcome": "ok", "status": 200, "attempts": 1, "worker": 0,
    }  # fmt: skip
    assert [row[f"{name}_s"] for name in ("intended", "eligible", "sent", "first_byte", "first_token", "end")] == [
        1.9, 1.95, 2.0, 2.01, 2.05, 2.09,
    ]  # fmt: skip
    assert (row["connect_ms"], row["send_lateness_ms"]) == (5, 45)
    # 40 ms between the first and the last text, and 3 tokens after the first.
    assert (row["ttft_ms"], row["ttfo_ms"], row["e2el_ms"], row["tpot_ms"]) == (50, 70, 90, pytest.approx(40 / 3))
    assert (row["ttft_from_intended_ms"], row["tps"]) == (150, pytest.approx(75))
    assert (row["token_chunks"], row["input_tokens_asked"], row["input_tokens"]) == (3, 90, 100)
    assert (row["output_tokens_asked"], row["output_tokens"], row["tool_calls"]) == (4, 4, 0)
    assert (row["bytes_sent"], row["bytes_received"]) == (500, 800)
    dropped = replace(
        record, sent_ns=None, connect_ns=None, first_byte_ns=None, eligible_ns=None, chunk_ns=(), chunk_kind="",
        chunk_tokens=(), outcome=Outcome.DROPPED, inputs=3,
    )  # fmt: skip
    again, never = request_rows(table_of(record, dropped), START_NS)
    assert again == row
    nothing = (
        "eligible_s",
        "sent_s",
        "first_byte_s",
        "first_token_s",
        "connect_ms",
        "send_lateness_ms",
        "ttft_ms",
        "tps",
    )
    assert [never[name] for name in nothing] == [None] * len(nothing)
    assert (never["output_tokens"], never["token_chunks"], never["inputs"]) == (None, 0, 3)
    (once,) = request_rows(table_of(made_record(chunks_ms=(40,), draft_steps=5, acceptance=(3,))), START_NS)
    assert (once["first_token_s"], once["draft_steps"]) == (0.04, 5)
    assert "acceptance" not in once


def test_users_who_all_left_before_the_end_of_a_part_are_missing_until_then() -> None:
    parts = (PlannedLoad(1, 1, 0, 10 * S), PlannedLoad(1, 1, 10 * S, 20 * S))
    # A request from 0 to 1 s, and the next from 15 s on: a user is missing for 9 of 10 s, and for all 5 s until the
    # last request began.
    found = list(_users_off(parts, [([0, 15 * S], [S, 16 * S])], 0))
    assert [off.share for off in found] == pytest.approx([0.9, 1.0])
    # Two users instead of one, from 2 to 4 of the 10 s.
    many = list(_users_off(parts[:1], [([0, 2 * S, 10 * S], [10 * S, 4 * S, 11 * S])], 0))
    assert [off.share for off in many] == pytest.approx([0.2])
    # A request that began in one part and ends in the next is in flight in both.
    over = list(_users_off(parts, [([0, 12 * S, 20 * S], [12 * S, 20 * S, 21 * S])], 0))
    assert [off.share for off in over] == pytest.approx([0.0, 0.0])
    # A request that began before the first part counts, too.
    before = list(_users_off(parts, [([-S, 3 * S, 20 * S], [3 * S, 20 * S, 21 * S])], 0))
    assert [off.share for off in before] == pytest.approx([0.0, 0.0])
    # The last request began with the second part, so nothing is known about that part.
    (first,) = _users_off(parts, [([0, 10 * S], [10 * S, 11 * S])], 0)
    assert first.share == 0.0


@pytest.mark.parametrize(("whole", "share"), [(True, [2 / 4, 1 / 2]), (False, [1 / 4, 0.0])])
def test_arrivals_are_wrong_where_they_are_not_due_as_planned_or_missing(whole: bool, share: list[float]) -> None:
    parts = (PlannedLoad(1, 1, 0, 40), PlannedLoad(2, 2, 40, 90))
    plan = KeptPlan(parts=parts, arrivals=lambda: iter(range(0, 100, 10)), whole=whole)
    # Arrival 1 came at 11, 2 and 4 not at all. The numbers begin with 0 and end with 5.
    rows = {0: 0.0, 1: 11.0, 3: 30.0, 5: 50.0}
    assert [off.share for off in _arrivals_off(plan, iter(range(0, 100, 10)), rows)] == pytest.approx(share)
    # Arrivals due after the known time may be missing.
    early = [off.share for off in _arrivals_off(plan, iter(range(0, 100, 10)), rows, until_ns=15)]
    assert early == pytest.approx([1 / 4, 0.0])
    behind = [off.share for off in _arrivals_off(plan, iter(range(0, 100, 10)), {3: 30.0, 5: 50.0}, until_ns=0)]
    assert behind == [0.0, 0.0]
    # No arrival is due in the second part, so it is not judged.
    assert [off.share for off in _arrivals_off(plan, iter([0, 10]), {0: 0.0, 1: 10.0})] == [0.0]
