from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from bench.metrics.window import Window, describe_window, steady_window
from bench.results.load import HalvesTest
from bench.results.series import Series
from bench.statistics.steady_state import halves
from tests.support.results import filled

S = 1_000_000_000


def _noise(n: int, level: float = 100.0, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [level + rng.gauss(0, 3) for _ in range(n)]


def _over_time(n: int, **series: Sequence[float | None]) -> Series:
    """The series of a run of n seconds. Series that are not given are constant."""
    rows = {name: series.get(name, [100.0] * n) for name in ("ttft_ms", "tpot_ms", "e2el_ms")}
    return filled(
        Series,
        step_s=1,
        t_s=list(map(float, range(n))),
        output_tokens=series.get("output_tokens", [100.0] * n),
        **{name: {"mean": values} for name, values in rows.items()},
    )


def _border(at: float) -> int:
    """Slices of a quarter of a second."""
    return -(-int(at) // (S // 4)) * (S // 4)


def _steady(
    over_time: Series, until_s: float, begin_s: float = 0, request_s: float = 1, open_loop: bool = True
) -> Window:
    window = steady_window(0, until_s * S, begin_s * S, request_s * S, over_time, _border, open_loop)
    assert window is not None
    return window


def test_a_short_run_begins_after_ramp_and_warm_up() -> None:
    window = _steady(_over_time(33), 30, begin_s=4.1, request_s=2)
    assert (window.start_ns, window.end_ns) == (4.25 * S, 30 * S)


def test_a_window_from_the_first_send_is_not_moved_to_a_border() -> None:
    window = steady_window(0.1 * S, 30 * S, 0, S, _over_time(31), _border, True)
    assert window is not None
    assert window.start_ns == 0.1 * S


START = [10.0] * 20 + _noise(80)


@pytest.mark.parametrize(
    ("series", "open_loop", "start_s"),
    [
        ("ttft_ms", True, 20),
        ("tpot_ms", True, 20),
        ("output_tokens", True, 0),  # Output follows arrivals, whatever the server does.
        ("tpot_ms", False, 20),
        ("output_tokens", False, 20),
        ("ttft_ms", False, 0),
    ],
)
def test_a_long_run_is_cut_where_a_series_that_can_show_it_had_not_settled(
    series: str, open_loop: bool, start_s: int
) -> None:
    over_time = _over_time(100, **{series: START})
    assert _steady(over_time, 99, open_loop=open_loop).start_ns == start_s * S
    assert _steady(over_time, 53, open_loop=open_loop).start_ns == 0


def test_a_run_is_long_by_its_own_length_whenever_its_first_request_was_sent() -> None:
    over_time = _over_time(160, tpot_ms=[10.0] * 60 + _noise(100))
    for until_s, start_s in ((93, 40), (94, 60)):  # From 40 s on, 53 s and 54 s.
        window = steady_window(40 * S, until_s * S, 40 * S, S, over_time, _border, True)
        assert window is not None
        assert window.start_ns == start_s * S


def test_the_later_cut_wins() -> None:
    over_time = _over_time(100, ttft_ms=[10.0] * 10 + _noise(90), tpot_ms=[10.0] * 30 + _noise(70))
    assert _steady(over_time, 99).start_ns == 30 * S


def test_steps_without_a_value_are_left_out_and_keep_their_place() -> None:
    # A value every other second. The first 20 s differ.
    values: list[float | None] = [None if step % 2 else value for step, value in enumerate(START)]
    assert _steady(_over_time(100, tpot_ms=values), 99).start_ns == 20 * S


def test_where_nothing_was_streamed_the_whole_response_shows_it() -> None:
    silent: list[float | None] = [None] * 100
    over_time = _over_time(100, ttft_ms=silent, tpot_ms=silent, e2el_ms=START)
    assert _steady(over_time, 99).start_ns == 20 * S
    assert _steady(over_time, 99, open_loop=False).start_ns == 20 * S
    found = describe_window(_steady(over_time, 99), [1_000.0], over_time, open_loop=True)
    assert list(found.stationarity or ()) == ["e2el_ms"]


def test_drain_is_outside() -> None:
    window = _steady(_over_time(120, tpot_ms=_noise(90) + [500.0] * 30), 90)
    assert (window.start_ns, window.end_ns) == (0, 90 * S)


def test_no_window_is_shorter_than_a_request() -> None:
    assert steady_window(0, S, 0, 2 * S, _over_time(3), _border, True) is None
    assert steady_window(0, 10 * S, 11 * S, S, _over_time(12), _border, True) is None
    assert describe_window(None, [], _over_time(0), True).start_s is None


def test_few_rounds_of_a_closed_loop_are_warned_of() -> None:
    over_time = _over_time(30)
    window = _steady(over_time, 30, open_loop=False)
    closed = describe_window(window, [5_000.0] * 9, over_time, open_loop=False)
    assert closed.rounds == 6
    assert "as long as 6.0 typical replies" in closed.warnings[0]
    assert "17%" in closed.warnings[0]
    assert describe_window(window, [5_000.0] * 9, over_time, open_loop=True).warnings == []


def test_many_rounds_of_a_closed_loop_are_no_warning() -> None:
    over_time = _over_time(30)
    window = _steady(over_time, 30, open_loop=False)
    found = describe_window(window, [3_000.0] * 9, over_time, open_loop=False)
    assert (found.rounds, found.warnings) == (10, [])


def test_a_long_run_that_never_settled_is_warned_of_and_one_that_did_is_not() -> None:
    falling = _steady(_over_time(100, ttft_ms=[1000 * 0.98**k for k in range(100)]), 99)
    settled = _steady(_over_time(100, ttft_ms=START), 99)
    assert falling.warnings == ["TTFT had not settled after half of the run: the window may hold a part of the start."]
    assert settled.warnings == []


@pytest.mark.parametrize(
    ("series", "open_loop", "speaks"),
    [
        ("tpot_ms", True, "TPOT was 22% lower"),
        ("ttft_ms", True, "TTFT was 22% lower"),
        ("output_tokens", True, ""),
        ("output_tokens", False, "Output was 22% lower"),
        ("ttft_ms", False, ""),
    ],
)
def test_a_drop_is_warned_of_in_the_series_that_can_show_it(series: str, open_loop: bool, speaks: str) -> None:
    over_time = _over_time(120, **{series: [level + (-1) ** step for level in (100, 80) for step in range(60)]})
    window = Window(0, 120 * S, "given")
    warnings = describe_window(window, [1_000.0], over_time, open_loop).warnings
    assert len(warnings) == bool(speaks)
    assert all(
        warning.startswith(speaks) and warning.endswith("than in the first: the run was not steady.")
        for warning in warnings
    )


def test_the_halves_are_those_of_the_statistics() -> None:
    values = _noise(100, seed=3)
    tested = halves(values)
    found = describe_window(Window(0, 100 * S, "given"), [1_000.0], _over_time(100, tpot_ms=values), open_loop=True)
    assert tested is not None
    assert found.stationarity is not None
    assert found.stationarity["tpot_ms"] == HalvesTest(change=tested.change, p=tested.p, drifted=False)


def test_a_steady_series_has_no_warning() -> None:
    for seed in range(50):
        over_time = _over_time(120, tpot_ms=_noise(120, seed=seed), ttft_ms=_noise(120, seed=seed + 100))
        assert describe_window(Window(0, 120 * S, "given"), [1_000.0], over_time, True).warnings == []


def test_only_the_steps_inside_the_window_are_tested() -> None:
    # A ramp of 20 s before the window, and a drain of 20 s after it.
    values = [float(k) for k in range(20)] + [100.0] * 30 + [5.0] * 20
    over_time = _over_time(70, tpot_ms=values)
    window = _steady(over_time, 50, begin_s=20)
    assert (window.start_ns, window.end_ns) == (20 * S, 50 * S)
    found = describe_window(window, [1_000.0], over_time, open_loop=True)
    assert found.stationarity is not None
    assert found.stationarity["tpot_ms"] == HalvesTest(change=0, p=1, drifted=False)
    assert found.warnings == []


def test_a_short_series_is_not_tested() -> None:
    found = describe_window(Window(0, 19 * S, "given"), [1_000.0], _over_time(19), open_loop=True)
    assert found.stationarity == {"ttft_ms": None, "tpot_ms": None}


@pytest.mark.parametrize(("until_s", "start_s"), [(53.999, 0), (54.0, 20), (54.001, 20), (59.9, 20)])
def test_a_start_is_looked_for_in_runs_of_a_minute_and_more(until_s: float, start_s: int) -> None:
    window = _steady(_over_time(62, ttft_ms=[10.0] * 20 + _noise(42)), until_s)
    assert window.start_ns == start_s * S
    assert window.method == ("MSER-5 after ramp and warm-up" if start_s else "after ramp and warm-up")


@pytest.mark.parametrize(("request_s", "any_window"), [(9.99, True), (10.0, False)])
def test_a_window_is_longer_than_a_request_takes(request_s: float, any_window: bool) -> None:
    found = steady_window(0, 10 * S, 0, request_s * S, _over_time(12), _border, True)
    assert (found is not None) is any_window


@pytest.mark.parametrize(("e2el_ms", "rounds", "warned"), [(1000.0, 10.0, False), (1001.0, 10 / 1.001, True)])
def test_ten_rounds_are_enough(e2el_ms: float, rounds: float, warned: bool) -> None:
    window = Window(0, 10 * S, "after ramp and warm-up", [])
    found = describe_window(window, [e2el_ms], _over_time(12), False)
    assert found.rounds == pytest.approx(rounds)
    assert bool(found.warnings) is warned
    assert (found.start_s, found.end_s, found.method) == (0.0, 10.0, "after ramp and warm-up")
    assert describe_window(window, [e2el_ms], _over_time(12), True).warnings == []
