"""Of which requests the truth is asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestLengths:
    """Requests that are alike."""

    output_tokens: int | None = None
    """What each asks for (`max_tokens`); None where the mock draws the length."""
    input_tokens: int | None = None
    """None where it is not known: then nothing that depends on it is in the numbers."""
