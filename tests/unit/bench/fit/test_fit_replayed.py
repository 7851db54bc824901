"""Which replayed numbers are far off: beyond chance, or so much shorter that chance is unlikely."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bench.fit.replayed import misjudged, warnings_of
from bench.results.profile import Replay, ReplayedNumber

Off = Mapping[str, tuple[float, bool | None]]
"""For each quantile its error, and whether its intervals are disjoint; None: there is no interval."""


def replay(off: Off) -> Replay:
    rows = [
        ReplayedNumber(
            number="ttft_ms", quantile=quantile, measured=100, replayed=100 * (1 + share), off=share, apart=apart
        )
        for quantile, (share, apart) in off.items()
    ]
    return Replay(name="busy", held_out=False, numbers=rows)


@pytest.mark.parametrize(
    ("off", "p99", "p90", "warned"),
    [
        ({"p50": (0.14, True), "p90": (0.24, True), "p99": (0.24, True)}, None, None, ""),
        ({"p50": (0.0, True), "p90": (0.0, False), "p99": (-0.3, True)}, "p99", None, "p99 is -30% off"),
        ({"p50": (0.0, True), "p90": (0.0, False), "p99": (-0.3, False)}, None, None, ""),
        # Without an interval for p99, the highest quantile with one decides: queues that the mock lacks shift all of
        # them.
        ({"p50": (-0.75, True), "p90": (-0.82, True), "p99": (-0.4, None)}, "p90", "p90", "p50 is -75%, p90 is -82% off"),
        ({"p50": (-0.75, True), "p90": (-0.1, False), "p99": (-0.4, None)}, None, None, "p50 is -75% off"),
        ({"p50": (-0.75, None), "p90": (-0.1, None), "p99": (-0.4, None)}, "p50", "p50", "p50 is -75% off"),
        # A pause during a short run that the replay did not have.
        ({"p50": (0.0, True), "p90": (0.0, None), "p99": (-0.97, None)}, "p99", None,
         "p99 is -97% (too few requests to exclude chance) off"),
        ({"p50": (0.0, True), "p90": (0.0, None), "p99": (3.0, None)}, None, None, ""),
        ({"p50": (0.0, True), "p90": (0.0, None), "p99": (-0.5, None)}, None, None, ""),
    ],
)  # fmt: skip
def test_a_tail_is_far_off_beyond_chance_or_if_it_is_less_than_half_as_long(
    off: Off, p99: str | None, p90: str | None, warned: str
) -> None:
    found = [misjudged(replay(off), "ttft_ms", quantile) for quantile in ("p99", "p90")]
    assert [None if row is None else row.quantile for row in found] == [p99, p90]
    expected = [f"busy: the replayed TTFT {warned}: the profile does not describe that load"] if warned else []
    assert warnings_of([replay(off)]) == expected
    assert misjudged(replay(off), "tpot_ms", "p99") is None
    assert misjudged(replay(off), "ttft_ms", None) is None
