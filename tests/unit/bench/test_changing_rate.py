"""A rate that changes during the load: arrivals follow one seeded process, without a burst or a gap."""

from __future__ import annotations

from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rng import stream
from bench.schedule import ARRIVALS
from bench.schedule.changing import ChangingArrivals, RateChange, arrivals

S = 1_000_000_000


def process(name: str, rate: float, burstiness: float = 0.5) -> object:
    return ARRIVALS[name](rate, burstiness, stream(7, "arrivals"))


def test_a_metronome_goes_on_at_the_new_rate_from_where_the_plan_had_come() -> None:
    # 10 per second until 0.95 s, half a gap after the tenth arrival; then 2 per second, with half of a new gap left.
    changed = arrivals(iter(range(0, 10 * S, S // 10)), 10.0, [RateChange(950_000_000, 2.0)])
    assert list(islice(changed, 12)) == [*range(0, S, S // 10), 1_200_000_000, 1_700_000_000]


def test_the_arrival_that_is_waited_for_moves_with_the_change() -> None:
    changing = ChangingArrivals(iter([0, S, 2 * S]), 1.0)
    assert [next(changing), next(changing)] == [0, S]
    changing.change(S // 2, 10.0)  # Half a gap is left, which now takes a tenth of the time.
    assert changing.again() == S // 2 + S // 20
    assert next(changing) == S // 2 + S // 20 + S // 10


def test_without_a_change_every_arrival_stays_to_the_ns() -> None:
    for name in ARRIVALS:
        plain = list(islice(process(name, 17.3), 500))  # type: ignore[call-overload]
        assert list(islice(arrivals(process(name, 17.3), 17.3, []), 500)) == plain  # type: ignore[arg-type]


@given(
    name=st.sampled_from(sorted(ARRIVALS)),
    first=st.floats(0.1, 5_000),
    rates=st.lists(st.floats(0.1, 5_000), min_size=1, max_size=4),
    gaps=st.lists(st.integers(1, 20 * S), min_size=4, max_size=4),
)
def test_between_changes_the_gaps_are_those_of_the_process_in_another_time(
    name: str, first: float, rates: list[float], gaps: list[int]
) -> None:
    changes, at_ns = [], 0
    for gap_ns, rate in zip(gaps, rates, strict=False):
        at_ns += gap_ns
        changes.append(RateChange(at_ns, rate))
    base = list(islice(process(name, first), 300))  # type: ignore[call-overload]
    changed = list(arrivals(iter(base), first, changes))
    assert changed == sorted(changed)
    # An independent computation: the expected arrivals up to each arrival, by the integral of the rate.
    pieces = [RateChange(0, first), *changes]
    for base_ns, at in zip(base, changed, strict=True):
        expected = sum(
            (min(at, end.at_ns) - begin.at_ns) / S * begin.rate for begin, end in pairwise(pieces) if at > begin.at_ns
        )
        expected += max(at - pieces[-1].at_ns, 0) / S * pieces[-1].rate
        assert expected == pytest.approx(base_ns / S * first, rel=1e-6, abs=1e-5 * max(first, *rates) / first)


def test_an_end_in_time_holds_at_every_rate_and_a_number_too() -> None:
    base = [k * S // 10 for k in range(1000)]
    rising = ChangingArrivals(iter(base), 10.0, until_ns=2 * S)
    rising.change(S, 100.0)
    assert sum(1 for _ in rising) == 10 + 100
    falling = ChangingArrivals(iter(base), 10.0, until_ns=2 * S)
    falling.change(S, 1.0)
    assert list(falling) == [*base[:10], S]
    counted = ChangingArrivals(iter(base), 10.0, until_ns=2 * S, most=15)
    counted.change(S, 100.0)
    assert sum(1 for _ in counted) == 15
