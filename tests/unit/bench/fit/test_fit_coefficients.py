"""b0 to b3 from rows with known times: values, intervals, undetermined values, residuals and the table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from statistics import fmean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bench.fit.coefficients import StepFit, fit_steps, worst_bin
from bench.fit.decode_cost import pieces_of
from bench.fit.steps import Rows
from bench.results.profile import Residuals

Array = npt.NDArray[Any]
B0, B1, B2, B3, B4 = 5000.0, 20.0, 100.0, 0.5, 3000.0


def rows_of(
    decode: Sequence[float] | Array,
    *,
    steps: Sequence[float] | Array | float = 1.0,
    prefill: Sequence[float] | Array | float = 0.0,
    context: Sequence[float] | Array | float = 0.0,
    firsts: Sequence[float] | Array | float = 0.0,
    extra_us: Sequence[float] | Array | float = 0.0,
) -> Rows:
    """Rows that last as long as their work, plus `extra_us`."""
    decode = np.array(decode, dtype=np.float64)
    n = len(decode)
    steps, prefill, context, firsts = (
        np.broadcast_to(np.array(c, dtype=np.float64), n) for c in (steps, prefill, context, firsts)
    )
    time_us = B0 * steps + B1 * prefill + B2 * decode + B3 * context + B4 * firsts + np.array(extra_us)
    return Rows(time_us, steps, prefill, decode, context, firsts, pieces_of(decode / steps) * steps[:, None])


def fit(rows: Rows, **how: bool) -> StepFit:
    return fit_steps(rows, Random(1), **how)


def varied(n: int = 120) -> dict[str, Any]:
    """Work of every kind, in different proportions."""
    place = np.arange(n)
    return {
        "decode": 1.0 + place % 16,
        "prefill": np.where(place % 5 == 0, 100.0 + 10 * (place % 7), 0.0),
        "context": (1.0 + place % 16) * (200 + 50 * (place % 11)),
    }


def test_the_cost_of_each_kind_of_work_is_found() -> None:
    found = fit(rows_of(**varied()))
    assert found.values == pytest.approx((B0, B1, B2, B3, 0))
    assert (found.rows, found.steps, found.left_out, found.table) == (120, 120, 0, ())
    assert all(one.told for one in found.coefficients.values())
    for one, true in zip(found.coefficients.values(), (B0, B1, B2, B3), strict=True):
        assert (one.low, one.high) == pytest.approx((true, true))
        assert one.low <= one.value <= one.high
    assert (found.decode_cost.knots, found.decode_cost.slopes) == ((), (pytest.approx(B2),))


def test_what_a_prompt_costs_besides_its_tokens_is_found_if_it_is_looked_for() -> None:
    work = varied()
    seen = rows_of(**work, firsts=(work["prefill"] > 0) * (1.0 + np.arange(120) % 2))
    found = fit(seen, by_prompt=True)
    assert found.values == pytest.approx((B0, B1, B2, B3, B4))
    assert found.us(seen) == pytest.approx(seen.time_us)
    assert found.without_prompts_us(seen) == pytest.approx(seen.time_us - B1 * seen.prefill - B4 * seen.firsts)
    assert (found.coefficients["b4"].told, found.draws[0].values[4]) == (True, pytest.approx(B4))
    assert "b4" not in fit(seen).coefficients


def test_steps_of_rows_of_several_are_added_up() -> None:
    work = varied()
    found = fit(rows_of(**work, steps=1.0 + np.arange(120) % 3))
    assert found.values == pytest.approx((B0, B1, B2, B3, 0))
    assert (found.rows, found.steps) == (120, 240)


def test_fifty_rows_are_needed_and_some_time() -> None:
    assert fit(rows_of(**varied(50))).values == pytest.approx((B0, B1, B2, B3, 0))
    with pytest.raises(ValueError, match="49 steps were seen from end to end, and 50 are needed"):
        fit(rows_of(**varied(49)))
    some = rows_of(**varied(60))
    with pytest.raises(ValueError, match="most steps take less than"):
        fit(replace(some, time_us=np.zeros(60)))
    assert fit(replace(some, time_us=np.where(np.arange(60) < 29, 0.0, some.time_us))).rows == 60
    # Three steps per row, each of 99 us. Arrivals closer than 100 us belong to one step.
    with pytest.raises(ValueError, match="most steps take less than"):
        fit(replace(some, time_us=np.full(60, 297.0), steps=np.full(60, 3.0)))
    assert fit(replace(some, time_us=np.full(60, 300.0), steps=np.full(60, 3.0))).rows == 60


def noise(n: int, size_us: float, seed: int = 7) -> Array:
    """Normal quantiles, in random order."""
    chance = Random(seed)
    return np.array([chance.gauss(0, size_us) for _ in range(n)])


def test_an_interval_is_as_wide_as_two_standard_errors_on_either_side() -> None:
    # With one coefficient, the estimate is a mean of 400 rows, whose standard error is a twentieth of a row's. Tukey's
    # weights divide that by sqrt(0.95). Estimating the weights multiplies it by 1.2 compared with fixed ones.
    n, halves = 400, []
    zeros = np.zeros(n)
    for seed in range(20):
        only = Rows(B0 + noise(n, 100.0, seed), np.ones(n), zeros, zeros, zeros, zeros, pieces_of(zeros))
        b0 = fit(only).coefficients["b0"]
        assert b0.value == pytest.approx(B0, abs=20)
        assert b0.low < b0.value - 4 < b0.value + 4 < b0.high
        halves.append((b0.high - b0.low) / 2)
    assert fmean(halves) == pytest.approx(1.96 * 100 / 20 / math.sqrt(0.95), rel=0.05)


def test_what_may_as_well_be_the_servers_is_as_wide_as_the_interval() -> None:
    work = varied(400)
    found = fit(rows_of(**work, extra_us=noise(400, 300.0)))
    b2 = found.coefficients["b2"]
    drawn = [draw.values[2] for draw in found.draws]
    assert 1.96 * stdev(drawn) == pytest.approx((b2.high - b2.low) / 2, rel=0.3)
    assert all(value >= 0 for draw in found.draws for value in draw.values)


def test_what_no_row_has_cannot_be_told() -> None:
    work = varied() | {"prefill": 0.0}
    told = {name: one.told for name, one in fit(rows_of(**work)).coefficients.items()}
    assert told == {"b0": True, "b1": False, "b2": True, "b3": True}


@pytest.mark.parametrize("apart", [0.0, 1e-4, 0.2])
def test_two_kinds_of_work_in_the_same_proportion_cannot_be_told_apart(apart: float) -> None:
    # Batches of 8 whose size varies by a share. A share below a hundredth, 1e-4 when squared, is too small.
    wobble = np.where(np.arange(120) % 2 == 0, 1 + apart, 1 - apart)
    found = fit(rows_of(8 * wobble, prefill=varied()["prefill"]))
    told = {name: one.told for name, one in found.coefficients.items()}
    assert told == {"b0": apart == 0.2, "b1": True, "b2": apart == 0.2, "b3": False}


@pytest.mark.parametrize(("share", "told"), [(0.008, False), (0.012, True)])
def test_a_column_that_others_explain_but_for_a_ten_thousandth_is_not_told(share: float, told: bool) -> None:
    decode = 8 * np.where(np.arange(400) % 2 == 0, 1 + share, 1 - share)
    found = fit(rows_of(decode))
    assert (found.coefficients["b0"].told, found.coefficients["b2"].told) == (told, told)


def test_a_wide_interval_that_moves_a_step_is_not_told_and_one_that_does_not_is() -> None:
    n = 400
    decode = 1.0 + np.arange(n) % 4
    # With 600 us of noise, the error of b2 is about 1.96 x 600 / (20 x 1.12) = 53 us. That is more than a quarter of
    # 100 us, and changes a step of 4 decodes by 212 of 5250 us, less than a twentieth.
    b2 = fit(rows_of(decode, extra_us=noise(n, 600.0))).coefficients["b2"]
    assert (b2.high - b2.low) / 2 > 0.25 * b2.value
    assert b2.told
    # With 1500 us, it is 130 us, a tenth of a step. The error of b0, about 1.96 x 1500 x 2.45 / 20 = 360 us, changes a
    # step by more than a twentieth, too, but is not wide compared with 5000.
    b0, _, b2, _ = fit(rows_of(decode, extra_us=noise(n, 1500.0))).coefficients.values()
    assert (b2.high - b2.low) / 2 > 0.25 * b2.value
    assert not b2.told
    assert (b0.high - b0.low) / 2 > 0.05 * 5300
    assert b0.told
    # A wide range of batches makes the interval narrow again, whatever it changes.
    b0, _, b2, _ = fit(rows_of(1.0 + np.arange(n) % 200, extra_us=noise(n, 1500.0))).coefficients.values()
    assert b2.told
    assert b0.told


def test_outliers_have_no_weight_and_their_share_is_said() -> None:
    late = np.where(np.arange(120) % 20 == 7, 9000.0, 0.0)
    found = fit(rows_of(**varied(), extra_us=late))
    assert found.values == pytest.approx((B0, B1, B2, B3, 0))
    assert found.left_out == pytest.approx(6 / 120)


def test_the_scale_is_that_of_what_a_step_is_off() -> None:
    found = fit(rows_of(**varied(400), extra_us=noise(400, 50.0)))
    assert found.scale_us == pytest.approx(50, rel=0.15)


def test_residuals_are_shares_of_the_fitted_step_by_powers_of_two_of_the_decodes() -> None:
    # 40 batches of 1, of 2, of 3 and of 12, and 80 of 5. A fifth of those of 5 take half as long again, which makes
    # them outliers.
    decode = np.array([1.0, 2.0, 3.0, 5.0, 5.0, 12.0] * 40)
    context = 100.0 * (np.arange(240) % 13)
    size = B0 + B2 * decode + B3 * context
    fives = np.flatnonzero(decode == 5)
    extra = np.zeros(240)
    extra[fives[::5]] = 0.5 * size[fives[::5]]
    found = fit(rows_of(decode, context=context, extra_us=extra)).residuals
    assert [(one.least_decodes, one.most_decodes, one.rows) for one in found] == [
        (1, 1, 40), (2, 3, 80), (4, 7, 80), (8, 15, 40),
    ]  # fmt: skip
    for one in found:
        assert (one.p10, one.p50) == pytest.approx((0, 0), abs=1e-6)
        assert one.p90 == pytest.approx(0.5 if one.least_decodes == 4 else 0, abs=1e-6)


def test_the_decodes_of_a_row_of_several_steps_are_counted_by_step() -> None:
    found = fit(rows_of(np.tile([8.0, 16.0, 24.0], 40), steps=2.0, prefill=varied()["prefill"])).residuals
    assert [(one.least_decodes, one.rows) for one in found] == [(4, 40), (8, 80)]
    nothing = fit(rows_of(np.tile([0.0, 4.0], 60))).residuals
    assert [(one.least_decodes, one.rows) for one in nothing] == [(1, 60), (4, 60)]


def bent(excess: float = 1.0) -> Rows:
    """Up to a batch of 4, each decode costs 1000 us; further decodes cost nothing."""
    decode = np.repeat([1.0, 2.0, 4.0, 8.0, 16.0], 100)
    cost = 1000 * np.minimum(decode, 4) * excess
    return rows_of(decode, context=50.0 * (np.arange(500) % 9), extra_us=cost - B2 * decode)


def test_a_cost_that_is_no_line_gets_a_table_with_the_cost_at_each_point() -> None:
    found = fit(bent())
    knots = found.decode_cost.knots
    assert knots == (2, 4, 8)
    assert [point.tokens for point in found.table] == [2, 4, 8]
    assert [point.us for point in found.table] == pytest.approx([2000, 4000, 4000], rel=1e-3)
    for point in found.table:
        assert point.low <= point.us <= point.high
        assert (point.low, point.high) == pytest.approx((point.us, point.us), rel=1e-3)
    assert found.values == pytest.approx((B0, 0, 0, B3, 0), rel=1e-3, abs=1e-3)
    assert found.decode_cost.slopes == pytest.approx((1000, 1000, 0, 0), rel=1e-3, abs=1e-3)


def test_the_interval_of_a_point_is_that_of_its_sum() -> None:
    # 2000 us at 2, 4000 at 4. On the first piece, 2 decodes cost twice the step from 1 to 2, and b0 is the rest. So the
    # first point is 2 (y2 - y1) and the second y4 - 2 y1 + y2, with means of 150 rows each.
    decode = np.repeat([1.0, 2.0, 4.0, 16.0], 150)
    cost = np.repeat([1000.0, 2000.0, 4000.0, 5000.0], 150)
    found = fit(rows_of(decode, extra_us=cost - B2 * decode + noise(600, 100.0)))
    assert [point.tokens for point in found.table] == [2, 4]
    for point, true, variance in zip(found.table, (2000, 4000), (4 + 4, 1 + 4 + 1), strict=True):
        assert point.low < point.us < point.high
        assert point.us == pytest.approx(true, abs=60)
        assert (point.high - point.low) / 2 == pytest.approx(1.96 * 100 * math.sqrt(variance / 150), rel=0.3)


def test_a_line_that_is_off_by_a_twentieth_at_most_needs_no_table() -> None:
    # 4% more for the middle batches needs no table, 16% does.
    for share, is_table in ((0.04, False), (0.16, True)):
        decode = np.repeat([1.0, 6.0, 40.0], 100)
        size = B0 + B2 * decode
        found = fit(rows_of(decode, extra_us=np.where(decode == 6, share * size, 0.0)))
        assert bool(found.table) is is_table, share


def test_too_few_rows_of_each_size_make_no_table() -> None:
    decode = np.repeat([1.0, 4.0, 16.0], 25)
    found = fit(rows_of(decode, extra_us=np.where(decode == 4, 3000.0, 0.0)))
    assert found.table == ()
    worst = worst_bin(found.residuals)
    assert worst is not None
    assert abs(worst.p50) > 0.05


def test_a_table_that_is_no_better_is_not_taken() -> None:
    # Large batches cost less, which a rising table cannot express.
    decode = np.repeat([1.0, 4.0, 16.0], 100)
    found = fit(rows_of(decode, extra_us=np.where(decode == 4, 4000.0, 0.0) - B2 * decode))
    assert found.table == ()


def bins(*of: tuple[int, float]) -> list[Residuals]:
    return [Residuals(2**k, 2 ** (k + 1) - 1, rows, -1.0, p50, 1.0) for k, (rows, p50) in enumerate(of)]


def test_the_worst_bin_is_the_furthest_to_either_side_of_those_with_enough_rows() -> None:
    some = bins((20, 0.1), (20, -0.3), (19, 0.9), (500, 0.2))
    assert worst_bin(some) == some[1]
    assert worst_bin(bins((19, 0.9))) is None
    assert worst_bin([]) is None


def test_the_four_values_are_in_their_order() -> None:
    found = fit(rows_of(**varied()))
    assert list(found.coefficients) == ["b0", "b1", "b2", "b3"]
    assert all(math.isfinite(one.high) for one in found.coefficients.values())
