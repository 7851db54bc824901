"""Files of sessions: a session per row.

    {"session": "s-1", "system"?: "...", "turns": [{"content": "...", "output_tokens"?: n, "think_time_s"?: t,
                                                    "answer"?: "...", "input_tokens"?: n, ...}, ...]}

A row may also set the destination of its requests (loaders/own.py). The history of a request has the server's real
answers if the caller has them, else those of the row (`answer`). `input_tokens` counts the whole request, with the
row's answers in its history.

Turns of a graph have more fields (`values`): `id` names a turn, `after` lists the ids of the turns that must have
ended, and `continues` has the id of the turn whose conversation it continues, or null. A turn without an id is named by
its position in the list, counted from 1: "1" is the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import orjson

from promptset.answers import ToolCall
from promptset.errors import SpecError
from promptset.loaders.containers import open_container
from promptset.loaders.own import own_of, own_problems
from promptset.loaders.rows import count_problems, message_problems, seconds_problems
from promptset.sessions.values import BEFORE, TURN_KEYS, Pause, Session, Turn, graph_problems
from promptset.tools import tools_problems

_SHOWN = 20
_LONGEST_PAUSE_S = 366 * 24 * 3600.0


def load_sessions(path: Path, endpoints: Sequence[str] | None = None) -> list[Session]:
    """The sessions of a file: our own rows, or ShareGPT conversations. Raises SpecError with up to 20 bad rows.

    `endpoints` are the names that rows may use; None: any.
    """
    container = open_container(path)
    sessions: list[Session] = []
    problems: list[str] = []
    for entry in container.entries():
        where = f"{path}, {container.unit} {entry.number}"
        try:
            session = read_session(entry.value, f"row-{entry.number}")
            if session.endpoint is not None and endpoints is not None and session.endpoint not in endpoints:
                raise SpecError(f"endpoint {session.endpoint!r} is not one of {', '.join(endpoints)}")
            sessions.append(session)
        except SpecError as e:
            problems += [f"{where}: {problem}" for problem in e.problems]
    if problems:
        raise SpecError.of_rows(problems, _SHOWN, "more rows are bad")
    if not sessions:
        raise SpecError(f"{path} has no sessions: write at least one row")
    return sessions


def read_session(row: object, name: str) -> Session:
    """A session from its row. Its default name is `name`. Raises SpecError with every problem."""
    if isinstance(row, SpecError):
        raise row
    if isinstance(row, dict) and "conversations" in row:
        return _from_sharegpt(row, name)
    if not isinstance(row, dict) or not isinstance(row.get("turns"), list) or not row["turns"]:
        raise SpecError("a session is an object whose turns are a list that is not empty")
    problems = [f"{key} must be a string" for key in ("session", "system") if not isinstance(row.get(key, ""), str)]
    problems += own_problems(row) + tools_problems(row.get("tools"))
    for number, turn in enumerate(row["turns"], 1):
        has_results = isinstance(turn, dict) and bool(turn.get("results"))
        if not isinstance(turn, dict) or not _is_content(turn.get("content", "" if has_results else None), has_results):
            problems.append(f"turn {number} must be an object with a content that is not empty, or with results")
            continue
        problems += [f"turn {number}: {problem}" for problem in _turn_problems(turn)]
    if problems:
        raise SpecError(problems)
    turns = _turns(row["turns"])
    tools = None if row.get("tools") is None else tuple(row["tools"])
    return Session(id=row.get("session", name), turns=turns, system=row.get("system"), tools=tools, **own_of(row))


def _is_content(content: object, has_results: bool) -> bool:
    return isinstance(content, str) and (bool(content) or has_results)


def _year_problems(think_time_s: float | None) -> list[str]:
    """A pause longer than any run is a typo, for example milliseconds or a time of day."""
    if think_time_s is None or think_time_s <= _LONGEST_PAUSE_S:
        return []
    return [f"think_time_s: {think_time_s:g} s are more than a year: give seconds, not milliseconds or a time of day"]


def _turn_problems(turn: dict[str, Any]) -> list[str]:
    """Problems with a turn, apart from its position among the others."""
    problems = [f"unknown key {key!r}" for key in turn if key not in TURN_KEYS]
    problems += [p for key in ("input_tokens", "output_tokens") for p in count_problems(key, turn.get(key))]
    problems += seconds_problems("think_time_s", turn.get("think_time_s")) or _year_problems(turn.get("think_time_s"))
    problems += [] if isinstance(turn.get("answer", ""), str) else ["answer must be a string"]
    for key in ("id", "agent"):
        if key in turn and not (isinstance(turn[key], str) and turn[key]):
            problems.append(f"{key} must be a string that is not empty, not {turn[key]!r}")
    if "after" in turn and not (isinstance(turn["after"], list) and all(isinstance(x, str) for x in turn["after"])):
        problems.append(f'after must be a list of the ids of turns, such as ["1", "search"], not {turn["after"]!r}')
    if not isinstance(turn.get("continues"), str | None):
        problems.append(f"continues must be the id of a turn, or null, not {turn['continues']!r}")
    if "pause" in turn and turn["pause"] not in get_args(Pause):
        problems.append(f"pause must be {' or '.join(get_args(Pause))}, not {turn['pause']!r}")
    for key in ("job", "cached_tokens"):
        if key in turn and (type(turn[key]) is not int or turn[key] < 0):
            problems.append(f"{key} must be a whole number from 0 on, not {turn[key]!r}")
    results = turn.get("results", [])
    if not isinstance(results, list) or not all(isinstance(text, str) for text in results):
        problems.append(f"results must be a list of texts, one for each call, not {results!r}")
    problems += _call_problems(turn.get("answer_tool_calls", []))
    if "opening" in turn:
        problems += [f"opening: {problem}" for problem in message_problems(turn["opening"])]
    return problems


def _call_problems(calls: object) -> list[str]:
    if not isinstance(calls, list):
        return [f"answer_tool_calls must be a list of calls, not {calls!r}"]
    return [
        f'answer_tool_calls: call {number} must be {{"name": "...", "arguments"?: {{...}}, "id"?: "..."}}'
        for number, call in enumerate(calls, 1)
        if not isinstance(call, dict)
        or not isinstance(call.get("name"), str)
        or not call["name"]
        or not isinstance(call.get("arguments", {}), dict | str)
        or not isinstance(call.get("id", ""), str)
        or call.keys() - {"name", "arguments", "id"}
    ]


def _call(row: dict[str, Any]) -> ToolCall:
    arguments = row.get("arguments", {})
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return ToolCall(row.get("id", ""), row["name"], text)


def _turns(rows: Sequence[dict[str, Any]]) -> tuple[Turn, ...]:
    """The turns of rows that are each valid. Raises SpecError if they do not form a graph."""
    numbers: dict[str, int] = {}
    for number, row in enumerate(rows):
        numbers.setdefault(row.get("id", str(number + 1)), number)
    problems: list[str] = []

    def number_of(name: str, key: str, at: int) -> int | None:
        if name not in numbers:
            problems.append(f"turn {at + 1}: {key} names {name!r}, and no turn has that id: one of {_listed(numbers)}")
        return numbers.get(name)

    turns: list[Turn] = []
    for at, row in enumerate(rows):
        fields = dict(row)
        if row.get("think_time_s") is None:  # As for counts, null means unset.
            fields.pop("think_time_s", None)
        if "after" in row:
            earlier = [number_of(name, "after", at) for name in row["after"]]
            fields["after"] = tuple(dict.fromkeys(number for number in earlier if number is not None))
        if row.get("continues") is not None:
            known = number_of(row["continues"], "continues", at)
            fields["continues"] = BEFORE if known is None else known
        fields["opening"] = tuple(row.get("opening", ()))
        fields["results"] = tuple(row.get("results", ()))
        fields["answer_tool_calls"] = tuple(map(_call, row.get("answer_tool_calls", ())))
        turns.append(Turn(**fields))
    # With unknown names, the graph cannot be checked.
    if problems or (problems := graph_problems(turns)):
        raise SpecError(problems)
    return tuple(turns)


def _listed(names: dict[str, int]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:8], "..."])


def _from_sharegpt(row: dict[str, Any], name: str) -> Session:
    """A ShareGPT conversation, starting at the first human message. The message after each human one is its answer."""
    messages = row["conversations"]
    if not isinstance(messages, list) or not all(
        isinstance(message, dict) and isinstance(message.get("from"), str) and isinstance(message.get("value"), str)
        for message in messages
    ):
        raise SpecError("conversations must be a list of objects with the strings from and value")
    turns: list[Turn] = []
    for at, message in enumerate(messages):
        if message["from"] in ("human", "user") and message["value"]:
            follows = messages[at + 1] if at + 1 < len(messages) else {}
            answer = follows.get("value") if follows.get("from") in ("gpt", "assistant", "chatgpt") else None
            turns.append(Turn(content=message["value"], answer=answer))
    if not turns:
        raise SpecError("the conversation has no message of a user")
    return Session(id=str(row.get("id", name)), turns=tuple(turns))
