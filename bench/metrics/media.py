"""Media in chats: the bytes of images, audio and video, and the tokens of the text next to them."""

from __future__ import annotations

from array import array

from bench.metrics.quantile import describe
from bench.records.record_table import RecordTable
from bench.results.tokens import MediaCounts


class Media:
    """Folds the successful requests of the run phase."""

    def __init__(self) -> None:
        self._bytes, self._text_tokens = array("q"), array("q")

    def add(self, table: RecordTable) -> None:
        """Add requests with images, audio or video: their bytes, and their text tokens."""
        for name, values in (("media_bytes", self._bytes), ("text_tokens_asked", self._text_tokens)):
            known, column = table.known(name)
            values.frombytes(column[known].tobytes())

    def describe(self) -> MediaCounts | None:
        """`media` of a summary; None if no request has media."""
        if not self._bytes:
            return None
        return MediaCounts(
            requests=len(self._bytes),
            bytes=describe(sorted(self._bytes)),
            text_tokens=describe(sorted(self._text_tokens)),
        )
