"""How a fit describes the deviations of steps."""

from __future__ import annotations

import sys
from random import Random

import numpy as np
import pytest

from bench.fit.batching import fit_batching
from bench.fit.coefficients import fit_steps
from bench.fit.decode_cost import pieces_of
from bench.fit.steps import Rows
from bench.fit.variation import MOST_KEPT, Variation, variation_of
from bench.results.profile import VariationLevel
from tests.support.step_families import FAMILIES
from tests.support.step_server import StepServer, closed_loop

pytestmark = pytest.mark.usefixtures("few_resamples")

EVEN = np.random.default_rng(0)


def rows(
    steps: int, *, decodes: tuple[int, int] = (1, 16), slow: float = 0.0, more_us: float = 0.0, seed: int = 1
) -> Rows:
    """Steps with b0 5000 and b2 400. Some take three times as long, some a fixed time longer."""
    chance = np.random.default_rng(seed)
    decode = chance.integers(*decodes, steps, endpoint=True).astype(float)
    late = chance.random(steps)
    time = (5_000 + 400 * decode) * np.where(late < slow, 3.0, 1.0) + np.where(late > 0.9, more_us, 0.0)
    time += chance.normal(0, 10, steps)
    nothing = np.zeros(steps)
    return Rows(time, np.ones(steps), nothing, decode, nothing, nothing, pieces_of(decode))


def test_slow_steps_that_the_coefficients_leave_out_stay_in_the_variation() -> None:
    seen = rows(4_000, slow=0.12)
    fit = fit_steps(seen, Random(1))
    assert fit.left_out > 0.1
    found = variation_of([seen], fit)
    assert found is not None
    shares = np.array(found.levels[0].shares)
    assert (shares > 1).mean() == pytest.approx(0.12, abs=0.02)
    assert found.power == pytest.approx(1.0, abs=0.15)
    assert found.steps == 4_000


def test_pauses_that_do_not_grow_with_the_step_have_power_0() -> None:
    seen = rows(4_000, more_us=9_000)
    found = variation_of([seen], fit_steps(seen, Random(1)))
    assert found is not None
    assert found.power < 0.15


def test_what_most_steps_take_beyond_their_cost_is_fitted_once_for_all_requests() -> None:
    # Tens of thousands of requests find a fast server idle. A fit for each would take an hour.
    shares = (0.1,) * 90 + (2.0,) * 10
    usual_us = Variation(0.5, 4_000.0, 50.0, (VariationLevel(1.0, shares),), 100).usual_us()
    called = set[str]()
    sys.setprofile(lambda frame, event, of: called.add(frame.f_code.co_filename))
    found = [usual_us(cost_us) for cost_us in (1_000.0, 4_000.0, 16_000.0)]
    sys.setprofile(None)
    assert found == pytest.approx([200, 400, 800])
    assert not any(name.endswith("robust.py") for name in called)


def test_a_long_recording_is_kept_in_stretches() -> None:
    seen = rows(4 * MOST_KEPT, slow=0.12)
    found = variation_of([seen], fit_steps(seen, Random(1)))
    assert found is not None
    (level,) = found.levels
    assert 0.8 * MOST_KEPT < len(level.shares) <= MOST_KEPT
    assert (np.array(level.shares) > 1).mean() == pytest.approx(0.12, abs=0.02)


def test_loads_that_vary_alike_are_one_level_and_others_several() -> None:
    alike = [rows(2_000, decodes=one, slow=0.12, seed=seed) for seed, one in enumerate([(1, 2), (6, 10), (14, 20)])]
    apart = [rows(2_000, decodes=one, slow=0.2 * n, seed=n) for n, one in enumerate([(1, 2), (6, 10), (14, 20)])]
    whole = fit_steps(rows(4_000), Random(1))
    levels = [len(found.levels) for runs in (alike, apart) if (found := variation_of(runs, whole))]
    assert levels == [1, 3]


def test_steps_that_stay_slow_for_long_are_few_independent_ones() -> None:
    slow = np.repeat(np.random.default_rng(4).random(40) < 0.5, 100)
    seen = rows(4_000)
    lasting = Rows(seen.time_us * np.where(slow, 1.5, 1.0), *(getattr(seen, name) for name in Rows.__slots__[1:]))
    mixed = rows(4_000, slow=0.12)
    errors = [found.mean_error for of in (lasting, mixed) if (found := variation_of([of], fit_steps(of, Random(1))))]
    assert errors[0] > 0.05
    assert errors[1] < 0.025


def test_too_few_steps_say_nothing() -> None:
    assert variation_of([rows(60)], fit_steps(rows(4_000), Random(1))) is None


def test_slow_steps_are_no_parts_of_prompts() -> None:
    runs = [closed_loop(StepServer(seqs=6, varied=FAMILIES["uneven"]), users, 8.0, seed=users) for users in (1, 4, 12)]
    limits = fit_batching(runs, Random(1)).limits
    assert limits.max_num_batched_tokens.value is None
    assert limits.max_num_seqs.value == 6
