"""Which chunk of a response is which mark, from the letters of its chunks alone.

    choice    has non-empty `choices`: every chunk but usage alone and `[DONE]`. A role chunk, an empty delta and a finish
              reason alone are among them
    output    bears text, or is an empty delta ahead of the last text (a token may decode to nothing), or any empty delta of
              a response without text; no role chunk
    token     bears text: content, reasoning, tool call (our own definition)
    text      bears content or reasoning
    content   bears content
    data      every event but `[DONE]`
    usage     the usage chunk; where there is none, the last event
    event     every event
    end       the last byte of the response

A record tells an empty delta, a finish reason alone and `[DONE]` by the same letter, o. The last event is taken for
`[DONE]` where it is an o; of servers that send none, a finish reason that comes alone and last is then missed.

The layout of a response depends on its letters alone, and most responses of a run have the same: layouts are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress, pairwise

from bench.metrics.compat.tool import First, Gaps, Last

_LAYOUTS_KEPT = 512

_LETTERS: Mapping[Gaps, str] = {"choice": "rctfo", "output": "ctfo", "token": "ctf", "text": "ct"}
"""The chunks between which a kind of gap is taken; `retokenised` depends on tokens too (readings.py)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the marks of a response lie. `first` and `last` have the positions of those marks that are not the token's;
    None where the response has no such chunk. `token` is (first, last), None without any. There are `chunks` that bear
    text, of which `all_content` says whether they bear content.

    `more` has, for each kind of gap that is the gaps between tokens and a few more, the pairs of chunks between which
    those lie. `other` are the kinds whose gaps are others altogether.
    """

    token: tuple[int, int] | None
    chunks: int
    all_content: bool
    first: tuple[tuple[First, int | None], ...]
    last: tuple[tuple[Last, int | None], ...]
    more: tuple[tuple[Gaps, tuple[tuple[int, int], ...]], ...]
    other: tuple[Gaps, ...]


def _without_done(kinds: str) -> str:
    return kinds[:-1] if kinds.endswith("o") else kinds


def _up_to_text(kinds: str) -> str:
    """Up to the last text: an o behind it is a finish reason. Without any text, all but `[DONE]`."""
    text = kinds.rstrip("ruo")
    return text if text else _without_done(kinds)


def _first(kinds: str, others: str) -> int | None:
    position = len(kinds) - len(kinds.lstrip(others))
    return position if position < len(kinds) else None


def _last(kinds: str, others: str) -> int | None:
    position = len(kinds.rstrip(others)) - 1
    return position if position >= 0 else None


def _usage(kinds: str) -> int | None:
    position = kinds.find("u")
    return position if position >= 0 else _last(kinds, "")


FIRST: Mapping[First, Callable[[str], int | None]] = {
    "choice": lambda kinds: _first(_without_done(kinds), "u"),
    "output": lambda kinds: _first(_up_to_text(kinds), "ru"),
    "token": lambda kinds: _first(kinds, "ruo"),
    "text": lambda kinds: _first(kinds, "ruof"),
    "content": lambda kinds: _first(kinds, "ruoft"),
}
"""The position of each first mark."""

LAST: Mapping[Last, Callable[[str], int | None]] = {
    "choice": lambda kinds: _last(_without_done(kinds), "u"),
    "output": lambda kinds: _last(_up_to_text(kinds), "ru"),
    "token": lambda kinds: _last(kinds, "ruo"),
    "text": lambda kinds: _last(kinds, "ruof"),
    "content": lambda kinds: _last(kinds, "ruoft"),
    "data": lambda kinds: _last(_without_done(kinds), ""),
    "usage": _usage,
    "event": lambda kinds: _last(kinds, ""),
}
"""The position of each last mark; `end` is no chunk."""


def positions(kinds: str, gaps: Gaps) -> list[int]:
    """The chunks between which a kind of gap is taken."""
    seen = _seen(kinds, gaps)
    letters = _LETTERS[gaps]
    return [position for position, kind in enumerate(seen) if kind in letters]


def times(chunk_ns: Sequence[int], kinds: str, gaps: Gaps) -> list[int]:
    """The arrivals of the chunks between which a kind of gap is taken."""
    seen = _seen(kinds, gaps)
    return list(compress(chunk_ns, map(_LETTERS[gaps].__contains__, seen)))


def _seen(kinds: str, gaps: Gaps) -> str:
    return _up_to_text(kinds) if gaps == "output" else _without_done(kinds)


@lru_cache(maxsize=_LAYOUTS_KEPT)
def layout(kinds: str) -> Layout:
    """The layout of a response with these letters."""
    first, last = FIRST["token"](kinds), LAST["token"](kinds)
    token = None if first is None or last is None else (first, last)
    between = positions(kinds, "token")
    more: list[tuple[Gaps, tuple[tuple[int, int], ...]]] = []
    other: list[Gaps] = []
    for gaps in _LETTERS:
        found = positions(kinds, gaps)
        if found == between:
            continue
        pairs = _more(found, between)
        if pairs is None:
            other.append(gaps)
        else:
            more.append((gaps, pairs))
    return Layout(
        token=token,
        chunks=len(between),
        all_content=kinds.count("c") == len(between),
        first=tuple((mark, at) for mark, position in FIRST.items() if (at := position(kinds)) is None or at != first),
        last=tuple((mark, at) for mark, position in LAST.items() if (at := position(kinds)) is None or at != last),
        more=tuple(more),
        other=tuple(other),
    )


def _more(found: Sequence[int], between: Sequence[int]) -> tuple[tuple[int, int], ...] | None:
    """The pairs of neighbours of `found` that are none of `between`; None where it splits or lacks one of those."""
    if not between:
        return tuple(pairwise(found))
    if between[0] not in found:
        return None
    start = found.index(between[0])
    if found[start : start + len(between)] != list(between):
        return None
    ahead, behind = found[: start + 1], found[start + len(between) - 1 :]
    return (*pairwise(ahead), *pairwise(behind))
