"""The plan of a request: every random part of its reply, drawn before anything is sent.

Random streams are keyed by (seed, purpose, key). The key is the index at the end of `x-request-id` (`<run>-<index>`), so a
plan belongs to its request and does not depend on the order of arrival. Without an index the key is the id; without an
id it is the order of arrival, and then two runs get the same plans only if their requests arrive in the same order.
`GET /truth` counts the requests of each kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from mockserver import rng
from mockserver.faults import ArrivalFacts, Fault, Rule, choose
from mockserver.plans.replay import RecordedReplies
from mockserver.plans.speculation import Speculation
from mockserver.sampled_times import SampledTimes
from promptset.distributions import Distribution
from promptset.distributions.constant import Constant

StreamKey = int | str | tuple[str, int]
Gaps = tuple[int, ...]

_INDEX = re.compile(r"-(\d{1,18})$")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, and when. Times are in ns: from the arrival (`ttft_ns`), and between tokens (`gaps_ns`)."""

    ttft_ns: int | None
    """None if the request is refused: no token is planned."""
    gaps_ns: tuple[int, ...]
    """One entry for each token after the first."""
    output_tokens: int
    faults: tuple[Fault, ...] = ()
    step_tokens: tuple[int, ...] = ()
    """Tokens of each engine step, including the first. Empty means one token per step. Tokens of a step are emitted
    together, with gaps of 0."""
    reasoning_tokens: int = 0
    """The number of leading output tokens that are reasoning."""
    finish: Literal["stop", "length"] = "length"
    """Whether the reply ends by itself or at a limit."""

    def ending_at(self, tokens: int) -> Plan:
        """The plan truncated to this many tokens, at which the reply ends by itself."""
        steps: list[int] = []
        left = tokens
        for step in self.step_tokens:
            if left > 0:
                steps.append(min(step, left))
                left -= step
        gaps_ns = self.gaps_ns[: tokens - 1]
        return replace(self, gaps_ns=gaps_ns, output_tokens=tokens, step_tokens=tuple(steps), finish="stop")


@dataclass(frozen=True, slots=True)
class Latencies:
    """The distributions that plans are drawn from."""

    ttft: Distribution
    tpot: Distribution
    itl: Distribution | None
    """Drawn for each gap. If None, one TPOT is drawn per request, and all its gaps equal it."""
    output_tokens: Distribution
    ttft_per_input_token: Distribution | None = None
    """Drawn once per request, and added to its TTFT for each input token."""
    speculation: Speculation | None = None
    """If set, gaps are the times between steps, and a step emits several tokens."""
    recording: RecordedReplies | None = None
    """If set, replies to replay. TTFT, gaps and lengths are then not drawn."""
    reasoning_tokens: Distribution | None = None
    """If None, no reply reasons."""
    seen: SampledTimes | None = None
    """If set, TTFT and gaps are drawn from times measured on a real server."""

    @property
    def by_input(self) -> bool:
        """Whether TTFT depends on the tokens of the prompt."""
        if self.seen is not None:
            return self.seen.per_input_token_ns > 0
        return self.ttft_per_input_token is not None

    @property
    def constant(self) -> bool:
        """Whether no time is random, so that all replies of one length have the same times."""
        drawn = (self.recording, self.seen, self.speculation, self.ttft_per_input_token)
        gaps = self.tpot if self.itl is None else self.itl
        return all(source is None for source in drawn) and type(self.ttft.law) is type(gaps.law) is Constant

    def length(self, seed: int, key: StreamKey) -> int:
        """The number of tokens of a reply that ends by itself."""
        if self.recording is not None:
            return self.recording.pick(key, rng.stream(seed, "replay", key)).output_tokens
        return int(_drawn(self.output_tokens, seed, "output_tokens", key))

    def times(self, seed: int, key: StreamKey, tokens: int, input_tokens: int) -> tuple[int, Gaps, Gaps]:
        """TTFT, gaps and tokens per step (empty: one each) of a reply with this many tokens."""
        steps: tuple[int, ...] = ()
        if self.recording is not None:
            recorded = self.recording.pick(key, rng.stream(seed, "replay", key))
            gap_ns = round(self.tpot.sample(rng.stream(seed, "tpot", key)))
            gaps_ns, steps = recorded.stretched(tokens, gap_ns)
            return recorded.ttft_ns, gaps_ns, steps
        if self.seen is not None:
            ttft_ns = self.seen.ttft(rng.stream(seed, "ttft", key).random(), input_tokens)
            return ttft_ns, self.seen.gaps(tokens - 1, rng.stream(seed, "itl", key)), ()
        ttft_ns = round(_drawn(self.ttft, seed, "ttft", key))
        if self.ttft_per_input_token is not None:
            each_ns = _drawn(self.ttft_per_input_token, seed, "ttft_per_input_token", key)
            ttft_ns += round(input_tokens * each_ns)
        if self.speculation is not None:
            steps = self.speculation.steps(tokens, rng.stream(seed, "accepted", key))
        waits = len(steps) - 1 if steps else tokens - 1
        if self.itl is not None and type(self.itl.law) is not Constant:
            sample, gaps = self.itl.sample, rng.stream(seed, "itl", key)
            gaps_ns = tuple([round(sample(gaps)) for _ in range(waits)])
        else:
            same = ("tpot", self.tpot) if self.itl is None else ("itl", self.itl)
            gaps_ns = (round(_drawn(same[1], seed, same[0], key)),) * waits
        if steps:
            # The tokens of a step are emitted together.
            gaps_ns = tuple(g for gap, n in zip(gaps_ns, steps[1:], strict=True) for g in (gap, *[0] * (n - 1)))
        return ttft_ns, gaps_ns, steps


