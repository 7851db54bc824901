"""The document of a fit: the result, how well it describes the steps, and each load next to its replay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from bench.documents.charts import Chart, Line, Panel, Tone, categories, round_values
from bench.documents.document import (
    Block,
    Cell,
    ChartBlock,
    Column,
    Document,
    Fact,
    Facts,
    Finding,
    Findings,
    Row,
    Section,
    Table,
    Tile,
    Tiles,
)
from bench.documents.formatting import NOTHING, number
from bench.results.metric_titles import TITLES
from bench.results.profile import (
    FittedCoefficient,
    FittedLimit,
    Profile,
    Replay,
    ReplayedCurve,
    Residuals,
    RunOfProfile,
    Unknown,
)

COEFFICIENTS = {"b0": "a step", "b1": "a prefill token", "b2": "a decode token", "b3": "a context token",
                "b4": "a prompt", "a0": "a request", "a1": "a prompt token", "w0": "an idle server"}  # fmt: skip
SOURCES = {
    "waiting": "where waiting begins",
    "steps": "full steps",
    "server": "stated by the server",
    "given": "given",
}


def fit_document(profile: Profile) -> Document:
    """The document of a profile."""
    replays = sorted(profile.replay or (), key=lambda replay: not replay.held_out)
    origin = profile.provenance
    tiles = tuple(_tile(replay, key) for replay in replays if replay.held_out for key in ("ttft_ms", "tpot_ms"))
    first: list[Block] = [Tiles(tiles)] if tiles else []
    if profile.warnings:
        warnings = tuple(Finding(sentence, "warn") for sentence in profile.warnings)
        first.append(Findings(warnings, "Where it does not describe the server"))
    sections = (
        Section("", tuple(first)),
        *(Section(_named(replay), tuple(_replay(place, replay))) for place, replay in enumerate(replays)),
        Section("What a step costs", tuple(_steps(profile))),
        Section("What its times are", tuple(_times(profile))),
        Section("", (*_unknown(profile.unknown), _runs(origin.runs))),
    )
    words = (profile.model, f"engine {profile.engine}", origin.date)
    subtitle = " · ".join(word for word in words if word)
    footer = "Made by Trueload. How a server is fitted: docs/fit.md."
    return Document(f"Profile of {origin.server or 'a server'}", (), sections, subtitle, footer=footer)


def _named(replay: Replay) -> str:
    return f"{replay.name}, held out" if replay.held_out else replay.name


def _steps(profile: Profile) -> Iterator[Block]:
    """The cost of the server's steps, and how well it describes them. Empty if the steps cannot be seen."""
    fit, decode, limits = profile.fit, profile.decode or (), profile.limits
    if fit is None or limits is None:
        return
    rows = [_coefficient(name, row) for name, row in (profile.coefficients or {}).items()]
    rows += [
        ("D", f"{row.tokens} decodes together", number(row.us), f"{number(row.low)} to {number(row.high)}")
        for row in decode
    ]
    note = (
        f"{fit.steps:,} steps in {fit.rows:,} rows; a row is off by {number(fit.scale_us)} us (standard deviation); "
        f"{fit.left_out:.1%} of the rows lie far off and have no weight here; the mock takes them as they came."
    )
    if decode:
        note += " Decodes do not all cost the same: D is their cost together, and b2 is the cost of each further one."
    columns = (Column("Coefficient"), Column("For", left=True), Column("Fitted", "us"), Column("95% interval", "us"))
    yield Table("Coefficients", columns, tuple(Row(*row) for row in rows), notes=(note,))
    yield Facts("Limits", tuple(_limit(name, limit) for name, limit in limits.by_name().items()), half=True)
    yield _residual_table(fit.residuals)
    yield ChartBlock(_residuals(fit.residuals))


def _times(profile: Profile) -> Iterator[Block]:
    """The quantiles of TTFT and gaps. Empty if the server's steps were fitted."""
    times, sample = profile.sampled_times, profile.seen
    if times is None or sample is None:
        return
    rows = tuple(
        Row(title, *(number(of[round(share * (len(of) - 1))]) for share in (0.1, 0.5, 0.9, 0.99)))
        for title, of in (("TTFT without its prompt, ms", times.ttft_ms), ("Gap between tokens, ms", times.gap_ms))
    )
    note = f"{sample.requests:,} requests with {sample.gaps:,} gaps. This fit did not look for steps."
    columns = (Column("At the least load"), *map(Column, ("p10", "p50", "p90", "p99")))
    yield Table("Times at the least load", columns, rows, notes=(note,))
    facts = (
        Fact("A prompt token adds to TTFT", f"{number(times.ttft_per_input_token_us)} us"),
        Fact("Variance of gaps between requests", f"{times.between:.0%}"),
        Fact("Correlation of neighbouring gaps in the rest", f"{times.follows:.2f}"),
    )
    yield Facts("Between them", facts, half=True)
    loads = tuple(
        Row(f"{under_way:g}", number(ttft), number(gap), f"{count:,}")
        for (under_way, ttft, gap), count in zip(times.load, sample.requests_by_load, strict=True)
    )
    heads = ("Requests under way", "TTFT times", "Gaps times", "Requests")
    yield Table("What the load does", tuple(map(Column, heads)), loads, half=True)


