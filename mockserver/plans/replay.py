"""Recorded latencies to replay: from a ledger, from the records of a run, or from a fitted profile.

    ledger.jsonl     received_ns, write_ns, chunk_tokens, chunk_kind: TTFT from the arrival
    requests.jsonl   sent_ns (resent_ns if the request was sent twice), chunk_ns, chunk_tokens (null: one each),
                     chunk_kind: TTFT from the send, so it includes the network; warm-up and failed requests are skipped
    profile.json     {"ttft": DIST, "tpot": DIST | "itl": DIST, "ttft_per_input_token": DIST, "output_tokens": DIST}: any of
                     these; they replace the flags of the same name

A request gets the recorded reply with its index, if there is one. Otherwise it gets the next in order (by its index or
its order of arrival, wrapping around), or a random one drawn from the seed.
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
from promptset.whole_file import read_text

Draw = Literal["order", "random"]

_TEXT_KINDS = "ctf"
PROFILE: dict[str, Dimension] = {
    "ttft": "time",
    "ttft_per_input_token": "time",
    "tpot": "time",
    "itl": "time",
    "output_tokens": "tokens",
}
"""The keys of a profile."""


@dataclass(frozen=True, slots=True)
class RecordedReply:
    """One recorded reply: the time of its first text chunk, then the gaps between text chunks."""

    ttft_ns: int
    gaps_ns: tuple[int, ...]
    chunk_tokens: tuple[int, ...]

    @property
    def output_tokens(self) -> int:
        return sum(self.chunk_tokens)

    def stretched(self, tokens: int, gap_ns: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The gaps and tokens per step for a reply of this many tokens: truncated, or repeated from the second chunk.

        `gap_ns` is used if only one chunk was recorded.
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
class RecordedReplies:
    """All replies of a file, in file order."""

    replies: Sequence[RecordedReply]
    by_index: dict[int, RecordedReply]
    draw: Draw

    def pick(self, key: object, rng: Random) -> RecordedReply:
        """The recorded reply for the request with this key (plan.StreamKey)."""
        if isinstance(key, int) and key in self.by_index:
            return self.by_index[key]
        number = key if isinstance(key, int) else key[1] if isinstance(key, tuple) else None
        if self.draw == "order" and number is not None:
            return self.replies[number % len(self.replies)]
        return self.replies[int(rng.random() * len(self.replies))]


@dataclass(frozen=True, slots=True)
class ReplaySource:
    """The content of a file: recorded replies, or the distributions of a profile by configuration field."""

    recording: RecordedReplies | None = None
    profile: dict[str, Any] = field(default_factory=dict)


def read_source(path: Path, draw: Draw) -> ReplaySource:
    """Read a file of any of the three kinds. Raises UsageError with every problem and its line."""
    try:
        text = read_text(path)
    except OSError as e:
        raise UsageError(f"--replay {path}: cannot be read: {e.strerror}") from e
    try:
        whole = json.loads(text)
    except RecursionError:
        raise UsageError(f"--replay {path}: cannot be read: it is nested too deeply") from None
    except ValueError:
        whole = None
    if isinstance(whole, dict) and not ("write_ns" in whole or "chunk_ns" in whole):
        return ReplaySource(profile=_read_profile(path, whole))
    return ReplaySource(_read_lines(path, text, draw))


def _read_profile(path: Path, row: dict[str, Any]) -> dict[str, Distribution]:
    profile: dict[str, Distribution] = {}
    problems = [
        f"--replay {path}: {key}: no such key; the keys are {', '.join(PROFILE)}" for key in row.keys() - PROFILE
    ]
    for name, dimension in PROFILE.items():
        if name in row:
            try:
                profile[name] = parse(row[name], dimension)
            except SpecError as e:
                problems += [f"--replay {path}: {name}: {problem}" for problem in e.problems]
    if not row:
        problems.append(f"--replay {path}: is empty; write, for example, {{'ttft': 'lognormal:mean=200ms,cv=0.5'}}")
    if problems:
        raise UsageError(problems)
    return profile


def _read_lines(path: Path, text: str, draw: Draw) -> RecordedReplies:
    replies: list[RecordedReply] = []
    by_index: dict[int, RecordedReply] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            reply = _from_ledger(row) if "write_ns" in row else _from_record(row)
            index = row["index"]
        except (ValueError, KeyError, TypeError) as e:
            why = f"it has no {e}" if isinstance(e, KeyError) else str(e)
            problems.append(f"--replay {path}:{number}: not a line of a ledger or of requests.jsonl: {why}")
            if len(problems) == 10:
                break
            continue
        if reply is not None:
            replies.append(reply)
            if isinstance(index, int):
                by_index.setdefault(index, reply)
    if not replies and not problems:
        problems.append(f"--replay {path}: no reply in it ended well and had text")
    if problems:
        raise UsageError(problems)
    return RecordedReplies(replies, by_index, draw)


def _from_ledger(row: dict[str, Any]) -> RecordedReply | None:
    if row["status"] != 200 or row["fault"] is not None or "cut" in row["engine"]:
        return None
    return _recorded(row["received_ns"], row["write_ns"], row["chunk_tokens"], row["chunk_kind"])


def _from_record(row: dict[str, Any]) -> RecordedReply | None:
    if row["outcome"] != "ok" or row["phase"] != "run":
        return None
    # A line omits fields with their default value.
    kinds, tokens, resent_ns = row.get("chunk_kind", ""), row.get("chunk_tokens"), row.get("resent_ns")
    shares = [None] * len(kinds) if tokens is None else tokens
    return _recorded(row["sent_ns"] if resent_ns is None else resent_ns, row.get("chunk_ns", []), shares, kinds)


def _recorded(start_ns: int, stamps_ns: list[int], tokens: list[int | None], kinds: str) -> RecordedReply | None:
    chunks = [
        # A text chunk with an unknown number of tokens had at least one.
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
    return RecordedReply(stamps[0] - start_ns, gaps, tuple(share for _, share in chunks))
