"""Requests of any HTTP service: one body, the rows of a file, a template, or no body."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.sources.file_rows import read_rows
from bench.sources.http_template import BodyTemplate, parse_template
from bench.sources.in_order import SamplesInOrder
from promptset.errors import SpecError
from promptset.loaders.http_requests import FORMATS, HttpRows, read_http_rows
from promptset.samples import HttpRequest, Sample
from promptset.whole_file import read_named

if TYPE_CHECKING:
    from promptset.tokens import Tokenizer

COLUMNS = "columns"
ROW_FORMATS = (*FORMATS, COLUMNS)
"""The values of `--rows`."""


def content_of(value: str) -> bytes:
    """The bytes of a text, or of the file named after @. Raises ValueError."""
    if not value.startswith("@"):
        return value.encode()
    try:
        return read_named(value[1:])
    except OSError as e:
        raise ValueError(f"the file {value[1:]} cannot be read ({e.strerror})") from e


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSpec:
    """The settings of the requests. At most one of `body` and `template` is set; `by_time` sorts rows by their times.
    `method` applies to requests without one; None: the run's."""

    method: str | None = None
    path: Path | None = None
    rows: str = "auto"
    body: str | None = None
    template: str | None = None
    by_time: bool = False

    plans_sharing: ClassVar[bool] = False
    """Requests have no prompts."""

    def open(
        self, tokenizer: Tokenizer | None, *, seed: int, salt: str | None, chat: bool, first: int, step: int
    ) -> HttpSource:
        """Raises SpecError if a file cannot be used."""
        del tokenizer, chat
        if self.template is not None:
            return self._of_template(self.template, seed, salt, first=first, step=step)
        if self.path is not None:
            rows = read_http_rows(self.path, self.rows)
            samples = tuple(map(self._with_method, rows.samples))
            return HttpSource(samples, notes=notes_of(rows, self.rows), by_time=self.by_time, first=first, step=step)
        body = b"" if self.body is None else content_of(self.body)
        return HttpSource((Sample(http=HttpRequest(body, self.method)),), repeats_one=True, first=first, step=step)

    def _with_method(self, sample: Sample) -> Sample:
        request = sample.http
        if request is None or request.method is not None:
            return sample
        return replace(sample, http=replace(request, method=self.method))

    def _of_template(self, written: str, seed: int, salt: str | None, *, first: int, step: int) -> HttpSource:
        template = parse_template(content_of(written).decode())
        rows: tuple[dict[str, object], ...] = ({},) if self.path is None else tuple(read_rows(self.path, dict))
        for name in template.columns:
            lacking = next((number for number, row in enumerate(rows, 1) if name not in row), None)
            if lacking is not None:
                where = "there is no --dataset" if self.path is None else f"row {lacking} of {self.path} has none"
                raise SpecError(f"--body-template: {{{{ {name} }}}} is a column, and {where}")

        def made(number: int) -> Sample:
            return Sample(http=HttpRequest(template.body(rows[number % len(rows)], number, seed, salt), self.method))

        size = len(rows) if self.path is not None and _is_fixed(template) else None
        return HttpSource((made(0),), made=made, size=size, first=first, step=step)


def _is_fixed(template: BodyTemplate) -> bool:
    """Whether the bodies depend only on the rows."""
    return all(place.of is None for place in template.places)


def notes_of(rows: HttpRows, asked: str) -> tuple[str, ...]:
    """The report's notes on the file: its format if none was named, and requests that are left out."""
    notes = []
    if asked == "auto":
        notes.append(f"the file of requests is read as {rows.format} (--rows {rows.format})")
    if rows.elsewhere:
        notes.append(f"{rows.elsewhere} requests of the file go to other hosts than {rows.host}, and are left out")
    return tuple(notes)


class HttpSource(SamplesInOrder):
    """The requests by number; rows repeat from the start when they are used up."""

    at_once = 1
    ways: tuple[Sample, ...] = ()
    names_models = True
    """No request needs a model."""
    tokenizer = None

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        made: Callable[[int], Sample] | None = None,
        size: int | None = None,
        repeats_one: bool = False,
        by_time: bool = False,
        notes: tuple[str, ...] = (),
        first: int,
        step: int,
    ) -> None:
        """`made` makes a sample from its number, in place of `samples`; `size` is how many differ. `repeats_one`: every
        request is the same on purpose."""
        super().__init__(first, step)
        timed = by_time and all(sample.at_s is not None for sample in samples)
        self._samples = sorted(samples, key=lambda sample: sample.at_s or 0.0) if timed else samples
        self._made = made
        self._size = size if made is not None else None if repeats_one else len(samples)
        self.notes = notes

    @property
    def in_memory(self) -> bool:
        return self._made is None

    @property
    def size(self) -> int | None:
        return self._size

    @property
    def own_body(self) -> Sample:
        """The first request, which the probe sends."""
        return self._samples[0]

    def at(self, number: int) -> Sample:
        return self._samples[number % len(self._samples)] if self._made is None else self._made(number)

    def planned_sharing(self, requests: int) -> None:
        """There are no prompts."""

    def untimed(self) -> str | None:
        """Why the times of requests are unknown; None if they are known."""
        if self._made is not None:
            return "bodies from a template have none"
        place = next((place for place, sample in enumerate(self._samples, 1) if sample.at_s is None), None)
        return None if place is None else f"row {place} has none"

    def times_s(self) -> Iterator[float]:
        """When each row is sent, in seconds from the first."""
        return iter(array("d", [sample.at_s for sample in self._samples if sample.at_s is not None]))