def _unknown(rows: Sequence[Unknown]) -> Iterator[Block]:
    if rows:
        pairs = ((Finding(f"{row.what}: {row.why}"), Finding("", command=row.command)) for row in rows)
        findings = tuple(finding for pair in pairs for finding in pair)
        yield Findings(findings, "What these loads cannot determine, and the run that would")


def _runs(runs: Sequence[RunOfProfile]) -> Facts:
    facts = (
        Fact(
            run.name,
            f"{run.run_id} · {run.started} · {run.requests:,} requests, {run.most_in_flight} at most in flight",
        )
        for run in runs
    )
    return Facts("The runs", tuple(facts))


def _tile(replay: Replay, key: str) -> Tile:
    row = next((row for row in replay.numbers if (row.number, row.quantile) == (key, "p50")), None)
    value = NOTHING if row is None or row.off is None else f"{row.off:+,.1%}"
    beside = "" if row is None else f"{number(row.measured)} measured, {number(row.replayed)} replayed, ms"
    return Tile(f"{TITLES[key]} p50 of {replay.name}, held out", value, "", beside)


def _coefficient(name: str, estimate: FittedCoefficient) -> tuple[str, str, str, str]:
    low, high = ("?" if bound is None else number(bound) for bound in (estimate.low, estimate.high))
    return (
        name,
        COEFFICIENTS[name],
        number(estimate.value),
        f"{low} to {high}" if estimate.told else "not determined by these loads",
    )


def _limit(name: str, limit: FittedLimit) -> Fact:
    return Fact(name, "unknown" if limit.value is None else f"{limit.value:,} ({SOURCES[limit.source]})")


def _sizes(residuals: Residuals) -> str:
    least, most = residuals.least_decodes, residuals.most_decodes
    return str(least) if most == 1 else f"{least}-{most}"


def _residual_table(bins: Sequence[Residuals]) -> Table:
    rows = (
        Row(
            _sizes(residuals),
            f"{residuals.rows:,}",
            f"{residuals.p10:+,.1%}",
            f"{residuals.p50:+,.1%}",
            f"{residuals.p90:+,.1%}",
        )
        for residuals in bins
    )
    columns = tuple(map(Column, ("Decodes in a step", "Rows", "p10", "p50", "p90")))
    return Table("Measured less fitted", columns, tuple(rows), half=True)


def _residuals(bins: Sequence[Residuals]) -> Chart:
    """Measured less fitted, by the decodes in a step."""
    names = [_sizes(residuals) for residuals in bins]
    lines = (
        Line("p10", [100 * residuals.p10 for residuals in bins], "points", "quiet"),
        Line("p50", [100 * residuals.p50 for residuals in bins], "points", "main"),
        Line("p90", [100 * residuals.p90 for residuals in bins], "points", "quiet"),
    )
    tips = [f"{name} decodes, {residuals.rows:,} rows" for name, residuals in zip(names, bins, strict=True)]
    return categories(
        "residuals", "Measured less fitted", "Steps by their number of decodes: how far they lie from the fit.",
        "decodes in a step", names, tips, Panel("% of a step", lines),
    )  # fmt: skip


def _replay(place: int, replay: Replay) -> Iterator[Block]:
    yield from (ChartBlock(cdf(f"load-{place}", curve)) for curve in replay.curves or ())
    quantiles = list(dict.fromkeys(row.quantile for row in replay.numbers))
    cells: dict[str, list[Cell]] = {}
    for row in replay.numbers:
        off = NOTHING if row.off is None else f"{row.off:+,.1%}"
        cells.setdefault(TITLES[row.number], []).append(Cell(off, below=(number(row.measured), number(row.replayed))))
    rows = tuple(Row(Cell(title, unit="ms"), *of) for title, of in cells.items())
    columns = (Column("Replayed less measured"), *map(Column, quantiles))
    yield Table("Quantile by quantile", columns, rows, ("measured", "replayed"))


def cdf(key: str, curve: ReplayedCurve) -> Chart:
    """Both distributions of one number: the share of the values up to each size, over a logarithmic axis."""
    sides = {"measured": curve.measured, "replayed": curve.replayed}
    values = sorted({max(value, 1e-3) for side in sides.values() for value in side})
    x = [math.log10(value) for value in values]
    room = 0.03 * max(x[-1] - x[0], 0.1)
    tones: tuple[Tone, ...] = ("main", "second")
    lines = tuple(
        Line(side, [100 * share_below(quantiles, value) for value in values], tone=tone, dashed=side == "replayed")
        for (side, quantiles), tone in zip(sides.items(), tones, strict=True)
    )
    return Chart(
        key=f"{key}-{curve.number}",
        title=TITLES[curve.number],
        meaning="The share of values up to this size, in the run and against the mock with this profile.",
        x_title="ms, logarithmic",
        x=x,
        x_span=(x[0] - room, x[-1] + room),
        x_names=[f"{number(value)} ms" for value in values],
        ticks=tuple((math.log10(value), number(value)) for value in round_values(values[0], values[-1], 7)),
        step=0,
        panels=(Panel("% of the values", lines),),
    )


def share_below(quantiles: Sequence[float], value: float) -> float:
    """The share of values that are at most this, from quantiles at even shares, by linear interpolation."""
    for place, (low, high) in enumerate(pairwise(quantiles)):
        if value < high:
            inside = (value - low) / (high - low) if value > low else 0.0
            return (place + inside) / (len(quantiles) - 1)
    return 1.0
