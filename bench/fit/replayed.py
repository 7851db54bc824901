"""Which numbers of a replayed load the mock does not reproduce. A fit warns about them, and a plan cannot rest on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.results.profile import Replay, ReplayedNumber

NUMBERS = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "itl_ms": "ITL", "e2el_ms": "E2EL"}
QUANTILES = ("p50", "p90", "p99")
MEDIAN_OFF, TAIL_OFF, LESS_THAN_HALF = 0.15, 0.25, -0.5
"""Beyond these a quantile is far off. A tail moves by chance, so both loads need an interval, and the two must not
overlap; without intervals only a tail less than half as long counts."""


def is_far_off(row: ReplayedNumber) -> bool:
    """Whether the mock's value differs, beyond chance and the usual error of a fit."""
    off = row.off or 0.0
    if row.quantile == "p50":
        return abs(off) > MEDIAN_OFF
    return off < LESS_THAN_HALF if row.apart is None else row.apart and abs(off) > TAIL_OFF


def far_off(
    replays: Sequence[Replay], names: Sequence[str] = ("ttft_ms", "tpot_ms")
) -> Iterator[tuple[Replay, ReplayedNumber]]:
    """Each number of each load that is far off."""
    for replay in replays:
        for row in replay.numbers:
            if row.number in names and is_far_off(row):
                yield replay, row


def misjudged(replay: Replay, number: str, quantile: str | None) -> ReplayedNumber | None:
    """The quantile of a load if it is far off. If a tail has too few requests for an interval, the next lower quantile
    decides."""
    rows = {row.quantile: row for row in replay.numbers if row.number == number}
    lower = QUANTILES[QUANTILES.index(quantile) :: -1] if quantile in QUANTILES else ()
    known = (rows[name] for name in lower if name in rows)
    decides = next((row for row in known if row.apart is not None or is_far_off(row)), None)
    return decides if decides is not None and is_far_off(decides) else None


def warnings_of(replays: Sequence[Replay]) -> list[str]:
    """A sentence for each load and number that the mock does not reproduce, with all quantiles that are off."""
    off: dict[tuple[str, str], list[str]] = {}
    for replay, row in far_off(replays):
        unsure = " (too few requests to exclude chance)" if row.quantile != "p50" and row.apart is None else ""
        off.setdefault((replay.name, NUMBERS[row.number]), []).append(f"{row.quantile} is {row.off:+.0%}{unsure}")
    return [
        f"{name}: the replayed {number} {', '.join(quantiles)} off: the profile does not describe that load"
        for (name, number), quantiles in off.items()
    ]
