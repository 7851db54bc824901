"""Synthetic log probabilities: their range, their order, and the shares of the alternatives."""

from __future__ import annotations

import math

import pytest

from mockserver.replies.logprobs import Logprobs
from mockserver.rng import Random, stream


def words(count: int, chance: Random) -> list[str]:
    del chance
    return [f"w{n}" for n in range(count)]


@pytest.mark.parametrize("top", [0, 1, 2, 5])
def test_a_token_has_its_share_and_the_alternatives_halve_the_rest(top: int) -> None:
    chance = stream(3, "test", 0)
    tokens = [f"t{n}" for n in range(300)]
    taken = Logprobs(top, chance, words).take(tokens)
    assert [token.text for token in taken] == tokens
    shares = [math.exp(token.logprob) for token in taken]
    # Uniform from 0.3 to 0.95.
    assert 0.3 <= min(shares) < 0.32
    assert 0.93 < max(shares) <= 0.95
    assert sum(shares) / 300 == pytest.approx(0.625, abs=0.04)
    for token, share in zip(taken, shares, strict=True):
        expected = [(token.text, share), *((f"w{n}", (1 - share) / 2 ** (n + 1)) for n in range(top - 1))][:top]
        assert [text for text, _ in token.top] == [text for text, _ in sorted(expected, key=lambda pair: -pair[1])]
        assert dict(token.top) == pytest.approx({text: math.log(p) for text, p in expected})
        assert [p for _, p in token.top] == sorted((p for _, p in token.top), reverse=True)
    if top > 1:  # A token of less than a third is not the most likely one.
        assert any(token.top[0][0] == "w0" for token in taken)
