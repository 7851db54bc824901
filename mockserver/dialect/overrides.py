"""What a request asks of the mock itself, in headers: its faults, its latencies, the length of its reply.

    x-mock-fault: NAME[:key=value,...][; NAME ...]     x-mock-ttft: DIST     x-mock-tpot: DIST     x-mock-itl: DIST
    x-mock-output-tokens: DIST

They take the place of what is configured, for this request alone. A distribution is drawn from as the configured one would
be. `x-mock-output-tokens` is where the reply ends by itself; the request's `max_tokens` may end it sooner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from starlette.datastructures import Headers

from mockserver.dialect import openai
from mockserver.faults import Fault, parse_demand
from mockserver.plans.plan import Latencies
from promptset.distributions import Dimension, Distribution, parse
from promptset.errors import SpecError

_OURS = b"x-mock-"
FAULT = "x-mock-fault"

DISTRIBUTIONS: dict[str, Dimension] = {
    "x-mock-ttft": "time",
    "x-mock-tpot": "time",
    "x-mock-itl": "time",
    "x-mock-output-tokens": "tokens",
}


@dataclass(frozen=True, slots=True)
class Overrides:
    """None: as configured."""

    faults: tuple[Fault, ...] | None = None
    ttft: Distribution | None = None
    tpot: Distribution | None = None
    itl: Distribution | None = None
    output_tokens: Distribution | None = None

    def over(self, configured: Latencies) -> Latencies:
        """The distributions for this request. A `tpot` of its own stands above a configured `itl`."""
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


NONE = Overrides()


def read_overrides(headers: Headers) -> Overrides:
    """What the headers ask for. Raises Refusal (400), which names everything that is wrong with them."""
    if not any(name.startswith(_OURS) for name, _ in headers.raw):
        return NONE
    given = {name: headers[name] for name in DISTRIBUTIONS if name in headers}
    demands = headers.getlist(FAULT)
    problems: list[str] = []
    faults: tuple[Fault, ...] | None = None
    if demands:
        try:
            faults = parse_demand(";".join(demands))
        except ValueError as e:
            problems.append(f"{FAULT}: {e}")
    drawn: dict[str, Distribution] = {}
    for name, text in given.items():
        try:
            drawn[name.removeprefix("x-mock-").replace("-", "_")] = parse(text, DISTRIBUTIONS[name])
        except SpecError as e:
            problems += [f"{name}: {problem}" for problem in e.problems]
    if problems:
        openai.refuse("; ".join(problems), problems[0].partition(":")[0])
    return Overrides(faults, **drawn)
