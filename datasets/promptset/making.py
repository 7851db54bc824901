"""Lines made in order, here or by several processes: the same bytes either way, in bounded memory."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from threading import Semaphore

from promptset import distributions
from promptset.chat import Tool
from promptset.errors import SpecError
from promptset.kinds import parse_style
from promptset.loaders import BadRows, DataSet, parse_columns
from promptset.row_formats import FORMS, Line, lines_of, lines_of_sessions
from promptset.samples import Sample, Simulated, simulated
from promptset.sessions import SimulatedSessions, simulated_sessions
from promptset.sharing import parse_prefix
from promptset.tokenizer import Tokenizer
from promptset.tokens import load_tokenizer

CHUNK = 64
"""Rows that are made at once."""
_AHEAD = 4
"""Chunks a process that may be made before the first of them is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be made, in values that can be given to another process: of a file (`source`), or simulated."""

    tokenizer: str | None
    chat: bool
    seed: int
    form: str = "rows"
    model: str | None = None
    source: str | None = None
    columns: str | None = None
    bad_rows: BadRows = "fail"
    input_tokens: str = "1024"
    output_tokens: str = "128"
    prefix: str | None = None
    text: str = "words"
    repeat: str = "0"
    tools: tuple[Tool, ...] | None = None
    turns: str | None = None
    """Sessions of so many turns; None: single requests."""
    think_time: str = "0s"


class Maker:
    """Makes the lines of an order. Raises SpecError where it cannot be had."""

    def __init__(self, order: Order, tokenizer: Tokenizer | None = None) -> None:
        self._order = order
        self.tokenizer = load_tokenizer(order.tokenizer) if tokenizer is None else tokenizer
        self.samples: Simulated | SimulatedSessions | DataSet
        if order.source is not None:
            self.samples = DataSet(
                Path(order.source),
                tokenizer=self.tokenizer,
                chat=order.chat,
                columns=None if order.columns is None else parse_columns(order.columns),
                bad_rows=order.bad_rows,
                seed=order.seed,
            )
            return
        prefix = None if order.prefix is None else parse_prefix(order.prefix)
        if order.turns is not None:
            self.samples = simulated_sessions(
                self.tokenizer,
                turns=distributions.parse(order.turns, "tokens"),
                input_tokens=distributions.parse(order.input_tokens, "tokens"),
                output_tokens=distributions.parse(order.output_tokens, "tokens"),
                think_time=distributions.parse(order.think_time, "time"),
                seed=order.seed,
                prefix=prefix,
            )
            return
        self.samples = simulated(
            self.tokenizer,
            input_tokens=distributions.parse(order.input_tokens, "tokens"),
            output_tokens=distributions.parse(order.output_tokens, "tokens"),
            chat=order.chat,
            seed=order.seed,
            prefix=prefix,
            style=parse_style(order.text, order.repeat),
            tools=order.tools,
        )

    @property
    def head(self) -> int | None:
        """Tokens in front of what is shared on purpose; None where nothing is."""
        if isinstance(self.samples, DataSet):
            return self.samples.head
        if isinstance(self.samples, SimulatedSessions):
            return None  # What turns share with those before them is no plan of ours.
        return self.samples.maker.head if str(self.samples.prefix) else None

    def lines(self, first: int, times_s: list[float | None]) -> list[Line]:
        """As many lines as there are times, from number `first` on; a time that is None leaves the sample's own."""
        made = self.samples
        if isinstance(made, SimulatedSessions):
            sessions = [made.session_at(first + offset) for offset in range(len(times_s))]
            return lines_of_sessions(sessions, self.tokenizer)
        samples = [self._sample(made, first + offset, at_s) for offset, at_s in enumerate(times_s)]
        order = self._order
        return lines_of(samples, first, FORMS[order.form], self.tokenizer, order.chat, order.model)

    @staticmethod
    def _sample(made: Simulated | DataSet, index: int, at_s: float | None) -> Sample:
        sample = made[index] if isinstance(made, DataSet) else made.sample_at(index)
        return sample if at_s is None else replace(sample, at_s=at_s)


Task = tuple[int, list[float | None]]


def tasks(count: int, times_s: Iterator[float] | None) -> Iterator[Task]:
    """`count` rows in chunks, each with the times of its rows."""
    for first in range(0, count, CHUNK):
        rows = min(CHUNK, count - first)
        yield first, [None] * rows if times_s is None else list(islice(times_s, rows))


def lines_in_order(maker: Maker, order: Order, todo: Iterator[Task], processes: int) -> Iterator[list[Line]]:
    """The lines of every task, in order. Raises SpecError. With one process they are made here, by `maker`."""
    if processes == 1:
        yield from (maker.lines(first, times) for first, times in todo)
        return
    import multiprocessing  # Most need one process, and this costs 10 ms.

    room = Semaphore(processes * _AHEAD)
    over = False

    def admitted() -> Iterator[Task]:
        for task in todo:
            room.acquire()
            if over:
                return
            yield task

    # Not forked: the tokenizer's threads do not survive that.
    with multiprocessing.get_context("spawn").Pool(processes, _begin, (order,)) as pool:
        try:
            for lines, problems in pool.imap(_made, admitted()):
                room.release()
                if problems:
                    raise SpecError(problems)
                yield lines
        finally:
            over = True
            room.release()  # Whoever waits for room sees that it is over.


_maker: Maker | list[str] = []


def _begin(order: Order) -> None:
    """The beginning of a process: it makes the same things as every other. Ctrl-C is its parent's business."""
    global _maker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _maker = Maker(order)
    except SpecError as e:
        _maker = e.problems


def _made(task: Task) -> tuple[list[Line], list[str]]:
    """The lines, or what is wrong: as a value, since not every exception can be sent."""
    if isinstance(_maker, list):
        return [], _maker
    try:
        return _maker.lines(*task), []
    except SpecError as e:
        return [], e.problems
