"""What the signs look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.results.certificate import KnownCalibration, LedgerCalibration
from bench.results.server import Server
from bench.results.summary import SummaryNumbers


class CacheAgainstPlan(Protocol):
    """What requests planned to find in the prefix cache, and what was counted. Shares of the prompt tokens."""

    @property
    def planned_share(self) -> float | None:
        """The share by the plan of each request."""

    @property
    def counted_by(self) -> str | None:
        """`replies` or `metrics`. None if hits were not counted, or no request has a plan."""

    @property
    def off_share(self) -> float | None:
        """Counted less planned."""

    @property
    def off_beyond_rounding(self) -> float | None:
        """How far off it is beyond what rounding to blocks explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvidence:
    """What the signs look at. `summary` is the content of summary.json, and `calibration` a certificate if there is one.

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
    """Whether it is known what prompts share on purpose. It is not known for the turns of a session."""
    cache: CacheAgainstPlan | None = None
    """What was counted of the prefix cache, where each request has a plan of it."""
    lost: Sequence[str] = ()
    """Files of the run that are gone or cut off, a sentence each."""
    died: Sequence[str] = ()
    """Workers that died, and how: each the beginning of a sentence."""
    clock_drift: tuple[float, str] | None = None
    """How far the clock of a node went from the driver's while the load went on, in ms, beyond what the measurements can be
    wrong by, and of which node: the worst. None if it was not measured again."""
    priority_remedy: str | None = None
    """How the client could get real-time priority. None if it had it."""
    cpu_limit: str | None = None
    """Processors that the client's control group may use. None: no limit."""

    imported_from: str | None = None
    """The load tester whose result the run was imported from; None: the run is our own."""
    not_in_file: Sequence[str] = ()
    """A sentence for each thing that the result lacks, and what replaces it."""

    server: Server | None = None
    """What the server's own metrics say: the `server` block of the summary."""

    def p50(self, metric: str) -> float | None:
        """The median of a latency in ms; None if no request has it."""
        value = self.summary.latency[metric].p50
        return None if value is None else float(value)
