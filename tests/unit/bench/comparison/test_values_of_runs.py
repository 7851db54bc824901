"""The values that a comparison takes from a run: single values, numbers, and the batches that represent a single run."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.comparison import batches, numbers
from bench.comparison.numbers import ERRORS, INPUTS, OUTPUT, Number
from bench.comparison.request_values import RequestValues, good_requests, read_values
from bench.metrics.objectives import parse
from bench.records import Outcome, RequestRecord
from tests.support.made_gate import row, run_of
from tests.support.made_records import MS, START_NS, made_record
from tests.support.made_runs import write_run


def written(path: Path, *records: RequestRecord) -> Path:
    return write_run(path, records)


def test_values_are_those_of_requests_after_the_warm_up_in_the_order_of_sending(tmp_path: Path) -> None:
    late, early = (
        made_record(0, sent_ms=300.0, chunks_ms=(90.0, 95.0)),
        made_record(1, sent_ms=100.0, chunks_ms=(70.0,)),
    )
    never_sent = made_record(
        2, sent_ms=200.0, chunks_ms=(), outcome=Outcome.CONNECT_ERROR, sent_ns=None, intended_ns=START_NS + 200 * MS
    )
    # This request was due long before all others, but sent between them.
    delayed = made_record(3, sent_ms=250.0, chunks_ms=(80.0,), intended_ns=START_NS)
    left_out = [
        made_record(10 + k, sent_ms=50.0, chunks_ms=(10.0,), outcome=outcome)
        for k, outcome in enumerate((Outcome.INTERRUPTED, Outcome.DROPPED, Outcome.CANCELLED))
    ]
    warm = made_record(20, sent_ms=0.0, chunks_ms=(10.0,), phase="warmup")
    found = read_values(written(tmp_path / "run", late, early, never_sent, delayed, *left_out, warm))
    assert list(found.metrics["ttft"]) == [70.0, 80.0, 90.0]
    assert list(found.metrics["tpot"]) == [5.0]
    assert list(found.failed) == [0.0, 1.0, 0.0, 0.0]


def test_good_requests_are_marked_in_the_order_of_sending(tmp_path: Path) -> None:
    goodput = parse(["goodput>90%", "ttft:p99<60ms"])[0]
    of_class = parse(["goodput{class=a}>90%", "ttft:p99<60ms"])[0]
    path = written(
        tmp_path / "run",
        made_record(0, sent_ms=300.0, chunks_ms=(50.0,), traffic_class="a"),
        made_record(1, sent_ms=100.0, chunks_ms=(70.0,), traffic_class="b"),
        made_record(2, sent_ms=200.0, chunks_ms=(50.0,), traffic_class="b"),
        made_record(3, sent_ms=200.0, chunks_ms=(), outcome=Outcome.DROPPED, sent_ns=None, traffic_class="b"),
        made_record(4, sent_ms=250.0, chunks_ms=(70.0,), intended_ns=START_NS, traffic_class="a"),
        made_record(5, sent_ms=50.0, chunks_ms=(50.0,), phase="warmup", traffic_class="a"),
        made_record(6, sent_ms=50.0, chunks_ms=(50.0,), outcome=Outcome.CANCELLED, traffic_class="a"),
        made_record(7, sent_ms=50.0, chunks_ms=(50.0,), outcome=Outcome.INTERRUPTED, traffic_class="a"),
    )
    assert good_requests(path, goodput) == [0.0, 1.0, 0.0, 0.0, 1.0]
    assert good_requests(path, of_class) == [0.0, 1.0]


def failed(n: int) -> array[float]:
    return array("d", [0.0] * n)


def in_turn(n: int) -> array[float]:
    """Alternating values, which count as independent (act 1)."""
    return array("d", [50.0, 60.0] * (n // 2) + [50.0] * (n % 2))


@pytest.mark.parametrize(
    ("replies", "requests", "independent"),
    [(40, 60, 40.0), (20, 30, 20.0), (19, 30, 1.0), (0, 1, 1.0), (0, 0, 0.0)],
)
def test_a_run_is_worth_its_requests_over_the_dependence_of_e2el(
    replies: int, requests: int, independent: float
) -> None:
    values = RequestValues({"e2el": in_turn(replies)}, failed(requests))
    assert values.independent_requests() == pytest.approx(independent)


def test_the_dependence_of_a_metric_takes_twenty_values() -> None:
    values = RequestValues({"ttft": in_turn(20), "tpot": in_turn(19)})
    assert [values.act_of(name) for name in ("ttft", "tpot", "job")] == [1.0, None, None]
    # Forty rising values: neighbours are nearly the same.
    assert (RequestValues({"ttft": array("d", range(40))}).act_of("ttft") or 0) > 5


FLOORS = {"ttft": 0.5, "tpot": 0.05, "itl": 0.05, "e2el": 0.5, "ttft_from_intended": 0.5, "e2el_from_intended": 0.5,
          "ttfa": 0.5, "ttfi": 0.5, "playback_stall": 0.5, "job": 0.01}  # fmt: skip


def test_each_number_has_the_floor_of_its_metric_and_the_way_that_is_worse() -> None:
    every = [*numbers.primary(lambda _: True), *numbers.gated(lambda _: True), *numbers.explored(lambda _: True, [])]
    for number in (*every, numbers.E2EL, numbers.E2EL_TAIL, OUTPUT, INPUTS):
        assert number.floor == FLOORS.get(number.metric, 0.0), number.name
        assert number.higher_is_worse is (number.stat is not None or number is ERRORS), number.name
        shares = ("error_rate", "goodput", "accuracy", "consistency", "valid_json")
        assert number.is_share is (number.name in shares), number.name
    assert numbers.SHARE_MARGIN == 0.01
    titles = {number.name: number.title for number in every}
    assert (titles["ttft:p90"], titles["ttft:mean"], titles["job:mean"]) == ("TTFT p90", "TTFT average", "Job average")


def known_but(*missing: str) -> Any:
    return lambda number: not {number.metric, "named" if number.inputs_are else None} & {*missing}


@pytest.mark.parametrize(
    ("missing", "primary", "tails"),
    [
        (("inputs_per_s",), ["ttft:p90", "tpot:p50", "output_tokens_per_s", "error_rate"], ["ttft:p99", "tpot:p99"]),
        ((), ["ttft:p90", "tpot:p50", "inputs_per_s", "error_rate"], ["ttft:p99", "tpot:p99"]),
        (("ttft", "inputs_per_s"), ["e2el:p90", "tpot:p50", "output_tokens_per_s", "error_rate"],
         ["e2el:p99", "tpot:p99"]),
        (("ttft", "tpot", "input_tokens_per_s"), ["e2el:p90", "inputs_per_s", "error_rate"], ["e2el:p99"]),
        (("ttft", "tpot", "input_tokens_per_s", "named"), ["e2el:p90", "requests_per_s", "error_rate"], ["e2el:p99"]),
        (("tpot", "inputs_per_s"), ["ttft:p90", "output_tokens_per_s", "error_rate"], ["ttft:p99"]),
    ],
)  # fmt: skip
def test_the_numbers_that_decide_follow_from_what_is_known(
    missing: tuple[str, ...], primary: list[str], tails: list[str]
) -> None:
    known = known_but(*missing)
    decided = numbers.primary(known)
    assert [number.name for number in decided] == primary
    assert [number.name for number in numbers.gated(known)] == [*primary[:-2], *tails, *primary[-2:]]
    explored = [number.name for number in numbers.explored(known, decided)]
    assert not {*primary} & {*explored}
    assert {name.partition(":")[0] for name in explored}.isdisjoint(missing)
    assert "e2el:p50" in explored
    assert ("ttfb:p90" in explored) is ("named" in missing)
    assert ("ttft:p50" in explored) is ("ttft" not in missing)


def test_goodput_of_a_run_is_its_share_and_none_without_limits() -> None:
    goodput = Number("goodput", None, "Goodput", "share", higher_is_worse=False)
    assert goodput.of(run_of(goodput={"share": 0.75}).summary) == 0.75
    assert goodput.of(run_of(goodput=None).summary) is None


SERIES = {
    "step_s": 2.0,
    "t_s": [0.0, 2.0, 4.0, 6.0, 8.0],
    "output_tokens": [1, 20, 30, 40, 5],
    "inputs": [1, 2, 3, 4, 5],
}


@pytest.mark.parametrize(
    ("number", "window", "series"),
    [
        (OUTPUT, (2.0, 8.0), [10.0, 15.0, 20.0]),  # Steps that begin or end exactly with the window count.
        (OUTPUT, (2.1, 7.9), [15.0]),
        (INPUTS, (2.0, 8.0), [1.0, 1.5, 2.0]),
        (OUTPUT, (None, 8.0), []),
        (OUTPUT, (2.0, None), []),
    ],
)
def test_a_rate_is_what_came_in_each_step_inside_the_steady_window(
    number: Number, window: tuple[float | None, float | None], series: list[float]
) -> None:
    summary = run_of(series=SERIES, window=dict(zip(("start_s", "end_s"), window, strict=True))).summary
    assert batches._series(number, summary, RequestValues()) == series


def of(metric: str, stat: str | None) -> Number:
    return Number(metric, stat, metric, "ms", higher_is_worse=True)


def test_batches_are_cut_of_values_of_requests_and_of_nothing_else() -> None:
    values = RequestValues({"ttft": in_turn(20)}, failed(3))
    summary = run_of().summary
    assert batches._series(of("ttft", "p99"), summary, values) is values.metrics["ttft"]
    assert batches._series(of("ttft", "mean"), summary, values) is values.metrics["ttft"]
    assert batches._series(ERRORS, summary, values) is values.failed
    for number in (of("itl", "p50"), of("ttft", "max"), of("requests_per_s", None)):
        assert batches._series(number, summary, values) is None


@pytest.mark.parametrize(
    ("stat", "needed"),
    [
        ("mean", 50),  # Five values a batch.
        ("p50", 50),
        ("p75", 80),  # Two values of a batch lie beyond its quantile: 2 / (1 - 0.75) = 8.
        ("p90", 200),
        ("p99", 2000),
    ],
)
def test_ten_batches_take_as_many_values_as_their_statistic(stat: str, needed: int) -> None:
    number = of("ttft", stat)
    cut, _ = batches._batches(number, in_turn(needed))
    assert cut is not None
    assert len(cut) == 10
    cut, missing = batches._batches(number, in_turn(needed - 1))
    assert cut is None
    assert missing == (f"has {needed - 1:,} values, and ten batches take {needed:,}: a run 2 times as long would do")


def test_a_run_without_values_does_not_show_how_long_it_would_have_to_be() -> None:
    assert batches._batches(of("ttft", "mean"), [])[1] == "has no values, and ten batches take 10: make the run longer"


def test_values_that_depend_on_each_other_make_batches_longer() -> None:
    # Blocks of eight equal values, each high or low by a fair coin. The act is near eight, and a batch must hold five
    # blocks.
    rng = np.random.default_rng(4)
    blocks = np.repeat(rng.integers(0, 2, 100), 8) + 10.0
    cut, _ = batches._batches(of("ttft", "mean"), blocks.tolist())
    assert cut is not None
    cut, missing = batches._batches(of("ttft", "mean"), blocks[:160].tolist())
    assert cut is None
    assert "has 160 values" in missing


def test_the_statistic_of_a_batch_is_the_one_asked_for() -> None:
    values = [4.0, 1.0, 3.0, 2.0, 10.0]
    found = {stat: batches._statistic(stat)(values) for stat in ("p50", "mean", None)}
    assert found == {"p50": 3.0, "mean": 4.0, None: 4.0}


def two_runs(number: Number, a: list[float], b: list[float]) -> tuple[batches.BatchComparison | None, str | None]:
    """Two runs with these TTFT values and failures."""
    return batches.compare(
        number, run_of(), run_of(),
        *(RequestValues({"ttft": array("d", values)}, array("d", values)) for values in (a, b)),
    )  # fmt: skip


def test_two_runs_are_compared_by_their_batches() -> None:
    found, why = two_runs(of("ttft", "mean"), [10.0, 12.0] * 30, [11.0, 13.2] * 30)
    assert why is None
    assert found is not None
    assert (found.a, found.b) == ([11.0] * 10, pytest.approx([12.1] * 10))
    assert (found.difference.change, found.difference.spread_known) == (pytest.approx(0.1), False)


def test_two_runs_that_cannot_be_compared_say_why() -> None:
    good, short, zero = [10.0, 12.0] * 30, [10.0, 12.0] * 10, [0.0] * 60
    assert two_runs(of("itl", "p50"), good, good) == (None, "needs several runs a side: one run has no batches of it")
    for a, b, name in ((short, good, "A"), (good, short, "B")):
        found, why = two_runs(of("ttft", "mean"), a, b)
        assert found is None
        assert str(why).startswith(f"too few independent values: the run of {name} has 20 values")
    for a, b in ((zero, good), (good, zero)):
        assert two_runs(of("ttft", "mean"), a, b) == (None, "a ratio of zero does not exist")
    found, why = two_runs(ERRORS, zero, [0.0, 1.0] * 30)
    assert why is None
    assert found is not None
    assert found.difference.change == pytest.approx(0.5)


def test_a_latency_of_a_summary_is_the_statistic_that_was_asked_for() -> None:
    summary = run_of({"ttft_ms": row(9, p90=80.0)}).summary
    assert (numbers.TTFT.of(summary), numbers.TTFT_TAIL.of(summary)) == (80.0, None)


@pytest.mark.parametrize(("bounds", "known"), [((0.0, 80.0), 80.0), ((0.0, 80.1), None)])
def test_a_latency_whose_bounds_are_further_apart_than_its_value_is_not_compared(
    bounds: tuple[float, float], known: float | None
) -> None:
    run = run_of({"ttft_ms": row(9, p90=80.0) | {"bounds": {"p90": bounds}}})
    assert numbers.TTFT.of(run.summary) == known
