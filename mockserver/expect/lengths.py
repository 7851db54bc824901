"""The request lengths that an expectation applies to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestLengths:
    """Requests of equal length."""

    output_tokens: int | None = None
    """The requests' `max_tokens`. None if the mock draws the length."""
    input_tokens: int | None = None
    """None if unknown. Then the numbers exclude everything that depends on it."""
