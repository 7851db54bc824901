"""The charts of a sweep, as data: throughput and latencies against the load, and the Pareto plot. With several sweeps,
each has one curve."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from bench.documents.charts import Chart, Line, Panel, Style, Tone, round_step
from bench.documents.formatting import number
from bench.documents.sweep_words import OUTPUT, delivered_by, has_jobs, inputs_of, title_of, unit_of
from bench.results.sweep import FittedKnee, SweepContent, SweepNumber, SweepPoint

TONES: tuple[Tone, ...] = ("main", "second", "warn", "quiet")
MOST_SWEEPS = len(TONES)
_LATENCIES = {"ttft": "TTFT", "tpot": "TPOT", "e2el": "E2EL"}
MARKS: tuple[tuple[str, tuple[str, ...], Tone], ...] = (
    ("SUSPECT", ("SUSPECT",), "warn"),
    ("INVALID or FAILED", ("INVALID", "FAILED"), "bad"),
)
"""Points that are not VALID have a mark: on the curve, or instead of a point if they have no usable value."""


def build(sweeps: Sequence[SweepContent], names: Sequence[str]) -> list[Chart]:
    """All charts; `names` labels the sweeps if there are several."""
    kinds = {delivered_by(sweep) for sweep in sweeps}
    # Requests are what sweeps of different kinds have in common.
    name = "requests_per_s" if len(kinds) > 1 else next(iter(kinds), OUTPUT)
    are = inputs_of(sweeps[0])
    meaning = f"{title_of(name, are).removesuffix('/s')} per second."
    charts = [_by_load(sweeps, names, "throughput", "Throughput", meaning, unit_of(name, are), (name,))]
    for key, title in _LATENCIES.items():
        if OUTPUT not in kinds and key != "e2el":
            continue
        meaning = f"{title} of the requests sent in the measured time."
        stats = (f"{key}:p50", f"{key}:p99") if len(sweeps) == 1 else (f"{key}:p50",)
        charts.append(_by_load(sweeps, names, key, title, meaning, "ms", stats))
    if all(has_jobs(sweep) for sweep in sweeps):
        meaning = "From when a job is due to the last token of its last step."
        stats = ("job:p50", "job:p90") if len(sweeps) == 1 else ("job:p50",)
        charts.append(_by_load(sweeps, names, "jobs", "Job seconds", meaning, "s", stats))
        meaning = "Jobs that ended, an hour."
        charts.append(_by_load(sweeps, names, "jobs_per_hour", "Jobs an hour", meaning, "jobs/h", ("jobs_per_hour",)))
    if any(point.numbers["goodput"].value is not None for sweep in sweeps for point in sweep.points):
        meaning = "Requests per second that met every objective."
        charts.append(_by_load(sweeps, names, "goodput", "Goodput", meaning, "requests/s", ("goodput_per_s",)))
    if any(sweep.gpus is not None for sweep in sweeps):
        charts.append(_pareto(sweeps, names))
    return charts


def _by_load(
    sweeps: Sequence[SweepContent],
    names: Sequence[str],
    key: str,
    title: str,
    meaning: str,
    unit: str,
    stats: Sequence[str],
) -> Chart:
    loads = sorted({point.load for sweep in sweeps for point in sweep.points})
    x = [math.log10(load) for load in loads]
    lines: list[Line] = []
    for k, sweep in enumerate(sweeps):
        points = {point.load: point for point in sweep.points}
        for j, stat in enumerate(stats):
            of_stat = stat.partition(":")[2] or "measured"
            name = of_stat if len(sweeps) == 1 else names[k]
            tone = TONES[j if len(sweeps) == 1 else k]
            shown = [_number(points.get(load), stat) for load in loads]
            fitted = key == "throughput" and len(sweeps) == 1 and sweep.knee is not None
            style: Style = "points" if fitted else "line"
            lines.append(Line(name, _values(shown, "value"), style, tone, over_gaps=True))
            drawn = len(sweeps) == 1 and j == 0 and any(_values(shown, "low"))
            for end in ("low", "high"):
                ends = f"95% {end}" if drawn else f"{name}, 95% {end}"
                edge = _values(shown, end)
                lines.append(
                    Line(ends, edge, tone="quiet", dashed=True, hidden=not drawn, in_legend=False, over_gaps=True)
                )
        if key == "throughput" and len(sweeps) == 1 and sweep.knee is not None:
            lines.append(Line("fitted", [_fitted(sweep.knee, load) for load in loads], tone="second", dashed=True))
        for mark, statuses, tone in MARKS:
            marked = [_number(points.get(load), stats[0], statuses) for load in loads]
            if any(marked):
                name = mark if len(sweeps) == 1 else f"{names[k]}, {mark}"
                lines.append(Line(name, _values(marked, "value"), "points", tone))
    units = {sweep.unit for sweep in sweeps}
    room = 0.05 * max(x[-1] - x[0], 0.5) if x else 0
    return Chart(
        key=key,
        title=title,
        meaning=f"{meaning} Dashed in grey: the 95% interval." if len(sweeps) == 1 else meaning,
        x_title=f"{' or '.join(sorted(units))}, logarithmic",
        x=x,
        x_span=(x[0] - room, x[-1] + room) if x else (0, 1),
        x_names=[f"{load:,g} {' or '.join(sorted(units))}" for load in loads],
        ticks=_ticks(x, loads),
        step=0,
        panels=(Panel(unit, tuple(lines)),),
    )


def _number(point: SweepPoint | None, stat: str, statuses: Collection[str] | None = None) -> SweepNumber | None:
    """The number of a usable point, or of a point with one of these verdicts."""
    if point is None or not (point.usable if statuses is None else point.status in statuses):
        return None
    return point.numbers[stat]


def _values(cells: Sequence[SweepNumber | None], key: str) -> list[float | None]:
    return [None if cell is None else getattr(cell, key) for cell in cells]


def _fitted(knee: FittedKnee, load: float) -> float:
    return knee.ceiling * load / (load + knee.half_at)


def _ticks(x: Sequence[float], loads: Sequence[float]) -> tuple[tuple[float, str], ...]:
    """Every load, or as many as there is room for."""
    every = -(-len(loads) // 8)
    return tuple((at, f"{load:,g}") for k, (at, load) in enumerate(zip(x, loads, strict=True)) if k % every == 0)


def _pareto(sweeps: Sequence[SweepContent], names: Sequence[str]) -> Chart:
    """Tokens per second of a GPU against tokens per second of a user: up and to the right is better."""
    placed = [
        (user.value, gpu.value, k, point, place)
        for k, sweep in enumerate(sweeps)
        for point in sweep.points
        if (place := point.place) is not None
        and (user := point.per_user) is not None
        and (gpu := point.per_gpu) is not None
        and user.value is not None
        and gpu.value is not None
    ]
    placed.sort(key=lambda row: row[:3])
    x = [row[0] for row in placed]
    lines: list[Line] = []
    for k, name in enumerate(names):
        frontier = [gpu if of == k and place.on_frontier else None for _, gpu, of, _, place in placed]
        behind = [gpu if of == k and not place.on_frontier else None for _, gpu, of, _, place in placed]
        title = "frontier" if len(sweeps) == 1 else name
        lines.append(Line(title, frontier, tone=TONES[k], over_gaps=True))
        lines.append(Line(f"{title}, points", frontier, "points", TONES[k], in_legend=False))
        if any(value is not None for value in behind):
            lines.append(Line("behind it" if len(sweeps) == 1 else f"{name}, behind it", behind, "points", "quiet"))
    greatest = max(x, default=1.0)
    step = round_step(greatest, 6)
    return Chart(
        key="pareto",
        title="Throughput of a GPU against speed for a user",
        meaning="Each point is a load. No other load is better in both for those on the frontier.",
        x_title="output tokens/s per user (1 / TPOT p50)",
        x=x,
        x_span=(0, greatest * 1.05),
        x_names=[_pareto_name(sweeps, names, k, point) for _, _, k, point, _ in placed],
        ticks=tuple((n * step, number(n * step)) for n in range(int(greatest / step) + 1)),
        step=0,
        panels=(Panel("tokens/s per GPU", tuple(lines)),),
    )


def _pareto_name(sweeps: Sequence[SweepContent], names: Sequence[str], k: int, point: SweepPoint) -> str:
    name = f"{point.load:,g} {sweeps[k].unit}" + (f", {names[k]}" if len(sweeps) > 1 else "")
    return name + (", not told apart from the frontier" if point.place is not None and point.place.overlaps else "")
