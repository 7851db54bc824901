"""The evidence that signs look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.results.certificate import KnownCalibration, LedgerCalibration
from bench.results.server import Server
from bench.results.summary import SummaryNumbers


class CacheAgainstPlan(Protocol):
    """Planned and counted hits in the prefix cache, as shares of the prompt tokens."""

    @property
    def planned_share(self) -> float | None:
        """The share that the plans of the requests predict."""

    @property
    def counted_by(self) -> str | None:
        """`replies` or `metrics`. None if hits were not counted, or no request has a plan."""

    @property
    def off_share(self) -> float | None:
        """Counted minus planned."""

    @property
    def off_beyond_rounding(self) -> float | None:
        """The difference beyond what rounding to blocks explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvidence:
    """The evidence for the signs. `summary` is the content of summary.json, and `calibration` a certificate if there is
    one.

    `open_loop`: a schedule decided when requests were sent. `exact_lengths`: the server was told to ignore end tokens.
    """

    summary: SummaryNumbers
    open_loop: bool
    exact_lengths: bool
    calibration: LedgerCalibration | KnownCalibration | None = None
    planned_share: float | None = None
    """The share of the prompt tokens that prompts share on purpose."""
    cached_share: float | None = None
    """The share of the prompt tokens that the server took from its cache, by its metrics."""
    sharing_known: bool = True
    """Whether `planned_share` is known. For the turns of a session it is not."""
    cache: CacheAgainstPlan | None = None
    """Cache hits against the plan, if each request has a plan."""
    lost: Sequence[str] = ()
    """Run files that are missing or truncated, a sentence each."""
    died: Sequence[str] = ()
    """Workers that died, and how: each the beginning of a sentence."""
    clock_drift: tuple[float, str] | None = None
    """How far a node's clock drifted from the driver's during the load, in ms, beyond the measurement error, and which
    node: the worst. None if it was not measured again."""
    priority_remedy: str | None = None
    """How the client could get real-time priority. None if it had it."""
    cpu_limit: str | None = None
    """Processors that the client's control group may use. None: no limit."""

    imported_from: str | None = None
    """The load tester that the run was imported from; None: our own run."""
    not_in_file: Sequence[str] = ()
    """A sentence for each thing that the imported result lacks, and what replaces it."""

    server: Server | None = None
    """The server's own metrics: the `server` block of the summary."""

    def p50(self, metric: str) -> float | None:
        """The median of a latency in ms; None if no request has it."""
        value = self.summary.latency[metric].p50
        return None if value is None else float(value)
