"""The numbers that are compared: the four that decide, and the others, which are only explored.

A number is one value of a run, taken from its summary. The primary numbers are few on purpose: each further one is one
more chance of a false alarm (bench/statistics/multiple.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.metrics.catalog import METRICS, OF_FEW
from bench.metrics.run_numbers import JOB, number_of
from bench.results.numbers import QUANTILES
from bench.results.summary import RunSummary
from bench.results.tokens import input_rate
from bench.statistics.intervals import values_needed

LATENCY_FLOOR_MS = 0.5
"""A latency of a request that moved by less is the same: a scheduler's tick, and no user's experience."""
TOKEN_FLOOR_MS = 0.05
"""The same of a time between tokens, of which a reply has hundreds."""
JOB_FLOOR_S = 0.01
"""A job is many requests."""
SHARE_MARGIN = 0.01
"""Shares of requests are compared by their difference: one point of a hundred."""

OF_TOKENS = frozenset({"tpot", "itl", "output_tokens_per_s", "total_tokens_per_s"})
"""Numbers that depend on how the tokens of a reply are counted."""
_BETWEEN_TOKENS = frozenset({"tpot", "itl", "chunk_gap"})


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a run. `metric` and `stat` where it is a latency; else `metric` names it in the summary."""

    metric: str
    stat: str | None
    title: str
    unit: str
    higher_is_worse: bool
    floor: float = 0.0
    inputs_are: str | None = None
    """What the requests are made of that have it; None: any."""

    @property
    def name(self) -> str:
        """As objectives write it: `ttft:p90`, `error_rate`."""
        return self.metric if self.stat is None else f"{self.metric}:{self.stat}"

    @property
    def is_share(self) -> bool:
        """Compared by its difference, not by its ratio: zero is a value of it."""
        return self.unit == "share"

    def of(self, summary: RunSummary) -> float | None:
        """Its value in a run, over the whole run; None where the run has none."""
        if self.inputs_are is not None and (summary.inputs is None or summary.inputs.are != self.inputs_are):
            return None
        if self.metric == "goodput":
            value: float | None = None if summary.goodput is None else summary.goodput.share
            return value
        return number_of(summary, self.metric, self.stat).value

    def ci95(self, summary: RunSummary) -> Sequence[float] | None:
        """The 95% interval of its value in a run; None if the run has none."""
        return None if self.metric == "goodput" else number_of(summary, self.metric, self.stat).ci95


def _latency(metric: str, stat: str) -> Number:
    found = METRICS[metric]
    title = f"{found.title} {'average' if stat == 'mean' else stat}"
    floor = 0.0 if found.unit != "ms" else TOKEN_FLOOR_MS if metric in _BETWEEN_TOKENS else LATENCY_FLOOR_MS
    return Number(metric, stat, title, found.unit, higher_is_worse=True, floor=floor)


TTFT, TPOT, E2EL = _latency("ttft", "p90"), _latency("tpot", "p50"), _latency("e2el", "p90")
TTFT_TAIL, TPOT_TAIL, E2EL_TAIL = (_latency(metric, "p99") for metric in ("ttft", "tpot", "e2el"))
OUTPUT = Number("output_tokens_per_s", None, "Output tokens/s", "1/s", higher_is_worse=False)
INPUTS = Number("inputs_per_s", None, "Inputs/s", "1/s", higher_is_worse=False)
"""Stands for OUTPUT where replies are no generated text."""
NAMED_INPUTS = tuple(
    replace(INPUTS, title=input_rate(are, title=True), inputs_are=are)
    for are in ("texts", "documents", "images", "utterances")
)
"""The same by the name of what requests are made of, where all runs have the same."""
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
    """Why runs do not show that a quantile stayed as it is, in words: a side holds too few independent values, of which none
    may be the one in a hundred that is slow. Returns None if they are enough."""
    if number.stat not in QUANTILES:
        return None
    there, needed = min(sides), values_needed(QUANTILES[number.stat])
    if there >= needed:
        return None
    return f"the runs hold {there:.0f} independent values together, and {number.stat} takes {needed}"


def primary(known: Callable[[Number], bool]) -> list[Number]:
    """The numbers that decide, as far as they are `known` of every run: E2EL in place of TTFT where nothing streamed, inputs
    in place of output tokens where replies are no generated text."""
    latencies = [number for number in (TTFT, TPOT) if known(number)]
    delivered = next((number for number in (*NAMED_INPUTS, INPUTS) if known(number)), OUTPUT)
    if _of_requests(known):
        delivered = REQUESTS
    return [*(latencies if TTFT in latencies else [E2EL, *latencies]), delivered, ERRORS]


def _of_requests(known: Callable[[Number], bool]) -> bool:
    """Whether an input is a request: of any HTTP service, whose tokens nobody counts."""
    return known(INPUTS) and known(REQUESTS) and not any(map(known, (INPUT_TOKENS, *NAMED_INPUTS)))


def gated(known: Callable[[Number], bool]) -> list[Number]:
    """The numbers that a gate holds to a baseline: those that decide, and p99 of their latencies."""
    tails = [number for number in (TTFT_TAIL, TPOT_TAIL) if known(number)]
    decided = primary(known)
    at = sum(number.stat is not None for number in decided)
    return [*decided[:at], *(tails if TTFT_TAIL in tails else [E2EL_TAIL, *tails]), *decided[at:]]


def explored(known: Callable[[Number], bool], decided: list[Number]) -> list[Number]:
    """All other numbers that are known of every run."""
    first_byte = [_latency("ttfb", stat) for stat in ("p50", "p90", "p99")] if _of_requests(known) else []
    of_few = [
        _latency(name, stat) for name in METRICS if name in OF_FEW - {"audio"} for stat in ("mean", "p50", "p90", "p99")
    ]
    return [number for number in (*first_byte, *of_few, *_EXPLORED) if number not in decided and known(number)]
