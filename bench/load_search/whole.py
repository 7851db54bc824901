"""A whole search, from its settings to its answer. The command, the Python API and the console all call this."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.clock import utc_now
from bench.config import RunConfig
from bench.errors import UsageError
from bench.load_search import search_file
from bench.load_search.conclusion import conclude
from bench.load_search.decisions import Search
from bench.load_search.driver import Follower, SearchEnd, drive
from bench.load_search.files import SearchDirectory, config_sha256
from bench.load_search.options import DEFAULT_LOAD, LEFT_TO_THE_SEARCH, Given, settings_of
from bench.load_search.render import Rendered, render
from bench.load_search.run_visits import RunVisits
from bench.load_search.search_result import SearchResult
from bench.load_search.visit_result import SearchObjective, judged_after_s, sought
from bench.load_test import default_directory
from bench.loads import KINDS, steady_from_the_start
from bench.machine import identity
from bench.metrics import objectives
from bench.secrets import public_command
from bench.series.runs import RunSeries


@dataclass(frozen=True, slots=True)
class Plan:
    """What to search for, complete and checked."""

    base: RunConfig
    wanted: tuple[SearchObjective, ...]
    search: Search
    require: float | None


def plan(
    given: Mapping[str, Any],
    own: Given,
    resolved: Callable[[dict[str, Any]], RunConfig],
    *,
    resume: SearchDirectory | None = None,
    problems: Sequence[str] = (),
) -> Plan:
    """A search from the given settings of its runs and its `own` options (`OPTIONS`).

    `resolved` makes the configuration of the runs from given settings of the load. `problems` are already known
    problems. Raises UsageError with every problem.
    """
    wrong = list(problems)
    for name, instead in LEFT_TO_THE_SEARCH.items():
        if given.get(name) is not None:
            wrong.append(f"--{name.replace('_', '-')} cannot be combined with a search: {instead}")
    stored = None if resume is None else resume.kept()
    kind = own.get("load", "rate") if stored is None else stored.get("load_kind")
    base: RunConfig | None = None
    wanted: tuple[SearchObjective, ...] = ()
    try:
        known = kind if kind in KINDS else DEFAULT_LOAD
        base = resolved(KINDS[known].flags(1.0))
        steady = steady_from_the_start(known, rows=base.dataset is not None and base.recipe is None)
        base = base.with_values(**{name: value for name, value in steady.items() if given.get(name) is None})
    except UsageError as e:
        wrong += e.problems
    texts = given.get("slo") or ()
    try:
        of_all = objectives.parse([texts] if isinstance(texts, str) else texts) if base is None else base.objectives
        # A file that cannot be read may contain objectives.
        if of_all or not any(problem.startswith("--config ") for problem in problems):
            wanted = sought(of_all)
    except UsageError as e:
        # Do not repeat a problem that the configuration has already reported.
        wrong += [p for p in e.problems if not any(known.endswith(p.removeprefix("--slo ")) for known in wrong)]
    goals = tuple(aim.goal for aim in wanted)
    search = None
    try:
        if stored is not None and base is not None and goals:
            search = search_file.from_json(stored, config_sha256(base, str(stored.get("load_kind"))))
        settings, require = settings_of(own, goals, None if search is None else search.settings, judged_after_s(wanted))
        if search is not None and "start" in own and settings.start != search.settings.start and search.begun:
            wrong.append("--start has no effect: the search to resume has begun; --min and --max limit its next loads")
    except UsageError as e:
        wrong += e.problems
    if wrong or base is None:
        raise UsageError(wrong)
    return Plan(base, wanted, Search(settings, [] if search is None else search.results), require)


def new_directory(base: RunConfig, command: Sequence[str]) -> SearchDirectory:
    """Create the directory of a search. Raises UsageError if that is impossible."""
    path = default_directory(base.name) if base.out is None else Path(base.out)
    manifest = {
        "command": shlex.join(public_command(command)),
        "started": utc_now().isoformat(timespec="seconds"),
        "versions": identity.versions(),
        "host": identity.host(),
    }
    return SearchDirectory.create(path, base, manifest)


def carry_out(
    search: Search,
    wanted: Sequence[SearchObjective],
    base: RunConfig,
    directory: SearchDirectory,
    runs: RunSeries,
    follower: Follower,
    *,
    require: float | None = None,
) -> tuple[SearchEnd, Rendered]:
    """Search, and write the page. Returns how the search ended, and its printable forms."""
    sha256 = config_sha256(base, search.settings.load_kind)
    visits = RunVisits(base, wanted, runs)
    with runs.held():
        result = drive(search, directory, visits.make, follower, config_sha256=sha256, require=require)
        return result, render(directory, search, result.stopped_by, require, result.error)


def result_of(directory: SearchDirectory, search: Search, end: SearchEnd, rendered: Rendered) -> SearchResult:
    """The typed result of a search that has ended."""
    headline = " ".join(rendered.brief.split())
    content = orjson.loads(rendered.json)
    return SearchResult.of(directory.path, headline, search, conclude(search), end.stopped_by, rendered.exit, content)
