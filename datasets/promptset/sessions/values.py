"""Sessions: turns, and the graph that decides when each turn is sent and which history it has.

Two relations make the graph, and both point only to earlier turns of the list, so there are no cycles:

- `after`: the turns that must have ended before this one is due. Turns that wait for the same turn run in parallel; a
  turn that waits for several joins them.
- `continues`: the turn whose conversation this one continues. A turn that continues none begins a new conversation, for
  example of a sub-agent, or one whose history was compacted.

Turns are numbered from 0, in the order of the list. In files they have names (`rows`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from promptset.answers import Answer, ToolCall
from promptset.chat import Message, Tool
from promptset.errors import SpecError
from promptset.samples import Sample
from promptset.sessions.history import turn_messages, with_ids

Pause = Literal["human", "tool"]
"""Who pauses before a turn: a person who reads and thinks, or a tool that runs."""

BEFORE: Final = "before"
"""`continues` of a turn that continues the previous turn of the list. The first turn has no previous one."""

_SETTINGS = ("endpoint", "model", "priority")
_PLAIN_KEYS = ("content", "output_tokens", "think_time_s", "answer", "input_tokens")
_GRAPH_KEYS = ("id", "pause", "job", "agent", "cached_tokens")
TURN_KEYS = (*_PLAIN_KEYS, *_GRAPH_KEYS, "after", "continues", "opening", "results", "answer_tool_calls")
"""The keys of a turn in a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One user message, or the results of tools, and when to send it. A count of None is unknown. The defaults make a
    linear session."""

    content: str = ""
    """The user's text. Empty if there are only results."""
    results: tuple[str, ...] = ()
    """The results of the tools that the previous answer called, one text per call."""
    output_tokens: int | None = None
    """Tokens to ask for in the answer."""
    think_time_s: float = 0.0
    """Time from the end of the last of `after` to this request; without any, from the start of the session."""
    answer: str | None = None
    """The text of the answer in the history, unless the server's own is used."""
    answer_tool_calls: tuple[ToolCall, ...] = ()
    """The calls of that answer. A call without an id gets one."""
    input_tokens: int | None = None
    """Tokens of the whole request, with the `answer`s in its history."""
    id: str | None = None
    """The name of the turn in its row. None: its position in the list, counted from 1."""
    after: tuple[int, ...] | None = None
    """Numbers of the earlier turns that must have ended before it is due. None: the previous turn. (): due at the start
    of the session."""
    continues: int | Literal["before"] | None = BEFORE
    """The number of the turn whose conversation it continues: its history is that turn's history, content and answer.
    "before": the previous turn. None: a new conversation."""
    opening: tuple[Message, ...] = ()
    """Messages that begin a new conversation, before the content. Empty: the session's `system`."""
    pause: Pause | None = None
    """Who takes the think time. None: unknown."""
    job: int | None = None
    """The number of its job, from 0. None: see `Node.job`."""
    agent: str | None = None
    """The name of the sub-agent that sends it. None: the main agent."""
    cached_tokens: int | None = None
    """The part of `input_tokens` that an unlimited prefix cache holds when it is sent: from earlier turns of this
    session, and from text that sessions share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One turn in the graph, with all defaults filled in."""

    after: tuple[int, ...]
    """Numbers of the turns that must have ended before it is due."""
    continues: int | None
    """The number of the turn whose conversation it continues. None: a new conversation."""
    pause: Pause | None
    """Who takes the think time. If not set: a tool before a turn with results; and if no turn of the session sets it, a
    person before every other turn of the main agent."""
    job: int
    """The number of its job, from 0. A job is a user's request with all its steps: it begins with the session, and at
    each turn before which a person pauses. Every other turn belongs to the job of the previous turn in the list."""
    step: int
    """Its number within its job, from 0."""
    steps: int
    """The number of turns of its job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One planned conversation, with the conversations that branch from it. Raises SpecError with every problem if its
    turns do not form a graph."""

    id: str
    turns: tuple[Turn, ...]
    system: str | None = None
    tools: tuple[Tool, ...] | None = None
    """Tools offered by each of its requests. `input_tokens` includes them."""
    endpoint: str | None = None
    """For all its requests, as in a sample. The same holds for the next three fields."""
    model: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    priority: int | None = None
    settings: Mapping[str, Any] | None = None
    """Body fields that override those of the run, as in a sample. Rows do not have them."""
    requests: tuple[Sample, ...] = ()
    """For sessions of any HTTP service: the request of each turn, instead of messages. Rows do not have them."""
    probe: int | None = None
    """The number of its probe in the run, if its only turn asks a probe. Rows do not have it."""
    nodes: tuple[Node, ...] = field(init=False, repr=False, compare=False)
    """The graph, one node per turn."""

    def __post_init__(self) -> None:
        if problems := graph_problems(self.turns):
            raise SpecError([f"the session {self.id}: {problem}" for problem in problems])
        object.__setattr__(self, "nodes", _nodes(self.turns))

    @property
    def lines(self) -> tuple[tuple[int, bool], ...]:
        """For each turn: the number of the first turn of its line, and whether it is the last of that line. A line is a
        conversation without its branches: of the turns that continue the same one, the first is on its line."""
        begins: list[int] = []
        gone_on: set[int] = set()
        for number, node in enumerate(self.nodes):
            goes_on = node.continues is not None and node.continues not in gone_on
            begins.append(begins[node.continues] if goes_on and node.continues is not None else number)
            if goes_on and node.continues is not None:
                gone_on.add(node.continues)
        return tuple((begin, number not in gone_on) for number, begin in enumerate(begins))

    def conversation(
        self, turn: int, answers: Mapping[int, Answer | str | None] | None = None, *, reasoning: bool = False
    ) -> list[Message]:
        """The messages of the request of a turn, by its number. `answers` maps the numbers of turns to real answers (or
        their texts); the planned answer replaces a missing one or None. With `reasoning`, answers in the history keep
        their reasoning.

        Raises SpecError if an answer is missing.
        """
        line, answer = self.line_to(turn), None
        messages = self.opening_of(line[0])
        for number in line:
            if answer is not None:
                messages.append(answer.message(reasoning=reasoning))
            messages += self.said_at(number, answer)
            if number != turn:
                answer = self.answer_to(number, None if answers is None else answers.get(number))
        return messages

    def line_to(self, turn: int) -> list[int]:
        """The turns of the conversation that leads to a turn, including it."""
        line = [turn]
        while (before := self.nodes[line[-1]].continues) is not None:
            line.append(before)
        return line[::-1]

    def opening_of(self, turn: int) -> list[Message]:
        """The messages before the first turn of a conversation."""
        if self.turns[turn].opening:
            return list(self.turns[turn].opening)
        return [] if self.system is None else [{"role": "system", "content": self.system}]

    def said_at(self, turn: int, answer: Answer | None) -> list[Message]:
        """The messages of a single turn, given the answer to the turn that it continues."""
        return turn_messages(self.turns[turn].content, self.turns[turn].results, answer)

    def has_answer(self, turn: int) -> bool:
        """Whether a turn has a planned answer."""
        planned = self.turns[turn]
        return planned.answer is not None or bool(planned.answer_tool_calls)

    def answer_to(self, turn: int, real: Answer | str | None = None) -> Answer:
        """The answer to a turn in the history: the real one, else the planned one. Raises SpecError without either."""
        if real is None:
            planned = self.turns[turn]
            if not self.has_answer(turn):
                raise SpecError(
                    f"the session {self.id} has no answer to its {_called(self.turns, turn)}: give the server's"
                )
            real = Answer(content=planned.answer or "", tool_calls=planned.answer_tool_calls)
        return with_ids(Answer(content=real) if isinstance(real, str) else real, turn)

    def messages(self, answers: Sequence[Answer | str | None] = ()) -> list[Message]:
        """The messages of the next request after these answers. An answer of None is replaced by the planned one.

        Raises SpecError if no turn is left, or if an answer is missing.
        """
        if len(answers) >= len(self.turns):
            raise SpecError(f"the session {self.id} has {len(self.turns)} turns, and {len(answers)} are answered")
        return self.conversation(len(answers), dict(enumerate(answers)))

    def row(self) -> dict[str, Any]:
        """The session as a row of a file. A linear session has no graph keys."""
        names = names_of(self.turns)
        system: dict[str, Any] = {} if self.system is None else {"system": self.system}
        if self.tools is not None:
            system["tools"] = list(self.tools)
        settings: dict[str, Any] = {key: v for key in _SETTINGS if (v := getattr(self, key)) is not None}
        if self.headers:
            settings["headers"] = dict(self.headers)
        return {"session": self.id, **system, **settings, "turns": [_turn_row(turn, names) for turn in self.turns]}


