"""The answer of a search, as sentences and an exit status."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.documents.formatting import duration, measured, share
from bench.errors import BenchError, Exit
from bench.load_search import evidence
from bench.load_search.conclusion import Conclusion, Kind, apart_in_time, conclude, holds
from bench.load_search.decisions import SURE, UNSURE, Ending, Known, Search
from bench.load_search.goals import KEEPS_UP, Goal
from bench.load_search.visit_numbers import VisitNumbers
from bench.load_search.visits import Result
from bench.loads import KINDS
from bench.results.answers import ANSWER_SHARES
from bench.results.summary import ObjectiveResult

Numbers = Mapping[int, VisitNumbers]
SHORT_S = 20.0
"""Shorter visits see too few of a server's pauses to distinguish them from an edge (docs/dev/simulations.md)."""
_UNSTEADY = 2
"""From this number on, the answer mentions unsteady visits that held: a single one may be chance."""
SCATTERS = 2.0
"""From this deviance per degree of freedom on, the answer mentions the scatter of visits."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`headline` is the answer in one sentence, `lines` are the details below it, `exit` is the status of the command."""

    headline: str
    lines: tuple[str, ...]
    exit: Exit


def load_number(load: float, kind: str) -> str:
    """A load without its unit. Users are whole: a capacity of 24.6 users means that 24 are held."""
    if KINDS[kind].whole:
        return f"{math.floor(load + 1e-9):,}"
    return f"{load:,.3g}" if load < 999.5 else f"{load:,.0f}"


def load_text(load: float, kind: str) -> str:
    """A load with its unit: 36.4/s, 12 users, 12 sessions."""
    number, of = load_number(load, kind), KINDS[kind]
    if of.whole:
        return f"{number} {of.one if number == '1' else of.unit}"
    return f"{number}/s"


def known_text(search: Search, outcome: Conclusion, at: float | None = None) -> str:
    """What is known so far, as text: between 34.1 and 41.2/s, 71% sure of >= 36/s."""
    kind = search.settings.load_kind
    certainty = ""
    if at is not None and search.judged:
        certainty = f", {percent(search.sure_of(at))} sure of >= {load_text(at, kind)}"
    if outcome.known is not None:
        return f"{_between(outcome.known, kind)}{certainty}"
    if outcome.at_least is not None:
        return f"at least {load_text(outcome.at_least, kind)}{certainty}"
    if outcome.below is not None:
        return f"below {load_text(outcome.below, kind)}{certainty}"
    if outcome.change is not None:
        if not outcome.change[1]:
            return "the server differs from visit to visit"
        return f"the server got {_how(*outcome.change)} while it was measured"
    return f"no conclusion yet{certainty}"


def _between(known: Known, kind: str) -> str:
    more = " or more" if known.high >= known.top else ""
    return f"between {load_number(known.low, kind)} and {load_text(known.high, kind)}{more}"


def percent(probability: float) -> str:
    """A probability as text: at most 99% and at least 1%, since nothing is certain."""
    return f"{min(99, max(1, round(100 * probability)))}%"


def answer(
    search: Search,
    stopped_by: Ending | None,
    numbers: Numbers,
    *,
    require: float | None = None,
    error: BenchError | None = None,
    directory: Path | None = None,
) -> Answer:
    """The answer of a search. `stopped_by` is None if the search was killed: then this is the answer from its last state."""
    outcome = conclude(search)
    lines = _lines(search, outcome, numbers)
    if require is not None:
        lines.append(_required(search, outcome, require))
    lines.append(_ending(search, stopped_by))
    if stopped_by in (None, Ending.BUDGET, Ending.INTERRUPTED, Ending.TARGET, Ending.MACHINE) and directory is not None:
        more = " --budget 1h" if stopped_by is Ending.BUDGET else ""
        lines.append(f"to continue: python -m bench search --resume {directory}{more}")
    return Answer(
        _headline(search, outcome, stopped_by, numbers),
        tuple(lines),
        _exit(search, outcome, stopped_by, require, error),
    )


