"""The ways in which the mock misbehaves on purpose, which requests they hit, and how both are written.

    NAME[:key=value,...]      429:rate=0.1,retry_after=2      stall:every=10,after=5,for=2s      reset:index=7

Which requests: `rate` (a share, drawn from the seed), `index` (one request), `every` (each n-th index); none of them
means every request. The first rule that hits a request decides; a request that carries the header
`x-mock-fault: NAME[:key=value,...]` decides for itself. `index` and `every` need requests whose `x-request-id` ends in
`-<index>`.

A fault refuses a request (`status`), moves its tokens in the plan (`delay`), or strikes in place of the token that
would follow `after` tokens (`strike`). A new fault is one line in `FAULTS` and one row in the table of its test.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from promptset.distributions import parse as parse_distribution
from promptset.errors import SpecError

MILLISECOND_NS = 1_000_000


class Struck(Protocol):
    """What a fault can do to a reply that is being sent."""

    def fail(self) -> None:
        """Send an error object inside the reply and end it in good order."""

    def garble(self) -> None:
        """Send broken JSON instead of the next token and go on."""

    def reset(self) -> None:
        """Reset the connection (TCP RST)."""

    def truncate(self) -> None:
        """Close the connection in good order (TCP FIN) in the midst of the reply."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to misbehave."""

    name: str
    doc: str
    options: tuple[str, ...] = ()
    status: int | None = None
    """The request is refused with this HTTP status."""
    delay: Callable[[Fault, int, tuple[int, ...]], tuple[int, tuple[int, ...]]] | None = None
    """(fault, ttft_ns, gaps_ns) -> (ttft_ns, gaps_ns): the fault is in the plan itself."""
    strike: Callable[[Struck], None] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault as one request meets it."""

    kind: Kind
    after: int | None = None
    """Tokens that come before it; None: half of them (`stall`: none)."""
    for_ns: int = 1000 * MILLISECOND_NS
    retry_after_s: int = 1

    def strikes_at(self, tokens: int) -> int:
        """How many of `tokens` are sent before it strikes: fewer than all, so that a planned fault happens."""
        after = tokens // 2 if self.after is None else self.after
        return min(after, tokens - 1)


@dataclass(frozen=True, slots=True)
class Rule:
    """A fault and the requests that it hits."""

    spec: str
    fault: Fault
    rate: float | None = None
    index: int | None = None
    every: int | None = None

    def __str__(self) -> str:
        return self.spec


def _stall(fault: Fault, ttft_ns: int, gaps_ns: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    after = 0 if fault.after is None else fault.strikes_at(len(gaps_ns) + 1)
    if after == 0:
        return ttft_ns + fault.for_ns, gaps_ns
    return ttft_ns, (*gaps_ns[: after - 1], gaps_ns[after - 1] + fault.for_ns, *gaps_ns[after:])


_KINDS = (
    Kind("400", "refuse: bad request", status=400),
    Kind("401", "refuse: not authorised", status=401),
    Kind("404", "refuse: no such model", status=404),
    Kind("429", "refuse: too many requests, with Retry-After", ("retry_after",), status=429),
    Kind("500", "refuse: internal error", status=500),
    Kind("503", "refuse: not available, with Retry-After", ("retry_after",), status=503),
    Kind("stall", "send nothing for a while, before the first token or after some", ("after", "for"), delay=_stall),
    Kind("reset", "reset the connection (TCP RST)", ("after",), strike=lambda reply: reply.reset()),
    Kind("truncate", "close the connection without [DONE]", ("after",), strike=lambda reply: reply.truncate()),
    Kind("error_in_stream", "an error object inside the 200 stream", ("after",), strike=lambda reply: reply.fail()),
    Kind("malformed", "broken JSON in place of one token", ("after",), strike=lambda reply: reply.garble()),
)

FAULTS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("write a whole number")
    return int(text)


def _positive(text: str) -> int:
    if (value := _whole(text)) < 1:
        raise ValueError("write a whole number from 1 up")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise ValueError("write a share from 0 to 1")
    return value


def _duration_ns(text: str) -> int:
    try:
        distribution = parse_distribution(text, "time")
    except SpecError as e:
        raise ValueError("write a time like 500ms or 2s") from e
    if ":" in str(distribution):
        raise ValueError("write one time like 500ms or 2s, no distribution")
    return round(distribution.mean())


_SELECTORS: dict[str, Callable[[str], int | float]] = {"rate": _share, "index": _whole, "every": _positive}
_OPTIONS: dict[str, tuple[str, Callable[[str], int]]] = {
    "after": ("after", _whole),
    "for": ("for_ns", _duration_ns),
    "retry_after": ("retry_after_s", _whole),
}


def parse_rule(spec: str) -> Rule:
    """The rule that a `--fault` spec describes. Raises ValueError with one sentence that names every problem."""
    name, _, tail = spec.strip().partition(":")
    kind = FAULTS.get(name)
    if kind is None:
        close = difflib.get_close_matches(name, FAULTS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(FAULTS)}"
        raise ValueError(f"{spec!r}: no fault is called {name!r}; {hint}")
    selectors: dict[str, int | float] = {}
    options: dict[str, int] = {}
    problems: list[str] = []
    for part in filter(None, (part.strip() for part in tail.split(","))):
        key, equals, text = part.partition("=")
        try:
            if not equals:
                problems.append(f"{part!r} is not key=value")
            elif key in _SELECTORS:
                selectors[key] = _SELECTORS[key](text)
            elif key in kind.options:
                field, read = _OPTIONS[key]
                options[field] = read(text)
            else:
                problems.append(f"{name} takes {', '.join((*_SELECTORS, *kind.options))}, not {key!r}")
        except ValueError as e:
            problems.append(f"{key}={text}: {e}")
    if len(selectors) > 1:
        problems.append(f"{' and '.join(selectors)} cannot be combined: write one of them")
    if problems:
        raise ValueError(f"{spec!r}: {'; '.join(problems)}")
    return Rule(spec.strip(), Fault(kind, **options), **selectors)  # type: ignore[arg-type]


def parse_demand(spec: str) -> Fault:
    """The fault that an `x-mock-fault` header asks for. Raises ValueError with one sentence."""
    rule = parse_rule(spec)
    if rule.rate is not None or rule.index is not None or rule.every is not None:
        raise ValueError(f"{spec!r}: rate, index and every choose among requests, and a header speaks for its own")
    return rule.fault


def choose(rules: Sequence[Rule], index: int | None, chance: Callable[[int], float]) -> Fault | None:
    """The fault of the first rule that hits; `chance(i)` draws from [0, 1) for the i-th rule."""
    for ordinal, rule in enumerate(rules):
        if rule.rate is not None:
            hit = chance(ordinal) < rule.rate
        elif rule.index is not None:
            hit = index == rule.index
        elif rule.every is not None:
            hit = index is not None and (index + 1) % rule.every == 0
        else:
            hit = True
        if hit:
            return rule.fault
    return None
