"""Speculative decoding: how many tokens each step of a request emits.

Each decode step proposes k draft tokens and verifies them at once. It accepts each draft with probability a,
independently, up to the first rejection. The step emits the accepted drafts and one token from the model itself, so the
number is geometric, truncated at k + 1:

    P(n) = (1 - a) a^(n-1) for n = 1..k,    P(k + 1) = a^k,    E(n) = (1 - a^(k+1)) / (1 - a)

(Leviathan, Kalman, Matias: Fast Inference from Transformers via Speculative Decoding, ICML 2023, equation 1.)
"""

from __future__ import annotations

from dataclasses import dataclass

from mockserver.rng import Random


@dataclass(frozen=True, slots=True)
class Speculation:
    """k and a of the module docstring."""

    draft_tokens: int
    acceptance_rate: float

    @property
    def mean_tokens(self) -> float:
        """E(n), the mean number of tokens of a step."""
        # The sum of the geometric series, which has no division by zero at a = 1.
        return sum(self.acceptance_rate**i for i in range(self.draft_tokens + 1))

    def mean_steps(self, tokens: int) -> float:
        """The exact mean number of steps of a reply of this many tokens: R(1) = 1, R(n) = 1 + the sum of P(i) R(n - i),
        with R(m) = 0 for m < 1. The first token has its own step."""
        k, a = self.draft_tokens, self.acceptance_rate
        shares = [*((1 - a) * a ** (i - 1) for i in range(1, k + 1)), a**k]
        # left[n]: steps for n tokens after the first.
        left = [0.0]
        for n in range(1, tokens):
            left.append(1 + sum(share * left[n - i] for i, share in enumerate(shares, 1) if i < n))
        return 1 + left[-1]

    def steps(self, tokens: int, rng: Random) -> tuple[int, ...]:
        """The tokens of each step of a reply. The prefill emits 1; the last step is truncated to the length."""
        steps = [1]
        left = tokens - 1
        while left > 0:
            count = 1
            while count <= self.draft_tokens and rng.random() < self.acceptance_rate:
                count += 1
            steps.append(min(count, left))
            left -= steps[-1]
        return tuple(steps)
