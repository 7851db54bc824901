"""What the metrics need to know of a stored run: its plan, its changes, and its time zero. From its files alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.answers.checked import checked_answers
from bench.clock import NS_PER_S
from bench.metrics.facts import RunFacts
from bench.metrics.kept_plan import KeptPlan
from bench.metrics.planned_load import ChangedLoad, PlannedLoad, parts_between
from bench.metrics.precision import PRECISE_ENOUGH
from bench.modes.interface import inputs_of, measures_of
from bench.schedule.changing import RateChange

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.manifest import StoredRun
    from bench.run_files.run_directory import RunDirectory

OPEN_END_NS = 2**62
"""The end of the last part if a number of requests ends the load: the part then lasts until the last of them."""
PLANNED_ENDS = ("requests", "duration", PRECISE_ENOUGH)
"""Expected reasons to stop."""


def run_start_ns(run: StoredRun, directory: RunDirectory) -> int:
    """Time zero of a run: the end of its warm-up."""
    stored = run.manifest
    # The segments of a load follow their own clock, which no request starts.
    start_ns = stored.segments[0].start_ns if stored.segments else stored.run_start_ns
    if start_ns is not None:
        return start_ns
    # The run was killed before it recorded the start: its first request stands for it.
    return min((r.intended_ns for r in directory.records() if r.phase == "run"), default=stored.start_ns)


def facts_of(run: StoredRun, directory: RunDirectory) -> RunFacts:
    """What the metrics need to know of a stored run."""
    config, stored = run.config, run.manifest
    start_ns = run_start_ns(run, directory)
    changes = _changes(directory, start_ns)
    planned = tuple(PlannedLoad(s.first, s.last, s.start_ns - start_ns, s.end_ns - start_ns) for s in stored.segments)
    plan = None if changes is None or stored.died else _kept_plan(run, directory, changes, start_ns)
    return RunFacts(
        mode=config.mode,
        open_loop=config.load.open_loop,
        endpoint=config.endpoint_names,
        start_ns=start_ns,
        seed=config.seed,
        planned=config.requests if stored.planned is None else stored.planned,
        offered_rps=None if config.mode == "sessions" else config.rate,
        sessions_per_s=config.rate if config.mode == "sessions" else None,
        concurrency=config.concurrency,
        max_concurrency=config.max_concurrency,
        # Users begin with the load. Only what the warm-up leaves of the ramp is part of the run.
        ramp_s=max(0.0, config.ramp_up - (start_ns - stored.start_ns) / NS_PER_S),
        ended_early=stored.stop_reason not in PLANNED_ENDS,
        segments=_parts(config, changes) if changes else planned,
        open_end=bool(changes) and config.requests is not None,
        changes=changes or (),
        never_sent=None if stored.never_sent is None else (stored.never_sent.n, stored.never_sent.waited_ns),
        kept_plan=plan,
        objectives=config.objectives,
        classes=tuple(run_class.name for run_class in config.classes),
        model=stored.model,
        models=stored.models,
        replicas=stored.replicas,
        targets=tuple(target.name for target in config.targets) if stored.replicas == "address" else (),
        gpus=config.gpus,
        answers=None if config.check_answers is None else checked_answers(directory),
        inputs_are=inputs_of(config),
        measures=measures_of(config),
    )


def _changes(directory: RunDirectory, start_ns: int) -> tuple[ChangedLoad, ...] | None:
    """The changes of the load while it ran; None if it was not changeable."""
    changes = directory.changes()
    if changes is None:
        return None
    return tuple(ChangedLoad(change.t_ns - start_ns, change.before, change.after, change.by) for change in changes)


def rate_changes(run: StoredRun, directory: RunDirectory) -> list[RateChange]:
    """The changes of the rate, in ns from the start of the load."""
    return [RateChange(c.t_ns - run.manifest.start_ns, c.after) for c in directory.changes() or ()]


def _parts(config: RunConfig, changes: tuple[ChangedLoad, ...]) -> tuple[PlannedLoad, ...]:
    """The load between the changes, from the start of the run."""
    first = changes[0].before if changes else float(config.load.load_at(0) or 0)
    return parts_between(first, changes, OPEN_END_NS if config.duration is None else round(config.duration * NS_PER_S))


def _kept_plan(run: StoredRun, directory: RunDirectory, changes: tuple[ChangedLoad, ...], start_ns: int) -> KeptPlan:
    """The plan that every request must keep to, generated again from the settings and the changes."""
    config, begun_ns = run.config, run.manifest.start_ns
    made = rate_changes(run, directory)

    def arrivals() -> Iterator[int]:
        of_sessions = config.load.planned_sessions(made)
        offsets = (config.load.planned_arrivals(made) if of_sessions is None else of_sessions) or iter(())
        return (begun_ns + offset - start_ns for offset in offsets)

    return KeptPlan(
        parts=_parts(config, changes),
        arrivals=arrivals if config.load.open_loop else None,
        whole=run.manifest.stop_reason in PLANNED_ENDS,
        of_sessions=config.mode == "sessions",
    )
