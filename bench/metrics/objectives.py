"""Service level objectives, such as `ttft:p99<500ms`, and the part of the load that met them.

The grammar: METRIC[{model=NAME}|{class=NAME}|{target=NAME}][:STATISTIC] OP LIMIT[UNIT]; spaces are ignored.

    METRIC     a latency of the catalog (ttft, tpot, itl, e2el, tps, ...), with a statistic (default p99):
               mean, min, max, p50, p75, p90, p95, p99, p999
               or a share of its requests: error_rate, or goodput, of those that keep every limit on a latency beside it
               or a share of its checked answers (--check-answers): accuracy, consistency, valid_json
               or a number of the run, without one: requests_per_s, inputs_per_s, input_tokens_per_s,
               output_tokens_per_s, total_tokens_per_s
               or of the jobs of sessions: job (seconds, with a statistic), jobs_per_hour_per_user, jobs_per_hour,
               jobs_per_hour_per_gpu
    OP         <  <=  for what is better when low: latencies, error_rate
               >  >=  for what is better when high: rates, tps, goodput, checked answers
    UNIT       us, ms or s for times; % for shares (without it, a share below 1); none for the rest
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from bench.clock import NS_PER_MS
from bench.errors import UsageError
from bench.metrics import sureness
from bench.metrics.bounds import meaningless
from bench.metrics.catalog import METRICS, RequestMetric
from bench.metrics.quantile import lower_quantiles, quantile
from bench.metrics.run_numbers import JOB, JOB_NUMBERS, JOB_RATES, NO_NUMBER, Numbers
from bench.records.record_table import Floats, Mask, RecordTable
from bench.results.answers import ANSWER_SHARES
from bench.results.numbers import QUANTILES
from bench.results.summary import ObjectiveResult, Slo

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
STATS = ("mean", "min", "max", *QUANTILES)
SHARES = ("error_rate", "goodput")
"""Shares of the requests."""
RUN_NUMBERS = (
    *SHARES,
    *ANSWER_SHARES,
    "requests_per_s",
    "inputs_per_s",
    "input_tokens_per_s",
    "output_tokens_per_s",
    "total_tokens_per_s",
    *JOB_RATES,
)
"""Numbers of the whole run, which take no statistic."""
_BETTER_HIGH = frozenset({"tps", *RUN_NUMBERS}) - {"error_rate"}
_NO_DIRECTION = frozenset({"audio"})
"""The length of audio does not measure a server."""

BETWEEN_TOKENS = frozenset({"tpot", "itl", "tps", "chunk_gap"})
"""The metrics that need a second token."""

_TIMES_TO_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_SCALE_OF_TIMES = {"ms": 1.0, "s": 0.001}
_FORM = re.compile(r"([a-z][a-z0-9_]*)(?::([a-z0-9_.]+))?(<=|>=|<|>)([0-9.]+(?:e[+-]?[0-9]+)?)([a-z%/]*)")


PARTS = {"model": "model", "class": "traffic_class", "target": "target"}
"""The parts of a run to which an objective may be limited, and the record field that names the part."""
_OF_PART = re.compile(r"([^{]*?)\s*\{\s*(model|class|target)\s*=\s*(.+?)\s*\}([^}]*)")


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective; `limit` is in `unit`, the unit of the metric. `stat` is None for a number of the run."""

    text: str
    metric: str
    stat: str | None
    op: str
    limit: float
    unit: str
    part: tuple[str, str] | None = None
    """The part of the requests to which it is limited, as kind and name: ("model", "a") or ("class", "chat")."""
    limits: tuple[Objective, ...] = ()
    """For goodput: the limits on latencies that a good request meets (`with_limits`)."""

    def broken(self, table: RecordTable) -> Mask:
        """For a share: the requests that count against it. The table never contains requests cancelled as planned."""
        return ~meet_all(table, self.limits) if self.metric == "goodput" else ~table.ok

    def applies_to(self, table: RecordTable) -> Mask:
        if self.part is None:
            return np.ones(len(table), dtype=np.bool_)
        return table.equals(PARTS[self.part[0]], self.part[1])

    def of(self, kind: str, name: str) -> Objective:
        """The same objective for one part of a run."""
        metric, rest = re.fullmatch(r"\s*(\w+)(.*)", self.text, re.DOTALL).groups()  # type: ignore[union-attr]
        return replace(self, text=f"{metric}{{{kind}={name}}}{rest}", part=(kind, name))

    @property
    def of_requests(self) -> bool:
        """Whether it limits a latency of single requests."""
        return self.metric in METRICS

    @property
    def of_answers(self) -> bool:
        return self.metric in ANSWER_SHARES

    @property
    def of_jobs(self) -> bool:
        return self.metric in JOB_NUMBERS

    def holds(self, value: float) -> bool:
        """Whether a value of the metric meets the limit."""
        return OPERATORS[self.op](value, self.limit)


def parse(texts: Iterable[str]) -> tuple[Objective, ...]:
    """The objectives of `--slo` flags. Raises UsageError with one sentence for each invalid one."""
    problems: list[str] = []
    objectives: list[Objective] = []
    for text in texts:
        try:
            objectives.append(parse_one(text))
        except UsageError as e:
            problems += e.problems
    if problems:
        raise UsageError(problems)
    return with_limits(objectives)


