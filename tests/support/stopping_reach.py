"""Runs in virtual time that `--until` ends: how often the interval still contains the truth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from bench.metrics import precision
from bench.statistics.intervals import Interval, quantile_intervals
from tests.support.batching_model import Served
from tests.support.made_records import made_record
from tests.support.statistics_claims import QUANTILES, WARM_S, Load, truth
from tests.support.tables import table_of


@dataclass(frozen=True, slots=True)
class Stopped:
    """Runs under `--until`: how many it ended before the cap, how many intervals then contained the truth, and the
    share of the cap after which they ended."""

    runs: int
    ended: int
    held: int
    share_of_cap: float


def stopping(load: Load, goal: str, cap_s: float, runs: int, truth_runs: int = 24) -> Stopped:
    """Let TTFT goals end runs through the code that judges them, which sees only ended requests; then report everything
    sent."""
    (wanted,) = precision.parse([goal])
    true = truth(load, truth_runs)[f"ttft_ms:{wanted.stat}"]
    ends = []
    held = 0
    for seed in range(runs):
        served = load.run(cap_s, 3_000 + seed).between(WARM_S, WARM_S + cap_s)
        end_s = _stopped_after(served, precision.Judge([wanted]), cap_s)
        if end_s is not None:
            ends.append(end_s)
            values = served.between(WARM_S, WARM_S + end_s).ttft_ms
            found = quantile_intervals(values, {wanted.stat: QUANTILES[wanted.stat]})[wanted.stat]
            held += isinstance(found, Interval) and found.low <= true <= found.high
    return Stopped(runs, len(ends), held, float(np.mean(ends)) / cap_s if ends else 1.0)


def _stopped_after(served: Served, judge: precision.Judge, cap_s: float) -> float | None:
    ended = iter(np.argsort(served.last_s).tolist())
    row = next(ended, None)
    for at_s in takewhile(lambda at_s: at_s < cap_s, precision.look_times(cap_s)):
        while row is not None and served.last_s[row] <= WARM_S + at_s:
            sent_ms, ttft_ms = float(served.sent_s[row]) * 1e3, float(served.first_s[row] - served.sent_s[row]) * 1e3
            judge.add(table_of(made_record(row, sent_ms=sent_ms, chunks_ms=[ttft_ms])))
            row = next(ended, None)
        if judge.look(at_s).enough:
            return at_s
    return None
