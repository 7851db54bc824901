"""Whether a load followed its settings and recorded changes, from its records alone; each defect is planted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from types import SimpleNamespace
from typing import Any

import pytest

from bench.metrics.catalog import request_values
from bench.metrics.columns import Columns
from bench.metrics.facts import RunFacts
from bench.metrics.kept_plan import KeptPlan, _arrivals_off, describe
from bench.metrics.planned_load import ChangedLoad, parts_between
from bench.metrics.summary import Summary
from bench.modes.rate import Rate
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from bench.schedule.changing import RateChange
from tests.support.changed import replace
from tests.support.made_records import START_NS, made_record
from tests.support.tables import table_of

S = 1_000_000_000
MS = 1_000_000
CHANGES = (ChangedLoad(10 * S, 20, 60, "terminal"), ChangedLoad(20 * S, 60, 5, "console"))
RATE = Rate(rate=20.0, arrivals="poisson", burstiness=1.0, seed=3, cap=None, drop_late=False)
END = 40 * S


def arrivals(changes: Sequence[ChangedLoad], end_ns: int = END) -> list[int]:
    drawn = RATE.planned_arrivals([RateChange(change.at_ns, change.after) for change in changes])
    return list(takewhile(lambda at: at < end_ns, drawn))


def record(index: int, begin_ns: float, end_ns: float, worker: int = 0) -> RequestRecord:
    sent_ms = begin_ns / MS
    made = made_record(index, sent_ms=sent_ms, chunks_ms=[(end_ns - begin_ns) / MS])
    return replace(made, intended_ns=START_NS + int(begin_ns), eligible_ns=START_NS + int(begin_ns), worker=worker,
                   end_ns=START_NS + int(end_ns))  # fmt: skip


def judged(
    records: Sequence[RequestRecord],
    *,
    open_loop: bool,
    changes: Sequence[ChangedLoad] = CHANGES,
    first: float = 20,
    whole: bool = True,
) -> Any:
    made = [RateChange(change.at_ns, change.after) for change in changes]
    parts = parts_between(first, changes, END)
    facts = RunFacts(
        mode="rate" if open_loop else "concurrency",
        open_loop=open_loop,
        endpoint="chat",
        start_ns=START_NS,
        seed=3,
        segments=parts if changes else (),
        changes=tuple(changes),
        kept_plan=KeptPlan(
            parts=parts, arrivals=(lambda: RATE.planned_arrivals(made)) if open_loop else None, whole=whole
        ),
    )
    summary = Summary(facts)
    summary.add(table_of(*records))
    return to_plain(summary.close())


def sent(due: Sequence[int], workers: int = 2) -> list[RequestRecord]:
    return [record(i, at, at + 50 * MS, i % workers) for i, at in enumerate(due)]


def off(summary: Any) -> tuple[float, float]:
    row = summary["load"]["off_plan"]
    return row["start_s"], row["share"]


# ---- Open loop -----------------------------------------------------------------------------------------------------


def test_a_run_that_kept_to_every_change_is_on_its_plan_in_every_part() -> None:
    found = judged(sent(arrivals(CHANGES)), open_loop=True)
    assert off(found) == (0, 0)
    assert [(s["first"], s["start_s"], s["end_s"]) for s in found["segments"]] == [
        (20, 0, 10),
        (60, 10, 20),
        (5, 20, 40),
    ]
    assert [s["plan"]["rate_difference"] for s in found["segments"]] == [0, 0, 0]
    assert found["changes"] == [
        {"at_s": 10, "from": 20, "to": 60, "by": "terminal"},
        {"at_s": 20, "from": 60, "to": 5, "by": "console"},
    ]


def test_a_change_that_one_worker_did_not_hear_of_is_seen() -> None:
    heard, missed = arrivals(CHANGES), arrivals([])
    both = sorted([*enumerate(heard[0::2]), *enumerate(missed[1::2])], key=lambda row: row[1])
    records = [record(2 * j, at, at + 50 * MS, 0) for j, at in enumerate(heard[0::2])]
    records += [record(2 * j + 1, at, at + 50 * MS, 1) for j, at in enumerate(missed[1::2])]
    assert len(both) == len(records)
    start_s, share = off(judged(records, open_loop=True))
    assert start_s >= 10
    assert share > 0.4


def test_a_change_that_is_not_written_down_is_seen() -> None:
    start_s, share = off(judged(sent(arrivals(CHANGES)), open_loop=True, changes=CHANGES[1:]))
    assert (start_s, share > 0.3) in ((0, True), (20, True))
    assert off(judged(sent(arrivals(CHANGES[:1])), open_loop=True, changes=()))[1] > 0.3


def test_a_burst_at_the_change_is_seen() -> None:
    due = arrivals(CHANGES)
    burst = [10 * S if 10 * S <= at < 11 * S else at for at in due]
    start_s, share = off(judged(sent(burst), open_loop=True))
    assert start_s == 10
    assert share == pytest.approx(sum(10 * S <= at < 11 * S for at in due) / sum(10 * S <= at < 20 * S for at in due))


def test_requests_that_were_left_out_count_where_the_load_came_to_its_end() -> None:
    left_out = [one for one in sent(arrivals(CHANGES)) if not (10 * S < one.intended_ns - START_NS < 11 * S)]
    assert off(judged(left_out, open_loop=True))[1] > 0.05
    assert off(judged(left_out, open_loop=True, whole=False))[1] == 0


@pytest.mark.parametrize(("until_ns", "share"), [(S - 1, 0), (S, 1 / 3)], ids=["due later", "due at that moment"])
def test_an_arrival_may_be_missing_only_if_it_was_due_later_than_the_last_one_that_was_possible(
    until_ns: int, share: float
) -> None:
    plan = KeptPlan(parts=parts_between(20, (), END), arrivals=None, whole=True)
    (found,) = _arrivals_off(plan, iter([0, S, 2 * S]), {0: 0, 2: 2 * S}, until_ns)
    assert found.share == share


# ---- Closed loop ---------------------------------------------------------------------------------------------------


@dataclass
class User:
    """A user who sends repeatedly between two instants, and finishes an active request when leaving."""

    come_ns: int
    go_ns: int
    worker: int = 0

    def requests(self, takes_ns: int) -> list[tuple[int, int, int]]:
        return [(at, at + takes_ns, self.worker) for at in range(self.come_ns, self.go_ns, takes_ns)]


def closed(users: Sequence[User], takes_ns: int = 70 * MS) -> list[RequestRecord]:
    spans = sorted(span for user in users for span in user.requests(takes_ns))
    return [record(i, begin, end, worker) for i, (begin, end, worker) in enumerate(spans)]


FROM_4 = (ChangedLoad(10 * S, 4, 10, "terminal"), ChangedLoad(20 * S, 10, 2, "terminal"))


def people(second: int = 6, *, stay: int = 2, from_ns: int = 10 * S) -> list[User]:
    """Four users from the start, this many more from the first change on, and which of them stay after the second."""
    first = [User(0, END if n < stay else 20 * S, n % 2) for n in range(4)]
    return [*first, *(User(from_ns, 20 * S, n % 2) for n in range(second))]


def test_users_who_came_and_went_as_they_were_told_are_on_the_plan() -> None:
    assert off(judged(closed(people()), open_loop=False, changes=FROM_4, first=4)) == (0, 0)
    # A user with a long request leaves late, and does not count as one too many.
    long = judged(closed(people(), takes_ns=7 * S), open_loop=False, changes=FROM_4, first=4)
    assert off(long)[1] == 0


def test_users_who_did_not_come_in_one_worker_are_missed() -> None:
    found = judged(closed(people(second=3)), open_loop=False, changes=FROM_4, first=4)
    assert off(found) == (10, pytest.approx(0.3))
    assert found["load"]["off_plan"]["end_s"] == 20


def test_users_who_did_not_go_are_too_many() -> None:
    found = judged(closed(people(stay=3)), open_loop=False, changes=FROM_4, first=4)
    assert off(found) == (20, pytest.approx(0.5, abs=0.01))
    # The part ends at 40 s. The last request began before that: requests begin every 70 ms from 0 on.
    assert (found["load"]["off_plan"]["of"], found["load"]["off_plan"]["end_s"]) == ("users", pytest.approx(39.97))


def test_users_who_come_late_are_missed_meanwhile() -> None:
    late = judged(closed(people(from_ns=12 * S)), open_loop=False, changes=FROM_4, first=4)
    assert off(late) == (10, pytest.approx(0.6 * 0.2, abs=0.001))


def test_users_who_change_without_a_record_are_seen() -> None:
    # In the only part of the settings, there are six users too many for a quarter of the time and two too few for half
    # of it.
    share = off(judged(closed(people()), open_loop=False, changes=(), first=4))[1]
    assert share == pytest.approx((6 * 10 + 2 * 20) / (4 * 40), abs=0.01)


def test_a_gap_between_an_answer_and_the_next_request_of_a_user_is_one_user_too_few() -> None:
    users = [User(0, END) for _ in range(3)]
    lazy = [record(10_000 + k, k * 100 * MS, k * 100 * MS + 50 * MS) for k in range(400)]
    found = judged([*closed(users), *lazy], open_loop=False, changes=(), first=4)
    assert off(found)[1] == pytest.approx(0.5 / 4, abs=0.002)


def test_the_end_of_the_load_is_nobodys_fault() -> None:
    # Worker 1 has sent its share of the requests by 5 s. What worker 0 does until 40 s tells nothing about the users of
    # both.
    users = [User(0, END, 0), User(0, 5 * S, 1)]
    assert off(judged(closed(users), open_loop=False, changes=(), first=2))[1] == 0


@pytest.mark.parametrize(("begins", "share"), [({0: 0, 1: S}, 0.0), ({0: 0, 1: S + 1}, 0.5), ({}, None)])
def test_sessions_of_an_open_loop_are_held_against_the_arrivals(begins: dict[int, int], share: float | None) -> None:
    columns, table = Columns(START_NS), table_of(record(0, 0, S))
    columns.add(table, request_values(table), table.ok)
    plan = KeptPlan(parts=parts_between(1, (), END), arrivals=lambda: iter([0, S]), whole=True, of_sessions=True)
    sessions: Any = SimpleNamespace(begins=lambda start_ns: (begins, END))
    found = describe(plan, columns, [], START_NS, sessions)
    assert (None if found is None else (found.of, found.share)) == (None if share is None else ("arrivals", share))


def test_nothing_is_said_of_users_while_a_worker_has_begun_nothing() -> None:
    unsent = record(1, 0, S, 1)
    late = replace(unsent, sent_ns=None, eligible_ns=None)
    assert judged([record(0, 0, S), late], open_loop=False)["load"]["off_plan"] is None


def test_a_run_that_could_not_be_changed_or_sent_nothing_is_not_judged() -> None:
    plain = Summary(RunFacts(mode="rate", open_loop=True, endpoint="chat", start_ns=START_NS, seed=3))
    plain.add(table_of(record(0, 0, 50 * MS)))
    assert plain.close().load.off_plan is None
    assert judged([], open_loop=True)["load"]["off_plan"] is None


def test_failed_requests_are_requests_of_users_too() -> None:
    failing = [replace(one, outcome=Outcome.HTTP_ERROR) for one in closed(people())]
    assert off(judged(failing, open_loop=False, changes=FROM_4, first=4)) == (0, 0)
