"""The expectations of /truth, against large samples (numpy) and against the plans that the mock itself draws.

Each computed quantile is checked by the share of a sample below it, which must equal the requested share within chance.
No tolerance in ms is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from mockserver.config import MockConfig
from mockserver.engine import ENGINES
from mockserver.expect import EXPECTATIONS, RequestLengths
from mockserver.expect.sampled import SHARES, _by_ratio, _evenly, _grouped
from mockserver.expect.sums import inverse, product_sum, repeated_sum, transform
from mockserver.plans.plan import Latencies, ReplyLength, draw_plan

MS = 1e6
N = 40_000
"""Requests of a simulation; the text in /truth names this number."""


def expect(asked: RequestLengths | None = None, **config: Any) -> dict[str, Any]:
    return EXPECTATIONS["sampled"](MockConfig(**config), asked or RequestLengths())


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


Array = Any
Draw = Callable[[np.random.Generator, int], Array]


def lognormal(mean: float, cv: float) -> Draw:
    sigma = math.sqrt(math.log1p(cv * cv))
    return lambda r, k: r.lognormal(math.log(mean) - sigma**2 / 2, sigma, k)


def gamma(mean: float, cv: float) -> Draw:
    return lambda r, k: r.gamma(1 / cv**2, mean * cv**2, k)


def exponential(mean: float) -> Draw:
    return lambda r, k: r.exponential(mean, k)


def always(value: float) -> Draw:
    return lambda r, k: np.full(k, value)


def whole(draw: Draw) -> Draw:
    """Token counts: rounded. Draws below 1 are replaced by fresh ones (there are more than enough)."""

    def tokens(r: np.random.Generator, k: int) -> Array:
        values = np.floor(draw(r, 2 * k + 100) + 0.5)
        return values[values >= 1][:k]

    return tokens


CASES: list[tuple[dict[str, Any], Draw, Draw, Draw]] = [
    (
        {"ttft": "lognormal:mean=200ms,cv=0.5", "tpot": "gamma:mean=20ms,cv=0.3", "output_tokens": "uniform:100..500"},
        lognormal(200, 0.5), gamma(20, 0.3), lambda r, k: r.integers(100, 501, k),
    ),
    (
        {"ttft": "lognormal:mean=200ms,cv=2", "tpot": "20ms", "output_tokens": "exp:mean=300"},
        lognormal(200, 2), always(20), whole(exponential(300)),
    ),
    (
        {"ttft": "50ms", "tpot": "lognormal:mean=10ms,cv=1", "output_tokens": "exp:mean=50"},
        always(50), lognormal(10, 1), whole(exponential(50)),
    ),
    ({"ttft": "exp:mean=50ms", "itl": "exp:mean=10ms", "output_tokens": 128}, exponential(50), exponential(10), always(128)),
    (
        {"ttft": "50ms", "itl": "gamma:mean=10ms,cv=1", "output_tokens": "uniform:1..9"},
        always(50), gamma(10, 1), lambda r, k: r.integers(1, 10, k),
    ),
    (
        {"ttft": "exp:mean=50ms", "itl": "lognormal:mean=10ms,cv=2", "output_tokens": 3},
        exponential(50), lognormal(10, 2), always(3),
    ),
    (
        {"ttft": "uniform:40ms..60ms", "itl": "uniform:1ms..9ms", "output_tokens": "exp:mean=200"},
        lambda r, k: r.uniform(40, 60, k), lambda r, k: r.uniform(1, 9, k), whole(exponential(200)),
    ),
]  # fmt: skip


def simulate(config: dict[str, Any], first: Draw, gap: Draw, length: Draw) -> dict[str, Array]:
    r = rng()
    ttft, n = first(r, N), length(r, N).astype(int)
    if "itl" not in config:
        tpot = gap(r, N)
        decode = (n - 1) * tpot
    else:
        gaps = gap(r, int((n - 1).sum()))
        ends = np.cumsum(n - 1)
        sums = np.concatenate([[0.0], np.cumsum(gaps)])
        decode = sums[ends] - sums[ends - (n - 1)]
        tpot = decode[n > 1] / (n[n > 1] - 1)
    return {"ttft_ms": ttft, "tpot_ms": tpot, "e2el_ms": ttft + decode, "output_tokens": n}


def share_error(values: Array, quantile: float, share: float) -> float:
    """The distance between the share of lower values and the requested share, in standard deviations (for atoms, the
    nearer side)."""
    below, reached = (values < quantile - 1e-9).mean(), (values <= quantile + 1e-9).mean()
    if below <= share <= reached:
        return 0.0
    distance: float = min(abs(below - share), abs(reached - share)) / math.sqrt(share * (1 - share) / len(values))
    return distance


@pytest.mark.slow
@pytest.mark.parametrize(("config", "first", "gap", "length"), CASES, ids=[str(case[0]) for case in CASES])
def test_mean_and_quantiles_are_those_of_a_large_sample(
    config: dict[str, Any], first: Draw, gap: Draw, length: Draw
) -> None:
    told = expect(**config)
    for metric, values in simulate(config, first, gap, length).items():
        assert told[metric]["mean"] == pytest.approx(
            values.mean(), abs=5 * values.std() / math.sqrt(len(values)) + 1e-9
        )
        for name, share in SHARES.items():
            assert share_error(values, told[metric][name], share) < 4, (metric, name, told[metric])


def test_a_wrong_expectation_would_be_seen() -> None:
    config, first, gap, length = CASES[0]
    values = simulate(config, first, gap, length)["e2el_ms"]
    right = expect(**config)["e2el_ms"]["p50"]
    assert share_error(values, right * 1.03, 0.5) > 4
    assert share_error(values, right + 0.03 * right, 0.5) > 4


def test_the_expectation_is_that_of_the_plans_that_are_drawn() -> None:
    config = MockConfig(
        ttft="lognormal:mean=200ms,cv=0.5,min=50ms,max=400ms", itl="gamma:mean=20ms,cv=0.5,max=40ms",
        output_tokens="lognormal:mean=12,cv=1,min=2,max=30",
    )  # fmt: skip
    told = EXPECTATIONS["sampled"](config, RequestLengths())
    latencies = Latencies(config.ttft, config.tpot, config.itl, config.output_tokens)
    plans = [draw_plan(latencies, 3, i, ReplyLength(config.max_model_len)) for i in range(3000)]
    ttft = np.array([plan.ttft_ns for plan in plans]) / MS
    decode = np.array([sum(plan.gaps_ns) for plan in plans]) / MS
    n = np.array([plan.output_tokens for plan in plans])
    gaps = np.concatenate([plan.gaps_ns for plan in plans]) / MS
    drawn = {"ttft_ms": ttft, "e2el_ms": ttft + decode, "tpot_ms": decode / (n - 1), "output_tokens": n, "itl_ms": gaps}
    for metric, values in drawn.items():
        assert told[metric]["mean"] == pytest.approx(values.mean(), abs=5 * values.std() / math.sqrt(len(values))), (
            metric
        )
        for name, share in SHARES.items():
            assert share_error(values, told[metric][name], share) < 4, (metric, name)


def test_what_is_constant_is_exact_and_what_is_listed_too() -> None:
    told = expect(ttft="20ms", tpot="4ms", output_tokens=128)
    assert {told["e2el_ms"][name] for name in ("mean", *SHARES)} == {20 + 127 * 4}
    told = expect(ttft="20ms", tpot="10ms", output_tokens="uniform:1..100")
    assert (told["e2el_ms"]["p50"], told["e2el_ms"]["p99"]) == (20 + 49 * 10, 20 + 98 * 10)
    told = expect(ttft="exp:mean=100ms", tpot="4ms", output_tokens=11)
    assert told["e2el_ms"]["p90"] == pytest.approx(40 - 100 * math.log(0.1))
    told = expect(ttft="10ms", tpot="exp:mean=4ms", output_tokens=11)
    assert told["e2el_ms"]["p90"] == pytest.approx(10 - 40 * math.log(0.1))
    assert "numeric" not in told["e2el_ms"]["how"]
    # A reply of one token has no gap, so its E2EL is its TTFT. A reply of two tokens has one varying gap.
    alone, pair = (expect(ttft="20ms", tpot="exp:mean=40ms", output_tokens=n)["e2el_ms"] for n in (1, 2))
    assert {alone[name] for name in ("mean", *SHARES)} == {20}
    assert pair["p90"] == pytest.approx(20 - 40 * math.log(0.1))


def test_gaps_that_are_drawn_make_a_tpot_that_is_narrower_than_one_that_is_drawn_once() -> None:
    once = expect(tpot="exp:mean=10ms", output_tokens=101)["tpot_ms"]
    each = expect(itl="exp:mean=10ms", output_tokens=101)["tpot_ms"]
    assert once["mean"] == each["mean"] == 10
    # A sum of 100 exponentials is gamma(100), whose 99% quantile is 124.7 for a mean of 1, from tables.
    assert each["p99"] == pytest.approx(12.4723, rel=1e-3)
    assert once["p99"] == pytest.approx(-10 * math.log(0.01))
    assert expect(itl="exp:mean=10ms", output_tokens=1)["tpot_ms"]["mean"] is None


def test_requests_that_say_their_lengths_are_asked_for_apart() -> None:
    asked = expect(
        RequestLengths(output_tokens=11, input_tokens=100), ttft="20ms", tpot="4ms", output_tokens="uniform:1..100"
    )
    assert (asked["output_tokens"]["mean"], asked["e2el_ms"]["mean"]) == (11, 60)
    short = expect(RequestLengths(input_tokens=990), max_model_len=1000, output_tokens="uniform:1..20")
    assert short["output_tokens"]["mean"] == pytest.approx((sum(range(1, 11)) + 10 * 10) / 20)
    assert "at most 10 tokens" in short["output_tokens"]["how"]


def test_what_the_numbers_leave_out_is_said() -> None:
    notes = expect(fault=["429:rate=0.1", "reset:index=3"])["leaves_out"]
    assert "the fault 429:rate=0.1" in notes
    assert any("input_tokens" in note for note in notes)
    assert not any("input_tokens" in note for note in expect(RequestLengths(input_tokens=5))["leaves_out"])


def test_very_long_ranges_of_lengths_are_grouped() -> None:
    told = expect(output_tokens="uniform:1..200000", max_model_len=1_000_000, tpot="1ms", ttft="1ms")
    assert told["output_tokens"]["p50"] == pytest.approx(100_000, rel=1e-3)
    assert told["output_tokens"]["mean"] == pytest.approx(100_000.5, rel=1e-4)
    assert told["e2el_ms"]["p90"] == pytest.approx(180_000, rel=2e-3)


def test_lengths_are_grouped_at_their_means_and_keep_their_mass() -> None:
    few = [(1.0, 0.25), (2.0, 0.75)]
    assert _grouped(few, 2, lambda n: 0) == few
    assert _grouped(few, 1, lambda n: 0) == [(2.0, 1.0)]  # The mean is 1.75.
    assert _grouped([(1.0, 0.5), (2.0, 0.25), (9.0, 0.125), (11.0, 0.125)], 3, lambda n: int(n // 5)) == [
        (1.0, 0.75), (9.0, 0.125), (11.0, 0.125),
    ]  # fmt: skip
    # A long tail gets a fifth of the groups, without taking any from the bulk.
    lengths = [(float(n), 0.999 / 1000) for n in range(1, 1001)] + [
        (float(n), 0.00001) for n in range(1100, 11_100, 100)
    ]
    for grouped, most in ((_evenly(lengths, 100), 100), (_by_ratio(lengths, 100), 101)):
        assert len(grouped) <= most
        assert sum(share for _, share in grouped) == pytest.approx(1)
        assert sum(n * share for n, share in grouped) == pytest.approx(sum(n * share for n, share in lengths), rel=2e-3)
    even = [n for n, _ in _evenly(lengths, 100)]
    assert [79 <= sum(n <= 1000 for n in even) <= 81, even[-1]] == [True, 11_000]
    ratios = [b / a for (a, _), (b, _) in pairwise(_by_ratio(lengths, 100)) if a > 100]
    assert max(ratios) < 2.2


def test_every_engine_has_its_expectation_and_every_number_says_how_it_was_had() -> None:
    assert EXPECTATIONS.keys() == ENGINES.keys()
    told = expect()
    for metric in ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms", "output_tokens"):
        assert told[metric].keys() == {"mean", "p50", "p90", "p95", "p99", "how"}
        assert len(told[metric]["how"].split()) > 4


def test_the_transform_is_the_textbooks_and_its_inverse_gives_the_masses_back() -> None:
    masses = [float(value) for value in rng().random(64)]
    assert np.array(transform(masses)) == pytest.approx(np.fft.fft(masses))
    assert inverse(transform(masses)) == pytest.approx(masses)


def test_sums_of_dice_are_those_that_can_be_counted() -> None:
    die = [(float(face), 1 / 6) for face in range(1, 7)]
    two = repeated_sum([(0.0, 1.0)], [(2.0, 1.0)], die)
    faces = sorted(a + b for a in range(1, 7) for b in range(1, 7))
    for share in (0.1, 0.5, 0.72, 0.9):
        assert two.quantile(share) == pytest.approx(faces[math.ceil(share * 36) - 1], abs=2 * two.step)
    doubled = product_sum(die, [(2.0, 1.0)], die)
    faces = sorted(a + 2 * b for a in range(1, 7) for b in range(1, 7))
    for share in (0.2, 0.45, 0.7):
        assert doubled.quantile(share) == pytest.approx(faces[math.ceil(share * 36) - 1], abs=2 * doubled.step)


def test_a_sum_reaches_as_far_as_its_rarest_part() -> None:
    # One of ten thousand parts is 1,000, so that 1% of the sums of 100 are 1,000 or more.
    rare = repeated_sum([(0.0, 1.0)], [(100.0, 1.0)], [(0.0, 1 - 1e-4), (1000.0, 1e-4)])
    assert rare.quantile(0.98) == pytest.approx(0, abs=2 * rare.step)
    assert rare.quantile(0.995) == pytest.approx(1000, abs=2 * rare.step)
