"""A whole search: from its settings to its answer. The command and the Python API both call this."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import orjson

from bench import machine
from bench.clock import utc_now
from bench.config import RunConfig
from bench.load_search.decisions import Search
from bench.load_search.driver import Ended, Follower, drive
from bench.load_search.files import SearchDirectory, config_sha256
from bench.load_search.found import SearchResult
from bench.load_search.real_time import REAL_TIME
from bench.load_search.render import Rendered, render
from bench.load_search.run_visits import Runs, RunVisits
from bench.load_search.visit_result import Sought
from bench.load_test import default_directory
from bench.secrets import public_command


def new_directory(base: RunConfig, command: Sequence[str]) -> SearchDirectory:
    """A directory for a search. Raises UsageError where there is none to be made."""
    path = default_directory(base.name) if base.out is None else Path(base.out)
    manifest = {
        "command": shlex.join(public_command(command)),
        "started": utc_now().isoformat(timespec="seconds"),
        "versions": machine.versions(),
        "host": machine.host(),
    }
    return SearchDirectory.create(path, base, manifest)


def carry_out(
    search: Search,
    wanted: Sequence[Sought],
    base: RunConfig,
    directory: SearchDirectory,
    runs: Runs,
    follower: Follower,
    *,
    require: float | None = None,
) -> tuple[Ended, Rendered]:
    """Search, and write the page. How it ended, and what can be printed of it."""
    sha256 = config_sha256(base, search.settings.load_kind)
    visits = RunVisits(base, wanted, runs, REAL_TIME)
    ended = drive(search, directory, visits, follower, config_sha256=sha256, require=require)
    return ended, render(directory, search, ended.stopped_by, require, ended.error)


def result_of(directory: SearchDirectory, search: Search, ended: Ended, rendered: Rendered) -> SearchResult:
    """The typed result of a search that has ended."""
    known = search.known() if rendered.answered else None
    headline = " ".join(rendered.brief.split())
    content = orjson.loads(rendered.json)
    return SearchResult.of(directory.path, headline, search, known, ended.stopped_by, rendered.exit, content)
