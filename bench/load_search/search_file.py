"""search.json: the stored state of a search, rewritten after each visit and read to resume it.

`search.schema.json` has every field. The answer is computed from the visits; the file contains it for readers without
this program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from bench.errors import UsageError
from bench.load_search.conclusion import Conclusion, Kind, conclude, holds
from bench.load_search.decisions import Ending, Search, Settings
from bench.load_search.goals import Goal
from bench.load_search.visits import Result
from bench.loads import LoadName
from bench.results.base import to_plain
from bench.results.search import (
    CapacityInterval,
    RequiredLoad,
    SearchContent,
    SearchLimits,
    SearchObjective,
    SearchVisit,
    SureLoad,
    VisitMean,
)
from bench.run_files.shape import refuse_misfits
from bench.statistics.capacity import Mean

SCHEMA: Final = 1
_SMALLEST, _LARGEST = 1e-9, 1e12
"""The range of valid loads, times and counts."""


@dataclass(frozen=True, slots=True)
class _SavedSearch:
    """The part of the file that is needed to resume the search."""

    load_kind: LoadName
    objectives: tuple[Goal, ...]
    settings: dict[str, float]
    visits: tuple[Result, ...]


def to_json(
    search: Search, config_sha256: str, stopped_by: Ending | None = None, require: float | None = None
) -> dict[str, Any]:
    """The content of search.json as plain values."""
    return to_plain(content_of(search, config_sha256, stopped_by, require))


def content_of(
    search: Search, config_sha256: str, stopped_by: Ending | None = None, require: float | None = None
) -> SearchContent:
    """The content of search.json."""
    settings, conclusion = search.settings, conclude(search)
    known = conclusion.known
    bounds = search.known() if conclusion.answers or conclusion.kind is Kind.BELOW else None
    return SearchContent(
        schema=SCHEMA,
        load_kind=settings.load_kind,
        objectives=[SearchObjective(text=goal.text, allowed=goal.allowed) for goal in settings.goals],
        config_sha256=config_sha256,
        settings=SearchLimits(**{name: getattr(settings, name) for name in SearchLimits.__struct_fields__}),
        visits=[_visit(result) for result in search.results],
        capacity=None if known is None else CapacityInterval(estimate=known.estimate, low=known.low, high=known.high),
        held=None if bounds is None else _sure(bounds.held),
        failed=None if bounds is None else _sure(bounds.failed),
        binding=None if known is None else known.binding,
        conclusion=str(conclusion.kind),
        at_least=conclusion.at_least,
        below=conclusion.below,
        required=None if require is None else required(search, conclusion, require),
        stopped_by=None if stopped_by is None else str(stopped_by),
        seconds=search.seconds,
    )


def from_json(content: Mapping[str, Any], config_sha256: str) -> Search:
    """The search to resume. Raises UsageError for a file with another format, or of a search for something else."""
    if content.get("schema") != SCHEMA:
        raise UsageError(
            f"search.json has schema {content.get('schema')!r}, and this version reads {SCHEMA}: start afresh"
        )
    if content.get("config_sha256") != config_sha256:
        raise UsageError(
            "search.json was made with another configuration, whose visits say nothing about this one: "
            "resume with the same flags, or give another directory"
        )
    refuse_misfits(dict(content), _SavedSearch, "search.json is damaged:", _impossible, "; give another directory")
    try:
        goals = tuple(Goal(row["text"], row["allowed"]) for row in content["objectives"])
        settings = Settings(load_kind=content["load_kind"], goals=goals, **content["settings"])
        return Search(settings, [_visit_from_json(row) for row in content["visits"]])
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as e:
        raise UsageError(f"search.json is damaged ({type(e).__name__}: {e}): give another directory") from e


@dataclass(frozen=True, slots=True)
class StoredSearch:
    """A search, what stopped it, and the required load."""

    search: Search
    stopped_by: Ending | None
    require: float | None


def stored(content: Mapping[str, Any]) -> StoredSearch:
    """The file for a reader, whatever its configuration. Raises UsageError like `from_json`."""
    search = from_json(content, str(content.get("config_sha256")))
    stopped_by, required = content.get("stopped_by"), content.get("required")
    return StoredSearch(
        search, None if stopped_by is None else Ending(stopped_by), required["load"] if required else None
    )


def _impossible(content: Mapping[str, Any]) -> Iterator[str]:
    """Values that no search writes, in a file of the right shape."""
    settings = content["settings"]
    if any(
        not _SMALLEST <= settings.get(name, 1) <= _LARGEST
        for name in ("start", "least", "most", "precision", "budget_s")
    ):
        yield "its settings must be positive"
    if not settings.get("least", 0.1) <= settings.get("most", 100_000.0):
        yield "its lowest load is above its highest"
    if not content["objectives"] or any(
        goal["allowed"] is not None and not 0 < goal["allowed"] < 1 for goal in content["objectives"]
    ):
        yield "it needs objectives that allow a share between 0 and 1"
    for visit in content["visits"]:
        amounts = [visit["n"], visit["settle_s"], visit["seconds"], visit.get("requests", 0)]
        counts = [
            *visit.get("violations", {}).values(),
            *visit.get("jobs", {}).values(),
            *visit.get("about", {}).values(),
        ]
        positive = [visit["load"], visit["measure_s"], *visit.get("act", {}).values()]
        positive += [s for name in ("e2el_p90_s", "e2el_first_s") if (s := visit.get(name)) is not None]
        positive += [mean[name] for mean in visit.get("means", {}).values() for name in ("load", "error")]
        judged, requests = {**visit.get("about", {}), **visit.get("jobs", {})}, visit.get("requests", 0)
        too_many = any(broken > judged.get(text, requests) for text, broken in visit.get("violations", {}).items())
        if too_many or min(*amounts, *counts) < 0 or min(positive) < _SMALLEST or max(*positive, *amounts) > _LARGEST:
            yield f"visit {visit['n']} has a number that cannot be"


def required(search: Search, conclusion: Conclusion, load: float) -> RequiredLoad:
    """Whether the required load is held. `held`: a visit showed it. `probability`: how sure the load itself is."""
    probability = search.sure_of(load) if search.judged else None
    return RequiredLoad(load=load, probability=probability, held=holds(search, conclusion, load))


def _sure(entry: tuple[float, float] | None) -> SureLoad | None:
    return None if entry is None else SureLoad(load=entry[0], probability=entry[1])


def _visit(result: Result) -> SearchVisit:
    values = {field.name: getattr(result, field.name) for field in fields(result)}
    means = {text: VisitMean(**asdict(mean)) for text, mean in result.means.items()}
    return SearchVisit(**values | {"means": means})


def _visit_from_json(row: Mapping[str, Any]) -> Result:
    means = {text: Mean(**mean) for text, mean in row["means"].items()}
    return Result(**{**row, "means": means})
