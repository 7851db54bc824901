"""The document of a comparison: the answer, what differs, and every number with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bench.documents import comparison
from bench.documents.charts import Chart, Line, Panel
from bench.documents.charts import Tone as ChartTone
from bench.documents.document import (
    Banner,
    Block,
    Cell,
    ChartBlock,
    Column,
    Document,
    DrawnInterval,
    Fact,
    Facts,
    Level,
    Paragraph,
    Reason,
    Row,
    Section,
    Table,
    Tone,
    findings,
)
from bench.results.comparison import ComparedNumber, ComparedSide, ComparisonResult, SideAgainstSide

_TONES: tuple[ChartTone, ...] = ("main", "second", "good", "quiet")
_WIDEST = 0.5
"""Intervals are drawn up to a change of one half."""
_TOLD_APART = 4
"""Most sides that a title names, and most undecided answers that are listed one by one."""
_SIDES_NAMED, _BESIDE = 12, 4
"""Most sides whose names fit under their bars, and most sides that fit in half of a page."""
TONES: dict[str, Tone] = {
    "worse": "bad",
    "better": "good",
    "same": "good",
    "not shown": "warn",
    "at margin": "warn",
    "two differ": "warn",
    "two agree": "warn",
}
"""The tone of each answer text."""


def comparison_document(content: ComparisonResult) -> Document:
    """The document of compare.json."""
    sides = {side.name: side for side in content.sides}
    names = list(sides)
    several = _of_several(content.versus)
    sections = [
        Section("", (findings(several.values(), level=Level.BRIEF),) if several else ()),
        Section("", (*_variations(content), *_sides(content.sides))),
        *(Section(_against(versus, content), tuple(_numbers(versus, content, several))) for versus in content.versus),
        *(Section("", tuple(_charts(versus, sides)), level=Level.PAGE) for versus in content.versus),
    ]
    return Document(
        " against ".join(names) if len(names) <= _TOLD_APART else f"{names[0]} against {len(names) - 1} others",
        tuple(_banners(content.versus, sides, several)),
        tuple(section for section in sections if section.blocks),
        name="Comparison",
        footer="Made by Trueload. How sides are compared: docs/compare.md.",
    )


def _against(versus: SideAgainstSide, content: ComparisonResult) -> str:
    return f"{versus.b} against {versus.a}" if len(content.versus) > 1 else ""


def _of_several(all_versus: Sequence[SideAgainstSide]) -> dict[str, str]:
    """The warnings that concern more than one side, each with its combined text."""
    names: dict[str, list[str]] = {}
    for versus in all_versus:
        for warning in dict.fromkeys((*versus.warnings, *_missing(versus))):
            names.setdefault(warning, []).append(versus.b)
    return {
        warning: warning if len(of) == len(all_versus) else f"{', '.join(of)} against {all_versus[0].a}: {warning}"
        for warning, of in names.items()
        if len(of) > 1
    }


def _missing(versus: SideAgainstSide) -> Iterable[str]:
    return dict.fromkeys(f"{row.title}: {row.missing}" for row in versus.numbers if row.primary and row.missing)


def _banners(
    all_versus: Sequence[SideAgainstSide], sides: Mapping[str, ComparedSide], several: Mapping[str, str]
) -> Iterator[Banner]:
    undecided = [versus for versus in all_versus if _shows_nothing(versus)]
    if len(undecided) <= _TOLD_APART:
        undecided = []
    decided = [versus for versus in all_versus if versus not in undecided]
    methods = [f"{comparison.method_text(versus, sides)}." for versus in decided]
    for versus, method, after in zip(decided, methods, [*methods, ""][1:], strict=True):
        meaning = "" if method == after else method[:1].upper() + method[1:]
        yield Banner(versus.headline, "", _tone(versus.numbers), meaning, _own_reasons(versus, several))
    if undecided:
        *others, last = [versus.b for versus in undecided]
        a, names = undecided[0].a, f"{', '.join(others)} or {last}"
        rest = " The table of each says which changes would have been found."
        reasons = [reason for versus in undecided for reason in _own_reasons(versus, several)]
        yield Banner(f"No difference is shown between {a} and {names}.", rest, "warn", "", tuple(reasons))


def _shows_nothing(versus: SideAgainstSide) -> bool:
    answers = [row.answer for row in versus.numbers if row.primary]
    return "not shown" in answers and set(answers) <= {"not shown", None}


def _own_reasons(versus: SideAgainstSide, several: Mapping[str, str]) -> tuple[Reason, ...]:
    return tuple(Reason(warning) for warning in versus.warnings if warning not in several)


def _tone(rows: Sequence[ComparedNumber]) -> Tone:
    worse = [row.worse for row in rows if row.primary]
    if True in worse:
        return "bad"
    same = all(row.answer == "same within the margin" for row in rows if row.primary and row.name != "error_rate")
    return "good" if False in worse or same else "warn"


def _meanings(content: ComparisonResult) -> str:
    known = {row.spread_known for versus in content.versus for row in versus.numbers} - {None}
    both = comparison.MEANINGS_OF_TWO | comparison.MEANINGS
    meanings = comparison.MEANINGS_OF_TWO if known == {False} else both if False in known else comparison.MEANINGS
    words = " ".join(f"{word}: {meaning}." for word, meaning in meanings.items())
    margin = comparison.percent(content.margin, sign=False)
    wider = {
        row.title: f"{row.title} {comparison.percent(row.margin, sign=False)}"
        for versus in content.versus
        for row in versus.numbers
        if row.primary and row.ratio and row.margin > content.margin
    }
    errors = f" (by the error that a calibration found: {', '.join(wider.values())})" if wider else ""
    return f"{words} The margin is {margin}{errors}, and one point of shares. Corrected for the number of tests."


def _numbers(versus: SideAgainstSide, content: ComparisonResult, several: Mapping[str, str]) -> Iterator[Block]:
    rows = versus.numbers
    primary = [row for row in rows if row.primary]
    notes = (_meanings(content),) if versus is content.versus[0] else ()
    yield _table("The numbers that decide", versus, primary, notes)
    if missing := [text for text in _missing(versus) if text not in several]:
        yield findings(missing)
    others = [row for row in rows if not row.primary and row.change is not None]
    note = ("Latencies are in ms. Many numbers, so that some would differ by chance alone. No claim rests on these.",)
    if changed := [row for row in others if row.worse is not None]:
        yield _table("Explored: better or worse", versus, changed, note)
    if rest := [row for row in others if row.worse is None]:
        yield _table("Explored: no change shown", versus, rest, note, Level.DETAILS)


def _table(
    title: str,
    versus: SideAgainstSide,
    rows: Sequence[ComparedNumber],
    notes: tuple[str, ...],
    level: Level = Level.USUAL,
) -> Table:
    columns = (
        Column("Number"), Column(versus.a), Column(versus.b), Column("Change"), Column("95% interval"),
        Column("Shaded: the margin", left=True, page_only=True), Column("Seen from"), Column("", left=True),
    )  # fmt: skip
    ends = [abs(end) for row in rows for end in (row.change, row.low, row.high) if end is not None and row.ratio]
    reach = min(max([*ends, *(2 * row.margin for row in rows)], default=0.1) * 1.05, _WIDEST)
    return Table(title, columns, tuple(_row(row, reach) for row in rows), notes=notes, level=level)


def _row(row: ComparedNumber, reach: float) -> Row:
    answer = comparison.answer_text(row)
    tone = TONES.get(answer, "")
    drawn = None
    if row.change is not None and row.low is not None and row.high is not None:
        drawn = DrawnInterval(row.low, row.change, row.high, row.margin, reach, tone)
    # The names of a sweep's numbers are too long to add a unit.
    name = row.title if ":" in row.title or not row.primary else comparison.title(row)
    return Row(
        name,
        comparison.value(row, "a"),
        comparison.value(row, "b"),
        comparison.change_text(row),
        comparison.interval_text(row),
        Cell("", drawn=drawn),
        comparison.seen_text(row),
        Cell(answer, tone),
    )


def _variations(content: ComparisonResult) -> Iterator[Block]:
    rows = content.variations
    if not rows:
        yield Paragraph("Configuration, versions, machine and server are the same.", half=True)
        return
    columns = (Column("What differs"), *(Column(side.name, left=True, wrap=True) for side in content.sides))
    cells = tuple(Row(Cell(row.name, meaning=row.group), *row.values) for row in rows)
    yield Table("What differs", columns, cells, half=len(content.sides) <= _BESIDE)


def _sides(sides: Sequence[ComparedSide]) -> Iterator[Block]:
    facts = []
    for side in sides:
        n = len(side.runs)
        model = f" · {side.model}" if side.model else ""
        runs = [f"{run.id} · {run.started} · {run.verdict}" for run in side.runs]
        runs += [f"left out: {left.directory}, {left.why}" for left in side.left_out]
        facts.append(Fact(side.name, f"{side.path}{model} · {n} run{'' if n == 1 else 's'}", "; ".join(runs)))
    yield Facts("Sides", tuple(facts), half=True)


def _charts(versus: SideAgainstSide, sides: Mapping[str, ComparedSide]) -> Iterator[ChartBlock]:
    """For runs, every primary number by run; for sweeps, by load."""
    rows = [row for row in versus.numbers if row.primary and not row.name.startswith("error_rate")]
    if versus.method == "sweeps":
        for name in dict.fromkeys(row.name.partition(" at ")[0] for row in rows):
            of_name = [row for row in rows if row.name.startswith(f"{name} at ")]
            yield ChartBlock(_by_load(versus, of_name), Level.PAGE)
        return
    yield from (ChartBlock(_by_run(versus, row, sides), Level.PAGE) for row in rows if len(row.runs_a) > 1)


def _by_load(versus: SideAgainstSide, rows: Sequence[ComparedNumber]) -> Chart:
    """One number of both sides over the loads of their sweeps, which are drawn at equal distances."""
    loads = [row.title.partition(":")[0] for row in rows]
    x = list(range(len(rows)))
    name = rows[0].title.partition(": ")[2]
    lines = tuple(
        Line(name, values, tone=tone)
        for (name, values), tone in zip(
            ((versus.a, [row.a for row in rows]), (versus.b, [row.b for row in rows])), _TONES, strict=False
        )
    )
    return Chart(
        key=f"{versus.b}-{rows[0].name.partition(' at ')[0].replace(':', '-')}",
        title=name,
        meaning="Both sides, over the loads that both visited.",
        x_title="load (users, or requests/s)",
        x=x,
        x_span=(-0.5, len(rows) - 0.5),
        x_names=loads,
        ticks=tuple((at, load.partition(" ")[0]) for at, load in zip(x, loads, strict=True)),
        step=0,
        panels=(Panel(comparison.UNITS.get(rows[0].unit, rows[0].unit), lines),),
    )


def _by_run(versus: SideAgainstSide, row: ComparedNumber, sides: Mapping[str, ComparedSide]) -> Chart:
    """The number of every run, in the order in which the runs were made, which shows drift."""
    runs = sorted(
        (run.started, at, side, value)
        for side, values in ((versus.a, row.runs_a), (versus.b, row.runs_b))
        for at, (run, value) in enumerate(zip(sides[side].runs, values, strict=True))
    )
    x = list(range(1, len(runs) + 1))
    names = (versus.a, versus.b)
    lines = tuple(
        Line(name, [value if side == name else None for _, _, side, value in runs], style="bars", tone=tone)
        for name, tone in zip(names, _TONES, strict=False)
    )
    return Chart(
        key=f"{versus.b}-{row.name.replace(':', '-')}",
        title=comparison.title(row),
        meaning="Every run, in the order in which they were made.",
        x_title="run",
        x=x,
        x_span=(0.4, len(runs) + 0.6),
        x_names=[f"{side}, run {at + 1}" for _, at, side, _ in runs],
        ticks=tuple((at, run[2] if len(runs) <= _SIDES_NAMED else str(at)) for at, run in zip(x, runs, strict=True)),
        step=0,
        panels=(Panel(comparison.UNITS.get(row.unit, row.unit), lines),),
    )
