"""What continuous batching gives in closed form, so that the answer of a whole sweep is known before it is run.

N users, each sending its next request when its last one ended; I input and O output tokens a request, of which none is
found in the prefix cache; enough KV blocks, N <= max_num_seqs. A request lives through S steps, a token each, so that
S = O; with speculation S is the mean of `Speculation.mean_steps`. Over these S steps each of the N users has its prompt
computed once, and each decode step computes 1 + k tokens (k drafts). So a step takes on average

    T(N) = b0 + N (b1 I + b2 (1 + k) S) / S   [+ N b3 (I + O / 2)]

and, with k = 0 and therefore S = O, TPOT(N) = T(N) = b0 + N (b1 I / O + b2):

    throughput X(N) = N / (S T(N)),   ceiling X_max = lim N->inf X(N) = 1 / (b1 I + b2 (1 + k) S)
    half of the ceiling at N = b0 S / (b1 I + b2 (1 + k) S)

What it leaves out: a0 and a1, the wait for a step to end, and that a prefill gives the first token without a decode.
Simulated, throughput is within 1% of it for N = 1..256. The gaps between the tokens of a request hold the prefills of
the others and not its own: where users are spread in time the measured TPOT is (T(N) - b1 I / S) S / O. In lockstep all
prefills lie before the first tokens, TPOT is lower and TTFT longer; throughput is the same.
"""

from __future__ import annotations

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
    def user_us(self) -> float:
        """What a request adds to the steps that it lives through, in us."""
        computed = self.steps * (1 if self.speculation is None else 1 + self.speculation.draft_tokens)
        context = self.steps * self.cost.b3 * (self.input_tokens + self.output_tokens / 2)
        return self.cost.b1 * self.input_tokens + self.cost.b2 * computed + context

    @property
    def max_requests_per_s(self) -> float:
        """X_max."""
        return US_PER_S / self.user_us

    @property
    def half_load_users(self) -> float:
        """N at which the throughput is half of X_max."""
        return self.cost.b0 * self.steps / self.user_us

    def step_us(self, users: int) -> float:
        """T(N)."""
        return self.cost.b0 + users * self.user_us / self.steps

    def tpot_us(self, users: int) -> float:
        """Time per output token over the whole life of a request: T(N) S / O."""
        return self.step_us(users) * self.steps / self.output_tokens

    def spread_tpot_us(self, users: int) -> float:
        """TPOT as it is measured, between first and last token, where users are spread in time."""
        own = self.cost.b1 * self.input_tokens / self.steps
        return (self.step_us(users) - own) * self.steps / self.output_tokens

    def requests_per_s(self, users: int) -> float:
        """X(N)."""
        return users / (self.steps * self.step_us(users)) * US_PER_S

    def alone_ttft_us(self) -> float:
        """TTFT of a request that finds the engine empty: before the queue, and its prefill in steps of the budget."""
        cost = self.cost
        steps = -(-self.input_tokens // cost.max_num_batched_tokens)
        before = cost.a0 + cost.a1 * self.input_tokens
        return before + max(1.0, steps) * cost.b0 + cost.b1 * self.input_tokens
