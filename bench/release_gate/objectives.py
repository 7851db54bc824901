"""Judges an objective by the runs of a gate: it fails if the whole interval lies beyond the limit.

one or two runs    the interval of each run (corrected for dependence): failed or held where all of them say so
three and more     Student's t over the runs, as long as they hold enough independent values together; of a share of answers
                   at least the mean of their intervals, because all may ask the same few probes
error_rate         of all requests together: Wilson's interval with n / D in place of n; so is goodput, from the records;
                   to hold, it must be within by Student's t over three or more runs, too
too few values     a limit from above fails where a lower quantile is beyond it for sure: the higher one is beyond it then;
                   a limit fails where every request is beyond it, and that is no accident

An objective for one class or model is judged in the same way by the requests of that class or model, with the D of the
run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from bench.comparison.request_values import good_requests
from bench.comparison.sides import MeasuredRun
from bench.errors import UsageError
from bench.metrics.bounds import meaningless
from bench.metrics.catalog import METRICS, REQUEST_METRICS
from bench.metrics.objectives import SHARES, Objective
from bench.metrics.quantile import lower_quantiles
from bench.metrics.run_numbers import LISTS, number_of, part_of, parts_of
from bench.release_gate.baseline import failures, independent_values
from bench.results.answers import ANSWER_SHARES
from bench.results.baseline import BaselineRun
from bench.results.numbers import QUANTILES, may_break
from bench.results.summary import PartNumbers, SummaryNumbers
from bench.statistics.between_runs import events_act
from bench.statistics.gate import LEAST_CANDIDATES, Verdict, objective
from bench.statistics.intervals import LEAST_FOR_MEAN, MEAN_SAFETY, TAIL, Interval, mean_dependence, values_needed
from bench.statistics.student import t_quantile

TOO_FEW = "too few independent values"
UNLIKE = "the runs differ by so much that others like them may break it"
OPEN = "tokens shared reads, so that it is only known within bounds that are further apart than its value"
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class ObjectiveVerdict:
    """The verdict on an objective, with its value over the runs and the interval. `why`: the reason if there is none."""

    objective: Objective
    value: float | None
    interval: Interval | None
    verdict: Verdict
    why: str = ""


def steady(wanted: Objective) -> Objective:
    """Returns the objective. Raises UsageError if a single request decides it (min, max)."""
    if wanted.stat in ("min", "max"):
        raise UsageError(
            f'--slo "{wanted.text}": one request decides {wanted.stat}, so that no run shows whether it holds; use p99'
        )
    return wanted


def refuse_unknown_parts(wanted: Iterable[Objective], runs: Sequence[MeasuredRun]) -> None:
    """Raises UsageError, with a sentence for each objective whose class or model no run has."""
    problems = []
    for slo in wanted:
        if any(part_of(run.summary, slo.part) is not None for run in runs):
            continue
        assert slo.part is not None, "every run has the whole of itself"
        kind, name = slo.part
        known = dict.fromkeys(part.name for run in runs for part in parts_of(run.summary, kind))
        has = f"have {', '.join(known)}" if known else f"name no {LISTS[kind]}"
        problems.append(f'--slo "{slo.text}": no request is of the {kind} {name!r}: the runs {has}')
    if problems:
        raise UsageError(problems)


def judge(wanted: Objective, runs: Sequence[MeasuredRun], entries: Sequence[BaselineRun]) -> ObjectiveVerdict:
    """The verdict on one objective, from all runs together."""
    judged = _by_itself(wanted, runs, entries)
    if judged.verdict is Verdict.NOT_SHOWN and judged.interval is None:
        lower = _below(wanted, runs, entries)
        if lower is not None and lower.verdict is Verdict.FAILED:
            why = f"{judged.why}; but {lower.objective.stat}, which is lower, is beyond the limit for sure"
            return replace(judged, verdict=Verdict.FAILED, why=why)
        if _all_break(wanted, runs, entries):
            why = f"{judged.why}; but every request of every run is beyond the limit"
            return replace(judged, verdict=Verdict.FAILED, why=why)
    return judged


def _all_break(wanted: Objective, runs: Sequence[MeasuredRun], entries: Sequence[BaselineRun]) -> bool:
    """Whether every request breaks the limit of a quantile, and that is not by chance: if the objective held, a share
    `allowed` of requests may break it, and the chance that all independent requests do is small. Runs are independent
    of each other, so each counts at least as one request."""
    if wanted.stat not in QUANTILES:
        return False
    upper = wanted.op in ("<", "<=")
    nearest = [_value(replace(wanted, stat="min" if upper else "max"), run) for run in runs]
    if any(
        value is None or objective(Interval(value, value), wanted.limit, upper) is not Verdict.FAILED
        for value in nearest
    ):
        return False
    worth = math.fsum(max(1.0, values) for values in _independent(wanted, runs, entries))
    return bool(may_break(wanted.stat, wanted.op) ** worth <= TAIL)


def _below(wanted: Objective, runs: Sequence[MeasuredRun], entries: Sequence[BaselineRun]) -> ObjectiveVerdict | None:
    """Judge the same limit on the highest lower quantile of which the runs have an interval. Returns None if there is
    none, or if the limit is a minimum. Only one quantile is tried, so that chance does not get a second opportunity to
    fail the objective."""
    if wanted.stat not in QUANTILES or wanted.op not in ("<", "<="):
        return None
    for name in lower_quantiles(wanted.stat):
        judged = _by_itself(replace(wanted, stat=name), runs, entries)
        if judged.interval is not None:
            return judged
    return None


def _by_itself(wanted: Objective, runs: Sequence[MeasuredRun], entries: Sequence[BaselineRun]) -> ObjectiveVerdict:
    upper = wanted.op in ("<", "<=")
    if any(part_of(run.summary, wanted.part) is None for run in runs):
        return ObjectiveVerdict(wanted, None, None, Verdict.FAILED, "no request is of it")
    if wanted.metric in SHARES:
        counted = _error_rate if wanted.metric == "error_rate" else _goodput
        happened, requests, n = counted(wanted, runs, entries)
        value, interval = _pooled(math.fsum(happened), sum(requests), n)
        verdict = objective(interval, wanted.limit, upper)
        shares = [events / of for events, of in zip(happened, requests, strict=True) if of]
        if interval is not None and verdict is Verdict.HELD and len(shares) >= LEAST_CANDIDATES:
            # If one run of three has all the failures, another three may have more.
            spread = _over_runs(shares)
            both = Interval(max(0.0, min(interval.low, spread.low)), min(1.0, max(interval.high, spread.high)))
            if objective(both, wanted.limit, upper) is not Verdict.HELD:
                return ObjectiveVerdict(wanted, value, both, Verdict.NOT_SHOWN, UNLIKE)
        return ObjectiveVerdict(wanted, value, interval, verdict)
    if any(_is_open(wanted, run) for run in runs):
        return ObjectiveVerdict(wanted, None, None, Verdict.NOT_SHOWN, OPEN)
    results = [_value(wanted, run) for run in runs]
    values = [value for value in results if value is not None]
    if len(values) < len(results):
        return ObjectiveVerdict(wanted, None, None, Verdict.FAILED, "no request gave a value")
    if len(runs) >= LEAST_CANDIDATES:
        lacks = _lacking(wanted, runs, entries)
        interval = None if lacks else _over_runs(values)
        if interval is not None and wanted.metric in ANSWER_SHARES:
            per_run = [ends for run in runs if (ends := _own_interval(wanted, run)) is not None]
            low, high = (fmean(ends) for ends in zip(*((bounds.low, bounds.high) for bounds in per_run), strict=True))
            interval = Interval(min(interval.low, low), max(interval.high, high))
        return ObjectiveVerdict(wanted, fmean(values), interval, objective(interval, wanted.limit, upper), lacks)
    intervals = [_own_interval(wanted, run) for run in runs]
    verdicts = {objective(interval, wanted.limit, upper) for interval in intervals}
    verdict = verdicts.pop() if len(verdicts) == 1 else Verdict.NOT_SHOWN
    known = [interval for interval in intervals if interval is not None]
    hull = Interval(min(i.low for i in known), max(i.high for i in known)) if len(known) == len(intervals) else None
    return ObjectiveVerdict(wanted, fmean(values), hull, verdict, "" if hull else TOO_FEW)


def _value(wanted: Objective, run: MeasuredRun) -> float | None:
    return None if _is_open(wanted, run) else number_of(_part(wanted, run), wanted.metric, wanted.stat).value


def _is_open(wanted: Objective, run: MeasuredRun) -> bool:
    """Whether the stamps tell so little about the number that reports print its bounds instead."""
    row = number_of(_part(wanted, run), wanted.metric, wanted.stat).row
    return row is not None and wanted.stat is not None and meaningless(row, wanted.stat)


def _part(wanted: Objective, run: MeasuredRun) -> SummaryNumbers | PartNumbers:
    part = part_of(run.summary, wanted.part)
    assert part is not None
    return part


def _own_interval(wanted: Objective, run: MeasuredRun) -> Interval | None:
    """The interval of one run's number, from its summary."""
    ends = number_of(_part(wanted, run), wanted.metric, wanted.stat).ci95
    return None if ends is None else Interval(*ends)


