"""A mock's ledger. Memory holds only the positions of its lines: a line may have thousands of times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

from bench.errors import RecordError
from bench.records import MOST_TOKENS

PROBE = "probe-"


class Ledger:
    """The lines by request id. If an id has several attempts, the last counts: the earlier ones died with their
    connection.

    The probe's lines are left out. `strangers` counts lines without an id. Raises RecordError for a line that is not
    JSON.
    """

    def __init__(self, file: BinaryIO, name: str = "the ledger") -> None:
        self._file = file
        self._name = name
        self._places: dict[str, tuple[int, int, int]] = {}
        self.strangers = 0
        at = 0
        file.seek(0)
        for number, line in enumerate(file, 1):
            start, at = at, at + len(line)
            if not line.endswith(b"\n") or len(line) == 1:
                continue  # A line without an end was being written when the mock was killed.
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as e:
                raise RecordError(f"{name}, line {number}: {e}") from e
            if not isinstance(row, dict) or "id" not in row:
                raise RecordError(f"{name}, line {number}: no line of a ledger: it has no id")
            request_id, attempt = row["id"], row.get("attempt", 1)
            if request_id is None:
                self.strangers += 1
            elif not request_id.startswith(PROBE) and attempt >= self._places.get(request_id, (0, 0, 0))[0]:
                self._places[request_id] = (attempt, start, len(line))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def line(self, request_id: str) -> dict[str, Any] | None:
        """The line of a request; None if it has none. Raises RecordError if it has more tokens than any reply."""
        place = self._places.get(request_id)
        if place is None:
            return None
        self._file.seek(place[1])
        row: dict[str, Any] = orjson.loads(self._file.read(place[2]))
        if sum(row.get("chunk_tokens", ())) > MOST_TOKENS:
            raise RecordError(
                f"{self._name}: chunk_tokens of {request_id}: no reply has more than {MOST_TOKENS:,} tokens"
            )
        return row
