"""Compares runs with objectives and a baseline: which pass, which fail, and which the runs cannot decide.

Users of gates complain of alarms on unchanged code. So a gate fails only if a change for the worse is shown;
`bench/statistics/gate.py` has the rules and their figures. Everything else is `held`, or `not shown`, which passes
unless --strict is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from bench.comparison import numbers
from bench.comparison.numbers import ERRORS, SHARE_MARGIN, Number, values_lacking
from bench.comparison.settings import refuse_several_loads, text_of
from bench.comparison.sides import MeasuredRun
from bench.errors import Exit, UsageError
from bench.metrics.objectives import Objective, parse, with_limits
from bench.release_gate import baseline as baselines
from bench.release_gate import objectives
from bench.release_gate.baseline import entry_of, failures, independent_values, value_of
from bench.release_gate.objectives import ObjectiveVerdict
from bench.results.baseline import Baseline, BaselineRun
from bench.results.gate import GateLost
from bench.statistics.between_runs import MARGIN, error_by_chance
from bench.statistics.gate import ALPHA, LEAST_CANDIDATES, Judged, Metric, Verdict, judge, missing_runs

_FAR = timedelta(hours=1)
_MANY_FAILED = 0.01
"""A run with a larger share of failed requests gets a note before it becomes part of a baseline."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a gate decides. `strict`: objectives and numbers that are not shown fail too, and so does an unusable run."""

    objectives: tuple[Objective, ...] = ()
    margin: float = MARGIN
    alpha: float = ALPHA
    strict: bool = False


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """The verdict on a number compared with the baseline."""

    number: Number
    margin: float
    judged: Judged
    few: str | None = None
    """Why the number is not held although no change is shown: the runs have too few values for this quantile."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The result of a gate. `baseline` is None if none was requested, or if it is only being started."""

    runs: tuple[MeasuredRun, ...]
    entries: tuple[BaselineRun, ...]
    unusable: tuple[MeasuredRun, ...]
    objectives: tuple[ObjectiveVerdict, ...] = ()
    metrics: tuple[MetricVerdict, ...] = ()
    lost: tuple[GateLost, ...] = ()
    """The numbers of the baseline that these runs lack."""
    notes: tuple[str, ...] = ()
    baseline: Baseline | None = None
    strict: bool = False

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts on all objectives and metrics."""
        return (*(o.verdict for o in self.objectives), *(m.judged.verdict for m in self.metrics))

    @property
    def exit(self) -> Exit:
        """0: held or not shown (1 if strict). 1: failed. 3: no run is usable (if strict: a run is unusable). 4: the server
        failed in a run. An INVALID run says nothing about the build; a FAILED run does."""
        if any(run.status == "FAILED" for run in self.unusable):
            return Exit.TARGET
        if self.unusable and (not self.runs or self.strict):
            return Exit.INVALID
        not_shown = Verdict.NOT_SHOWN in self.verdicts or self.lost
        if Verdict.FAILED in self.verdicts or (self.strict and not_shown):
            return Exit.OBJECTIVE_FAILED
        return Exit.GOOD


def decide(
    runs: Sequence[MeasuredRun],
    rules: Rules,
    baseline_path: Path | None = None,
    baseline: Baseline | None = None,
    *,
    updating: bool = False,
) -> Gate:
    """Judge these runs. Raises UsageError if they have different loads or cannot be compared with the baseline.

    `updating`: a baseline with too few runs is accepted, because runs are being added to it.
    """
    usable = tuple(run for run in runs if run.status not in ("INVALID", "FAILED"))
    unusable = tuple(run for run in runs if run not in usable)
    if not usable:
        return Gate((), (), unusable, strict=rules.strict)
    refuse_several_loads(usable)
    wanted = with_limits(rules.objectives, objectives_of(usable[0]))
    objectives.refuse_unknown_parts(wanted, usable)
    entries = tuple(entry_of(run) for run in usable)
    judged = tuple(objectives.judge(objective, usable, entries) for objective in wanted)
    notes = _of_runs(usable, unusable)
    if updating:
        notes += [
            f"{entry.error_rate:.1%} of the requests of {run.directory} failed: held to a baseline with it, as many may fail"
            for run, entry in zip(usable, entries, strict=True)
            if (entry.error_rate or 0.0) > _MANY_FAILED
        ]
    metrics: tuple[MetricVerdict, ...] = ()
    lost: list[GateLost] = []
    if baseline is not None:
        assert baseline_path is not None, "a baseline was read from a file"
        baselines.refuse_other_workload(baseline_path, baseline, usable[0])
        before, again = _others(baseline.runs, usable)
        if again and not updating:
            raise UsageError(_compared_with_itself(again, baseline_path))
        notes += [
            f"{run.directory} is in the baseline already: it is compared with the other runs there" for run in again
        ]
        lost = lost_numbers(before, entries) if before else []
        lacks = missing_runs(len(before), len(usable))
        if lacks is not None and not updating:
            raise UsageError(f"--baseline {baseline_path}: {lacks}")
        if lacks is not None:
            notes.append(f"nothing is compared yet: {lacks}")
        else:
            metrics = against(before, entries, rules)
            notes += notes_on(before, entries)
        notes += dict.fromkeys(note for run in usable for note in _changes(baseline, run))
    notes += [f"{row.number.title} is not shown to hold: {row.few}" for row in metrics if row.few]
    notes = [*(f"{number.title} is not compared: {number.why}" for number in lost), *notes]
    return Gate(usable, entries, unusable, judged, metrics, tuple(lost), tuple(notes), baseline, rules.strict)


def _of_runs(usable: Sequence[MeasuredRun], unusable: Sequence[MeasuredRun]) -> list[str]:
    """Notes on the runs by themselves."""
    notes = [f"{run.directory} is left out: {run.status}" for run in unusable]
    notes += [
        f"{run.directory} is SUSPECT: {run.summary.verdict.reasons[0]}" for run in usable if run.status == "SUSPECT"
    ]
    notes += [
        f"{run.directory} was {reason} before its end"
        for run in usable
        if (reason := run.summary.run.stop_reason) in ("interrupted", "killed")
    ]
    return notes + [note for run in usable for note in run.notes]


def objectives_of(run: MeasuredRun) -> tuple[Objective, ...]:
    """The objectives that the run was made with. If no others are given, they define which of its requests are good."""
    return parse(run.settings["slo"])


def _others(entries: Sequence[BaselineRun], runs: Sequence[MeasuredRun]) -> tuple[list[BaselineRun], list[MeasuredRun]]:
    """The runs of the baseline other than these runs, and those of these runs that the baseline contains. A run must
    not be compared with itself."""
    mine = {(run.manifest.run_id, run.manifest.started): run for run in runs}
    known = {(entry.id, entry.started): entry for entry in entries}
    return (
        [entry for name, entry in known.items() if name not in mine],
        [run for name, run in mine.items() if name in known],
    )


def _compared_with_itself(runs: Sequence[MeasuredRun], path: Path) -> str:
    more = f" (and {len(runs) - 1} more)" if runs[1:] else ""
    return (
        f"{runs[0].directory}{more} is in --baseline {path} already, itself or as a copy, and nothing differs from itself: "
        "name runs that were made later"
    )


def against(before: Sequence[BaselineRun], now: Sequence[BaselineRun], rules: Rules) -> tuple[MetricVerdict, ...]:
    """The verdict on each number that a gate compares. Raises ValueError if there are too few runs."""

    decided = _decided([*before, *now])
    metrics = {
        number.name: Metric(
            baseline=_values(number, before),
            candidate=_values(number, now),
            higher_is_worse=number.higher_is_worse,
            ratio=not number.is_share,
            floor=number.floor,
            margin=SHARE_MARGIN if number.is_share else None,
            independent=(_independent(before), _independent(now)) if number.is_share else None,
            least_error=error_by_chance(failures(before), failures(now)) if number is ERRORS else 0.0,
        )
        for number in decided
    }
    judged = judge(metrics, rules.margin, rules.alpha)
    verdicts = []
    for number in decided:
        metric, result = metrics[number.name], judged[number.name]
        # Thirty requests cannot show a slowness that occurs once in a hundred requests.
        sides = [math.fsum(independent_values(entry, number.metric) for entry in side) for side in (before, now)]
        few = values_lacking(number, sides) if result.verdict is Verdict.HELD else None
        if few:
            result = replace(result, verdict=Verdict.NOT_SHOWN)
        verdicts.append(MetricVerdict(number, rules.margin if metric.margin is None else metric.margin, result, few))
    return tuple(verdicts)


def _has(number: Number, entry: BaselineRun) -> bool:
    """Whether the run has the number, with a value of which a ratio exists."""
    value = value_of(number, entry)
    return value is not None and (number.is_share or value > 0)


def _decided(entries: Sequence[BaselineRun]) -> list[Number]:
    """The numbers compared with a baseline: all of these runs have them, and count their tokens in the same way."""
    alike = len(_counted_by(entries)) < 2

    def known(number: Number) -> bool:
        return all(_has(number, entry) for entry in entries) and (alike or number.metric not in numbers.OF_TOKENS)

    return [number for number in numbers.gated(known) if known(number)]


def _counted_by(entries: Sequence[BaselineRun]) -> list[str]:
    return [*dict.fromkeys(entry.tokens_by for entry in entries if entry.tokens_by is not None)]


def lost_numbers(before: Sequence[BaselineRun], now: Sequence[BaselineRun]) -> list[GateLost]:
    """The numbers of the baseline that these runs lack: a server that no longer streams has no TPOT, and tokens that are
    counted in another way give another number."""
    both = _decided([*before, *now])
    # Some runs of an old baseline may lack a number that the others have.
    had = dict.fromkeys(number for entry in before for number in _decided([entry]))
    there, here = (" and by ".join(_counted_by(entries)) for entries in (before, now))
    lost = []
    for number in had:
        lacking, lacked = (sum(not _has(number, entry) for entry in entries) for entries in (now, before))
        why = f"{lacking} of {len(now)} runs have no known value above 0"
        if not lacking:
            why = f"{lacked} of its {len(before)} runs have no known value above 0"
        if not lacking and not lacked:
            why = f"tokens were counted by {there} there, and by {here} here"
        if number not in both:
            lost.append(GateLost(name=number.name, title=number.title, why=f"the baseline has it, and {why}"))
    return lost


def notes_on(before: Sequence[BaselineRun], now: Sequence[BaselineRun]) -> list[str]:
    """Notes on what the spread of these runs cannot show."""
    notes = []
    if len(now) < LEAST_CANDIDATES:
        alone = len(now) == 1
        notes.append(
            f"{len(now)} candidate run{'' if alone else 's'}: the spread between runs is taken from the baseline, so that an "
            f"unusual run fails like a change; make {LEAST_CANDIDATES} to tell them apart"
        )
    return [*notes, *_made_at_once(before, now)]


def _made_at_once(before: Sequence[BaselineRun], now: Sequence[BaselineRun]) -> list[str]:
    """A sentence if all runs of the baseline were made at about the same time, long before these runs."""
    try:
        made, begun = sorted(_moment(entry) for entry in before), min(_moment(entry) for entry in now)
        span, gap = made[-1] - made[0], begun - made[-1]
        far = gap > max(span, _FAR)
    except (ValueError, TypeError):  # A file from another program, with invalid dates or dates without a time zone.
        return []
    if not far:
        return []
    hours = gap / timedelta(hours=1)
    ago = f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} hours"
    return [
        f"all runs of the baseline were made within {max(1, round(span / timedelta(minutes=1)))} min, about {ago} before "
        "these: what differs from day to day is not in their spread, and can fail unchanged code; add runs of other times "
        "(--update)"
    ]


def _moment(entry: BaselineRun) -> datetime:
    return datetime.fromisoformat(entry.started)


def _values(number: Number, entries: Sequence[BaselineRun]) -> list[float]:
    return [value for entry in entries if (value := value_of(number, entry)) is not None]


def _independent(entries: Sequence[BaselineRun]) -> float:
    return math.fsum(entry.independent_requests for entry in entries)


def _changes(baseline: Baseline, run: MeasuredRun) -> list[str]:
    """Differences from the start of the baseline in the machine or the version, which may differ."""
    here = {**run.manifest.host, "Trueload": run.manifest.versions.get("trueload", "")}
    there = {**baseline.machine, "Trueload": baseline.tool_version}
    differing = [name for name in dict.fromkeys((*there, *here)) if there.get(name) != here.get(name)]
    if not differing:
        return []
    differences = ", ".join(
        f"{name} ({text_of(name, there.get(name))} there, {text_of(name, here.get(name))} here)" for name in differing
    )
    if differing == ["Trueload"]:
        return [f"the baseline was made by another version: {differences}; what changed may be how it measures"]
    return [f"the baseline was made elsewhere: {differences}; what changed may be the machine"]
