"""Fault rules: their syntax, and which requests they hit.

    NAME[:key=value,...]      429:rate=0.1,retry_after=2      stall:every=10,after=5,for=2s      500:from=10s,until=20s

Selectors: one of `rate` (a share, drawn from the seed), `crowd` (a share for each other request in flight, drawn from the
seed), `index` (one request) and `every` (each n-th index); also `from` and `until` (arrival time since the start) and
`skip` (not the first n arrivals). Without selectors a rule hits every request. `index` and `every` need requests whose
`x-request-id` ends in `-<index>`. For faults of connections they count connections.

Every rule that hits a request adds its fault, unless it conflicts with an earlier one: a reply ends once, and each fault
happens once. A request with the header `x-mock-fault: NAME[:key=value,...][; NAME ...]` chooses its own faults, and the
rules do not apply to it; `none` means no fault.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mockserver.faults.kinds import CONNECTION_FAULTS, FAULTS, Fault
from mockserver.faults.options import Value, duration_ns, instant_ns, positive, share, whole


@dataclass(frozen=True, slots=True)
class Rule:
    """A fault and the selectors of its requests."""

    spec: str
    fault: Fault
    rate: float | None = None
    crowd: float | None = None
    index: int | None = None
    every: int | None = None
    from_ns: int = 0
    until_ns: int | None = None
    skip: int = 0

    def __str__(self) -> str:
        return self.spec


@dataclass(frozen=True, slots=True)
class ArrivalFacts:
    """The facts about an arrival that rules use."""

    index: int | None = None
    at_ns: int = 0
    """The arrival, counted from the start of the configuration."""
    before: int = 0
    """The number of earlier arrivals."""
    in_flight: int = 0
    """Other requests that this process is serving at the arrival."""


_ONE_OF: dict[str, Callable[[str], int | float]] = {"rate": share, "crowd": share, "index": whole, "every": positive}
_SELECTORS: dict[str, tuple[str, Callable[[str], int | float]]] = {
    **{name: (name, read) for name, read in _ONE_OF.items()},
    "from": ("from_ns", instant_ns),
    "until": ("until_ns", duration_ns),
    "skip": ("skip", whole),
}


def parse_rule(spec: str) -> Rule:
    """Parse a `--fault` spec. Raises ValueError with one sentence that names every problem."""
    name, _, tail = spec.strip().partition(":")
    kind = FAULTS.get(name)
    if kind is None:
        close = difflib.get_close_matches(name, FAULTS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the faults are {', '.join(FAULTS)}"
        raise ValueError(f"{spec!r}: no fault is called {name!r}; {hint}")
    options = {option.name: option for option in kind.options}
    values: dict[str, Value] = {option.name: option.default for option in kind.options}
    selectors: dict[str, int | float] = {}
    problems: list[str] = []
    for part in filter(None, (part.strip() for part in tail.split(","))):
        key, equals, text = part.partition("=")
        try:
            if not equals:
                problems.append(f"{part!r} is not key=value, such as rate=0.1")
            elif key in _SELECTORS:
                field, read = _SELECTORS[key]
                selectors[field] = read(text)
            elif key in options:
                values[key] = options[key].read(text)
            else:
                problems.append(f"{name} takes {', '.join((*_SELECTORS, *options))}, not {key!r}")
        except ValueError as e:
            problems.append(f"{key}={text}: {e}")
    if not problems:
        problems = _contradictions(name, values, selectors)
    if problems:
        raise ValueError(f"{spec!r}: {'; '.join(problems)}")
    return Rule(spec.strip(), Fault(kind, values), **selectors)  # type: ignore[arg-type]


def _contradictions(name: str, values: dict[str, Value], selectors: dict[str, int | float]) -> list[str]:
    """Problems of a rule whose parts are each valid."""
    problems = []
    if len(one_of := [key for key in selectors if key in _ONE_OF]) > 1:
        problems.append(f"{' and '.join(one_of)} cannot be combined: choose one of them")
    if "until_ns" in selectors and selectors["until_ns"] <= selectors.get("from_ns", 0):
        problems.append("until must be later than from")
    if name == "refuse":
        if selectors.keys().isdisjoint({"until_ns", "skip"}):
            problems.append("say when it ends, for example refuse:from=10s,until=12s, or how many requests come before")
        if selectors.keys() - {"from_ns", "until_ns", "skip"}:
            problems.append("refuse applies to all connections: only from, until and skip can select")
    if "crowd" in selectors and name in CONNECTION_FAULTS:
        problems.append(f"crowd counts requests in flight, and {name} hits connections")
    if name == "pause" and values["for"] >= values["period"]:  # type: ignore[operator]
        problems.append("for must be shorter than period")
    return problems


def parse_demand(spec: str) -> tuple[Fault, ...]:
    """The faults in an `x-mock-fault` header. Raises ValueError with one sentence."""
    if spec.strip() == "none":
        return ()
    faults: list[Fault] = []
    for text in spec.split(";"):
        rule = parse_rule(text)
        if rule != Rule(rule.spec, rule.fault):
            keys = ", ".join(_SELECTORS)
            raise ValueError(f"{text.strip()!r}: {keys} select requests, but a header applies only to its own request")
        if rule.fault.name in CONNECTION_FAULTS:
            raise ValueError(
                f"{text.strip()!r}: this fault happens before a request is read, so no request can ask for it"
            )
        if (other := _conflicting(rule.fault, faults)) is not None:
            raise ValueError(f"{other.name} and {rule.fault.name} cannot be combined")
        faults.append(rule.fault)
    return tuple(faults)


def _conflicting(fault: Fault, faults: Iterable[Fault]) -> Fault | None:
    """The earlier fault that this one conflicts with."""
    conflict = fault.kind.conflict
    for other in faults:
        if other.name == fault.name or (conflict is not None and other.kind.conflict == conflict):
            return other
    return None


def choose(
    rules: Sequence[Rule], facts: ArrivalFacts, chance: Callable[[int], float], *, connection: bool = False
) -> tuple[Fault, ...]:
    """The faults that hit a request (or a `connection`, whose number is its index), in the order of the rules.

    `chance(i)` draws from [0, 1) for the i-th rule. A refusal excludes all other faults.
    """
    faults: list[Fault] = []
    for ordinal, rule in enumerate(rules):
        if (rule.fault.name in CONNECTION_FAULTS) is not connection:
            continue
        if _hits(rule, facts, ordinal, chance) and _conflicting(rule.fault, faults) is None:
            faults.append(rule.fault)
    refusal = next((fault for fault in faults if fault.kind.status is not None), None)
    return tuple(faults) if refusal is None else (refusal,)


def _hits(rule: Rule, facts: ArrivalFacts, ordinal: int, chance: Callable[[int], float]) -> bool:
    if facts.at_ns < rule.from_ns or (rule.until_ns is not None and facts.at_ns >= rule.until_ns):
        return False
    if facts.before < rule.skip:
        return False
    if rule.rate is not None:
        return chance(ordinal) < rule.rate
    if rule.crowd is not None:
        return chance(ordinal) < rule.crowd * facts.in_flight
    if rule.index is not None:
        return facts.index == rule.index
    if rule.every is not None:
        return facts.index is not None and (facts.index + 1) % rule.every == 0
    return True