def _headline(search: Search, outcome: Conclusion, stopped_by: Ending | None, numbers: Numbers) -> str:
    if stopped_by is Ending.CLIENT:
        last = search.results[-1]
        reasons = numbers.get(last.n, VisitNumbers()).reasons
        why = f" ({reasons[0]})" if reasons else ""
        so_far = f" Until then: {known_text(search, outcome)}."
        if outcome.kind is Kind.NONE:
            so_far = _scouted(search)
        elif outcome.kind in (Kind.CHANGED, Kind.NO_LOAD_HELD):
            so_far = f" {_HEADLINES[outcome.kind](search, outcome, numbers)}"
        load = load_text(last.load, search.settings.load_kind)
        return f"The client is the limit: three visits in a row were INVALID, the last at {load}{why}.{so_far}"
    if stopped_by is Ending.TARGET and outcome.kind is not Kind.NONE:
        return (
            f"The server could no longer be measured. Until then: {_HEADLINES[outcome.kind](search, outcome, numbers)}"
        )
    valid = [result for result in search.results if result.valid]
    if valid and all(result.verdict == "FAILED" for result in valid):
        begin = "No load held" if stopped_by is Ending.NOTHING_HOLDS else "No answer yet"
        which = "every visit" if len(valid) == len(search.results) else "every valid visit"
        lowest = load_text(min(result.load for result in valid), search.settings.load_kind)
        return f"{begin}: {which} FAILED, down to {lowest}."
    return _HEADLINES[outcome.kind](search, outcome, numbers)


def _up_to(search: Search, outcome: Conclusion, numbers: Numbers) -> str:
    del numbers
    kind = search.settings.load_kind
    assert outcome.known is not None
    return (
        f"It holds up to {load_text(outcome.known.estimate, kind)}: {_between(outcome.known, kind)} (about 90% sure)."
    )


def _at_least(search: Search, outcome: Conclusion, numbers: Numbers) -> str:
    kind = search.settings.load_kind
    assert outcome.at_least is not None
    (visit, *_) = [r for r, kept in search.judged if kept and r.load == outcome.at_least]
    load, values = load_text(outcome.at_least, kind), _values(search, visit, numbers)
    sure = percent(search.sure_of(outcome.at_least))
    but = _what_broke(search, outcome.at_least, kind)
    if search.sure_of_most:
        why = "--max ends the search there, and the server may hold more; "
    else:
        why = "" if but else "the highest load that was measured, and nothing broke; "
    return f"At least {load} ({sure} sure): {why}{values} there.{but}"


def _what_broke(search: Search, load: float, kind: str) -> str:
    """A sentence, preceded by a space, on visits that did not hold although this load is held; empty if there are none."""
    judged = [kept for _, kept in search.judged]
    if broken := judged.count(False):
        return f" {broken} of {len(judged)} visits did not hold."
    if search.scout_broke:
        return " Above it a short visit broke, and no full visit counts."
    if any(result.load > load for result in search.results):
        return " No full visit above it counts."
    goals = search.settings.goals
    broke = [r.load for r in search.results if evidence.counts(r) and not evidence.kept_objectives(goals, r)]
    if not broke:
        return ""
    short = "1 short visit" if len(broke) == 1 else f"{len(broke)} short visits"
    lowest = f"{'the lowest ' * (len(broke) > 1)}at {load_text(min(broke), kind)}"
    return f" {short} broke an objective, {lowest}."


def _below(search: Search, outcome: Conclusion, numbers: Numbers) -> str:
    kind = search.settings.load_kind
    assert outcome.below is not None
    (visit, *_) = [result for result, _ in search.judged if result.load == outcome.below]
    load, broken = load_text(outcome.below, kind), _broken(search, visit, numbers)
    if any(result.load < outcome.below for result in search.results):
        return f"Below {load}: there {broken}. No full visit below it counts."
    return f"Below {load}: the lowest load that was measured, and there {broken}."


def _no_load_held(search: Search, outcome: Conclusion, numbers: Numbers) -> str:
    kind = search.settings.load_kind
    if outcome.flat is not None:
        text, flat = outcome.flat
        span = f"{load_number(flat.low, kind)} to {load_text(flat.high, kind)}"
        subject = _judged(search, text)
        lowest = flat.low <= search.settings.least * (1 + 1e-9)
        which, untold = "No load", ""
        if not lowest:
            lighter = any(result.load < flat.low for result in search.results)
            few = "At lower loads too few were sent to tell" if lighter else "Lower loads were not tried"
            which, untold = f"No load from {span}", f" {few}: --max {load_number(flat.low, kind)} searches there."
        return (
            f"{which} held: the share of {subject} that break {text} does not depend on the load: {share(flat.share)} over "
            f"{flat.visits} visits{f' from {span}' * lowest}.{untold}"
        )
    assert outcome.below is not None
    (visit, *_) = [result for result, _ in search.judged if result.load == outcome.below]
    return f"No load held: at {load_text(outcome.below, kind)}, the lowest allowed, {_broken(search, visit, numbers)}."


