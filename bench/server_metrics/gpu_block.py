"""The `gpu` block of summary.json: the GPUs' activity in the window, and the cost of a token."""

from __future__ import annotations

from collections.abc import Sequence

from bench.clock import NS_PER_S
from bench.results.server import Gpu, Level
from bench.results.summary import SummaryNumbers
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.roles import GPU_MEANS, GPU_SUMS, Role
from bench.server_metrics.run_window import window_of

_PER_MILLION = 1e6
_S_PER_HOUR = 3600.0


def describe(
    series: ServerSeries, summary: SummaryNumbers, start_ns: int, *, gpus: int | None, hour_cost: float | None
) -> Gpu | None:
    """Levels, energy and costs over the steady window (the whole run if there is none). Returns None if nothing is
    known.

    `gpus`: how many the server uses, according to the user; `hour_cost`: of one of them. Energy is the area under the
    power.
    """
    levels = series.found != () and series.scrapes > 0
    if (not levels and gpus is None) or summary.throughput.duration_s is None:
        return None
    window = window_of(summary, start_ns)
    begin, end, seconds = window.begin_ns, window.end_ns, window.seconds
    tokens_per_s = window.rates.output_tokens_per_s
    power = series.level(Role.GPU_POWER, begin, end) if levels else None
    energy_j = None if power is None else power[0] * seconds
    tokens = None if tokens_per_s is None else tokens_per_s * seconds
    per_hour = None if hour_cost is None or gpus is None else hour_cost * gpus
    return Gpu(
        source=" and ".join(table.name for table in series.found) or None,
        gpus=gpus,
        levels={
            str(role): Level(mean=level[0], max=level[1])
            for role in (*GPU_SUMS, *GPU_MEANS)
            if levels and (level := series.level(role, begin, end)) is not None
        },
        energy_j=energy_j,
        joules_per_output_token=_ratio(energy_j, tokens),
        output_tokens_per_s_per_gpu=_ratio(tokens_per_s, gpus),
        cost_per_million_output_tokens=_cost(per_hour, tokens_per_s),
        cost_per_million_tokens=_cost(per_hour, window.rates.total_tokens_per_s),
    )


def _ratio(top: float | None, bottom: float | None) -> float | None:
    return None if top is None or not bottom else top / bottom


def _cost(per_hour: float | None, tokens_per_s: float | None) -> float | None:
    return None if per_hour is None else _ratio(per_hour * _PER_MILLION, (tokens_per_s or 0.0) * _S_PER_HOUR)


def over_steps(
    series: ServerSeries, times_s: Sequence[float], step_s: float, start_ns: int
) -> dict[str, list[float | None]]:
    """For each step of the page's charts, the levels at its middle."""
    middles = [start_ns + round((at + step_s / 2) * NS_PER_S) for at in times_s]
    return {
        str(role): [series.level_at(role, at) for at in middles] for role in (*GPU_SUMS, *GPU_MEANS) if series.has(role)
    }
