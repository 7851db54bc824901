"""The run's side of the process that exports metrics and spans (`program.py`). Nothing is sent to it while the load
runs."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench.endpoints.choice import endpoint_of
from bench.errors import UsageError
from bench.machine import identity
from bench.process.companion import Companion
from bench.telemetry.task import DIED, Exported, Ready, Subject, TelemetryTask

if TYPE_CHECKING:
    from bench.config import RunConfig

PROGRAM = "bench.telemetry.program"
_PATIENCE_S = 3.0
"""How much longer than the time limit the end of a load waits for the process."""

_OF_BODY = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
}
"""Fields of every body, by their names in spans."""


def subject_of(config: RunConfig, run_id: str, model: str | None, version: str) -> Subject:
    """The identity of the run in metrics and spans."""
    parts, endpoint = urlsplit(config.url), endpoint_of(config)
    return Subject(
        run_id=run_id,
        name=config.name,
        version=version,
        endpoint=config.endpoint,
        generates=endpoint.generates,
        model=model,
        host=parts.hostname or "",
        port=parts.port if parts.port is not None else (443 if parts.scheme == "https" else 80),
        load_unit=config.load.load_unit or "",
        request=_request_attributes(config.extra_body or {}),
    )


def _request_attributes(body: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {name: body[key] for key, name in _OF_BODY.items() if type(body.get(key)) in (int, float)}
    if attributes.get("gen_ai.request.choice.count") == 1:
        del attributes["gen_ai.request.choice.count"]
    stop = body.get("stop")
    if isinstance(stop, str | list):
        attributes["gen_ai.request.stop_sequences"] = tuple([stop] if isinstance(stop, str) else map(str, stop))
    return attributes


def _has_sdk() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


class Telemetry:
    """Call `ready`, `begin`, `finish`, then `linger`; `close` in any case."""

    def __init__(self, task: TelemetryTask) -> None:
        """Raises UsageError if a package is missing."""
        if task.otlp is not None and not _has_sdk():
            raise UsageError(
                "--otlp needs the OpenTelemetry SDK: pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
            )
        self._task = task
        self._companion = Companion(PROGRAM)
        self.page: str | None = None
        """The URL of the page, once the process is ready."""

    async def ready(self) -> tuple[str, ...]:
        """Wait until the process is ready. Returns notes for the report. Raises UsageError with every problem."""
        try:
            answer = await self._companion.ask(self._task, Ready)
        except (EOFError, OSError):
            raise UsageError(
                "the process that exports metrics did not start: leave out --otlp and --metrics-port"
            ) from None
        if answer.problems:
            raise UsageError(list(answer.problems))
        self.page = answer.page
        return answer.notes

    def begin(self, config: RunConfig, run_id: str, model: str | None) -> None:
        subject = subject_of(config, run_id, model, identity.versions().get("trueload", ""))
        with contextlib.suppress(OSError):
            self._companion.connection.send(subject)

    async def finish(self) -> tuple[str, ...]:
        """After the load, wait for the last export. Returns notes for the report."""
        try:
            exported = await asyncio.wait_for(
                self._companion.ask(None, Exported), 2 * self._task.finish_within_s + _PATIENCE_S
            )
        except TimeoutError:  # A subclass of OSError, so it comes first.
            return Exported(unfinished=True).notes()
        except (EOFError, OSError):
            return (DIED,)
        return exported.notes()

    @property
    def lingers(self) -> bool:
        """Whether the page waits for one more reader."""
        return self.page is not None and self._task.linger_s > 0 and self._companion.process.poll() is None

    def linger(self) -> None:
        """Wait until the page has been read once more, or its time is up."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._companion.process.wait(self._task.linger_s + _PATIENCE_S)

    def close(self) -> None:
        """End the process. Idempotent."""
        self._companion.close()
