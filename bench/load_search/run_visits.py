"""A visit as a run: its configuration, its run directory, and its result."""

from __future__ import annotations

from collections.abc import Sequence

from bench import manifest
from bench.answers.checked import answer_marks
from bench.clock import NS_PER_S
from bench.config import RunConfig
from bench.config.values import MOST_SEED
from bench.load_search.decisions import Search
from bench.load_search.visit_result import Load, SearchObjective, result_of
from bench.load_search.visits import Result, Visit, pause_s
from bench.loads import KINDS
from bench.series.runs import RunSeries

LONGEST_RAMP_S = 2.0
"""The users of a visit start within this time, and within half of the settling time."""


def run_name(visit: Visit) -> str:
    """The name of a visit's run directory."""
    return f"{visit.n:02d}-{visit.phase}-{visit.load:g}"


def visit_config(base: RunConfig, visit: Visit, load_kind: str) -> RunConfig:
    """The configuration of a visit's run. It has its own seed, so that no two visits draw the same arrivals and lengths."""
    kind = KINDS[load_kind]
    changes: dict[str, object] = {
        **kind.settings(visit.load),
        "ramp": None,
        "ramp_up": round(min(LONGEST_RAMP_S, visit.settle_s / 2), 3) if kind.whole else 0.0,
        "steps": None,
        "warmup": f"{visit.settle_s:.3f}s",
        "duration": visit.measure_s,
        "requests": None,
        "until": (),
        "max_errors": None,
        "seed": (base.seed + visit.n) % (MOST_SEED + 1),
        "name": f"{base.name}-{visit.n:02d}",
    }
    return base.with_values(**changes)


class RunVisits:
    """Visits to a server, each in its own run directory."""

    def __init__(self, base: RunConfig, wanted: Sequence[SearchObjective], runs: RunSeries) -> None:
        self._base = base
        self._wanted = wanted
        self._runs = runs

    def make(self, search: Search, visit: Visit) -> Result:
        """Make a visit, or take it from a run that had ended when the search was killed. Raises Interrupted."""
        name = run_name(visit)
        made = self._runs.make(name, visit_config(self._base, visit, search.settings.load_kind))
        ran = made.result
        stored = manifest.read(ran.directory)
        records = list(ran.directory.records())
        start_ns = stored.manifest.run_start_ns
        if start_ns is None:  # No request was sent after the warm-up.
            start_ns = stored.manifest.start_ns + round(visit.settle_s * NS_PER_S)
        if made.began_ns is not None:
            ended_ns = max((record.end_ns for record in records), default=made.began_ns)
            self._runs.rest(ended_ns, pause_s(search.settings.budget_s))
            seconds = (self._runs.time.now_ns() - made.began_ns) / NS_PER_S
        else:
            # The budget may have changed since then, and with it the times of a visit.
            measured_s = visit.measure_s if stored.config.duration is None else stored.config.duration
            visit = Visit(visit.n, visit.phase, visit.load, stored.config.warmup_s, measured_s)
            seconds = visit.settle_s + visit.measure_s
        answers = answer_marks(ran.directory) if any(aim.objective.of_answers for aim in self._wanted) else {}
        load = Load(records, start_ns, str(ran.verdict.status), name, answers)
        return result_of(search, self._wanted, visit, load, seconds)