def _turn_row(turn: Turn, names: Sequence[str]) -> dict[str, Any]:
    row = {key: v for key in (*_PLAIN_KEYS, *_GRAPH_KEYS) if (v := getattr(turn, key)) is not None}
    if turn.results:
        row["results"] = list(turn.results)
        if not turn.content:
            del row["content"]
    if turn.answer_tool_calls:
        row["answer_tool_calls"] = [
            {"name": call.name, "arguments": call.arguments, **({"id": call.id} if call.id else {})}
            for call in turn.answer_tool_calls
        ]
    if turn.after is not None:
        row["after"] = [names[number] for number in turn.after]
    if turn.continues != BEFORE:
        row["continues"] = None if turn.continues is None else names[int(turn.continues)]
    if turn.opening:
        row["opening"] = list(turn.opening)
    return row


def names_of(turns: Sequence[Turn]) -> list[str]:
    """The name of each turn in a row: its id, else its position in the list, counted from 1."""
    return [str(place) if turn.id is None else turn.id for place, turn in enumerate(turns, 1)]


def _called(turns: Sequence[Turn], number: int) -> str:
    name = turns[number].id
    return f"turn {number + 1}" if name is None else f"turn {number + 1} ({name})"


def graph_problems(turns: Sequence[Turn]) -> list[str]:
    """The reasons why these turns do not form a graph, one sentence each."""
    problems: list[str] = []
    names = names_of(turns)
    first = {name: number for number, name in reversed([*enumerate(names)])}
    behind: list[int] = []
    """For each turn, the set of turns that have ended when it is due, as the bits of an integer."""
    for number, turn in enumerate(turns):
        called = _called(turns, number)
        if first[names[number]] != number:
            problems.append(
                f"{called}: turn {first[names[number]] + 1} is called {names[number]!r} too: give each turn an id of its own"
            )
        wrong = [at for at in _after(turn, number) if not 0 <= at < number]
        problems += [f"{called}: {_wrong_order(turns, number, at)}" for at in wrong]
        mask = -1 if wrong else 0  # Assume everything has ended, so that one mistake is reported once.
        for at in _after(turn, number):
            mask |= -1 if at in wrong else behind[at] | 1 << at
        behind.append(mask)
        continues = _continues(turn, number)
        if continues is not None and not (0 <= continues < number and mask >> continues & 1):
            whose = _called(turns, continues) if 0 <= continues < len(turns) else f"turn {continues + 1}"
            problems.append(
                f"{called}: it continues {whose}, which need not have ended when it is sent: name it in after too, or "
                f'continue a turn that has ended, or none ("continues": null)'
            )
        if turn.opening and continues is not None:
            problems.append(
                f'{called}: an opening begins a conversation, and this turn continues another: add "continues": null'
            )
        if not turn.content and not turn.results:
            problems.append(f"{called}: it is empty: give it a content, or results")
        known = continues is not None and 0 <= continues < number
        calls = turns[continues].answer_tool_calls if known and continues is not None else ()
        if calls and len(turn.results) != len(calls):
            problems.append(
                f"{called}: the answer before it calls {_counted(len(calls), 'tool')} and it has "
                f"{_counted(len(turn.results), 'result')}: give one for each call"
            )
    return problems


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _wrong_order(turns: Sequence[Turn], number: int, at: int) -> str:
    """Why a turn cannot wait for one that is not before it in the list."""
    if not 0 <= at < len(turns):
        return f"after names turn {at + 1}, and there are {len(turns)}"
    if at == number:
        return "it comes after itself: leave that out of after"
    waits, visited = [at], {at}
    while waits:
        current = waits.pop()
        new = {before for before in _after(turns[current], current) if 0 <= before < len(turns)} - visited
        visited |= new
        waits += new
    if number in visited:
        return f"it comes after {_called(turns, at)}, which waits for this turn: neither would ever be sent"
    return f"it comes after {_called(turns, at)}, which is further down: list each turn after the turns that it comes after"


