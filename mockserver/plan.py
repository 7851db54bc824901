"""The plan of a request: everything about its answer that is chance, drawn before anything is sent.

Streams are keyed by (seed, purpose, key). The key is the index in which `x-request-id` ends (`<run>-<index>`), so that
a plan belongs to the request and not to the order of arrival; else the id; else the order of arrival, and then the
plans of two runs agree only if their requests arrive in the same order (`GET /truth` counts each case).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mockserver import rng
from mockserver.faults import Fault, Rule, choose
from promptset.distributions import Distribution

StreamKey = int | str | tuple[str, int]

_INDEX = re.compile(r"-(\d{1,18})$")


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be sent, and when. Times are ns from the request's arrival (`ttft_ns`) and between tokens."""

    ttft_ns: int | None
    """None where no token is planned: the request is refused."""
    gaps_ns: tuple[int, ...]
    """One entry a token after the first."""
    output_tokens: int
    fault: Fault | None = None
    step_tokens: tuple[int, ...] = ()
    """Tokens of each step of the engine, the first included; empty: one each. The tokens of a step come out together,
    and the gaps between them are 0."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """The distributions that plans are drawn from."""

    ttft: Distribution
    tpot: Distribution
    itl: Distribution | None
    """Drawn for each gap; where it is None, one TPOT is drawn for a request and all its gaps equal it."""
    output_tokens: Distribution


def index_of(request_id: str | None) -> int | None:
    """The index in which a request id ends; None where it has none."""
    match = _INDEX.search(request_id) if request_id is not None else None
    return None if match is None else int(match[1])


def draw_plan(
    latencies: Latencies,
    seed: int,
    key: StreamKey,
    *,
    attempt: int = 1,
    asked_tokens: int | None = None,
    limit_tokens: int,
    rules: tuple[Rule, ...] = (),
    demanded: Fault | None = None,
) -> Plan:
    """The plan for one request.

    `asked_tokens` is what the request asked for (None: it is drawn), `limit_tokens` what fits into the context,
    `demanded` a fault that the request itself asks for. Faults by rate are drawn anew for each attempt: a client that
    tries again after a 429 is not refused for ever. All else is the same for every attempt.
    """
    index = key if isinstance(key, int) else None
    fault = demanded
    if fault is None:
        fault = choose(rules, index, lambda rule: rng.stream(seed, f"fault:{rule}:{attempt}", key).random())
    if fault is not None and fault.kind.status is not None:
        return Plan(None, (), 0, fault)
    if asked_tokens is None:
        asked_tokens = int(latencies.output_tokens.sample(rng.stream(seed, "output_tokens", key)))
    tokens = max(1, min(asked_tokens, limit_tokens))
    ttft_ns = round(latencies.ttft.sample(rng.stream(seed, "ttft", key)))
    if latencies.itl is not None:
        gaps = rng.stream(seed, "itl", key)
        gaps_ns = tuple(round(latencies.itl.sample(gaps)) for _ in range(tokens - 1))
    else:
        gaps_ns = (round(latencies.tpot.sample(rng.stream(seed, "tpot", key))),) * (tokens - 1)
    if fault is None:
        return Plan(ttft_ns, gaps_ns, tokens)
    if fault.kind.delay is not None:
        ttft_ns, gaps_ns = fault.kind.delay(fault, ttft_ns, gaps_ns)
    return Plan(ttft_ns, gaps_ns, tokens, fault)