def _over_runs(values: Sequence[float]) -> Interval:
    """The interval of the mean over runs, computed on the log scale if all values are positive."""
    log = all(value > 0 for value in values)
    x = [math.log(value) for value in values] if log else list(values)
    reach = t_quantile(1 - TAIL, len(x) - 1) * stdev(x) / math.sqrt(len(x))
    back = math.exp if log else float
    return Interval(back(fmean(x) - reach), back(fmean(x) + reach))


def _lacking(wanted: Objective, runs: Sequence[MeasuredRun], entries: Sequence[BaselineRun]) -> str:
    """Why the runs together have too few values for the number, as text; empty if they have enough."""
    if wanted.stat is None:
        return ""
    if wanted.metric not in REQUEST_METRICS:
        return "" if any(_own_interval(wanted, run) is not None for run in runs) else TOO_FEW
    needed = values_needed(QUANTILES[wanted.stat]) if wanted.stat in QUANTILES else LEAST_FOR_MEAN
    there = math.fsum(_independent(wanted, runs, entries))
    if there >= needed:
        return ""
    return f"{TOO_FEW}: the runs hold {there:.0f} together, and {wanted.stat} takes {needed}"


def _independent(wanted: Objective, runs: Sequence[MeasuredRun], entries: Sequence[BaselineRun]) -> list[float]:
    """The number of independent values in each run that belong to the objective's class or model."""
    if wanted.metric not in REQUEST_METRICS:
        rows = (number_of(_part(wanted, run), wanted.metric, wanted.stat).row for run in runs)
        return [0.0 if row is None else row.independent for row in rows]
    return [
        independent_values(entry, wanted.metric) * _share_of_values(wanted, run)
        for run, entry in zip(runs, entries, strict=True)
    ]


