"""Generates lines in order, in one process or several, with the same bytes and in bounded memory."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from threading import Semaphore

from promptset import distributions, recipes
from promptset.agents.made import AgentSessions, agent_sessions
from promptset.chat import Tool
from promptset.errors import SpecError
from promptset.kinds import parse_style
from promptset.loaders import BadRows, DataSet, parse_columns
from promptset.output_formats import OUTPUT_FORMATS, Line, lines_of, lines_of_sessions
from promptset.samples import Sample
from promptset.sessions import SimulatedSessions, simulated_sessions
from promptset.sharing import parse_prefix
from promptset.simulated import SimulatedPrompts, simulated_prompts
from promptset.tokenizer import Tokenizer
from promptset.tokens import load_tokenizer

CHUNK = 64
"""Rows per task."""
_AHEAD = 4
"""The maximum tasks per process that may be in progress before the first of them is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetSpec:
    """Describes a data set, from a file (`source`) or simulated, in values that can be sent to another process."""

    tokenizer: str | None
    chat: bool
    seed: int
    salt: str | None = None
    format: str = "rows"
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
    """Turns per session; None for single requests."""
    think_time: str = "0s"
    sessions_of: str | None = None
    """The recipe for sessions."""
    context_limit: int | None = None
    """The context limit to which lengths are scaled. None: the recipe's own."""


class LineMaker:
    """Makes the lines of a data set. Raises SpecError if it cannot be made."""

    def __init__(self, spec: DataSetSpec, tokenizer: Tokenizer | None = None) -> None:
        self._spec = spec
        self.tokenizer = load_tokenizer(spec.tokenizer) if tokenizer is None else tokenizer
        self.samples: SimulatedPrompts | SimulatedSessions | AgentSessions | DataSet
        if spec.sessions_of is not None:
            recipe = recipes.load_sessions(spec.sessions_of)
            recipe = recipe if spec.context_limit is None else recipe.within(spec.context_limit)
            self.samples = agent_sessions(self.tokenizer, recipe, seed=spec.seed, salt=spec.salt)
            return
        if spec.source is not None:
            self.samples = DataSet(
                Path(spec.source),
                tokenizer=self.tokenizer,
                chat=spec.chat,
                columns=None if spec.columns is None else parse_columns(spec.columns),
                bad_rows=spec.bad_rows,
                seed=spec.seed,
                salt=spec.salt,
            )
            return
        prefix = None if spec.prefix is None else parse_prefix(spec.prefix)
        if spec.turns is not None:
            self.samples = simulated_sessions(
                self.tokenizer,
                turns=distributions.parse(spec.turns, "tokens"),
                input_tokens=distributions.parse(spec.input_tokens, "tokens"),
                output_tokens=distributions.parse(spec.output_tokens, "tokens"),
                think_time=distributions.parse(spec.think_time, "time"),
                seed=spec.seed,
                salt=spec.salt,
                prefix=prefix,
            )
            return
        self.samples = simulated_prompts(
            self.tokenizer,
            input_tokens=distributions.parse(spec.input_tokens, "tokens"),
            output_tokens=distributions.parse(spec.output_tokens, "tokens"),
            chat=spec.chat,
            seed=spec.seed,
            salt=spec.salt,
            prefix=prefix,
            style=parse_style(spec.text, spec.repeat),
            tools=spec.tools,
        )

    @property
    def head(self) -> int | None:
        """Tokens before the shared text. None if no sharing is planned."""
        if isinstance(self.samples, DataSet):
            return self.samples.head
        if isinstance(self.samples, SimulatedSessions | AgentSessions):
            return None  # Turns share their history, which depends on the answers.
        return self.samples.maker.head if str(self.samples.prefix) else None

    def lines(self, first: int, times_s: list[float | None]) -> list[Line]:
        """One line per time, starting at number `first`. A time of None keeps the sample's own."""
        made = self.samples
        if isinstance(made, SimulatedSessions | AgentSessions):
            sessions = [made.session_at(first + offset) for offset in range(len(times_s))]
            return lines_of_sessions(sessions, self.tokenizer)
        samples = [self._sample(made, first + offset, at_s) for offset, at_s in enumerate(times_s)]
        spec = self._spec
        return lines_of(samples, first, OUTPUT_FORMATS[spec.format], self.tokenizer, spec.chat, spec.model)

    @staticmethod
    def _sample(made: SimulatedPrompts | DataSet, index: int, at_s: float | None) -> Sample:
        sample = made[index] if isinstance(made, DataSet) else made.sample_at(index)
        return sample if at_s is None else replace(sample, at_s=at_s)


Task = tuple[int, list[float | None]]


def tasks(count: int, times_s: Iterator[float] | None) -> Iterator[Task]:
    """`count` rows in chunks, each with the times of its rows."""
    for first in range(0, count, CHUNK):
        rows = min(CHUNK, count - first)
        yield first, [None] * rows if times_s is None else list(islice(times_s, rows))


def lines_in_order(maker: LineMaker, spec: DataSetSpec, todo: Iterator[Task], processes: int) -> Iterator[list[Line]]:
    """The lines of every task, in order. With one process, `maker` generates them here. Raises SpecError."""
    if processes == 1:
        yield from (maker.lines(first, times) for first, times in todo)
        return

    room = Semaphore(processes * _AHEAD)
    over = False

    def admitted() -> Iterator[Task]:
        for task in todo:
            room.acquire()
            if over:
                return
            yield task

    # Spawned, not forked: the tokenizer's threads do not survive a fork.
    with multiprocessing.get_context("spawn").Pool(processes, _start_process, (spec,)) as pool:
        try:
            for lines, problems in pool.imap(_make_task, admitted()):
                room.release()
                if problems:
                    raise SpecError(problems)
                yield lines
        finally:
            over = True
            room.release()  # Wakes a waiting `admitted`, which then ends.


_maker: LineMaker | list[str] = []


def _start_process(spec: DataSetSpec) -> None:
    """Initializes a worker process, which generates the same lines as any other. Its parent handles Ctrl-C."""
    global _maker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _maker = LineMaker(spec)
    except SpecError as e:
        _maker = e.problems


def _make_task(task: Task) -> tuple[list[Line], list[str]]:
    """The lines, or the problems as a value, because not every exception can be pickled."""
    if isinstance(_maker, list):
        return [], _maker
    try:
        return _maker.lines(*task), []
    except SpecError as e:
        return [], e.problems
