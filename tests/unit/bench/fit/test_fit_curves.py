"""The quantiles of a run's streams."""

from __future__ import annotations

import pytest

from bench.fit.curves import SHARES, curves_of
from bench.fit.streams import Stream


def stream(sent_us: float, *arrivals_us: float, tokens: tuple[int, ...] = (), sure: bool = True) -> Stream:
    return Stream(sent_us, arrivals_us[-1], 10, 0, arrivals_us, tokens or (1,) * len(arrivals_us), sure)


def test_a_curve_goes_from_the_least_to_the_greatest_in_fortieths() -> None:
    curves = curves_of(
        [
            stream(1000, 11_000, 15_000, 31_000, tokens=(1, 1, 3)),  # TTFT 10, TPOT 20 / 4, gaps 4 and 16, E2EL 30 ms
            stream(2000, 52_000, 142_000),  # TTFT 50, TPOT 90, a gap of 90, E2EL 140 ms
            stream(3000, 900_000, 990_000, sure=False),
        ]
    )
    assert len(SHARES) == 41
    assert curves["ttft_ms"] == [10.0 + k for k in range(41)]
    assert curves["tpot_ms"] == pytest.approx([5 + 85 * k / 40 for k in range(41)], abs=0.006)
    assert curves["e2el_ms"] == pytest.approx([30 + 110 * k / 40 for k in range(41)], abs=0.06)
    assert [curves["itl_ms"][k] for k in (0, 20, 40)] == [4.0, 16.0, 90.0]


def test_a_reply_of_one_token_has_no_time_per_token() -> None:
    assert curves_of([stream(0, 7000)]) == {"ttft_ms": [7.0] * 41, "e2el_ms": [7.0] * 41}


def test_two_tokens_in_one_chunk_take_no_time() -> None:
    assert curves_of([stream(0, 7000, tokens=(2,))])["tpot_ms"] == [0.0] * 41


def test_no_streams_have_no_curves() -> None:
    assert curves_of([]) == {}