def _changed(search: Search, outcome: Conclusion, numbers: Numbers) -> str:
    assert outcome.change is not None
    text, change = outcome.change
    goal = next(goal for goal in search.settings.goals if goal.text == text)
    pair = apart_in_time(search, goal, change)
    if pair is None and not change:
        observation = f"visits broke {text} at lower loads than others that kept it"
    elif pair is None:
        observation = f"later visits broke {text} at {'lower' if change < 0 else 'higher'} loads than earlier ones"
    else:
        first, last = pair
        values = [_observed(goal, result, numbers) for result in pair]
        kind = search.settings.load_kind
        at = " and ".join(dict.fromkeys(load_text(result.load, kind) for result in pair))
        observation = f"at {at}, {text}: {values[0]} in visit {first.n}, {values[1]} in visit {last.n}"
    if not change:
        return f"No capacity is named: {observation}. The server differs from visit to visit."
    how = _how(text, change)
    return f"No capacity is named: {observation}. The server got {how} while it was measured, or differs from visit to visit."


def _how(text: str, change: float) -> str:
    """How a server changed. A share says nothing about its speed."""
    words = ("better", "worse") if text.startswith(("error_rate", "goodput", *ANSWER_SHARES)) else ("faster", "slower")
    return words[change < 0]


def _observed(goal: Goal, result: Result, numbers: Numbers) -> str:
    """The value of an objective in a visit, from the summary if it exists; else the share that broke it."""
    row = numbers.get(result.n, VisitNumbers()).objectives.get(goal.text)
    if row is not None and row.value is not None:
        return measured(row.value, row.unit)
    if goal.allowed is None:
        return _off(result.means[goal.text].log_ratio) if goal.text in result.means else "no value"
    broken = result.share(goal.text)
    return "no value" if broken is None else f"{share(broken)} broken"


def _off(log_ratio: float) -> str:
    """How far a mean is from its limit, as text; a mean beyond its limit breaks it."""
    off = 100 * math.expm1(log_ratio)
    return f"{abs(off):.0f}% {'beyond' if off > 0 else 'within'} its limit"


def _none(search: Search, outcome: Conclusion, numbers: Numbers) -> str:
    del outcome, numbers
    kind = search.settings.load_kind
    judged = search.judged
    load = max((result.load for result, kept in judged if kept), default=None)
    if load is not None:
        sure = percent(search.sure_of(load))
        return f"Not shown: no objective broke at {load_text(load, kind)}, but it is only {sure} sure that this load is held."
    if judged:
        broken = min(result.load for result, _ in judged)
        sure = percent(1 - search.sure_of(broken))
        return f"Not shown: a visit to {load_text(broken, kind)} broke, but that it is not held is only {sure} sure."
    return f"No answer yet.{_scouted(search)}"


_HEADLINES: dict[Kind, Callable[[Search, Conclusion, Numbers], str]] = {
    Kind.UP_TO: _up_to,
    Kind.AT_LEAST: _at_least,
    Kind.BELOW: _below,
    Kind.NO_LOAD_HELD: _no_load_held,
    Kind.CHANGED: _changed,
    Kind.NONE: _none,
}


def _scouted(search: Search) -> str:
    hint = hinted(search)
    return f" Short visits only hint: {hint}." if hint else " No visit has ended."


def hinted(search: Search) -> str:
    """What the scouts hint at, as text; empty if there are none."""
    kind, hints = search.settings.load_kind, search.estimates.hints
    broke = [result.load for result in hints if search.broke(result)]
    calm = [result.load for result in hints if not search.broke(result)]
    parts = [f"nothing clearly broke up to {load_text(max(calm), kind)}"] if calm else []
    parts += [f"{load_text(min(broke), kind)} broke"] if broke else []
    return ", ".join(parts)


