"""Which requests are traced, and their `traceparent` (W3C Trace Context): known before a request is due.

The choice depends only on the seed and the request's number, so every run of a seed traces the same requests, with any
number of workers. The ids also depend on the run's id, which is unique.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

_SAMPLED = "01"
_WHOLE = 2**64


@dataclass(frozen=True, slots=True)
class Tracing:
    """`share` of the requests, from 0 to 1."""

    share: float
    seed: int

    def header_of(self, run_id: str, key: str) -> str | None:
        """The header of the request with this key. Returns None if it is not traced."""
        drawn = blake2b(f"{self.seed}:trace:{key}".encode(), digest_size=8).digest()
        if int.from_bytes(drawn) >= self.share * _WHOLE:
            return None
        ids = blake2b(f"{run_id}-{key}".encode(), digest_size=24).hexdigest()
        return f"00-{ids[:32]}-{ids[32:]}-{_SAMPLED}"


def ids_of(traceparent: str) -> tuple[str, str]:
    """The trace id and the span id in a header."""
    _, trace_id, span_id, _ = traceparent.split("-")
    return trace_id, span_id
