"""The document of a race of flags: the winner, its command line, what the race cannot distinguish, and charts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.documents.charts import Chart, Line, Panel, Tone, round_step
from bench.documents.document import (
    Banner,
    Block,
    Cell,
    ChartBlock,
    Code,
    Column,
    Document,
    Finding,
    Findings,
    Level,
    Row,
    Section,
    Table,
    command_block,
)
from bench.documents.document import Tone as WordTone
from bench.documents.formatting import NOTHING, number
from bench.results.tune import Place, TuneArm, TuneChange, TuneContent, TunePoint

FOOTER = "Made by Trueload. How a race decides: docs/compare.md."
_RANK = {str(place): rank for rank, place in enumerate(Place)}
"""The order of the table. A place from a later version comes last."""
_TONES: dict[str, WordTone] = {
    "best": "good", "not told apart": "good", "same within the margin": "good", "worse": "quiet",
    "far behind": "quiet", "worse answers": "bad",
    "failed": "bad", "not tried": "quiet",
}  # fmt: skip
_DRAWN: dict[str, Tone] = {
    "best": "good", "not told apart": "main", "same within the margin": "main", "worse": "quiet",
    "far behind": "quiet", "worse answers": "bad",
    "failed": "bad", "not tried": "quiet",
}  # fmt: skip
_WHY = {
    "decided": "every other arm was dropped",
    "budget": "the budget has no room for more rounds",
    "rounds": "the most rounds that a race has were made",
    "nothing works": "no arm is left",
    "interrupted": "interrupted",
}
_SHOWN = 20
DEFAULT = "the default"
"""The name of an arm that does not differ from the default."""


def tune_document(content: TuneContent) -> Document:
    """The document of a race; for an unfinished race, its progress."""
    sections = [Section("", tuple(_head(content)))]
    charts = [chart for chart in (_race(content), _rounds(content), _front(content)) if chart is not None]
    if charts:
        blocks = tuple(ChartBlock(chart, Level.PAGE) for chart in charts)
        sections.append(Section("The race", blocks, level=Level.PAGE))
    if failed := [arm for arm in content.arms if arm.why is not None]:
        sections.append(Section("", (_failures(failed),)))
    subtitle = f"{len(content.arms)} arms · {_turns(content)} · {content.seconds / 60:.0f} min"
    return Document("Flags of a server", (_banner(content),), tuple(sections), subtitle, content.date, footer=FOOTER)


def value_of(content: TuneContent, value: float | None) -> str:
    """A value of the goal, with its unit."""
    return NOTHING if value is None else f"{number(value)} {content.unit}"


def _turns(content: TuneContent) -> str:
    return f"{len(content.turns)} turn{'s' * (len(content.turns) != 1)}"


def _banner(content: TuneContent) -> Banner:
    if content.best is None:
        over = content.ended not in (None, "interrupted")
        rest = ": no arm has a value" if over else f": {_turns(content)} made, and no arm has a value yet"
        return Banner("No answer", rest, "bad" if over else "warn")
    best = content.arms[content.best]
    head = "Best" if content.ended not in (None, "interrupted") else "Best so far"
    alike = len(content.not_told_apart)
    also = f"; {alike} arm{'' if alike == 1 else 's'} cannot be told from it" if alike else ""
    value = f"{_at_least(content, content.best)}{value_of(content, best.value)}"
    return Banner(f"{head}: {best.name}", f": {value}{_gain(content)}{also}", "good")


def _at_least(content: TuneContent, arm: int) -> str:
    """The words before an arm's value if it is only a lower bound."""
    return "at least " if any(turn.is_lower_bound for turn in content.turns if turn.arm == arm) else ""


def _gain(content: TuneContent) -> str:
    if content.best == 0:
        return ", which is the default"
    gain = content.gain
    if gain is None:
        return "; the gain over the default is not known"
    if gain.low <= 0 <= gain.high:
        return f"; no gain over the default is shown ({_ends(gain)})"
    phrase = "more than the default" if not _is_cost(content) else "more for the money than the default"
    phrase = "more for the energy than the default" if content.goal.startswith("joules") else phrase
    return f", {_percent(abs(gain.value))} {phrase if gain.value >= 0 else phrase.replace('more', 'less', 1)} ({_ends(gain)})"


def _is_cost(content: TuneContent) -> bool:
    return content.goal.endswith("million_tokens")


def _head(content: TuneContent) -> Iterator[Block]:
    if content.start is not None:
        yield Code("Start the winner", content.start, level=Level.FIRST)
    if sentences := tuple(_sentences(content)):
        yield Findings(sentences, level=Level.FIRST)
    yield _arms(content)
    if content.points and content.goal != "held_load":
        yield _points(content)
    yield command_block(content.command)


