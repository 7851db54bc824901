"""Turns readings into the numbers that each tool would have printed: `compat` of a summary."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bench.clock import NS_PER_MS
from bench.metrics.bounds import meaningless
from bench.metrics.compat.readings import NEVER, Readings
from bench.metrics.compat.tool import Gaps, PerToken, Quantiles, Tokens, Tool
from bench.metrics.histogram import LogHistogram, Snapshot
from bench.metrics.quantile import quantile
from bench.records.record_table import Floats, Ints
from bench.results.numbers import Metric, Printed, ToolColumn

STATS = ("mean", "p50", "p99")
"""The statistics of each number: those that all of these tools print."""

_ORDERS = {"p50": 0.5, "p99": 0.99}

WORTH_SAYING = 1e-3
"""A number within this share of ours gets no sentence: quantiles from a histogram are no more exact."""

_WITHOUT_COUNT = (
    "{n:,} of {of:,} requests have no count of that kind in their record (it needs --tokenizer): the server's usage or our "
    "own count is used instead."
)
_WITHOUT_GAPS = "{n:,} of {of:,} requests have chunks whose number of tokens is not known."
_RANKS = "Quantiles are values that occurred (nearest rank), not between two of them."
_NOT_PRINTED = "it prints no such number"
_UNKNOWN = "{name}: {stats} cannot be told, because tokens came several in one read."
_NONE = "no request gave a value"

Numbers = dict[str, float | int | None]


@dataclass(frozen=True, slots=True)
class OurNumbers:
    """Our own numbers of the same run."""

    latency: Mapping[str, Metric]
    output_tokens: int


class ToolNumbers:
    """The numbers of every tool. Distributions shared by several tools are computed once."""

    def __init__(self, readings: Readings, between_tokens: LogHistogram) -> None:
        self._readings = readings
        self._between_tokens = between_tokens
        self._known: dict[tuple[object, ...], Numbers] = {}
        self._gaps: dict[Gaps, tuple[LogHistogram, Snapshot]] = {}

    def of(self, tool: Tool, duration_s: float | None, ours: OurNumbers) -> ToolColumn:
        """What a tool would have printed for the run."""
        n = self._total(tool.tokens)
        values: dict[str, Numbers | None] = {
            "ttft_ms": self._ttft(tool),
            "e2el_ms": self._e2el(tool),
            "tpot_ms": None if tool.tpot is None else self._per_token(tool.tpot, tool),
            "itl_ms": None if tool.itl is None else self._itl(tool.itl, tool),
        }
        missing = {name: _NOT_PRINTED for name in values if getattr(tool, name.removesuffix("_ms")) is None}
        without = self._readings.without
        if tool.itl == "retokenised" and without["retokenised"]:
            missing["itl_ms"] = _WITHOUT_GAPS.format(n=without["retokenised"], of=self._readings.requests)
        for name, numbers in values.items():
            if numbers is not None and not numbers["n"]:
                missing.setdefault(name, _NONE)
        printed = {name: None if name in missing else numbers for name, numbers in values.items()}
        differences = self._differences(tool, printed, n, ours)
        for name, numbers in printed.items():
            if numbers is not None:
                printed[name], unknown = _as_known(numbers, ours.latency[_same_times(tool, name)])
                if unknown:
                    differences.append(_UNKNOWN.format(name=name.removesuffix("_ms").upper(), stats=", ".join(unknown)))
        return ToolColumn(
            title=tool.title,
            version=tool.version,
            **{name: None if numbers is None else _printed(numbers) for name, numbers in printed.items()},
            output_tokens=n,
            requests_per_s=self._readings.requests / duration_s if duration_s else None,
            output_tokens_per_s=n / duration_s if duration_s else None,
            missing=missing,
            differences=differences,
        )

    def _differences(self, tool: Tool, printed: Mapping[str, Numbers | None], n: int, ours: OurNumbers) -> list[str]:
        """A sentence for each number that differs from ours in this run because of its definition."""
        sentences = []
        for name, sentence in tool.differs.items():
            numbers = printed.get(name)
            if name == "output_tokens":
                differs = _differ(n, ours.output_tokens)
            elif numbers is None:
                continue
            else:
                differs = any(_differ(numbers[stat], ours.latency[name].of(stat)) for stat in STATS)
            if differs:
                sentences.append(sentence)
        if tool.quantiles == "rank" and any(
            numbers is not None and _differ(numbers["p99"], ours.latency[name].p99) for name, numbers in printed.items()
        ):
            sentences.append(_RANKS)
        if self._readings.without[tool.tokens]:
            sentences.append(
                "Output tokens: "
                + _WITHOUT_COUNT.format(n=self._readings.without[tool.tokens], of=self._readings.requests)
            )
        return sentences

    def _total(self, tokens: Tokens) -> int:
        return int(self._readings.tokens(tokens).sum())

    def _ttft(self, tool: Tool) -> Numbers:
        readings, mark = self._readings, self._readings.same_first(tool.ttft)
        return self._once(
            ("ttft", mark, tool.quantiles), lambda: _numbers(_happened(readings.first(mark)), tool.quantiles)
        )

    def _e2el(self, tool: Tool) -> Numbers:
        readings, mark = self._readings, self._readings.same_last(tool.e2el)
        return self._once(
            ("e2el", mark, tool.quantiles), lambda: _numbers(_happened(readings.last(mark)), tool.quantiles)
        )

    def _per_token(self, rule: PerToken, tool: Tool) -> Numbers:
        readings = self._readings
        first = None if rule.first is None else readings.same_first(rule.first)
        last = readings.same_last(rule.last)

        def compute() -> Numbers:
            stops, weights = readings.last(last), readings.tokens(tool.tokens) - rule.less
            starts = stops * 0 if first is None else readings.first(first)
            has = (weights > 0) & (starts != NEVER) & (stops != NEVER)
            values, weights = (stops - starts)[has] / weights[has], weights[has]
            return _weighted(values, weights) if rule.weighted else _numbers(values, tool.quantiles)

        tokens = readings.same_tokens(tool.tokens)
        return self._once(("per token", first, last, tokens, rule.less, rule.weighted, tool.quantiles), compute)

    def _once(self, key: tuple[object, ...], compute: Callable[[], Numbers]) -> Numbers:
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def _itl(self, rule: PerToken | Gaps, tool: Tool) -> Numbers:
        if isinstance(rule, PerToken):
            return self._per_token(rule, tool)
        if rule not in self._gaps:
            histogram = self._readings.gaps(rule, self._between_tokens)
            self._gaps[rule] = histogram, histogram.snapshot()
        histogram, snapshot = self._gaps[rule]
        if not snapshot.n:
            return _nothing()
        quantiles = {
            name: snapshot.quantile(p) if tool.quantiles == "linear" else snapshot.at_rank(_rank(snapshot.n, p))
            for name, p in _ORDERS.items()
        }
        statistics = {"mean": histogram.total / histogram.count, **quantiles}
        return {"n": snapshot.n, **{name: value / NS_PER_MS for name, value in statistics.items()}}


def _printed(numbers: Numbers) -> Printed:
    n = numbers["n"]
    assert isinstance(n, int)
    return Printed(n=n, mean=numbers["mean"], p50=numbers["p50"], p99=numbers["p99"])


def _same_times(tool: Tool, name: str) -> str:
    """The metric of ours that is computed from the same stamps as a tool's number."""
    rule = {"tpot_ms": tool.tpot, "itl_ms": tool.itl}.get(name)
    if isinstance(rule, PerToken):
        return "e2el_ms" if rule.first is None else "tpot_ms"
    return name


