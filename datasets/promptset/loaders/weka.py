"""Agentic traces in Weka's format, which kv-cache-tester replays: one session per file or per row.

    {"id": "...", "block_size": 64, "hash_id_scope": "local"|"global", "requests": [
       {"t": s, "type": "n"|"s", "in": tokens, "out": tokens, "hash_ids": [one per full block], "api_time"?: s,
        "think_time"?: s, "input_types"?: [...], "stop"?: "..."},
       {"t": s, "type": "subagent", "agent_id": "...", "requests": [...]}]}

- The same hash id is the same block of tokens: within a session, or (scope `global`) in all sessions of the file.
  Tokens after the last full block are unique to the request.
- Pauses run from an end (`t` + `api_time`) to the next start. If `api_time` is unknown, `think_time` is the pause;
  without it, the time from start to start.
- A sub-agent begins after its parent's previous request, and runs in parallel with the parent. The parent's next
  request waits for it, unless the recording shows that it was sent before the sub-agent had ended (many recordings
  round times to seconds, so a second is allowed). Times within a sub-agent count from the session's start, or, in older
  files, from its own.

Source: github.com/callanjfox/kv-cache-tester, docs/trace_replay_tester.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Literal

from promptset.loaders.recorded import Call, RecordedSession, RecordingFormat, Row, length_problems
from promptset.loaders.rows import count_problems, seconds_problems

if TYPE_CHECKING:
    from promptset.sharing import Path

_ROUNDED_S = 1.0
"""The rounding error of times, in seconds."""
_MAX_IDLE_S = 10.0
_SCOPES = ("local", "global")


def _problems(row: Row) -> list[str]:
    problems = [] if isinstance(row.get("id"), str) and row["id"] else ["id must be a string that is not empty"]
    if wrong := count_problems("block_size", row.get("block_size")):
        return problems + wrong
    if row.get("hash_id_scope", "local") not in _SCOPES:
        problems.append(f"hash_id_scope must be {' or '.join(_SCOPES)}, not {row['hash_id_scope']!r}")
    problems += _request_problems(row["requests"], _block_of(row), "")
    if not problems and not any(True for _ in _lengths(row)):
        problems.append("it has no requests")
    return problems


def _block_of(row: Row) -> int:
    """Tokens per hash."""
    size: int | None = row.get("block_size")
    return 64 if size is None else size


def _request_problems(requests: object, block: int, where: str) -> list[str]:
    if not isinstance(requests, list):
        return [f"{where}requests must be a list"]
    problems: list[str] = []
    for number, request in enumerate(requests, 1):
        place = f"{where}request {number}"
        if not isinstance(request, dict) or request.get("type") not in ("n", "s", "subagent"):
            problems.append(f"{place} must be an object whose type is n, s or subagent")
            continue
        errors = seconds_problems("t", request.get("t")) if request.get("t") is not None else ["t is missing"]
        if request["type"] == "subagent":
            problems += [f"{place}: {problem}" for problem in errors]
            problems += _request_problems(request.get("requests"), block, f"{place}, ")
            continue
        errors += length_problems("in", request.get("in"), 1) + length_problems("out", request.get("out"))
        errors += [p for key in ("api_time", "think_time") for p in seconds_problems(key, request.get(key))]
        ids = request.get("hash_ids", [])
        if not isinstance(ids, list) or not {*map(type, ids)} <= {int}:
            errors.append("hash_ids must be a list of whole numbers")
        elif not errors and len(ids) > -(-request["in"] // block):
            errors.append(
                f"{len(ids)} hash_ids, and {request['in']} tokens are {request['in'] // block} blocks of {block}"
            )
        types = request.get("input_types", [])
        if not isinstance(types, list) or not all(isinstance(kind, str) for kind in types):
            errors.append("input_types must be a list of strings")
        problems += [f"{place}: {problem}" for problem in errors]
    return problems


def _lengths(row: Row) -> Iterator[int]:
    for request in row["requests"]:
        if request["type"] == "subagent":
            yield from _lengths(request)
        else:
            yield request["in"]


@dataclass(slots=True)
class _AwaitedCall:
    """A call or a sub-agent that others may wait for: its last calls, when they ended, and when the last of them began.
    `timed`: whether the end is known."""

    calls: tuple[int, ...]
    end_s: float
    began_s: float
    timed: bool
    spawned_by: tuple[int, ...] = ()


class _Reader:
    """Collects the calls of a session, numbered in file order."""

    def __init__(self, key: str, row: Row) -> None:
        self.calls: list[Call] = []
        self._block = _block_of(row)
        self._scope = None if row.get("hash_id_scope", "local") == "global" else key
        self._start_s = _first_s(row["requests"]) or 0.0

    def agent(
        self, requests: Sequence[Row], shift_s: float, began_by: _AwaitedCall | None, agent: str | None
    ) -> _AwaitedCall | None:
        """Adds the calls of an agent, and returns its end. None if it has no calls."""
        last = began_by
        started = False
        beside: list[_AwaitedCall] = []
        stop = ""
        for request in requests:
            at_s = request["t"] + shift_s
            if request["type"] == "subagent":
                inner = _first_s(request["requests"])
                moved = shift_s + request["t"] if inner is not None and inner < request["t"] else shift_s
                result = self.agent(request["requests"], moved, last, str(request.get("agent_id", "subagent")))
                if result is not None:
                    result.spawned_by = () if last is None else last.calls
                    beside.append(result)
                continue
            joined = [end for end in beside if end.end_s <= at_s + _ROUNDED_S]
            beside = [end for end in beside if end.end_s > at_s + _ROUNDED_S]
            waits = joined
            if last is not None and not any(end.spawned_by == last.calls for end in joined):
                waits = [last, *joined]
            self._add(
                request, at_s, waits, None if agent is None and not started else _pause(request, stop, agent), agent
            )
            took_s = request.get("api_time")
            stop = request.get("stop", "")
            number = len(self.calls) - 1
            last = _AwaitedCall((number,), at_s + (took_s or 0.0), at_s, took_s is not None)
            started = True
        ends = [*([last] if started and last is not None else []), *beside]
        if not ends:
            return None
        return _AwaitedCall(
            tuple(sorted({number for end in ends for number in end.calls})),
            max(end.end_s for end in ends),
            max(end.began_s for end in ends),
            all(end.timed for end in ends),
        )

    def _add(
        self,
        request: Row,
        at_s: float,
        waits: Sequence[_AwaitedCall],
        pause: Literal["human", "tool"] | None,
        agent: str | None,
    ) -> None:
        if waits and not all(item.timed for item in waits) and request.get("think_time") is not None:
            pause_s = float(request["think_time"])
        else:
            pause_s = at_s - max((item.end_s for item in waits), default=self._start_s)
        ids = request.get("hash_ids", [])
        names = ids if self._scope is None else [f"{self._scope} {item}" for item in ids]
        path: Path = tuple(zip(names, repeat(self._block), strict=False))
        self.calls.append(
            Call(
                input_tokens=request["in"],
                output_tokens=request["out"] or None,
                at_s=at_s - self._start_s,
                after=tuple(sorted({number for item in waits for number in item.calls})),
                pause_s=max(0.0, pause_s),
                pause=pause,
                agent=agent,
                path=path,
            )
        )


def _first_s(requests: Sequence[Row]) -> float | None:
    """When the first request began."""
    return min((request["t"] for request in requests), default=None)


def _pause(request: Row, stop: str, agent: str | None) -> Literal["human", "tool"] | None:
    """Whether a person or a tool paused before a request: from its new input, else from how the previous answer ended.
    A sub-agent never waits for a person."""
    types = request.get("input_types", [])
    if "tool_result" in types or (not types and stop == "tool_use"):
        return "tool"
    return "human" if agent is None and ("text" in types or (not types and stop == "end_turn")) else None


def _read(key: str, rows: Sequence[Row]) -> RecordedSession | None:
    row = rows[0]
    reader = _Reader(key, row)
    reader.agent(row["requests"], 0.0, None, None)
    return RecordedSession(id=row["id"], calls=tuple(reader.calls))


FORMAT = RecordingFormat(
    recognizes=lambda row: "requests" in row and ("hash_id_scope" in row or "block_size" in row),
    items=lambda row: [(None, row)],
    problems=_problems,
    lengths=_lengths,
    read=_read,
    begins=lambda row: None,
    shares=lambda row: row.get("hash_id_scope") == "global",
    max_idle_s=_MAX_IDLE_S,
    branches=True,
)
