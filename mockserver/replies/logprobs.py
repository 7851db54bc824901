"""Log probabilities of the tokens of a choice: synthetic, and the same for the same request and seed.

A token has a probability from 0.3 to 0.95. Alternatives share the rest: the first gets half of it, the next half of
what is left, and so on. So the token is always the most likely or close to it, and the probabilities sum to less than
1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mockserver.dialect.frames import TokenLogprob
from mockserver.rng import Random

_LEAST, _MOST = 0.3, 0.95


class Logprobs:
    """Takes the tokens of a choice in order."""

    def __init__(self, top: int, chance: Random, words: Callable[[int, Random], list[str]]) -> None:
        """`top` is the number of most likely tokens to list, including the token itself."""
        self._top = top
        self._chance = chance
        self._words = words

    def take(self, tokens: Sequence[str]) -> tuple[TokenLogprob, ...]:
        """The log probabilities of the next tokens."""
        return tuple(self._of(token) for token in tokens)

    def _of(self, token: str) -> TokenLogprob:
        probability = _LEAST + (_MOST - _LEAST) * self._chance.random()
        left = 1.0 - probability
        likely = [(token, probability)] if self._top > 0 else []
        for word in self._words(self._top - 1, self._chance):
            left /= 2
            likely.append((word, left))
        likely.sort(key=lambda pair: pair[1], reverse=True)
        return TokenLogprob(token, math.log(probability), tuple((text, math.log(p)) for text, p in likely))
