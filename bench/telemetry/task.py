"""The messages between a run and its exporting process. It imports nothing slow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FINISH_WITHIN_S = 5.0
"""The usual `TelemetryTask.finish_within_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The identity of the run in metrics and spans. `generates`: its replies are generated text. `request`: the
    attributes that all its requests share (`gen_ai.request.*`)."""

    run_id: str
    name: str
    version: str
    endpoint: str
    generates: bool
    model: str | None
    host: str
    port: int
    load_unit: str
    request: Mapping[str, str | int | float | bool | tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryTask:
    """Where to export to. `otlp`: a base URL, `env` for the environment's, None for no export. `address`: host and port
    of the page, None for no page. `finish_within_s`: how long the end of a load waits for the last export."""

    directory: str
    otlp: str | None
    address: tuple[str, int] | None
    linger_s: float
    finish_within_s: float


@dataclass(frozen=True, slots=True)
class Ready:
    """The process can begin, unless there are problems, which end the run. `page`: the URL of the page."""

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    page: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The exports until the load ended. `error`: of the last failed export. `unread`: bytes of records that were not
    read in time. `unfinished`: the last export was still running."""

    exports: int = 0
    failed: int = 0
    spans: int = 0
    lost_spans: int = 0
    error: str | None = None
    unread: int = 0
    unfinished: bool = False

    def notes(self) -> tuple[str, ...]:
        """Sentences for the report; empty if everything was exported."""
        sentences = []
        if self.failed:
            why = "" if self.error is None else f" ({self.error})"
            sentences.append(f"--otlp: {self.failed} of {self.exports} exports failed{why}")
        if self.unfinished:
            sentences.append(f"--otlp: the last export was not done {FINISH_WITHIN_S:g} s after the load")
        if self.lost_spans:
            sentences.append(f"--otlp: {self.lost_spans} of {self.spans + self.lost_spans} spans were not exported")
        if self.unread:
            sentences.append(f"exported metrics lack {self.unread} bytes of records that could not be read in time")
        return tuple(sentences)


NOTHING = Exported()
DIED = "the process that exports metrics and spans died: they end before the load does"
