"""The common form of the results of all load testers: requests with their client's times, and a load."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bench.errors import UsageError
from bench.records import Outcome

T = TypeVar("T")
SPREAD = (
    "the file has no start times: starts are spread evenly over the duration, so that throughput and the mean in flight are "
    "right, and nothing over time is"
)
ONE_GAP = "the file has no times of single tokens: ITL is the mean of each request"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRequest:
    """A request as another client saw it, in seconds. None: the file does not have it.

    `gaps_s`: between the chunks of its reply. Token counts are as in the file: in some, not whole numbers. `outcome`:
    INTERRUPTED and CANCELLED are neither successes nor failures.
    """

    sent_s: float | None = None
    """From an arbitrary zero that all requests share."""
    due_s: float | None = None
    latency_s: float | None
    """From its send to its end."""
    ttft_s: float | None
    gaps_s: Sequence[float] | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    outcome: Outcome = Outcome.OK
    status: int | None = None
    error: str | None = None
    warmup: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRun:
    """A load of another client. `started`: ISO 8601. None: the file does not have it."""

    requests: Sequence[ForeignRequest]
    started: str | None = None
    duration_s: float | None = None
    version: str | None = None
    model: str | None = None
    url: str | None = None
    endpoint: str = "chat"
    concurrency: int | None = None
    rate: float | None = None
    lacks: tuple[str, ...] = ()
    """One sentence for each fact that the file lacks: the fact, and the value used instead."""


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A result file: its JSON documents. A JSON Lines file has several."""

    path: Path
    documents: Sequence[Any]

    @property
    def first(self) -> dict[str, Any]:
        """The first document; empty if it is not an object."""
        document = self.documents[0] if self.documents else None
        return document if isinstance(document, dict) else {}

    def convert(self, document: object, kind: type[T], where: str = "") -> T:
        """The document as this type. Raises UsageError with what is wrong in it."""
        try:
            return msgspec.convert(document, kind)
        except msgspec.ValidationError as e:
            raise UsageError(f"{self.path}{where}: {e}") from e


@dataclass(frozen=True, slots=True)
class Tool:
    """A load tester."""

    title: str
    recognizes: Callable[[ResultFile], bool]
    read: Callable[[ResultFile], Iterator[ForeignRun]]


def read_file(path: Path) -> ResultFile:
    """Read a JSON or JSON Lines file. Raises UsageError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"{path} cannot be read: {e.strerror if isinstance(e, OSError) else 'it is not text'}") from e
    try:
        return ResultFile(path, [_loaded(text)])
    except RecursionError:
        raise UsageError(f"{path} is not a result file: it is nested too deeply") from None
    except ValueError as e:  # Not JSON, or a number with more digits than Python reads.
        whole = e
    documents = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            documents += [_loaded(line)] if line.strip() else []
        except (ValueError, RecursionError):
            where = f"line {number} is not JSON" if documents else f"it is not JSON ({whole})"
            raise UsageError(f"{path} is not a result file: {where}") from None
    return ResultFile(path, documents)


def _loaded(text: str) -> Any:  # noqa: ANN401 - any JSON
    """A JSON document. Half a surrogate pair becomes U+FFFD, because it cannot be written to our files."""
    document = json.loads(text)
    if re.search(r"\\u[dD]", text) is None:
        return document
    whole = json.dumps(document, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return json.loads(whole)


def http_status(code: int | None) -> int | None:
    """The code of an error if it is an HTTP status; tools also have codes for their own errors."""
    return code if code is not None and 100 <= code < 600 else None


def iso_time(unix_s: float) -> str | None:
    """A Unix time in ISO 8601, or None if it is invalid."""
    try:
        return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return None


def without_requests(file: ResultFile, tool: str, needs: str) -> UsageError:
    """The error of a file that has only totals."""
    return UsageError(f"{file.path} has no single requests: run {tool} with {needs}, and import that file")


def spread(requests: Sequence[ForeignRequest], duration_s: float) -> list[ForeignRequest]:
    """The requests with evenly spaced start times, so that the first starts at 0 and the last to end ends at the end.
    The sum of the latencies over the duration, which is the mean in flight by Little's law, equals that of the real
    starts."""
    steps_s = ((duration_s - (request.latency_s or 0.0)) / number for number, request in enumerate(requests) if number)
    step_s = max(0.0, min(steps_s, default=0.0))
    return [replace(request, sent_s=number * step_s) for number, request in enumerate(requests)]
