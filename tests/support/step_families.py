"""How the steps of servers vary around their cost, by name: shapes that a fit does not know."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from tests.support.step_server import Varied


def _each(draw: Callable[[random.Random, float, int], float]) -> Varied:
    """Independent steps: `draw` returns the time of one from its cost and decodes."""

    def begin(chance: random.Random) -> Callable[[float, int, float], float]:
        return lambda us, decodes, now: draw(chance, us, decodes)

    return begin


def _modes(factor: float, lasts: float) -> Varied:
    """Two alternating modes: each lasts for this many steps on average."""

    def begin(chance: random.Random) -> Callable[[float, int, float], float]:
        slow = False

        def took(us: float, decodes: int, now: float) -> float:
            nonlocal slow
            if chance.random() < 1 / lasts:
                slow = not slow
            return us * factor if slow else us

        return took

    return begin


def _wandering(chance: random.Random) -> Callable[[float, int, float], float]:
    """A slow drift around the cost: an autoregressive factor."""
    at = chance.gauss(0, 1)

    def took(us: float, decodes: int, now: float) -> float:
        nonlocal at
        at = 0.95 * at + math.sqrt(1 - 0.95**2) * chance.gauss(0, 1)
        return us * math.exp(0.25 * at)

    return took


def _every_30th(chance: random.Random) -> Callable[[float, int, float], float]:
    number = chance.randrange(30)

    def took(us: float, decodes: int, now: float) -> float:
        nonlocal number
        number += 1
        return us + (25_000 if number % 30 == 0 else 0)

    return took


def _collector(chance: random.Random) -> Callable[[float, int, float], float]:
    """A pause of 60 ms about once per second, independent of the steps."""
    due = chance.expovariate(1) * 1e6

    def took(us: float, decodes: int, now: float) -> float:
        nonlocal due
        if now + us < due:
            return us
        due = now + us + 60_000 + chance.expovariate(1) * 1e6
        return us + 60_000

    return took


FAMILIES: dict[str, Varied | None] = {
    "even": None,
    "uneven": _each(lambda chance, us, decodes: us * (3 if chance.random() < 0.12 else 1)),
    "two modes": _each(lambda chance, us, decodes: us * (1.8 if chance.random() < 0.4 else 1)),
    "modes of 30 steps": _modes(1.7, 30),
    "lognormal": _each(lambda chance, us, decodes: us * chance.lognormvariate(0, 0.4)),
    "wandering": _wandering,
    "pauses by steps": _every_30th,
    "pauses by time": _collector,
    "heavy tail": _each(lambda chance, us, decodes: us * min(30.0, chance.paretovariate(2.2))),
    "more with load": _each(lambda chance, us, decodes: us * chance.lognormvariate(0, 0.06 * math.sqrt(decodes))),
}
