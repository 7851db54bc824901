"""Metamorphic checks of `calibrate --full`: each changes one thing about the mock, and the report must follow. Pure.

One load at one mock can be right by chance: a wrong scale passes if the number is small, a wrong shift if it is large.
So each check changes one thing about the mock, and exactly that must change in the report. To add a check, add a line
to CHECKS; its rule is a function of the observations of this check and of the first check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.errors import UsageError
from bench.results.summary import RunSummary

SCHEMA = "trueload/full/1"
TOKENS = 32
REQUESTS = 64
STREAMS = 8

NEAR_MS, NEAR_SHARE = 0.5, 0.02
"""The tolerance for medians is the larger of the two, since the mock may be late. Ratios have the same tolerance."""

DISPERSION_SHARE = 0.05
"""As in the verdict: an arrival that moves across the border of two counts changes both."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The run of a check: its summary, the problems of its certificate, and the number of chunks that waited in the
    mock, for the slow reader (None without one) and for the load."""

    summary: RunSummary
    problems: Sequence[str] = ()
    blocked_slow: int | None = None
    blocked: int = 0

    def ms(self, metric: str, stat: str = "p50") -> float | None:
        """A statistic of a metric; None if it has no values."""
        return self.summary.latency[metric].of(stat)


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that must follow. `expected` and `seen` have the same unit."""

    what: str
    expected: Any
    seen: Any
    held: bool


Rule = Callable[[Observation, Observation], list[Expectation]]
"""Compares the observations of a check with those of the first check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check. `mock`: flags of the mock. `load`: changes to LOAD. `says`: what changes and what must follow, for people."""

    mock: str
    says: str
    follows: Rule
    load: Mapping[str, Any] = field(default_factory=dict)
    slow_reader: bool = False


def near(label: str, actual: float | None, expected: float | None) -> Expectation:
    """A time in ms that must be close to another."""
    held = actual is not None and expected is not None and abs(actual - expected) <= max(NEAR_MS, NEAR_SHARE * expected)
    return Expectation(f"{label} (ms)", expected, actual, held)


def equal(label: str, actual: object, expected: object) -> Expectation:
    """A count that must be equal."""
    return Expectation(label, expected, actual, actual == expected)


def _share(label: str, actual: float | None, expected: float, within: float = NEAR_SHARE) -> Expectation:
    held = actual is not None and abs(actual - expected) <= within * expected
    return Expectation(label, expected, actual, held)


def _latencies(observation: Observation, ttft_ms: float, tpot_ms: float, tokens: int = TOKENS) -> list[Expectation]:
    return [
        near("median TTFT", observation.ms("ttft_ms"), ttft_ms),
        near("median TPOT", observation.ms("tpot_ms"), tpot_ms),
        near("mean ITL", observation.ms("itl_ms", "mean"), tpot_ms),
        near("median E2EL", observation.ms("e2el_ms"), ttft_ms + (tokens - 1) * tpot_ms),
    ]


def _output_tokens(observation: Observation) -> int | None:
    """The output tokens of the whole run: rate times duration."""
    throughput = observation.summary.throughput
    rate, duration_s = throughput.output_tokens_per_s, throughput.duration_s
    return None if rate is None or duration_s is None else round(rate * duration_s)


def _as_first(observation: Observation, first: Observation, *metrics: str) -> list[Expectation]:
    names = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "e2el_ms": "E2EL"}
    return [near(f"median {names[m]}, as without", observation.ms(m), first.ms(m)) for m in metrics]


def _outcomes(observation: Observation, outcome: str, n: int) -> list[Expectation]:
    expected = {"ok": REQUESTS - n, outcome: n}
    return [equal("outcomes", dict(observation.summary.counts.by_outcome), expected)]


def profile(ttft_ms: float, tpot_ms: float, tokens: int = TOKENS) -> Rule:
    """The latencies must match the mock's flags."""
    return lambda seen, first: _latencies(seen, ttft_ms, tpot_ms, tokens)


def doubled(observation: Observation, first: Observation) -> list[Expectation]:
    """With twice the time between tokens, TPOT and ITL double, and TTFT stays."""
    rows = _as_first(observation, first, "ttft_ms")
    for name, metric, stat in (("TPOT", "tpot_ms", "p50"), ("ITL", "itl_ms", "mean")):
        now, before = observation.ms(metric, stat), first.ms(metric, stat)
        rows.append(_share(f"{name}, times the first", now / before if now and before else None, 2.0))
    return rows


def failures(outcome: str, n: int) -> Rule:
    """Exactly `n` requests fail with `outcome`, and the latencies of the others stay the same."""
    return lambda seen, first: [*_outcomes(seen, outcome, n), *_as_first(seen, first, "ttft_ms", "tpot_ms", "e2el_ms")]


def bursts(observation: Observation, first: Observation) -> list[Expectation]:
    """The requests are sent as bursty as drawn, and the mock is as fast as before."""
    plan = observation.summary.load.plan
    assert plan is not None
    bursty, sent_rps, planned_rps = plan.dispersion_sent, plan.sent_rps, plan.planned_rps
    assert sent_rps is not None
    assert planned_rps
    return [
        Expectation(
            "dispersion of the counts, at least (Poisson: 1)", 2.0, bursty, bursty is not None and bursty >= 2.0
        ),
        _share("dispersion, of that of the plan", plan.dispersion_ratio, 1.0, DISPERSION_SHARE),
        _share("rate, of that of the plan", sent_rps / planned_rps, 1.0),
        *_as_first(observation, first, "ttft_ms", "tpot_ms"),
    ]


