"""A change of the load during a run: a line of changes.jsonl."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadChange:
    """The load is `after` from `t_ns` (CLOCK_MONOTONIC) on, in users or requests per second. `by`: who requested the
    change."""

    t_ns: int
    before: float
    after: float
    by: str

    def to_line(self) -> bytes:
        row = {"t_ns": self.t_ns, "from": self.before, "to": self.after, "by": self.by}
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> LoadChange:
        """Parse a line. Raises KeyError, TypeError or ValueError if it is not a change."""
        change = cls(t_ns=int(row["t_ns"]), before=float(row["from"]), after=float(row["to"]), by=str(row["by"]))
        if not (0 < change.before < math.inf and 0 < change.after < math.inf):
            raise ValueError(f"a load must be above 0: {change.before:g} to {change.after:g}")
        if not 0 <= change.t_ns < 1 << 63:
            raise ValueError(f"t_ns is no time: {change.t_ns:g}")
        return change