def _lines(search: Search, outcome: Conclusion, numbers: Numbers) -> list[str]:
    known, kind = outcome.known, search.settings.load_kind
    short = []
    if outcome.answers and (longest_s := max(result.measure_s for result in search.visits)) < SHORT_S:
        short = [
            f"no visit measured over {duration(longest_s)}: a pause of the server may look like an edge, or stay unseen"
        ]
    if outcome.answers:
        short += _too_few(search)
    unsteady = [str(r.n) for r, kept in search.judged if kept and numbers.get(r.n, VisitNumbers()).unsteady]
    if outcome.answers and len(unsteady) >= _UNSTEADY:
        short.append(
            f"the server became slower or faster within visits that held ({', '.join(unsteady)}): one that is fast and "
            "slow in turn may look like an edge, and hold less"
        )
    if known is None:
        return [*_beyond_reach(search), *_unmeasured(search), *short]
    keeps_up = "the server keeps up, and beyond it requests pile up"
    lines = [f"what binds: {keeps_up if known.binding == KEEPS_UP else known.binding}"]
    goal = next((goal for goal in search.settings.goals if goal.text == known.binding), None)
    if goal is not None and goal.allowed is not None:
        broke = [r for r in search.visits if (r.share(goal.text) or 0.0) > goal.allowed]
        lines += [f"{failures}: read their errors" for failures in [_failures(goal, broke, numbers)] if failures]
    if known.held is not None:
        load, sure = known.held
        lines.append(f"held: {load_text(load, kind)} ({percent(sure)} sure)")
    if known.failed is not None:
        load, sure = known.failed
        lines.append(f"not held: {load_text(load, kind)} ({percent(1 - sure)} sure)")
    fit = search.estimates.fits.get(known.binding)
    if fit is not None and fit.spread > SCATTERS:
        lines.append(f"visits scatter {fit.spread:.1f} times as much as chance explains: the interval allows for it")
    return [*lines, *short]


def _too_few(search: Search) -> list[str]:
    """Objectives on which the visits that held judged too few requests to show, with 95%, that the allowed share is not
    exceeded.

    If a share p breaks an objective, the chance that n requests all keep it is (1 - p)^n.
    """
    lines = []
    for goal in search.settings.goals:
        if goal.allowed is None:
            continue
        count = sum(result.judged(goal.text) for result, kept in search.judged if kept)
        if count < (needed := math.ceil(math.log(0.05) / math.log(1 - goal.allowed))):
            lines.append(
                f"{goal.text} was seen on {count:,} {_judged(search, goal.text)} in the visits that held, and {needed:,} are "
                f"the least that show that at most {share(goal.allowed)} break it: how sure the answer is rests on how "
                "servers usually break"
            )
    return lines


def _unmeasured(search: Search) -> list[str]:
    """Names the objectives about which no full visit says anything."""
    lines = []
    for goal in search.settings.goals:
        if search.visits and all(evidence.unmeasured((goal,), result) for result in search.visits):
            why = (
                "under 20 values in each visit: use a quantile, or a longer --budget"
                if goal.allowed is None
                else f"none of the {_judged(search, goal.text)} could be judged"
            )
            lines.append(f"{goal.text} is not shown: {why}")
    return lines


def _beyond_reach(search: Search) -> list[str]:
    """Names the latency objectives that every request broke at two loads or more: a lower load may not help."""
    results = [result for result in search.results if evidence.counts(result)]
    loads = {result.load for result in results}
    if len(loads) < 2:
        return []
    lowest = load_text(min(loads), search.settings.load_kind)
    return [
        f"every request broke {goal.text}, even at {lowest}: the server may miss it without any load"
        for goal in search.settings.goals
        if goal.allowed is not None and all(result.share(goal.text) == 1.0 for result in results)
    ]


def _required(search: Search, outcome: Conclusion, require: float) -> str:
    kind = search.settings.load_kind
    load = load_text(require, kind)
    if outcome.below is not None and outcome.below <= require:
        return f"required: {load} is not held: {load_text(outcome.below, kind)} broke"
    if not outcome.answers:
        return f"required: {load}; whether it is held is not shown"
    sure = search.sure_of(require)
    if holds(search, outcome, require):
        return f"required: {load} is held ({percent(sure)} sure)"
    if outcome.kind is Kind.UP_TO and sure <= UNSURE:
        return f"required: {load} is not held ({percent(1 - sure)} sure)"
    not_shown = f"required: {load} is not shown to be held"
    reached = [result.load for result, kept in search.judged if kept and result.load >= require]
    if not reached and (outcome.kind is Kind.AT_LEAST or sure >= SURE):
        return f"{not_shown}: no visit at or above it held"
    if reached:  # The load of that visit must be sure, not the lower one.
        sure = max(search.sure_of(tried) for tried in reached)
    return f"{not_shown}: {percent(sure)} sure, and {percent(SURE)} is asked for"


