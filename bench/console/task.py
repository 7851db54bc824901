"""A task as a value: its current state and everything known about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.config.addresses import urls_of
from bench.console.language import Phrase, tr
from bench.console.store import Marks
from bench.endpoints import DEFAULT, ENDPOINTS, urls
from bench.results.tokens import input_rate
from bench.run_files.run_state import RunState

QUEUED, STARTING, NOT_STARTED = "queued", "starting", "not started"
BEING_READ = "being read"
"""A directory that ended before this console started and that the index has not reached yet."""
FAILED, STOPPED, KILLED = "could not start", "stopped", "killed"
ENDED = str(RunState.ENDED)
OVER = (ENDED, STOPPED, KILLED, FAILED)
"""States that do not change by themselves."""
ACTIVE = (STARTING, *(str(state) for state in RunState if state is not RunState.ENDED))
STATES = (QUEUED, NOT_STARTED, *ACTIVE, *OVER, BEING_READ)

INPUTS = "inputs_per_s"
HEADLINES = (
    ("requests_per_s", tr("requests/s")),
    ("output_tokens_per_s", tr("tokens/s")),
    (INPUTS, tr("inputs/s")),
    ("ttft_p50_ms", tr("TTFT p50, ms")),
    ("ttft_p99_ms", tr("TTFT p99, ms")),
    ("tpot_p50_ms", tr("TPOT p50, ms")),
    ("e2el_p50_ms", tr("E2EL p50, ms")),
    ("e2el_p99_ms", tr("E2EL p99, ms")),
)
"""The metrics of the list and the comparison: key of `Task.numbers`, and title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A finished run of a series."""

    run: str
    """Its directory inside the task's."""
    load: str
    verdict: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The current state of a task."""

    id: str
    state: str
    kind: str = "run"
    target: str = ""
    load: str = ""
    started: str | None = None
    ended: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """The settings that differ from the defaults, without secrets."""
    verdict: str | None = None
    verdict_headline: str | None = None
    """The verdict of a run and what its results support, in the words of its report."""
    reasons: tuple[str, ...] = ()
    held: bool | None = None
    """Whether a run met all its objectives."""
    held_is_shown: bool | None = None
    """Whether the confidence intervals of the metrics show that."""
    counts: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, float | None] = field(default_factory=dict)
    sparkline: tuple[float, ...] = ()
    """Output tokens or requests per second over the run, at most 40 values from 0 to 1."""
    headline: str | None = None
    """The result of a series, so far or final."""
    steps: tuple[Step, ...] = ()
    """The runs of a series, in order."""
    run: str | None = None
    """The current run of a series."""
    share_done: float | None = None
    """The completed share of a running series."""
    problem: str | None = None
    """Why it could not start, or the last output of its process."""
    has_report: bool = False
    can_go_on: bool = False
    """Whether the console can continue this series, which ended early."""
    needs: tuple[str, ...] = ()
    """Typed secrets that the console no longer has."""
    by: str | None = None
    """Who created it, if a proxy names people."""
    made_from: str | None = None
    """For a plan, the name of the search it was made from."""
    marks: Marks = field(default_factory=Marks)
    start_at: str | None = None

    @property
    def title(self) -> str:
        return self.marks.title or self.id

    @property
    def is_run(self) -> bool:
        """Whether it is a single run, not a series or a plan."""
        return self.kind in ("run", "calibrate")

    @property
    def endpoint(self) -> str:
        """The API under test; empty for the default, chat."""
        name = endpoint_of(self.settings)
        return "" if name == DEFAULT else name

    @property
    def of_inputs(self) -> bool:
        """Whether its API consumes inputs and does not generate text, so that there are no output tokens."""
        return self.inputs_are is not None

    @property
    def inputs_are(self) -> str | None:
        """The kind of its inputs (texts, images), if its replies are not generated text."""
        api = ENDPOINTS.get(endpoint_of(self.settings))
        return None if api is None else api.inputs_are

    @property
    def delivered(self) -> str:
        """The title of its throughput."""
        if (are := self.inputs_are) is None:
            return tr("Output tokens/s")
        return Phrase(input_rate(are, title=True))

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def over(self) -> bool:
        """Whether its state no longer changes by itself."""
        return self.state in OVER

    def to_json(self) -> dict[str, Any]:
        """The task for the API, with title and marks among the other fields."""
        fields = asdict(self)
        marks = fields.pop("marks")
        return {**fields, **marks, "title": self.title, "active": self.active}


def endpoint_of(settings: Mapping[str, Any]) -> str:
    """The API that these settings test."""
    return str(settings.get("endpoint") or urls.endpoint_of(urls_of(settings.get("url"))[0]) or DEFAULT)


def place_of(settings: Mapping[str, Any]) -> str:
    """The target of a load: its first URL, and how many more there are."""
    first, *more = [str(row["url"]) for row in settings.get("targets") or ()] or urls_of(settings.get("url"))
    return f"{first} +{len(more)}" if more else first


def selected(tasks: Sequence[Task], state: str | None, label: str | None, search: str) -> list[Task]:
    """The tasks with this state and label that contain a text."""
    wanted = search.lower().strip()
    return [
        task
        for task in tasks
        if (not state or task.state == state)
        and (not label or task.marks.label == label)
        and wanted in f"{task.id} {task.title} {task.target} {task.load} {task.marks.note or ''}".lower()
    ]


def headlines(tasks: Sequence[Task]) -> list[tuple[str, str]]:
    """The metrics that at least one task has. Empty if any task has no metrics at all."""
    if not all(task.numbers for task in tasks):
        return []
    are = {task.inputs_are for task in tasks}
    titles = dict(HEADLINES) | {INPUTS: Phrase(input_rate(are.pop() if len(are) == 1 else None))}
    return [(key, title) for key, title in titles.items() if any(task.numbers.get(key) is not None for task in tasks)]
