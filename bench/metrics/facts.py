"""What a summary must know of a run beside its records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.metrics.kept_plan import KeptPlan
from bench.metrics.objectives import Objective
from bench.metrics.planned_load import ChangedLoad, PlannedLoad
from bench.results.answers import CheckedAnswers


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """The plan of a run, as far as its numbers depend on it.

    `open_loop`: a schedule that does not wait for responses sends requests. `start_ns` (CLOCK_MONOTONIC) is the zero of
    every time in the summary: the start of the phase "run". `ramp_s` counts from it. `planned` is the number of requests in
    the plan, None if only time ends the run. `seed` chooses the requests whose tokens the intervals rest on, so that a
    report rendered again is the same. `segments`: the parts of a load that changes over time.
    """

    mode: str
    open_loop: bool
    endpoint: str
    start_ns: int
    seed: int
    planned: int | None = None
    offered_rps: float | None = None
    sessions_per_s: float | None = None
    """New sessions, where a rate of them is planned."""
    concurrency: int | None = None
    max_concurrency: int | None = None
    ramp_s: float = 0.0
    segments: tuple[PlannedLoad, ...] = ()
    ended_early: bool = False
    """Whether the load did not come to its planned end."""
    open_end: bool = False
    """Whether the last segment ends with the last send: nothing else ends it."""
    changes: tuple[ChangedLoad, ...] = ()
    """Changes of the load that were asked for while it went on: the borders of the segments."""
    never_sent: tuple[int, int] | None = None
    """Requests, or sessions, that were due and not made when the sending stopped: how many, and how long they had waited
    together, in ns. None if that is not known."""
    kept_plan: KeptPlan | None = None
    """The plan that every request must follow. None if nothing could change the load."""
    objectives: tuple[Objective, ...] = ()
    model: str | None = None
    """The model of requests that name none."""
    models: tuple[str, ...] = ()
    """The models that are known beforehand, if a run sends to several."""
    classes: tuple[str, ...] = ()
    """The classes of traffic, in their order. Empty if all requests are of one kind."""
    replicas: Literal["address", "reply"] | None = None
    """How records name the replica of a request. None if they do not."""
    targets: tuple[str, ...] = ()
    """The addresses of a run with several."""
    gpus: int | None = None
    """The number of GPUs of the server, if it is known."""
    answers: CheckedAnswers | None = None
    """The results of the probes. None if no answer was checked."""
    inputs_are: str | None = None
    """What requests are made of (texts, documents), if their replies are not generated text."""

    measures: tuple[str, ...] = ()
    """The metrics of this run that only few endpoints have."""

    @property
    def limits_errors(self) -> bool:
        """Whether an objective speaks of the share of failed requests."""
        return any(objective.metric == "error_rate" for objective in self.objectives)

    @property
    def limits_goodput(self) -> bool:
        """Whether an objective speaks of the share of good requests."""
        return any(objective.metric == "goodput" for objective in self.objectives)

    @property
    def has_latency_objectives(self) -> bool:
        """Whether an objective speaks of single requests, so that there is a goodput."""
        return any(objective.of_requests for objective in self.objectives)
