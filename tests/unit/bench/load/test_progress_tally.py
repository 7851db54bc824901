"""The values of objectives while a load runs, and how much a tally keeps."""

from __future__ import annotations

import pytest

from bench.load.live import LoadGoal
from bench.load.progress_tally import COUNTED_AT_ONCE, PhaseTally, ProgressTally, ReplicaTally, metrics_of
from bench.metrics import objectives
from bench.records import REQUESTS, Outcome
from tests.support.changed import replace
from tests.support.made_records import made_record


def filled(*ttft_ms: float, phase: str = "run") -> PhaseTally:
    tally = PhaseTally(["itl"])
    for number, ms in enumerate(ttft_ms):
        tally.add(made_record(number, chunks_ms=(ms, ms + 10, ms + 30), phase=phase))
    return tally


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        ("ttft:mean<60ms", 55.0),
        ("ttft:p50<60ms", 55.0),
        ("e2el:mean<1s", 85.0),
        ("itl:mean<60ms", 15.0),
        ("requests_per_s>1", 0.8),
        ("output_tokens_per_s>1", 2.4),
        ("input_tokens_per_s>1", 80.0),
        ("total_tokens_per_s>1", 82.4),
        ("error_rate<1%", 0.2),
    ],
)
def test_an_objective_has_its_value_over_the_requests_so_far(objective: str, value: float) -> None:
    # Four requests of 100 input tokens and 3 output tokens succeed in 5 s, and one fails.
    tally = filled(40.0, 50.0, 60.0, 70.0)
    tally.add(made_record(9, outcome=Outcome.RESET))
    (parsed,) = objectives.parse([objective])
    assert tally.value_of(parsed, 5.0) == pytest.approx(value)


def test_goodput_is_only_in_the_report() -> None:
    _, goodput = objectives.parse(["ttft:mean<60ms", "goodput>90%"])
    assert filled(40.0, 50.0).value_of(goodput, 5.0) is None


@pytest.mark.parametrize("objective", ["ttft:mean<60ms", "requests_per_s>1", "error_rate<1%"])
def test_an_objective_has_no_value_before_there_is_one(objective: str) -> None:
    (parsed,) = objectives.parse([objective])
    assert PhaseTally().value_of(parsed, 0.0) is None


def test_the_metrics_of_requests_are_computed_32_at_a_time() -> None:
    tally = filled(*[50.0] * (COUNTED_AT_ONCE - 1))
    assert COUNTED_AT_ONCE == 32
    assert (len(tally._waiting), tally._values["ttft"].count) == (31, 0)
    tally.add(made_record(31))
    assert (len(tally._waiting), tally._values["ttft"].count) == (0, 32)
    tally.add(made_record(32))
    assert tally.values["ttft"].count == 33, "whoever asks gets all of them"


def test_a_folded_tally_keeps_no_single_values_and_quantiles_within_a_thousandth() -> None:
    tally = ProgressTally(["itl"])
    for number in range(200):
        tally.add(made_record(number, chunks_ms=(50.0 + number, 300.0), phase="run" if number % 2 else "warmup"))
    exact = [part.values["ttft"].snapshot().quantile(0.9) for part in (tally.run, tally.warmup)]
    tally.fold()
    for part, value in zip((tally.run, tally.warmup), exact, strict=True):
        assert not any(histogram.exact for histogram in (*part.values.values(), *part.live_values.values()))
        assert part.values["ttft"].snapshot().quantile(0.9) == pytest.approx(value, rel=1e-3)


def test_the_numbers_of_a_replica_are_the_sums_over_all_workers() -> None:
    whole = PhaseTally()
    for worker in range(3):
        tally = PhaseTally()
        for number in range(worker + 1):
            tally.add(replace(made_record(number, chunks_ms=(40.0 + number, 60.0)), target="http://a"))
            tally.add(replace(made_record(number, outcome=Outcome.RESET), target="http://a"))
        tally.add(replace(made_record(7, outcome=Outcome.CANCELLED), target="http://a"))
        whole.merge(tally)
    # One, two and three requests: the first of each takes 40 ms, the second 41 ms, the third 42 ms.
    assert whole.replicas == {"http://a": ReplicaTally(6, 6, latency_ms=3 * 40.0 + 2 * 41.0 + 42.0, measured=6)}


def test_a_tally_has_the_metrics_of_the_objectives_on_requests() -> None:
    parsed = objectives.parse(["itl:p99<60ms", "goodput>90%", "requests_per_s>1", "e2el:p50<1s"])
    assert metrics_of(parsed) == ("itl", "itl", "e2el")
    assert {*PhaseTally(metrics_of(parsed)).values} == {"ttft", "tpot", "e2el", "itl"}


def test_every_load_counts_tokens_but_that_of_plain_requests() -> None:
    assert [LoadGoal(inputs_are=kind).counts_tokens for kind in (None, "texts", REQUESTS)] == [True, True, False]
