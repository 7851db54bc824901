"""The page of a fit, beside its profile: what was found, how well it describes the steps, and each load beside its replay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from bench.documents.charts import Chart, Line, Panel, Tone, categories, round_values
from bench.documents.document import Tile
from bench.documents.formatting import number
from bench.report.page import chart_view
from bench.report.page import page as document

TITLES = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "itl_ms": "ITL", "e2el_ms": "E2EL"}
COEFFICIENTS = {"b0": "a step", "b1": "a prefill token", "b2": "a decode token", "b3": "a context token",
                "a0": "a request", "a1": "a prompt token", "w0": "an idle server"}  # fmt: skip
SOURCES = {
    "waiting": "where waiting begins",
    "steps": "full steps",
    "server": "the server's metrics",
    "given": "given",
}


def render(profile: Mapping[str, Any]) -> str:
    """The page of a profile."""
    replays = profile.get("replay", [])
    held = [one for one in replays if one["held_out"]]
    origin = profile["provenance"]
    return document(
        "fit.html.j2",
        title=origin["server"] or "A server",
        subtitle=" · ".join(word for word in (profile["model"], f"engine {profile['engine']}", origin["date"]) if word),
        tiles=[_tile(one, key) for one in held for key in ("ttft_ms", "tpot_ms")],
        steps=_steps(profile) if profile["engine"] == "batching" else None,
        times=_times(profile) if profile["engine"] == "sampled" else None,
        warnings=profile["warnings"],
        unknown=profile["unknown"],
        runs=origin["runs"],
        replays=[_replay(place, one) for place, one in enumerate(sorted(replays, key=lambda one: not one["held_out"]))],
    )


def _steps(profile: Mapping[str, Any]) -> dict[str, Any]:
    """What a step of the server costs, and how well that describes its steps."""
    return {
        "coefficients": [_coefficient(name, one) for name, one in profile["coefficients"].items()],
        "table": [
            (f"{one['tokens']} decodes together", number(one["us"]), f"{number(one['low'])} to {number(one['high'])}")
            for one in profile["decode"]
        ],
        "limits": [_limit(name, one) for name, one in profile["limits"].items()],
        "residuals": chart_view(_residuals(profile["fit"]["residuals"])),
        "fit": profile["fit"],
        "left_out": f"{profile['fit']['left_out']:.1%}",
    }


def _times(profile: Mapping[str, Any]) -> dict[str, Any]:
    """What TTFT and gaps were."""
    times, seen = profile["sampled_times"], profile["seen"]
    return {
        "seen": seen,
        "quantiles": [
            (title, [number(times[key][round(share * (len(times[key]) - 1))]) for share in (0.1, 0.5, 0.9, 0.99)])
            for title, key in (("TTFT without its prompt, ms", "ttft_ms"), ("Gap between tokens, ms", "gap_ms"))
        ],
        "facts": [
            ("A prompt token adds to TTFT", f"{number(times['ttft_per_input_token_us'])} us"),
            ("Variance of gaps between requests", f"{times['between']:.0%}"),
            ("Correlation of neighbouring gaps in the rest", f"{times['follows']:.2f}"),
        ],
        "load": [
            (f"{under_way:g}", number(ttft), number(gap), f"{count:,}")
            for (under_way, ttft, gap), count in zip(times["load"], seen["requests_by_load"], strict=True)
        ],
    }


def _tile(replay: Mapping[str, Any], key: str) -> Tile:
    row = next((row for row in replay["numbers"] if (row["number"], row["quantile"]) == (key, "p50")), None)
    value = "–" if row is None or row["off"] is None else f"{row['off']:+.1%}"
    beside = "" if row is None else f"{number(row['measured'])} measured, {number(row['replayed'])} replayed, ms"
    return Tile(f"{TITLES[key]} p50 of {replay['name']}, held out", value, "", beside)


def _coefficient(name: str, one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    low, high = ("?" if one[side] is None else number(one[side]) for side in ("low", "high"))
    return (
        name,
        COEFFICIENTS[name],
        number(one["value"]),
        f"{low} to {high}" if one["told"] else "not told by these loads",
    )


def _limit(name: str, one: Mapping[str, Any]) -> tuple[str, str]:
    return name, "unknown" if one["value"] is None else f"{one['value']:,} ({SOURCES[one['source']]})"


def _residuals(bins: Sequence[Mapping[str, Any]]) -> Chart:
    """Measured less fitted, by the decodes in a step."""
    names = [
        str(one["least_decodes"]) if one["most_decodes"] == 1 else f"{one['least_decodes']}-{one['most_decodes']}"
        for one in bins
    ]
    lines = tuple(
        Line(name, [100 * one[name] for one in bins], "points", "main" if name == "p50" else "quiet")
        for name in ("p10", "p50", "p90")
    )
    tips = [f"{name} decodes, {one['rows']:,} rows" for name, one in zip(names, bins, strict=True)]
    return categories(
        "residuals", "Measured less fitted", "Steps by their number of decodes: how far they lie from what is fitted.",
        "decodes in a step", names, tips, Panel("% of a step", lines),
    )  # fmt: skip


def _replay(place: int, one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": one["name"],
        "held_out": one["held_out"],
        "charts": [chart_view(cdf(f"load-{place}", curve)) for curve in one.get("curves", ())],
        "quantiles": list(dict.fromkeys(row["quantile"] for row in one["numbers"])),
        "rows": _table(one["numbers"]),
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[str, str, str]]]:
    """By number, for each of its quantiles: the difference, measured, replayed."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for row in rows:
        off = "–" if row["off"] is None else f"{row['off']:+.1%}"
        cell = (off, number(row["measured"]), number(row["replayed"]))
        found.setdefault(TITLES[row["number"]], []).append(cell)
    return found


def cdf(key: str, curve: Mapping[str, Any]) -> Chart:
    """Both distributions of one number: the share of the values that are at most so large, over a logarithmic axis."""
    sides = {side: curve[side] for side in ("measured", "replayed")}
    values = sorted({max(value, 1e-3) for side in sides.values() for value in side})
    x = [math.log10(value) for value in values]
    room = 0.03 * max(x[-1] - x[0], 0.1)
    tones: tuple[Tone, ...] = ("main", "second")
    lines = tuple(
        Line(side, [100 * share_below(quantiles, value) for value in values], tone=tone, dashed=side == "replayed")
        for (side, quantiles), tone in zip(sides.items(), tones, strict=True)
    )
    return Chart(
        key=f"{key}-{curve['number']}",
        title=TITLES[curve["number"]],
        meaning="The share of values that are at most so large, in the run and against the mock with this profile.",
        x_title="ms, logarithmic",
        x=x,
        x_span=(x[0] - room, x[-1] + room),
        x_names=[f"{number(value)} ms" for value in values],
        ticks=tuple((math.log10(value), f"{value:g}") for value in round_values(values[0], values[-1], 7)),
        step=0,
        panels=(Panel("% of the values", lines),),
    )


def share_below(quantiles: Sequence[float], value: float) -> float:
    """The share of values that are at most this, from quantiles at even shares: straight lines between them."""
    if value >= quantiles[-1]:
        return 1.0
    for place, (low, high) in enumerate(pairwise(quantiles)):
        if value < high:
            inside = (value - low) / (high - low) if value > low else 0.0
            return (place + inside) / (len(quantiles) - 1)
    return 1.0
