"""Users who give up: `share=10%,after=exp:mean=2s`.

This share of the requests has a time after which the user leaves, drawn from the distribution and counted from the
send: then the client closes the connection. A reply that ends earlier counts normally. Who leaves, and when, depends
only on the seed and the number of the request, so that it is the same with any number of workers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.rng import stream
from promptset.distributions import Distribution
from promptset.distributions import parse as parse_distribution

_EXAMPLE = "for example share=10%,after=exp:mean=2s"
_SHARE = re.compile(r"([0-9]*\.?[0-9]+)(%?)")


@dataclass(frozen=True, slots=True)
class CancelPlan:
    """`share` of the requests, from 0 to 1; `after`: a distribution of times in ns."""

    share: float
    after: Distribution

    def __str__(self) -> str:
        return f"share={self.share * 100:g}%,after={self.after}"

    def after_ns(self, seed: int, number: int) -> int | None:
        """How long after its send the user of this request leaves. Returns None if the user stays."""
        chance = stream(seed, "cancel", number)
        if chance.random() >= self.share:
            return None
        return max(0, round(self.after.sample(chance)))


def parse(text: str) -> CancelPlan:
    """Parse a plan. Raises ValueError (SpecError is one) with a sentence on what is wrong."""
    # A distribution may contain commas: only these two words begin a part.
    pieces = re.split(r"(?:^|,)\s*(share|after)\s*=", text.strip())
    parts = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    if pieces[0].strip() or len(pieces) != 2 * len(parts) + 1 or "after" not in parts or "share" not in parts:
        raise ValueError(f"{text!r} is not of the form share=SHARE,after=DIST, {_EXAMPLE}")
    match = _SHARE.fullmatch(parts["share"].strip())
    if match is None:
        raise ValueError(f"{parts['share']!r} is no share of the requests: write 10% or 0.1")
    share = float(match[1]) / (100 if match[2] else 1)
    if not 0 < share <= 1:
        raise ValueError(f"the share {parts['share'].strip()} must be more than 0 and at most 100%")
    return CancelPlan(share, parse_distribution(parts["after"].strip(), "time"))
