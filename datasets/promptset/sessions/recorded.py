"""Files of recorded sessions as sessions to send: texts of the recorded lengths, pauses, and the cached part of each
prompt.

A file is read once to check it. Only the positions of the rows stay in memory (16 bytes each, and the name of their
session) and, if its sessions share text, about 100 bytes per shared block while the file is read. A session is
generated when it is sent, by reading its rows again. (A row with many sessions, such as one JSON document of spans,
stays in memory.)

A session's prompts depend only on its number, the seed and the salt. When all sessions of the file are used up, the
next replay begins: the same sessions with another salt before their first text, so that no cache has them.
"""

from __future__ import annotations

import functools
import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, chain, cycle, pairwise
from pathlib import Path
from typing import Literal

from promptset.errors import SKIP_ROWS, SpecError
from promptset.loaders.containers import open_container
from promptset.loaders.recorded import Call, RecordedSession, RecordingFormat, Row
from promptset.loaders.recordings import format_of
from promptset.samples import MOST_TOKENS
from promptset.sessions.recorded_text import SALT_TOKENS, SentPrefixes, SessionText, layout_of
from promptset.sessions.values import Session, Turn
from promptset.sharing import BLOCK
from promptset.sharing import Path as SharedPath
from promptset.tokenizer import Tokenizer

