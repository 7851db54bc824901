"""`--stream-interval N`: send a chunk when N tokens wait, as vLLM's output processor does.

The first token goes at once, then a chunk each time at least N tokens wait, and the rest with the last token. This class
sits between an engine and a reply and knows neither.
"""

from __future__ import annotations

from collections.abc import Callable


class StreamInterval:
    """Call it with the tokens of each step. It passes them on when there are enough."""

    def __init__(self, take: Callable[[int], None], interval: int, output_tokens: int) -> None:
        self._take = take
        self._interval = interval
        self._left = output_tokens
        self._waiting = 0
        self._begun = False

    def __call__(self, tokens: int) -> None:
        self._left -= tokens
        self._waiting += tokens
        if self._begun and self._left > 0 and self._waiting < self._interval:
            return
        self._begun = True
        waiting, self._waiting = self._waiting, 0
        self._take(waiting)
