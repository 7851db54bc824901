"""What a prefix cache without end would have of the prompts, as the data plans it, beside what replies say that it had.

Servers keep whole blocks, and compute at least the last token of a prompt, so that a cache may have up to a block less of
each prompt than was planned; and a chat template may put a few tokens ahead of every prompt, which nobody planned to share.
So a difference counts beyond a block a request, either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.records import Outcome, RequestRecord

BLOCK_TOKENS = 16
"""Tokens of a block: vLLM's default. Of servers with greater blocks the bound is too tight for short prompts, and does not
matter for long ones."""


@dataclass(slots=True)
class _Sums:
    """Over some requests, in tokens."""

    requests: int = 0
    input: int = 0
    planned: int = 0
    said: int = 0

    def add(self, tokens: int, planned: int, said: int) -> None:
        self.requests += 1
        self.input += tokens
        self.planned += planned
        self.said += said

    @property
    def planned_share(self) -> float | None:
        return self.planned / self.input if self.input else None

    @property
    def said_share(self) -> float | None:
        return self.said / self.input if self.input else None

    @property
    def rounding_share(self) -> float:
        """What rounding to blocks may take off, or a template put on."""
        return BLOCK_TOKENS * self.requests / self.input if self.input else 0.0


class CachePlan:
    """Folds all records, of the warm-up too: a server's counters have both."""

    def __init__(self) -> None:
        self._run, self._said, self._load = _Sums(), _Sums(), _Sums()
        self._unplanned = False

    def add(self, record: RequestRecord) -> None:
        """One record, in any order. Only successful requests have a prompt that was surely read."""
        if record.outcome is not Outcome.OK:
            return
        planned = record.cached_tokens_planned
        tokens = record.input_tokens_asked if record.input_tokens is None else record.input_tokens
        if planned is None or tokens is None:
            self._unplanned = True
            return
        self._load.add(tokens, planned, 0)
        if record.phase == "warmup":
            return
        self._run.add(tokens, planned, 0)
        if record.cached_tokens is not None:
            self._said.add(tokens, planned, record.cached_tokens)

    def add_unplanned(self) -> None:
        """Successful requests of which nobody planned what a cache has of them."""
        self._unplanned = True

    def against(self, measured_share: float | None) -> dict[str, Any] | None:
        """The plan against what was counted: by replies, else by the server's counters over the load (`measured_share`).

        None where no request has a plan. `off_share` is counted less planned, of the same requests; None: nobody counted.
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
