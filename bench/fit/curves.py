"""The results of a load as curves: quantiles of TTFT, TPOT, ITL and E2EL of a run's streams, for the page of a fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from bench.fit.streams import Stream

SHARES = tuple(step / 40 for step in range(41))
"""The shares at which quantiles are taken, from the minimum to the maximum."""
_US_PER_MS = 1000.0


def curves_of(streams: Iterable[Stream]) -> dict[str, list[float]]:
    """For each metric, the value (ms) at each of `SHARES`, over the streams that are fully known. A metric without
    values is absent."""
    sure = [stream for stream in streams if stream.sure]
    several = [stream for stream in sure if stream.generated > 1]
    gaps = [np.diff(stream.arrivals_us) for stream in sure]
    samples = {
        "ttft_ms": [stream.arrivals_us[0] - stream.sent_us for stream in sure],
        "tpot_ms": [_tpot_us(stream) for stream in several],
        "itl_ms": np.concatenate(gaps).tolist() if gaps else [],
        "e2el_ms": [stream.arrivals_us[-1] - stream.sent_us for stream in sure],
    }
    return {name: _curve(values) for name, values in samples.items() if values}


def _tpot_us(stream: Stream) -> float:
    return (stream.arrivals_us[-1] - stream.arrivals_us[0]) / (stream.generated - 1)


def _curve(values: Sequence[float]) -> list[float]:
    return [float(f"{value / _US_PER_MS:.4g}") for value in np.quantile(np.array(values), SHARES)]
