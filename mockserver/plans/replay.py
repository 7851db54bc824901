"""Latencies that were seen somewhere, to be replayed: from a ledger, from the records of a run, or from a fitted profile.

    ledger.jsonl     received_ns, write_ns, chunk_tokens, chunk_kind: TTFT from the arrival
    requests.jsonl   sent_ns, chunk_ns, chunk_tokens (null: one each), chunk_kind: TTFT from the sending, so that the way
                     over the network is in it; warm-up and failed requests are left out
    profile.json     {"ttft": DIST, "tpot": DIST | "itl": DIST, "ttft_per_input_token": DIST, "output_tokens": DIST}: any of
                     these, which take the place of the flags of the same name

A request gets the recorded one of the same index, where both have one; else the next in order (its index, or its place
in the order of arrival, taken round the recording), or one drawn at random from the seed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from mockserver.errors import UsageError
from mockserver.rng import Random
from promptset.distributions import Dimension, Distribution, parse
from promptset.errors import SpecError

Draw = Literal["order", "random"]

_TEXT_KINDS = "ctf"
PROFILE: dict[str, Dimension] = {
    "ttft": "time",
    "ttft_per_input_token": "time",
    "tpot": "time",
    "itl": "time",
    "output_tokens": "tokens",
}
"""What a profile can hold."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One reply as it was seen: the first chunk of text, then the gaps between such chunks."""

    ttft_ns: int
    gaps_ns: tuple[int, ...]
    chunk_tokens: tuple[int, ...]

    @property
    def output_tokens(self) -> int:
        return sum(self.chunk_tokens)

    def stretched(self, tokens: int, gap_ns: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The gaps and the tokens of each step for a reply of so many tokens: cut, or from the second chunk again.

        `gap_ns` stands in where only one chunk was recorded.
        """
        steps = [min(self.chunk_tokens[0], tokens)]
        gaps = [0] * (steps[0] - 1)
        left, place = tokens - steps[0], 0
        while left > 0:
            if self.gaps_ns:
                i = place % len(self.gaps_ns)
                share, gap = self.chunk_tokens[i + 1], self.gaps_ns[i]
            else:
                share, gap = 1, gap_ns
            share = min(share, left)
            steps.append(share)
            gaps += [gap, *[0] * (share - 1)]
            left -= share
            place += 1
        return tuple(gaps), tuple(steps)


@dataclass(frozen=True, slots=True)
class Recording:
    """All replies of a file, in its order."""

    replies: Sequence[Recorded]
    by_index: dict[int, Recorded]
    draw: Draw

    def pick(self, key: object, rng: Random) -> Recorded:
        """The recorded reply for the request of this key (plan.StreamKey)."""
        if isinstance(key, int) and key in self.by_index:
            return self.by_index[key]
        number = key if isinstance(key, int) else key[1] if isinstance(key, tuple) else None
        if self.draw == "order" and number is not None:
            return self.replies[number % len(self.replies)]
        return self.replies[int(rng.random() * len(self.replies))]


@dataclass(frozen=True, slots=True)
class Source:
    """What a file gives: a recording, or the distributions of a profile by the names of the configuration."""

    recording: Recording | None = None
    profile: dict[str, Any] = field(default_factory=dict)


def read_source(path: Path, draw: Draw) -> Source:
    """Read a file of any of the three forms. Raises UsageError with every problem and its line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"--replay {path}: cannot be read: {e}") from e
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, dict) and not ("write_ns" in whole or "chunk_ns" in whole):
        return Source(profile=_read_profile(path, whole))
    return Source(_read_lines(path, text, draw))


def _read_profile(path: Path, row: dict[str, Any]) -> dict[str, Distribution]:
    profile: dict[str, Distribution] = {}
    problems = [f"--replay {path}: {key}: no such key; there are {', '.join(PROFILE)}" for key in row.keys() - PROFILE]
    for name, dimension in PROFILE.items():
        if name in row:
            try:
                profile[name] = parse(row[name], dimension)
            except SpecError as e:
                problems += [f"--replay {path}: {name}: {problem}" for problem in e.problems]
    if not row:
        problems.append(f"--replay {path}: is empty; write for example {{'ttft': 'lognormal:mean=200ms,cv=0.5'}}")
    if problems:
        raise UsageError(problems)
    return profile


def _read_lines(path: Path, text: str, draw: Draw) -> Recording:
    replies: list[Recorded] = []
    by_index: dict[int, Recorded] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            reply = _from_ledger(row) if "write_ns" in row else _from_record(row)
            index = row["index"]
        except (ValueError, KeyError, TypeError) as e:
            problems.append(f"--replay {path}:{number}: is no line of a ledger or of requests.jsonl: {e!r}")
            if len(problems) == 10:
                break
            continue
        if reply is not None:
            replies.append(reply)
            if isinstance(index, int):
                by_index.setdefault(index, reply)
    if not replies and not problems:
        problems.append(f"--replay {path}: holds no reply that ended well and had text")
    if problems:
        raise UsageError(problems)
    return Recording(replies, by_index, draw)


def _from_ledger(row: dict[str, Any]) -> Recorded | None:
    if row["status"] != 200 or row["fault"] is not None or "cut" in row["engine"]:
        return None
    return _recorded(row["received_ns"], row["write_ns"], row["chunk_tokens"], row["chunk_kind"])


def _from_record(row: dict[str, Any]) -> Recorded | None:
    if row["outcome"] != "ok" or row["phase"] != "run":
        return None
    tokens = row["chunk_tokens"]
    kinds = row["chunk_kind"]
    if tokens is None:
        tokens = [int(kind in _TEXT_KINDS) for kind in kinds]
    return _recorded(row["sent_ns"], row["chunk_ns"], tokens, kinds)


def _recorded(start_ns: int, stamps_ns: list[int], tokens: list[int | None], kinds: str) -> Recorded | None:
    chunks = [
        # A chunk of text whose tokens are not known carried one at least.
        (at, max(1, share or 0))
        for at, share, kind in zip(stamps_ns, tokens, kinds, strict=True)
        if kind in _TEXT_KINDS
    ]
    if not chunks:
        return None
    stamps = [at for at, _ in chunks]
    gaps = tuple(later - earlier for earlier, later in pairwise(stamps))
    if stamps[0] < start_ns or any(gap < 0 for gap in gaps):
        raise ValueError("its stamps run backwards")
    return Recorded(stamps[0] - start_ns, gaps, tuple(share for _, share in chunks))