_SHOWN = 20
_LOOKED_AT = 20
_LONE_GAP_S = 60.0
"""The interval between replays of a single session."""
_ROW = "row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The pace of a replay: pauses are limited to `max_idle_s` (None: the format's limit; `math.inf`: no limit), and
    then divided by `speed`. `by_start`: sessions are ordered by their recorded start, not by the file."""

    max_idle_s: float | None = None
    speed: float = 1.0
    by_start: bool = False


class RecordedSessions:
    """The sessions of a recording. `skipped` lists up to 20 problems of the `skipped_rows` bad rows."""

    def __init__(
        self,
        path: Path,
        tokenizer: Tokenizer,
        *,
        seed: int = 0,
        salt: str | None = None,
        pace: Pace | None = None,
        bad_rows: Literal["fail", "skip"] = "fail",
    ) -> None:
        """Reads and checks every row. Raises SpecError with up to 20 bad rows by line, unless `bad_rows` is "skip"."""
        self.path = path
        self.tokenizer = tokenizer
        self.skipped: list[str] = []
        self.skipped_rows = 0
        self._layout = layout_of(tokenizer)
        self._seed = seed
        self._salt = salt
        self._pace = Pace() if pace is None else pace
        self._container = open_container(path)
        self._format: RecordingFormat | None = None
        self._rows: dict[str, array[int]] = {}
        """For each session key: start and end of each of its rows."""
        self._held: tuple[tuple[int, int], list[tuple[str | None, Row]]] | None = None
        self._begins_s: dict[str, float] = {}
        """When the first call of a session began, if recorded."""
        self._begun: dict[str, array[int]] = {}
        """For each session that shares text with others: the tokens of each call that earlier sessions have sent."""
        self._index(bad_rows)
        self._keys = [*self._rows]
        if self._pace.by_start:
            self._keys.sort(key=lambda key: self._begins_s.get(key, math.inf))

    def __len__(self) -> int:
        return len(self._keys)

    def session_at(self, index: int) -> Session:
        """The session with this number. After the last one the next replay begins."""
        replay, place = divmod(index, len(self))
        key = self._keys[place]
        recorded = self._recorded(key)
        if recorded is None:
            raise SpecError(f"{self.path} was changed while it was used")
        turns = self._turns(recorded, key, replay, first=index == 0, first_of_replay=place == 0)
        return Session(id=recorded.id if replay == 0 else f"{recorded.id} replay {replay + 1}", turns=turns)

    def untimed(self) -> str | None:
        """Why the start times of sessions are not all known. None if they are."""
        missing = next((key for key in self._keys if key not in self._begins_s), None)
        return None if missing is None else f"{self.path} does not say it of {missing}"

    def begins_s(self) -> Iterator[float]:
        """The start times of sessions in seconds from the first, ascending and without end: after the last one the next
        replay begins, a mean gap later. Gaps are limited to the longest pause, if given. `speed` does not affect them.
        """
        starts = sorted(self._begins_s[key] for key in self._keys)
        longest_s = math.inf if self._pace.max_idle_s is None else self._pace.max_idle_s
        gaps = [min(after - before, longest_s) for before, after in pairwise(starts)]
        between = sum(gaps) / len(gaps) if gaps else _LONE_GAP_S
        return accumulate(chain(gaps, cycle([between, *gaps])), initial=0.0)

    @property
    def at_once(self) -> int:
        """The approximate number of calls of a session that run in parallel: the maximum of the first sessions."""
        assert self._format is not None
        if not self._format.branches:
            return 1
        recorded = [self._recorded(key) for key in self._keys[:_LOOKED_AT]]
        return max([2, *(_width(session.calls) for session in recorded if session is not None)])

    def _turns(
        self, recorded: RecordedSession, key: str, replay: int, *, first: bool, first_of_replay: bool
    ) -> tuple[Turn, ...]:
        made = SessionText(self._layout, seed=self._seed, salt=self._salt, key=key, replay=replay)
        longest_s = self._format.max_idle_s if self._format is not None else 0.0
        longest_s = longest_s if self._pace.max_idle_s is None else self._pace.max_idle_s
        cached = _cached(recorded.calls, made, self._begun.get(key))
        head = self._layout.head
        turns = []
        for number, call in enumerate(recorded.calls):
            # All prompts of a replay share its salt, and all prompts share the text that the template puts first.
            known = 0 if first and number == 0 else head if first_of_replay and number == 0 else head + SALT_TOKENS
            hit = max(known, cached[number])
            opening, content = made.prompt(call.path, call.input_tokens, number)
            turns.append(
                Turn(
                    content=content,
                    opening=opening,
                    continues=None,
                    output_tokens=1 if call.output_tokens is None else call.output_tokens,
                    input_tokens=call.input_tokens,
                    think_time_s=min(call.pause_s, longest_s) / self._pace.speed,
                    after=call.after,
                    pause=call.pause,
                    job=call.job,
                    agent=call.agent,
                    cached_tokens=min(hit, call.input_tokens - 1) // BLOCK * BLOCK,
                )
            )
        return tuple(turns)

    def _recorded(self, key: str) -> RecordedSession | None:
        assert self._format is not None
        items: list[Row] = []
        positions = self._rows[key]
        for start, end in zip(positions[::2], positions[1::2], strict=True):
            items += [item for its_key, item in self._items(start, end) if its_key is None or its_key == key]
        return self._format.read(key, [item for item in items if self._fits(item)])

    def _fits(self, item: Row) -> bool:
        return not self.skipped_rows or not self._problems(item)

    def _items(self, start: int, end: int) -> list[tuple[str | None, Row]]:
        """The items of a row. The last row is cached, because one row may hold all sessions."""
        assert self._format is not None
        if self._held is None or self._held[0] != (start, end):
            self._held = (start, end), [*self._format.items(_row_of(self._container.value(start, end)))]
        return self._held[1]

    def _index(self, bad_rows: str) -> None:
        problems: list[str] = []
        bad = 0
        seen = SentPrefixes()
        with_calls: set[str] = set()
        for entry in self._container.entries():
            errors: list[str] = []
            try:
                row = _row_of(entry.value)
                used = self._known_format(row)
                for key, item in used.items(row):
                    wrong = self._problems(item)
                    errors += wrong
                    if not wrong:
                        name = f"{_ROW} {entry.number}" if key is None else key
                        self._add(name, entry.start, entry.end)
                        began_s = used.begins(item)
                        if began_s is not None:
                            self._begins_s[name] = min(began_s, self._begins_s.get(name, math.inf))
                        if any(True for _ in used.lengths(item)):
                            with_calls.add(name)
                        if key is None and used.shares(item):
                            self._share(name, item, seen)
            except SpecError as e:
                errors += e.problems
            if errors:
                bad += 1
                where = f"{self.path}, {self._container.unit} {entry.number}"
                problems += [f"{where}: {problem}" for problem in errors if len(problems) <= _SHOWN]
        if bad and bad_rows == "fail":
            raise SpecError.of_rows(problems, _SHOWN, f"bad rows in all: {bad:,}", SKIP_ROWS)
        self.skipped, self.skipped_rows = problems[:_SHOWN], bad
        self._rows = {key: positions for key, positions in self._rows.items() if key in with_calls}
        if not self._rows:
            raise SpecError(f"{self.path} has no sessions: no row has the calls of a model")

    def _known_format(self, row: Row) -> RecordingFormat:
        form = format_of(row)
        if form is None or (self._format is not None and form is not self._format):
            raise SpecError("not of the format of the first row")
        self._format = form
        return form

    def _problems(self, item: Row) -> list[str]:
        assert self._format is not None
        if problems := self._format.problems(item):
            return problems
        lengths = [*self._format.lengths(item)]
        if (long := max(lengths, default=0)) > MOST_TOKENS:
            return [f"a prompt of {long:,} tokens is too long: a prompt has at most {MOST_TOKENS:,}"]
        short = min(lengths, default=self._layout.least)
        if short >= self._layout.least:
            return []
        return [
            f"{short} tokens are too few: the shortest prompt of a recording has {self._layout.least} with "
            f"{self.tokenizer.name} (its template, and {SALT_TOKENS} that tell replays apart)"
        ]

    def _add(self, key: str, start: int, end: int) -> None:
        positions = self._rows.setdefault(key, array("q"))
        if positions[-2:].tolist() != [start, end]:
            positions.extend((start, end))

    def _share(self, key: str, item: Row, seen: SentPrefixes) -> None:
        """Records what a session has in common with earlier ones."""
        assert self._format is not None
        recorded = self._format.read(key, [item])
        if recorded is None:
            return
        made = SessionText(self._layout, seed=self._seed, salt=self._salt, key=key, replay=0)
        sent = [made.sent(call.path, call.input_tokens) for call in recorded.calls]
        self._begun[key] = array("q", [seen.common(path) for path in sent])
        for path in sent:
            seen.add(path)


def is_recording(path: Path) -> bool:
    """Whether a file holds recorded sessions, judging by the keys of its first row. Raises SpecError if it cannot be
    read."""
    open_container(path)  # Raises SpecError if the file cannot be read.
    status = path.stat()
    return _begins_as_recording(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=8)
def _begins_as_recording(path: Path, changed_ns: int, size: int) -> bool:
    """Cached, because it is called several times per file, and the first row may be the whole file."""
    first = next(iter(open_container(path).entries()), None)
    return first is not None and isinstance(first.value, dict) and format_of(first.value) is not None


def _row_of(value: object) -> Row:
    if isinstance(value, SpecError):
        raise value
    if not isinstance(value, Mapping):
        raise SpecError("not a JSON object")
    return dict(value)


def _cached(calls: tuple[Call, ...], made: SessionText, begun: array[int] | None) -> list[int]:
    """For each call, the tokens of its prompt that this session or earlier ones have already sent: in the calls that it
    waits for, directly or indirectly, and in calls that began earlier."""
    sent = [made.sent(call.path, call.input_tokens) for call in calls]
    cached = [0] * len(calls) if begun is None else begun.tolist()
    begins: list[float] = []
    behind: list[int] = []
    """For each call, the set of calls that it waits for, as the bits of an integer."""
    for call in calls:
        begins.append(max([call.at_s, *(begins[earlier] for earlier in call.after)]))
        mask = 0
        for earlier in call.after:
            mask |= behind[earlier] | 1 << earlier
        behind.append(mask)
    seen = SentPrefixes()
    whole: set[tuple[SharedPath, int]] = set()
    beside: list[int] = []
    for number in sorted(range(len(calls)), key=lambda call: (begins[call], call)):
        call = calls[number]
        for earlier in [*beside]:
            if begins[earlier] < begins[number] or behind[number] >> earlier & 1:
                seen.add(sent[earlier])
                whole.add((calls[earlier].path, calls[earlier].input_tokens))
                beside.remove(earlier)
        same = made.is_whole(call.path, call.input_tokens) and (call.path, call.input_tokens) in whole
        cached[number] = call.input_tokens if same else max(cached[number], seen.common(sent[number]))
        beside.append(number)
    return cached


def _width(calls: tuple[Call, ...]) -> int:
    """The maximum number of calls that are equally many steps from the start of their session."""
    steps: list[int] = []
    for call in calls:
        steps.append(1 + max((steps[earlier] for earlier in call.after), default=0))
    return max(Counter(steps).values(), default=1)
