"""What a summary must know about a run in addition to its records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.metrics.kept_plan import KeptPlan
from bench.metrics.objectives import Objective
from bench.metrics.planned_load import ChangedLoad, PlannedLoad
from bench.results.answers import CheckedAnswers


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """The facts about a run's plan on which its numbers depend.

    `open_loop`: requests are sent by a schedule that does not wait for responses. `start_ns` (CLOCK_MONOTONIC) is the
    zero of every time in the summary: the start of the phase "run". `ramp_s`: how long users still come after it.
    `planned` is the number of requests in the plan, None if only time ends the run. `seed` chooses the requests whose
    tokens are used for the intervals, so that a report rendered again is the same. `segments`: the parts of a load that
    changes over time.
    """

    mode: str
    open_loop: bool
    endpoint: str
    start_ns: int
    seed: int
    planned: int | None = None
    offered_rps: float | None = None
    sessions_per_s: float | None = None
    """New sessions per second, if such a rate is planned."""
    concurrency: int | None = None
    max_concurrency: int | None = None
    ramp_s: float = 0.0
    segments: tuple[PlannedLoad, ...] = ()
    ended_early: bool = False
    """Whether the load stopped before its planned end."""
    open_end: bool = False
    """Whether the last segment ends with the last send, because nothing else ends it."""
    changes: tuple[ChangedLoad, ...] = ()
    """Changes of the load during the run: the borders of the segments."""
    never_sent: tuple[int, int] | None = None
    """Requests, or sessions, that were due but not made when the sending stopped: their number, and their total waiting
    time in ns. None if unknown."""
    kept_plan: KeptPlan | None = None
    """The plan that every request must follow. None if nothing could change the load."""
    objectives: tuple[Objective, ...] = ()
    model: str | None = None
    """The model of requests that name none."""
    models: tuple[str, ...] = ()
    """The models known in advance, if a run sends to several."""
    classes: tuple[str, ...] = ()
    """The traffic classes, in order. Empty if all requests are of one kind."""
    replicas: Literal["address", "reply"] | None = None
    """How records name the replica of a request. None if they do not."""
    targets: tuple[str, ...] = ()
    """The addresses of a run with several."""
    gpus: int | None = None
    """The number of GPUs of the server, if known."""
    answers: CheckedAnswers | None = None
    """The results of the probes. None if no answer was checked."""
    inputs_are: str | None = None
    """The input type of the requests (texts, documents), if their replies are not generated text."""

    measures: tuple[str, ...] = ()
    """The metrics of this run that only a few endpoints have."""

    @property
    def limits_errors(self) -> bool:
        """Whether an objective limits the share of failed requests."""
        return any(objective.metric == "error_rate" for objective in self.objectives)

    @property
    def limits_goodput(self) -> bool:
        """Whether an objective limits the share of good requests."""
        return any(objective.metric == "goodput" for objective in self.objectives)

    @property
    def has_latency_objectives(self) -> bool:
        """Whether an objective limits single requests, so that there is a goodput."""
        return any(objective.of_requests for objective in self.objectives)
