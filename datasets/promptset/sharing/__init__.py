"""Prefixes that prompts share on purpose, to measure a server's prefix cache.

    tokens=512,groups=4                  groups, in turn, each with its own 512 tokens
    tree:depth=3,fanout=4,tokens=256     three levels; prompts share as many as their paths
    hit_rate=0.6,groups=8                enough for 60% of the prompt tokens to be hits in a warm cache
    system=300                           a system prompt of 300 tokens for all; also together with another scheme

Shared text follows whatever the tokenizer or the chat template puts first. A new scheme is one file with a `SYNTAX`,
and one line in `SCHEMES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from promptset.distributions.family import split_pairs
from promptset.errors import SpecError
from promptset.sharing import groups, hit_rate, tree
from promptset.sharing.scheme import BLOCK, COUNT, Path, Room, Scheme, SchemeSyntax, Segment
from promptset.sharing.tally import SharingTally

__all__ = ["BLOCK", "SCHEMES", "Path", "Prefix", "Room", "Scheme", "Segment", "SharingTally", "parse_prefix"]

SCHEMES: dict[str, SchemeSyntax] = {"groups": groups.SYNTAX, "tree": tree.SYNTAX, "hit_rate": hit_rate.SYNTAX}

_SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Prefix:
    """The sharing of a data set: a system prompt of `system_tokens` (0: none), and a scheme (None: none)."""

    scheme: Scheme | None = None
    system_tokens: int = 0

    def __str__(self) -> str:
        system = [f"{_SYSTEM}={self.system_tokens}"] if self.system_tokens else []
        return ",".join(([] if self.scheme is None else [str(self.scheme)]) + system)

    @property
    def least(self) -> int:
        """Tokens of shared text that every prompt must have room for, without the system prompt."""
        return 0 if self.scheme is None else self.scheme.least

    def path(self, index: int, seed: int, room: Room) -> Path:
        """The shared segments of the prompt with this index, without the system prompt."""
        return () if self.scheme is None else self.scheme.path(index, seed, room)


def parse_prefix(text: str) -> Prefix:
    """Parse a spec of sharing. Raises SpecError with every problem."""
    name, colon, arguments = text.partition(":")
    if not colon:
        name, arguments = "", text
    try:
        pairs = split_pairs(arguments)
    except SpecError as e:
        raise _refusal(text, e.problems, None) from e
    syntax, problems = _syntax(name.strip(), pairs)
    system, wrong = COUNT.read(_SYSTEM, pairs.pop(_SYSTEM)) if _SYSTEM in pairs else (0, None)
    problems += [] if wrong is None else [wrong]
    values: dict[str, float] = {}
    known = {} if syntax is None else syntax.keys
    for key, value in pairs.items():
        if key not in known:
            close = get_close_matches(key, [*known, _SYSTEM], n=1, cutoff=0.5)
            problems.append(f"a prefix has no {key!r}" + (f": did you mean {close[0]!r}?" if close else ""))
            continue
        read, wrong = known[key].read(key, value)
        if wrong is not None:
            problems.append(wrong)
        elif read is not None:
            values[key] = read
    for key, says in known.items():
        if key not in pairs and says.default is None:
            problems.append(f"{key}= is missing")
        elif key not in pairs and says.default is not None:
            values[key] = says.default
    if problems:
        raise _refusal(text, problems, syntax)
    try:
        return Prefix(None if syntax is None else syntax.build(values), int(system or 0))
    except SpecError as e:
        raise _refusal(text, e.problems, syntax) from e


def _syntax(name: str, pairs: dict[str, str]) -> tuple[SchemeSyntax | None, list[str]]:
    """The scheme, or None if there is only a system prompt; and the problems with its name."""
    if name:
        named = [known for known, syntax in SCHEMES.items() if syntax.named]
        if name in named:
            return SCHEMES[name], []
        return None, [f"no scheme is called {name!r}: write one of {', '.join(named)}"]
    if pairs.keys() == {_SYSTEM}:
        return None, []
    if "hit_rate" in pairs:
        return SCHEMES["hit_rate"], []
    return SCHEMES["groups"], []


def _refusal(text: str, problems: list[str], syntax: SchemeSyntax | None) -> SpecError:
    example = (SCHEMES["groups"] if syntax is None else syntax).example
    return SpecError([f"{text!r}: {problem} (example: {example})" for problem in problems])