def _drawn(distribution: Distribution, seed: int, purpose: str, key: StreamKey) -> float:
    """One value from the stream of this purpose. A constant draws nothing, so it gets no generator: seeding one costs
    more than the rest of a plan."""
    if type(distribution.law) is Constant:
        return distribution.sample(rng.UNUSED)
    return distribution.sample(rng.stream(seed, purpose, key))


def _together(ttft_ns: int, gaps_ns: Gaps, step_tokens: Gaps) -> tuple[int, Gaps]:
    """Delay whole steps: the tokens of a step stay together."""
    waits = [ttft_ns, *gaps_ns]
    start = 0
    for tokens in step_tokens:
        waits[start : start + tokens] = [sum(waits[start : start + tokens]), *[0] * (tokens - 1)]
        start += tokens
    return waits[0], tuple(waits[1:])


def index_of(request_id: str | None) -> int | None:
    """The index at the end of a request id, or None."""
    match = _INDEX.search(request_id) if request_id is not None else None
    return None if match is None else int(match[1])


class ReplyLength(NamedTuple):
    """The limits on the length of a reply, in tokens."""

    limit: int
    """The room in the context."""
    asked: int | None = None
    """The `max_tokens` of the request: the length of the reply, or its maximum if the reply ends itself. If None, the reply
    ends itself."""
    ends_itself: bool = False
    exact: int | None = None
    """The length of a reply whose content is already known."""

    def draw(
        self, latencies: Latencies, seed: int, key: StreamKey, faults: tuple[Fault, ...]
    ) -> tuple[int, Literal["stop", "length"]]:
        """The tokens of a reply, and whether it ends by itself or at a limit."""
        if self.exact is not None:
            return self.exact, "stop"
        most = self.limit
        if self.asked is not None:
            longer = sum(fault.number("more") for fault in faults if fault.name == "length")
            most = min(self.asked + longer, self.limit)
        if self.asked is None or self.ends_itself:
            length = latencies.length(seed, key)
            if length < most or (self.asked is None and length == most):
                return max(1, length), "stop"
        return max(1, most), "length"


def draw_plan(
    latencies: Latencies,
    seed: int,
    key: StreamKey,
    length: ReplyLength,
    *,
    input_tokens: int = 0,
    reasons: bool = False,
    faults: tuple[Fault, ...] = (),
    at_ns: int = 0,
) -> Plan:
    """The plan for one request.

    `input_tokens` are the tokens of the prompt, for a TTFT that depends on them. `at_ns` is the arrival, counted from the
    start of this configuration, for faults that depend on it.
    """
    if any(fault.kind.status is not None for fault in faults):
        return Plan(None, (), 0, faults)
    tokens, finish = length.draw(latencies, seed, key, faults)
    reasoning_tokens = 0
    if reasons and latencies.reasoning_tokens is not None:
        drawn = int(latencies.reasoning_tokens.sample(rng.stream(seed, "reasoning_tokens", key)))
        reasoning_tokens = min(max(drawn, 0), tokens)
    ttft_ns, gaps_ns, step_tokens = latencies.times(seed, key, tokens, input_tokens)
    for fault in faults:
        if fault.kind.delay is not None:
            ttft_ns, gaps_ns = fault.kind.delay(fault, ttft_ns, gaps_ns, at_ns)
    if faults and step_tokens:
        ttft_ns, gaps_ns = _together(ttft_ns, gaps_ns, step_tokens)
    return Plan(ttft_ns, gaps_ns, tokens, faults, step_tokens, reasoning_tokens, finish)


def draw_faults(
    rules: tuple[Rule, ...],
    seed: int,
    key: StreamKey,
    attempt: int,
    facts: ArrivalFacts,
    own_key: StreamKey | None = None,
) -> tuple[Fault, ...]:
    """The faults that hit a request.

    Rules with a rate draw again for each attempt, so a client that retries after a 429 gets through. The rest of a plan
    is the same for every attempt. Wrong answers are drawn by `own_key` (`Arrival.own_key`; None: the key): runs that
    ask the same probes at the same indexes must not get the same draws, since two runs of a real server differ by
    chance.
    """

    def chance(number: int) -> float:
        by = own_key if own_key is not None and rules[number].fault.kind.group == "answer" else key
        return rng.stream(seed, f"fault:{number}:{attempt}", by).random()

    return choose(rules, facts, chance)