def several_tokens(gap_ms: float, tpot_ms: float) -> Rule:
    """Chunks are further apart, but tokens come as often as before: the tokens of a chunk share its gap."""
    return lambda seen, first: [
        near("median chunk gap", seen.ms("chunk_gap_ms"), gap_ms),
        near("median TPOT", seen.ms("tpot_ms"), tpot_ms),
        near("mean ITL", seen.ms("itl_ms", "mean"), tpot_ms),
        equal("output tokens", _output_tokens(seen), REQUESTS * TOKENS),
        *_as_first(seen, first, "ttft_ms"),
    ]


def reasoning(tokens: int) -> Rule:
    """The first text is reasoning and comes as early as before; the first output comes `tokens` tokens later."""

    def follows(observation: Observation, first: Observation) -> list[Expectation]:
        ttft, tpot = first.ms("ttft_ms"), first.ms("tpot_ms")
        ttfo = None if ttft is None or tpot is None else ttft + tokens * tpot
        return [
            near("median TTFO", observation.ms("ttfo_ms"), ttfo),
            *_as_first(observation, first, "ttft_ms", "tpot_ms", "e2el_ms"),
        ]

    return follows


def slow_reader(observation: Observation, first: Observation) -> list[Expectation]:
    """The ledger marks the chunks that waited for the slow reader, and no others."""
    slow = observation.blocked_slow
    return [
        Expectation("chunks marked blocked, of the slow reader, at least", 1, slow, slow is not None and slow >= 1),
        equal("chunks marked blocked, of the others", observation.blocked, 0),
        *_as_first(observation, first, "ttft_ms", "tpot_ms"),
    ]


FIRST = "fast"
LOAD: dict[str, Any] = {
    "concurrency": STREAMS,
    "requests": REQUESTS,
    "input_tokens": "64",
    "output_tokens": str(TOKENS),
}
"""The load of every check, before the check's changes."""

_MOCK = "--ttft 30ms --tpot 6ms"

CHECKS: dict[str, Check] = {
    FIRST: Check(mock=_MOCK, says="a profile: its latencies are reported", follows=profile(30, 6)),
    "slow": Check(
        mock="--ttft 300ms --tpot 40ms",
        load={"requests": STREAMS * 2, "output_tokens": "16"},
        says="a contrasting profile: scaled or shifted numbers cannot pass both",
        follows=profile(300, 40, 16),
    ),
    "itl-doubled": Check(
        mock="--ttft 30ms --tpot 12ms", says="ITL doubled: ITL and TPOT double, TTFT stays", follows=doubled
    ),
    "refused": Check(
        mock=f"{_MOCK} --fault 429:every=8",
        says="every 8th request is refused: as many failures, latencies stay",
        follows=failures("http_error", REQUESTS // 8),
    ),
    "error-in-stream": Check(
        mock=f"{_MOCK} --fault error_in_stream:every=8,after=4",
        says="every 8th reply has an error inside the 200 stream: it fails, latencies stay",
        follows=failures("stream_error", REQUESTS // 8),
    ),
    "bursts": Check(
        mock=_MOCK,
        load={"concurrency": None, "rate": 60, "burstiness": 0.2, "requests": 180},
        says="bursts: sent as drawn, latencies stay",
        follows=bursts,
    ),
    "stream-interval": Check(
        mock=f"{_MOCK} --stream-interval 4",
        says="4 tokens a chunk: gaps are 4 times as long, ITL and TPOT stay",
        follows=several_tokens(24, 6),
    ),
    "reasoning": Check(
        mock=f"{_MOCK} --reasoning-tokens 10",
        says="10 tokens of reasoning: TTFT stays, TTFO is 10 tokens later",
        follows=reasoning(10),
    ),
    "slow-reader": Check(
        mock=_MOCK,
        says="a client that reads too slowly: its chunks are marked, and no others",
        slow_reader=True,
        follows=slow_reader,
    ),
}
"""The checks by name, in the order in which they run. The later ones are compared with the first."""


def chosen(names: Sequence[str]) -> dict[str, Check]:
    """The checks with these names and the first check; all checks if no name is given. Raises UsageError."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise UsageError([f"--full {name}: it is one of {', '.join(CHECKS)}" for name in unknown])
    return {name: check for name, check in CHECKS.items() if not names or name == FIRST or name in names}


def load_of(check: Check, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of a check's load. The check's own settings override the given ones."""
    return {key: value for key, value in {**flags, **LOAD, **check.load}.items() if value is not None}


def expectations(check: Check, observation: Observation, first: Observation) -> list[Expectation]:
    """Everything that must follow: the rule, and that the records agree with the ledger."""
    return [equal("disagreements with the ledger", len(observation.problems), 0), *check.follows(observation, first)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """A check that ran: what had to follow, and whether it did."""

    name: str
    says: str
    mock: str
    rows: tuple[Expectation, ...]
    directory: str

    @property
    def holds(self) -> bool:
        return all(row.held for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """The entry in full.json."""
        return {**asdict(self), "held": self.holds}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksResult:
    """All checks that ran, in order."""

    date: str
    version: str
    host: Mapping[str, str | int]
    checks: tuple[CheckResult, ...]

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The content of full.json."""
        return {
            "schema": SCHEMA,
            "date": self.date,
            "version": self.version,
            "host": self.host,
            "held": self.holds,
            "checks": [check.to_json() for check in self.checks],
        }
