"""TraceLab: one round (a model call) per row; the rounds of a session can be anywhere in the file.

    {"session_id": "...", "round_index": n, "prefix_tokens": n, "newly_append_tokens": n, "output_tokens": n,
     "timing_events": [{"event_type": "user_message"|"tool_result"|"reasoning"|"text"|"tool_call", "timestamp": "..."}, ...],
     "tools": [{"tool_wall_latency_ms": n}, ...]}

- A prompt has `prefix_tokens` + `newly_append_tokens`. The prefix is the beginning of the previous round's prompt,
  truncated if it is shorter (a compaction, or a cache that lost it). If it is longer than that whole prompt (the
  service's cache held text of an answer, or of other sessions), the rest of it is new text.
- A person paused before a round whose input ends with a user message, a tool before one whose input ends with a tool
  result; without events, a tool did if the previous round called one. A tool's pause is the longest
  `tool_wall_latency_ms` of the previous round; a person's runs from the last output of that round to the message. If
  the rows lack one, the other is used.
- Sub-agents are separate sessions in this format.

Source: github.com/uw-syfi/TraceLab (data CC BY 4.0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from promptset.loaders.recorded import Call, RecordedSession, RecordingFormat, Row, cut, length_problems
from promptset.loaders.rows import seconds_problems

if TYPE_CHECKING:
    from promptset.sharing import Path

_MAX_IDLE_S = 60.0
_MS_PER_S = 1e3
_INPUTS = ("user_message", "tool_result")
_OUTPUTS = ("reasoning", "text", "tool_call")


def time_of(text: object) -> float | None:
    """Seconds since 1970 from an ISO date; without a time zone it is UTC. None if it is not a date."""
    try:
        at = datetime.fromisoformat(text)  # type: ignore[arg-type]  # what is no text is refused like a wrong one
    except (TypeError, ValueError):
        return None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _items(row: Row) -> Iterator[tuple[str | None, Row]]:
    yield str(row.get("session_id")), row


def _problems(row: Row) -> list[str]:
    named = isinstance(row.get("session_id"), str) and row["session_id"]
    problems = [] if named else ["session_id must be a string that is not empty"]
    for key in ("round_index", "prefix_tokens", "newly_append_tokens", "output_tokens"):
        problems += length_problems(key, row.get(key))
    if not problems and row["prefix_tokens"] + row["newly_append_tokens"] == 0:
        problems.append("prefix_tokens and newly_append_tokens are both 0: a prompt has tokens")
    for key in ("timing_events", "tools"):
        entries = [] if row.get(key) is None else row[key]
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            problems.append(f"{key} must be a list of objects")
            continue
        for number, entry in enumerate(entries, 1):
            wall = entry.get("tool_wall_latency_ms")
            errors = []
            if key == "tools" and seconds_problems("", wall):
                errors.append(f"tool_wall_latency_ms must be a number of milliseconds from 0 on, not {wall!r}")
            if key == "timing_events" and entry.get("timestamp") is not None and time_of(entry["timestamp"]) is None:
                errors.append(f"timestamp is not a time: {entry['timestamp']!r}")
            problems += [f"{key} {number}: {problem}" for problem in errors]
    return problems


def _lengths(row: Row) -> Iterator[int]:
    yield row["prefix_tokens"] + row["newly_append_tokens"]


class _Round:
    """The send and end times of a round, and the kind of event that its input ends with."""

    def __init__(self, row: Row) -> None:
        timed = [(time_of(entry.get("timestamp")), entry.get("event_type")) for entry in row.get("timing_events") or []]
        events = [(at, kind) for at, kind in timed if at is not None]
        outputs = [at for at, kind in events if kind in _OUTPUTS]
        first = min(outputs, default=None)
        inputs = [(at, kind) for at, kind in events if kind in _INPUTS and (first is None or at <= first)]
        asked = max(inputs, key=lambda item: item[0], default=None)
        self.sent_s: float | None = first if asked is None else asked[0]
        self.asked_by: str | None = None if asked is None else asked[1]
        self.ended_s: float | None = max(outputs, default=self.sent_s)
        walls = [entry.get("tool_wall_latency_ms") for entry in row.get("tools") or []]
        self.called_tools = bool(walls)
        self.tools_s = max((wall / _MS_PER_S for wall in walls if wall is not None), default=None)


def _read(key: str, rows: Sequence[Row]) -> RecordedSession | None:
    calls: list[Call] = []
    path: Path = ()
    before: _Round | None = None
    begins_s: float | None = None
    at_s = 0.0
    for number, row in enumerate(sorted(rows, key=lambda row: row["round_index"])):
        this = _Round(row)
        pause: Literal["human", "tool"] | None = None
        pause_s = 0.0
        if before is not None:
            tool = this.asked_by == "tool_result" if this.asked_by is not None else before.called_tools
            pause = "tool" if tool else "human"
            gap_s = None if this.sent_s is None or before.ended_s is None else this.sent_s - before.ended_s
            known = (before.tools_s, gap_s) if tool else (gap_s, before.tools_s)
            pause_s = max(0.0, next((seconds for seconds in known if seconds is not None), 0.0))
        if this.sent_s is None:
            at_s += pause_s
        else:
            begins_s = this.sent_s if begins_s is None else begins_s
            at_s = max(at_s, this.sent_s - begins_s)
        total = row["prefix_tokens"] + row["newly_append_tokens"]
        path = cut(path, row["prefix_tokens"])
        new = total - sum(length for _, length in path)
        path = (*path, (f"{key} {number}", new)) if new else path
        calls.append(
            Call(
                input_tokens=total,
                output_tokens=row["output_tokens"] or None,
                at_s=at_s,
                after=(number - 1,) if number else (),
                pause_s=pause_s,
                pause=pause,
                path=path,
            )
        )
        before = this
    return RecordedSession(id=key, calls=tuple(calls)) if calls else None


FORMAT = RecordingFormat(
    recognizes=lambda row: "round_index" in row and ("newly_append_tokens" in row or "prefix_tokens" in row),
    items=_items,
    problems=_problems,
    lengths=_lengths,
    read=_read,
    begins=lambda row: _Round(row).sent_s,
    shares=lambda row: False,
    max_idle_s=_MAX_IDLE_S,
    branches=False,
)