def with_limits(objectives: Iterable[Objective], otherwise: Iterable[Objective] = ()) -> tuple[Objective, ...]:
    """The objectives, with limits added to goodput: the limits on latencies among the objectives, or those in
    `otherwise` if there are none. Raises UsageError if neither has any."""
    given = tuple(objectives)
    limits = tuple(slo for slo in given if slo.of_requests) or tuple(slo for slo in otherwise if slo.of_requests)
    problems = [
        f'--slo "{slo.text}": goodput is the share of requests that keep every limit on a latency, and there is none: give '
        'one beside it, for example --slo "ttft:p99<500ms"'
        for slo in given
        if slo.metric == "goodput" and not limits
    ]
    if problems:
        raise UsageError(problems)
    return tuple(replace(slo, limits=limits) if slo.metric == "goodput" else slo for slo in given)


def parse_one(text: str) -> Objective:
    """Parse one objective. Raises UsageError, which explains the problem and the correct form."""
    of_part = _OF_PART.fullmatch(text)
    if of_part is not None:
        before, kind, name, behind = of_part.groups()
        return replace(_parse_plain(text, before + behind), part=(kind, name))
    return _parse_plain(text, text)


def from_user(text: str) -> Objective:
    """Parse one objective of a user. Also raises UsageError if it limits the good side of a number. Files of 0.1.0
    contain such objectives, so `parse_one` accepts them."""
    objective = parse_one(text)
    high = objective.metric in _BETTER_HIGH
    if objective.metric in _NO_DIRECTION or objective.op.startswith(">" if high else "<"):
        return objective
    before, after = text.rsplit(objective.op[0], 1)
    raise UsageError(
        f'--slo "{text}": {objective.metric} is better when it is {"high" if high else "low"}, so its limit is the '
        f"{'least' if high else 'most'} that you accept: write {before}{'>' if high else '<'}{after}"
    )


def _parse_plain(text: str, plain: str) -> Objective:
    """Parse an objective without its part. Errors quote `text`."""
    match = _FORM.fullmatch("".join(plain.lower().split()))
    if match is None:
        raise UsageError(f'--slo "{text}": {_about_form(plain)}')
    metric, stat, op, number, suffix = match.groups()
    known = [*METRICS, JOB, *RUN_NUMBERS]
    if metric not in known:
        raise UsageError(f'--slo "{text}": {_unknown(metric, known)}')
    try:
        limit = float(number)
    except ValueError:
        raise UsageError(f'--slo "{text}": {number!r} is not a number') from None
    if metric in RUN_NUMBERS:
        if stat is not None:
            raise UsageError(f'--slo "{text}": {metric} is one number of the run and takes no statistic')
        return _run_objective(text, metric, op, limit, suffix)
    stat = "p99" if stat is None else {"avg": "mean", "median": "p50", "p99.9": "p999"}.get(stat, stat)
    if stat not in STATS:
        raise UsageError(f'--slo "{text}": no statistic is called {stat!r}{suggest(stat, STATS)}')
    unit = "s" if metric == JOB else METRICS[metric].unit
    if unit in _SCALE_OF_TIMES:
        if not suffix:
            raise UsageError(f'--slo "{text}": {metric} needs a unit: write {number}ms, {number}s or {number}us')
        if suffix not in _TIMES_TO_MS:
            raise UsageError(f'--slo "{text}": {suffix!r} is not a unit of time; use us, ms or s')
        limit *= _TIMES_TO_MS[suffix] * _SCALE_OF_TIMES[unit]
    elif unit == "" and suffix == "%":
        limit /= 100
    elif suffix not in (("", "tokens/s", "tok/s") if unit else ("",)):
        kind = f"is in {unit}" if unit else "has no unit"
        raise UsageError(f'--slo "{text}": {metric} {kind} and takes no {suffix!r}')
    return Objective(text, metric, stat, op, limit, unit)


def _about_form(plain: str) -> str:
    several = [part.strip() for part in re.split(r"[,;&]+|\band\b", plain)]
    if all(_FORM.fullmatch("".join(part.lower().split())) for part in several):
        return "a flag takes one objective: write " + " ".join(f'--slo "{part}"' for part in several)
    return "not of the form METRIC:STATISTIC<LIMIT, for example ttft:p99<500ms"


def _run_objective(text: str, metric: str, op: str, limit: float, suffix: str) -> Objective:
    if metric in SHARES or metric in ANSWER_SHARES:
        if suffix not in ("", "%"):
            example = "1% or 0.01" if metric == "error_rate" else "95% or 0.95"
            raise UsageError(f'--slo "{text}": {suffix!r} is not a unit of {metric}; use {example}')
        if not suffix and limit >= 1:
            raise UsageError(
                f'--slo "{text}": {limit:g} without a unit is {limit * 100:g}% of all requests: write {limit:g}%'
            )
        if limit > 100:
            raise UsageError(f'--slo "{text}": {limit:g}% is more than all requests: give at most 100%')
        return Objective(text, metric, None, op, limit / 100 if suffix == "%" else limit, "share")
    if metric in JOB_RATES:
        if suffix not in ("", "/h"):
            raise UsageError(f'--slo "{text}": {metric} is a number per hour and takes no {suffix!r}')
        return Objective(text, metric, None, op, limit, "1/h")
    if suffix not in ("", "/s"):
        raise UsageError(f'--slo "{text}": {metric} is a number per second and takes no {suffix!r}')
    return Objective(text, metric, None, op, limit, "1/s")