def _share_of_values(wanted: Objective, run: MeasuredRun) -> float:
    """The share of a run's values of a metric that belong to the objective's class or model."""
    key = METRICS[wanted.metric].key
    whole = run.summary.latency.get(key)
    return float(_part(wanted, run).latency[key].n / whole.n) if whole is not None and whole.n else 0.0


def _error_rate(
    wanted: Objective, runs: Sequence[MeasuredRun], entries: Sequence[BaselineRun]
) -> tuple[list[float], list[int], float]:
    """How many of the objective's requests failed, and how many there are, by run; and how many independent requests they
    are worth. Their dependence is estimated from the failures; if none failed, from the requests themselves."""
    failed: list[float] = []
    requests: list[int] = []
    n = 0.0
    act = events_act(failures(entries))
    for run, entry in zip(runs, entries, strict=True):
        if not entry.requests:
            continue
        mine, lost = entry.requests, (entry.error_rate or 0.0) * entry.requests
        if wanted.part is not None:
            part = _part(wanted, run)
            assert isinstance(part, PartNumbers)
            mine, lost = part.succeeded + part.failed, part.failed
        requests.append(mine)
        failed.append(lost)
        n += mine / (MEAN_SAFETY * act) if act else entry.independent_requests * mine / entry.requests
    return failed, requests, n


def _goodput(
    wanted: Objective, runs: Sequence[MeasuredRun], entries: Sequence[BaselineRun]
) -> tuple[list[float], list[int], float]:
    """How many of the objective's requests met every limit, and the rest as `_error_rate`. If all or none did, their
    dependence is taken from the requests of the run."""
    good: list[float] = []
    requests: list[int] = []
    n = 0.0
    for run, entry in zip(runs, entries, strict=True):
        mine = good_requests(run.directory, wanted)
        known = mean_dependence(mine).d
        as_all = entry.requests / max(entry.independent_requests, 1.0)
        requests.append(len(mine))
        good.append(math.fsum(mine))
        n += len(mine) / max(known, as_all if len({*mine}) == 1 else 1.0)
    return good, requests, n


def _pooled(happened: float, requests: int, n: float) -> tuple[float | None, Interval | None]:
    """The share of all requests, with Wilson's interval for n independent ones (JASA 22, 1927)."""
    if not requests or n < 1:
        return None, None
    share = happened / requests
    center = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    reach = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    # Rounding must not put the share itself outside the interval.
    return share, Interval(max(0.0, min(share, center - reach)), min(1.0, max(share, center + reach)))
