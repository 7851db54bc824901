"""What a summary keeps of each request: its row and gaps; and values that a reply cannot have."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from bench.errors import UsageError
from bench.metrics import tokens
from bench.metrics.arrivals import FINEST_NS, MAX_SLOTS, Arrivals
from bench.metrics.catalog import request_values
from bench.metrics.chosen_requests import ChosenRequests
from bench.metrics.columns import Columns
from bench.metrics.facts import RunFacts
from bench.metrics.objectives import parse_one
from bench.metrics.series import Steps, distributions, intervals, over_time
from bench.metrics.server_requests import ServerRequests
from bench.metrics.summary import Summary
from bench.metrics.tokens import TokenTimes
from bench.records import Outcome, RequestRecord
from bench.records.record_table import Ints
from bench.results.base import to_plain
from tests.support.made_jobs import step_of
from tests.support.made_records import MS, START_NS, made_record
from tests.support.slow_metrics import NS_PER_S
from tests.support.tables import fill, ints, request_of_gaps, table_of


def test_the_order_of_adding_is_forgotten_though_two_records_have_one_index() -> None:
    records = [made_record(1, end_ns=START_NS + end * MS) for end in (90, 80)]
    found = []
    for order in (records, records[::-1]):
        columns = Columns(START_NS)
        table = table_of(*order)
        columns.add(table, request_values(table), table.ok)
        columns.sort()
        found.append(columns.end.tolist())
    assert found == [[80 * MS, 90 * MS]] * 2


def test_values_that_a_stamp_leaves_open_are_held_too() -> None:
    # Two gaps, and for two uncertain gaps the value, the least and the greatest, each for gaps and ITL: 2 + 6 x 2.
    opened = request_of_gaps(0, 0, [10, 20], chunk_bound_ns=(None, START_NS + 5, None))
    for limit, exact in ((14, True), (13, False)):
        times = fill(TokenTimes(seed=1, exact_limit=limit), opened)
        assert times.gaps().exact is exact
    # If ITL differs from the gaps, both are kept: 2 + 3.
    for limit, exact in ((5, True), (4, False)):
        times = fill(TokenTimes(seed=1, exact_limit=limit), request_of_gaps(0, 0, [10, 20], tokens=(1, 2, 1)))
        assert times.gaps().exact is exact


def summary_of(*records: RequestRecord, **facts: Any) -> dict[str, Any]:
    given = {"mode": "concurrency", "open_loop": False, "endpoint": "chat", "start_ns": START_NS, "seed": 0}
    summary = Summary(RunFacts(**{**given, "concurrency": 1, **facts}))
    summary.add(table_of(*records))
    return to_plain(summary.close())


def test_the_parts_of_a_run_have_its_requests_and_none_of_the_warm_up() -> None:
    records = [
        made_record(0, phase="warmup", model="b", traffic_class="chat", sent_ms=-500),
        made_record(1, model="b", traffic_class="chat"),
        made_record(2, traffic_class="chat", sent_ms=400, chunks_ms=(50, 60)),
        made_record(3, model="b", outcome=Outcome.RESET, sent_ms=500, chunks_ms=(), end_ns=START_NS + 1000 * MS),
    ]
    found = summary_of(*records, model="a", models=("a", "b"), classes=("chat", "batch"))
    models = {part["model"]: part for part in found["models"]}
    classes = {part["class"]: part for part in found["classes"]}
    assert list(models) == ["a", "b"]
    # Classes are in their order, also those without requests. Requests without a class come last.
    assert list(classes) == ["chat", "batch", "(no class)"]
    counted = ("sent", "succeeded", "failed", "error_rate", "by_outcome")
    assert [models["a"][name] for name in counted] == [1, 1, 0, 0.0, {"ok": 1}]
    assert [models["b"][name] for name in counted] == [2, 1, 1, 0.5, {"ok": 1, "reset": 1}]
    assert [classes["chat"][name] for name in counted] == [2, 2, 0, 0.0, {"ok": 2}]
    assert [classes["batch"][name] for name in counted] == [0, 0, 0, None, {}]
    assert classes["batch"]["error_rate_ci95"] is None
    # Rates are per second of the whole run, which took 1 s, so the rates of the parts sum to the run's rate.
    for parts in (models, classes):
        rates = [part["throughput"]["output_tokens_per_s"] for part in parts.values()]
        assert sum(rates) == found["throughput"]["output_tokens_per_s"] == 5.0
    assert models["b"]["throughput"]["duration_s"] == 1.0
    assert models["a"]["latency"]["e2el_ms"]["p50"] == 60.0
    assert models["b"]["goodput"] is None
    assert found["counts"]["warmup"] == {"requests": 1, "by_outcome": {"ok": 1}}
    assert not {"models", "classes"} & summary_of(*records).keys()


def test_the_gaps_of_a_table_are_held_until_there_are_too_many_of_all() -> None:
    # Four gaps. Two of them are next to a chunk that came at 55 to 60, so their least and greatest values are kept,
    # too: 4 + 6 x 2.
    bound = (None, START_NS + 55 * MS, None)
    two = made_record(0, chunk_bound_ns=bound), made_record(1)
    for limit, exact in ((16, True), (15, False)):
        times = TokenTimes(seed=1, exact_limit=limit)
        fill(times, *two)
        assert times.gaps().exact is exact
        # A folded slice keeps no single values.
        held = [part.exact for piece in times._slices.values() for part in piece.parts() if part.count]
        assert held == [exact] * len(held) != []
    # One more table: 16 + 4.
    for limit, exact in ((20, True), (19, False)):
        times = TokenTimes(seed=1, exact_limit=limit)
        fill(times, *two)
        fill(times, made_record(2, sent_ms=200), made_record(3, sent_ms=300))
        assert times.gaps().exact is exact


def test_what_is_folded_holds_no_value_any_more() -> None:
    times = TokenTimes(seed=1, exact_limit=3)
    fill(times, request_of_gaps(0, 0, [10, 20, 30]))
    fill(times, request_of_gaps(1, 50 * MS, [10], tokens=(1, 2)))
    (first, second) = times._slices.values()
    assert (first.shared.exact, second.gap_only.exact, second.itl_only.exact) == (True, False, False)
    fill(times, request_of_gaps(2, 0, [10]))
    assert not first.shared.exact


@pytest.mark.parametrize("missing", ["session_number", "job", "job_step"])
def test_a_record_that_does_not_know_its_job_is_no_step(missing: str) -> None:
    known: dict[str, Any] = {"session_number": 1, "job": 0, "job_step": 0}
    assert step_of(made_record(**known)) is not None
    assert step_of(made_record(**known | {missing: None})) is None


@pytest.mark.parametrize(
    ("greatest", "width"), [(12.0, 1.0), (13.2, 2.0), (24.0, 2.0), (30.0, 5.0), (60.0, 5.0), (61.2, 10.0), (1.2, 0.1)]
)
def test_response_times_lie_in_a_dozen_intervals_of_a_round_width(greatest: float, width: float) -> None:
    rows = intervals([0.0, *[greatest] * 100])
    assert to_plain(rows[0]) == {"from_ms": 0.0, "to_ms": pytest.approx(width), "n": 1, "share": 1 / 101}
    assert (rows[-1].n, rows[-1].from_ms) == (100, pytest.approx(greatest // width * width, abs=width))
    assert 6 <= len(rows) <= 13


def test_the_same_requests_are_chosen_from_tables_and_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "SAMPLED_REQUESTS", 10)
    records = [made_record(index, sent_ms=index) for index in range(40)]
    many, single = TokenTimes(seed=1), TokenTimes(seed=1)
    fill(many, *records[:25])
    fill(many, *records[25:])
    for record in records[::-1]:
        fill(single, record)
    assert many.sample() == single.sample()
    assert len(many.sample()) == 10


def test_a_reply_of_one_chunk_says_nothing_of_what_lies_between_tokens() -> None:
    chance = random.Random(1)
    several = [
        made_record(i, sent_ms=10 * i, chunks_ms=(50, 60 + chance.random(), 75 + chance.random())) for i in range(600)
    ]
    alone = [made_record(600 + i, sent_ms=10 * i + 5, chunks_ms=(50,)) for i in range(500)]
    with_them, without = (summary_of(*records)["latency"]["itl_ms"] for records in ([*several, *alone], several))
    assert with_them == without
    low, high = without["ci95"]["mean"]
    assert 12.5 < low < without["mean"] < high < 13


@pytest.mark.parametrize("open_loop", [False, True])
def test_a_closed_loop_says_what_was_ready_and_an_open_one_what_was_planned(open_loop: bool) -> None:
    # Ready at 10 ms, sent at 13 ms; 1 ms of that was for the connection.
    record = made_record(0, sent_ms=13, connect_ns=MS, intended_ns=START_NS + 10 * MS, eligible_ns=START_NS + 10 * MS)
    load = summary_of(record, made_record(1, sent_ms=20), open_loop=open_loop)["load"]
    assert (load["plan"] is None, load["ready_not_sent"] is None) == (not open_loop, open_loop)
    if not open_loop:
        # 2 ms of 73 + 70. The run begins with the first send, so earlier time is no wait.
        assert load["ready_not_sent"]["longest_ms"] == 0.0


def many(n: int) -> Ints:
    return FINEST_NS * np.arange(n)


def test_amounts_over_time_take_a_slot_each_until_there_are_too_many_however_they_come() -> None:
    n = MAX_SLOTS + 1
    each, one, amounts, spread = (Arrivals() for _ in range(4))
    each.add(many(n))
    for at in many(n):
        one.add(ints(at))
    amounts.add(many(n), np.ones(n, dtype=np.int64))
    spread.spread(many(n), ints(0), ints(n))
    for arrivals in (each, one, amounts, spread):
        assert (arrivals.width_ns, len(arrivals.slots), arrivals.slots.total()) == (2 * FINEST_NS, n // 2 + 1, n)
        assert arrivals.slots[0] == 2
    full = Arrivals()
    full.add(many(MAX_SLOTS))
    assert (full.width_ns, len(full.slots)) == (FINEST_NS, MAX_SLOTS)


def test_rates_over_time_are_amounts_of_a_step_by_its_length() -> None:
    columns = Columns(START_NS)
    table = table_of(made_record(0, chunks_ms=(100, 200)))
    columns.add(table, request_values(table), ~table.ok)
    of_tokens, of_bytes = Arrivals(), Arrivals()
    of_tokens.add(ints(100 * MS), ints(2))
    of_bytes.add(ints(100 * MS), ints(400))
    two = over_time(columns, of_tokens, of_bytes, Steps(0, 1, widest_ns=2 * NS_PER_S))
    assert (two.step_s, two.sent, two.output_tokens) == (2, [1], [2.0])
    found = distributions(columns, two)
    assert [found.requests_per_s.mean, found.responses_per_s.mean] == [0.5, 0.5]
    assert found.traffic.bytes_in_per_s.mean == 200.0
    assert found.traffic.bytes_out_per_s.mean == 250.0
    assert found.tps.output_tokens_per_s.mean == 1.0


def test_the_mean_gap_of_a_second_is_in_ms_within_a_hundredth() -> None:
    summary = Summary(RunFacts(mode="concurrency", open_loop=False, endpoint="chat", start_ns=START_NS, seed=0))
    summary.add(table_of(made_record(0, chunks_ms=(50, 60, 90))))
    found = summary.page_data().itl_ms
    assert found.mean == [pytest.approx(20.0, rel=0.01)]
    assert found.p50 == [pytest.approx(20.0, rel=0.01)]


def test_where_values_are_folded_no_part_of_the_run_is_exact() -> None:
    times = TokenTimes(seed=1, exact_limit=3)
    fill(times, request_of_gaps(0, 50 * MS, [10, 20, 30]))
    assert times.gaps(50 * MS).exact
    fill(times, request_of_gaps(1, 0, [10]))
    assert [times.gaps(border).exact for border in (None, 0, 50 * MS)] == [False] * 3


def test_an_error_rate_is_at_most_all_requests() -> None:
    assert [parse_one(f"error_rate<{limit}").limit for limit in ("100%", "0.5%", "0.25", "0")] == [
        1.0,
        0.005,
        0.25,
        0.0,
    ]
    for limit in ("100.1%", "1", "2"):
        with pytest.raises(UsageError):
            parse_one(f"error_rate<{limit}")


def test_a_reply_without_gaps_takes_no_place_in_the_sample_for_intervals() -> None:
    summary = Summary(RunFacts(mode="concurrency", open_loop=False, endpoint="chat", start_ns=START_NS, seed=0))
    summary.add(table_of(*(made_record(index, chunks_ms=(50,) if index % 2 else (50, 60)) for index in range(6))))
    assert [list(one.gaps) for one in summary._tokens.sample()] == [[10 * MS]] * 3


def test_the_row_of_a_request_on_the_page_has_its_times_since_the_start_of_the_run() -> None:
    def chosen(record: RequestRecord) -> dict[str, Any]:
        requests, table = ChosenRequests(START_NS), table_of(record)
        requests.add(table, request_values(table))
        return to_plain(requests.describe())

    record = made_record(
        4, sent_ms=500, chunks_ms=(5, 50, 60, 90), kinds="rcco", intended_ns=START_NS + 250 * MS, n=2,
        input_tokens_asked=90, output_tokens_asked=3, end_ns=START_NS + 625 * MS,
    )  # fmt: skip
    (row,) = chosen(record)["sample"]
    assert row == {
        "index": 4,
        "id": "made-4",
        "outcome": "ok",
        "status": 200,
        "error": None,
        "intended_s": 0.25,
        "sent_s": 0.5,
        "first_s": 0.55,
        "end_s": 0.625,
        "ttft_ms": 50.0,
        "tpot_ms": 10.0,
        "e2el_ms": 60.0,
        "input_tokens": 100,
        "output_tokens_asked": 3,
        "output_tokens": 2,
        "inputs": None,
    }
    never = made_record(
        5, sent_ns=None, chunks_ms=(), outcome=Outcome.CONNECT_ERROR, end_ns=START_NS + MS, input_tokens=None,
        input_tokens_asked=7, inputs=3,
    )  # fmt: skip
    found = chosen(never)
    assert (found["sample"], found["slowest"], found["failures"]) == ([], [], 1)
    (lost,) = found["failed"]
    assert (lost["sent_s"], lost["first_s"], lost["end_s"]) == (None, None, 0.001)
    assert (lost["input_tokens"], lost["inputs"]) == (7, 3)
    # The tokens of a reply come from its usage. Without usage, each chunk counts as one.
    said = [chosen(made_record(0, output_tokens=tokens))["sample"][0]["output_tokens"] for tokens in (5, None)]
    assert said == [5, 3]


def test_cached_tokens_are_of_the_replies_that_say_both_numbers() -> None:
    records = [
        made_record(0, cached_tokens=30),
        made_record(1, cached_tokens=0, input_tokens=50),
        made_record(2),
        made_record(3, cached_tokens=9, input_tokens=None),
    ]
    drafted = made_record(4, draft_steps=1, draft_tokens=2, accepted_tokens=1)
    said = ServerRequests()
    said.add(table_of(*records))
    said.add(table_of(drafted))
    found = said.describe()
    assert found is not None
    assert found.cached is not None
    assert to_plain(found.cached) == {"replies": 2, "tokens": 30, "of": 150, "share": 0.2}
