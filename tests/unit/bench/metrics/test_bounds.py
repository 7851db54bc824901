"""The range of each number when stamps are bounds, by hand. A range that is too wide is not printed as a number."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.documents import other_tools
from bench.documents.formatting import statistic
from bench.metrics.bounds import WORTH_SAYING_MS, meaningless, shown, worth_saying
from bench.metrics.facts import RunFacts
from bench.metrics.loose_gaps import LooseGaps, loose_gaps
from bench.metrics.quantile import describe
from bench.metrics.request_metrics import first_open_ms, last_open_ms, output_open_ms
from bench.metrics.summary import Summary
from bench.metrics.token_gaps import TokenGaps
from bench.records import RequestRecord
from bench.results.base import to_plain
from bench.results.numbers import FIRST_METRICS, Metric, Statistics
from tests.support.golden_run import golden_summary
from tests.support.made_records import MS, START_NS, made_record
from tests.support.rendered import run_page, run_text, typed_summary
from tests.support.results import filled
from tests.support.tables import pauses_of, sums_of, table_of, value_of


def at(*ms: float | None) -> tuple[int | None, ...]:
    return tuple(None if x is None else START_NS + round(x * MS) for x in ms)


def loose(record: RequestRecord) -> LooseGaps | None:
    table = table_of(record)
    return loose_gaps(table, TokenGaps(table))


def summarized(*records: RequestRecord) -> Any:
    summary = Summary(RunFacts(mode="concurrency", open_loop=False, endpoint="chat", start_ns=START_NS, seed=0))
    summary.add(table_of(*records))
    return to_plain(summary.close())


def bounds(*records: RequestRecord, stat: str = "p50") -> dict[str, list[float]]:
    """The range of the first metrics; test_whatever_happened_lies_between_the_bounds checks all of them."""
    latency = summarized(*records)["latency"]
    return {key: latency[key]["bounds"][stat] for key in FIRST_METRICS if stat in latency[key]["bounds"]}


def test_bounds_stay_open_whatever_is_added_later() -> None:
    summary = Summary(RunFacts(mode="concurrency", open_loop=False, endpoint="chat", start_ns=START_NS, seed=0))
    for bound in ((30, None, None), (None, None, None), (40, None, None)):
        summary.add(table_of(made_record(chunk_bound_ns=at(*bound))))
    # First tokens at 50 ms; two of them may have come as early as 30 and 40 ms.
    assert to_plain(summary.close())["latency"]["ttft_ms"]["bounds"]["mean"] == [40, 50]


def test_exact_stamps_leave_nothing_open() -> None:
    latency = summarized(made_record(), made_record(1, chunk_bound_ns=(None, None, None)))["latency"]
    assert all(row["bounds"] == {} for row in latency.values())
    assert loose(made_record()) is None


def test_a_first_token_that_may_have_come_earlier_opens_ttft_and_what_follows() -> None:
    # Chunks at 50, 60 and 70. The first may have come as early as 30.
    assert bounds(made_record(chunk_bound_ns=at(30, None, None))) == {
        "ttft_ms": [30, 50],
        "ttfo_ms": [30, 50],
        "ttft_from_intended_ms": [30, 50],
        "tpot_ms": [10, 20],
        "tps": [50, 100],
        "itl_ms": [10, 20],  # One gap is 10 to 30, the other 10, so the median is 10 to 20.
        "chunk_gap_ms": [10, 20],
    }


def test_a_last_token_that_may_have_come_earlier_opens_e2el_and_tpot() -> None:
    found = bounds(made_record(chunk_bound_ns=at(None, None, 64)))
    assert found == {
        "e2el_ms": [64, 70],
        "e2el_from_intended_ms": [64, 70],
        "tpot_ms": [7, 10],
        "tps": [100, pytest.approx(1000 / 7)],
        "itl_ms": [7, 10],
        "chunk_gap_ms": [7, 10],
    }


def test_all_tokens_in_one_read_leave_their_pace_open_to_above() -> None:
    record = made_record(chunks_ms=(70, 70, 70), chunk_bound_ns=at(20, 20, None))
    latency = summarized(record)["latency"]
    assert latency["tpot_ms"]["p50"] == 0
    assert latency["tpot_ms"]["bounds"]["p50"] == [0, 25]
    assert latency["ttft_ms"]["bounds"]["p50"] == [20, 70]
    assert latency["itl_ms"]["bounds"]["max"] == [0, 50]
    assert (latency["tps"]["p50"], latency["tps"]["bounds"]["p50"]) == (40, [40, None])
    assert statistic(filled(Metric, latency["tps"]), "p50") == "over 40"


def test_the_speed_of_a_few_that_came_at_once_opens_the_fast_end_alone() -> None:
    records = [made_record(i) for i in range(99)]
    records.append(made_record(99, chunks_ms=(70, 70, 70), chunk_bound_ns=at(20, 20, None)))
    row = summarized(*records)["latency"]["tps"]
    assert (row["n"], row["p50"], row["min"]) == (100, 100, 40)
    assert row["bounds"].keys() == {"mean", "min", "max", "p999"} | ({"p99"} & row["bounds"].keys())
    assert row["bounds"]["max"] == [100, None]


def test_gaps_of_one_read_add_up_to_the_time_that_it_took() -> None:
    """Three tokens between 50 and 80: the gaps sum to at most 30, so two of them cannot be over 15, and one is 10."""
    record = made_record(chunks_ms=(50, 80, 80, 80), kinds="cccc", chunk_bound_ns=at(None, 50, 50, None))
    found = loose(record)
    assert found is not None
    assert pauses_of(found.gaps) == ([30 * MS, 0, 0], [10 * MS, 0, 0], [30 * MS, 15 * MS, 10 * MS])
    assert sums_of(found.gaps) == (30 * MS, 30 * MS)
    latency = summarized(record)["latency"]
    assert latency["itl_ms"]["mean"] == 10
    assert latency["itl_ms"]["bounds"]["max"] == [10, 30]
    assert "mean" not in latency["itl_ms"]["bounds"]


def test_a_read_that_came_after_a_poll_leaves_less_open() -> None:
    """The poll at 70 saw nothing, so the first gap is at least 20, and only 10 remain uncertain."""
    found = loose(made_record(chunks_ms=(50, 80, 80), chunk_bound_ns=at(None, 70, None)))
    assert found is not None
    assert pauses_of(found.gaps) == ([30 * MS, 0], [20 * MS, 0], [30 * MS, 10 * MS])


def test_reasoning_opens_ttfo_by_its_own_chunk() -> None:
    found = bounds(made_record(kinds="ttc", chunk_bound_ns=at(None, None, 61)))
    assert found["ttfo_ms"] == [61, 70]
    assert "ttft_ms" not in found


def test_itl_shares_what_is_open_by_tokens() -> None:
    record = made_record(chunks_ms=(50, 60, 80), tokens=(1, 2, 4), chunk_bound_ns=at(None, 52, None))
    found = loose(record)
    assert found is not None
    assert pauses_of(found.gaps) == ([10 * MS, 20 * MS], [2 * MS, 20 * MS], [10 * MS, 28 * MS])
    assert pauses_of(found.itl) == ([5 * MS] * 6, [MS] * 2 + [5 * MS] * 4, [5 * MS] * 2 + [7 * MS] * 4)


def test_little_that_is_open_is_not_worth_saying() -> None:
    assert bounds(made_record(chunk_bound_ns=at(49.95, None, None))) == {}
    least, most = describe([0.0]), describe([WORTH_SAYING_MS])
    assert worth_saying(most, least, most, unit="ms") == {}
    assert worth_saying(most, least, most, unit="").keys() >= {"mean", "p50"}
    # 0.4 ms: over 1% of a gap of 10 ms, under 1% of a TTFT of 50.
    assert bounds(made_record(chunk_bound_ns=at(49.6, None, None))).keys() == {
        "tpot_ms",
        "tps",
        "itl_ms",
        "chunk_gap_ms",
    }


@pytest.mark.parametrize(
    ("value", "least", "most", "in_ms", "in_others"),
    [
        # Over 1% of the value, and for times also over 0.1 ms.
        (100.0, 99.0, 100.0, False, False),
        (100.0, 98.5, 100.0, True, True),
        (1.0, 0.95, 1.0, False, True),
        (8.0, 8.0, 8.125, True, True),
        (10.0, 9.9375, 10.0, False, False),
        (0.0, 0.0, 0.1, False, True),
        (None, 1.0, 5.0, False, False),
        (5.0, None, 5.0, False, False),
        (5.0, 1.0, None, False, False),
    ],
)
def test_what_is_open_counts_beyond_a_hundredth_of_the_number_and_a_tenth_of_a_millisecond(
    value: float | None, least: float | None, most: float | None, in_ms: bool, in_others: bool
) -> None:
    # An unknown statistic does not affect the ones after it.
    of = [filled(Statistics, mean=mean, max=top) for mean, top in ((value, 50.0), (least, 20.0), (most, 80.0))]
    for unit, said in (("ms", in_ms), ("s", in_others)):
        assert worth_saying(*of, unit=unit) == ({"mean": [least, most]} if said else {}) | {"max": [20.0, 80.0]}


@pytest.mark.parametrize(
    ("found", "value", "is_meaningless"),
    [
        ([1.0, 3.0], 2.0, False),
        ([1.0, 3.5], 2.0, True),
        ([1.0, None], 2.0, True),
        ([None, 1.0], 2.0, True),
        ([1.0, 9.0], None, False),
        (None, 2.0, False),
        (None, None, False),
    ],
)
def test_a_number_whose_bounds_are_further_apart_than_it_is_large_is_none(
    found: list[float | None] | None, value: float | None, is_meaningless: bool
) -> None:
    bounds = {} if found is None else {"p50": found}
    row = filled(Metric, p50=value, bounds=bounds)
    assert meaningless(row, "p50") is is_meaningless
    assert shown(row, "p50") == (None if is_meaningless else value)


def test_a_few_open_values_open_the_tail_and_not_the_median() -> None:
    records = [made_record(i) for i in range(99)] + [made_record(99, chunk_bound_ns=at(1, None, None))]
    row = summarized(*records)["latency"]["ttft_ms"]
    assert "p50" not in row["bounds"]
    assert row["bounds"]["min"] == [1, 50]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60)), min_size=2, max_size=8), min_size=1, max_size=12
    ),
    st.randoms(use_true_random=False),
)
def test_whatever_happened_lies_between_the_bounds(shapes: list[list[tuple[int, int]]], rng: Any) -> None:
    """Chunks come at some instant and are stamped later. The true numbers lie within the bounds."""
    stamped, true = [], []
    for index, chunks in enumerate(shapes):
        came: list[float] = []
        for gap, _ in chunks:
            came.append((came[-1] if came else 20) + gap)
        # A read takes up to this many chunks. They have the stamp of the last chunk, and the bound of the previous
        # read.
        stamps, earliest, begin = [], [], 0
        while begin < len(came):
            end = min(begin + rng.randint(1, 4), len(came))
            before = came[begin - 1] if begin else 0.0
            stamps += [came[end - 1]] * (end - begin)
            earliest += [before] * (end - begin - 1) + [None]
            begin = end
        stamped.append(made_record(index, chunks_ms=stamps, chunk_bound_ns=at(*earliest)))
        true.append(made_record(index, chunks_ms=came))
    said, truth = summarized(*stamped)["latency"], summarized(*true)["latency"]
    for key, row in said.items():
        for stat in ("mean", "p50", "p90", "p99", "max"):
            # In a made record the first byte has the stamp of the first chunk, however late that is.
            if key in ("tps", "ttfb_ms") or truth[key][stat] is None or row[stat] is None:
                continue
            least, greatest = row["bounds"].get(stat, (row[stat] * 0.99 - 0.1, row[stat] * 1.01 + 0.1))
            assert least - 1e-6 <= truth[key][stat] <= greatest + 1e-6, (key, stat)


def itl_of_nothing() -> Any:
    """The golden summary with an ITL and a TPOT that stamps do not determine."""
    summary = golden_summary()
    for scope in (summary["latency"], summary["steady"]["latency"]):
        for key in ("itl_ms", "tpot_ms"):
            scope[key] |= {"p50": 0.0, "bounds": {"p50": [0.0, 21.3]}}
    return summary


def test_a_number_that_stamps_leave_more_open_than_it_is_large_is_printed_as_what_it_lies_between() -> None:
    row = filled(Metric, p50=0.0, p90=20.0, bounds={"p50": [0.0, 21.3], "p90": [11.0, 20.0]})
    assert (meaningless(row, "p50"), meaningless(row, "p90")) == (True, False)
    assert (statistic(row, "p50"), statistic(row, "p90")) == ("0–21.30", "20")
    assert statistic(filled(Metric, p50=100.0, bounds={"p50": [40.0, None]}), "p50") == "over 40"


def test_no_page_prints_a_median_of_nothing() -> None:
    summary = itl_of_nothing()
    page = run_page(summary)
    assert page.count("0–21.30") >= 5  # In the first table, and in two rows of each table.
    lines = run_text(summary).splitlines()
    rows = [line for line in lines if line.startswith(("ITL (ms)", "TPOT (ms)"))]
    assert len(rows) == 5
    assert all("0–21.30" in row for row in rows)
    ours = other_tools.rows(typed_summary(summary))[0]
    assert [cell.text for cell in ours.cells][1:3] == ["0–21.30", "0–21.30"]


def test_other_tools_print_nothing_where_nothing_is_known() -> None:
    records = [made_record(i, chunks_ms=(70, 70, 70), chunk_bound_ns=at(20, 20, None)) for i in range(5)]
    for tool in summarized(*records)["compat"].values():
        for key in ("tpot_ms", "itl_ms"):
            assert tool[key] is None or tool[key]["p50"] is None or tool[key]["p50"] > 1
        if tool["itl_ms"] is not None and tool["itl_ms"]["p50"] is None:
            assert any(sentence.startswith("ITL: mean, p50, p99 cannot be told") for sentence in tool["differences"])


def test_a_chunk_is_open_by_its_stamp_less_its_earliest_moment() -> None:
    record = made_record(chunk_bound_ns=at(30, None, 90))
    assert [value_of(metric, record) for metric in (first_open_ms, output_open_ms, last_open_ms)] == [20, 20, 0]
    reasoning = made_record(kinds="tcc", chunk_bound_ns=at(30, 59, 68))
    assert [value_of(metric, reasoning) for metric in (first_open_ms, output_open_ms, last_open_ms)] == [20, 1, 2]
    alone = made_record(kinds="ttt", chunk_bound_ns=at(30, None, None))
    assert value_of(output_open_ms, alone) == 0
