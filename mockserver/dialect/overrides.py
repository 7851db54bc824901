"""Headers by which a request controls the mock: its faults, its latencies, the length of its reply.

    x-mock-fault: NAME[:key=value,...][; NAME ...]     x-mock-ttft: DIST     x-mock-tpot: DIST     x-mock-itl: DIST
    x-mock-output-tokens: DIST     x-mock-tool-calls: N

They override the configuration for this request only. A distribution is drawn from in the same way as a configured one.
`x-mock-output-tokens` is the length at which the reply ends by itself; the request's `max_tokens` can end it sooner.
`x-mock-tool-calls` is the number of tool calls if the reply is free to choose; 0 makes it text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from starlette.datastructures import Headers

from mockserver.dialect import refusals
from mockserver.faults import Fault, parse_demand
from mockserver.plans.plan import Latencies
from promptset.distributions import Dimension, Distribution, parse
from promptset.errors import SpecError

_PREFIX = b"x-mock-"
FAULT = "x-mock-fault"
TOOL_CALLS = "x-mock-tool-calls"
_MOST_CALLS = 128

DISTRIBUTIONS: dict[str, Dimension] = {
    "x-mock-ttft": "time",
    "x-mock-tpot": "time",
    "x-mock-itl": "time",
    "x-mock-output-tokens": "tokens",
}


@dataclass(frozen=True, slots=True)
class Overrides:
    """The settings in the headers of a request. None means: as configured."""

    faults: tuple[Fault, ...] | None = None
    ttft: Distribution | None = None
    tpot: Distribution | None = None
    itl: Distribution | None = None
    output_tokens: Distribution | None = None
    tool_calls: int | None = None

    def refuse_hidden(self, configured: Latencies) -> None:
        """Raises Refusal (400) for a header that these latencies would ignore, because they are not drawn."""
        hidden: tuple[str, ...] = ()
        if configured.seen is not None:
            hidden = ("ttft", "tpot", "itl")
        if configured.recording is not None:
            hidden = ("ttft", "tpot", "itl", "output_tokens")
        for name in hidden:
            if getattr(self, name) is not None:
                header = f"{_PREFIX.decode()}{name.replace('_', '-')}"
                refusals.refuse(f"{header} has no effect: --replay or --sampled-times sets it.", header)

    def over(self, configured: Latencies) -> Latencies:
        """The distributions for this request. Its own `tpot` overrides a configured `itl`."""
        latencies = configured
        if self.ttft is not None:
            latencies = replace(latencies, ttft=self.ttft)
        if self.tpot is not None:
            latencies = replace(latencies, tpot=self.tpot, itl=None)
        if self.itl is not None:
            latencies = replace(latencies, itl=self.itl)
        if self.output_tokens is not None:
            latencies = replace(latencies, output_tokens=self.output_tokens)
        return latencies


NO_OVERRIDES = Overrides()


def read_overrides(headers: Headers) -> Overrides:
    """The overrides in the headers. Raises Refusal (400) that names every problem."""
    if not any(name.startswith(_PREFIX) for name, _ in headers.raw):
        return NO_OVERRIDES
    texts = {name: headers[name] for name in DISTRIBUTIONS if name in headers}
    demands = headers.getlist(FAULT)
    problems: list[str] = []
    faults: tuple[Fault, ...] | None = None
    if demands:
        try:
            faults = parse_demand(";".join(demands))
        except ValueError as e:
            problems.append(f"{FAULT}: {e}")
    drawn: dict[str, Distribution] = {}
    for name, text in texts.items():
        try:
            drawn[name.removeprefix("x-mock-").replace("-", "_")] = parse(text, DISTRIBUTIONS[name])
        except SpecError as e:
            problems += [f"{name}: {problem}" for problem in e.problems]
    calls = headers.get(TOOL_CALLS)
    if calls is not None and not (calls.isascii() and calls.isdigit() and int(calls) <= _MOST_CALLS):
        problems.append(f"{TOOL_CALLS}: {calls!r}: write a whole number from 0 to {_MOST_CALLS}")
    if problems:
        refusals.refuse("; ".join(problems), problems[0].partition(":")[0])
    return Overrides(faults, **drawn, tool_calls=None if calls is None else int(calls))
