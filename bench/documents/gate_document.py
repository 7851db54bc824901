"""The document of a gate: whether it passed, its objectives, and the numbers against the baseline."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from bench.documents.comparison import change_text, interval_text, seen_text, title, value
from bench.documents.document import (
    Banner,
    Block,
    Cell,
    Code,
    Column,
    Document,
    Level,
    Row,
    Section,
    Table,
    Tone,
    findings,
)
from bench.documents.formatting import NOTHING, in_unit, measured, number, share
from bench.results.gate import GateMetric, GateObjective, GateResult

TONES: dict[str, Tone] = {"failed": "bad", "held": "good", "not shown": "warn"}
_NOT_HELD = ". Not shown is not held: it may be broken, and these runs cannot tell. --strict fails it"


def gate_document(content: GateResult) -> Document:
    """The document of a gate: a terminal shows its first level, the job summary all of it."""
    blocks: list[Block] = [*_objectives(content), *_metrics(content), *_sentences(content)]
    blocks.append(Code("", shlex.join(content.command)))
    banner = Banner(verdict_line(content), "", "bad" if content.exit else "good")
    return Document("", (banner,), (Section("", tuple(blocks)),))


def verdict_line(content: GateResult) -> str:
    """The outcome in a sentence."""
    counts = content.counts
    if content.exit in (3, 4):
        bad = next(run for run in content.runs if run.verdict == ("INVALID" if content.exit == 3 else "FAILED"))
        because = bad.reasons[0] if bad.reasons else "no reason was recorded"
        return f"{bad.verdict}: {bad.directory} cannot be judged ({because})"
    outcomes = [
        *((name, counts[name]) for name in ("failed", "held", "not shown")),
        ("not compared", len(content.lost)),
    ]
    tally = ", ".join(f"{count} {name}" for name, count in outcomes if count)
    passed = "failed" if content.exit else "passed"
    if content.exit and not counts["failed"]:
        undecided = " and ".join(name for name, count in outcomes[2:] if count)
        return f"The gate failed: {tally}, and --strict counts {undecided} as failed"
    if not tally:
        return f"The gate {passed}: nothing was judged"
    return f"The gate {passed}: {tally}{'' if content.exit or not counts['not shown'] else _NOT_HELD}"


def allowed_text(row: GateMetric) -> str:
    """The largest allowed change of a number: the margin, to the worse side."""
    sign = "+" if row.higher_is_worse else "-"
    return f"{sign}{share(row.margin)}" if row.ratio else f"{sign}{row.margin * 100:g} pts"


def objective_interval(row: GateObjective) -> str:
    """The interval of an objective's value; empty if there is none."""
    if row.low is None:
        return ""
    if row.unit == "share":
        return f"[{share(row.low)}, {share(row.high)}]"
    return in_unit(f"[{number(row.low)}, {number(row.high)}]", row.unit)


def _objectives(content: GateResult) -> Iterator[Block]:
    if content.objectives:
        columns = (Column("Objective"), Column("Measured"), Column("95% interval"), Column("", left=True))
        rows = tuple(
            Row(Cell(row.name, code=True), measured(row.value, row.unit), objective_interval(row), _verdict(row))
            for row in content.objectives
        )
        yield Table("Objectives", columns, rows, level=Level.FIRST)


def _metrics(content: GateResult) -> Iterator[Block]:
    if content.metrics:
        heads = ("Before", "Now", "Change", "95% interval")
        columns = (
            Column("Against the baseline"), *map(Column, heads), Column("Found from", drop=1), Column("Allowed"),
            Column("", left=True),
        )  # fmt: skip
        rows = tuple(
            Row(
                title(row),
                value(row, "a"),
                value(row, "b"),
                change_text(row),
                interval_text(row),
                seen_text(row),
                allowed_text(row),
                _verdict(row),
            )
            for row in content.metrics
        )
        yield Table("Against the baseline", columns, rows, level=Level.FIRST)


def _sentences(content: GateResult) -> Iterator[Block]:
    sentences = [f"{row.name}: {row.why}" for row in content.objectives if row.why]
    sentences += [_power(row) for row in content.metrics if row.verdict == "not shown"]
    sentences += content.notes
    if sentences:
        yield findings(sentences, level=Level.FIRST)
    reasons = (f"{run.directory}: {r}" for run in content.runs if run.verdict != "VALID" for r in run.reasons)
    if others := [reason for reason in dict.fromkeys(reasons) if reason not in sentences]:
        yield findings(others)


def _power(row: GateMetric) -> str:
    """The change of a number that these runs could have shown."""
    if (change := seen_text(row)) == NOTHING:
        return f"{row.title}: not shown; these runs can find no change of it"
    worse = "+" if row.higher_is_worse else "-"
    return f"{row.title}: not shown; these runs find a change of {worse}{change} or more in four gates of five"


def _verdict(row: GateObjective | GateMetric) -> Cell:
    return Cell(row.verdict, TONES[row.verdict])
