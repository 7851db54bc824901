"""Counts other than latencies: cancelled requests, inputs, the parts of a run, a number by its name. All by hand."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
from msgspec import structs

from bench.metrics.arrays import ascending, grouped, in_order, per_bin, sum_of_squares
from bench.metrics.arrivals import MAX_SLOTS, Arrivals
from bench.metrics.by_part import OTHERS, ByPart, of_objectives
from bench.metrics.cancelled import Cancelled
from bench.metrics.facts import RunFacts
from bench.metrics.inputs import Inputs
from bench.metrics.quantile import describe, quantile
from bench.metrics.run_numbers import NO_NUMBER, RunNumber, number_of, part_of
from bench.metrics.session_counts import FAR_NS, SessionCounts
from bench.metrics.summary import Summary
from bench.records import Outcome, RequestRecord
from bench.records.record_table import RecordTable
from bench.results.answers import CheckedAnswers
from bench.results.base import rounded, to_plain
from bench.results.numbers import Goodput, Metric
from bench.results.sessions import CancelledRequests, Jobs
from bench.results.summary import ClassNumbers, ModelNumbers, PartNumbers, SummaryNumbers
from tests.support.made_records import MS, START_NS, made_record
from tests.support.results import filled
from tests.support.tables import ints, table_of

S = 1_000_000_000


def cancelled(*records: RequestRecord, duration_s: float | None = 4.0) -> CancelledRequests | None:
    found = Cancelled()
    found.add(table_of(*records))
    return found.describe(duration_s)


def test_of_requests_whose_users_left_the_time_the_chunks_and_the_bytes_are_kept() -> None:
    left: dict[str, Any] = {"outcome": Outcome.CANCELLED, "end_ns": START_NS + 80 * MS}
    found = cancelled(
        made_record(0, chunks_ms=(50, 60, 70), kinds="rcc", bytes_received=600, **left),
        made_record(1, chunks_ms=(50, 60, 70), kinds="tcc", bytes_received=400, **left),
        made_record(2, chunks_ms=(10,), kinds="r", bytes_received=30, **left | {"end_ns": START_NS + 20 * MS}),
        made_record(3, bytes_received=999),
        made_record(4, outcome=Outcome.RESET),
    )
    assert found is not None
    after = found.after_ms
    # The third reply has only a role chunk, which is no text.
    assert (found.requests, found.with_tokens, found.token_chunks) == (3, 2, 5)
    assert (found.token_chunks_per_s, found.bytes_received) == (5 / 4, 1030)
    assert (after.n, after.min, after.mean, after.p50) == (3, 20.0, 60.0, 80.0)


def test_without_such_requests_or_without_their_sending_nothing_is_said() -> None:
    assert cancelled(made_record(0)) is None
    unsent = made_record(2, outcome=Outcome.CANCELLED, chunks_ms=(), sent_ns=None)
    assert cancelled(unsent) is None
    sent = made_record(3, outcome=Outcome.CANCELLED, chunks_ms=(1,))
    found = cancelled(sent, duration_s=None)
    assert found is not None
    assert (found.with_tokens, found.token_chunks, found.token_chunks_per_s) == (1, 1, None)


def test_inputs_are_counted_with_their_dimensions_in_ascending_order() -> None:
    found = Inputs()
    for inputs, dimensions in ((3, 1024), (1, 256), (8, 1024), (4, None)):
        found.add(table_of(made_record(inputs=inputs, dimensions=dimensions)))
    described = found.describe("texts")
    per_request = described.per_request
    assert (described.are, described.total, described.dimensions) == ("texts", 16, {"256": 1, "1024": 2})
    assert list(described.dimensions) == ["256", "1024"]
    assert (per_request.n, per_request.mean, per_request.p50, per_request.max) == (4, 4.0, 3.5, 8)
    assert to_plain(found.describe("images"))["bytes_sent"] == to_plain(describe([500] * 4))
    # The bytes of a text follow from its tokens. Images and other bodies have only their bytes.
    assert ["bytes_sent" in to_plain(found.describe(are)) for are in ("texts", "documents", "images", "requests")] == [
        False, False, True, True
    ]  # fmt: skip


def by_model(*models: str | None, known: tuple[str, ...] = ()) -> dict[str, PartNumbers]:
    facts = RunFacts(mode="rate", open_loop=True, endpoint="chat", start_ns=START_NS, seed=1)
    parts = ByPart("model", lambda: Summary(facts), usual="(usual)", known=known)
    for index, model in enumerate(models):
        parts.add(table_of(made_record(index, model=model)))
    return {part.name: part for part in parts.numbers((0.0, 2.0 * S))}


def test_each_part_has_the_numbers_of_its_own_requests_over_the_whole_time() -> None:
    found = by_model("b", "a", "b", None, known=("z", "b"))
    # Known classes come first, in their order, even without requests.
    assert list(found) == ["z", "b", "(usual)", "a"]
    assert [numbers.sent for numbers in found.values()] == [0, 2, 1, 1]
    assert [numbers.throughput.requests_per_s for numbers in found.values()] == [0.0, 1.0, 0.5, 0.5]


class Sent:
    """A summary that only counts."""

    def __init__(self) -> None:
        self.n = 0

    def add(self, table: RecordTable) -> None:
        self.n += len(table)

    def part(self, kind: str, name: str, over: tuple[float, float] | None) -> tuple[str, str, int, object]:
        return kind, name, self.n, over


def test_beyond_a_hundred_parts_the_rest_is_one() -> None:
    parts = ByPart("model", cast(Any, Sent), usual="(usual)")
    for index in range(100):
        parts.add(table_of(made_record(index, model=f"m{index:03}")))
    assert len(list(parts.numbers(None))) == 100
    for model in ("x", "y", "m000"):
        parts.add(table_of(made_record(model=model)))
    found = cast(Any, list(parts.numbers((0.0, 5.0))))
    assert len(found) == 101
    assert ("model", OTHERS, 2, (0.0, 5.0)) in found
    assert ("model", "m000", 2, (0.0, 5.0)) in found


def test_objectives_look_for_parts_by_kind_and_name() -> None:
    models = [filled(ModelNumbers, name=name, error_rate=rate) for name, rate in (("a", 0.1), ("b", 0.2))]
    found = of_objectives({"model": models, "class": [filled(ClassNumbers, name="a", error_rate=0.3)]})
    assert {part: numbers.error_rate for part, numbers in found.items()} == {
        ("model", "a"): 0.1, ("model", "b"): 0.2, ("class", "a"): 0.3,
    }  # fmt: skip


ROW = filled(Metric, p50=7.0, p99=9.0, ci95={"p50": [6.0, 8.0]})
VALUES: dict[str, Any] = {
    "latency": {"ttft_ms": ROW},
    "throughput": {"requests_per_s": 5.0, "ci95": {"requests_per_s": [4.0, 6.0]}},
}
RUN = filled(SummaryNumbers, VALUES, counts={"succeeded": 30, "failed": 10})
JOBS = structs.replace(RUN, jobs=filled(Jobs, job_s=ROW, rates={"jobs_per_hour": 60.0}))
JUDGED = structs.replace(
    RUN,
    goodput=filled(Goodput, share=0.9),
    answers=filled(CheckedAnswers, shares=[{"name": "accuracy", "share": 0.8, "interval": [0.7, 0.9]}]),
)
PART = filled(ModelNumbers, VALUES, error_rate=0.2, error_rate_ci95=[0.1, 0.3])


@pytest.mark.parametrize(
    ("part", "metric", "stat", "expected"),
    [
        (RUN, "ttft", "p50", RunNumber(7.0, [6.0, 8.0], ROW)),
        (RUN, "ttft", "p99", RunNumber(9.0, None, ROW)),
        (RUN, "requests_per_s", None, RunNumber(5.0, [4.0, 6.0])),
        (RUN, "inputs_per_s", None, NO_NUMBER),
        (RUN, "error_rate", None, RunNumber(0.25)),
        (PART, "error_rate", None, RunNumber(0.2, [0.1, 0.3])),
        (filled(SummaryNumbers), "error_rate", None, NO_NUMBER),
        (RUN, "job", "p50", NO_NUMBER),
        (JOBS, "job", "p99", RunNumber(9.0, None, ROW)),
        (JOBS, "jobs_per_hour", None, RunNumber(60.0)),
        (JOBS, "jobs_per_hour_per_gpu", None, NO_NUMBER),
        (RUN, "goodput", None, NO_NUMBER),
        (JUDGED, "goodput", None, RunNumber(0.9)),
        (RUN, "accuracy", None, NO_NUMBER),
        (JUDGED, "accuracy", None, RunNumber(0.8, [0.7, 0.9])),
        (JUDGED, "consistency", None, NO_NUMBER),
    ],
)
def test_a_number_is_found_by_its_name(
    part: SummaryNumbers | PartNumbers, metric: str, stat: str | None, expected: RunNumber
) -> None:
    assert number_of(part, metric, stat) == expected


def test_a_part_is_found_by_kind_and_name() -> None:
    models = [filled(ModelNumbers, name="a"), filled(ModelNumbers, name="b")]
    summary = structs.replace(RUN, models=models)
    assert part_of(summary, None) is summary
    assert part_of(summary, ("model", "b")) is models[1]
    assert part_of(summary, ("model", "c")) is None
    assert part_of(summary, ("class", "a")) is None
    assert part_of(RUN, ("model", "a")) is None


def session(number: int, turn: int, **fields: Any) -> RequestRecord:
    place: dict[str, Any] = {"session_number": number, "session_turns": 2, "turn": turn}
    return made_record(10 * number + turn, **place | fields)


def test_a_session_begins_before_the_pause_of_its_first_turn_and_ends_with_its_last() -> None:
    counts = SessionCounts()
    counts.add(table_of(session(0, 1, sent_ms=400, chunks_ms=(50,))))
    counts.add(table_of(session(0, 0, sent_ms=100, pause_ns=30 * MS)))
    counts.add(table_of(session(1, 0, sent_ms=200, worker=1)))
    counts.add(table_of(session(2, 0, sent_ms=300, worker=1, outcome=Outcome.RESET, chunks_ms=(5,))))
    # A session that began before the run, in its middle, has no beginning.
    counts.add(table_of(session(3, 1, sent_ms=10, worker=1, session_turns_before=1)))
    # A turn of a graph that waits for no other turn begins its session. A turn that waits for one does not.
    counts.add(table_of(session(4, 3, sent_ms=500, worker=0, after=(), pause_ns=None)))
    counts.add(table_of(session(5, 0, sent_ms=510, worker=0, after=(2,))))
    of_worker = [([at - START_NS for at in begins], list(ends)) for begins, ends in counts.spans()]
    assert of_worker == [
        ([70 * MS, 500 * MS], [START_NS + 450 * MS, FAR_NS]),
        ([200 * MS, 300 * MS], [FAR_NS, START_NS + 305 * MS]),
    ]
    begins, until = counts.begins(START_NS)
    assert begins == {0: 70 * MS, 1: 200 * MS, 2: 300 * MS, 4: 500 * MS}
    # Worker 1 began its last session at 300 ms. A session whose first turn waits 30 ms may be missing.
    assert until == 270 * MS
    assert FAR_NS > START_NS + 10**18, "must be later than the end of any run"
    prompt = SessionCounts()
    prompt.add(table_of(session(0, 1, session_turns_before=1), session(1, 0, sent_ms=200)))
    assert prompt.begins(START_NS) == ({1: 200 * MS}, 200 * MS)
    assert SessionCounts().begins(START_NS) == ({}, 0.0)
    assert SessionCounts().spans() == []


def test_a_quantile_of_many_values_is_that_of_few() -> None:
    many = [float(i % 1000) for i in range(20_000)]
    few = many[:1000]
    found = describe(sorted(many))
    # Twenty times 0 to 999. The variance is (1000^2 - 1) / 12; that of a sample is slightly larger.
    assert found.std == pytest.approx(math.sqrt((1000**2 - 1) / 12 * 20_000 / 19_999))
    assert describe(sorted(few)).std == pytest.approx(math.sqrt((1000**2 - 1) / 12 * 1_000 / 999))
    assert describe([3.0]).std is None
    assert describe([2.0, 4.0]).std == pytest.approx(math.sqrt(2))
    endless = [1.0] * 10_000 + [math.inf]
    assert math.isnan(describe(endless).std or 0.0)


def test_a_quantile_of_no_values_does_not_exist() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)
    assert quantile([1.0, math.inf], 0.0) == 1.0
    assert quantile([math.inf, math.inf], 0.5) == math.inf


def test_arrays_are_summed_grouped_and_ordered_as_lists_would_be() -> None:
    numbers, values = np.array([2, 0, 2, 5]), np.array([1.0, 2.0, 0.5, 4.0])
    assert per_bin(numbers, values, 7) == [2.0, 0.0, 1.5, 0.0, 0.0, 4.0, 0.0]
    assert str(per_bin(numbers[:0], values[:0], 3)) == "[0.0, 0.0, 0.0]"
    assert ascending(np.array([3.0, math.nan, 1.0])).tolist() == [1.0, 3.0]
    assert grouped(numbers, values) == {0: [2.0], 2: [0.5, 1.0], 5: [4.0]}
    assert grouped(numbers[:0], values[:0]) == {}
    assert list(in_order(bytearray([0, 1, 1]), np.array([1, 0, 2]))) == [1, 0, 1]


@pytest.mark.parametrize("value", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 2**39 + 12_345, 2**40 - 1, 2**40, 2**52 + 1])
def test_a_sum_of_squares_is_exact(value: int) -> None:
    values = [value, 3, value // 2]
    assert sum_of_squares(np.array(values, dtype=np.int64)) == sum(one * one for one in values)
    assert sum_of_squares(np.array([value] * 3, dtype=np.int64)) == 3 * value * value


def test_the_sum_of_squares_of_more_values_than_one_piece_is_exact() -> None:
    values = np.full((1 << 20) + 5, 3_000_001, dtype=np.int64)
    assert sum_of_squares(values) == ((1 << 20) + 5) * 3_000_001**2
    assert sum_of_squares(np.array([], dtype=np.int64)) == 0


def test_slots_are_merged_two_by_two_when_there_are_too_many() -> None:
    arrivals = Arrivals(10)
    arrivals.add(10 * np.arange(MAX_SLOTS))
    assert (arrivals.width_ns, len(arrivals.slots)) == (10, 4_096)
    arrivals.add(ints(10 * MAX_SLOTS), ints(7))
    assert (arrivals.width_ns, len(arrivals.slots)) == (20, 2_049)
    assert arrivals.slots[0] == 2
    assert arrivals.slots[2_048] == 7
    assert arrivals.between(-math.inf, math.inf) == MAX_SLOTS + 7


def test_a_border_takes_its_share_of_a_slot() -> None:
    arrivals = Arrivals(100)
    arrivals.add(ints(150, 250), ints(8, 4))  # Slots from 100 to 200, and to 300.
    assert [arrivals.between(*ends) for ends in ((100, 200), (125, 200), (100, 150), (150, 250), (200, 200))] == [
        8, 6, 4, 6, 0,
    ]  # fmt: skip
    # Steps of 60 from 110: 110-170 contains 60 of 100 of the first slot, 170-230 contains 30 of it and 30 of the
    # second.
    assert arrivals.per_step(110, 60, 3) == pytest.approx([4.8, 2.4 + 1.2, 4 * 0.6])
    assert arrivals.per_step(0, 50, 2) == [0.0, 0.0]
    assert arrivals.per_step(300, 50, 2) == [0.0, 0.0]
    assert arrivals.per_step(0, 1000, 1) == [12.0]


def test_a_spread_amount_is_shared_by_its_times_in_whole_numbers() -> None:
    arrivals = Arrivals(100)
    arrivals.spread(ints(10, 20, 110, 310), ints(0), ints(10))
    # After two of the four amounts 5, after three 7, after all 10.
    assert arrivals.slots == {0: 5, 1: 2, 3: 3}
    arrivals.spread(ints(), ints(), ints())
    assert arrivals.slots.total() == 10
    # Each of the two rows has its own times and amounts.
    arrivals.spread(ints(10, 110, 310), ints(0, 2), ints(3, 7))
    assert arrivals.slots == {0: 6, 1: 4, 3: 10}


def test_results_are_rounded_to_twelve_digits_and_what_is_not_finite_is_nothing() -> None:
    assert rounded({"a": [1 / 3, math.inf, math.nan], "b": (1, "x"), "c": None}) == {
        "a": [0.333333333333, None, None], "b": [1, "x"], "c": None,
    }  # fmt: skip
