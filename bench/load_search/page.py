"""The page of a search, search.html: made of search.json, search.yaml and the summaries of the visits alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.documents.details import flat, joined
from bench.documents.document import Tile
from bench.documents.formatting import NOTHING
from bench.errors import Exit
from bench.load_search import charts
from bench.load_search.answer import Answer, Numbers, duration, load_number, load_text, percent
from bench.load_search.conclusion import Conclusion, conclude
from bench.load_search.decisions import Search
from bench.load_search.evidence import counts
from bench.load_search.visit_numbers import of_inputs
from bench.load_search.visit_table import allowed, rows
from bench.loads import KINDS
from bench.report.page import chart_view
from bench.report.page import page as document

NONE = "no load tried is sure"
_LOADS = {
    "rate": "requests per second",
    "concurrency": "users of a closed loop",
    "sessions": "sessions that are live at once",
}
_LOOKS = {Exit.GOOD: "valid", Exit.OBJECTIVE_FAILED: "suspect"}


def render(found: Answer, search: Search, numbers: Numbers, settings: Mapping[str, Any]) -> str:
    """The page. `settings` is the content of search.yaml."""
    manifest, config = settings.get("manifest", {}), settings.get("config", {})
    concluded = conclude(search)
    goals = search.settings.goals
    return document(
        "search.html.j2",
        name=config.get("name", "search"),
        subtitle=" · ".join(
            str(part) for part in (config.get("model"), config.get("url"), manifest.get("started")) if part
        ),
        look=_LOOKS.get(found.exit, "invalid"),
        word="ANSWER" if found.exit == Exit.GOOD else "NO" if found.exit == Exit.OBJECTIVE_FAILED else "STOPPED",
        answer=found,
        tiles=_tiles(search, concluded),
        charts=[chart_view(chart) for chart in charts.build(search, numbers, concluded.known)],
        objectives=[(goal.text, allowed(goal)) for goal in goals],
        rows=rows(search, numbers),
        of_inputs=of_inputs(numbers),
        open_loop=search.settings.load_kind == "rate",
        sought=flat(_sought(search)),
        configuration=flat({key: value for key, value in config.items() if key != "limits"}),
        machine=joined({key: manifest[key] for key in ("command", "host", "versions") if key in manifest}),
    )


def _sought(search: Search) -> dict[str, Any]:
    settings, kind = search.settings, search.settings.load_kind
    return {
        "load": _LOADS[kind],
        "objectives": [goal.text for goal in settings.goals],
        "beside them": "the server keeps up with what is sent" if kind == "rate" else "",
        "start": load_text(settings.start, kind),
        "from": load_text(settings.least, kind),
        "to": load_text(settings.most, kind),
        "precision": f"{settings.precision:.3g}" if settings.precision >= 1 else f"{100 * settings.precision:.3g}%",
        "budget": duration(settings.budget_s),
    }


def _tiles(search: Search, found: Conclusion) -> list[Tile]:
    kind = search.settings.load_kind
    unit = KINDS[kind].unit.removeprefix("requests")
    value, _, unit_of_time = duration(search.seconds).partition(" ")
    lost = sum(not counts(result) for result in search.results)
    ended = [
        Tile("Visits", str(len(search.results)), "", f"{lost} INVALID or FAILED"),
        Tile("Time", value, unit_of_time, f"of {duration(search.settings.budget_s)}"),
    ]

    def figure(load: float | None) -> str:
        return NOTHING if load is None else load_number(load, kind)

    known = found.known
    if known is None:
        bounds = (("At least", found.at_least, "nothing broke"), ("Below", found.below, "broken there"))
        return [*(Tile(name, figure(load), unit, what) for name, load, what in bounds if load is not None), *ended]
    held, failed = known.held, known.failed
    return [
        Tile("Holds up to", figure(known.estimate), unit, f"{figure(known.low)} to {figure(known.high)}"),
        Tile("Held", figure(held and held[0]), unit if held else "", f"{percent(held[1])} sure" if held else NONE),
        Tile("Not held", figure(failed and failed[0]), unit if failed else "",
             f"{percent(1 - failed[1])} sure" if failed else NONE),
        Tile("Width of the interval", f"{100 * (known.high / known.low - 1):.0f}", "%",
             f"asked for {100 * search.settings.precision:.3g}%"),
        *ended,
    ]  # fmt: skip
