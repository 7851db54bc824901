"""What to expect of an engine, from the configuration alone: the numbers of `GET /truth`.

A new engine is one file with a function `expected(config, request)` and one line in `EXPECTATIONS`. What such a function
returns becomes `expected` in the answer: times in ms, each number with how it was derived.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mockserver.config import MockConfig
from mockserver.expect import batching, variants
from mockserver.expect.lengths import RequestLengths

__all__ = ["EXPECTATIONS", "RequestLengths"]

EXPECTATIONS: dict[str, Callable[[MockConfig, RequestLengths], dict[str, Any]]] = {
    "sampled": variants.expected,
    "batching": batching.expected,
    "replay": variants.replayed,
}
