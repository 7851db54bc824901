"""The numbers that a comparison uses: four primary numbers, which decide, and the others, which are only explored.

A number is one value of a run, taken from its summary. There are few primary numbers on purpose: each adds a chance of
a false alarm (bench/statistics/multiple.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.metrics.bounds import meaningless
from bench.metrics.catalog import METRICS, OF_FEW
from bench.metrics.run_numbers import JOB, number_of
from bench.results.numbers import QUANTILES
from bench.results.summary import RunSummary
from bench.results.tokens import input_rate
from bench.statistics.intervals import values_needed

LATENCY_FLOOR_MS = 0.5
"""A smaller change of a request's latency counts as none: it is within a scheduler's tick, and no user notices it."""
TOKEN_FLOOR_MS = 0.05
"""The same for a time between tokens, of which a reply has hundreds."""
JOB_FLOOR_S = 0.01
"""The same for a job, which is many requests."""
SHARE_MARGIN = 0.01
"""Shares of requests are compared by their difference: one percentage point."""

OF_TOKENS = frozenset({"tpot", "itl", "output_tokens_per_s", "total_tokens_per_s"})
"""Numbers that depend on how a reply's tokens are counted."""
_BETWEEN_TOKENS = frozenset({"tpot", "itl", "chunk_gap"})


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a run. A latency has `metric` and `stat`; for other numbers, `metric` is the name in the summary."""

    metric: str
    stat: str | None
    title: str
    unit: str
    higher_is_worse: bool
    floor: float = 0.0
    inputs_are: str | None = None
    """The input type (such as texts) of the requests that have this number; None for any."""

    @property
    def name(self) -> str:
        """The name in the form used by objectives: `ttft:p90`, `error_rate`."""
        return self.metric if self.stat is None else f"{self.metric}:{self.stat}"

    @property
    def is_share(self) -> bool:
        """Whether the number is compared by difference instead of ratio, because zero is a valid value."""
        return self.unit == "share"

    def of(self, summary: RunSummary) -> float | None:
        """The value over the whole run; None if the run has none, or only bounds that are further apart than the value."""
        if self.inputs_are is not None and (summary.inputs is None or summary.inputs.are != self.inputs_are):
            return None
        if self.metric == "goodput":
            value: float | None = None if summary.goodput is None else summary.goodput.share
            return value
        number = number_of(summary, self.metric, self.stat)
        is_open = number.row is not None and self.stat is not None and meaningless(number.row, self.stat)
        return None if is_open else number.value

    def ci95(self, summary: RunSummary) -> Sequence[float] | None:
        """The 95% interval of the value; None if the run has none."""
        return None if self.metric == "goodput" else number_of(summary, self.metric, self.stat).ci95


def _latency(metric: str, stat: str) -> Number:
    definition = METRICS[metric]
    title = f"{definition.title} {'average' if stat == 'mean' else stat}"
    floor = 0.0 if definition.unit != "ms" else TOKEN_FLOOR_MS if metric in _BETWEEN_TOKENS else LATENCY_FLOOR_MS
    return Number(metric, stat, title, definition.unit, higher_is_worse=True, floor=floor)


TTFT, TPOT, E2EL = _latency("ttft", "p90"), _latency("tpot", "p50"), _latency("e2el", "p90")
TTFT_TAIL, TPOT_TAIL, E2EL_TAIL = (_latency(metric, "p99") for metric in ("ttft", "tpot", "e2el"))
OUTPUT = Number("output_tokens_per_s", None, "Output tokens/s", "1/s", higher_is_worse=False)
INPUTS = Number("inputs_per_s", None, "Inputs/s", "1/s", higher_is_worse=False)
"""Replaces OUTPUT if replies are not generated text."""
NAMED_INPUTS = tuple(
    replace(INPUTS, title=input_rate(are, title=True), inputs_are=are)
    for are in ("texts", "documents", "images", "utterances")
)
"""INPUTS with the name of the input type, for runs that all have the same type."""
INPUT_TOKENS = Number("input_tokens_per_s", None, "Input tokens/s", "1/s", higher_is_worse=False)
REQUESTS = Number("requests_per_s", None, "Requests/s", "1/s", higher_is_worse=False)
"""Replaces INPUTS for endpoints without tokens: each request is one input."""
ERRORS = Number("error_rate", None, "Error rate", "share", higher_is_worse=True)

_EXPLORED = (
    *(_latency(metric, stat) for metric in ("ttft", "tpot", "itl", "e2el") for stat in ("mean", "p50", "p90", "p99")),
    *(_latency(metric, stat) for metric in ("ttft_from_intended", "e2el_from_intended") for stat in ("p50", "p99")),
    REQUESTS,
    Number("total_tokens_per_s", None, "Total tokens/s", "1/s", higher_is_worse=False),
    INPUT_TOKENS,
    Number("goodput", None, "Goodput, share", "share", higher_is_worse=False),
    Number("accuracy", None, "Right answers", "share", higher_is_worse=False),
    Number("consistency", None, "Same text each time", "share", higher_is_worse=False),
    Number("valid_json", None, "Valid JSON", "share", higher_is_worse=False),
    *(Number(JOB, stat, f"Job {'average' if stat == 'mean' else stat}", "s", higher_is_worse=True, floor=JOB_FLOOR_S)
      for stat in ("mean", "p50", "p90")),
    Number("jobs_per_hour", None, "Jobs/hour", "1/h", higher_is_worse=False),
)  # fmt: skip


def values_lacking(number: Number, sides: Sequence[float]) -> str | None:
    """Why runs do not show that a quantile stayed the same: a side has so few independent values that perhaps none lies
    beyond the quantile. Returns None if they are enough."""
    if number.stat not in QUANTILES:
        return None
    there, needed = min(sides), values_needed(QUANTILES[number.stat])
    if there >= needed:
        return None
    return f"the runs hold {there:.0f} independent values together, and {number.stat} takes {needed}"


def primary(known: Callable[[Number], bool]) -> list[Number]:
    """The primary numbers that are `known` for every run: E2EL replaces TTFT if nothing streamed, inputs replace output
    tokens if replies are not generated text."""
    latencies = [number for number in (TTFT, TPOT) if known(number)]
    delivered = next((number for number in (*NAMED_INPUTS, INPUTS) if known(number)), OUTPUT)
    if _of_requests(known):
        delivered = REQUESTS
    return [*(latencies if TTFT in latencies else [E2EL, *latencies]), delivered, ERRORS]


def _of_requests(known: Callable[[Number], bool]) -> bool:
    """Whether an input is a request of any HTTP service, which has no tokens."""
    return known(INPUTS) and known(REQUESTS) and not any(map(known, (INPUT_TOKENS, *NAMED_INPUTS)))


def gated(known: Callable[[Number], bool]) -> list[Number]:
    """The numbers that a gate compares with a baseline: the primary numbers, and p99 of their latencies."""
    tails = [number for number in (TTFT_TAIL, TPOT_TAIL) if known(number)]
    decided = primary(known)
    at = sum(number.stat is not None for number in decided)
    return [*decided[:at], *(tails if TTFT_TAIL in tails else [E2EL_TAIL, *tails]), *decided[at:]]


def explored(known: Callable[[Number], bool], decided: list[Number]) -> list[Number]:
    """All other numbers that are known for every run."""
    first_byte = [_latency("ttfb", stat) for stat in ("p50", "p90", "p99")] if _of_requests(known) else []
    of_few = [
        _latency(name, stat) for name in METRICS if name in OF_FEW - {"audio"} for stat in ("mean", "p50", "p90", "p99")
    ]
    return [number for number in (*first_byte, *of_few, *_EXPLORED) if number not in decided and known(number)]