_WHY: dict[Ending | None, str] = {
    None: "it was killed, or still runs",
    Ending.PRECISION: "the interval is as narrow as asked for",
    Ending.BUDGET: "the budget was spent",
    Ending.CLIENT: "this client cannot measure more",
    Ending.NOTHING_HOLDS: "no load holds every objective",
    Ending.NEVER_FAILS: "--max allows no higher load",
    Ending.INTERRUPTED: "interrupted",
    Ending.TARGET: "the server could no longer be measured",
    Ending.MACHINE: "this machine refused to go on",
}


def _ending(search: Search, stopped_by: Ending | None) -> str:
    n = len(search.results)
    visits = "1 visit" if n == 1 else f"{n} visits"
    lost = {word: sum(result.verdict == word for result in search.results) for word in ("INVALID", "FAILED")}
    parts = [f"{count} {word}" for word, count in lost.items() if count]
    counted = f"{visits} ({', '.join(parts)})" if parts else visits
    return f"ended: {_WHY[stopped_by]}, after {counted} and {duration(search.seconds)}"


def _broken(search: Search, result: Result, numbers: Numbers) -> str:
    """What a visit broke, as text: ttft:p99 is 640 ms."""
    rows = numbers.get(result.n, VisitNumbers()).objectives
    for goal in search.settings.goals:
        row = rows.get(goal.text)
        if row is not None and row.value is not None and not row.held:
            return _value(row)
    for goal in search.settings.goals:
        mean, broken = result.means.get(goal.text), result.share(goal.text)
        if mean is not None and mean.log_ratio > 0:
            return f"{goal.text} is {_off(mean.log_ratio)}"
        if goal.allowed is not None and broken is not None and broken > goal.allowed:
            because = f" ({failures})" if (failures := _failures(goal, [result], numbers)) else ""
            return f"{share(broken)} of the {_judged(search, goal.text)} break {goal.text}{because}"
    return "requests pile up: the server does not keep up"


def _failures(goal: Goal, visits: Sequence[Result], numbers: Numbers) -> str:
    """A note that most requests that broke an objective in these visits failed: a failed request breaks every
    objective. Empty if most did not fail, if the objective is on failures, or if it judges only some of the
    requests."""
    visits = [r for r in visits if goal.text not in r.about and goal.text not in r.jobs]
    broke = sum(result.violations.get(goal.text, 0) for result in visits)
    failed = sum(numbers.get(result.n, VisitNumbers()).failed for result in visits)
    if not visits or 2 * failed <= broke or goal.text.startswith("error_rate"):
        return ""
    return f"{min(failed, broke):,} of the {broke:,} requests that broke it failed"


def _judged(search: Search, text: str) -> str:
    return "jobs" if any(text in result.jobs for result in search.results) else "requests"


def _values(search: Search, result: Result, numbers: Numbers) -> str:
    rows = numbers.get(result.n, VisitNumbers()).objectives
    values = [_value(rows[goal.text]) for goal in search.settings.goals if goal.text in rows]
    shares = [
        f"{goal.text} is {_off(result.means[goal.text].log_ratio)}"
        if goal.text in result.means
        else f"{share(broken)} broke {goal.text}"
        for goal in search.settings.goals
        if goal.text in result.means or (goal.allowed is not None and (broken := result.share(goal.text)) is not None)
    ]
    return ", ".join(values or shares) or "no value"


def _value(row: ObjectiveResult) -> str:
    """The measured value of an objective, as text."""
    name = row.metric if row.stat is None else f"{row.metric}:{row.stat}"
    if row.value is None:
        return f"{name} has no value"
    return f"{name} is {measured(row.value, row.unit)}"


def _exit(
    search: Search, outcome: Conclusion, stopped_by: Ending | None, require: float | None, error: BenchError | None
) -> Exit:
    if error is not None:
        return error.exit_code
    if stopped_by is Ending.CLIENT:
        return Exit.INVALID
    if stopped_by is Ending.TARGET or (
        stopped_by is Ending.NOTHING_HOLDS
        and all(result.verdict == "FAILED" for result in search.results if result.valid)
    ):
        return Exit.TARGET
    if outcome.kind is Kind.NONE and stopped_by is Ending.INTERRUPTED:
        return Exit.INTERRUPTED
    good = outcome.answers if require is None else holds(search, outcome, require)
    return Exit.GOOD if good else Exit.OBJECTIVE_FAILED
