"""The number of sessions, or the rate of new ones, changes during the load: the records follow it, or the deviation is
detected."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pytest

from bench.metrics.facts import RunFacts
from bench.metrics.kept_plan import KeptPlan
from bench.metrics.planned_load import ChangedLoad, parts_between
from bench.metrics.summary import Summary
from bench.modes.rate import Rate
from bench.modes.sessions import Sessions
from bench.modes.share import RunLength
from bench.records import Outcome, RequestRecord
from bench.schedule.changing import ChangingArrivals, RateChange
from bench.transport.scripted import ScriptedReply
from bench.workload import Request
from promptset.sessions import Session, Turn
from tests.support.changed import replace
from tests.support.session_graphs import random_session
from tests.support.tables import table_of
from tests.support.virtual_load import MS, START, Load

S = 1000 * MS
GRAPHS = [random_session(seed, most_turns=6) for seed in range(50)]
RATE = Rate(rate=20.0, arrivals="poisson", burstiness=1.0, seed=3, cap=None, drop_late=False)


def reply(request: Request) -> ScriptedReply:
    fails = request.index % 9 == 4
    return ScriptedReply(ttft_ns=(3 + request.index % 17) * MS, failed=Outcome.RESET if fails else None)


def told(changes: Sequence[ChangedLoad], deaf: bool = False) -> list[tuple[int, Any]]:
    heard = [] if deaf else changes
    return [(c.at_ns, lambda load, c=c: load.dispatcher.change(START + c.at_ns, c.after)) for c in heard]


def off_plan(records: Sequence[RequestRecord], changes: Sequence[ChangedLoad], *, rate: bool) -> float:
    made = [RateChange(change.at_ns, change.after) for change in changes]
    parts = parts_between(changes[0].before, changes, 3 * S)
    plan = KeptPlan(
        parts=parts, arrivals=(lambda: RATE.planned_arrivals(made)) if rate else None, whole=True, of_sessions=True
    )
    facts = RunFacts(
        mode="sessions", open_loop=rate, endpoint="chat", start_ns=START, seed=3, segments=parts,
        changes=tuple(changes), kept_plan=plan,
    )  # fmt: skip
    summary = Summary(facts)
    summary.add(table_of(*records))
    off_plan = summary.close().load.off_plan
    assert off_plan is not None
    return off_plan.share


USERS = (ChangedLoad(1 * S, 3, 6, "terminal"), ChangedLoad(2 * S, 6, 2, "terminal"))


def held(changes: Sequence[ChangedLoad], deaf: bool = False) -> list[RequestRecord]:
    load = Load(reply, ends_ns=3 * S, meanwhile=told(changes, deaf))
    return load.sessions(int(changes[0].before), itertools.cycle(GRAPHS)).records


def test_as_many_sessions_are_held_as_the_changes_say() -> None:
    assert off_plan(held(USERS), USERS, rate=False) == 0


def test_a_change_of_sessions_that_was_not_heard_is_seen() -> None:
    assert off_plan(held(USERS, deaf=True), USERS, rate=False) > 0.3


def test_a_user_who_begins_late_is_seen() -> None:
    late = [
        replace(r, intended_ns=r.intended_ns + 8 * MS) if (r.session_number or 0) % 2 and not r.turn else r
        for r in held(USERS)
    ]
    assert off_plan(late, USERS, rate=False) > 0.01


RATES = (ChangedLoad(1 * S, 20, 60, "terminal"), ChangedLoad(2 * S, 60, 5, "terminal"))


def arrived(worker: int = 0, workers: int = 1, deaf: bool = False) -> list[RequestRecord]:
    mode = Sessions(users=0, ramp_ns=0, real_history=True, schedule=RATE)
    share = mode.plan(RunLength(requests=None, duration_ns=3 * S), Source()).shares(workers)[worker]  # type: ignore[arg-type]
    assert share.ends_ns is None or share.ends_ns > 3 * S
    offsets = ChangingArrivals(islice(RATE.offsets(), worker, None, workers), RATE.rate)
    sessions = islice(itertools.cycle(GRAPHS), worker, None, workers)
    load = Load(reply, ends_ns=3 * S, meanwhile=told(RATES, deaf)).session_arrivals(offsets, sessions)
    numbered = [replace(r, session_number=worker + workers * (r.session_number or 0)) for r in load.records]
    return [replace(r, worker=worker, index=worker + workers * r.index) for r in numbered]


class Source:
    at_once = 1


@pytest.mark.parametrize("workers", [1, 3])
def test_sessions_come_at_the_rates_that_the_changes_say(workers: int) -> None:
    records = [record for worker in range(workers) for record in arrived(worker, workers)]
    assert off_plan(records, RATES, rate=True) == 0


def test_a_change_of_the_rate_that_one_worker_did_not_hear_is_seen() -> None:
    records = [record for worker in range(3) for record in arrived(worker, 3, deaf=worker == 1)]
    assert off_plan(records, RATES, rate=True) > 0.2


def test_a_session_that_was_left_out_is_seen_unless_it_waits_for_its_first_turn() -> None:
    records = [record for record in arrived() if record.session_number not in (7, 8)]
    assert off_plan(records, RATES, rate=True) > 0.01
    waits = Session(id="w", turns=(Turn(content="a", think_time_s=0.5),))

    def sessions() -> Iterator[Session]:
        return itertools.cycle([waits, *GRAPHS])

    offsets = ChangingArrivals(RATE.offsets(), RATE.rate)
    load = Load(reply, ends_ns=3 * S, meanwhile=told(RATES)).session_arrivals(offsets, sessions())
    assert off_plan(load.records, RATES, rate=True) == 0
