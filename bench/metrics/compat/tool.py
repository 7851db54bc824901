"""What a tool would have printed of a run, declared: where its clocks start and stop, and what it divides by.

A tool is a value in `tools.py`. `marks.py` says which chunk each mark is, `readings.py` folds records into them, and
`tool_numbers.py` computes the numbers. None of it depends on how fast the tool itself is: these are its definitions, applied
to what was seen on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

First = Literal["choice", "output", "token", "text", "content"]
"""The first chunk that ... `marks.py`."""

Last = Literal["choice", "output", "token", "text", "content", "data", "usage", "event", "end"]
"""The last chunk that ..., or the end of the response. `marks.py`."""

Gaps = Literal["choice", "output", "token", "text", "retokenised"]
"""Between which chunks a gap is taken. `marks.py`."""

Tokens = Literal[
    "usage or choices", "usage or counted", "usage or chunks", "usage or asked", "counted", "counted content"
]
"""Where the number of output tokens comes from. `readings.py`."""

Quantiles = Literal["linear", "rank"]
"""linear: between neighbours, as numpy. rank: the least value that the share p of all (by weight) does not exceed."""


@dataclass(frozen=True, slots=True)
class PerToken:
    """One value a request: (last - first) / (n - less), of requests with n > less. `first` None: from sending.

    `weighted`: each request counts by the number that it was divided by.
    """

    first: First | None
    last: Last
    less: Literal[0, 1]
    weighted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool's definitions. `version` is the one whose source was read.

    `differs` has one sentence for each number that is another kind of number than ours; its keys are those of
    `latency` in summary.json, and `output_tokens`. A metric that the tool does not print is None.
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
    """What requests without generated text it can send: texts (embeddings), documents (rerank). Of their replies it prints
    the time from sending to the last byte, as we do."""
    differs: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, Tool] = field(default_factory=dict)
    """Its definitions for endpoints beside chat and completions, where it has any: `messages`, `responses`."""

    def of_endpoint(self, endpoint: str) -> Tool | None:
        """The definitions for this endpoint. Returns None if they are not known."""
        return self if endpoint in ("chat", "completions") else self.others.get(endpoint)
