"""The rows of a data set: the user's own prompts, or a trace."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.sources.in_order import SamplesInOrder
from promptset import distributions, loaders
from promptset.rng import stream
from promptset.sharing import SharingTally

if TYPE_CHECKING:
    from promptset.samples import Sample
    from promptset.tokens import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsSpec:
    """A file of rows, checked when it is opened and read as rows are taken: a large file needs little memory.

    `output_tokens`, if given, is drawn in place of the rows' own; `by_time` sorts the rows by when they are sent.
    `endpoints`: those that rows may name, and whether each takes chats; None: any. `inputs_are`: the endpoint's kind of
    inputs, if it does not generate text.
    """

    path: Path
    output_tokens: str | None = None
    columns: str | None = None
    bad_rows: loaders.BadRows = "fail"
    by_time: bool = False
    endpoints: tuple[tuple[str, bool], ...] | None = None
    inputs_are: str | None = None

    plans_sharing: ClassVar[bool] = False
    """It is unknown what its prompts share."""

    def open(
        self,
        tokenizer: Tokenizer | None,
        *,
        seed: int,
        salt: str | None = None,
        chat: bool = False,
        first: int = 0,
        step: int = 1,
    ) -> RowSource:
        """Raises SpecError if the file cannot be used."""
        rows = loaders.DataSet(
            self.path,
            tokenizer=tokenizer,
            chat=chat,
            columns=None if self.columns is None else loaders.parse_columns(self.columns),
            bad_rows=self.bad_rows,
            seed=seed,
            salt=salt,
            endpoints=None if self.endpoints is None else dict(self.endpoints),
            inputs_are=self.inputs_are,
        )
        by_time = self.by_time and rows.timed
        order = array("q", sorted(range(len(rows)), key=rows.times_s().__getitem__)) if by_time else None
        if self.output_tokens is None:
            return RowSource(rows, order=order, first=first, step=step)
        lengths = distributions.parse(self.output_tokens, "tokens")

        def drawn(row: int) -> int:
            return int(lengths.sample(stream(seed, "output_tokens", row)))

        return RowSource(rows, order=order, output_tokens=drawn, first=first, step=step)


class RowSource(SamplesInOrder):
    """Every `step`-th row of a data set, repeating from the start when they are used up."""

    def __init__(
        self,
        rows: loaders.DataSet,
        *,
        order: Sequence[int] | None = None,
        output_tokens: Callable[[int], int] | None = None,
        first: int,
        step: int,
    ) -> None:
        """`order` has the rows in order of sending; `output_tokens` gives a row's request in place of its own."""
        super().__init__(first, step)
        self._rows = rows
        self._order = range(len(rows)) if order is None else order
        self._output_tokens = output_tokens

    in_memory = False
    at_once = 1

    @property
    def first(self) -> Sample:
        return self._sample(0)

    @property
    def own_body(self) -> Sample | None:
        """The first row, if it is a full request body."""
        return self.first if self.first.body is not None else None

    @property
    def ways(self) -> tuple[Sample, ...]:
        """The first row of each endpoint and model that rows name themselves."""
        return tuple(self._rows[place] for named, place in self._rows.ways.first.items() if named != (None, None))

    @property
    def names_models(self) -> bool:
        return self._rows.ways.unnamed is None

    @property
    def size(self) -> int:
        return len(self._rows)

    @property
    def notes(self) -> tuple[str, ...]:
        """The report's notes on the file."""
        skipped = self._rows.skipped_rows
        if not skipped:
            return ()
        return (f"{skipped} rows of the data set are wrong and left out; the first: {self._rows.skipped[0]}",)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer that makes the prompts of a trace; None if the rows have their own texts."""
        return self._rows.maker_tokenizer

    def planned_sharing(self, requests: int) -> SharingTally | None:
        """Like simulated prompts. Returns None if the rows do not specify what they share."""
        rows = self._rows
        if rows.head is None:
            return None
        tally, shares = SharingTally(rows.head), False
        for place in range(requests):
            outline = rows.outline_at(self._order[place % len(rows)])
            if outline is None:
                return None
            shares |= bool(outline.path)
            tally.add(outline.input_tokens, outline.path)
        return tally if shares else None

    def untimed(self) -> str | None:
        """The first row without a time. Returns None if all have one."""
        place = next((place for place, sample in enumerate(self._rows.times_s(), 1) if math.isnan(sample)), None)
        return None if place is None else f"row {place} has none"

    def times_s(self) -> Iterator[float]:
        """When each row is sent, in order of sending, in seconds from the first."""
        times = self._rows.times_s()
        return (times[row] for row in self._order)

    def __len__(self) -> int:
        return len(self._rows)

    def at(self, number: int) -> Sample:
        """The row with this number, repeating from the first when they are used up."""
        return self._sample(number % len(self._rows))

    def _sample(self, place: int) -> Sample:
        row = self._order[place]
        sample = self._rows[row]
        return sample if self._output_tokens is None else replace(sample, output_tokens=self._output_tokens(row))
