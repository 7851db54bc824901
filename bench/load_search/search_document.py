"""The document of a search: its answer, the evidence, and every visit. It is made from the files of the search alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.documents.details import flat, joined
from bench.documents.document import (
    Banner,
    Block,
    Cell,
    ChartBlock,
    Column,
    Document,
    Facts,
    Finding,
    Findings,
    Level,
    Reason,
    Row,
    Section,
    Table,
    Tile,
    Tiles,
    Tone,
)
from bench.documents.formatting import NOTHING, duration
from bench.documents.sweep_document import STATUS_TONES
from bench.errors import Exit
from bench.load_search import charts
from bench.load_search.answer import Answer, Numbers, load_number, load_text, percent
from bench.load_search.conclusion import Conclusion, conclude
from bench.load_search.decisions import Search
from bench.load_search.evidence import counts
from bench.load_search.visit_numbers import inputs_are, of_inputs
from bench.load_search.visit_table import Row as Visit
from bench.load_search.visit_table import allowed, rows
from bench.loads import KINDS
from bench.results.tokens import input_rate

NONE = "no load tried is sure"
_LOADS = {
    "rate": "requests per second",
    "concurrency": "users of a closed loop",
    "sessions": "sessions that are live at once",
}
_TONES: dict[Exit, Tone] = {Exit.GOOD: "good", Exit.OBJECTIVE_FAILED: "warn"}
_NOTE = (
    "A scout is short, and only a hint at where to look. “Again” repeats a visit in which requests piled up, for twice as "
    "long. INVALID visits count for nothing."
)


def search_document(
    answer: Answer, search: Search, numbers: Numbers, settings: Mapping[str, Any] | None = None
) -> Document:
    """The document. `settings` is the content of search.yaml."""
    manifest, config = (settings or {}).get("manifest", {}), (settings or {}).get("config", {})
    concluded = conclude(search)
    plots = tuple(ChartBlock(chart, Level.PAGE) for chart in charts.build(search, numbers, concluded.known))
    about = " · ".join(str(part) for part in (config.get("model"), config.get("url"), manifest.get("started")) if part)
    machine = joined({key: manifest[key] for key in ("command", "host", "versions") if key in manifest})
    configuration = flat({key: value for key, value in config.items() if key != "limits"})
    return Document(
        "Which load it holds",
        (Banner(answer.headline, "", _TONES.get(answer.exit, "bad"), reasons=tuple(map(Reason, answer.lines))),),
        (
            Section("", (Tiles(tuple(_tiles(search, concluded)), Level.PAGE),)),
            Section("What was found", plots, level=Level.PAGE),
            Section("Visits", tuple(_visits(search, numbers))),
            Section(
                "",
                (
                    Facts("What was looked for", tuple(flat(_sought(search))), half=True),
                    Facts("The command and the machine", tuple(machine), half=True),
                    Facts(f"Configuration of the runs ({len(configuration)})", tuple(configuration), folded=True),
                ),
                level=Level.PAGE,
            ),
        ),
        about=about,
        name=f"{config.get('name', 'search')}: which load it holds",
        footer="Made by Trueload. How a search decides, and how often its interval holds: docs/search.md.",
    )


def _visits(search: Search, numbers: Numbers) -> Iterator[Block]:
    if not search.results:
        yield Findings((Finding("No visit has ended.", "quiet"),), level=Level.PAGE)
        return
    goals, inputs, open_loop = search.settings.goals, of_inputs(numbers), search.settings.load_kind == "rate"
    of_goals = (
        Column(goal.text, below=allowed(goal), drop=len(goals) - k) for k, goal in enumerate(goals)
    )  # The first column is dropped last.
    columns = (
        Column("Visit"), Column("Load"), Column("Requests"), *of_goals,
        Column(f"{'E2EL' if inputs else 'TTFT'} p50 / p99, ms"),
        Column(_delivered(numbers), page_only=True),
        *((Column("Kept up", page_only=True),) if open_loop else ()),
        Column("Verdict", left=True), Column("Took", page_only=True),
    )  # fmt: skip
    table = tuple(_visit(visit, open_loop=open_loop) for visit in rows(search, numbers))
    yield Table("Visits", columns, table, notes=(_NOTE,))


def _delivered(numbers: Numbers) -> str:
    return input_rate(inputs_are(numbers), title=True) if of_inputs(numbers) else "Output tokens/s"


def _visit(visit: Visit, *, open_loop: bool) -> Row:
    return Row(
        Cell(f"{visit.n} {visit.phase}", href=f"{visit.run_dir}/report.html", meaning="; ".join(visit.reasons[:2])),
        visit.load,
        visit.requests,
        *(Cell(text, "bad" if bad else "") for text, bad in visit.broke),
        visit.latency,
        visit.delivered,
        *(Cell(visit.kept_up or NOTHING),) if open_loop else (),
        Cell(visit.verdict, STATUS_TONES.get(visit.verdict, "")),
        visit.took,
    )


def _sought(search: Search) -> dict[str, object]:
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


def _tiles(search: Search, conclusion: Conclusion) -> list[Tile]:
    kind = search.settings.load_kind
    unit = KINDS[kind].unit.removeprefix("requests")
    value, _, unit_of_time = duration(search.seconds).partition(" ")
    lost = sum(not counts(result) for result in search.results)
    totals = [
        Tile("Visits", str(len(search.results)), "", f"{lost} INVALID or FAILED"),
        Tile("Time", value, unit_of_time, f"of {duration(search.settings.budget_s)}"),
    ]

    def figure(load: float | None) -> str:
        return NOTHING if load is None else load_number(load, kind)

    known = conclusion.known
    if known is None:
        bounds = (("At least", conclusion.at_least, "nothing broke"), ("Below", conclusion.below, "broken there"))
        return [*(Tile(name, figure(load), unit, note) for name, load, note in bounds if load is not None), *totals]
    held, failed = known.held, known.failed
    return [
        Tile("Holds up to", figure(known.estimate), unit, f"{figure(known.low)} to {figure(known.high)}"),
        Tile("Held", figure(held and held[0]), unit if held else "", f"{percent(held[1])} sure" if held else NONE),
        Tile("Not held", figure(failed and failed[0]), unit if failed else "",
             f"{percent(1 - failed[1])} sure" if failed else NONE),
        Tile("Width of the interval", f"{100 * (known.high / known.low - 1):.0f}", "%",
             f"asked for {100 * search.settings.precision:.3g}%"),
        *totals,
    ]  # fmt: skip
