"""Reads and writes the probes of a run, and reads the answers to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from bench.errors import RecordError
from bench.records import Outcome, Phase, StoredAnswer
from bench.run_files.run_directory import PROBES, REQUESTS, RunDirectory, whole_lines
from promptset.answers import Answer, ToolCall
from promptset.probes import GraderSettings, Pattern, Probe

ANSWERED = (Outcome.OK, Outcome.NO_TOKENS)
"""Outcomes of a request that was answered, possibly with an empty text. Others are failures, and say nothing about
answers."""


def write_probes(directory: RunDirectory, probes: Sequence[Probe]) -> None:
    """Write probes.jsonl atomically. A report needs it to grade the answers again."""
    directory.write(PROBES, b"".join(orjson.dumps(probe, option=orjson.OPT_APPEND_NEWLINE) for probe in probes))


def read_probes(directory: RunDirectory) -> list[Probe]:
    """The probes of a run; empty if it checked no answer. Raises RecordError if the file is damaged."""
    path = directory.path / PROBES
    if not path.exists():
        return []
    probes = []
    for number, line in whole_lines(path):
        try:
            probes.append(_probe_of(orjson.loads(line)))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as e:
            raise RecordError(f"{path}, line {number}: not a probe ({e})") from e
    return probes


def _probe_of(row: dict[str, Any]) -> Probe:
    settings: Mapping[str, Any] = row["settings"]
    patterns = tuple(Pattern(**pattern) for pattern in settings["patterns"])
    return Probe(
        **{
            **row,
            "messages": tuple(row["messages"]),
            "settings": GraderSettings(**{**settings, "patterns": patterns}),
            "tools": None if row["tools"] is None else tuple(row["tools"]),
        }
    )


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer. `probe`: the index of its probe in the set; None for another request whose text is stored."""

    request: str
    probe: int | None
    answer: Answer
    limited: bool = False
    """Whether it was cut off by the token limit."""

    @property
    def text(self) -> str:
        """The text and the tool calls in it, each on its own line."""
        calls = (f"{call.name}({call.arguments})" for call in self.answer.tool_calls)
        return "\n".join(part for part in (self.answer.content, *calls) if part)


class _Line(msgspec.Struct):
    id: str
    phase: Phase
    outcome: Outcome
    probe: int | None = None
    answer: StoredAnswer | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class KeptAnswers:
    """The answers of a run after its warm-up, in the order of its records. `failed`: the number of unanswered probes;
    `why`: the reason of the first."""

    answers: Sequence[KeptAnswer] = ()
    failed: int = 0
    why: str | None = None

    @property
    def probes(self) -> int:
        return sum(answer.probe is not None for answer in self.answers)

    def by_probe(self) -> dict[int, list[KeptAnswer]]:
        groups: dict[int, list[KeptAnswer]] = {}
        for answer in self.answers:
            if answer.probe is not None:
                groups.setdefault(answer.probe, []).append(answer)
        return groups


def read_answers(directory: RunDirectory, probes: int) -> KeptAnswers:
    """The stored answers of a run. `probes`: the size of its set. Raises RecordError if a line is damaged."""
    decoder = msgspec.json.Decoder(_Line)
    answers, failures = [], []
    for path, number, line in _lines(directory):
        try:
            row = decoder.decode(line)
        except msgspec.MsgspecError as e:
            raise RecordError(f"{path}, line {number}: {e}") from e
        if row.phase != "run":
            continue
        if row.outcome in ANSWERED and row.answer is not None:
            place = None if row.probe is None else row.probe % probes
            answers.append(KeptAnswer(row.id, place, _answer_of(row.answer), row.answer.limited))
        elif row.probe is not None and row.outcome not in (Outcome.INTERRUPTED, Outcome.DROPPED):
            failures.append(row.outcome.value if row.error is None else f"{row.outcome.value}: {row.error}")
    return KeptAnswers(answers, len(failures), failures[0] if failures else None)


def _lines(directory: RunDirectory) -> Iterator[tuple[str, int, bytes]]:
    for path in (directory.path / REQUESTS, *directory.shards(REQUESTS)):
        for number, line in whole_lines(path):
            if b'"answer":' in line or b'"probe":' in line:
                yield str(path), number, line


def _answer_of(stored: StoredAnswer) -> Answer:
    calls = tuple(ToolCall("", name, arguments) for name, arguments in stored.tool_calls)
    return Answer(content=stored.content, tool_calls=calls, tokens=stored.tokens)
