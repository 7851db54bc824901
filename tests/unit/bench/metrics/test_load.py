from __future__ import annotations

import random
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bench.metrics.catalog import request_values
from bench.metrics.columns import Columns
from bench.metrics.facts import RunFacts
from bench.metrics.instrument import WorkerSamples
from bench.metrics.load import Readiness, Spans, _at_once, _littles_law, dispersion, most_at_once, overlap_ns, rate
from bench.metrics.planned_load import PlannedLoad
from bench.metrics.series import Steps, intervals
from bench.metrics.summary import Summary
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from bench.results.load import LateEnds
from tests.support.made_records import MS, START_NS, made_record
from tests.support.made_summary import made_summary
from tests.support.results import described, known
from tests.support.tables import table_of

S = 1_000_000_000
SPANS = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 50)).map(lambda s: (s[0] * S // 10, (s[0] + s[1]) * S // 10)),
    min_size=1,
)


@given(SPANS, st.integers(0, 80), st.integers(1, 80))
def test_an_overlap_is_the_time_inside(spans: list[tuple[int, int]], start: int, length: int) -> None:
    # The slow way: count at the middle of every tenth of a second.
    tenths = [k for k in range(200) if start <= k < start + length]
    expected = sum(begin <= (k + 0.5) * S / 10 < end for k in tenths for begin, end in spans) * S / 10
    begins, ends = zip(*spans, strict=True)
    assert overlap_ns(begins, ends, start * S / 10, (start + length) * S / 10) == pytest.approx(expected)


@given(SPANS)
def test_the_most_at_once_is_seen_at_some_begin(spans: list[tuple[int, int]]) -> None:
    begins, ends = zip(*spans, strict=True)
    assert most_at_once(begins, ends) == max(sum(b <= at < e for b, e in spans) for at in begins)


@given(SPANS)
def test_in_flight_over_time_is_the_overlap_of_each_step(spans: list[tuple[int, int]]) -> None:
    begins, ends = zip(*spans, strict=True)
    steps = Steps(min(begins), max(ends))
    expected = [overlap_ns(begins, ends, k * S, (k + 1) * S) / S for k in range(steps.count)]
    assert steps.in_flight(begins, ends) == pytest.approx(expected, abs=1e-6)


def test_steps_hold_every_event_and_grow_with_the_run() -> None:
    steps = Steps(-0.5 * S, 2.5 * S)
    assert (steps.count, steps.start_ns) == (4, -S)
    assert steps.counts([-0.5 * S, 0, S - 1, S, 2.5 * S]) == [1, 2, 1, 1]
    long = Steps(0, 10_000 * S)
    assert long.ns == 4 * S
    assert long.all_of([10_000 * S]) == [long.count - 1]


def test_a_rate_is_gaps_over_their_span() -> None:
    assert rate([0, S, 2 * S]) == rate([3 * S, 2 * S]) == 1
    assert rate([7, 8]) == S
    assert rate([5.0]) is None
    assert rate([5.0, 5.0]) is None


def test_dispersion_is_one_for_poisson_and_none_for_a_metronome() -> None:
    rng = random.Random(1)
    poisson = numpy.cumsum([rng.expovariate(1) for _ in range(50_000)]).tolist()
    assert dispersion(poisson, poisson) == pytest.approx(1, abs=0.07)
    metronome = list(range(1_000))
    assert dispersion(metronome, metronome) == 0
    assert dispersion(metronome[:99], metronome[:99]) is None


def test_dispersion_shows_bunches_that_the_plan_did_not_have() -> None:
    plan = [float(k) for k in range(1_000)]
    bunched = [40.0 * (k // 40) for k in range(1_000)]
    found = dispersion(bunched, plan)
    assert found is not None
    assert found > 5


def test_response_times_fall_into_round_intervals() -> None:
    rng = random.Random(2)
    times = sorted(rng.lognormvariate(5, 1) for _ in range(5_000))
    rows = intervals(times)
    assert sum(row.n for row in rows) == 5_000
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert 6 <= len(rows) <= 16
    for row in rows:
        upper = float("inf") if row.to_ms is None else row.to_ms
        assert row.n == sum(row.from_ms <= x < upper for x in times)


@pytest.mark.parametrize("times", [[5.0], [5.0] * 40, [0.0, 0.0], [1e-3, 1e6]])
def test_odd_response_times_have_intervals_too(times: list[float]) -> None:
    assert sum(row.n for row in intervals(times)) == len(times)
    assert intervals([]) == []
    assert len(intervals([k / 1_000 for k in range(1, 101)])) > 6


def test_columns_sort_by_index_whatever_the_order() -> None:
    records = [made_record(i, sent_ms=i * 10.0, outcome=o) for i, o in enumerate([Outcome.OK, Outcome.RESET] * 3)]
    straight, shuffled = Columns(START_NS), Columns(START_NS)
    for columns, of_columns in ((straight, records), (shuffled, random.Random(1).sample(records, len(records)))):
        table = table_of(*of_columns)
        columns.add(table, request_values(table), table.ints("index") == 2)
    shuffled.sort()
    for name in ("index", "sent", "end", "ok", "failed", "good", "status", "output_tokens", "bytes_sent"):
        assert list(getattr(straight, name)) == list(getattr(shuffled, name))
    assert straight.metrics["e2el_ms"][2] == shuffled.metrics["e2el_ms"][2] == 70


def _sample(second: float, worker: int, integral: float, **fields: object) -> dict[str, object]:
    return {"t_ns": START_NS + round(second * S), "worker": worker, "in_flight_ns": integral, **fields}


def test_dispatchers_are_summed_over_their_own_windows() -> None:
    samples = WorkerSamples()
    for second, integral in ((0, 0), (1, 3 * S), (2, 5 * S)):
        samples.add(_sample(second, 0, integral))
    for between, integral in ((0.5, 1 * S), (1.5, 2 * S)):
        samples.add(_sample(between, 1, integral))
    assert samples.in_flight_mean() == 5 / 2 + 1
    assert samples.windows()[1] == (START_NS + S // 2, START_NS + 3 * S // 2)


def test_a_worker_that_left_requests_on_their_way_is_in_no_comparison() -> None:
    samples = WorkerSamples()
    for worker, done in ((0, 7), (1, 6)):
        samples.add(_sample(0, worker, 0, sent=0, done=0))
        samples.add(_sample(2, worker, 6 * S, sent=7, done=done))
    assert set(samples.windows()) == {0}
    assert (samples.in_flight_mean(), samples.sent()) == (3, 7)


def test_only_what_a_pause_takes_of_the_run_counts_and_the_worst_worker_is_named() -> None:
    samples = WorkerSamples()

    def pause(begin: float, end: float) -> list[int]:
        return [START_NS + round(begin * S), START_NS + round(end * S)]

    samples.add(_sample(0, 0, 0, pause_ns=pause(-2.0, 0.1)))
    samples.add(_sample(1, 0, 0, pause_ns=pause(0.5, 0.6)))
    assert to_plain(known(samples.longest_pause(START_NS, 4.0))) == {
        "longest_ms": pytest.approx(100), "worker": 0, "share_of_run": pytest.approx(0.025)
    }  # fmt: skip
    samples.add(_sample(5, 2, 0, pause_ns=pause(1.5, 4.5)))
    assert to_plain(known(samples.longest_pause(START_NS, 12.0))) == {
        "longest_ms": 3000,
        "worker": 2,
        "share_of_run": 0.25,
    }
    assert to_plain(known(samples.longest_pause(START_NS, None))) == {
        "longest_ms": 3000,
        "worker": 2,
        "share_of_run": None,
    }


def test_a_run_that_never_paused_says_so() -> None:
    samples = WorkerSamples()
    samples.add(_sample(0, 0, 0))
    assert to_plain(known(samples.longest_pause(START_NS, 1.0))) == {
        "longest_ms": 0.0,
        "worker": None,
        "share_of_run": 0.0,
    }


def readiness(*records: RequestRecord) -> dict[str, Any] | None:
    found = Readiness()
    found.add(table_of(*records))
    described = found.describe()
    return None if described is None else to_plain(described)


def test_a_user_that_waits_in_the_client_is_ready_and_not_sent() -> None:
    # Free at 0, sent at 30 ms after 10 ms of connecting, ended at 100 ms: the wait is 20 of 100 ms. The other request
    # did not wait.
    late = made_record(sent_ms=30, chunks_ms=(50, 70), intended_ns=START_NS, eligible_ns=START_NS, connect_ns=10 * MS)
    assert readiness(late, made_record(1, chunks_ms=(50, 100))) == {"share": 0.1, "typical_ms": 20, "longest_ms": 20}
    assert readiness() is None


def test_each_sub_agent_of_a_session_is_a_user_of_its_own() -> None:
    """Ten are sent in parallel, each 20 ms late and done after 100 ms: 20%, not 200% of the session's time."""
    first = made_record(0, chunks_ms=(100,), intended_ns=START_NS, eligible_ns=START_NS, session="s", session_number=0)
    late = [
        made_record(
            i, sent_ms=20, chunks_ms=(80,), intended_ns=START_NS, eligible_ns=START_NS, session="s", session_number=0
        )
        for i in range(1, 11)
    ]
    found = readiness(first, *late)
    assert found is not None
    assert found["share"] == pytest.approx(200 * MS / sum(r.end_ns - r.intended_ns for r in (first, *late)))
    assert found["share"] < 0.25


def test_a_run_begins_with_its_first_send_however_late_that_is() -> None:
    """Two users are free at 0. The first send is at 50 ms, and the second user waited 10 ms after that."""

    def user(index: int, sent_ms: int) -> RequestRecord:
        return made_record(index, sent_ms=sent_ms, chunks_ms=(50,), intended_ns=START_NS, eligible_ns=START_NS)

    assert readiness(user(0, 50)) == {"share": 0, "typical_ms": 0, "longest_ms": 0}
    found = {"share": pytest.approx(10 / 210), "typical_ms": 10, "longest_ms": 10}
    assert readiness(user(0, 50), user(1, 60)) == readiness(user(1, 60), user(0, 50)) == found


def test_many_short_waits_do_not_make_a_long_one_look_short() -> None:
    waits = [
        made_record(i, sent_ms=0.1 if i else 0, chunks_ms=(9.9,), intended_ns=START_NS, eligible_ns=START_NS)
        for i in range(999)
    ]
    frozen = made_record(999, sent_ms=3_000, chunks_ms=(10,), intended_ns=START_NS, eligible_ns=START_NS)
    found = readiness(*waits, frozen)
    assert found is not None
    assert found["share"] == pytest.approx((99.8 + 3_000) / (9_989.9 + 3_010))
    assert found["typical_ms"] == pytest.approx((998 * 0.01 + 9_000_000) / 3_099.8)


def test_the_think_times_of_a_session_are_its_users_time_too() -> None:
    def turn(index: int, due_ms: int, wait_ms: int, session: str) -> RequestRecord:
        due_ns = START_NS + due_ms * MS
        return made_record(
            index, sent_ms=due_ms + wait_ms, chunks_ms=(90,), intended_ns=due_ns, eligible_ns=due_ns, session=session
        )

    # Requests at 0 to 100 ms and at 900 to 1,000 ms: a second, 20 ms of which were waits. Another session adds 90 ms
    # without a wait.
    rows = [turn(0, 0, 10, "a"), turn(1, 900, 10, "a"), turn(2, 0, 0, "b")]
    found = readiness(*rows)
    assert found == readiness(*reversed(rows))
    assert found is not None
    assert found["share"] == pytest.approx(20 / 1_090)


def test_the_mean_in_flight_is_from_the_first_send_to_the_last_end() -> None:
    rows = [
        made_record(0, sent_ms=100, chunks_ms=(50, 100)),
        made_record(1, sent_ms=300, chunks_ms=(50, 400)),
        made_record(2, sent_ms=700, chunks_ms=(), outcome=Outcome.RESET, end_ns=START_NS + 700 * MS),
        made_record(3, sent_ns=None, eligible_ns=None, chunks_ms=(), outcome=Outcome.DROPPED, end_ns=START_NS - 9 * MS),
    ]
    load = made_summary(rows)["load"]
    assert (load["concurrency_mean"], load["concurrency_max"]) == (pytest.approx(500 / 600), 1)
    assert load["achieved_rps"] == pytest.approx(2 / 0.6)
    assert made_summary([made_record(0, chunks_ms=(0,), end_ns=START_NS)])["load"]["concurrency_mean"] is None
    # Open for 2 ms after a latency of 1 ms. A reply without a latency counts in no share.
    open_for = [made_record(k, sent_ms=100, chunks_ms=(k,), end_ns=START_NS + 103 * MS) for k in range(2)]
    assert made_summary(open_for)["load"]["late_ends"] == {"mean_ms": 2, "share": 2}


@pytest.mark.parametrize(
    ("facts", "intended", "sent", "in_flight", "at_once"),
    [
        ({"open_loop": True}, [0, S], 2, 2, False),
        ({"open_loop": True}, [5, 5], 2, 1, True),
        ({"concurrency": 3}, [], 3, 1, True),
        ({"concurrency": 3}, [], 4, 1, False),
        ({"concurrency": 3}, [], 4, 4, True),
        ({"concurrency": 3, "ramp_s": 1.0}, [], 3, 1, False),
        ({"concurrency": 3, "segments": (PlannedLoad(3, 3, 0, S),)}, [], 3, 1, False),
        ({"concurrency": 3, "mode": "sessions"}, [], 3, 1, False),
        ({}, [], 1, 0, False),
        ({}, [], 1, 1, True),
    ],
)
def test_sends_that_wait_for_nothing_have_no_rate(
    facts: dict[str, Any], intended: list[float], sent: int, in_flight: int, at_once: bool
) -> None:
    known: dict[str, Any] = {
        "mode": "concurrency",
        "open_loop": False,
        "endpoint": "chat",
        "start_ns": START_NS,
        "seed": 0,
    } | facts
    assert _at_once(RunFacts(**known), intended, sent, in_flight) is at_once


def test_one_sample_alone_says_nothing_of_what_was_in_flight() -> None:
    samples = WorkerSamples()
    samples.add(_sample(0, 0, 0))
    assert samples.in_flight_mean() is None


def test_the_busiest_worker_counts_and_not_the_average_one() -> None:
    samples = WorkerSamples()
    for second in range(10):
        samples.add(_sample(second, 0, 0, cpu=0.1, run_queue_share=0.0, loop_lag_ms=[0.1] * 99 + [5.0]))
        samples.add(_sample(second, 1, 0, cpu=0.95 if second < 4 else 0.5, run_queue_share=0.2, loop_lag_ms=[]))
    told = described(samples, START_NS, 9.0)
    assert told["cpu"]["seconds_over_90"] == 0.4
    assert told["run_queue"]["mean"] == pytest.approx(0.2)
    assert told["loop_lag_ms"]["max"] == 5
    assert told["loop_lag_ms"]["p99"] == pytest.approx(float(numpy.quantile([0.1] * 990 + [5.0] * 10, 0.99)))
    assert told["workers"] == 2


def test_quantiles_of_seconds_are_never_averaged() -> None:
    samples = WorkerSamples()
    for p99 in (1.0, 9.0):
        samples.add(_sample(p99, 0, 0, loop_lag_ms={"p50": 0.1, "p99": p99, "max": p99 + 1}))
    assert described(samples, START_NS, 9.0)["loop_lag_ms"] == {
        "n": 2,
        "p50": 0.1,
        "p99": 9.0,
        "max": 10.0,
        "of": "the worst second",
    }
    nothing = {"loop_lag_ms": None, "cpu": None, "run_queue": None, "stolen": None, "pause": None, "workers": 0}
    assert described(WorkerSamples(), START_NS, 9.0) == nothing


def test_made_records_count_in_ms() -> None:
    assert made_record(sent_ms=3).sent_ns == START_NS + 3 * MS


def test_littles_law_is_held_by_workers_that_said_what_was_in_flight() -> None:
    def said(worker: int, t_s: int, in_flight_s: int, sent: int | None = None) -> dict[str, Any]:
        row = {"worker": worker, "t_ns": t_s * S, "in_flight_ns": in_flight_s * S}
        return row if sent is None else row | {"sent": sent, "done": sent}

    spans, samples = Spans(), WorkerSamples()
    # Worker 0 has a request from 1 to 3 and one from 2 to 4. Worker 1, which reports nothing, has one more.
    for worker, begin, end in ((0, 1, 3), (0, 2, 4), (1, 0, 9)):
        spans.add(table_of(made_record(0, worker=worker, eligible_ns=begin * S, end_ns=end * S)))
    silent = _littles_law(spans, samples)
    assert to_plain(silent) == dict.fromkeys(("dispatcher_mean", "records_mean", "difference", "dispatched", "records"))
    samples.add(said(0, 0, 0))
    samples.add(said(0, 8, 5, sent=2))
    law = _littles_law(spans, samples)
    # Four seconds of requests in a window of eight; the dispatcher counted five.
    assert (law.dispatcher_mean, law.records_mean) == (pytest.approx(5 / 8), pytest.approx(4 / 8))
    assert law.difference == pytest.approx(-1 / 5)
    assert (law.dispatched, law.records) == (2, 2)
    idle = WorkerSamples()
    idle.add(said(0, 0, 0))
    idle.add(said(0, 8, 0, sent=0))
    assert (_littles_law(Spans(), idle).dispatcher_mean, _littles_law(Spans(), idle).difference) == (0, None)


@pytest.mark.parametrize(
    ("open_loop", "cap", "told"), [(True, 4, True), (True, None, False), (False, 4, False), (False, None, False)]
)
def test_what_waited_at_a_cap_is_told_of_an_open_loop_with_one(open_loop: bool, cap: int | None, told: bool) -> None:
    facts = RunFacts(
        mode="rate",
        open_loop=open_loop,
        endpoint="chat",
        start_ns=START_NS,
        seed=0,
        max_concurrency=cap,
        offered_rps=1.0,
    )
    summary = Summary(facts)
    summary.add(table_of(made_record(0)))
    load = summary.close().load
    assert (load.waited_at_cap is not None) is told
    assert (load.plan is not None) is open_loop


@pytest.mark.parametrize(
    ("mode", "open_loop", "unsent", "share"),
    [
        (
            "concurrency",
            False,
            (3, 3 * 70 * MS),
            0.75,
        ),  # Relative to the users' time: one request was in flight for a quarter of it.
        ("concurrency", False, (0, 0), 0.0),
        ("rate", True, (3, 10**12), 0.75),  # Relative to the arrivals, however long they waited.
        ("sessions", True, (1, 10**12), 1.0),  # No session has a record.
    ],
)
def test_what_was_never_sent_is_a_share_of_the_users_time_or_of_the_arrivals(
    mode: str, open_loop: bool, unsent: tuple[int, int], share: float
) -> None:
    summary = Summary(
        RunFacts(mode=mode, open_loop=open_loop, endpoint="chat", start_ns=START_NS, seed=0, never_sent=unsent)
    )
    record = made_record(0)
    assert record.end_ns - record.intended_ns == 70 * MS
    summary.add(table_of(record))
    never_sent = summary.close().load.never_sent
    assert never_sent is not None
    assert (never_sent.n, never_sent.share) == (unsent[0], share)


def test_a_run_of_an_older_version_does_not_know_what_was_never_sent() -> None:
    summary = Summary(RunFacts(mode="rate", open_loop=True, endpoint="chat", start_ns=START_NS, seed=0))
    summary.add(table_of(made_record(0)))
    assert summary.close().load.never_sent is None


def test_how_long_replies_stay_open_after_their_last_token_is_no_latency_and_is_told() -> None:
    summary = Summary(RunFacts(mode="rate", open_loop=True, endpoint="chat", start_ns=START_NS, seed=0))
    late, whole = made_record(0), made_record(1)
    assert late.chunk_ns is not None
    assert whole.end_ns - late.chunk_ns[-1] == 0
    summary.add(
        table_of(replace(late, end_ns=late.end_ns + 560 * MS), whole, made_record(2, outcome=Outcome.TIMEOUT_TOTAL))
    )
    numbers = summary.close()
    assert numbers.load.late_ends == LateEnds(mean_ms=280.0, share=4.0)
    assert numbers.latency["e2el_ms"].max == 70.0


def test_without_a_reply_nothing_is_known_of_its_end() -> None:
    summary = Summary(RunFacts(mode="rate", open_loop=True, endpoint="chat", start_ns=START_NS, seed=0))
    summary.add(table_of(made_record(2, outcome=Outcome.TIMEOUT_TOTAL)))
    assert summary.close().load.late_ends is None
