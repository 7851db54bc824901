"""A task as a value: what it is now, and what is known of it."""

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
"""A directory that ended before this console began, and that its index has not come to yet."""
FAILED, STOPPED, KILLED = "could not start", "stopped", "killed"
ENDED = str(RunState.ENDED)
OVER = (ENDED, STOPPED, KILLED, FAILED)
"""States after which nothing changes by itself."""
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
"""The numbers of the list and of the comparison: key of `Task.numbers`, and its title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A run of a search or a sweep that has ended."""

    run: str
    """Its directory in that of the task."""
    load: str
    verdict: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as it is now."""

    id: str
    state: str
    kind: str = "run"
    target: str = ""
    load: str = ""
    started: str | None = None
    ended: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """What differs from the defaults, without secrets."""
    verdict: str | None = None
    verdict_headline: str | None = None
    """The verdict of a run with what its numbers can bear, as its report says it."""
    reasons: tuple[str, ...] = ()
    held: bool | None = None
    """Whether all objectives of a run held."""
    held_is_shown: bool | None = None
    """Whether the intervals of its numbers show that."""
    counts: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, float | None] = field(default_factory=dict)
    sparkline: tuple[float, ...] = ()
    """Output tokens or requests a second over the run, at most 40 values from 0 to 1."""
    headline: str | None = None
    """The answer of a search or a sweep, so far or at its end."""
    steps: tuple[Step, ...] = ()
    """Of a search or a sweep, in their order."""
    run: str | None = None
    """The run of a search or a sweep that goes on now."""
    share_done: float | None = None
    """Of a search or a sweep, while it goes on."""
    problem: str | None = None
    """Why it could not start, or what its program said last."""
    has_report: bool = False
    can_go_on: bool = False
    """Whether it is a search or a sweep that ended too early and that the console can go on with."""
    needs: tuple[str, ...] = ()
    """Secrets that were typed in and that the console does not have any more."""
    by: str | None = None
    """Who made it, if a proxy names people."""
    made_from: str | None = None
    """Of a plan, the name of the search that it was made from."""
    marks: Marks = field(default_factory=Marks)
    start_at: str | None = None

    @property
    def title(self) -> str:
        return self.marks.title or self.id

    @property
    def is_run(self) -> bool:
        """Whether it is one run, and not a series of them or a plan."""
        return self.kind in ("run", "calibrate")

    @property
    def endpoint(self) -> str:
        """The API that it loads, where it is not that of chats; empty if it is."""
        name = endpoint_of(self.settings)
        return "" if name == DEFAULT else name

    @property
    def of_inputs(self) -> bool:
        """Whether its replies are no generated text: it has inputs, and no tokens that come out."""
        return self.inputs_are is not None

    @property
    def inputs_are(self) -> str | None:
        """What its requests are made of (texts, images), if its replies are no generated text."""
        api = ENDPOINTS.get(endpoint_of(self.settings))
        return None if api is None else api.inputs_are

    @property
    def delivered(self) -> str:
        """The unit of its throughput."""
        if (are := self.inputs_are) is None:
            return tr("Output tokens/s")
        return Phrase(input_rate(are, title=True))

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state in OVER

    def to_json(self) -> dict[str, Any]:
        """The task for the API, with title and marks beside the other fields."""
        fields = asdict(self)
        marks = fields.pop("marks")
        return {**fields, **marks, "title": self.title, "active": self.active}


def endpoint_of(settings: Mapping[str, Any]) -> str:
    """The API that these settings load."""
    return str(settings.get("endpoint") or urls.endpoint_of(urls_of(settings.get("url"))[0]) or DEFAULT)


def place_of(settings: Mapping[str, Any]) -> str:
    """Where a load goes: a URL, and how many more there are."""
    first, *more = [str(row["url"]) for row in settings.get("targets") or ()] or urls_of(settings.get("url"))
    return f"{first} +{len(more)}" if more else first


def selected(tasks: Sequence[Task], state: str | None, label: str | None, search: str) -> list[Task]:
    """The tasks with this state and this label that contain a text."""
    wanted = search.lower().strip()
    return [
        task
        for task in tasks
        if (not state or task.state == state)
        and (not label or task.marks.label == label)
        and wanted in f"{task.id} {task.title} {task.target} {task.load} {task.marks.note or ''}".lower()
    ]


def headlines(tasks: Sequence[Task]) -> list[tuple[str, str]]:
    """The numbers that any of these tasks has. Returns no numbers if one of the tasks has none."""
    if not all(task.numbers for task in tasks):
        return []
    are = {task.inputs_are for task in tasks}
    titles = dict(HEADLINES) | {INPUTS: Phrase(input_rate(are.pop() if len(are) == 1 else None))}
    return [(key, title) for key, title in titles.items() if any(task.numbers.get(key) is not None for task in tasks)]