def _unknown(metric: str, known: Iterable[str]) -> str:
    if re.fullmatch(r"mean|p\d+", metric):
        return f"{metric} of which number? Write for example ttft:{metric}<500ms"
    return f"no metric is called {metric!r}{suggest(metric, known)}"


def suggest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known word, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(names) or 'none'}"


def meet_all(table: RecordTable, objectives: Iterable[Objective]) -> Mask:
    """Which requests met every limit on a latency, as counted by goodput.

    Here, a limit on a quantile of a request metric limits the request's own value. For a token metric it limits the
    same statistic over the request's own tokens. A metric that the request does not have (the TPOT of one token) cannot
    break a limit. A failed request meets no limit.
    """
    good = table.ok.copy()
    for objective in objectives:
        if objective.of_requests:
            values = own_values(objective, table)
            within = np.isnan(values) | OPERATORS[objective.op](values, objective.limit)  # type: ignore[arg-type]
            good &= within | ~objective.applies_to(table)
    return good


def own_values(objective: Objective, table: RecordTable) -> Floats:
    """The value of an objective's metric for each request, in its unit; NaN if there is none."""
    metric = METRICS[objective.metric]
    if isinstance(metric, RequestMetric):
        return metric.of(table)
    assert objective.stat is not None
    pauses = metric.of(table)
    by_request = np.split(pauses.ns, pauses.starts(len(table))[1:-1])
    return (
        np.array([_statistic(np.sort(ns).tolist(), objective.stat) for ns in by_request], dtype=np.float64) / NS_PER_MS
    )


def _statistic(ascending: Sequence[float], stat: str) -> float:
    if not ascending:
        return math.nan
    if stat == "mean":
        return sum(ascending) / len(ascending)
    return quantile(ascending, {"min": 0.0, "max": 1.0, **QUANTILES}[stat])


def evaluate(
    objectives: Iterable[Objective], whole: Numbers, parts: Mapping[tuple[str, str], Numbers] = MappingProxyType({})
) -> Slo:
    """Each objective with its value and whether it held: `slo` of a summary.

    `whole` has the numbers of the run, `parts` those of its models and classes, by kind and name.

    `held` is about the value itself, `shown` about its whole interval: "held", "failed", or "not shown" if the limit
    lies inside or there are too few independent values. A limit that a lower quantile certainly breaks is "failed" too.

    An objective without a value (every request failed) did not hold. A value whose bounds are further apart than the
    value itself is judged by the worse end of its bounds. `held` of all is None if there are no objectives, or no
    request on which they could be checked.
    """
    rows = [
        _judged(objective, whole if objective.part is None else parts.get(objective.part)) for objective in objectives
    ]
    measured = whole.error_rate is not None or any(row.value is not None for row in rows)
    return Slo(held=all(row.held for row in rows) if rows and measured else None, objectives=rows)


def _judged(objective: Objective, part: Numbers | None) -> ObjectiveResult:
    """Judge an objective by the numbers of its part; None if no request belongs to that part."""
    number = NO_NUMBER if part is None else part.number(objective.metric, objective.stat)
    value, row, stat = number.value, number.row, objective.stat
    between = row.bounds[stat] if row is not None and stat is not None and meaningless(row, stat) else None
    return ObjectiveResult(
        objective=objective.text,
        metric=objective.metric,
        stat=objective.stat,
        op=objective.op,
        limit=objective.limit,
        unit=objective.unit,
        value=value,
        ci95=number.ci95,
        between=between,
        held=value is not None and all(objective.holds(end) for end in _ends(value, between)),
        shown="not shown" if part is None or between is not None else _shown(objective, part, number.ci95),
    )


def _shown(objective: Objective, part: Numbers, interval: Sequence[float] | None) -> str:
    """What the interval shows. If a quantile has no interval, a lower quantile that is certainly above an upper limit
    shows that this one is too. Only the highest lower quantile with an interval is used, so that chance does not get a
    second opportunity to fail the objective."""
    upper = objective.op in ("<", "<=")
    verdict = sureness.shown(interval, objective.limit, upper=upper)
    if interval is not None or not upper or objective.stat not in QUANTILES:
        return verdict
    lower = (part.number(objective.metric, name).ci95 for name in lower_quantiles(objective.stat))
    highest = sureness.shown(next((ends for ends in lower if ends is not None), None), objective.limit, upper=True)
    return verdict if highest == "held" else highest


def _ends(value: float, between: Sequence[float | None] | None) -> tuple[float, float]:
    """The limits of a value. None means no limit."""
    if between is None:
        return value, value
    least, greatest = between
    return value if least is None else least, math.inf if greatest is None else greatest
