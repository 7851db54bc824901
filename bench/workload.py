"""What is sent: an endless or finite supply of Request values, made from promptset's samples.

A Request is ready to go: its body is encoded before the run, because encoding inside the measuring loop would delay
other requests' stamps. Those that are not made before the run come from another process (bench/load/feed.py).
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bench.stock import Stock
from promptset import distributions, loaders
from promptset.chat import Tool
from promptset.kinds import PLAIN, Style
from promptset.rng import stream
from promptset.samples import Sample, SimulatedPrompts, simulated_prompts
from promptset.sharing import SharingTally, parse_prefix
from promptset.tokens import Tokenizer
from promptset.tools import ignored_note

Phase = Literal["warmup", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, ready to send. `body` is the encoded JSON body; asked tokens are None where the data does not say."""

    id: str
    index: int
    phase: Phase = "run"
    session: str | None = None
    body: bytes
    stream: bool
    input_tokens_asked: int | None
    output_tokens_asked: int | None
    on_text: Callable[[str], None] | None = None
    """Told the content of the response, reasoning left out, before its record is handed over."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoder makes of a sample: the body, and whether the reply will be a stream."""

    body: bytes
    stream: bool
    output_tokens_asked: int | None


def simulated_samples(
    tokenizer: Tokenizer,
    *,
    input_tokens: str,
    output_tokens: str,
    chat: bool,
    seed: int,
    prefix: str | None,
    style: Style = PLAIN,
    tools: Sequence[Tool] | None = None,
    times_s: Iterator[float] | None = None,
    first: int = 0,
    step: int = 1,
) -> Drawn:
    """Prompts of exactly the drawn lengths, without end: those numbered `first`, `first` + `step`, and so on.

    Raises SpecError where the lengths cannot be had.
    """
    made = simulated_prompts(
        tokenizer,
        input_tokens=distributions.parse(input_tokens, "tokens"),
        output_tokens=distributions.parse(output_tokens, "tokens"),
        chat=chat,
        seed=seed,
        prefix=None if prefix is None else parse_prefix(prefix),
        style=style,
        tools=tools,
    )
    return Drawn(made, times_s=times_s, first=first, step=step)


