"""Declares what a tool would have printed for a run: where its clocks start and stop, and what it divides by.

A tool is a value in `tools.py`. `marks.py` determines the chunk of each mark, `readings.py` folds records into them,
and `tool_numbers.py` computes the numbers. None of this depends on the speed of the tool itself: its definitions are
applied to the events on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

First = Literal["choice", "output", "token", "text", "content"]
"""The first chunk of a kind; see `marks.py`."""

Last = Literal["choice", "output", "token", "text", "content", "data", "usage", "event", "end"]
"""The last chunk of a kind, or the end of the response; see `marks.py`."""

Gaps = Literal["choice", "output", "token", "text", "retokenised"]
"""The kinds of chunks between which gaps are taken; see `marks.py`."""

Tokens = Literal[
    "usage or choices",
    "usage or outputs",
    "usage or counted",
    "usage or chunks",
    "usage or asked",
    "counted",
    "counted content",
]
"""The source of the number of output tokens; see `readings.py`."""

Quantiles = Literal["linear", "rank"]
"""linear: interpolated between neighbours, like numpy. rank: the least value that the share p of all (by weight) does
not exceed."""


@dataclass(frozen=True, slots=True)
class PerToken:
    """One value per request: (last - first) / (n - less), for requests with n > less. If `first` is None, it starts at
    sending.

    `weighted`: each request is weighted by its divisor.
    """

    first: First | None
    last: Last
    less: Literal[0, 1]
    weighted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool's definitions. `version` is the version whose source was read.

    `differs` has one sentence for each number whose definition differs from ours; its keys are those of `latency` in
    summary.json, and `output_tokens`. A metric that the tool does not print is None.
    """

    title: str
    version: str
    ttft: First
    e2el: Last
    tpot: PerToken | None
    itl: PerToken | Gaps | None
    tokens: Tokens
    quantiles: Quantiles = "linear"
    inputs: frozenset[str] = frozenset()
    """The requests without generated text that it can send: texts (embeddings), documents (rerank). For their replies
    it prints the time from sending to the last byte, like us."""
    differs: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, Tool] = field(default_factory=dict)
    """Its definitions for other endpoints: `messages`, `responses`, and `completions` if it counts them unlike chats."""

    def of_endpoint(self, endpoint: str) -> Tool | None:
        """The definitions for this endpoint. Returns None if they are unknown."""
        return self.others.get(endpoint, self if endpoint in ("chat", "completions") else None)
