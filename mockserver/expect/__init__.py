"""The expected results of each engine, derived from the configuration: the numbers of `GET /truth`.

To add an engine, write a file with a function `expected(config, request)` and add a line to `EXPECTATIONS`. The result
of the function becomes `expected` in the answer: times in ms, and for each number how it was derived.
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
