"""The Zipf distribution: `zipf:s=1.2,n=4096` gives k of 1 to n tokens with a weight of k^-s. Most values are short, a
few are very long."""

from __future__ import annotations

from promptset.distributions.atoms import Atoms
from promptset.distributions.family import Family, ParameterSet, require_positive
from promptset.distributions.values import NUMBER, Dimension
from promptset.errors import SpecError

_MAX_N = 1_000_000


def _build(dimension: Dimension, s: float, n: float) -> Atoms:
    require_positive(s=s)
    if not (n.is_integer() and 1 <= n <= _MAX_N):
        raise SpecError(f"n must be a whole number from 1 to {_MAX_N}")
    return Atoms.from_weights((float(k), k**-s) for k in range(1, int(n) + 1))


FAMILY = Family((ParameterSet({"s": NUMBER, "n": NUMBER}, _build),), {"tokens": "zipf:s=1.2,n=4096"}, listed=True)
