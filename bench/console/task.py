"""A task as a value: what it is now, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bench.console.language import tr
from bench.console.store import Marks
from bench.endpoints import DEFAULT, ENDPOINTS, urls
from bench.run_files.run_state import RunState

if TYPE_CHECKING:
    from bench.endpoints.interface import Endpoint

QUEUED, STARTING, NOT_STARTED = "queued", "starting", "not started"
BEING_READ = "being read"
"""A directory that ended before this console began, and that its index has not come to yet."""
FAILED, STOPPED, KILLED = "could not start", "stopped", "killed"
ENDED = str(RunState.ENDED)
OVER = (ENDED, STOPPED, KILLED, FAILED)
"""States after which nothing changes by itself."""
ACTIVE = (STARTING, *(str(state) for state in RunState if state is not RunState.ENDED))
STATES = (QUEUED, NOT_STARTED, *ACTIVE, *OVER, BEING_READ)

HEADLINES = (
    ("requests_per_s", tr("requests/s")),
    ("output_tokens_per_s", tr("tokens/s")),
    ("inputs_per_s", tr("inputs/s")),
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
    marks: Marks = field(default_factory=Marks)
    start_at: str | None = None

    @property
    def title(self) -> str:
        return self.marks.title or self.id

    @property
    def endpoint(self) -> str:
        """The API that it loads, where it is not that of chats; empty where it is."""
        name = str(self.settings.get("endpoint") or urls.endpoint_of(str(self.settings.get("url", ""))) or DEFAULT)
        return "" if name == DEFAULT else name

    @property
    def of_inputs(self) -> bool:
        """Whether its replies are no generated text: it has inputs, and no tokens that come out."""
        return self._api is not None and self._api.inputs_are is not None

    @property
    def delivered(self) -> str:
        """The unit of its throughput."""
        if self._api is None or self._api.inputs_are is None:
            return tr("Output tokens/s")
        if self._api.inputs_are == "images":
            return tr("Images/s")
        if self._api.inputs_are == "utterances":
            return tr("Utterances/s")
        return tr("Inputs/s") if self._api.counts_tokens else tr("Requests/s")

    @property
    def _api(self) -> Endpoint | None:
        return ENDPOINTS.get(str(self.settings.get("endpoint") or urls.endpoint_of(str(self.settings.get("url", "")))))

    @property
    def active(self) -> bool:
        """Whether its program runs."""
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
    return [(key, title) for key, title in HEADLINES if any(task.numbers.get(key) is not None for task in tasks)]
