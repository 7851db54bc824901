"""Continuous batching in closed form, so the answer of a whole sweep is known before it is run.

N users, each sending its next request when its last one has ended; I input and O output tokens per request, none in the
prefix cache; enough KV blocks, N <= max_num_seqs. A request lasts S steps of one token each, so S = O; with speculation
S is the mean of `Speculation.mean_steps`. In these S steps each of the N users has its prompt computed once, and each
decode step computes 1 + k tokens (k drafts). So a step takes on average

    T(N) = b0 + N (b1 I + b2 (1 + k) S) / S   [+ N b3 (I + O / 2) + N b4 / S]

and, with k = 0 and therefore S = O, TPOT(N) = T(N) = b0 + N (b1 I / O + b2):

    throughput X(N) = N / (S T(N)),   ceiling X_max = lim N->inf X(N) = 1 / (b1 I + b2 (1 + k) S)
    half of the ceiling at N = b0 S / (b1 I + b2 (1 + k) S)

With a decode table D (step_cost.py), T(N) has D(N (1 + k)) in place of N b2 (1 + k); the ceiling uses the b2 beyond the
end of the table, and half of it is found by bisection. If steps vary (steps/variation.py), T(N) is their mean.

Not included: a0, a1 and w0, the wait for a step to end, and the first token, which a prefill emits without a decode. In
simulations, throughput is within 1% of the closed form for N = 1..256. The gaps between the tokens of a request contain
the prefills of other requests but not its own: with users spread in time the measured TPOT is (T(N) - (b1 I + b4) / S)
S / O. In lockstep all prefills precede the first tokens, so TPOT is lower and TTFT longer; throughput is the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mockserver.plans.speculation import Speculation
from mockserver.step_cost import StepCost

US_PER_S = 1e6


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """The formulas for one load: `input_tokens` and `output_tokens` are I and O."""

    cost: StepCost
    input_tokens: float
    output_tokens: float
    speculation: Speculation | None = None

    @property
    def steps(self) -> float:
        """S."""
        if self.speculation is None:
            return self.output_tokens
        return self.speculation.mean_steps(round(self.output_tokens))

    @property
    def decoded(self) -> int:
        """Tokens computed per decode: 1 + k."""
        return 1 if self.speculation is None else 1 + self.speculation.draft_tokens

    @property
    def alone_us(self) -> float:
        """The time in us that a request adds to its steps regardless of other requests: for its prompt and its context."""
        context = self.steps * self.cost.b3 * (self.input_tokens + self.output_tokens / 2)
        return self.prompt_us + context

    @property
    def prompt_us(self) -> float:
        """The time in us that a request's prompt adds to its steps."""
        return self.cost.b1 * self.input_tokens + self.cost.b4

    @property
    def user_us(self) -> float:
        """The time in us that one more request among many adds to the steps during its life."""
        return self.alone_us + self.cost.b2 * self.steps * self.decoded

    @property
    def max_requests_per_s(self) -> float:
        """X_max."""
        if not self.user_us:
            return math.inf
        # In the limit steps are arbitrarily long, and only deviations proportional to the step length still count.
        share = self.cost.expected_us(1e12, 1e9) / 1e12
        return US_PER_S / (self.user_us * share)

    @property
    def half_load_users(self) -> float:
        """N at which the throughput is half of X_max."""
        if not self.user_us:
            return math.inf
        if not self.cost.decode and self.cost.variation is None:
            return self.cost.b0 * self.steps / self.user_us
        half, most = self.max_requests_per_s / 2, 1.0
        while self.requests_per_s(most) < half:
            most *= 2
        least = 0.0
        for _ in range(60):
            middle = (least + most) / 2
            least, most = (middle, most) if self.requests_per_s(middle) < half else (least, middle)
        return most

    def step_us(self, users: float) -> float:
        """T(N)."""
        decodes = users * self.decoded
        us = self.cost.b0 + users * self.alone_us / self.steps + self.cost.decode_us(decodes)
        return self.cost.expected_us(us, decodes)

    def tpot_us(self, users: int) -> float:
        """Time per output token over the whole life of a request: T(N) S / O."""
        return self.step_us(users) * self.steps / self.output_tokens

    def spread_tpot_us(self, users: int) -> float:
        """The TPOT measured between first and last token, with users spread in time."""
        return (self.step_us(users) - self.prompt_us / self.steps) * self.steps / self.output_tokens

    def requests_per_s(self, users: float) -> float:
        """X(N)."""
        return users / (self.steps * self.step_us(users)) * US_PER_S

    def alone_ttft_us(self) -> float:
        """The TTFT of a request at an idle engine: time before the queue, wake-up, and prefill steps."""
        cost = self.cost
        steps = -(-self.input_tokens // cost.max_num_batched_tokens)
        before = cost.a0 + cost.a1 * self.input_tokens + cost.w0
        return before + max(1.0, steps) * cost.b0 + self.prompt_us
