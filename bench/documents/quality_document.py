"""The document of quality: whether the answers hold under load, by how much they change, and answers side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.documents.answers_section import FAULTS
from bench.documents.document import (
    Banner,
    Block,
    Cell,
    Column,
    Document,
    Finding,
    Findings,
    Level,
    Row,
    Section,
    Table,
    Tone,
    TwoTexts,
    command_block,
)
from bench.documents.formatting import NOTHING, number, share
from bench.results.quality import PHASES, QualityContent, QualityExample, QualityForeign, QualityMeasure, QualityShare

FOOTER = "Made by Trueload. What is compared, and how it decides: docs/quality.md."
CHANGED, WITHIN, NOT_SHOWN = "changed", "within the margin", "not shown"
_NAMES = {"alone": "Alone", "loaded": "Under load", "back": "Back alone"}
_BAD_SHOWN = 5
_HINT = 0.05
"""Up to this corrected p, bad answers are called a hint."""


def quality_document(content: QualityContent) -> Document:
    """The document of a comparison; for an unfinished series, its progress."""
    head = tuple(_head(content))
    sections = [Section("", head)]
    if pairs := tuple(map(_example, content.examples)):
        sections.append(Section("Answers side by side", pairs, level=Level.USUAL))
    subtitle = f"{content.config.get('url', '')} · {content.probes} probes"
    return Document("Answers under load", (_banner(content),), tuple(sections), subtitle, content.date, footer=FOOTER)


def answer_line(content: QualityContent) -> tuple[str, str, Tone]:
    """The answer in a sentence: its head, the rest, and its tone."""
    talk = content.cross_talk
    changed = [row for row in content.measures if row.decision == CHANGED]
    worse = [row for row in changed if row.is_fault and row.fall > 0]
    if talk is not None and (talk.found or talk.found_alone):
        answers = _count(talk.found + talk.found_alone, "answer")
        also = f". Load changes the answers too: {'; '.join(map(_by_how_much, worse))}" if worse else ""
        return f"Cross-talk: {answers} with another request's code word", f", and one is proof{also}", "bad"
    if len(content.runs) < len(PHASES):
        return "Not over", f": {_count(len(content.runs), 'run')} of {len(PHASES)} made", "warn"
    if unusable := [run.unusable for run in content.runs if run.unusable is not None]:
        return "No answer", f": the run {unusable[0]}", "bad"
    if not content.measures:
        return "No answer", ": no probe was answered both alone and under load", "bad"
    if worse:
        return "Load changes the answers", f": {'; '.join(map(_by_how_much, worse))}", "bad"
    if changed:
        rest = f": {'; '.join(map(_by_how_much, changed))}"
        return "Load changes the answers, but no fault is shown to be more frequent", rest, "warn"
    if over_time := [row.title for row in content.measures if row.blamed_on_time]:
        return (
            "The answers changed over time",
            f", also without load ({', '.join(over_time)}): load is not blamed",
            "warn",
        )
    right = content.measures[0]
    if right.alone.bad == right.alone.answers:
        rest = ": no probe is answered rightly even without load. Choose probes that this model can answer"
        return "Nothing can be shown of right answers", rest, "warn"
    if all(row.decision == WITHIN for row in content.measures if row.is_fault):
        return "The answers hold", f": load changes them by no more than {_of_points(content.margin)}", "good"
    few = "" if right.decision == WITHIN else f". To be sure of {_of_points(content.margin)} takes more probes"
    most = _of_points(max(0.0, right.interval[1]))
    return "No change is shown", f": {right.title} fall by no more than {most} (95%){few}", "warn" if few else "good"


def _banner(content: QualityContent) -> Banner:
    head, rest, tone = answer_line(content)
    return Banner(head, rest, tone)


def _by_how_much(row: QualityMeasure) -> str:
    """`right answers fall by 12 points (8.1 to 16)`, in percentage points."""
    low, high = row.interval if row.fall >= 0 else (-row.interval[1], -row.interval[0])
    falls = "fall" if row.fall >= 0 else "rise"
    verb = falls if row.title.endswith("s") else f"{falls}s"
    return f"{row.title} {verb} by {_of_points(abs(row.fall))} ({_points(low)} to {_points(high)})"


def _points(value: float) -> str:
    """A share in percentage points."""
    return f"{round(100 * value, 1) + 0.0:.1f}".removesuffix(".0")


def _of_points(value: float) -> str:
    """A share with its unit: `1 point`."""
    return f"{_points(value)} point{'' if _points(value) == '1' else 's'}"


def _head(content: QualityContent) -> Iterator[Block]:
    if content.measures:
        yield _measures(content)
    if sentences := tuple(_sentences(content)):
        yield Findings(sentences, level=Level.FIRST)
    if content.cross_talk is not None and content.cross_talk.first:
        yield _foreign(content.cross_talk.first)
    if content.kinds:
        yield _kinds(content)
    yield _runs(content)
    yield command_block(content.command)


def _measures(content: QualityContent) -> Table:
    columns = (
        Column("Share of answers"), Column("Alone"), Column("Under load"), Column("Fall", "points"),
        Column("95% interval"), Column("p", drop=1), Column("", left=True), Column("Probes needed", drop=2),
    )  # fmt: skip
    rows = tuple(
        Row(
            Cell(row.title, hint="" if row.is_fault else "compared with the first answer alone"),
            Cell(share(row.alone.share), below=(_of(row.alone),)),
            Cell(share(row.loaded.share), below=(_of(row.loaded),)),
            _points(row.fall),
            f"{_points(row.interval[0])} to {_points(row.interval[1])}",
            NOTHING if row.p_corrected is None else _p(row.p_corrected),
            Cell(_decision(row), _tone(row)),
            _to_show(row),
        )
        for row in content.measures
    )
    notes = (
        f"p is corrected for all measures (Holm); below {share(content.alpha)} load changes the answers. "
        f"Within the margin: the whole interval is inside ±{_of_points(content.margin)}.",
    )
    return Table("Alone against under load", columns, rows, ("answers",), notes=notes, level=Level.FIRST, lead=True)


def _of(row: QualityShare) -> str:
    return f"{row.bad} of {row.answers} bad"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _decision(row: QualityMeasure) -> str:
    return "not load: time" if row.blamed_on_time else row.decision


def _tone(row: QualityMeasure) -> Tone:
    if row.decision == CHANGED:
        return "bad" if row.is_fault and row.fall > 0 else "warn"
    return "good" if row.decision == WITHIN else "warn" if row.blamed_on_time else "quiet"


def _to_show(row: QualityMeasure) -> str:
    if row.decision != NOT_SHOWN or row.blamed_on_time:
        return ""
    return "over 10,000,000" if row.probes_to_show is None else f"about {number(row.probes_to_show)}"


def _sentences(content: QualityContent) -> Iterator[Finding]:
    for row in content.measures:
        if (sentence := _of_measure(row)) is not None:
            yield Finding(sentence, "warn")
    talk, difference, length = content.cross_talk, content.difference, content.length
    if talk is not None and talk.excluded is not None:
        rate = share(talk.excluded)
        yield Finding(
            f"No cross-talk in {talk.answers:,} answers under load: a rate of {rate} or more is excluded (95%)"
        )
    if talk is None and content.measures:
        yield Finding("Cross-talk was not looked for: no probe has a code word. Add --probes canary=100")
    if talk is not None and not talk.answers:
        yield Finding("Cross-talk could not be seen: no answer under load has a text", "warn")
    if difference is not None and difference.differing:
        yield Finding(
            f"{difference.differing} of {difference.answers} answers under load differ from the first answer alone, at "
            f"character {number(difference.median)} in the median and {difference.least} at the earliest"
        )
    if (drift := content.drift) is not None:
        alone = (
            "" if drift.alone_median is None else f", alone {number(drift.alone_median)} and {number(drift.alone_most)}"
        )
        yield Finding(
            f"Log probabilities move by {number(drift.median)} in the median and {number(drift.most)} at most under load, "
            f"over {drift.tokens:,} tokens before the first that differs{alone}"
        )
    if length is not None and length.p_corrected < content.alpha:
        direction = "longer" if length.longer > length.shorter else "shorter"
        mean = f"{number(length.loaded)} characters in the mean, {number(length.alone)} alone"
        yield Finding(f"Answers are {direction} under load: {mean}", "warn")
    for note in content.notes:
        yield Finding(note, "warn")
    if content.ended is not None:
        yield Finding(f"The series ended early: {content.ended}", "warn")


def _of_measure(row: QualityMeasure) -> str | None:
    """A caveat of a measure, if it has one."""
    if row.blamed_on_time:
        return (
            f"{row.title}: answers without load changed as well, and those under load do not lie beyond both the earlier "
            "and the later ones. The server changed over time, so this is not blamed on load"
        )
    if row.decision != NOT_SHOWN or not row.is_fault or not row.loaded.bad:
        return None
    if row.alone.bad == row.alone.answers:
        return (
            f"{row.title}: none even without load, so load can take nothing: choose probes that this model can answer"
        )
    bad = _count(row.loaded.bad, "bad answer")
    p = 1.0 if row.p_corrected is None else row.p_corrected
    shows = "show nothing: chance does that too" if p > _HINT else f"are a hint, and show nothing yet (p {_p(p)})"
    return (
        f"{row.title}: {bad} of {row.loaded.answers} under load and {row.alone.bad} of {row.alone.answers} alone {shows}. "
        f"It would take {_to_show(row)} probes"
    )


def _foreign(rows: Sequence[QualityForeign]) -> Table:
    columns = (
        Column("Request", left=True), Column("Phase", left=True), Column("Its probe", left=True),
        Column("Code", left=True), Column("Belongs to", left=True), Column("Answer", left=True, wrap=True, drop=1),
    )  # fmt: skip
    written = tuple(
        Row(
            row.request, _NAMES.get(row.phase, row.phase), row.probe or NOTHING, row.code, row.owner, _short(row.answer)
        )
        for row in rows[:_BAD_SHOWN]
    )
    return Table("Answers with another request's code", columns, written, level=Level.FIRST)


def _kinds(content: QualityContent) -> Table:
    columns = (
        Column("Right answers"), Column("Probes"), Column("Alone"), Column("Under load"), Column("Answers under load"),
    )  # fmt: skip
    rows = tuple(
        Row(row.kind, f"{row.probes:,}", share(row.alone), share(row.loaded), f"{row.loaded_answers:,}")
        for row in content.kinds
    )
    return Table("By kind of probe", columns, rows)


def _runs(content: QualityContent) -> Table:
    columns = (
        Column("Run"), Column("Verdict", left=True), Column("Answers"), Column("Not answered"),
    )  # fmt: skip
    rows = tuple(
        Row(
            Cell(_NAMES.get(row.phase, row.phase), href=f"{row.name}/report.html"),
            row.status,
            f"{row.answers:,}",
            f"{row.failed:,}",
        )
        for row in content.runs
    )
    return Table("The three runs", columns, rows)


def _example(example: QualityExample) -> TwoTexts:
    broken = (
        f"under load {', '.join(FAULTS.get(name, name) for name in example.bad)}" if example.bad else "another text"
    )
    notes = (f"question: {example.question}", f"right answer: {example.wanted}" if example.wanted else "")
    return TwoTexts(
        f"{example.probe} ({broken})",
        ("Alone", "Under load"),
        (example.alone, example.loaded),
        example.at,
        tuple(filter(None, notes)),
    )


def _count(many: int, noun: str) -> str:
    return f"{many:,} {noun}{'' if many == 1 else 's'}"


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