class Drawn(Iterator[Sample]):
    """Every `step`-th sample of simulated data; `times_s` are when all of them are sent, where there are such times."""

    def __init__(
        self, made: SimulatedPrompts, *, times_s: Iterator[float] | None = None, first: int = 0, step: int = 1
    ) -> None:
        self._made = made
        self._times_s = times_s
        self._indices = itertools.count(first, step)

    def __next__(self) -> Sample:
        return self._made.sample_at(next(self._indices))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report must say of the data."""
        note = ignored_note(self._made.maker.tokenizer, self._made.maker.tools)
        return () if note is None else (note,)

    def untimed(self) -> str | None:
        """Why it is not known when each is sent; None where it is."""
        return "simulated prompts have none" if self._times_s is None else None

    def times_s(self) -> Iterator[float]:
        """When each is sent, in seconds, without end; may be called once."""
        return iter(()) if self._times_s is None else self._times_s

    def planned_sharing(self, requests: int) -> float | None:
        """The share of the prompt tokens of the first requests that a prefix cache could serve; None: none is planned."""
        if not str(self._made.prefix):
            return None
        tally = SharingTally(self._made.maker.head)
        for index in range(requests):
            outline = self._made.outline_at(index)
            tally.add(outline.input_tokens, self._made.maker.path(outline.path))
        return tally.share


class Rows(Iterator[Sample]):
    """Every `step`-th row of a data set, from the start again when they are used up."""

    def __init__(
        self,
        rows: Sequence[Sample],
        *,
        order: Sequence[int] | None = None,
        output_tokens: Callable[[int], int] | None = None,
        first: int = 0,
        step: int = 1,
    ) -> None:
        """`order` has the rows in the order of sending; `output_tokens` gives what a row asks for in place of its own."""
        self._rows = rows
        self._order = range(len(rows)) if order is None else order
        self._output_tokens = output_tokens
        self._next = first
        self._step = step

    @classmethod
    def of_file(
        cls,
        path: Path,
        tokenizer: Tokenizer | None,
        output_tokens: str | None,
        seed: int,
        *,
        chat: bool = False,
        columns: str | None = None,
        bad_rows: loaders.BadRows = "fail",
        by_time: bool = False,
        first: int = 0,
        step: int = 1,
    ) -> Rows:
        """Rows of a file, checked now and read as they are taken: a large file needs little memory.

        `output_tokens`, where given, is drawn in place of the rows' own; `by_time` sorts them by when they are sent.
        Raises SpecError.
        """
        rows = loaders.DataSet(
            path,
            tokenizer=tokenizer,
            chat=chat,
            columns=None if columns is None else loaders.parse_columns(columns),
            bad_rows=bad_rows,
            seed=seed,
        )
        order = array("q", sorted(range(len(rows)), key=rows.times_s().__getitem__)) if by_time and rows.timed else None
        if output_tokens is None:
            return cls(rows, order=order, first=first, step=step)
        lengths = distributions.parse(output_tokens, "tokens")

        def drawn(row: int) -> int:
            return int(lengths.sample(stream(seed, "output_tokens", row)))

        return cls(rows, order=order, output_tokens=drawn, first=first, step=step)

    @property
    def first(self) -> Sample:
        return self._sample(0)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report must say of the file."""
        if not isinstance(self._rows, loaders.DataSet) or not self._rows.skipped_rows:
            return ()
        skipped = self._rows.skipped_rows
        return (f"{skipped} rows of the data set are wrong and left out; the first: {self._rows.skipped[0]}",)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer that makes the prompts of a trace; None where the rows have texts of their own."""
        return self._rows.maker_tokenizer if isinstance(self._rows, loaders.DataSet) else None

    def planned_sharing(self, requests: int) -> float | None:
        """As of `Drawn`; None where the rows do not say what they share."""
        rows = self._rows
        if not isinstance(rows, loaders.DataSet) or rows.head is None:
            return None
        tally, shares = SharingTally(rows.head), False
        for place in range(requests):
            outline = rows.outline_at(self._order[place % len(rows)])
            if outline is None:
                return None
            shares |= bool(outline.path)
            tally.add(outline.input_tokens, outline.path)
        return tally.share if shares else None

    def untimed(self) -> str | None:
        """Which row does not say when it is sent; None where all do."""
        place = next((place for place, sample in enumerate(self._times(), 1) if math.isnan(sample)), None)
        return None if place is None else f"row {place} has none"

    def times_s(self) -> Iterator[float]:
        """When each row is sent, in the order of sending, in seconds from the first."""
        times = self._times()
        return (times[row] for row in self._order)

    def _times(self) -> Sequence[float]:
        if isinstance(self._rows, loaders.DataSet):
            return self._rows.times_s()
        return [math.nan if sample.at_s is None else sample.at_s for sample in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __next__(self) -> Sample:
        index, self._next = self._next, self._next + self._step
        return self._sample(index % len(self._rows))

    def _sample(self, place: int) -> Sample:
        row = self._order[place]
        sample = self._rows[row]
        return sample if self._output_tokens is None else replace(sample, output_tokens=self._output_tokens(row))


@dataclass(frozen=True, slots=True)
class Made:
    """A request that was made and has no number yet."""

    body: bytes
    stream: bool
    input_tokens_asked: int | None
    output_tokens_asked: int | None
    session: str | None


def made_of(sample: Sample, encode: Callable[[Sample], Encoded]) -> Made:
    """The request of a sample."""
    encoded = encode(sample)
    return Made(encoded.body, encoded.stream, sample.input_tokens, encoded.output_tokens_asked, sample.session)


class Supply:
    """Hands out requests, made of an endless iterator of samples and numbered `first`, `first` + `step`, and so on."""

    def __init__(
        self,
        samples: Iterator[Sample],
        encode: Callable[[Sample], Encoded],
        run_id: str,
        *,
        first: int = 0,
        step: int = 1,
    ) -> None:
        self._run_id = run_id
        self._first = first
        self._next = first
        self._step = step
        self.stock: Stock[Request] = Stock(
            lambda: self._numbered(made_of(next(samples), encode)), lambda request: (1, len(request.body))
        )

    @property
    def has_room(self) -> bool:
        """Whether more requests may be made ahead."""
        return self.stock.has_room

    def add(self, made: Made) -> None:
        """One more request is there."""
        self.stock.put(self._numbered(made))

    def _numbered(self, made: Made) -> Request:
        index, self._next = self._next, self._next + self._step
        return Request(
            id=f"{self._run_id}-{index}",
            index=index,
            session=made.session,
            body=made.body,
            stream=made.stream,
            input_tokens_asked=made.input_tokens_asked,
            output_tokens_asked=made.output_tokens_asked,
        )

    def take(self, phase: Phase) -> Request:
        """The next request, for this phase."""
        request = self.stock.take()
        return request if phase == "run" else replace(request, phase=phase)

    def taken_from(self, index: int) -> int:
        """How many of the requests that were taken have this number or a higher one."""
        end = self._next - len(self.stock) * self._step
        return max(0, (end - max(self._first, index)) // self._step)