def _sentences(content: TuneContent) -> Iterator[Finding]:
    if content.best is not None and content.not_told_apart:
        shown = _few([content.arms[arm].name for arm in content.not_told_apart])
        yield Finding(f"Not told from the best, or the same within {_percent(content.margin)}: {shown}")
    if worse := [arm.name for arm in content.arms if arm.place == "worse answers"]:
        yield Finding(f"Answers got worse than the default's, so these cannot win: {', '.join(worse)}", "bad")
    if bounds := [arm.name for place, arm in enumerate(content.arms) if _at_least(content, place)]:
        yield Finding(
            f"A search found no load that is too much for {_few(bounds)}: how much more it holds is not shown, so it "
            "is called neither worse nor the same; give the search a higher max or a longer budget",
            "warn",
        )
    if content.noise is not None:
        noise = f"by {_percent(content.noise)}" if content.noise >= 0.001 else "by less than 0.1%"
        server = content.spec.get("server")
        together = isinstance(server, Mapping) and server.get("together")
        restart = "each server was started once, and another start is not in it" if together else "with the restart"
        yield Finding(f"One turn varies {noise} (standard deviation, {restart})")
    if content.ended is not None:
        tone: WordTone = "warn" if content.ended in ("interrupted", "nothing works") else ""
        yield Finding(f"Ended: {_WHY.get(content.ended, content.ended)}", tone)
    if content.ended in ("budget", "interrupted") and content.not_told_apart:
        yield Finding("More turns may tell them apart: --resume with a larger --budget goes on", "warn")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _sorted(content: TuneContent) -> list[int]:
    """The arms as the table lists them: by place, then by value, the better first."""
    arms = content.arms
    sign = 1 if _is_cost(content) else -1

    def key(arm: int) -> tuple[int, float, int]:
        value = arms[arm].value
        rank = _RANK.get(arms[arm].place, len(_RANK))
        return rank, float("inf") if value is None else sign * value, arm

    return sorted(range(len(arms)), key=key)


def _arms(content: TuneContent) -> Table:
    columns = (
        Column("Flags", left=True, wrap=True), Column(content.unit), Column("Against the best", drop=2),
        Column("95% interval", drop=3), Column("Turns", drop=1), Column("", left=True),
    )  # fmt: skip
    rows = tuple(_arm(content, arm) for arm in _sorted(content))
    notes = (
        "Intervals are corrected for all pairs of arms and every look at the race. Worse: the whole interval is below 0. Not "
        "told apart: the turns do not show which is better. Far behind: less than half of the leader, in too few turns for a "
        f"proof. Same: within {_percent(content.margin)} of the best.",
    )
    return Table("Arms", columns, rows, notes=notes, level=Level.FIRST, lead=True)


def _arm(content: TuneContent, place: int) -> Row:
    arm = content.arms[place]
    change = arm.against_best
    name = arm.name + (" (default)" if place == 0 and arm.name != DEFAULT else "")
    links = tuple(
        (
            f"round {turn.round}{f', {row.load:g}' if len(turn.loads) > 1 else ''}",
            f"{row.name}/{'search' if content.goal == 'held_load' else 'report'}.html",
        )
        for turn in content.turns
        if turn.arm == place
        for row in turn.loads
    )
    return Row(
        Cell(name, links=links),
        f"{_at_least(content, place)}{number(arm.value)}",
        NOTHING if change is None else _signed(change.value),
        NOTHING if change is None else _ends(change),
        str(arm.turns),
        Cell(arm.place, _TONES.get(arm.place, "quiet")),
        quiet=arm.place in ("worse", "far behind", "not tried"),
    )


def _points(content: TuneContent) -> Table:
    priced = any(point.dollars is not None for point in content.points)
    columns = (
        Column("On the front", left=True, wrap=True), Column(content.load_unit), Column("tokens/s"),
        Column(f"{_latency(content)}", "ms"), *([Column("$ per million", drop=1)] if priced else ()),
    )  # fmt: skip
    points = sorted((p for p in content.points if p.on_front), key=lambda p: p.latency or 0.0)
    rows = []
    for p in points[:_SHOWN]:
        texts = (content.arms[p.arm].name, f"{p.load:g}", number(p.tokens_per_s), number(p.latency))
        rows.append(Row(*texts, *([number(p.dollars)] if priced else ())))
    note = "No other arm and load has more throughput and less latency, by the means of the turns."
    return Table("Throughput against latency", columns, tuple(rows), notes=(note,))


def _latency(content: TuneContent) -> str:
    metric, _, stat = content.latency.partition(":")
    return f"{metric.upper()} {stat}"