def _after(turn: Turn, number: int) -> tuple[int, ...]:
    if turn.after is not None:
        return turn.after
    return (number - 1,) if number else ()


def _continues(turn: Turn, number: int) -> int | None:
    if turn.continues == BEFORE:
        return number - 1 if number else None
    return None if turn.continues is None else int(turn.continues)


def _nodes(turns: Sequence[Turn]) -> tuple[Node, ...]:
    nobody_says = all(turn.pause is None for turn in turns)
    pauses: list[Pause | None] = []
    jobs: list[int] = []
    job = 0
    for number, turn in enumerate(turns):
        pause: Pause | None = "human" if nobody_says and number and turn.agent is None else turn.pause
        if turn.results and turn.pause is None:
            pause = "tool"
        if turn.job is not None:
            job = turn.job
        elif number and pause == "human":
            job += 1
        pauses.append(pause)
        jobs.append(job)
    steps, begun = Counter(jobs), Counter[int]()
    nodes: list[Node] = []
    for number, (turn, pause, job) in enumerate(zip(turns, pauses, jobs, strict=True)):
        nodes.append(
            Node(
                after=_after(turn, number),
                continues=_continues(turn, number),
                pause=pause,
                job=job,
                step=begun[job],
                steps=steps[job],
            )
        )
        begun[job] += 1
    return tuple(nodes)