def _as_known(numbers: Numbers, ours: Metric) -> tuple[Numbers, list[str]]:
    """The numbers without those that the stamps leave unknown, and the names of the unknown ones."""
    unknown = [stat for stat in STATS if meaningless(ours, stat)]
    return numbers | dict.fromkeys(unknown), unknown


def _differ(value: float | None, ours: float | None) -> bool:
    if value is None or ours is None:
        return value is not ours
    return abs(value - ours) > WORTH_SAYING * abs(ours)


def _nothing() -> Numbers:
    return {"n": 0, **dict.fromkeys(STATS)}


def _happened(column: Ints) -> Ints:
    present: Ints = column[column != NEVER]
    return present


def _rank(n: int, p: float) -> int:
    """The rank, from 0, of the least value that the share p of n values does not exceed: ceil(n p) - 1."""
    return max(math.ceil(n * p) - 1, 0)


def _numbers(values_ns: Ints | Floats, quantiles: Quantiles) -> Numbers:

    ordered = np.sort(values_ns).tolist()
    n = len(ordered)
    if not n:
        return _nothing()
    order_stats = {
        name: quantile(ordered, p) if quantiles == "linear" else ordered[_rank(n, p)] for name, p in _ORDERS.items()
    }
    statistics = {"mean": math.fsum(ordered) / n, **order_stats}
    return {"n": n, **{name: value / NS_PER_MS for name, value in statistics.items()}}


def _weighted(values_ns: Floats, weights: Ints) -> Numbers:
    """The numbers of weighted values: a quantile is the least value up to which the share p of the weight lies."""
    if not len(values_ns):
        return _nothing()
    order = np.argsort(values_ns, kind="stable")
    up_to = np.cumsum(weights[order])
    whole = int(up_to[-1])
    quantiles = {name: float(values_ns[order[np.searchsorted(up_to, p * whole)]]) for name, p in _ORDERS.items()}
    mean = math.fsum((values_ns * weights).tolist()) / whole
    return {"n": len(order), "mean": mean / NS_PER_MS, **{name: value / NS_PER_MS for name, value in quantiles.items()}}
