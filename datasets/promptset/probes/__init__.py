"""Probes: questions with a known right answer, to check whether a server's answers are right.

    500                            500 built-in probes, evenly of every kind
    canary=200,arithmetic=100      a number of each kind
    retrieve=50:tokens=4000        with an option of the kind
    gsm8k.jsonl=200                the first 200 rows of a file; without a number, all rows
    openai/gsm8k=200               a data set of the hub (extra `hf`)

A new built-in kind is one file with a `ProbeKind`, and one line in `KINDS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain, zip_longest

from promptset.chat import Message, Tool
from promptset.errors import SpecError
from promptset.probes import codes
from promptset.probes.arithmetic import ARITHMETIC
from promptset.probes.canary import CANARY
from promptset.probes.codes import CODE, codes_in
from promptset.probes.probe_kind import Draw, ProbeKind
from promptset.probes.retrieve import RETRIEVE
from promptset.probes.schema import SCHEMA
from promptset.probes.sets import looks_like_a_set, read_set
from promptset.probes.sort import SORT
from promptset.probes.tool import TOOL
from promptset.probes.values import GRADERS, Grader, GraderSettings, Pattern, Probe, Question, Solution
from promptset.rng import text_stream

__all__ = [
    "CODE", "GRADERS", "KINDS", "Grader", "GraderSettings", "Part", "Pattern", "Probe", "ProbeKind", "Solution",
    "codes_in", "make_probe", "make_probes", "parse_probes", "solve",
]  # fmt: skip

KINDS: dict[str, ProbeKind] = {
    "canary": CANARY,
    "retrieve": RETRIEVE,
    "arithmetic": ARITHMETIC,
    "sort": SORT,
    "schema": SCHEMA,
    "tool": TOOL,
}
"""The built-in kinds. The position of a kind determines its code words: add new kinds at the end."""

_EVERY_SIGN = "nothing else."
"""Every `sign` ends with this, and so does every question."""
_SIGN_WITHIN = 200
"""How far from the end to search, in characters: a chat template may have appended text."""

DEFAULT_COUNT = 100
"""The default number of probes of a kind."""


@dataclass(frozen=True, slots=True)
class Part:
    """A number of probes of one kind, or from a set."""

    source: str
    """The name of a built-in kind, or the file or hub name of a set."""
    count: int | None
    """None: all rows of a set."""
    options: Mapping[str, int] = field(default_factory=dict)
    """The options of a built-in kind, including defaults."""

    def __str__(self) -> str:
        options = (f":{key}={value}" for key, value in self.options.items())
        return self.source + ("" if self.count is None else f"={self.count}") + "".join(options)


def parse_probes(text: str) -> tuple[Part, ...]:
    """Parse a spec of probes. Raises SpecError with every problem."""
    if text.strip().isdecimal():
        count, problem = _count(text.strip())
        if problem is not None:
            raise SpecError(f"{text!r}: {problem}")
        shares = [count // len(KINDS) + (number < count % len(KINDS)) for number in range(len(KINDS))]
        return tuple(Part(kind, share, _defaults(kind)) for kind, share in zip(KINDS, shares, strict=True) if share)
    parts: list[Part] = []
    problems: list[str] = []
    for piece in text.split(","):
        part, wrong = _parse_part(piece.strip())
        problems += wrong
        if part is not None and any(part.source == other.source for other in parts):
            problems.append(f"{part.source} is given twice")
        elif part is not None:
            parts.append(part)
    if problems:
        raise SpecError([f"{text!r}: {problem}" for problem in problems])
    return tuple(parts)


def make_probe(kind: str, index: int, *, seed: int, salt: str | None = None, options: Mapping[str, int]) -> Probe:
    """The probe with this index of a built-in kind. It depends only on these arguments."""
    slot = list(KINDS).index(kind)
    rng = text_stream(seed, salt, "probe", kind, index)
    return KINDS[kind].make(Draw(f"{kind}-{index}", seed, salt, slot, index, rng, options))


def make_probes(parts: Sequence[Part], *, seed: int, salt: str | None = None) -> list[Probe]:
    """All probes of the parts, interleaved: the first of each part, the second of each, and so on.

    A salt gives other built-in questions for the same seed. Raises SpecError with every problem of the sets.
    """
    rows: list[Iterator[Probe]] = []
    problems: list[str] = []
    for part in parts:
        if part.source in KINDS:
            rows.append(_made(part, seed, salt))
            continue
        try:
            rows.append(iter(read_set(part.source, part.count)))
        except SpecError as e:
            problems += e.problems
    if problems:
        raise SpecError(problems)
    probes = [probe for probe in chain.from_iterable(zip_longest(*rows)) if probe is not None]
    twice = [name for name, times in Counter(probe.probe_id for probe in probes).items() if times > 1]
    if twice:
        raise SpecError(f"{twice[0]!r} is the id of several probes: give each its own")
    return probes


def solve(messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> Solution | None:
    """The right answer to a request, derived from its text alone. None if the last message does not ask a built-in
    probe.

    A prompt without messages is passed as the content of a user message. Any request may be passed: one without a probe
    costs a microsecond.
    """
    if not messages or messages[-1].get("role") != "user":
        return None
    text = _text_of(messages[-1].get("content"))
    if _EVERY_SIGN not in text[-_SIGN_WITHIN:]:
        return None
    for kind in KINDS.values():
        if kind.sign in text:
            names = [name for tool in tools or () if (name := _tool_name(tool)) is not None]
            solution = kind.solve(Question(text, names))
            if solution is not None:
                return solution
    return None


def _made(part: Part, seed: int, salt: str | None) -> Iterator[Probe]:
    assert part.count is not None
    for index in range(part.count):
        yield make_probe(part.source, index, seed=seed, salt=salt, options=part.options)


def _defaults(kind: str) -> dict[str, int]:
    return {name: option.default for name, option in KINDS[kind].options.items()}


def _count(text: str) -> tuple[int, str | None]:
    """The number of probes, or the problem with it."""
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= codes.MOST:
        return int(text), None
    return 0, f"{text!r} probes: write a whole number from 1 to {codes.MOST}"


def _parse_part(text: str) -> tuple[Part | None, list[str]]:
    """Parse `NAME[=COUNT][:OPTION=VALUE ...]`. Also returns its problems."""
    head, *tail = text.split(":")
    name, equals, number = (piece.strip() for piece in head.partition("="))
    if name not in KINDS:
        if not looks_like_a_set(name):
            return None, [_unknown(name)]
        problems = [] if not tail else [f"{name}: a set has no options, and {':'.join(tail)!r} was given"]
        count, wrong = _count(number) if equals else (None, None)
        return Part(name, count), problems + ([] if wrong is None else [wrong])
    count, wrong = _count(number) if equals else (DEFAULT_COUNT, None)
    options, problems = _read_options(name, tail)
    return Part(name, count, options), problems + ([] if wrong is None else [f"{name}: {wrong}"])


def _read_options(kind: str, texts: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    known, values, problems = KINDS[kind].options, _defaults(kind), []
    for text in texts:
        key, _, value = (piece.strip() for piece in text.partition("="))
        option = known.get(key)
        if option is None:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            problems.append(f"{kind} has no option {key!r}: {takes}")
        elif not (value.isascii() and value.isdecimal()) or not option.low <= int(value) <= option.high:
            problems.append(f"{kind}: {key}={value}: write a whole number from {option.low} to {option.high}")
        else:
            values[key] = int(value)
    return values, problems


def _unknown(name: str) -> str:
    close = get_close_matches(name, KINDS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"write {', '.join(KINDS)}, or a file"
    return f"no kind of probe and no file is called {name!r}: {hint}"


def _text_of(content: object) -> str:
    """The text of a message: a string, or the joined texts of its parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _tool_name(tool: Tool) -> str | None:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None
