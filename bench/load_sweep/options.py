"""The options of a sweep besides the settings of its runs. All problems are reported at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.config import RunConfig
from bench.config.flags import Option
from bench.errors import UsageError
from bench.load_sweep import visits
from bench.load_sweep.visits import Loads

OPTIONS = (
    Option(
        "loads",
        "KIND=LOADS",
        "concurrency=1..256x2 (users; from 1 to 256, by the factor 2), rate=5,10,20 (requests per second) or "
        "sessions=1..64x2 (live sessions)",
    ),
    Option("repeats", "N", "visit every load N times, up and down in turn (default: 1)"),
    Option("gpus", "G", "GPUs of the server: adds throughput of a GPU against speed for a user"),
)

SET_BY_LOADS = {
    "concurrency": "--loads says which loads",
    "rate": "--loads says which loads",
    "mode": "--loads says it: give for example --loads concurrency=1..256x2 or --loads sessions=1..64x2",
    "ramp": "each load is a run of its own: --loads lists them",
    "steps": "each load is a run of its own: --loads lists them",
    "until": "every load takes its time: --duration, or --repeats, says how long",
}
"""Settings of a run that a sweep sets itself. If they come from a file, which may be written for a run, they are
ignored."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The loads, the GPUs of the server, and the configuration of the lowest load."""

    loads: Loads
    gpus: int | None
    base: RunConfig


def plan(
    given: Mapping[str, object],
    own: Mapping[str, str],
    resolved: Callable[[dict[str, object]], RunConfig],
    problems: Sequence[str] = (),
) -> Plan:
    """A sweep from the given settings of its runs, and its `own` (`OPTIONS`).

    `resolved` makes the configuration of a run from the settings of its load. `problems`: those already known. Raises
    UsageError with every problem.
    """
    wrong = list(problems)
    for name, instead in SET_BY_LOADS.items():
        if given.get(name) is not None:
            if name in ("concurrency", "rate"):
                instead = f"write --loads {name}={given[name]}, or several: {name}=5,10,20"
            wrong.append(f"--{name.replace('_', '-')} cannot be combined with a sweep: {instead}")
    loads = base = None
    repeats = _whole("repeats", own.get("repeats", "1"), wrong)
    if "loads" not in own:
        wrong.append("--loads is missing: give for example --loads concurrency=1..256x2")
    else:
        try:
            loads = visits.parse(own["loads"], repeats or 1)
        except UsageError as e:
            wrong += e.problems
    gpus = _whole("gpus", own["gpus"], wrong) if "gpus" in own else None
    try:
        base = resolved({} if loads is None else loads.settings(loads.values[0]))
    except UsageError as e:
        wrong += e.problems
    if wrong or loads is None or base is None:
        raise UsageError(wrong)
    return Plan(loads, gpus, base)


def _whole(name: str, text: str, wrong: list[str]) -> int | None:
    if text.strip().isdecimal() and int(text) >= 1:
        return int(text)
    wrong.append(f"--{name} {text}: give a whole number of at least 1")
    return None