def _failures(failed: Sequence[TuneArm]) -> Table:
    columns = (
        Column("Flags", left=True, wrap=True), Column("Why a turn has no value", left=True, wrap=True),
        Column("Last words of the server", left=True, wrap=True),
    )  # fmt: skip
    rows = [Row(arm.name, arm.why or "", " | ".join(arm.last_words) or NOTHING) for arm in failed[:_SHOWN]]
    return Table("Turns without a value", columns, tuple(rows))


def _race(content: TuneContent) -> Chart | None:
    """Each turn as a bar on the line of its arm: dropped arms have no more bars."""
    if not content.turns:
        return None
    line_of = {arm: line for line, arm in enumerate(_sorted(content))}
    spans, at = [], 0.0
    for turn in content.turns:
        spans.append((at / 60, (at + turn.seconds) / 60))
        at += turn.seconds
    places = list(dict.fromkeys(content.arms[turn.arm].place for turn in content.turns))
    rows = [line_of[turn.arm] for turn in content.turns]
    lines = [
        Line(
            place, rows, "spans", _DRAWN.get(place, "quiet"),
            spans=[span if content.arms[turn.arm].place == place else None
                   for turn, span in zip(content.turns, spans, strict=True)],
        )
        for place in sorted(places, key=lambda place: _RANK.get(place, len(_RANK)))
    ]  # fmt: skip
    lines.append(Line(content.unit, [turn.value for turn in content.turns], hidden=True, unit=content.unit))
    step = round_step(at / 60, 8)
    return Chart(
        key="race", title="The race", meaning="A line for each arm, in the order of the table. A bar is one turn.",
        x_title="minutes", x=[span[0] for span in spans], x_span=(0, at / 60),
        x_names=[f"round {turn.round}: {content.arms[turn.arm].name}" for turn in content.turns],
        ticks=tuple((k * step, f"{k * step:g}") for k in range(int(at / 60 / step) + 1)), step=0,
        panels=(Panel("arms", tuple(lines), rows=len(content.arms)),), hover="rows", wide=True,
    )  # fmt: skip


def _rounds(content: TuneContent) -> Chart | None:
    rounds = max((turn.round for turn in content.turns), default=0)
    if rounds < 2:
        return None
    lines, named = [], set()
    for arm in reversed(_sorted(content)):
        value = {turn.round: turn.value for turn in content.turns if turn.arm == arm}
        place = content.arms[arm].place
        name = content.arms[arm].name
        lines.append(
            Line(
                name,
                [value.get(r) for r in range(1, rounds + 1)],
                "line",
                _DRAWN.get(place, "quiet"),
                in_legend=place == "best",
            )
        )
        named.add(place)
    return Chart(
        key="rounds", title="Values by round", meaning="A line for each arm; that of the best is green.", x_title="round",
        x=[float(r) for r in range(1, rounds + 1)], x_span=(0.8, rounds + 0.2),
        x_names=[f"round {r}" for r in range(1, rounds + 1)],
        ticks=tuple((float(r), str(r)) for r in range(1, rounds + 1, -(-rounds // 10))), step=0,
        panels=(Panel(content.unit, tuple(lines)),),
    )  # fmt: skip


def _front(content: TuneContent) -> Chart | None:
    placed = [
        (point.latency, point.tokens_per_s, point)
        for point in content.points
        if point.latency is not None and point.tokens_per_s is not None
    ]
    if len(placed) < 2:
        return None
    placed.sort(key=lambda row: row[:2])
    x = [row[0] for row in placed]
    step = round_step(x[-1], 6)

    def where(of: bool) -> list[float | None]:
        return [tokens if point.on_front is of else None for _, tokens, point in placed]

    lines = (Line("on the front", where(True), "points", "good"), Line("behind it", where(False), "points", "quiet"))
    return Chart(
        key="front", title="Throughput against latency", meaning="Each point is an arm at a load. Up and left is better.",
        x_title=f"{_latency(content)}, ms", x=x, x_span=(0, x[-1] * 1.05),
        x_names=[_point_name(content, point) for *_, point in placed],
        ticks=tuple((k * step, number(k * step)) for k in range(int(x[-1] / step) + 1)), step=0,
        panels=(Panel("tokens/s", lines),), hover="points",
    )  # fmt: skip


def _point_name(content: TuneContent, point: TunePoint) -> str:
    return f"{content.arms[point.arm].name}, {point.load:g} {content.load_unit}"


def _percent(value: float) -> str:
    return f"{100 * value:,.{_decimals(value)}f}".removesuffix(".0") + "%"


def _signed(value: float) -> str:
    decimals = _decimals(value)
    return f"{round(100 * value, decimals) + 0.0:+,.{decimals}f}%"


def _decimals(value: float) -> int:
    return 0 if abs(value) >= 1 else 1


def _ends(change: TuneChange) -> str:
    return f"{_signed(change.low)} to {_signed(change.high)}"
