"""Compares the planned content of an unlimited prefix cache with the cached tokens that replies report.

Servers keep whole blocks, and compute at least the last token of a prompt, so a cache may have up to a block less of
each prompt than planned. A chat template may also put a few tokens before every prompt, which are shared but not
planned. So a difference counts only if it exceeds one block per request, in either direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.metrics.request_metrics import input_tokens
from bench.records.record_table import Ints, RecordTable

BLOCK_TOKENS = 16
"""Tokens per block: vLLM's default. For servers with larger blocks the bound is too tight for short prompts, and does
not matter for long ones."""


@dataclass(slots=True)
class _Sums:
    """Sums over some requests, in tokens."""

    requests: int = 0
    input: int = 0
    planned: int = 0
    said: int = 0

    def add(self, tokens: Ints, planned: Ints, cached: Ints) -> None:
        self.requests += len(tokens)
        self.input += int(tokens.sum())
        self.planned += int(planned.sum())
        self.said += int(cached.sum())

    @property
    def planned_share(self) -> float | None:
        return self.planned / self.input if self.input else None

    @property
    def said_share(self) -> float | None:
        return self.said / self.input if self.input else None

    @property
    def rounding_share(self) -> float:
        """The share that rounding to blocks may remove, or a template may add."""
        return BLOCK_TOKENS * self.requests / self.input if self.input else 0.0


class CachePlan:
    """Folds all records, including the warm-up, because a server's counters include it too."""

    def __init__(self) -> None:
        self._run, self._said, self._load = _Sums(), _Sums(), _Sums()
        self._unplanned = False

    def add(self, table: RecordTable) -> None:
        """Add records, in any order. Only prompts of successful requests were certainly read."""
        has_plan, planned = table.known("cached_tokens_planned")
        has_prompt, tokens = input_tokens(table)
        has_cached, cached = table.known("cached_tokens")
        rows = table.ok & has_plan & has_prompt
        self._unplanned |= bool((table.ok & ~rows).any())
        none = np.zeros(len(table), dtype=np.int64)
        self._load.add(tokens[rows], planned[rows], none[rows])
        rows = rows & table.is_run
        self._run.add(tokens[rows], planned[rows], none[rows])
        rows = rows & has_cached
        self._said.add(tokens[rows], planned[rows], cached[rows])

    def against(self, measured_share: float | None) -> dict[str, Any] | None:
        """Compare the plan with the cached tokens reported by replies, else by the server's counters over the load
        (`measured_share`).

        Returns None if no request has a plan. `off_share` is counted minus planned, for the same requests, or None.
        """
        if not self._run.requests:
            return None
        by, counted, of = "replies", self._said.said_share, self._said
        if counted is None and not self._unplanned:
            by, counted, of = "metrics", measured_share, self._load
        planned = of.planned_share
        off = None if counted is None or planned is None else counted - planned
        return {
            "planned_share": self._run.planned_share,
            "said_share": self._said.said_share,
            "counted_by": None if off is None else by,
            "off_share": off,
            "rounding_share": of.rounding_share,
        }
