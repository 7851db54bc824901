"""The charts of a search: what is known about the capacity, and what each visit measured at its load."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench.documents.charts import Chart, Line, Panel, Tone
from bench.load_search.answer import Numbers, load_text
from bench.load_search.decisions import Known, Search
from bench.load_search.evidence import counts
from bench.load_search.visit_numbers import VisitNumbers, inputs_are, of_inputs, of_requests
from bench.load_search.visits import Result
from bench.loads import KINDS
from bench.results.tokens import input_rate

TONES: tuple[Tone, ...] = ("main", "second", "good", "warn", "bad", "quiet")
_TICKS = 6
_STEPS: tuple[tuple[float, ...], ...] = (
    (1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), tuple(n / 10 for n in range(10, 100, 5)),
    tuple(n / 10 for n in range(10, 100)), tuple(n / 50 for n in range(50, 500)),
)  # fmt: skip
"""Sets of round numbers within a decade, from sparse to dense."""
BAND = "the interval of the answer"


def build(search: Search, numbers: Numbers, known: Known | None) -> list[Chart]:
    """All charts, in the order of the page. `known` is the capacity, if there is one to show."""
    charts = [] if known is None else [posterior(search, known)]
    counted = [result for result in search.results if counts(result)]
    if len({result.load for result in counted}) < 2:  # A single point does not make a chart.
        return charts
    return [
        *charts,
        violations(search, counted, known),
        latency(search, counted, numbers, known),
        throughput(search, counted, numbers, known),
    ]


def posterior(search: Search, known: Known) -> Chart:
    """The probability of each capacity, and the probability that each load is held."""
    kind = search.settings.load_kind
    posteriors = search.estimates.posteriors
    capacities = next(iter(posteriors.values())).grid
    # The axis ends where the curves become flat.
    wide = (known.high / known.low) ** 1.5
    highest = max(result.load for result in search.results if counts(result))
    inside = [i for i, c in enumerate(capacities) if known.low / wide <= c <= min(known.high * wide, highest)]
    shown = slice(inside[0], inside[-1] + 1)
    densities, certainties = [], []
    for (name, distribution), tone in zip(posteriors.items(), _tones(len(posteriors)), strict=True):
        densities.append(
            Line(name, list(100 * distribution.mass[shown]), "area" if name == known.binding else "line", tone)
        )
        holds = 100 * np.clip(np.cumsum(distribution.mass[::-1])[::-1], 0, 1)
        certainties.append(Line(name, list(holds[shown]), tone=tone))
    x = [math.log10(c) for c in capacities[shown]]
    return Chart(
        key="posterior",
        title="What is known of the capacity",
        meaning="Above, how probable it is that the capacity is there; below, how sure it is that a load is held.",
        x_title=_x_title(kind),
        x=x,
        x_span=(x[0], x[-1]),
        x_names=[load_text(float(c), kind) for c in capacities[shown]],
        ticks=ticks(x[0], x[-1]),
        step=0,
        panels=(Panel("% per step", tuple(densities)), Panel("% sure that it is held", tuple(certainties))),
        band=(max(math.log10(known.low), x[0]), min(math.log10(known.high), x[-1])),
        band_name=BAND,
    )


def violations(search: Search, results: Sequence[Result], known: Known | None) -> Chart:
    """The share of requests that broke each objective, by load."""
    goals = [goal for goal in search.settings.goals if goal.allowed is not None]
    ordered = by_load(results)
    lines = []
    for goal, tone in zip(goals, _tones(len(goals)), strict=True):
        shares = [_share(result, goal.text) for result in ordered]
        lines.append(Line(goal.text, shares, "points", tone))
        assert goal.allowed is not None
        lines.append(Line("allowed", [100 * goal.allowed] * len(ordered), tone=tone, dashed=True))
    meaning = "A point a visit: the share of its requests that broke an objective. Dashed: the share that it allows."
    return _by_load("violations", "Violations", meaning, search, ordered, (Panel("%", tuple(lines)),), known)


def latency(search: Search, results: Sequence[Result], numbers: Numbers, known: Known | None) -> Chart:
    """TTFT and TPOT by load; E2EL if replies are not streamed."""
    ordered = by_load(results)
    streamed = any(_of(numbers, result).stat("ttft_ms", "p50") is not None for result in ordered)
    panels = [
        Panel(f"{name}, ms", tuple(_stat_line(numbers, ordered, key, stat, tone) for stat, tone in _STATS))
        for key, name in ((("ttft_ms", "TTFT"), ("tpot_ms", "TPOT")) if streamed else (("e2el_ms", "E2EL"),))
    ]
    meaning = "A point a visit: what its users felt."
    return _by_load("latency", "Latency against load", meaning, search, ordered, tuple(panels), known)


def throughput(search: Search, results: Sequence[Result], numbers: Numbers, known: Known | None) -> Chart:
    """Output tokens and requests per second by load."""
    ordered = by_load(results)
    inputs = of_inputs(numbers)
    name = input_rate(inputs_are(numbers)) if inputs else "output tokens/s"
    visits = [_of(numbers, result) for result in ordered]
    amounts = [visit.inputs_per_s if inputs else visit.output_tokens_per_s for visit in visits]
    requests = [_of(numbers, result).requests_per_s for result in ordered]
    of_all = Panel("requests/s", (Line("requests/s", requests, "points", "second"),))
    panels = (of_all,) if of_requests(numbers) else (Panel(name, (Line(name, amounts, "points"),)), of_all)
    meaning = "A point a visit: what the server delivered."
    return _by_load("throughput", "Throughput against load", meaning, search, ordered, panels, known)


_STATS: tuple[tuple[str, Tone], ...] = (("p50", "main"), ("p99", "second"))


def by_load(results: Sequence[Result]) -> list[Result]:
    """The visits from the lowest load to the highest."""
    return sorted(results, key=lambda result: (result.load, result.n))


def ticks(first: float, last: float) -> tuple[tuple[float, str], ...]:
    """Round numbers along a logarithmic axis, whose ends are given as powers of ten."""
    for steps in _STEPS:
        values = [step * 10.0**power for power in range(math.floor(first) - 1, math.ceil(last) + 1) for step in steps]
        inside = [value for value in values if first <= math.log10(value) <= last]
        if len(inside) >= 3:
            every = math.ceil(len(inside) / _TICKS)
            return tuple((math.log10(value), f"{value:,.4g}") for value in inside[::every])
    middle = (first + last) / 2
    return ((middle, f"{10**middle:,.4g}"),)


def _by_load(
    key: str,
    title: str,
    meaning: str,
    search: Search,
    ordered: Sequence[Result],
    panels: tuple[Panel, ...],
    known: Known | None,
) -> Chart:
    kind = search.settings.load_kind
    x = [math.log10(result.load) for result in ordered]
    room = 0.05 * (x[-1] - x[0])
    span = (x[0] - room, x[-1] + room)
    band = None
    if known is not None:
        low, high = (min(max(math.log10(end), span[0]), span[1]) for end in (known.low, known.high))
        band = (low, high)
    return Chart(
        key=key,
        title=title,
        meaning=meaning,
        x_title=_x_title(kind),
        x=x,
        x_span=span,
        x_names=[f"{load_text(result.load, kind)} ({result.phase} {result.n})" for result in ordered],
        ticks=ticks(*span),
        step=0,
        panels=panels,
        band=band,
        band_name=BAND,
    )


def _x_title(kind: str) -> str:
    return f"{KINDS[kind].unit}, logarithmic"


def _tones(n: int) -> tuple[Tone, ...]:
    return tuple(TONES[i % len(TONES)] for i in range(n))


def _share(result: Result, text: str) -> float | None:
    share = result.share(text)
    return None if share is None else 100 * share


def _of(numbers: Numbers, result: Result) -> VisitNumbers:
    return numbers.get(result.n, VisitNumbers())


def _stat_line(numbers: Numbers, ordered: Sequence[Result], key: str, stat: str, tone: Tone) -> Line:
    values = [_of(numbers, result).stat(key, stat) for result in ordered]
    return Line({"p50": "median", "p99": "P99"}[stat], values, "points", tone)
